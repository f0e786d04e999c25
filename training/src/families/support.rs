//! What a model of panels has seen: spread of its training values, and from where on held-out people are turned away.

use clinical::Biomarker;
use models::bundle::FeatureConfig;
use models::calibration::{Seen, Support};
use models::family::anomaly::channel_name;

use super::columns::Column;
use super::recipe::Prepared;

/// The support of a panel's model; none for inputs that are no panel, or when too few rows were held out.
pub(crate) fn of(prepared: &Prepared) -> Option<Support> {
    let [values, present] = &prepared.inputs[..] else { return None };
    let column = |at: usize, rows: &[usize]| -> Vec<f64> {
        let known = rows.iter().filter(|row| present.row(**row)[at] > 0.0);
        known.map(|row| f64::from(values.row(*row)[at])).collect()
    };
    let seen = |(at, feature): (usize, &FeatureConfig)| {
        // Without a unit it is a yes or no, of which neither is far.
        feature.unit.as_ref()?;
        let log = Biomarker::from_code(&feature.name).is_some_and(|of| Column::Marker(of).is_logarithmic());
        Seen::of(&feature.name, log, &column(at, &prepared.parts.train))
    };
    let features = prepared.features.iter().enumerate().filter_map(seen).collect();
    let held = prepared.parts.calibration.iter().map(|row| {
        move |name: &str| {
            let at = prepared.features.iter().position(|feature| feature.name == name)?;
            (present.row(*row)[at] > 0.0).then(|| f64::from(values.row(*row)[at]))
        }
    });
    Support::fit(features, held)
}

/// The support of a model of a sweep, or of statistics, whose first `count` numbers are looked at.
pub(crate) fn of_sweep(prepared: &Prepared, count: usize) -> Option<Support> {
    let sweeps = prepared.inputs.first()?;
    let name = |at: usize| prepared.features.get(at).map_or_else(|| channel_name(at), |of| of.name.clone());
    let names: Vec<String> = (0..count).map(name).collect();
    let train = sweeps.pick(&prepared.parts.train);
    let seen = |(at, name): (usize, &String)| Seen::of(name, false, &train.column(at));
    let features = names.iter().enumerate().filter_map(seen).collect();
    let held = prepared.parts.calibration.iter().map(|row| {
        |name: &str| Some(f64::from(*sweeps.row(*row).get(names.iter().position(|known| known == name)?)?))
    });
    Support::fit(features, held)
}
