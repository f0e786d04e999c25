//! Labelled photos on which the food model is measured, each fetched when it is needed.
//!
//! Which photo shows which class is ours: `assets/food_photos.tsv`. The photos may be read but not passed on, so they
//! never lie with the project; what was measured on them does: `assets/food_confidence.tsv`. Besides the 53 photos
//! there are strangers, pictures of what is none of the foods: on those of plants it is measured when to say
//! "unsure", on those of animals whether that holds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use models::{Batch, Bundle, Model, family::food::Encoder};

use crate::data::Store;

/// Packages the photos come from, and the folder of the photos inside.
pub(super) const TABLES: &str = "food-photos";
pub(super) const STAMPS: &str = "food-stamps";
const COFFEE: &str = "coffee-photo";
/// Labels: package, member without folder and ending, class index.
const PHOTOS: &str = include_str!("../../assets/food_photos.tsv");
/// Groups of the composition tables that hold plants; the others hold animals, their milk, eggs and meat.
const PLANT_GROUPS: std::ops::RangeInclusive<char> = 'A'..='K';

/// What a photo is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It shows this class.
    Food(usize),
    /// It shows a plant that is none of the foods.
    OtherPlant,
    /// It shows an animal or what comes of one.
    Animal,
}

/// What the model made of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Name of the photo in its package.
    pub photo: String,
    /// What it shows.
    pub truth: Truth,
    /// Confidence in the food that won.
    pub confidence: f64,
    /// Place of the right food, from 0; `None` when it is not among the candidates.
    pub place: Option<usize>,
    /// Whether no food is named.
    pub unsure: bool,
    /// Place of the right class among the classes of foods, each class by itself.
    pub place_alone: Option<usize>,
}

/// One photo by package and member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Picture {
    pub(super) source: &'static str,
    pub(super) name: String,
}

impl Picture {
    pub(super) fn of(source: &str, name: &str) -> Result<Self> {
        let known = [TABLES, STAMPS, COFFEE].into_iter().find(|known| *known == source);
        Ok(Self { source: known.with_context(|| format!("no photos in `{source}`"))?, name: name.to_owned() })
    }

    fn member(&self) -> String {
        match self.source {
            TABLES => format!("package/assets/{}.jpeg", self.name),
            STAMPS => format!("usr/share/tuxpaint/stamps/{}.png", self.name),
            _ => format!("skimage/data/{}.png", self.name),
        }
    }
}

/// The bytes of every picture, each package read once.
pub(super) fn read(store: &Store, pictures: &BTreeSet<Picture>) -> Result<BTreeMap<Picture, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for source in [TABLES, STAMPS, COFFEE] {
        let wanted: Vec<&Picture> = pictures.iter().filter(|picture| picture.source == source).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut found = store.members(source, &wanted.iter().map(|picture| picture.member()).collect())?;
        for picture in wanted {
            let bytes = found.remove(&picture.member()).context("a member that was there is gone")?;
            all.insert(picture.clone(), bytes);
        }
    }
    Ok(all)
}

/// The 53 labelled photos of the table.
pub(super) fn labelled() -> Result<Vec<(Picture, usize)>> {
    let lines = PHOTOS.lines().filter(|line| !line.starts_with('#'));
    let parsed = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[source, name, class] = cells.as_slice() else { bail!("`{line}` has not three cells") };
        let class = class.parse().with_context(|| format!("`{class}` is no class"))?;
        Ok((Picture::of(source, name)?, class))
    };
    lines.map(parsed).collect()
}

/// Photos of the composition tables that show none of the foods. What the labels leave out although
/// its name is that of a food is neither.
fn strangers(store: &Store, labelled: &[(Picture, usize)]) -> Result<Vec<(Picture, Truth)>> {
    const NEITHER: [&str; 1] = ["D045"];
    let mut strangers = Vec::new();
    for member in store.members_like(TABLES, "package/assets/*.jpeg")? {
        let name = member.rsplit('/').next().unwrap_or(&member).trim_end_matches(".jpeg");
        let picture = Picture::of(TABLES, name)?;
        if NEITHER.contains(&name) || labelled.iter().any(|(known, _)| *known == picture) {
            continue;
        }
        let plant = name.chars().next().is_some_and(|group| PLANT_GROUPS.contains(&group));
        strangers.push((picture, if plant { Truth::OtherPlant } else { Truth::Animal }));
    }
    Ok(strangers)
}

/// Shows every photo to the model as the server does; with `strangers` also those that show none of the foods.
///
/// # Errors
/// Fetching, a photo that cannot be decoded, or a model that fails.
pub fn measure(
    store: &Store,
    bundle: &Bundle,
    model: &mut dyn Model,
    with_strangers: bool,
) -> Result<Vec<Sighting>> {
    let encoder = Encoder::new(bundle)?;
    let labelled = labelled()?;
    let mut all: Vec<(Picture, Truth)> =
        labelled.iter().map(|(picture, class)| (picture.clone(), Truth::Food(*class))).collect();
    if with_strangers {
        all.extend(strangers(store, &labelled)?);
    }
    let photos = read(store, &all.iter().map(|(picture, _)| picture.clone()).collect())?;
    let classes = super::classes()?;
    let mut sightings = Vec::with_capacity(all.len());
    for (picture, truth) in all {
        let photo = photos.get(&picture).context("a photo that was read is gone")?;
        sightings.push(look(&encoder, model, &picture.name, photo, truth, &classes)?);
    }
    Ok(sightings)
}

fn look(
    encoder: &Encoder,
    model: &mut dyn Model,
    name: &str,
    photo: &[u8],
    truth: Truth,
    classes: &[usize],
) -> Result<Sighting> {
    let encoded = encoder.encode(photo, None, false).with_context(|| name.to_owned())?;
    let outputs = model.run(Batch { tensors: encoded.tensors.clone() })?.tensors;
    let answer = encoder.decode(&encoded, &outputs)?;
    let logits = outputs.first().context("the model gives no logits")?.as_f32()?;
    let mut alone: Vec<usize> = classes.iter().copied().filter(|class| *class < logits.len()).collect();
    alone.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let is_right = |class| truth == Truth::Food(class);
    Ok(Sighting {
        photo: name.rsplit('/').next().unwrap_or(name).to_owned(),
        truth,
        confidence: answer.candidates.first().map_or(0.0, |best| best.confidence),
        place: answer.candidates.iter().position(|candidate| is_right(candidate.row.class_index)),
        unsure: answer.unsure,
        place_alone: alone.into_iter().position(is_right),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_are_53_photos_of_foods_that_the_table_knows() {
        let labelled = labelled().expect("readable");
        let count = |source| labelled.iter().filter(|(picture, _)| picture.source == source).count();
        assert_eq!((count(TABLES), count(STAMPS), count(COFFEE)), (32, 20, 1));
        let classes = super::super::classes().expect("classes");
        assert!(labelled.iter().all(|(_, class)| classes.contains(class)));
        assert_eq!(labelled.iter().map(|(picture, _)| picture).collect::<BTreeSet<_>>().len(), 53);
    }

    #[test]
    fn a_picture_of_an_unknown_package_is_refused() {
        assert!(Picture::of("nothing", "a").is_err());
        let stamp = Picture::of(STAMPS, "food/fruit/lemon").expect("known");
        assert_eq!(stamp.member(), "usr/share/tuxpaint/stamps/food/fruit/lemon.png");
    }
}
