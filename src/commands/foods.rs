//! `manpasik foods`: a person's own dishes, kept by a running server.
//!
//! It asks the server instead of opening the vector store itself: two processes that write one index would not see
//! each other's photos.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use proto::manpasik::v1::{
    DeleteFoodRequest, EnrolFoodRequest, EnrolledFood, ListFoodsRequest,
    food_service_client::FoodServiceClient,
};
use services::kernel::{GrpcService, remote};

use crate::{
    cli::{Foods, FoodsCommand},
    commands::{bearing, print, print_json, runtime, table},
    config::Config,
};

/// Photos of one enrolment; the server takes no more of a dish.
const PHOTOS_MAX: usize = 64;

/// Runs one of the food commands.
pub(crate) fn run(config: &Config, foods: &Foods, token: Option<&str>, json: bool) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let endpoint = config.server.reached(config.server.grpc)?;
        let channel = endpoint.connect().await.with_context(|| {
            let uri = endpoint.uri();
            format!(
                "no server answers at {uri}; start `manpasik serve`, or set server.grpc in the configuration"
            )
        })?;
        let mut client = FoodServiceClient::new(bearing(remote(channel), token)?);
        let user_id = foods.user.clone();
        match &foods.command {
            FoodsCommand::Enrol { name, dir, kcal_per_100g } => {
                let dish = enrol(&mut client, user_id, name, dir, *kcal_per_100g).await?;
                show(&[dish], json)
            }
            FoodsCommand::List => {
                let answer = client.list_foods(ListFoodsRequest { user_id }).await?.into_inner();
                show(&answer.foods, json)
            }
            FoodsCommand::Remove { name } => {
                let request = DeleteFoodRequest { user_id, name: name.clone() };
                let answer = client.delete_food(request).await?.into_inner();
                if json {
                    print_json(&answer)
                } else {
                    print(&format!("forgot {name} ({} photos)", answer.images))
                }
            }
        }
    })
}

/// Sends the photos one by one, so that no message grows with the folder; the first replaces what was there.
async fn enrol(
    client: &mut FoodServiceClient<GrpcService>,
    user_id: String,
    name: &str,
    dir: &Path,
    kcal_per_100g: f64,
) -> anyhow::Result<EnrolledFood> {
    let photos = photos(dir)?;
    let mut dish = EnrolledFood::default();
    for (index, photo) in photos.iter().enumerate() {
        let image = std::fs::read(photo).with_context(|| format!("cannot read `{}`", photo.display()))?;
        let request = EnrolFoodRequest {
            user_id: user_id.clone(),
            name: name.to_owned(),
            kcal_per_100g,
            images: vec![image.into()],
            replace: index == 0,
        };
        let answer = client.enrol_food(request).await.with_context(|| photo.display().to_string())?;
        dish = answer.into_inner().food.unwrap_or_default();
    }
    Ok(dish)
}

/// The JPEG and PNG files of a folder, by name.
fn photos(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed =
        std::fs::read_dir(dir).with_context(|| format!("cannot read the folder `{}`", dir.display()))?;
    let is_photo = |path: &PathBuf| {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        extension.is_some_and(|extension| ["jpg", "jpeg", "png"].iter().any(|known| extension == *known))
    };
    let mut photos = Vec::new();
    for entry in listed {
        photos.push(entry?.path());
    }
    photos.retain(is_photo);
    photos.sort();
    match photos.len() {
        0 => bail!("`{}` holds no .jpg, .jpeg or .png file", dir.display()),
        count if count > PHOTOS_MAX => {
            bail!("`{}` holds {count} photos, at most {PHOTOS_MAX}", dir.display())
        }
        _ => Ok(photos),
    }
}

fn show(dishes: &[EnrolledFood], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&dishes);
    }
    let row = |dish: &EnrolledFood| {
        vec![dish.name.clone(), format!("{:.0}", dish.kcal_per_100g), dish.images.to_string()]
    };
    print(&table(&["dish", "kcal/100 g", "photos"], dishes.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_found_in_order_and_a_folder_without_any_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(photos(dir.path()).expect_err("empty").to_string().contains("no .jpg"));
        for name in ["b.PNG", "a.jpeg", "notes.txt"] {
            std::fs::write(dir.path().join(name), b"x").expect("writes");
        }
        let found = photos(dir.path()).expect("photos");
        assert_eq!(found, [dir.path().join("a.jpeg"), dir.path().join("b.PNG")]);
        assert!(photos(&dir.path().join("none")).is_err());
    }
}
