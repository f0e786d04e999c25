//! Of what class a change is beside the live version, in the terms of a predetermined change control plan, and whether
//! it was agreed on beforehand. Where nothing can be known of an architecture, it counts as another one.

use models::{Bundle, bundle::BundleConfig};

use super::Gate;
use crate::policy::{Change, Changes};

/// Name of the gate; the tag of the version that says the same is made from it.
pub(crate) const CHANGE: &str = "change";

/// What a version needs beside an approval: said, never refused.
pub(super) fn gate(new: &Bundle, live: Option<&Bundle>, changes: &Changes) -> Gate {
    let Some(live) = live else {
        return Gate::passed(CHANGE, told(Change::First, changes, "no version is live yet"));
    };
    let (class, why) = class(new, live, changes.data_growth_max);
    Gate::passed(CHANGE, told(class, changes, &why))
}

fn told(class: Change, changes: &Changes, why: &str) -> String {
    let needs = if changes.pre_approved.contains(&class) { "pre-approved" } else { "needs a resubmission" };
    format!("{}, {needs}: {why}", class.code())
}

fn class(new: &Bundle, live: &Bundle, growth_max: f64) -> (Change, String) {
    let (one, other) = (new.config(), live.config());
    let weights = |bundle: &Bundle| bundle.weights().ok();
    if (&one.task, one.family, &one.intended_use) != (&other.task, other.family, &other.intended_use) {
        return (Change::IntendedUse, "task, family or intended use is another".into());
    }
    if !has_same_interface(one, other) {
        return (Change::Interface, "inputs, outputs, features or labels are others".into());
    }
    if weights(new) == weights(live) && new.calibration_json() == live.calibration_json() {
        return (Change::None, "weights and calibration are the same".into());
    }
    if one.engine != other.engine || one.network != other.network {
        return (Change::Architecture, "engine or network is another".into());
    }
    if one.network.is_none() {
        return (Change::Architecture, "a graph does not say whether only its weights are others".into());
    }
    let (rows, before) = (one.lineage.rows_train, other.lineage.rows_train);
    let growth = rows as f64 / before.max(1) as f64 - 1.0;
    let why =
        format!("the same network, trained on {rows} rows instead of {before} ({:+.0} %)", growth * 100.0);
    let is_small = (0.0..=growth_max).contains(&growth);
    (if is_small { Change::Retrained } else { Change::Data }, why)
}

fn has_same_interface(one: &BundleConfig, other: &BundleConfig) -> bool {
    (&one.inputs, &one.outputs, &one.labels, &one.forecast)
        == (&other.inputs, &other.outputs, &other.labels, &other.forecast)
        && one
            .features
            .iter()
            .map(|feature| &feature.name)
            .eq(other.features.iter().map(|feature| &feature.name))
}
