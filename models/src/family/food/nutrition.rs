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
/// Column of the further classes that are kinds of the food; tables without it have none.
const ALSO: &str = "also_classes";

/// One food.
#[derive(Debug, Clone, PartialEq)]
pub struct FoodRow {
    /// Column of the classifier's output.
    pub class_index: usize,
    /// Further columns that are kinds of this food, whose shares add to its own.
    pub also: Vec<usize>,
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

impl FoodRow {
    /// Every column of the classifier's output that means this food.
    pub fn classes(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.class_index).chain(self.also.iter().copied())
    }
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
        let also = header.split('\t').position(|column| column == ALSO);
        let parsed = |(line, number): (&str, usize)| {
            let fields: Vec<&str> = line.split('\t').collect();
            row(&fields, &places, also).ok_or_else(|| {
                invalid(format!("line {number} needs text and numbers of at least 0 in {COLUMNS:?}"))
            })
        };
        let rows = lines.map(parsed).collect::<Result<Vec<_>, _>>()?;
        let mut classes: Vec<usize> = rows.iter().flat_map(FoodRow::classes).collect();
        classes.sort_unstable();
        if let Some(double) = classes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("gives class {} to two foods", double[0])));
        }
        if rows.is_empty() { Err(invalid("has no food".into())) } else { Ok(Self(rows)) }
    }

    /// The foods, in file order.
    #[must_use]
    pub fn rows(&self) -> &[FoodRow] {
        &self.0
    }
}

fn row(fields: &[&str], places: &[usize], also: Option<usize>) -> Option<FoodRow> {
    let text = |column: usize| fields.get(places[column]).copied().filter(|text| !text.is_empty());
    let number =
        |column: usize| text(column)?.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    let also = match also {
        Some(column) => *fields.get(column)?,
        None => "none",
    };
    let also = also.split(' ').filter(|class| *class != "none").map(|class| class.parse().ok());
    Some(FoodRow {
        class_index: text(0)?.parse().ok()?,
        also: also.collect::<Option<_>>()?,
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
    fn kinds_of_a_food_are_read_and_belong_to_one_food_only() {
        let with = |pizza: &str, espresso: &str| {
            let lines = TABLE.lines().map(|line| match line.get(..1) {
                Some("c") => format!("{line}\talso_classes"),
                Some("0") => format!("{line}\t{pizza}"),
                Some("2") => format!("{line}\t{espresso}"),
                _ => line.to_owned(),
            });
            NutritionTable::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
        };
        let table = with("none", "5 7").expect("valid");
        assert_eq!(table.rows()[1].classes().collect::<Vec<_>>(), [2, 5, 7]);
        assert_eq!(table.rows()[0].classes().collect::<Vec<_>>(), [0]);
        assert!(with("2", "none").expect_err("two foods").to_string().contains("class 2"));
        assert!(with("x", "none").expect_err("no number").to_string().contains("line 3"));
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
