//! The models that this project ships, and how each is made.
//!
//! [`ALL`] lists them; [`Family::train`] takes one from pinned data to a bundle, and
//! [`crate::evaluate::evaluate`] measures a bundle again. A recipe ([`recipe`]) holds what is particular to a
//! model, everything else is shared, so that all are split, stopped, calibrated, measured and described alike.

mod cardiovascular;
mod classify;
mod columns;
mod diabetes;
mod forest;
mod glucose_trend;
mod golden;
mod halve;
mod health_score;
mod lab_trend;
mod make;
mod matrix;
mod noise;
mod out_of_fold;
mod parts;
mod pictures;
mod pinball;
mod recipe;
mod reconstruct;
mod reference;
mod regress;
mod rivals;
mod runner;
mod search;
mod sensor;
mod series_anomaly;
mod support;
mod thyroid;
mod thyroid_anomaly;
mod trainee;

use anyhow::Result;
use models::Bundle;

pub use halve::{Figure, Halved, LOSS_MAX};
pub use make::TrainReport;
pub(crate) use make::report_on;
pub use recipe::{Context, Effort};
pub(crate) use recipe::{Prepared, Recipe, Spec};
pub use search::{Search, Trial};
pub use series_anomaly::{NAME as SERIES_ANOMALY, benchmarks as series_benchmarks};

use crate::evaluate::{Benchmark, Measure};

/// One model that can be trained.
pub struct Family {
    /// Name of its bundle and on the command line.
    pub name: &'static str,
    /// What it answers, in a line.
    pub description: &'static str,
    recipe: &'static dyn Recipe,
}

impl Family {
    /// Trains it, writes its bundle under `context.out` and reports what was measured.
    ///
    /// # Errors
    /// Data that cannot be had, training that diverges, or a bundle that cannot be written.
    pub fn train(&self, context: &Context) -> Result<TrainReport> {
        make::make(self.recipe, context)
    }

    /// Writes the sibling of `bundle` with weights in half precision under `context.out`, unless it would lose
    /// [`LOSS_MAX`] of its headline figure or more; then nothing is written.
    ///
    /// # Errors
    /// A bundle of another model, engine or number format, data that cannot be had, or too great a loss.
    pub fn halve(&self, bundle: &Bundle, context: &Context) -> Result<Halved> {
        let name = &bundle.config().name;
        anyhow::ensure!(name == self.name, "the bundle is of `{name}`, not of `{}`", self.name);
        halve::halve(self.recipe, bundle, context)
    }

    /// Writes `bundle` again where it lies, with what its inputs and output look like on the data it was made from: for
    /// bundles from before training did so. Weights and figures stay; a signature is of the old manifest and goes.
    ///
    /// # Errors
    /// A bundle of another model or engine, or data that cannot be had or is not the bundle's own.
    pub fn refer(&self, bundle: &Bundle, context: &Context) -> Result<Bundle> {
        let name = &bundle.config().name;
        anyhow::ensure!(name == self.name, "the bundle is of `{name}`, not of `{}`", self.name);
        reference::add(self.recipe, bundle, context)
    }

    /// A search over its settings, to be run trial by trial.
    ///
    /// # Errors
    /// Data that cannot be had.
    pub fn search<'a>(&self, context: &'a Context) -> Result<Search<'a>> {
        Search::new(self.recipe, context)
    }

    /// Figures of published protocols beside simple methods; none for models that have no such protocol.
    ///
    /// # Errors
    /// Data that cannot be had, or training that diverges.
    pub fn benchmarks(&self, context: &Context) -> Result<Vec<Benchmark>> {
        let mut all = out_of_fold::out_of_fold(self.recipe, context)?;
        all.extend(self.recipe.benchmarks(context)?);
        Ok(all)
    }

    pub(crate) fn recipe(&self) -> &'static dyn Recipe {
        self.recipe
    }
}

/// All models, those of people's data first.
pub const ALL: &[Family] = &[
    Family { name: "thyroid", description: "thyroid state of a panel", recipe: &thyroid::Thyroid },
    Family {
        name: "diabetes",
        description: "diagnosed diabetes from an examination",
        recipe: &diabetes::Diabetes,
    },
    Family {
        name: "cardiovascular",
        description: "a heart attack or stroke in the past, from an examination",
        recipe: &cardiovascular::Cardiovascular,
    },
    Family {
        name: "thyroid-anomaly",
        description: "how unlike ordinary ones a thyroid panel is",
        recipe: &thyroid_anomaly::ThyroidAnomaly,
    },
    Family {
        name: "glucose-trend",
        description: "glucose over the next hour, with bounds",
        recipe: &glucose_trend::GlucoseTrend,
    },
    Family {
        name: "hdl-trend",
        description: "HDL cholesterol a week on, from three earlier values or more",
        recipe: &lab_trend::HDL,
    },
    Family {
        name: "systolic-trend",
        description: "systolic pressure a week on, from three earlier values or more",
        recipe: &lab_trend::SYSTOLIC,
    },
    Family {
        name: "health-score",
        description: "risk of death among peers, behind the health score",
        recipe: &health_score::HealthScore,
    },
    Family {
        name: "sensor-value",
        description: "concentrations from 88 channels (synthetic)",
        recipe: &sensor::value::SensorValue,
    },
    Family {
        name: "sensor-anomaly",
        description: "how unlike a sound sweep a packet is (synthetic)",
        recipe: &sensor::anomaly::SensorAnomaly,
    },
    Family {
        name: "sensor-fingerprint",
        description: "which cartridge a sweep comes from (synthetic)",
        recipe: &sensor::fingerprint::SensorFingerprint,
    },
    Family {
        name: "sensor-quality",
        description: "whether a session is worth reading (synthetic)",
        recipe: &sensor::quality::SensorQuality,
    },
    Family {
        name: "sensor-calibration",
        description: "a sweep as an ideal cartridge would give it (synthetic)",
        recipe: &sensor::calibration::SensorCalibration,
    },
];

/// A sentence for the reader when the figure `name` misses an aim.
pub(crate) fn aim(
    measures: &[Measure],
    name: &str,
    reached: impl Fn(f64) -> bool,
    what: &str,
) -> Vec<String> {
    let found = measures.iter().find(|m| m.name == name && m.subgroup.is_none());
    match found {
        Some(measure) if reached(measure.value) => Vec::new(),
        Some(measure) => vec![format!("The aim of {what} was missed: {:.4}.", measure.value)],
        None => vec![format!("The aim of {what} could not be measured.")],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_the_recipes_and_unique() {
        let names: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|family| family.recipe().spec().name == family.name));
    }

    #[test]
    fn signatures_agree_with_networks() {
        for family in ALL {
            let network = family.recipe().network();
            let (inputs, outputs) = family.recipe().signature();
            assert_eq!(inputs[0].dims, [-1, network.inputs() as i64], "{}", family.name);
            let dims = |config: &models::bundle::TensorConfig| {
                config.dims[1..].iter().map(|d| *d as usize).collect()
            };
            assert_eq!(outputs.iter().map(dims).collect::<Vec<Vec<usize>>>(), network.output_dims());
        }
    }

    #[test]
    fn a_missed_aim_is_said() {
        let measures = [Measure::new("auroc", 0.8, 10)];
        assert!(aim(&measures, "auroc", |v| v > 0.7, "x").is_empty());
        assert!(aim(&measures, "auroc", |v| v > 0.9, "AUROC above 0.9")[0].contains("0.8000"));
        assert_eq!(aim(&measures, "rmse", |_| true, "x").len(), 1);
    }
}
