//! The published protocol: people never seen, and a person of another source, beside simple methods.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use models::calibration::Forecast;

use super::super::pinball::COVERAGE;
use super::super::recipe::{Context, Prepared, Recipe};
use super::super::trainee::Trainee;
use super::seen::Seen;
use super::simple::{Answers, Simple};
use super::windows::Windows;
use super::{ASKED, GlucoseTrend, LAGS, learn};
use crate::data::cgm;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Benchmark, Target, metrics};

/// RMSE that is aimed for at each of [`ASKED`], mg/dL.
const RMSE_MAX: [f64; 2] = [14.5, 24.0];
/// How far the coverage may be from [`COVERAGE`].
const COVERAGE_REACH: f64 = 0.02;
/// The person of another source that no method did better on than the last value.
const EXTERNAL: &str = "cgmpy-nodm";
const DAY_S: i64 = 86_400;

/// Trains as for a bundle, then answers for the people not trained on and for the external one.
pub(super) fn benchmarks(context: &Context) -> Result<Vec<Benchmark>> {
    let prepared = GlucoseTrend.prepare(context, context.seed)?;
    let trainee = Trainee::new(&GlucoseTrend.network())?;
    learn::without(&[], &prepared, &trainee, context)?;
    let widths = super::widths(&prepared, &learn::out_of_person(&prepared, context)?)?;
    let simple = Simple::fit(&prepared, true)?;
    let mut all = unseen(&prepared, &trainee, &widths, &simple)?;
    all.push(external(context, &trainee, &simple)?);
    Ok(all)
}

/// Figures of the test people.
fn unseen(
    prepared: &Prepared,
    trainee: &Trainee,
    widths: &Forecast,
    simple: &Simple,
) -> Result<Vec<Benchmark>> {
    let rows = &prepared.parts.test;
    let (future, _) = prepared.truth.values().context("a forecaster needs values")?;
    let history = prepared.inputs[0].pick(rows);
    let seen = Seen {
        quantiles: trainee.first(std::slice::from_ref(&history))?,
        future: future.pick(rows),
        groups: prepared.groups(rows),
        history,
    };
    let learnt: BTreeSet<u64> = prepared.groups(&prepared.parts.calibration).into_iter().collect();
    let protocol = format!(
        "{}; {} others learnt from, in order of a hash of their names; {LAGS} steps of 5 minutes; paired bootstrap \
         over people; gain: less is better",
        prepared.test_set,
        learnt.len()
    );
    let mut all = Vec::new();
    for (asked, (minutes, horizon)) in ASKED.into_iter().enumerate() {
        let truth = seen.future.column(horizon);
        let answers = simple.answers(&seen.history, asked);
        let target = Target::AtMost(RMSE_MAX[asked]);
        let rmse = |values: &[f64], at: &[usize]| metrics::rmse(&pick(values, at), &pick(&truth, at));
        let key = format!("cgm/rmse_{minutes}");
        all.push(beside(&key, &seen.median(horizon), &answers, &seen.groups, target, &protocol, rmse));
        let bounds = seen.bounds(horizon, widths, COVERAGE);
        let everyone: Vec<usize> = (0..rows.len()).collect();
        let value = bounds.coverage(&truth, &everyone);
        let held = answers.ridge.iter().zip(&truth).filter(|(r, t)| (*r - *t).abs() <= answers.half_width);
        let ridge = held.count() as f64 / rows.len() as f64;
        let target = Target::Around(COVERAGE, COVERAGE_REACH);
        let benchmark =
            Benchmark::new(format!("cgm/coverage_{minutes}"), value, target, rows.len(), &protocol);
        let spread = interval(&seen.groups, |at| Some(bounds.coverage(&truth, at)));
        all.push(benchmark.between(spread).against(
            "ridge with split-conformal intervals",
            Some(ridge),
            None,
        ));
    }
    Ok(all)
}

/// A figure of ours beside the simple method that has the lowest, both on the same resampled groups.
fn beside(
    key: &str,
    ours: &[f64],
    answers: &Answers,
    groups: &[u64],
    target: Target,
    protocol: &str,
    figure: impl Fn(&[f64], &[usize]) -> f64,
) -> Benchmark {
    let everyone: Vec<usize> = (0..groups.len()).collect();
    let scored = answers.named().into_iter().map(|(name, values)| (name, values, figure(values, &everyone)));
    let best = scored.min_by(|a, b| a.2.total_cmp(&b.2));
    let gain = best
        .as_ref()
        .and_then(|(_, theirs, _)| interval(groups, |at| Some(figure(ours, at) - figure(theirs, at))));
    let (name, value) = best.map_or(("", None), |(name, _, value)| (name, Some(value)));
    Benchmark::new(key, figure(ours, &everyone), target, groups.len(), protocol)
        .between(interval(groups, |at| Some(figure(ours, at))))
        .against(name, value, gain)
}

/// The error of the external person as a share of what the last value alone errs.
fn external(context: &Context, trainee: &Trainee, simple: &Simple) -> Result<Benchmark> {
    let dataset = cgm::load_external(&context.store)?;
    let series: Vec<_> = dataset.rows.into_iter().filter(|person| person.person == EXTERNAL).collect();
    let windows = Windows::of(&series);
    let (_, horizon) = ASKED[0];
    let truth = windows.future.column(horizon);
    let quantiles = trainee.first(std::slice::from_ref(&windows.history))?;
    let days: Vec<u64> = windows.now_s.iter().map(|now| (now / DAY_S) as u64).collect();
    let answers = simple.answers(&windows.history, 0);
    let last = answers.persistence.clone();
    let ratio = |values: &[f64], at: &[usize]| {
        let truth = pick(&truth, at);
        metrics::rmse(&pick(values, at), &truth) / metrics::rmse(&pick(&last, at), &truth)
    };
    let seen = Seen { quantiles, history: windows.history, future: windows.future, groups: days };
    let protocol = "one person of another source, 30 minutes ahead, RMSE over that of the last value; bootstrap over \
                    days; gain: less is better";
    let key = "nodm/rmse_ratio_persistence";
    Ok(beside(key, &seen.median(horizon), &answers, &seen.groups, Target::AtMost(1.0), protocol, ratio))
}
