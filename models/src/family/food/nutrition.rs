//! `nutrition.tsv` of the bundle: which classes are foods and what 100 g of each hold.

use crate::ModelError;

/// Name of the file inside the bundle.
pub const NUTRITION_FILE: &str = "nutrition.tsv";
/// Columns of the file that are read, by name, so that their order may change.
const COLUMNS: [&str; 9] = [
    "class_index",
    "label",
    "fdc_type",
    "fdc_description",
    "kcal_per_100g",
    "protein_g_per_100g",
    "fat_g_per_100g",
    "carbohydrate_g_per_100g",
    "portion_g",
];

/// One food.
#[derive(Debug, Clone, PartialEq)]
pub struct FoodRow {
    /// Column of the classifier's output.
    pub class_index: usize,
    /// Name shown.
    pub label: String,
    /// Where the nutrients come from, for example `USDA FoodData Central fndds: Trifle`.
    pub source: String,
    /// Energy, kcal per 100 g.
    pub kcal_per_100g: f64,
    /// Protein, gram per 100 g.
    pub protein_per_100g: f64,
    /// Fat, gram per 100 g.
    pub fat_per_100g: f64,
    /// Carbohydrate, gram per 100 g.
    pub carbohydrate_per_100g: f64,
    /// Usual portion, gram.
    pub portion_grams: f64,
}

/// Every food of a bundle; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct NutritionTable(Vec<FoodRow>);

impl NutritionTable {
    /// Reads the table: comments begin with `#`, then a line of column names, then one line per food.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] naming the line.
    pub fn parse(content: &[u8]) -> Result<Self, ModelError> {
        let invalid = |reason: String| ModelError::invalid(NUTRITION_FILE, reason);
        let text = std::str::from_utf8(content).map_err(|_| invalid("is not UTF-8".into()))?;
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.starts_with('#') && !line.is_empty());
        let (header, _) = lines.next().ok_or_else(|| invalid("has no line".into()))?;
        let place = |name: &&str| {
            let at = header.split('\t').position(|column| column == *name);
            at.ok_or_else(|| invalid(format!("has no column `{name}`")))
        };
        let places = COLUMNS.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let parsed = |(line, number): (&str, usize)| {
            let fields: Vec<&str> = line.split('\t').collect();
            row(&fields, &places).ok_or_else(|| {
                invalid(format!("line {number} needs text and numbers of at least 0 in {COLUMNS:?}"))
            })
        };
        let rows = lines.map(parsed).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() { Err(invalid("has no food".into())) } else { Ok(Self(rows)) }
    }

    /// The foods, in file order.
    #[must_use]
    pub fn rows(&self) -> &[FoodRow] {
        &self.0
    }
}

fn row(fields: &[&str], places: &[usize]) -> Option<FoodRow> {
    let text = |column: usize| fields.get(places[column]).copied().filter(|text| !text.is_empty());
    let number =
        |column: usize| text(column)?.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    Some(FoodRow {
        class_index: text(0)?.parse().ok()?,
        label: text(1)?.into(),
        source: format!("USDA FoodData Central {}: {}", text(2)?, text(3)?),
        kcal_per_100g: number(4)?,
        protein_per_100g: number(5)?,
        fat_per_100g: number(6)?,
        carbohydrate_per_100g: number(7)?,
        portion_grams: number(8).filter(|grams| *grams > 0.0)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const TABLE: &str = "# per 100 g\n\
        class_index\tlabel\tfdc_type\tfdc_description\tkcal_per_100g\tprotein_g_per_100g\tfat_g_per_100g\t\
        carbohydrate_g_per_100g\tportion_g\n\
        0\tPizza\tfndds\tPizza, cheese\t266\t11\t10\t33\t107\n\
        2\tEspresso\tfndds\tCoffee, espresso\t9\t0.1\t0.2\t1.7\t30\n";

    #[test]
    fn a_table_is_read_by_column_name() {
        let table = NutritionTable::parse(TABLE.as_bytes()).expect("valid");
        assert_eq!(table.rows().len(), 2);
        assert_eq!((table.rows()[1].class_index, table.rows()[1].portion_grams), (2, 30.0));
        assert!(table.rows()[0].source.ends_with("fndds: Pizza, cheese"));
    }

    #[test]
    fn broken_tables_say_where() {
        let broken = TABLE.replace("\t266\t", "\t-1\t");
        for (text, part) in [
            ("", "no line"),
            ("label\n", "`class_index`"),
            (broken.as_str(), "line 3"),
            (TABLE.split("0\tPizza").next().expect("header"), "no food"),
        ] {
            let error = NutritionTable::parse(text.as_bytes()).expect_err("broken").to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(NutritionTable::parse(&[0xff, 0xfe]).is_err());
    }
}
