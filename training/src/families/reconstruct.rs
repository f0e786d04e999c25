//! What the anomaly detectors share: an autoencoder fitted to ordinary rows, thresholds, figures.
//!
//! A free autoencoder learns to copy, and then copies what is strange as well. [`Noise`] keeps it from that: the
//! network sees values that were moved far away and has to give the row as it was, so that a value is believed as far
//! as the others bear it out and the residual of a strange one is nearly all of its distance.

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use models::calibration::{Calibration, Part, fit_normality};
use models::engine::candle::network::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::matrix::Matrix;
use super::noise::Noise;
use super::recipe::{Prepared, Truth};
use super::runner::Runner;
use super::trainee::Trainee;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::metrics::BinaryFigure;
use crate::evaluate::{Measure, metrics};
use crate::optimise::Objective;

/// Share of ordinary rows that may raise an alarm: the sources ask for the 99.5 percentile.
pub(crate) const FALSE_ALARM_RATE: f64 = 0.005;

/// Fewest rows of a part of the test set behind a figure.
const ROWS_MIN: usize = 30;

/// Mean squared error of reconstruction of what is there, also of what was hidden from the input: a value
/// has to follow from the others, not from itself.
pub(crate) struct Reconstruction<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) trainee: &'a Trainee,
    pub(crate) hiding: Hiding,
    /// None: the network sees the values as they are.
    pub(crate) noise: Option<Noise>,
}

impl Reconstruction<'_> {
    /// What the network sees of `whole`, whose own far values are brought near where there is noise.
    fn disturb(&self, whole: &mut [Matrix], rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        let Some((noise, values)) = self.noise.as_ref().zip(whole.first_mut()) else {
            return whole.to_vec();
        };
        noise.bound(values);
        let mut seen = whole.to_vec();
        noise.apply(&mut seen[0], rng);
        seen
    }

    /// Errors of every member, from `seen` inputs against `whole` ones.
    fn of(&self, seen: &[Matrix], whole: &[Matrix], together: bool) -> Result<Tensor> {
        let Network::Autoencoder(network) = self.trainee.network() else {
            anyhow::bail!("reconstruction needs an autoencoder");
        };
        let (target, mask) = network.target(&self.trainee.prepare(whole)?)?;
        let mut raw = self.trainee.raw(seen)?;
        if together {
            raw = raw.mean_keepdim(0)?;
        }
        let squares = raw.broadcast_sub(&target)?.sqr()?;
        match mask {
            Some(mask) => {
                let count = (mask.sum_all()? * raw.dim(0)? as f64)?;
                Ok(squares.broadcast_mul(&mask)?.sum_all()?.div(&count)?)
            }
            None => Ok(squares.mean_all()?),
        }
    }
}

impl Objective for Reconstruction<'_> {
    fn rows(&self) -> usize {
        self.prepared.parts.train.len()
    }

    fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let mut whole = self.prepared.pick(&pick(&self.prepared.parts.train, rows));
        let mut seen = self.disturb(&mut whole, rng);
        if let [_, present] = &mut seen[..] {
            self.hiding.apply(present, rng);
        }
        self.of(&seen, &whole, false)
    }

    fn validate(&self) -> Result<f64> {
        let mut whole = self.prepared.pick(&self.prepared.parts.validation);
        // The same disturbance each time, or epochs could not be compared.
        let seen = self.disturb(&mut whole, &mut ChaCha8Rng::seed_from_u64(0));
        Ok(f64::from(self.of(&seen, &whole, true)?.to_scalar::<f32>()?))
    }
}

/// Which rows are out of the ordinary; none for other truths.
pub(crate) fn strange(prepared: &Prepared) -> &[bool] {
    match &prepared.truth {
        Truth::Strange(strange) => strange,
        Truth::Class(_) | Truth::Values { .. } | Truth::FollowUp { .. } => &[],
    }
}

/// Usual errors, values and residuals from the ordinary calibration rows.
pub(crate) fn calibrate(prepared: &Prepared, names: &[String], runner: &mut Runner) -> Result<(Part, usize)> {
    let strange = strange(prepared);
    let rows: Vec<usize> = prepared.parts.calibration.iter().copied().filter(|row| !strange[*row]).collect();
    let outputs = runner.run(&prepared.pick(&rows))?;
    let [errors, residuals] = &outputs[..] else { anyhow::bail!("expected error and residual") };
    let feature = |(col, name): (usize, &String)| {
        let there: Vec<usize> = (0..rows.len()).filter(|i| is_there(prepared, rows[*i], col)).collect();
        let values = there.iter().map(|i| f64::from(prepared.inputs[0].row(rows[*i])[col])).collect();
        let residuals = there.iter().map(|i| f64::from(residuals.row(*i)[col])).collect();
        (name.clone(), values, residuals)
    };
    let features = names.iter().enumerate().map(feature).collect();
    let part = fit_normality(errors.column(0), features, FALSE_ALARM_RATE);
    Ok((Part::Normality(part.context("no ordinary rows to calibrate on")?), rows.len()))
}

