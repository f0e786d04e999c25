//! What an evaluation says: plain rows that a table, JSON, `model.toml` and a card are all written from.

use serde::Serialize;

use super::plots::Plot;

/// One figure on the test set, with its interval and what a simple method reached on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// Key, for example `auroc` or `rmse_30`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Lower end of the 95 % bootstrap interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval.
    pub high: Option<f64>,
    /// The same figure of the baseline.
    pub baseline: Option<f64>,
    /// Which simple method the baseline is.
    pub baseline_name: Option<String>,
    /// Further simple methods, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<(String, f64)>,
    /// Part of the test set, for example `female` or `age 60-79`; all of it when absent.
    pub subgroup: Option<String>,
    /// Rows behind the figure.
    pub rows: usize,
}

impl Measure {
    /// A figure over all `rows`, without interval or baseline.
    #[must_use]
    pub fn new(name: impl Into<String>, value: f64, rows: usize) -> Self {
        Self {
            name: name.into(),
            value,
            low: None,
            high: None,
            baseline: None,
            baseline_name: None,
            others: Vec::new(),
            subgroup: None,
            rows,
        }
    }

    /// With its interval, where there is one.
    #[must_use]
    pub fn between(mut self, interval: Option<(f64, f64)>) -> Self {
        (self.low, self.high) = interval.unzip();
        self
    }

    /// With the figure of a simple method, where it has one; a second method stands beside the first.
    #[must_use]
    pub fn against(mut self, name: &str, value: Option<f64>) -> Self {
        match value {
            Some(value) if self.baseline.is_some() => self.others.push((name.to_owned(), value)),
            Some(value) => (self.baseline, self.baseline_name) = (Some(value), Some(name.to_owned())),
            None => {}
        }
        self
    }

    /// Every simple method with its figure.
    pub fn beside(&self) -> impl Iterator<Item = (&str, f64)> {
        let first = self.baseline_name.as_deref().zip(self.baseline);
        first.into_iter().chain(self.others.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    /// As the figure of a part of the test set.
    #[must_use]
    pub fn within(mut self, subgroup: &str) -> Self {
        self.subgroup = Some(subgroup.to_owned());
        self
    }
}

/// Everything measured of one bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// Model name.
    pub model: String,
    /// Version id.
    pub version: String,
    /// Family.
    pub family: String,
    /// Task.
    pub task: String,
    /// Whether the model was made and measured on simulated data.
    pub synthetic: bool,
    /// What the test set is.
    pub test_set: String,
    /// Rows of the test set.
    pub rows: usize,
    /// The figures.
    pub measures: Vec<Measure>,
    /// Sentences a reader must know, for example an aim that was missed.
    pub remarks: Vec<String>,
    /// Pictures of the same rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<Plot>,
}

impl EvalReport {
    /// The figure `name` over the whole test set.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.measures.iter().find(|m| m.name == name && m.subgroup.is_none()).map(|m| m.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_carries_its_interval_and_baseline() {
        let measure =
            Measure::new("auroc", 0.9, 10).between(Some((0.8, 0.95))).against("age alone", Some(0.7));
        assert_eq!((measure.low, measure.high, measure.baseline), (Some(0.8), Some(0.95), Some(0.7)));
        let bare = Measure::new("auroc", 0.9, 10).between(None).against("age alone", None).within("female");
        assert_eq!((bare.low, bare.baseline_name, bare.subgroup.as_deref()), (None, None, Some("female")));
        let two = measure.against("trees", Some(0.8)).against("none", None);
        assert_eq!(two.beside().collect::<Vec<_>>(), [("age alone", 0.7), ("trees", 0.8)]);
    }

    #[test]
    fn a_subgroup_is_not_taken_for_the_whole() {
        let report = EvalReport {
            model: "m".into(),
            version: "v".into(),
            family: "f".into(),
            task: "t".into(),
            synthetic: true,
            test_set: "s".into(),
            rows: 2,
            measures: vec![Measure::new("rmse", 1.0, 1).within("male"), Measure::new("rmse", 2.0, 2)],
            remarks: vec![],
            plots: vec![],
        };
        assert_eq!(report.value("rmse"), Some(2.0));
        assert_eq!(report.value("mae"), None);
    }
}
