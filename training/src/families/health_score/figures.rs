//! What is measured of a health score on the test people: ranking, calibration by risk, and the interval of the score.

use anyhow::Result;
use models::calibration::{COVERAGE, Calibration, Part, Risk, RiskCase, observed_risk};

use super::super::matrix::Matrix;
use super::super::recipe::Prepared;
use super::super::runner::Runner;
use super::cox::{Cohort, unmeasured};
use super::spread::{self, Move, Refit};
use super::{HORIZON_YEARS, cohort};
use crate::evaluate::Measure;
use crate::evaluate::baseline::Cox;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::metrics;

/// Groups of people of like predicted risk.
const TENTHS: usize = 10;
/// Coverage of the intervals of measured figures.
const CONFIDENCE: f64 = 0.95;

/// All figures.
pub(super) fn measure(
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Measure>> {
    let rows = &prepared.parts.test;
    let Cohort { years, died, .. } = cohort(prepared)?;
    let inputs = prepared.pick(rows);
    let risk = runner.first(&inputs)?.column(0);
    let (years, died) = (pick(years, rows), pick(died, rows));
    let mut measures = ranking(prepared, &Followed { risk: &risk, years: &years, died: &died })?;
    if let Part::Risk(figures) = calibration.part() {
        let case = |i: usize| RiskCase { log_risk: risk[i], years: years[i], event: died[i] };
        let cases: Vec<RiskCase> = (0..rows.len()).map(case).collect();
        measures.extend(observed_over_expected(figures, &cases, &prepared.groups(rows)));
        measures.extend(by_tenths(figures, &cases));
        measures.extend(of_the_score(figures, prepared, &inputs, runner)?);
    }
    Ok(measures)
}

/// Log-risks and what became of the people.
struct Followed<'a> {
    risk: &'a [f64],
    years: &'a [f64],
    died: &'a [bool],
}

impl Followed<'_> {
    fn c_of(&self, risk: &[f64], at: &[usize]) -> Option<f64> {
        metrics::harrell_c(&pick(risk, at), &pick(self.years, at), &pick(self.died, at))
    }
}

/// Concordance of everyone and of each group, beside that of age alone and of a linear Cox model.
fn ranking(prepared: &Prepared, people: &Followed<'_>) -> Result<Vec<Measure>> {
    let rows = &prepared.parts.test;
    let age = prepared.inputs[0].pick(rows).column(0);
    let linear = linear(prepared, rows)?;
    let groups = prepared.groups(rows);
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let mut measures = Vec::new();
    let mut add = |name: &str, figure: &dyn Fn(&[usize]) -> Option<f64>, beside: Option<(&str, &[f64])>| {
        let Some(value) = figure(&everyone) else { return };
        let measure = Measure::new(name, value, rows.len()).between(interval(&groups, figure));
        let beside = beside.map(|(name, theirs)| (name, people.c_of(theirs, &everyone)));
        measures.push(beside.map_or(measure.clone(), |(name, theirs)| measure.against(name, theirs)));
    };
    add("c_index", &|at| people.c_of(people.risk, at), Some(("linear Cox", &linear)));
    let over = |theirs: &[f64], at: &[usize]| Some(people.c_of(people.risk, at)? - people.c_of(theirs, at)?);
    add("c_index_gain_over_age", &|at| over(&age, at), None);
    add("c_index_gain_over_linear_cox", &|at| over(&linear, at), None);
    for (subgroup, at) in prepared.subgroups(rows) {
        let of = |places: &[usize]| people.c_of(people.risk, &pick(&at, places));
        let everyone: Vec<usize> = (0..at.len()).collect();
        if let Some(value) = of(&everyone) {
            let measure = Measure::new("c_index", value, at.len()).within(&subgroup);
            let measure = measure.between(interval(&pick(&groups, &at), of));
            measures.push(measure.against("age alone", people.c_of(&age, &at)));
        }
    }
    Ok(measures)
}