fn is_there(prepared: &Prepared, row: usize, col: usize) -> bool {
    prepared.inputs.get(1).is_none_or(|present| present.row(row)[col] > 0.0)
}

/// Errors of rows by a network that is in no bundle yet.
pub(crate) fn errors(trainee: &Trainee, inputs: &[Matrix]) -> Result<Vec<f64>> {
    let features = inputs.first().context("a network has an input")?;
    let outputs = trainee.network().run(&features.data, inputs.get(1).map(|present| &present.data[..]))?;
    Ok(outputs.first().context("a network has an output")?.iter().copied().map(f64::from).collect())
}

/// How well errors tell ordinary from strange on the test rows, and how often the threshold is wrong.
/// `baselines` are scores of the same rows by simple methods.
pub(crate) fn figures(
    prepared: &Prepared,
    errors: &Matrix,
    baselines: &[(&str, Vec<f64>)],
    calibration: &Calibration,
) -> Vec<Measure> {
    let rows = &prepared.parts.test;
    let judged = Judged {
        errors: errors.column(0),
        strange: pick(strange(prepared), rows),
        alarms: alarms(&errors.column(0), calibration),
        groups: prepared.groups(rows),
    };
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let mut measures = judged.areas(baselines);
    measures.extend(judged.rates(&everyone));
    for (subgroup, at) in prepared.subgroups(rows).into_iter().chain(by_gaps(prepared, rows)) {
        let parts = judged.auroc(&at).into_iter().chain(judged.rates(&at));
        let parts = parts.filter(|measure| measure.rows >= ROWS_MIN);
        measures.extend(parts.map(|measure| measure.within(&subgroup)));
    }
    measures
}

/// Whether each error is above the threshold.
fn alarms(errors: &[f64], calibration: &Calibration) -> Vec<bool> {
    let Part::Normality(normality) = calibration.part() else { return Vec::new() };
    errors.iter().map(|error| normality.anomalous(normality.score(*error))).collect()
}

/// Rows with all values and rows with gaps, where there are both, as positions within `rows`.
fn by_gaps(prepared: &Prepared, rows: &[usize]) -> Vec<(String, Vec<usize>)> {
    let Some(present) = prepared.inputs.get(1) else { return Vec::new() };
    let whole = |at: &usize| present.row(rows[*at]).iter().all(|mark| *mark > 0.0);
    let (complete, gaps): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(whole);
    if complete.is_empty() || gaps.is_empty() {
        return Vec::new();
    }
    vec![("panel=complete".into(), complete), ("panel=gaps".into(), gaps)]
}

/// Test rows and what the detector made of them.
struct Judged {
    errors: Vec<f64>,
    strange: Vec<bool>,
    alarms: Vec<bool>,
    groups: Vec<u64>,
}

impl Judged {
    /// Areas under the curves with their intervals, beside the best simple method.
    fn areas(&self, baselines: &[(&str, Vec<f64>)]) -> Vec<Measure> {
        let figures = [("auroc", metrics::auroc as BinaryFigure), ("auprc", metrics::auprc)];
        let area = |(name, of): (&str, BinaryFigure)| {
            let value = of(&self.errors, &self.strange)?;
            let spread = interval(&self.groups, |at| of(&pick(&self.errors, at), &pick(&self.strange, at)));
            let beside =
                |(method, scores): &(&str, Vec<f64>)| Some((method.to_string(), of(scores, &self.strange)?));
            let best = baselines.iter().filter_map(beside).max_by(|a, b| a.1.total_cmp(&b.1));
            let measure = Measure::new(name, value, self.errors.len()).between(spread);
            Some(match best {
                Some((method, value)) => measure.against(&method, Some(value)),
                None => measure,
            })
        };
        figures.into_iter().filter_map(area).collect()
    }

    fn auroc(&self, at: &[usize]) -> Option<Measure> {
        let of = |at: &[usize]| metrics::auroc(&pick(&self.errors, at), &pick(&self.strange, at));
        let spread = interval(&pick(&self.groups, at), |drawn| of(&pick(at, drawn)));
        Some(Measure::new("auroc", of(at)?, at.len()).between(spread))
    }

    /// Share of ordinary and of strange rows that raise an alarm.
    fn rates(&self, at: &[usize]) -> Vec<Measure> {
        if self.alarms.is_empty() {
            return Vec::new();
        }
        let rate = |(name, strange): (&str, bool)| {
            let of: Vec<usize> = at.iter().copied().filter(|row| self.strange[*row] == strange).collect();
            let alarm = |row: usize| f64::from(u8::from(self.alarms[row]));
            let share = |rows: &[usize]| {
                (!rows.is_empty()).then(|| metrics::mean(rows.iter().map(|row| alarm(*row))))
            };
            let spread = interval(&pick(&self.groups, &of), |drawn| share(&pick(&of, drawn)));
            Some(Measure::new(name, share(&of)?, of.len()).between(spread))
        };
        [("false_alarm_rate", false), ("detection_rate", true)].into_iter().filter_map(rate).collect()
    }
}
