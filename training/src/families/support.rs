//! What a model has seen: how its training values spread and go together, from where on held-out cases are turned away,
//! and how many test cases are.

use std::collections::{BTreeMap, BTreeSet};

use clinical::Biomarker;
use models::calibration::{Calibration, Seen, Support, window};
use models::family::anomaly::channel_name;

use super::columns::Column;
use super::parts::Parts;
use super::recipe::{Prepared, Recipe, Truth};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};

/// Fewest rows of a part behind a figure.
const ROWS_MIN: usize = 30;

/// A value by which it is told whether a case is like others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Familiar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// Whether its logarithm is looked at.
    pub(crate) log: bool,
}

/// The numbers of a panel that are there; none of inputs that are no panel.
pub(crate) fn of_panel(prepared: &Prepared, row: usize) -> Vec<Familiar> {
    let [values, present] = &prepared.inputs[..] else { return Vec::new() };
    let cells = prepared.features.iter().zip(values.row(row)).zip(present.row(row));
    // Without a unit it is a yes or no, of which neither is far.
    let there = cells.filter(|((feature, _), mark)| feature.unit.is_some() && **mark > 0.0);
    there
        .map(|((feature, value), _)| Familiar {
            name: feature.name.clone(),
            value: f64::from(*value),
            log: Biomarker::from_code(&feature.name).is_some_and(|of| Column::Marker(of).is_logarithmic()),
        })
        .collect()
}

/// The history of a forecaster in a few numbers.
pub(crate) fn of_history(prepared: &Prepared, row: usize) -> Vec<Familiar> {
    let history = prepared.inputs.first().map(|input| input.row_f64(row)).unwrap_or_default();
    window(&history).map(|(name, value)| Familiar { name: name.to_owned(), value, log: true }).into()
}

/// The support of a model; none where its recipe does not look at single values, or when too few rows were held out.
pub(crate) fn of(recipe: &dyn Recipe, prepared: &Prepared) -> Option<Support> {
    let cases = |rows: &[usize]| -> Vec<Vec<Familiar>> {
        rows.iter().map(|row| recipe.familiar(prepared, *row)).collect()
    };
    let Parts { train, validation, calibration, test: _ } = &prepared.parts;
    // Nothing was fitted to the rows to stop on either, and the threshold is far out: every case counts.
    let held: BTreeSet<usize> = validation.iter().chain(calibration).copied().collect();
    let (train, held) = (cases(train), cases(&Vec::from_iter(held)));
    let mut values: BTreeMap<&str, (bool, Vec<f64>)> = BTreeMap::new();
    for Familiar { name, value, log } in train.iter().flatten() {
        values.entry(name).or_insert((*log, Vec::new())).1.push(*value);
    }
    let features: Vec<Seen> =
        values.into_iter().filter_map(|(name, (log, values))| Seen::of(name, log, &values)).collect();
    if features.is_empty() {
        return None;
    }
    Support::fit_correlated(
        features,
        train.iter().map(|case| reader(case)),
        held.iter().map(|case| reader(case)),
    )
}

fn reader(case: &[Familiar]) -> impl Fn(&str) -> Option<f64> {
    move |name| case.iter().find(|known| known.name == name).map(|known| known.value)
}

/// Share of the test rows that the model turns away: of all, and of parts and classes.
pub(crate) fn figures(recipe: &dyn Recipe, prepared: &Prepared, calibration: &Calibration) -> Vec<Measure> {
    let Some(support) = calibration.support() else { return Vec::new() };
    let rows = &prepared.parts.test;
    let cases: Vec<Vec<Familiar>> = rows.iter().map(|row| recipe.familiar(prepared, *row)).collect();
    if cases.iter().all(Vec::is_empty) {
        // The recipe looks at something else, and measures that itself.
        return Vec::new();
    }
    let turned = |case: &Vec<Familiar>| support.beyond(&reader(case)).is_some();
    let away: Vec<f64> = cases.iter().map(|case| f64::from(u8::from(turned(case)))).collect();
    let groups = prepared.groups(rows);
    let share = |at: &[usize]| metrics::mean(pick(&away, at).into_iter());
    let measure = |at: &[usize]| {
        let spread = interval(&pick(&groups, at), |drawn| Some(share(&pick(at, drawn))));
        Measure::new("turned_away", share(at), at.len()).between(spread)
    };
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let parts = prepared.subgroups(rows).into_iter().chain(by_class(prepared, rows));
    let parts = parts.map(|(name, at)| measure(&at).within(&name));
    [measure(&everyone)].into_iter().chain(parts).collect()
}

/// Rows of each class that has enough of them, as positions within `rows`.
fn by_class(prepared: &Prepared, rows: &[usize]) -> Vec<(String, Vec<usize>)> {
    let Truth::Class(classes) = &prepared.truth else { return Vec::new() };
    let known: BTreeSet<usize> = rows.iter().map(|row| classes[*row]).collect();
    let of = |class: usize| {
        let at: Vec<usize> = (0..rows.len()).filter(|at| classes[rows[*at]] == class).collect();
        let label = prepared.labels.get(class)?;
        (at.len() >= ROWS_MIN).then(|| (format!("class={label}"), at))
    };
    known.into_iter().filter_map(of).collect()
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
