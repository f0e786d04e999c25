//! The boosted trees of a classifier: grown beside its perceptrons on the same rows, and written into its weights.
//!
//! They see what the perceptrons see: standardised values, and a gap where a value is missing. Every row is shown
//! twice, as it is and with values hidden, so that the trees know panels that lack something.

use anyhow::{Context as _, Result};
use models::bundle::ForestConfig;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::matrix::Matrix;
use super::recipe::{Context, Prepared};
use super::trainee::Trainee;
use crate::boosting::{Boosted, Node, Plan, Tree};
use crate::evaluate::bootstrap::pick;

/// The part of a network's shape that trees of `plan` need.
pub(crate) fn config(plan: &Plan, classes: usize, share: f32) -> ForestConfig {
    let empty = ForestConfig { trees: 0, leaves: plan.leaves_max, share };
    ForestConfig { trees: plan.steps * empty.scores(classes), ..empty }
}

/// Grows the trees on the training and the validation rows, which they have no use for otherwise.
pub(crate) fn grow(
    prepared: &Prepared,
    trainee: &Trainee,
    hiding: &Hiding,
    plan: &Plan,
    context: &Context,
) -> Result<()> {
    let rows: Vec<usize> = prepared.parts.train.iter().chain(&prepared.parts.validation).copied().collect();
    let truth = pick(prepared.truth.classes(), &rows);
    let mut inputs = prepared.pick(&rows);
    let mut seen = with_gaps(trainee, &inputs)?;
    let mut rng = ChaCha8Rng::seed_from_u64(context.seed ^ 0x0074_7265_6573);
    hiding.apply(inputs.get_mut(1).context("a panel has marks")?, &mut rng);
    seen.extend(with_gaps(trainee, &inputs)?);
    let steps = context.effort.choose(plan.steps, 3);
    let plan = Plan { steps, seed: context.seed, ..*plan };
    let boosted = Boosted::fit_with(&seen, &truth.repeat(2), prepared.labels.len(), &plan);
    write(&boosted, trainee)
}

/// Standardised rows with NaN for what is missing.
fn with_gaps(trainee: &Trainee, inputs: &[Matrix]) -> Result<Vec<Vec<f64>>> {
    let [features, present] = inputs else { anyhow::bail!("a panel has values and marks") };
    let rows = trainee.prepare(inputs)?.to_vec2::<f32>()?;
    let gap = |(value, mark): (&f32, &f32)| if *mark == 0.0 { f64::NAN } else { f64::from(*value) };
    let row =
        |(at, row): (usize, &Vec<f32>)| row[..features.cols].iter().zip(present.row(at)).map(gap).collect();
    Ok(rows.iter().enumerate().map(row).collect())
}

fn write(boosted: &Boosted, trainee: &Trainee) -> Result<()> {
    let weights = trainee.weights();
    let shape = weights.shape("forest.column")?;
    let [trees, places] = shape[..] else { anyhow::bail!("trees have two dimensions, not {shape:?}") };
    let mut buffers = Buffers::new(trees, places);
    for (at, tree) in boosted.trees().iter().enumerate() {
        buffers.put(at * places, tree);
    }
    let start: Vec<f32> = boosted.start().iter().map(|start| *start as f32).collect();
    weights.set("forest.start", &start)?;
    weights.set("forest.column", &buffers.column)?;
    weights.set("forest.value", &buffers.value)?;
    weights.set("forest.next", &buffers.next)?;
    weights.set("forest.absent_left", &buffers.absent_left)
}

/// The tensors of a forest; what no tree fills is a leaf of 0.
struct Buffers {
    column: Vec<f32>,
    value: Vec<f32>,
    next: Vec<f32>,
    absent_left: Vec<f32>,
}

impl Buffers {
    fn new(trees: usize, places: usize) -> Self {
        let zeros = vec![0.0; trees * places];
        Self {
            column: vec![-1.0; trees * places],
            value: zeros.clone(),
            next: zeros.clone(),
            absent_left: zeros,
        }
    }

    fn put(&mut self, start: usize, tree: &Tree) {
        for (place, node) in tree.nodes().iter().enumerate() {
            let at = start + place;
            match *node {
                Node::Leaf(value) => self.value[at] = value as f32,
                Node::Cut { column, end, absent_left, left } => {
                    self.column[at] = column as f32;
                    self.value[at] = end.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
                    self.next[at] = left as f32;
                    self.absent_left[at] = f32::from(u8::from(absent_left));
                }
            }
        }
    }
}
