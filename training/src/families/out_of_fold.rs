//! Figures by cross-validation: five networks, and every row is answered by the one that never saw it.
//!
//! This is the protocol in which results on small clinical tables are published, so that figures can be held beside
//! others. The simple methods are fitted on the very same rows: a network's own rows to stop on count as training
//! rows for them. The bundle that ships is another network; its frozen test rows say what it is worth.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::classify::Judged;
use super::columns::{Column, Panels};
use super::matrix::Matrix;
use super::parts::Parts;
use super::recipe::{Context, Prepared, Recipe};
use super::trainee::Trainee;
use crate::evaluate::{Benchmark, Target};
use crate::evaluate::baseline::{Boosted, Logistic};
use crate::evaluate::bootstrap::{interval, pick};

const FOLDS: usize = 5;
/// Seed of the folds, the same for every model.
const SEED: u64 = 0;
/// One training row in so many is kept to stop on.
const VALIDATION_EVERY: usize = 7;

/// A figure of some rows, `None` where it has no value.
pub(crate) type Figure = fn(&Judged<'_>, &[usize]) -> Option<f64>;

/// What a classifier is asked in cross-validation.
pub(crate) struct Question {
    /// First part of the keys, for example `thyroid`.
    pub(crate) task: &'static str,
    /// Columns of the panel.
    pub(crate) columns: Vec<Column>,
    /// Columns that are not shown.
    pub(crate) hidden: BTreeSet<Column>,
    /// What is measured.
    pub(crate) figures: Vec<Wanted>,
}

/// A figure with its target.
pub(crate) struct Wanted {
    /// Second part of the key, for example `auroc`.
    pub(crate) name: &'static str,
    pub(crate) of: Figure,
    /// The figure should be at least this.
    pub(crate) target: f64,
}

/// Answers to one question, a place for each row.
struct Answers {
    classes: usize,
    network: Vec<f64>,
    logistic: Vec<f64>,
    boosted: Vec<f64>,
}

/// The questions of one recipe, answered; none for recipes without any.
pub(crate) fn out_of_fold(recipe: &dyn Recipe, context: &Context) -> Result<Vec<Benchmark>> {
    let questions = recipe.questions();
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let mut prepared = recipe.prepare(context, context.seed)?;
    let rows = all_rows(&prepared.parts);
    let folds = folds(&pick(prepared.truth.classes(), &rows));
    let classes = prepared.labels.len();
    let mut answers: Vec<Answers> = questions.iter().map(|_| Answers::new(rows.len(), classes)).collect();
    for fold in 0..FOLDS {
        prepared.parts = around(&folds, fold, &rows);
        let trainee = Trainee::new(&recipe.network())?;
        let name = recipe.spec().name;
        recipe.train(&prepared, &trainee, context).with_context(|| format!("fold {} of `{name}`", fold + 1))?;
        for (question, answers) in questions.iter().zip(&mut answers) {
            answers.fill(question, &prepared, &trainee, &folds[fold])?;
        }
    }
    let judge = |(question, answers): (&Question, &Answers)| judge(question, answers, &prepared, &rows);
    Ok(questions.iter().zip(&answers).flat_map(judge).collect())
}

fn all_rows(parts: &Parts) -> Vec<usize> {
    let Parts { train, validation, calibration, test } = parts;
    let mut rows: Vec<usize> = [train, validation, calibration, test].into_iter().flatten().copied().collect();
    rows.sort_unstable();
    rows
}

/// Places of the rows in folds that hold the classes in equal shares.
fn folds(classes: &[usize]) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut folds = vec![Vec::new(); FOLDS];
    for class in classes.iter().collect::<BTreeSet<_>>() {
        let mut places: Vec<usize> = (0..classes.len()).filter(|place| classes[*place] == *class).collect();
        places.shuffle(&mut rng);
        for (at, place) in places.into_iter().enumerate() {
            folds[at % FOLDS].push(place);
        }
    }
    folds
}

/// One fold to answer, the others to learn from. They lie class by class, so every seventh row has all classes.
fn around(folds: &[Vec<usize>], fold: usize, rows: &[usize]) -> Parts {
    let others = folds.iter().enumerate().filter(|(number, _)| *number != fold).flat_map(|(_, places)| places);
    let mut parts = Parts { test: pick(rows, &folds[fold]), ..Parts::default() };
    for (at, place) in others.enumerate() {
        let part = if at % VALIDATION_EVERY == 0 { &mut parts.validation } else { &mut parts.train };
        part.push(rows[*place]);
    }
    parts
}

impl Answers {
    fn new(rows: usize, classes: usize) -> Self {
        let empty = || vec![0.0; rows * classes];
        Self { classes, network: empty(), logistic: empty(), boosted: empty() }
    }