/// Log-risks of `rows` by a linear Cox model of the same columns, fitted on the training people.
fn linear(prepared: &Prepared, rows: &[usize]) -> Result<Vec<f64>> {
    let cohort = cohort(prepared)?;
    let learnt: Vec<usize> = prepared.parts.train.iter().chain(&prepared.parts.validation).copied().collect();
    let (years, died) = (pick(cohort.years, &learnt), pick(cohort.died, &learnt));
    let cox = Cox::fit(&with_gaps(&cohort.pick(&learnt)), &years, &died);
    Ok(with_gaps(&cohort.pick(rows)).iter().map(|row| cox.predict(row)).collect())
}

/// Rows with NaN where the marks say that there is nothing.
pub(super) fn with_gaps(inputs: &[Matrix]) -> Vec<Vec<f64>> {
    let [values, present] = inputs else { return Vec::new() };
    let cell = |(value, mark): (f64, f64)| if mark > 0.0 { value } else { f64::NAN };
    let row = |(values, marks): (Vec<f64>, Vec<f64>)| values.into_iter().zip(marks).map(cell).collect();
    values.to_f64().into_iter().zip(present.to_f64()).map(row).collect()
}

/// Share of people who die within the horizon by Kaplan-Meier, over the share that the model expects.
fn observed_over_expected(risk: &Risk, cases: &[RiskCase], groups: &[u64]) -> Option<Measure> {
    let ratio = |at: &[usize]| {
        let cases = pick(cases, at);
        let expected = metrics::mean(cases.iter().map(|case| risk.absolute(case.log_risk)));
        let (seen, ..) = observed_risk(&cases, HORIZON_YEARS, CONFIDENCE);
        (expected > 0.0).then(|| seen / expected)
    };
    let everyone: Vec<usize> = (0..cases.len()).collect();
    let measure = Measure::new("observed_over_expected_10y", ratio(&everyone)?, cases.len());
    Some(measure.between(interval(groups, ratio)))
}

/// Observed risk of each tenth of the people by predicted risk, with Greenwood's interval, beside the expected.
fn by_tenths(risk: &Risk, cases: &[RiskCase]) -> Vec<Measure> {
    let mut sorted = cases.to_vec();
    sorted.sort_by(|a, b| a.log_risk.total_cmp(&b.log_risk));
    let tenth = |(number, cases): (usize, &[RiskCase])| {
        let (seen, low, high) = observed_risk(cases, HORIZON_YEARS, CONFIDENCE);
        let expected = metrics::mean(cases.iter().map(|case| risk.absolute(case.log_risk)));
        let measure = Measure::new("observed_risk_10y", seen, cases.len()).between(Some((low, high)));
        measure.against("expected", Some(expected)).within(&format!("predicted risk, tenth {}", number + 1))
    };
    sorted.chunks(cases.len().div_ceil(TENTHS).max(1)).enumerate().map(tenth).collect()
}

