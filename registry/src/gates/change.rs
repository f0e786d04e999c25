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
    let is_same =
        new.weights().ok() == live.weights().ok() && new.calibration_json() == live.calibration_json();
    let (class, why) = class(new.config(), live.config(), is_same, changes.data_growth_max);
    Gate::passed(CHANGE, told(class, changes, &why))
}

/// A class with what it asks for.
pub(crate) fn told(class: Change, changes: &Changes, why: &str) -> String {
    let needs = if changes.pre_approved.contains(&class) { "pre-approved" } else { "needs a resubmission" };
    format!("{}, {needs}: {why}", class.code())
}

/// The class and its reason; `is_same`: weights and calibration are alike.
pub(crate) fn class(
    one: &BundleConfig,
    other: &BundleConfig,
    is_same: bool,
    growth_max: f64,
) -> (Change, String) {
    if (&one.task, one.family, &one.intended_use) != (&other.task, other.family, &other.intended_use) {
        return (Change::IntendedUse, "task, family or intended use is another".into());
    }
    if !has_same_interface(one, other) {
        return (Change::Interface, "inputs, outputs, features or labels are others".into());
    }
    if is_same {
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