    fn fill(
        &mut self,
        question: &Question,
        prepared: &Prepared,
        trainee: &Trainee,
        places: &[usize],
    ) -> Result<()> {
        let [values, present] = &prepared.inputs[..] else { anyhow::bail!("a panel has values and marks") };
        let panels =
            Panels { columns: question.columns.clone(), values: values.clone(), present: present.clone() };
        let test = &prepared.parts.test;
        let inputs = [values.pick(test), panels.hiding(test, &question.hidden)];
        let learnt: Vec<usize> =
            prepared.parts.train.iter().chain(&prepared.parts.validation).copied().collect();
        let truth = pick(prepared.truth.classes(), &learnt);
        let (seen, asked) =
            (panels.with_gaps(&learnt, &question.hidden), panels.with_gaps(test, &question.hidden));
        let logistic = Logistic::fit(&seen, &truth, self.classes);
        let boosted = Boosted::fit(&seen, &truth, self.classes);
        let Matrix { data, .. } = trainee.probabilities(&inputs)?;
        put(&mut self.network, &data.into_iter().map(f64::from).collect::<Vec<_>>(), places, self.classes);
        let answers: Vec<f64> = asked.iter().flat_map(|row| logistic.predict(row)).collect();
        put(&mut self.logistic, &answers, places, self.classes);
        let answers: Vec<f64> = asked.iter().flat_map(|row| boosted.predict(row)).collect();
        put(&mut self.boosted, &answers, places, self.classes);
        Ok(())
    }
}

fn put(all: &mut [f64], answers: &[f64], places: &[usize], classes: usize) {
    for (answer, place) in answers.chunks_exact(classes).zip(places) {
        all[place * classes..(place + 1) * classes].copy_from_slice(answer);
    }
}

fn judge(question: &Question, answers: &Answers, prepared: &Prepared, rows: &[usize]) -> Vec<Benchmark> {
    let truth = pick(prepared.truth.classes(), rows);
    let groups = prepared.groups(rows);
    let everyone: Vec<usize> = (0..rows.len()).collect();
    let judged = |probabilities| Judged { probabilities, truth: &truth, classes: answers.classes };
    let ours = judged(&answers.network);
    let simple =
        [("logistic regression", judged(&answers.logistic)), ("boosted trees", judged(&answers.boosted))];
    let figure = |Wanted { name, of, target }: &Wanted| {
        let value = of(&ours, &everyone)?;
        let scored = simple.iter().filter_map(|(name, theirs)| Some((*name, theirs, of(theirs, &everyone)?)));
        let best = scored.max_by(|a, b| a.2.total_cmp(&b.2));
        let gain = best.as_ref().and_then(|(_, theirs, _)| {
            interval(&groups, |at| Some(of(&ours, at)? - of(theirs, at)?))
        });
        let (baseline, beside) = best.map_or(("", None), |(name, _, value)| (name, Some(value)));
        let key = format!("{}/{name}", question.task);
        let protocol = format!("{FOLDS}-fold out of fold, seed {SEED}");
        let benchmark = Benchmark::new(key, value, Target::AtLeast(*target), rows.len(), &protocol);
        let benchmark = benchmark.between(interval(&groups, |at| of(&ours, at)));
        Some(benchmark.against(baseline, beside, gain))
    };
    question.figures.iter().filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_answered_once_and_every_fold_has_every_class() {
        let classes: Vec<usize> = (0..503).map(|row| usize::from(row % 10 == 0)).collect();
        let folds = folds(&classes);
        let mut all: Vec<usize> = folds.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..503).collect::<Vec<_>>());
        let rare = |fold: &Vec<usize>| fold.iter().filter(|place| classes[**place] == 1).count();
        assert!(folds.iter().map(rare).all(|count| (10..=11).contains(&count)));
    }

    #[test]
    fn a_network_never_sees_the_rows_it_answers() {
        let classes: Vec<usize> = (0..100).map(|row| row % 3).collect();
        let rows: Vec<usize> = (1000..1100).collect();
        let folds = folds(&classes);
        for fold in 0..FOLDS {
            let parts = around(&folds, fold, &rows);
            let learnt: BTreeSet<usize> = parts.train.iter().chain(&parts.validation).copied().collect();
            assert_eq!(learnt.len() + parts.test.len(), 100);
            assert!(parts.test.iter().all(|row| !learnt.contains(row)));
            let stopped: BTreeSet<usize> = parts.validation.iter().map(|row| (row - 1000) % 3).collect();
            assert_eq!(stopped.len(), 3, "all classes to stop on");
        }
    }
}