/// Where people stand, known and unknown, and how often the interval of the score holds the score that networks give
/// A part of the cases by how many inputs they lack.
type Lacking = (&'static str, fn(usize) -> bool);

/// which learnt from other people and see what was hidden. These networks were not calibrated with.
fn of_the_score(
    risk: &Risk,
    prepared: &Prepared,
    inputs: &[Matrix],
    runner: &mut Runner,
) -> Result<Vec<Measure>> {
    const REFITS: std::ops::Range<u64> = 100..102;
    let (rows, peers) = (&prepared.parts.test, &prepared.parts.calibration);
    let mut answer = |inputs: &[Matrix]| Ok(runner.first(inputs)?.column(0));
    let whole = spread::scores(risk, prepared, rows, &spread::excess(inputs, &mut answer)?);
    let bare = spread::scores(risk, prepared, rows, &spread::excess(&unmeasured(inputs), &mut answer)?);
    let refits = REFITS.map(|seed| Refit::fit(prepared, peers, seed)).collect::<Result<Vec<_>>>()?;
    let moves = spread::moves(risk, prepared, rows, &refits, &mut answer)?;
    let groups = prepared.groups(rows);
    let figure = |name: &str, of: &[f64]| {
        let mean = |at: &[usize]| Some(metrics::mean(at.iter().map(|i| of[*i])));
        Measure::new(name, metrics::mean(of.iter().copied()), of.len()).between(interval(&groups, mean))
    };
    let mut measures = vec![figure("score_mean", &whole), figure("score_of_unmeasured", &bare)];
    let held: Vec<Held> = moves.iter().map(|of| Held::of(of, risk, prepared, rows)).collect();
    measures.extend(coverage(&held, &|_| true, &groups, None));
    let lacking: [Lacking; 3] = [
        ("nothing hidden", |hidden| hidden == 0),
        ("1 to 4 inputs hidden", |hidden| (1..=4).contains(&hidden)),
        ("5 inputs or more hidden", |hidden| hidden >= 5),
    ];
    for (name, belongs) in lacking {
        measures.extend(coverage(&held, &|held| belongs(held.lacking), &groups, Some(name)));
    }
    for (name, at) in prepared.subgroups(rows) {
        measures.extend(coverage(&held, &|held| at.binary_search(&held.at).is_ok(), &groups, Some(&name)));
    }
    Ok(measures)
}

/// Whether one interval held, how wide it was, and of whom.
struct Held {
    at: usize,
    lacking: usize,
    held: f64,
    points: f64,
}

impl Held {
    fn of(of: &Move, risk: &Risk, prepared: &Prepared, rows: &[usize]) -> Self {
        let person = &prepared.people[rows[of.at]];
        let sex = person.male.map(|male| if male { "male" } else { "female" });
        let peers = risk.reference(person.age_years.unwrap_or(f64::NAN), sex);
        let interval = risk.score_interval(of.said, peers, |name| of.lacks(name), COVERAGE);
        let held = f64::from(u8::from((interval.low..=interval.high).contains(&of.whole)));
        Self { at: of.at, lacking: of.lacking(), held, points: interval.high - interval.low }
    }
}

/// Coverage and mean width of the intervals that `belongs` lets through, with the interval over people.
fn coverage(
    held: &[Held],
    belongs: &dyn Fn(&Held) -> bool,
    groups: &[u64],
    part: Option<&str>,
) -> Vec<Measure> {
    let kept: Vec<&Held> = held.iter().filter(|held| belongs(held)).collect();
    let people: Vec<u64> = kept.iter().map(|held| groups[held.at]).collect();
    let figure = |name: &str, of: fn(&Held) -> f64| {
        let mean = |at: &[usize]| Some(metrics::mean(at.iter().map(|i| of(kept[*i]))));
        let everyone: Vec<usize> = (0..kept.len()).collect();
        let measure = Measure::new(name, mean(&everyone)?, kept.len()).between(interval(&people, mean));
        Some(match part {
            Some(part) => measure.within(part),
            None => measure,
        })
    };
    if kept.is_empty() {
        return Vec::new();
    }
    let both = [
        figure("score_interval_coverage", |held| held.held),
        figure("score_interval_points", |held| held.points),
    ];
    both.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use models::calibration::{AgeBand, RiskSpread, fit_reference, fit_risk};

    use super::*;

    #[test]
    fn gaps_are_not_numbers() {
        let values = Matrix { cols: 2, data: vec![1.0, 2.0] };
        let present = Matrix { cols: 2, data: vec![0.0, 1.0] };
        let rows = with_gaps(&[values, present]);
        assert!(rows[0][0].is_nan() && rows[0][1] == 2.0);
    }

    #[test]
    fn the_tenths_hold_everyone_once_from_the_least_risk_up() {
        let case = |i: usize| RiskCase {
            log_risk: i as f64 / 100.0,
            years: 5.0 + (i % 11) as f64,
            event: i.is_multiple_of(3),
        };
        let cases: Vec<RiskCase> = (0..205).map(case).collect();
        let ages = AgeBand { from: 18.0, to: 120.0 };
        let peers = fit_reference(None, ages, vec![0.0, 1.0]).expect("people");
        let risk = fit_risk("death", HORIZON_YEARS, &cases, vec![peers], RiskSpread::default(), COVERAGE);
        let tenths = by_tenths(&risk.expect("deaths"), &cases);
        assert_eq!(tenths.len(), TENTHS);
        assert_eq!(tenths.iter().map(|tenth| tenth.rows).sum::<usize>(), 205);
        assert!(tenths.is_sorted_by(|a, b| a.baseline < b.baseline));
        assert!(tenths.iter().all(|t| t.low <= Some(t.value) && Some(t.value) <= t.high));
    }
}
