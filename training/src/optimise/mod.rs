//! The one training loop of all networks: seeded mini-batches, AdamW, cosine schedule, early stopping.
//!
//! What differs between networks is behind [`Objective`]: the loss of some rows, and one figure on the
//! validation rows by which the best epoch is kept. Nothing here sees calibration or test rows.

mod batches;
mod device;
mod journal;
mod progress;
mod schedule;
mod tuning;
mod weights;

use anyhow::{Result, ensure};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use batches::batches;
pub(crate) use device::device;
pub use device::device_name;
pub use journal::{Epoch, Journal};
pub use progress::Progress;
pub use schedule::cosine;
pub use tuning::Tuning;
pub use weights::Weights;

/// How long and how fast to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Most passes over the training rows.
    pub epochs_max: usize,
    /// Stop after this many epochs without a better validation figure.
    pub patience_epochs: usize,
    /// Rows of a mini-batch.
    pub batch_rows: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the slope over all weights; longer ones are scaled down to it.
    pub slope_norm_max: f64,
    /// Seed of the first weights and of the order of rows.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            epochs_max: 60,
            patience_epochs: 12,
            batch_rows: 256,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            slope_norm_max: 5.0,
            seed: 1,
        }
    }
}

/// What a network is trained for.
pub trait Objective {
    /// Number of training rows.
    fn rows(&self) -> usize;

    /// Mean loss of these training rows, a scalar. `rng` is for augmentation.
    ///
    /// # Errors
    /// A tensor operation that failed.
    fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor>;

    /// The figure on the validation rows, lower is better.
    ///
    /// # Errors
    /// A tensor operation that failed.
    fn validate(&self) -> Result<f64>;
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Epochs run.
    pub epochs: usize,
    /// Epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// Validation figure of that epoch.
    pub best: f64,
}

/// Trains `weights` from a fresh draw and leaves them in the state of the best epoch.
///
/// # Errors
/// A tensor operation that failed, or a loss or validation figure that is not finite.
pub fn fit(
    name: &str,
    weights: &Weights,
    objective: &dyn Objective,
    plan: &Plan,
    progress: &Progress,
) -> Result<Outcome> {
    let plan = &progress.tuning().plan(*plan);
    progress.journal().begins(name, *plan);
    weights.draw(plan.seed)?;
    device::seed(plan.seed)?;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ 0x0062_6174_6368_6573);
    let params = ParamsAdamW { lr: 0.0, weight_decay: plan.weight_decay, ..ParamsAdamW::default() };
    let vars = weights.trainable().into_iter().map(|(_, var)| var).collect::<Vec<_>>();
    let mut optimiser = AdamW::new(vars.clone(), params)?;
    let bar = progress.bar(name, plan.epochs_max);
    let mut best = Outcome { epochs: 0, best_epoch: 0, best: f64::INFINITY };
    let mut kept = weights.snapshot()?;
    for epoch in 0..plan.epochs_max {
        let cut = batches(objective.rows(), plan.batch_rows, &mut rng);
        let steps = cut.len() * plan.epochs_max;
        let mut sum = 0.0;
        for (index, rows) in cut.iter().enumerate() {
            optimiser.set_learning_rate(plan.learning_rate * cosine(epoch * cut.len() + index, steps));
            let loss = objective.loss(rows, &mut rng)?;
            let value = loss.to_scalar::<f32>()?;
            sum += f64::from(value);
            ensure!(value.is_finite(), "the loss of `{name}` is {value} in epoch {}", epoch + 1);
            let mut slopes = loss.backward()?;
            limit_norm(&mut slopes, &vars, plan.slope_norm_max)?;
            optimiser.step(&slopes)?;
        }
        let figure = objective.validate()?;
        ensure!(figure.is_finite(), "the validation figure of `{name}` is {figure} in epoch {}", epoch + 1);
        progress.journal().epoch(name, epoch + 1, sum / cut.len().max(1) as f64, figure);
        best.epochs = epoch + 1;
        if figure < best.best {
            (best.best, best.best_epoch) = (figure, epoch + 1);
            kept = weights.snapshot()?;
        }
        bar.set_message(format!("best {:.4}", best.best));
        bar.inc(1);
        if epoch + 1 - best.best_epoch >= plan.patience_epochs {
            break;
        }
    }
    bar.finish_and_clear();
    weights.restore(&kept)?;
    Ok(best)
}

