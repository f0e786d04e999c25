//! Columns of a panel: which fact each stands for, and rows of values with their marks of presence.

use std::collections::BTreeSet;

use anyhow::Result;
use clinical::{Biomarker, Finding, Unit};
use models::bundle::FeatureConfig;

use super::matrix::Matrix;

/// What one column of `features` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// Age in years.
    Age,
    /// 1 for male, 0 for female.
    SexMale,
    /// A value in its canonical unit.
    Marker(Biomarker),
    /// 1 for yes, 0 for no.
    Finding(Finding),
}

impl Column {
    /// Name in `model.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::SexMale => "sex_male",
            Self::Marker(marker) => marker.code(),
            Self::Finding(finding) => finding.code(),
        }
    }

    /// Whether values spread over decades, so that the network should see their logarithm.
    pub(crate) fn is_logarithmic(self) -> bool {
        use Biomarker as B;
        match self {
            Self::Marker(marker) => [B::Tsh, B::T3, B::TotalT4, B::FreeT4Index, B::HbA1c].contains(&marker),
            Self::Age | Self::SexMale | Self::Finding(_) => false,
        }
    }

    /// Whether the column holds only 0 and 1.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::SexMale | Self::Finding(_))
    }
}

/// Rows of a panel: values, and 1 where there is one.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    pub(crate) columns: Vec<Column>,
    pub(crate) values: Matrix,
    pub(crate) present: Matrix,
}

impl Panels {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let empty = Matrix::new(columns.len());
        Self { columns: columns.to_vec(), values: empty.clone(), present: empty }
    }

    /// Adds a row; a value that is impossible for its column counts as absent.
    pub(crate) fn push(&mut self, value: impl Fn(Column) -> Option<f64>) {
        for &column in &self.columns {
            let possible = |v: &f64| match column {
                Column::Marker(marker) => marker.check_value(*v).is_ok(),
                Column::Age | Column::SexMale | Column::Finding(_) => v.is_finite(),
            };
            let value = value(column).filter(possible);
            self.values.data.push(value.unwrap_or(0.0) as f32);
            self.present.data.push(f32::from(u8::from(value.is_some())));
        }
    }

    /// The `[[feature]]` tables; bounds are the lowest and highest value among `rows`.
    pub(crate) fn features(&self, rows: &[usize]) -> Vec<FeatureConfig> {
        let feature = |(index, column): (usize, &Column)| {
            let known = self.known(index, rows);
            let ends = known.first().zip(known.last()).map(|(low, high)| (plain(*low), plain(*high)));
            let (unit, loinc) = match column {
                Column::Age => (Some(Unit::Year.ucum()), None),
                Column::Marker(marker) => (Some(marker.unit().ucum()), Some(marker.loinc())),
                Column::SexMale | Column::Finding(_) => (None, None),
            };
            FeatureConfig {
                name: column.name().to_owned(),
                unit: unit.map(str::to_owned),
                loinc: loinc.map(str::to_owned),
                low: ends.map(|e| e.0),
                high: ends.map(|e| e.1),
            }
        };
        self.columns.iter().enumerate().map(feature).collect()
    }

    /// Values of a column that are there, ascending.
    pub(crate) fn known(&self, column: usize, rows: &[usize]) -> Vec<f32> {
        let there = rows.iter().filter(|row| self.present.row(**row)[column] > 0.0);
        let mut known: Vec<f32> = there.map(|row| self.values.row(*row)[column]).collect();
        known.sort_by(f32::total_cmp);
        known
    }

    /// Rows in double precision with NaN for what is absent or named in `hidden`: for the baselines.
    pub(crate) fn with_gaps(&self, rows: &[usize], hidden: &BTreeSet<Column>) -> Vec<Vec<f64>> {
        let cell = |row: usize, col: usize| {
            let there = self.present.row(row)[col] > 0.0 && !hidden.contains(&self.columns[col]);
            let value = f64::from(self.values.row(row)[col]);
            match (there, self.columns[col].is_logarithmic()) {
                (true, true) => value.max(1e-3).ln(),
                (true, false) => value,
                (false, _) => f64::NAN,
            }
        };
        rows.iter().map(|row| (0..self.columns.len()).map(|col| cell(*row, col)).collect()).collect()
    }

    /// Presence marks of `rows` with the columns `hidden` taken out.
    pub(crate) fn hiding(&self, rows: &[usize], hidden: &BTreeSet<Column>) -> Matrix {
        let mut present = self.present.pick(rows);
        for cells in present.data.chunks_exact_mut(self.columns.len()) {
            for (cell, column) in cells.iter_mut().zip(&self.columns) {
                if hidden.contains(column) {
                    *cell = 0.0;
                }
            }
        }
        present
    }
}

/// The number as it was written down, without the tail of single precision.
fn plain(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A value of the data set in the canonical unit of its biomarker; `None` when it is absent or impossible.
pub(crate) fn canonical(marker: Biomarker, value: Option<f64>, unit: Unit) -> Option<f64> {
    value.and_then(|value| marker.read(value, unit).ok())
}

/// Every column is known by the clinical vocabulary, or the bundle could not be encoded for.
pub(crate) fn check_names(features: &[FeatureConfig]) -> Result<()> {
    for FeatureConfig { name, .. } in features {
        let known = ["age", "sex_male"].contains(&name.as_str())
            || Biomarker::from_code(name).is_some()
            || Finding::from_code(name).is_some();
        anyhow::ensure!(known, "feature `{name}` is neither a biomarker nor a finding");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::Age, Column::Marker(Biomarker::Tsh), Column::Finding(Finding::Sick)];

    fn panels() -> Panels {
        let mut panels = Panels::new(&COLUMNS);
        for (age, tsh) in [(40.0, Some(2.0)), (60.0, None), (50.0, Some(-1.0))] {
            panels.push(|column| match column {
                Column::Age => Some(age),
                Column::Marker(_) => tsh,
                Column::SexMale | Column::Finding(_) => None,
            });
        }
        panels
    }

    #[test]
    fn absent_and_impossible_values_are_marked() {
        let panels = panels();
        assert_eq!(panels.present.column(1), [1.0, 0.0, 0.0]);
        assert_eq!(panels.values.row(1), [60.0, 0.0, 0.0]);
        assert!(panels.with_gaps(&[2], &BTreeSet::new())[0][1].is_nan());
    }

    #[test]
    fn features_carry_unit_code_and_bounds() {
        let features = panels().features(&[0, 1]);
        check_names(&features).expect("known names");
        assert_eq!((features[0].low, features[0].high), (Some(40.0), Some(60.0)));
        assert_eq!(
            (features[1].unit.as_deref(), features[1].loinc.as_deref()),
            (Some("m[IU]/L"), Some("3016-3"))
        );
        assert_eq!((features[2].low, features[2].name.as_str()), (None, "sick"));
    }

    #[test]
    fn hidden_columns_lose_their_mark() {
        let hidden = BTreeSet::from([Column::Marker(Biomarker::Tsh)]);
        assert_eq!(panels().hiding(&[0], &hidden).data, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn units_of_the_source_become_canonical() {
        let t4 = canonical(Biomarker::TotalT4, Some(100.0), Unit::NmolPerL).expect("possible");
        assert!((t4 - 7.7687).abs() < 1e-3);
        assert_eq!(canonical(Biomarker::TotalT4, Some(1e9), Unit::NmolPerL), None);
    }
}
