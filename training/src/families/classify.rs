//! What the classifiers share: hiding of inputs in training, loss, prediction sets, figures.

use anyhow::Result;
use candle_core::Tensor;
use models::bundle::TensorConfig;
use models::calibration::{
    COVERAGE, Calibration, ClassCase, Classes, Cohort, Cohorts, Part, class_cohorts, fit_classes,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::recipe::{Context, Prepared};
use super::rivals::beside;
use super::runner::Runner;
use super::trainee::Trainee;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::plots::Rival;
use crate::evaluate::{Measure, metrics};
use crate::optimise::{self, Objective, Outcome, Plan};

/// Which inputs a network learns to do without.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hiding {
    /// Probability that any one value is hidden.
    pub(crate) single: f64,
    /// Columns hidden together, with the probability of it.
    pub(crate) together: Vec<(Vec<usize>, f64)>,
}

impl Hiding {
    /// Takes marks out of `present`.
    pub(crate) fn apply(&self, present: &mut Matrix, rng: &mut ChaCha8Rng) {
        for marks in present.data.chunks_exact_mut(present.cols.max(1)) {
            for mark in marks.iter_mut() {
                if self.single > 0.0 && rng.random_bool(self.single) {
                    *mark = 0.0;
                }
            }
            for (columns, probability) in &self.together {
                if rng.random_bool(*probability) {
                    columns.iter().for_each(|column| marks[*column] = 0.0);
                }
            }
        }
    }
}

/// Panel in, class probabilities out.
pub(crate) fn panel_signature(features: usize, classes: usize) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
    let (features, classes) = (features as i64, classes as i64);
    let inputs =
        vec![TensorConfig::rows("features", &[features]), TensorConfig::rows("present", &[features])];
    (inputs, vec![TensorConfig::rows("probabilities", &[classes])])
}

/// Cross entropy of every member on its own; the mean of members only answers.
struct CrossEntropy<'a> {
    prepared: &'a Prepared,
    classes: &'a [usize],
    trainee: &'a Trainee,
    hiding: &'a Hiding,
}

impl CrossEntropy<'_> {
    fn targets(&self, rows: &[usize], repeat: usize) -> Result<Tensor> {
        let classes: Vec<u32> = rows.iter().map(|row| self.classes[*row] as u32).collect();
        let all = classes.repeat(repeat);
        Ok(Tensor::from_vec(all.clone(), all.len(), optimise::device())?)
    }
}

impl Objective for CrossEntropy<'_> {
    fn rows(&self) -> usize {
        self.prepared.parts.train.len()
    }

    fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let rows = pick(&self.prepared.parts.train, rows);
        let mut inputs = self.prepared.pick(&rows);
        if let [_, present] = &mut inputs[..] {
            self.hiding.apply(present, rng);
        }
        let raw = self.trainee.raw(&inputs)?;
        let (members, count, classes) = raw.dims3()?;
        let flat = raw.reshape((members * count, classes))?;
        Ok(candle_nn::loss::cross_entropy(&flat, &self.targets(&rows, members)?)?)
    }

    fn validate(&self) -> Result<f64> {
        let rows = &self.prepared.parts.validation;
        let raw = self.trainee.raw(&self.prepared.pick(rows))?;
        let probabilities = candle_nn::ops::softmax(&raw, 2)?.mean(0)?;
        let log = (probabilities + 1e-7)?.log()?;
        let loss = candle_nn::loss::nll(&log, &self.targets(rows, 1)?)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }
}

/// Trains a classifier whose buffers are set.
pub(crate) fn train(
    name: &str,
    prepared: &Prepared,
    trainee: &Trainee,
    hiding: &Hiding,
    plan: Plan,
    context: &Context,
) -> Result<Outcome> {
    let plan = Plan { seed: context.seed, epochs_max: context.effort.choose(plan.epochs_max, 2), ..plan };
    let objective = CrossEntropy { prepared, classes: prepared.truth.classes(), trainee, hiding };
    optimise::fit(name, trainee.weights(), &objective, &plan, &context.progress)
}

fn cases(prepared: &Prepared, rows: &[usize], probabilities: &Matrix) -> Vec<ClassCase> {
    let truth = prepared.truth.classes();
    let case = |(index, row): (usize, &usize)| ClassCase {
        probabilities: probabilities.row(index).iter().map(|p| f64::from(*p)).collect(),
        truth: truth[*row],
    };
    rows.iter().enumerate().map(case).collect()
}