/// Scales all slopes down when their common norm is above `norm_max`.
fn limit_norm(slopes: &mut GradStore, vars: &[Var], norm_max: f64) -> Result<()> {
    let mut square = 0.0;
    for slope in vars.iter().filter_map(|var| slopes.get(var)) {
        square += f64::from(slope.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let norm = square.sqrt();
    if norm > norm_max {
        for var in vars {
            if let Some(slope) = slopes.remove(var) {
                slopes.insert(var, (slope * (norm_max / norm))?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// y = 2x - 1 by least squares.
    struct Line {
        weight: Tensor,
        bias: Tensor,
    }

    impl Line {
        fn new(weights: &Weights) -> Self {
            let get = |name, shape: &[usize]| {
                weights.builder().get_with_hints(shape, name, candle_nn::Init::Const(0.0)).expect("created")
            };
            Self { weight: get("weight", &[1, 1]), bias: get("bias", &[1]) }
        }

        fn error(&self, x: &[f32]) -> Result<Tensor> {
            let y: Vec<f32> = x.iter().map(|x| 2.0 * x - 1.0).collect();
            let (x, y) = (column(x)?, column(&y)?);
            Ok((x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)? - y)?.sqr()?.mean_all()?)
        }
    }

    fn column(values: &[f32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, (values.len(), 1), &Device::Cpu)?)
    }

    impl Objective for Line {
        fn rows(&self) -> usize {
            64
        }

        fn loss(&self, rows: &[usize], _rng: &mut ChaCha8Rng) -> Result<Tensor> {
            self.error(&rows.iter().map(|row| *row as f32 / 64.0).collect::<Vec<_>>())
        }

        fn validate(&self) -> Result<f64> {
            Ok(f64::from(self.error(&[0.25, 0.5, 0.75])?.to_scalar::<f32>()?))
        }
    }

    fn run(seed: u64) -> (Outcome, Vec<Vec<f32>>) {
        let weights = Weights::new();
        let line = Line::new(&weights);
        let plan = Plan {
            epochs_max: 200,
            patience_epochs: 200,
            batch_rows: 16,
            learning_rate: 0.05,
            weight_decay: 0.0,
            seed,
            ..Plan::default()
        };
        let outcome = fit("line", &weights, &line, &plan, &Progress::hidden()).expect("trained");
        let flat = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers");
        (outcome, weights.snapshot().expect("copy").values().map(flat).collect())
    }

    #[test]
    fn a_line_is_found_and_the_best_epoch_kept() {
        let (outcome, values) = run(3);
        assert!(outcome.best < 1e-4, "{outcome:?}");
        assert!((values[0][0] + 1.0).abs() < 0.02 && (values[1][0] - 2.0).abs() < 0.03, "{values:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_bit_for_bit() {
        assert_eq!(run(3), run(3));
        assert_ne!(run(3).1, run(4).1);
    }

    #[test]
    fn a_run_is_told_epoch_by_epoch_and_steered_from_outside() {
        let weights = Weights::new();
        let line = Line::new(&weights);
        let progress = Progress::hidden();
        progress.tune(Tuning { learning_rate: 0.5, ..Tuning::default() });
        let plan = Plan { epochs_max: 3, ..Plan::default() };
        let outcome = fit("line", &weights, &line, &plan, &progress).expect("trained");
        let plans = progress.journal().take_plans();
        assert_eq!(plans, [("line".to_owned(), Plan { learning_rate: plan.learning_rate / 2.0, ..plan })]);
        let epochs = progress.journal().take_epochs();
        assert_eq!(epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(epochs[outcome.best_epoch - 1].validation, outcome.best);
        assert!(epochs.iter().all(|epoch| epoch.loss > 0.0));
    }

    #[test]
    fn patience_ends_a_run_that_no_longer_improves() {
        struct Still(Line);
        impl Objective for Still {
            fn rows(&self) -> usize {
                4
            }
            fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
                self.0.loss(rows, rng)
            }
            fn validate(&self) -> Result<f64> {
                Ok(1.0)
            }
        }
        let weights = Weights::new();
        let objective = Still(Line::new(&weights));
        let plan = Plan { patience_epochs: 3, ..Plan::default() };
        let outcome = fit("still", &weights, &objective, &plan, &Progress::hidden()).expect("trained");
        assert_eq!((outcome.epochs, outcome.best_epoch), (4, 1));
    }

    #[test]
    fn long_slopes_are_scaled_to_the_limit() {
        let weights = Weights::new();
        let line = Line::new(&weights);
        let vars: Vec<Var> = weights.trainable().into_iter().map(|(_, var)| var).collect();
        let loss = (line.error(&[1.0]).expect("error") * 1e4).expect("scaled");
        let mut slopes = loss.backward().expect("slopes");
        limit_norm(&mut slopes, &vars, 1.0).expect("limited");
        let square = |var: &Var| {
            slopes.get(var).and_then(|s| s.sqr().ok()?.sum_all().ok()?.to_scalar::<f32>().ok()).unwrap_or(0.0)
        };
        let norm = vars.iter().map(square).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-3, "{norm}");
    }
}
