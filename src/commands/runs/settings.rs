//! What is written down of a run: settings, data, revision, figures, each under a name that clients accept.

use std::{collections::BTreeMap, process::Command};

use models::bundle::{DatasetConfig, NetworkConfig};
use registry::runs::COMMIT_TAG;
use serde_json::Value;
use training::{evaluate::EvalReport, optimise::Plan};

/// Tag with the name of the model.
pub(crate) const MODEL_TAG: &str = "manpasik.model";
/// Tag with the figure that stands for a run in lists.
pub(crate) const HEADLINE_TAG: &str = "manpasik.headline";

/// Names and values.
pub(crate) type Pairs = BTreeMap<String, String>;

/// Tags of a run by this program on `model`; the revision where the working folder has one.
pub(crate) fn tags(model: &str, command: &str) -> Pairs {
    let mut tags = Pairs::from([
        (MODEL_TAG.to_owned(), model.to_owned()),
        ("manpasik.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("mlflow.runName".to_owned(), model.to_owned()),
        ("mlflow.source.name".to_owned(), format!("manpasik {command}")),
        ("mlflow.source.type".to_owned(), "LOCAL".to_owned()),
    ]);
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        tags.insert(COMMIT_TAG.to_owned(), commit);
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
        tags.insert("manpasik.git.dirty".to_owned(), changed.is_none_or(|text| !text.is_empty()).to_string());
    }
    tags
}

/// What git says of the working folder; nothing without git or outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The hash of each source of data.
pub(crate) fn data(sources: impl IntoIterator<Item = (String, String)>) -> Pairs {
    sources.into_iter().map(|(id, sha256)| (format!("data.{id}.sha256"), sha256)).collect()
}

/// Source and hash of a bundle's data.
pub(crate) fn source(dataset: &DatasetConfig) -> (String, String) {
    (dataset.id.clone(), dataset.sha256.clone())
}

/// Settings of a network as flat names, `network.body.hidden`.
pub(crate) fn network(config: &NetworkConfig) -> Pairs {
    let mut pairs = Pairs::new();
    flatten("network", &serde_json::to_value(config).unwrap_or_default(), &mut pairs);
    pairs
}

fn flatten(name: &str, value: &Value, pairs: &mut Pairs) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| flatten(&format!("{name}.{field}"), value, pairs));
        }
        Value::String(text) => drop(pairs.insert(name.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            pairs.insert(name.to_owned(), value.to_string());
        }
    }
}

/// Settings of training; names of further networks of one model are put in front.
pub(crate) fn plans(model: &str, plans: &[(String, Plan)]) -> Pairs {
    let mut pairs = Pairs::new();
    for (name, plan) in plans {
        let named = |key: &str| if name == model { key.to_owned() } else { format!("{name}.{key}") };
        for (key, value) in [
            ("epochs_max", plan.epochs_max.to_string()),
            ("patience_epochs", plan.patience_epochs.to_string()),
            ("batch_rows", plan.batch_rows.to_string()),
            ("learning_rate", plan.learning_rate.to_string()),
            ("weight_decay", plan.weight_decay.to_string()),
            ("slope_norm_max", plan.slope_norm_max.to_string()),
        ] {
            // Where one name is trained again and again, the first plan stands for all.
            pairs.entry(named(key)).or_insert(value);
        }
    }
    pairs
}

/// Figures on the test rows under `test/`, with the ends of their intervals.
pub(crate) fn figures(report: &EvalReport) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for measure in &report.measures {
        let part = measure.subgroup.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
        let key = accepted(&format!("test/{}{part}", measure.name));
        let ends = [("low", measure.low), ("high", measure.high)];
        figures.extend(ends.into_iter().filter_map(|(end, value)| Some((format!("{key}.{end}"), value?))));
        figures.push((key, measure.value));
    }
    figures
}

/// The figure that stands for a report.
pub(crate) fn headline(report: &EvalReport) -> Option<String> {
    let first = report.measures.iter().find(|measure| measure.subgroup.is_none())?;
    Some(accepted(&format!("test/{}", first.name)))
}

/// A name of letters, digits, `_`, `-`, `.`, `:`, `/` and spaces, which is what MLflow allows.
fn accepted(name: &str) -> String {
    let name = name.replace(">=", " from ").replace('<', " under ").replace('=', " ");
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-./: ".contains(letter);
    name.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use models::bundle::{BodyConfig, RiskConfig};

    use super::*;

    #[test]
    fn names_are_those_that_clients_accept() {
        let names = ["auroc", "test/auroc/age>=80", "age<40", "sex=female", "a%b"].map(accepted);
        assert_eq!(names, ["auroc", "test/auroc/age from 80", "age under 40", "sex female", "a_b"]);
    }

    #[test]
    fn a_network_is_written_flat() {
        let body = BodyConfig { members: 4, ..BodyConfig::new([64, 32]) };
        let config = RiskConfig { inputs: 3, masked: true, rising: Vec::new(), body };
        let pairs = network(&NetworkConfig::Risk(config));
        assert_eq!((&*pairs["network.kind"], &*pairs["network.body.hidden"]), ("risk", "[64,32]"));
        assert_eq!(pairs["network.body.members"], "4");
    }

    #[test]
    fn the_plan_of_the_model_itself_has_plain_names() {
        let pairs = plans("m", &[("m".into(), Plan::default()), ("m second".into(), Plan::default())]);
        assert_eq!(pairs["learning_rate"], "0.002");
        assert_eq!(pairs["m second.learning_rate"], "0.002");
    }
}