/// Prediction sets and reliability from the calibration rows.
pub(crate) fn calibrate(prepared: &Prepared, classes: usize, runner: &mut Runner) -> Result<(Part, usize)> {
    let rows = &prepared.parts.calibration;
    let probabilities = runner.first(&prepared.pick(rows))?;
    let cases = cases(prepared, rows, &probabilities);
    Ok((Part::Classes(fit_classes(&cases, classes, COVERAGE)), cases.len()))
}

/// Thresholds of the cohorts that have calibration rows enough.
pub(crate) fn cohorts(prepared: &Prepared, runner: &mut Runner, pooled: &Classes) -> Result<Option<Cohorts>> {
    let rows = &prepared.parts.calibration;
    let probabilities = runner.first(&prepared.pick(rows))?;
    let of = |(row, case): (&usize, ClassCase)| (prepared.people[*row].cohort(), case);
    let cases: Vec<(Option<Cohort>, ClassCase)> =
        rows.iter().zip(cases(prepared, rows, &probabilities)).map(of).collect();
    Ok(class_cohorts(&cases, pooled, COVERAGE))
}

/// Probabilities of some rows and their true classes.
pub(crate) struct Judged<'a> {
    pub(crate) probabilities: &'a [f64],
    pub(crate) truth: &'a [usize],
    pub(crate) classes: usize,
}

impl Judged<'_> {
    fn rows(&self, at: &[usize]) -> Vec<f64> {
        at.iter()
            .flat_map(|i| self.probabilities[i * self.classes..(i + 1) * self.classes].to_vec())
            .collect()
    }

    /// Mean over classes of the area under the ROC; of two classes the area itself.
    pub(crate) fn macro_auroc(&self, at: &[usize]) -> Option<f64> {
        metrics::macro_auroc(&self.rows(at), &pick(self.truth, at), self.classes)
    }

    /// Mean over classes of F1.
    pub(crate) fn macro_f1(&self, at: &[usize]) -> Option<f64> {
        let said = winners(&self.rows(at), self.classes);
        Some(metrics::macro_f1(&said, &pick(self.truth, at), self.classes))
    }

    fn accuracy(&self, at: &[usize]) -> Option<f64> {
        Some(metrics::accuracy(&winners(&self.rows(at), self.classes), &pick(self.truth, at)))
    }
}

