//! Photos found again by their features: cut-outs of fruit and vegetables looked for among photographs of plants made
//! by other people, as an enrolled dish is recognised, only harder.
//!
//! Which photographs are of the kind of a cut-out is ours: `assets/food_queries.tsv`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use models::{Batch, Bundle, Model, family::food::Encoder};

use super::photos::{Picture, STAMPS, TABLES, read};
use crate::data::Store;

const QUERIES: &str = include_str!("../../assets/food_queries.tsv");
/// Groups of the composition tables that the gallery is made of: cereals, legumes, leaves, vegetables, fruit, roots,
/// spices, nuts and mushrooms.
const GROUPS: &str = "ABCDEFGHJ";

/// Of every cut-out, the place of the first photograph of its kind, from 0.
pub(super) fn places(store: &Store, bundle: &Bundle, model: &mut dyn Model) -> Result<Vec<usize>> {
    let encoder = Encoder::new(bundle)?;
    let queries = queries()?;
    let members = store.members_like(TABLES, "package/assets/*.jpeg")?;
    let code = |member: &String| Some(member.rsplit('/').next()?.strip_suffix(".jpeg")?.to_owned());
    let gallery: Vec<String> = members.iter().filter_map(code).filter(|code| is_plant(code)).collect();
    let pictures = |source: &str, names: &[&String]| -> Result<Vec<Picture>> {
        names.iter().map(|name| Picture::of(source, name)).collect()
    };
    let shown = pictures(STAMPS, &queries.keys().collect::<Vec<_>>())?;
    let kept = pictures(TABLES, &gallery.iter().collect::<Vec<_>>())?;
    let photos = read(store, &shown.iter().chain(&kept).cloned().collect())?;
    let mut vector = |picture: &Picture| -> Result<Vec<f32>> {
        let photo = photos.get(picture).context("a photo that was read is gone")?;
        let encoded = encoder.encode(photo, None, false).with_context(|| picture.name.clone())?;
        let outputs = model.run(Batch { tensors: encoded.tensors.clone() })?.tensors;
        Ok(unit(encoder.features(&encoded, &outputs)?))
    };
    let mut vectors = Vec::with_capacity(kept.len());
    for picture in &kept {
        vectors.push((picture.name.as_str(), vector(picture)?));
    }
    let mut places = Vec::with_capacity(shown.len());
    for picture in &shown {
        let kinds = queries.get(&picture.name).context("a query that was listed is gone")?;
        places.push(place(&vector(picture)?, &vectors, kinds)?);
    }
    Ok(places)
}

fn is_plant(code: &str) -> bool {
    code.chars().next().is_some_and(|group| GROUPS.contains(group))
}

fn place(query: &[f32], gallery: &[(&str, Vec<f32>)], kinds: &[String]) -> Result<usize> {
    let cosine = |vector: &[f32]| query.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
    let mut ranked: Vec<(f32, &str)> = gallery.iter().map(|(code, vector)| (cosine(vector), *code)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let first = ranked.iter().position(|(_, code)| kinds.iter().any(|kind| kind == code));
    first.with_context(|| format!("none of {kinds:?} is in the gallery"))
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Cut-outs with the codes of their kind.
fn queries() -> Result<BTreeMap<String, Vec<String>>> {
    let lines = QUERIES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let Some((stamp, codes)) = line.split_once('\t') else { bail!("`{line}` has not two cells") };
            Ok((stamp.to_owned(), codes.split(' ').map(str::to_owned).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queries_are_45_and_name_photographs_of_the_gallery() {
        let queries = queries().expect("readable");
        assert_eq!(queries.len(), 45);
        assert!(queries.values().all(|codes| !codes.is_empty() && codes.iter().all(|code| is_plant(code))));
    }

    #[test]
    fn a_search_ends_where_the_first_of_its_kind_is() {
        let gallery = [("E1", vec![1.0, 0.0]), ("E2", unit(vec![1.0, 1.0])), ("E3", vec![0.0, 1.0])];
        let place = |kinds: &[&str]| {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            place(&[1.0, 0.0], &gallery, &kinds)
        };
        assert_eq!(place(&["E2", "E3"]).expect("found"), 1);
        assert_eq!(place(&["E1"]).expect("found"), 0);
        assert!(place(&["E9"]).is_err());
    }
}
