//! What the anomaly detectors share: an autoencoder fitted to ordinary rows, thresholds, figures.

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use models::calibration::{Calibration, Part, fit_normality};
use models::engine::candle::network::Network;
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::matrix::Matrix;
use super::recipe::{Prepared, Truth};
use super::runner::Runner;
use super::trainee::Trainee;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::metrics::BinaryFigure;
use crate::evaluate::{Measure, metrics};
use crate::optimise::Objective;

/// Share of ordinary rows that may raise an alarm: the sources ask for the 99.5 percentile.
pub(crate) const FALSE_ALARM_RATE: f64 = 0.005;

/// Mean squared error of reconstruction of what is there, also of what was hidden from the input: a value
/// has to follow from the others, not from itself.
pub(crate) struct Reconstruction<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) trainee: &'a Trainee,
    pub(crate) hiding: Hiding,
}

impl Reconstruction<'_> {
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
        let whole = self.prepared.pick(&pick(&self.prepared.parts.train, rows));
        let mut seen = whole.clone();
        if let [_, present] = &mut seen[..] {
            self.hiding.apply(present, rng);
        }
        self.of(&seen, &whole, false)
    }

    fn validate(&self) -> Result<f64> {
        let inputs = self.prepared.pick(&self.prepared.parts.validation);
        Ok(f64::from(self.of(&inputs, &inputs, true)?.to_scalar::<f32>()?))
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

/// How well errors tell ordinary from strange on the test rows, and how often the threshold is wrong.
/// `baselines` are scores of the same rows by simple methods.
pub(crate) fn figures(
    prepared: &Prepared,
    errors: &Matrix,
    baselines: &[(&str, Vec<f64>)],
    calibration: &Calibration,
) -> Vec<Measure> {
    let rows = &prepared.parts.test;
    let truth = pick(strange(prepared), rows);
    let errors = errors.column(0);
    let groups = prepared.groups(rows);
    let n = rows.len();
    let mut measures = Vec::new();
    for (name, of) in [("auroc", metrics::auroc as BinaryFigure), ("auprc", metrics::auprc)] {
        let Some(value) = of(&errors, &truth) else { continue };
        let spread = interval(&groups, |at| of(&pick(&errors, at), &pick(&truth, at)));
        let best = baselines.iter().filter_map(|(method, scores)| Some((*method, of(scores, &truth)?)));
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1));
        let measure = Measure::new(name, value, n).between(spread);
        measures.push(match best {
            Some((method, value)) => measure.against(method, Some(value)),
            None => measure,
        });
    }
    if let Part::Normality(figures) = calibration.part() {
        let alarms: Vec<f64> =
            errors.iter().map(|e| f64::from(u8::from(figures.anomalous(figures.score(*e))))).collect();
        let share = |at: &[usize], of: bool| {
            let of: Vec<f64> = at.iter().filter(|i| truth[**i] == of).map(|i| alarms[*i]).collect();
            (!of.is_empty()).then(|| metrics::mean(of.iter().copied()))
        };
        let everyone: Vec<usize> = (0..n).collect();
        for (name, of) in [("false_alarm_rate", false), ("detection_rate", true)] {
            let count = truth.iter().filter(|t| **t == of).count();
            if let Some(value) = share(&everyone, of) {
                measures
                    .push(Measure::new(name, value, count).between(interval(&groups, |at| share(at, of))));
            }
        }
    }
    for (subgroup, at) in prepared.subgroups(rows) {
        if let Some(value) = metrics::auroc(&pick(&errors, &at), &pick(&truth, &at)) {
            let of = |drawn: &[usize]| {
                let at = pick(&at, drawn);
                metrics::auroc(&pick(&errors, &at), &pick(&truth, &at))
            };
            let spread = interval(&pick(&groups, &at), of);
            measures.push(Measure::new("auroc", value, at.len()).between(spread).within(&subgroup));
        }
    }
    measures
}