/// Figures of a classifier of several classes on `rows`, beside those of simple methods on the same rows.
pub(crate) fn figures_of_classes(
    prepared: &Prepared,
    rows: &[usize],
    probabilities: &Matrix,
    rivals: &[Rival],
    calibration: &Calibration,
) -> Vec<Measure> {
    type Figure = fn(&Judged<'_>, &[usize]) -> Option<f64>;
    const FIGURES: [(&str, Figure); 3] = [
        ("macro_auroc", |judged, at| judged.macro_auroc(at)),
        ("macro_f1", |judged, at| judged.macro_f1(at)),
        ("accuracy", |judged, at| judged.accuracy(at)),
    ];
    let classes = probabilities.cols;
    let truth = pick(prepared.truth.classes(), rows);
    let flat: Vec<f64> = probabilities.data.iter().map(|p| f64::from(*p)).collect();
    let ours = Judged { probabilities: &flat, truth: &truth, classes };
    let their = |scores: &[f64], of: Figure, at: &[usize]| of(&Judged { probabilities: scores, ..ours }, at);
    let (groups, everyone): (_, Vec<usize>) = (prepared.groups(rows), (0..rows.len()).collect());
    let mut measures = Vec::new();
    for (name, of) in FIGURES {
        let Some(value) = of(&ours, &everyone) else { continue };
        let measure = Measure::new(name, value, rows.len()).between(interval(&groups, |at| of(&ours, at)));
        measures.push(beside(measure, rivals, |scores| their(scores, of, &everyone)));
    }
    measures.push(calibration_error(prepared, rows, probabilities));
    measures.extend(sets(prepared, rows, probabilities, calibration));
    for (subgroup, at) in prepared.subgroups(rows) {
        for (name, of) in &FIGURES[..2] {
            let Some(value) = of(&ours, &at) else { continue };
            let own = pick(&groups, &at);
            let measure = Measure::new(*name, value, at.len()).within(&subgroup);
            let measure = measure.between(interval(&own, |drawn| of(&ours, &pick(&at, drawn))));
            measures.push(beside(measure, rivals, |scores| their(scores, *of, &at)));
        }
    }
    measures
}

/// Expected calibration error of `rows` with its interval.
pub(crate) fn calibration_error(prepared: &Prepared, rows: &[usize], probabilities: &Matrix) -> Measure {
    let truth = pick(prepared.truth.classes(), rows);
    let flat: Vec<f64> = probabilities.data.iter().map(|p| f64::from(*p)).collect();
    let judged = Judged { probabilities: &flat, truth: &truth, classes: probabilities.cols };
    let of = |at: &[usize]| metrics::calibration_error(&judged.rows(at), &pick(&truth, at), judged.classes);
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let spread = interval(&prepared.groups(rows), |at| Some(of(at)));
    Measure::new("ece", of(&everyone), rows.len()).between(spread)
}

/// Coverage and mean size of the prediction sets, and coverage within each class and part of the rows.
pub(crate) fn sets(
    prepared: &Prepared,
    rows: &[usize],
    probabilities: &Matrix,
    calibration: &Calibration,
) -> Vec<Measure> {
    let Part::Classes(figures) = calibration.part() else { return Vec::new() };
    let cases = cases(prepared, rows, probabilities);
    let set = |(row, case): (&usize, &ClassCase)| {
        let own = calibration.of_cohort(prepared.people[*row].cohort());
        figures.prediction_set_by(own.unwrap_or(&figures.thresholds), &case.probabilities)
    };
    let sets: Vec<Vec<usize>> = rows.iter().zip(&cases).map(set).collect();
    let held: Vec<f64> =
        cases.iter().zip(&sets).map(|(case, set)| f64::from(u8::from(set.contains(&case.truth)))).collect();
    let size = metrics::mean(sets.iter().map(|set| set.len() as f64));
    let coverage = metrics::mean(held.iter().copied());
    let groups = prepared.groups(rows);
    let spread = interval(&groups, |at| Some(metrics::mean(at.iter().map(|i| held[*i]))));
    let mut measures = vec![
        Measure::new("set_coverage", coverage, rows.len()).between(spread),
        Measure::new("set_size", size, rows.len()),
    ];
    let class = |(class, label): (usize, &String)| {
        let at: Vec<usize> = (0..cases.len()).filter(|i| cases[*i].truth == class).collect();
        (format!("class={label}"), at)
    };
    let classes = prepared.labels.iter().enumerate().map(class).filter(|(_, at)| at.len() >= 30);
    for (part, at) in classes.chain(prepared.subgroups(rows)) {
        let of = |at: &[usize]| metrics::mean(at.iter().map(|i| held[*i]));
        let spread = interval(&pick(&groups, &at), |drawn| Some(of(&pick(&at, drawn))));
        measures.push(Measure::new("set_coverage", of(&at), at.len()).between(spread).within(&part));
    }
    measures
}

/// Most probable class of each row.
pub(crate) fn winners(probabilities: &[f64], classes: usize) -> Vec<usize> {
    probabilities.chunks_exact(classes).map(metrics::arg_max).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn columns_are_hidden_singly_and_together() {
        let full = Matrix { cols: 4, data: vec![1.0; 4000] };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let hiding = Hiding { single: 0.0, together: vec![(vec![1, 2], 0.5)] };
        let mut present = full.clone();
        hiding.apply(&mut present, &mut rng);
        let hidden = (0..1000).filter(|row| present.row(*row) == [1.0, 0.0, 0.0, 1.0]).count();
        let whole = (0..1000).filter(|row| present.row(*row) == [1.0; 4]).count();
        assert_eq!(hidden + whole, 1000, "nothing in between");
        assert!((400..600).contains(&hidden), "{hidden}");
        let mut present = full.clone();
        Hiding { single: 0.25, together: vec![] }.apply(&mut present, &mut rng);
        let left: f32 = present.data.iter().sum();
        assert!((2800.0..3200.0).contains(&left), "{left}");
        let mut present = full.clone();
        Hiding::default().apply(&mut present, &mut rng);
        assert_eq!(present, full);
    }

    #[test]
    fn winners_are_found_row_by_row() {
        assert_eq!(winners(&[0.1, 0.9, 0.6, 0.4], 2), [1, 0]);
    }
}
