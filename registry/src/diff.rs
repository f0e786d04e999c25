//! Two versions beside each other: of what class the change is, what was changed, and what was measured before and after.
//!
//! It is what a person asks before they approve. Of configuration, tensors and files only what differs is told; weights,
//! figures of the card and gates always, since that they are alike says something too.

use std::collections::{BTreeMap, BTreeSet};

use models::{
    Bundle,
    bundle::{BundleConfig, MetricConfig},
};
use serde_json::Value;

use crate::{
    error::RegistryError,
    gates::{Gate, change},
    policy::Changes,
};

/// File of a bundle with its intervals, which belong to the numbers as the weights do.
const CALIBRATION: &str = "calibration.json";

/// One of the two.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// How messages name it.
    pub name: String,
    /// What its bundle says; none of a version that never became one.
    pub config: Option<BundleConfig>,
    /// SHA-256 and bytes of each file of the bundle, or of what was uploaded where there is none.
    pub files: BTreeMap<String, (String, u64)>,
    /// What the gates found last.
    pub gates: Vec<Gate>,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A setting of `model.toml`, the network's among them.
    Config,
    /// An input or output.
    Tensor,
    /// The file with the weights.
    Weights,
    /// Another file.
    File,
    /// A figure of the card.
    Metric,
    /// A gate.
    Gate,
}

impl Part {
    /// The word for people and on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Tensor => "tensor",
            Self::Weights => "weights",
            Self::File => "file",
            Self::Metric => "metric",
            Self::Gate => "gate",
        }
    }
}

/// One thing of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is about.
    pub part: Part,
    /// Which of those.
    pub name: String,
    /// As it was; none: it was not there.
    pub from: Option<String>,
    /// As it is; none: it is there no more.
    pub to: Option<String>,
    /// How much a number rose.
    pub difference: Option<f64>,
}

/// Both beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
    /// Of what class the change is, and whether that was agreed on beforehand; none where one of them is no bundle.
    pub change: Option<String>,
    /// Row by row.
    pub rows: Vec<Row>,
}

type Texts = BTreeMap<String, String>;

impl Side {
    /// A bundle that lies in a folder and has not been through the gates.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let files = bundle.manifest().files().iter();
        Self {
            name: format!("{} {}", bundle.config().name, bundle.config().version),
            config: Some(bundle.config().clone()),
            files: files.map(|(name, file)| (name.clone(), (file.sha256.clone(), file.size))).collect(),
            gates: Vec::new(),
        }
    }

    fn weights(&self) -> Option<&'static str> {
        self.config.as_ref().map(|config| config.engine.weights_file())
    }

    /// Hash of a file.
    fn hash(&self, file: &str) -> Option<&str> {
        self.files.get(file).map(|(hash, _)| hash.as_str())
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        let name = |metric: &MetricConfig| match &metric.subgroup {
            Some(subgroup) => format!("{} ({}, {subgroup})", metric.name, metric.split),
            None => format!("{} ({})", metric.name, metric.split),
        };
        let metrics = self.config.iter().flat_map(|config| &config.metrics);
        metrics.map(|metric| (name(metric), metric.value)).collect()
    }

    /// Every setting by its path, tensors apart.
    fn settings(&self) -> Result<(Texts, Texts), RegistryError> {
        let (mut config, mut tensors) = (Texts::new(), Texts::new());
        let Some(own) = &self.config else { return Ok((config, tensors)) };
        let value = serde_json::to_value(own);
        let value = value.map_err(|error| RegistryError::invalid(&self.name, error.to_string()))?;
        for (key, value) in value.as_object().into_iter().flatten() {
            match key.as_str() {
                "metric" => {}
                "input" | "output" => flatten(key, value, &mut tensors),
                other => flatten(other, value, &mut config),
            }
        }
        Ok((config, tensors))
    }
}

impl Diff {
    /// `to` beside `from`, judged by what `changes` allow.
    ///
    /// # Errors
    /// A configuration that cannot be told.
    pub fn between(from: &Side, to: &Side, changes: &Changes) -> Result<Self, RegistryError> {
        let mut rows = Vec::new();
        let ((config, tensors), (new_config, new_tensors)) = (from.settings()?, to.settings()?);
        rows.extend(changed(Part::Config, &config, &new_config));
        rows.extend(changed(Part::Tensor, &tensors, &new_tensors));
        rows.extend(files(from, to));
        rows.extend(metrics(&from.metrics(), &to.metrics()));
        rows.extend(beside(Part::Gate, &gates(from), &gates(to)));
        Ok(Self { from: from.name.clone(), to: to.name.clone(), change: class(from, to, changes), rows })
    }
}

fn class(from: &Side, to: &Side, changes: &Changes) -> Option<String> {
    let (old, new) = (from.config.as_ref()?, to.config.as_ref()?);
    let same = |file: &str| from.hash(file) == to.hash(file);
    let is_same = from.weights() == to.weights() && to.weights().is_some_and(same) && same(CALIBRATION);
    let (class, why) = change::class(new, old, is_same, changes.data_growth_max);
    Some(change::told(class, changes, &why))
}

