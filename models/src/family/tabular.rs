//! Panels as rows of a table: the columns a model was trained on, read from a [`Panel`], with a second tensor that
//! marks what is missing.

use clinical::{Biomarker, Finding, Panel, Sex};

use crate::bundle::config::FeatureConfig;
use crate::explain::{Contribution, Explanation, Method, shapley};
use crate::{ModelError, Tensor};

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Biomarker(Biomarker),
    Finding(Finding),
    Age,
    SexMale,
}

/// One column of `features`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) loinc: String,
    pub(crate) unit: String,
    source: Source,
}

/// Columns of a tabular model, in input order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns(Vec<Column>);

/// One case: a value per column, `None` where missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row(pub(crate) Vec<Option<f64>>);

impl Columns {
    /// The columns that `model.toml` names.
    pub(crate) fn new(features: &[FeatureConfig]) -> Result<Self, ModelError> {
        if features.is_empty() {
            return Err(ModelError::invalid("model.toml", "a tabular family needs [[feature]] tables"));
        }
        features.iter().map(column).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn get(&self) -> &[Column] {
        &self.0
    }

    /// Reads a panel. Refused when it holds none of the biomarkers that the model looks at, since the answer would
    /// then say nothing about the person.
    pub(crate) fn read(&self, panel: &Panel) -> Result<Row, ModelError> {
        let row = Row(self.0.iter().map(|column| value(column.source, panel)).collect());
        let measured = |(column, value): (&Column, &Option<f64>)| {
            matches!(column.source, Source::Biomarker(_)) && value.is_some()
        };
        if self.0.iter().zip(&row.0).any(measured) {
            return Ok(row);
        }
        let wanted: Vec<_> = self
            .0
            .iter()
            .filter(|c| matches!(c.source, Source::Biomarker(_)))
            .map(|c| c.name.as_str())
            .collect();
        Err(ModelError::input("panel", format!("has none of the values needed: {}", wanted.join(", "))))
    }

    /// Names of the columns without a value.
    pub(crate) fn missing(&self, row: &Row) -> Vec<String> {
        self.0.iter().zip(&row.0).filter(|(_, value)| value.is_none()).map(|(c, _)| c.name.clone()).collect()
    }

    /// The values of a row by the names of their columns.
    pub(crate) fn reader(&self, row: &Row) -> impl Fn(&str) -> Option<f64> {
        move |name| {
            self.0.iter().zip(&row.0).find(|(column, _)| column.name == name).and_then(|(_, value)| *value)
        }
    }

    /// Indices of the columns with a value.
    pub(crate) fn present(&self, row: &Row) -> Vec<usize> {
        (0..self.0.len()).filter(|&index| row.0[index].is_some()).collect()
    }

    /// `features` and `present`: the row itself, then one copy per entry of `hidden` without the columns it lists.
    pub(crate) fn tensors(&self, row: &Row, hidden: &[Vec<usize>]) -> Result<Vec<Tensor>, ModelError> {
        let width = self.0.len();
        let values: Vec<f32> = row.0.iter().map(|value| value.unwrap_or(0.0) as f32).collect();
        let marks: Vec<f32> = row.0.iter().map(|value| f32::from(u8::from(value.is_some()))).collect();
        let rows = hidden.len() + 1;
        let features = values.repeat(rows);
        let mut present = marks.repeat(rows);
        for (copy, columns) in hidden.iter().enumerate() {
            for column in columns {
                present[(copy + 1) * width + column] = 0.0;
            }
        }
        Ok(vec![
            Tensor::from_f32(vec![rows, width], &features)?,
            Tensor::from_f32(vec![rows, width], &present)?,
        ])
    }

    /// Column `index` with its value as a contribution.
    pub(crate) fn contribution(&self, row: &Row, index: usize, contribution: f64) -> Contribution {
        let Column { name, loinc, unit, .. } = &self.0[index];
        Contribution {
            feature: name.clone(),
            loinc: loinc.clone(),
            value: row.0[index],
            unit: unit.clone(),
            contribution,
        }
    }

    /// What to hide for an explanation, copy by copy of the row; the last copy lacks everything.
    pub(crate) fn hidden(&self, row: &Row) -> Vec<Vec<usize>> {
        let present = self.present(row);
        let columns = |set: Vec<usize>| set.into_iter().map(|input| present[input]).collect();
        shapley::Plan::new(present.len()).hidden().into_iter().map(columns).collect()
    }

    /// The explanation of one output whose values belong to the row itself and to the copies of [`Self::hidden`].
    pub(crate) fn explain(&self, row: &Row, name: &str, values: &[f64]) -> Explanation {
        let present = self.present(row);
        let plan = shapley::Plan::new(present.len());
        let shares = plan.values(values);
        let parts = present.iter().zip(shares).map(|(&index, share)| self.contribution(row, index, share));
        Explanation::of(Method::Shapley, name, plan.base(values), parts.collect())
    }
}

fn column(feature: &FeatureConfig) -> Result<Column, ModelError> {
    let FeatureConfig { name, unit, loinc, low: _, high: _ } = feature;
    let source = match name.as_str() {
        "age" => Source::Age,
        "sex_male" => Source::SexMale,
        other => match (Biomarker::from_code(other), Finding::from_code(other)) {
            (Some(biomarker), _) => Source::Biomarker(biomarker),
            (None, Some(finding)) => Source::Finding(finding),
            (None, None) => {
                let reason =
                    format!("feature `{other}` is neither a biomarker, a finding, `age` nor `sex_male`");
                return Err(ModelError::invalid("model.toml", reason));
            }
        },
    };
    let (own_loinc, own_unit) = match source {
        Source::Biomarker(biomarker) => (biomarker.loinc(), biomarker.unit().ucum()),
        Source::Age => ("30525-0", "a"),
        Source::SexMale | Source::Finding(_) => ("", ""),
    };
    let wrong_unit = unit.as_deref().filter(|unit| *unit != own_unit && !own_unit.is_empty());
    if let (Some(unit), Source::Biomarker(_)) = (wrong_unit, source) {
        let reason = format!("feature `{name}` is in {unit}, panels hold it in {own_unit}");
        return Err(ModelError::invalid("model.toml", reason));
    }
    let loinc = loinc.clone().unwrap_or_else(|| own_loinc.into());
    Ok(Column { name: name.clone(), loinc, unit: own_unit.into(), source })
}

fn value(source: Source, panel: &Panel) -> Option<f64> {
    match source {
        Source::Biomarker(biomarker) => panel.value(biomarker).or_else(|| derived(biomarker, panel)),
        Source::Finding(finding) => panel.finding(finding).map(|present| f64::from(u8::from(present))),
        Source::Age => panel.person().age_years(),
        Source::SexMale => panel.person().sex().map(|sex| f64::from(u8::from(sex == Sex::Male))),
    }
}

/// Values that follow exactly from others: the index of free thyroxine is thyroxine over uptake, FIB-4 is Sterling's
/// formula (2006), and a fasting glucose is a glucose.
fn derived(biomarker: Biomarker, panel: &Panel) -> Option<f64> {
    if biomarker == Biomarker::Glucose {
        return panel.value(Biomarker::FastingGlucose);
    }
    let computed = if biomarker == Biomarker::FreeT4Index {
        panel.value(Biomarker::TotalT4)? / panel.value(Biomarker::T4Uptake)?
    } else if biomarker == Biomarker::Fib4 {
        let age = panel.person().age_years()?;
        let liver = panel.value(Biomarker::Ast)? / panel.value(Biomarker::Alt)?.sqrt();
        age * liver / panel.value(Biomarker::Platelets)?
    } else {
        return None;
    };
    biomarker.check_value(computed).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use clinical::{Person, panel::PanelBuilder};

    use super::*;

    pub(crate) fn feature(name: &str) -> FeatureConfig {
        FeatureConfig { name: name.into(), unit: None, loinc: None, low: None, high: None }
    }

    pub(crate) fn panel(values: &[(Biomarker, f64)]) -> Panel {
        let person = Person::new(Some(50.0), Some(Sex::Female)).expect("valid");
        values
            .iter()
            .try_fold(Panel::builder(person), |b, (marker, v)| b.value(*marker, *v, marker.unit()))
            .and_then(PanelBuilder::build)
            .expect("valid panel")
    }

    fn columns(names: &[&str]) -> Columns {
        Columns::new(&names.iter().map(|name| feature(name)).collect::<Vec<_>>()).expect("known")
    }

    #[test]
    fn columns_are_read_in_order_and_missing_ones_are_named() {
        let columns = columns(&["sex_male", "age", "tsh", "pregnant", "t3"]);
        let row = columns.read(&panel(&[(Biomarker::Tsh, 2.0)])).expect("has tsh");
        assert_eq!(row.0, [Some(0.0), Some(50.0), Some(2.0), None, None]);
        assert_eq!(columns.missing(&row), ["pregnant", "t3"]);
    }

    #[test]
    fn a_panel_about_something_else_is_refused_naming_what_is_needed() {
        let error = columns(&["age", "tsh", "t3"]).read(&panel(&[(Biomarker::Glucose, 90.0)]));
        assert!(error.is_err_and(|e| e.to_string().ends_with("needed: tsh, t3")));
    }

    #[test]
    fn what_follows_exactly_is_computed() {
        let row = columns(&["free_t4_index", "glucose", "fib4"])
            .read(&panel(&[
                (Biomarker::TotalT4, 9.0),
                (Biomarker::T4Uptake, 0.9),
                (Biomarker::FastingGlucose, 91.0),
                (Biomarker::Ast, 30.0),
                (Biomarker::Alt, 25.0),
                (Biomarker::Platelets, 200.0),
            ]))
            .expect("computable");
        let expected = [10.0, 91.0, 1.5];
        assert!(row.0.iter().zip(expected).all(|(got, want)| (got.unwrap_or(0.0) - want).abs() < 1e-9));
        let row = columns(&["fasting_glucose", "tsh"])
            .read(&panel(&[(Biomarker::Glucose, 90.0), (Biomarker::Tsh, 1.0)]))
            .expect("tsh");
        assert_eq!(row.0[0], None, "a random glucose is not a fasting one");
    }

    #[test]
    fn unknown_features_and_foreign_units_are_the_bundles_fault() {
        assert!(Columns::new(&[feature("mood")]).is_err_and(|e| e.to_string().contains("`mood`")));
        let foreign = FeatureConfig { unit: Some("mmol/L".into()), ..feature("glucose") };
        assert!(Columns::new(&[foreign]).is_err_and(|e| e.to_string().contains("mg/dL")));
        assert!(Columns::new(&[]).is_err());
    }

    #[test]
    fn copies_hide_sets_of_columns_and_the_last_one_all() {
        let columns = columns(&["age", "tsh", "t3"]);
        let row = columns.read(&panel(&[(Biomarker::Tsh, 2.0)])).expect("has tsh");
        let tensors = columns.tensors(&row, &columns.hidden(&row)).expect("encodes");
        assert_eq!(tensors[1].shape(), [4, 3]);
        let present = tensors[1].as_f32().expect("fp32").into_owned();
        assert_eq!(present, [1., 1., 0., 1., 0., 0., 0., 1., 0., 0., 0., 0.]);
        let explained = columns.explain(&row, "p", &[0.9, 0.2, 0.8, 0.1]);
        assert_eq!((explained.contributions[0].feature.as_str(), explained.base_value), ("tsh", 0.1));
        let parts: f64 = explained.contributions.iter().map(|c| c.contribution).sum();
        assert!((explained.base_value + parts - 0.9).abs() < 1e-12, "they add up to the output");
    }
}
