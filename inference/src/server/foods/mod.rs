//! The Food service: a person's own dishes, enrolled with photos and their energy.
//!
//! What the classifier has never seen (it knows 45 foods and no Korean dish) a person can show it: the photo's
//! features are kept in the vector store under that person, and a later photo that is near enough is answered with
//! the enrolled energy. The photos themselves are not kept.

mod dishes;

use std::sync::Arc;

use embeddings::{Tenant, VectorStore};
use proto::manpasik::v1::{self as wire, food_service_server::FoodService as Service};
use tonic::{Request, Response, Status};

use super::{
    ai::{AiService, invalid},
    stored::failed,
};
pub(in crate::server) use dishes::{Dish, Dishes, Photo};

/// Characters of a dish's name.
const NAME_CHARS_MAX: usize = 100;
/// Photos of one request.
const IMAGES_MAX: usize = 16;
/// Pure fat has about 900 kcal per 100 g; no food has more.
const ENERGY_MAX_KCAL: f64 = 900.0;

/// The service. Clones share everything.
#[derive(Clone)]
pub struct FoodService {
    ai: AiService,
}

impl FoodService {
    /// The service; it refuses until [`Self::connect`].
    #[must_use]
    pub fn new(ai: AiService) -> Self {
        Self { ai }
    }

    /// Tells where dishes are kept; from now on photos are compared with them first. The first call counts.
    pub fn connect(&self, store: Arc<dyn VectorStore>) {
        self.ai.set_dishes(Dishes::new(store));
    }

    async fn enrol(&self, request: wire::EnrolFoodRequest) -> Result<wire::EnrolFoodResponse, Status> {
        let wire::EnrolFoodRequest { user_id, name, kcal_per_100g, images, replace } = request;
        let (user, name) = (user(user_id)?, checked_name(&name)?);
        if !(0.0..=ENERGY_MAX_KCAL).contains(&kcal_per_100g) {
            let reason = format!("is {kcal_per_100g}, expected 0 to {ENERGY_MAX_KCAL}");
            return Err(invalid("kcal_per_100g", reason));
        }
        if images.is_empty() || images.len() > IMAGES_MAX {
            return Err(invalid(
                "images",
                format!("has {} photos, expected 1 to {IMAGES_MAX}", images.len()),
            ));
        }
        let before = self.ai.dishes()?.of(&user, &name).await.map_err(|error| failed(&error))?;
        if !replace {
            self.may_grow(&user, &name, kcal_per_100g, images.len()).await?;
        }
        let (mut vectors, mut model) = (Vec::with_capacity(images.len()), wire::ModelReference::default());
        for (index, image) in images.into_iter().enumerate() {
            let seen = self.ai.features(image).await.map_err(|status| at(index, status))?;
            vectors.push(seen.0.vector);
            model = seen.1;
        }
        let kept = if replace { 0 } else { before.len() };
        let images = u32::try_from(kept + vectors.len()).unwrap_or(u32::MAX);
        let dish = Dish { name, kcal_per_100g, images };
        // New photos first: a failure in between leaves too many rather than none.
        self.ai.dishes()?.add(&user, &dish, &model.version, vectors).await.map_err(|error| failed(&error))?;
        if replace {
            self.ai.dishes()?.forget(&user, &before).await.map_err(|error| failed(&error))?;
        }
        Ok(wire::EnrolFoodResponse { food: Some(told(dish)), model: Some(model) })
    }

    /// Photos may be added to a dish while its energy stays what it was.
    async fn may_grow(&self, user: &Tenant, name: &str, energy: f64, more: usize) -> Result<(), Status> {
        let known = self.ai.dishes()?.list(user).await.map_err(|error| failed(&error))?;
        let Some(dish) = known.into_iter().find(|dish| dish.name == name) else { return Ok(()) };
        if (dish.kcal_per_100g - energy).abs() > f64::EPSILON {
            let known = dish.kcal_per_100g;
            return Err(invalid(
                "kcal_per_100g",
                format!("is {energy}, but the dish has {known}; set replace"),
            ));
        }
        let photos = usize::try_from(dish.images).unwrap_or(usize::MAX).saturating_add(more);
        if photos > dishes::PHOTOS_MAX {
            let reason = format!(
                "would make {photos} photos of the dish, at most {}; set replace",
                dishes::PHOTOS_MAX
            );
            return Err(invalid("images", reason));
        }
        Ok(())
    }

    async fn list(&self, request: wire::ListFoodsRequest) -> Result<wire::ListFoodsResponse, Status> {
        let wire::ListFoodsRequest { user_id } = request;
        let user = user(user_id)?;
        let dishes = self.ai.dishes()?.list(&user).await.map_err(|error| failed(&error))?;
        Ok(wire::ListFoodsResponse { foods: dishes.into_iter().map(told).collect() })
    }

    async fn delete(&self, request: wire::DeleteFoodRequest) -> Result<wire::DeleteFoodResponse, Status> {
        let wire::DeleteFoodRequest { user_id, name } = request;
        let (user, name) = (user(user_id)?, checked_name(&name)?);
        let photos = self.ai.dishes()?.of(&user, &name).await.map_err(|error| failed(&error))?;
        if photos.is_empty() {
            return Err(Status::not_found(format!("name: no dish `{name}` is enrolled")));
        }
        let images = self.ai.dishes()?.forget(&user, &photos).await.map_err(|error| failed(&error))?;
        Ok(wire::DeleteFoodResponse { images })
    }
}

#[tonic::async_trait]
impl Service for FoodService {
    async fn enrol_food(
        &self,
        request: Request<wire::EnrolFoodRequest>,
    ) -> Result<Response<wire::EnrolFoodResponse>, Status> {
        self.enrol(request.into_inner()).await.map(Response::new)
    }

    async fn list_foods(
        &self,
        request: Request<wire::ListFoodsRequest>,
    ) -> Result<Response<wire::ListFoodsResponse>, Status> {
        self.list(request.into_inner()).await.map(Response::new)
    }

    async fn delete_food(
        &self,
        request: Request<wire::DeleteFoodRequest>,
    ) -> Result<Response<wire::DeleteFoodResponse>, Status> {
        self.delete(request.into_inner()).await.map(Response::new)
    }
}

/// The person as the store knows them.
pub(in crate::server) fn user(user_id: String) -> Result<Tenant, Status> {
    Tenant::parse(user_id).map_err(|error| invalid("user_id", error))
}

fn checked_name(name: &str) -> Result<String, Status> {
    let name = name.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let reason =
            format!("has {chars} characters, expected 1 to {NAME_CHARS_MAX} and no control characters");
        return Err(invalid("name", reason));
    }
    Ok(name.to_owned())
}

/// A refusal of photo `index` names it.
fn at(index: usize, status: Status) -> Status {
    match status.message().strip_prefix("image") {
        Some(rest) => Status::new(status.code(), format!("images[{index}]{rest}")),
        None => status,
    }
}

fn told(dish: Dish) -> wire::EnrolledFood {
    let Dish { name, kcal_per_100g, images } = dish;
    wire::EnrolledFood { name, kcal_per_100g, images }
}