/// The weights first, alike or not; of the other files those that differ.
fn files(from: &Side, to: &Side) -> Vec<Row> {
    let text = |side: &Side| -> Texts {
        let told = |(hash, bytes): &(String, u64)| format!("{hash} ({bytes} bytes)");
        side.files.iter().map(|(name, file)| (name.clone(), told(file))).collect()
    };
    let rows = beside(Part::File, &text(from), &text(to)).into_iter().map(|row| {
        let is_weights = [from.weights(), to.weights()].contains(&Some(row.name.as_str()));
        Row { part: if is_weights { Part::Weights } else { Part::File }, ..row }
    });
    let mut rows: Vec<Row> = rows.filter(|row| row.part == Part::Weights || row.from != row.to).collect();
    rows.sort_by_key(|row| row.part);
    rows
}

fn metrics(from: &BTreeMap<String, f64>, to: &BTreeMap<String, f64>) -> Vec<Row> {
    let text = |value: Option<&f64>| value.map(|value| format!("{value:.4}"));
    let row = |name: &String| {
        let (old, new) = (from.get(name), to.get(name));
        let difference = old.zip(new).map(|(old, new)| new - old);
        Row { part: Part::Metric, name: name.clone(), from: text(old), to: text(new), difference }
    };
    from.keys().chain(to.keys()).collect::<BTreeSet<_>>().into_iter().map(row).collect()
}

fn gates(side: &Side) -> Texts {
    let text = |gate: &Gate| format!("{}: {}", gate.outcome.code(), gate.detail);
    side.gates.iter().map(|gate| (gate.name.clone(), text(gate))).collect()
}

fn beside(part: Part, from: &Texts, to: &Texts) -> Vec<Row> {
    let row = |name: &String| {
        let (from, to) = (from.get(name).cloned(), to.get(name).cloned());
        Row { part, name: name.clone(), from, to, difference: None }
    };
    from.keys().chain(to.keys()).collect::<BTreeSet<_>>().into_iter().map(row).collect()
}

fn changed(part: Part, from: &Texts, to: &Texts) -> impl Iterator<Item = Row> {
    beside(part, from, to).into_iter().filter(|row| row.from != row.to)
}

/// A value as lines of path and text; entries of a list go by their name, where they have one.
fn flatten(path: &str, value: &Value, into: &mut Texts) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into));
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for (at, entry) in entries.iter().enumerate() {
                let name = entry.get("name").or_else(|| entry.get("id")).and_then(Value::as_str);
                let name = name.map_or_else(|| at.to_string(), str::to_owned);
                flatten(&format!("{path}[{name}]"), entry, into);
            }
        }
        Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
            into.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn side(name: &str, files: &[(&str, &str)]) -> Side {
        let files = files.iter().map(|(name, hash)| ((*name).to_owned(), ((*hash).to_owned(), 1)));
        Side { name: name.into(), config: None, files: files.collect(), gates: Vec::new() }
    }

    #[test]
    fn settings_go_by_path_and_entries_of_lists_by_name() {
        let mut texts = Texts::new();
        let value = json!([{"name": "x", "dims": [-1, 3]}, {"dtype": "FP32", "unit": null}]);
        flatten("input", &value, &mut texts);
        let lines: Vec<_> = texts.iter().map(|(path, text)| format!("{path} = {text}")).collect();
        assert_eq!(lines, ["input[1].dtype = FP32", "input[x].dims = [-1,3]", "input[x].name = x"]);
    }

    #[test]
    fn of_files_those_are_told_that_differ_and_a_gate_that_only_one_was_asked() {
        let (mut from, mut to) =
            (side("m/1", &[("a", "1"), ("b", "1")]), side("m/2", &[("a", "1"), ("b", "2"), ("c", "3")]));
        from.gates = vec![Gate::passed("golden", "8 rows")];
        to.gates = vec![Gate::failed("golden", "0.2 off"), Gate::skipped("accuracy", "no frozen set")];
        let diff = Diff::between(&from, &to, &Changes::default()).expect("told");
        let names: Vec<_> = diff.rows.iter().map(|row| (row.part.code(), row.name.as_str())).collect();
        assert_eq!(names, [("file", "b"), ("file", "c"), ("gate", "accuracy"), ("gate", "golden")]);
        assert_eq!((diff.rows[1].from.as_deref(), diff.change), (None, None));
    }

    #[test]
    fn a_figure_says_by_how_much_it_rose() {
        let (old, new) = (BTreeMap::from([("auc".into(), 0.8)]), BTreeMap::from([("auc".into(), 0.85)]));
        let rows = metrics(&old, &new);
        assert!(rows[0].difference.is_some_and(|difference| (difference - 0.05).abs() < 1e-9));
        assert_eq!(metrics(&old, &BTreeMap::new())[0].to, None);
    }
}
