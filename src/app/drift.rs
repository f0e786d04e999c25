//! What an alarm of drift leads to: a release of the version is taken back, and the audit keeps when the alarm began and
//! when it was over. What counts as one, the policy of the model says, and else the configuration.

use std::collections::{BTreeSet, HashMap};

use inference::{
    Handle,
    drift::{Closed, Figure, Thresholds},
};
use registry::{Registry, RegistryError, policy::DriftBounds};

use super::recorder::now_ms;
use crate::keeping::Drift;

/// What is an alarm where no policy says otherwise.
pub(super) fn thresholds(config: &Drift) -> Thresholds {
    Thresholds { rows: config.rows, index_max: config.stability_index_max, distance_max: config.distance_max }
}

/// Gives each model the thresholds of its policy.
pub(super) async fn set_thresholds(
    config: &Drift,
    registry: &Registry,
    handle: &Handle,
) -> anyhow::Result<()> {
    let all = thresholds(config);
    let own =
        registry.policies().await?.into_iter().filter(|(_, policy)| policy.drift != DriftBounds::default());
    let own = own.map(|(model, policy)| (model, bounded(all, &policy.drift)));
    handle.set_drift_thresholds(own.collect::<HashMap<_, _>>());
    Ok(())
}

fn bounded(all: Thresholds, own: &DriftBounds) -> Thresholds {
    Thresholds {
        rows: own.rows.unwrap_or(all.rows),
        index_max: own.stability_index_max.unwrap_or(all.index_max),
        distance_max: own.distance_max.unwrap_or(all.distance_max),
    }
}

/// Alarms that are on, by version and cohort.
#[derive(Default)]
pub(super) struct Alarms(BTreeSet<(String, String, String)>);

impl Alarms {
    /// Takes note of a window that closed. An alarm that goes on from window to window is one event, not one each.
    pub(super) async fn note(
        &mut self,
        registry: &Registry,
        handle: &Handle,
        closed: &Closed,
    ) -> Result<(), RegistryError> {
        let reason = reason(closed);
        if let Some(reason) = &reason {
            handle.drifts(&closed.model, &closed.version, reason);
        }
        let cohort = closed.cohort.map(|cohort| cohort.name()).unwrap_or_default();
        let key = (closed.model.clone(), closed.version.clone(), cohort);
        let is_new = if reason.is_some() { self.0.insert(key) } else { self.0.remove(&key) };
        if is_new {
            let (alarm, over) = (reason.is_some(), format!("a window of {} is like training", whose(closed)));
            let why = reason.unwrap_or(over);
            registry.drift_note((&closed.model, &closed.version), alarm, why, now_ms()).await?;
        }
        Ok(())
    }
}

/// The columns that raise an alarm, as a sentence.
fn reason(closed: &Closed) -> Option<String> {
    let alarming = closed.figures.iter().filter(|figure| figure.alarm).map(|figure| {
        let Figure { column, index, distance, medians: (before, now), .. } = figure;
        format!("{column} (stability index {index:.2}, distance {distance:.2}, median {before} -> {now})")
    });
    let alarming: Vec<String> = alarming.collect();
    let whose = whose(closed);
    (!alarming.is_empty()).then(|| format!("of {} cases of {whose}: {}", closed.rows, alarming.join(", ")))
}

fn whose(closed: &Closed) -> String {
    closed.cohort.map_or_else(|| "everybody".to_owned(), |cohort| cohort.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_bounds_what_it_names_and_the_configuration_the_rest() {
        let all = Thresholds { rows: 1_000, index_max: 0.25, distance_max: 0.15 };
        let own = DriftBounds { rows: Some(100), ..DriftBounds::default() };
        assert_eq!(bounded(all, &own), Thresholds { rows: 100, ..all });
    }

    #[test]
    fn the_reason_names_the_columns_that_alarm_and_whose_cases_they_are() {
        let figure = |column: &str, alarm| Figure {
            column: column.into(),
            values: 100,
            index: 0.5,
            distance: 0.25,
            medians: (1.5, 4.0),
            alarm,
        };
        let closed = |alarm| Closed {
            model: "thyroid".into(),
            version: "2".into(),
            cohort: None,
            rows: 100,
            figures: vec![figure("tsh", alarm), figure("t3", false)],
        };
        assert_eq!(reason(&closed(false)), None);
        let told = "of 100 cases of everybody: tsh (stability index 0.50, distance 0.25, median 1.5 -> 4)";
        assert_eq!(reason(&closed(true)).as_deref(), Some(told));
    }
}
