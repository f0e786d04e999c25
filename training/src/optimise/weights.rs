//! The weights of a network in training: seeded start, best state so far, what the optimiser may move.
//!
//! The CPU backend of candle cannot be seeded, so every weight is drawn here, in the order of names, from
//! ChaCha8. Buffers (centres, scales) live in the same map, are set once and never moved.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{DType, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::device::device;

/// Endings of the names that the optimiser moves; everything else is a buffer.
const TRAINABLE: [&str; 2] = ["weight", "bias"];

/// All named tensors of one network.
pub struct Weights {
    map: VarMap,
}

impl Weights {
    /// An empty map; a network built from [`Weights::builder`] fills it.
    #[must_use]
    pub fn new() -> Self {
        Self { map: VarMap::new() }
    }

    /// Where a network takes its tensors from.
    #[must_use]
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_varmap(&self.map, DType::F32, device())
    }

    /// Draws every trainable tensor: weights evenly within `sqrt(3 / fan in)` (variance 1 / fan in), biases and
    /// the linear path around a network zero. Same seed, same names and shapes: same numbers.
    ///
    /// # Errors
    /// A tensor that cannot be set.
    pub fn draw(&self, seed: u64) -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for (name, var) in self.trainable() {
            let dims = var.dims().to_vec();
            let count = dims.iter().product();
            let values: Vec<f32> = if name.ends_with("bias") || name.starts_with("skip") {
                vec![0.0; count]
            } else {
                let bound = (3.0 / fan_in(&dims) as f32).sqrt();
                (0..count).map(|_| rng.random_range(-bound..bound)).collect()
            };
            var.set(&Tensor::from_vec(values, dims, device())?)?;
        }
        Ok(())
    }

    /// Sets one tensor by name.
    ///
    /// # Errors
    /// An unknown name or another number of values.
    pub fn set(&self, name: &str, values: &[f32]) -> Result<()> {
        let vars = self.named();
        let known = || vars.keys().cloned().collect::<Vec<_>>().join(", ");
        let var = vars.get(name).with_context(|| format!("no tensor `{name}`; there are {}", known()))?;
        let tensor = Tensor::from_slice(values, var.dims(), device());
        var.set(&tensor.with_context(|| format!("tensor `{name}` is {:?}", var.dims()))?)?;
        Ok(())
    }

    /// Dimensions of one tensor by name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let vars = self.named();
        Ok(vars.get(name).with_context(|| format!("no tensor `{name}`"))?.dims().to_vec())
    }

    /// What the optimiser moves, by name.
    #[must_use]
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let ends = |name: &str| TRAINABLE.iter().any(|end| name.ends_with(end));
        self.named().into_iter().filter(|(name, _)| ends(name)).collect()
    }

    /// A copy of every tensor, by name.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, var): (String, Var)| Ok((name, var.as_tensor().copy()?));
        self.named().into_iter().map(copy).collect()
    }

    /// Puts a snapshot back.
    ///
    /// # Errors
    /// A tensor that cannot be set.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, var) in self.named() {
            if let Some(tensor) = snapshot.get(&name) {
                var.set(tensor)?;
            }
        }
        Ok(())
    }

    fn named(&self) -> BTreeMap<String, Var> {
        let data = self.map.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        data.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}

/// Inputs of each output: the last dimension of `[out, in]`, the middle one of `[members, in, out]`.
fn fan_in(dims: &[usize]) -> usize {
    let at = if dims.len() == 3 { 1 } else { dims.len().saturating_sub(1) };
    dims.get(at).copied().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let weights = Weights::new();
        let builder = weights.builder();
        for (name, shape) in [("a.weight", vec![4, 3]), ("a.bias", vec![4]), ("scale", vec![3])] {
            builder.get_with_hints(shape, name, candle_nn::Init::Const(7.0)).expect("created");
        }
        weights
    }

    fn values(weights: &Weights, name: &str) -> Vec<f32> {
        weights.snapshot().expect("copy")[name].flatten_all().and_then(|t| t.to_vec1()).expect("numbers")
    }

    #[test]
    fn the_seed_decides_the_weights_and_buffers_stay() {
        let (first, second) = (weights(), weights());
        first.draw(5).expect("drawn");
        second.draw(5).expect("drawn");
        assert_eq!(values(&first, "a.weight"), values(&second, "a.weight"));
        assert!(values(&first, "a.weight").iter().all(|w| w.abs() <= 1.0 && *w != 7.0));
        assert_eq!(values(&first, "a.bias"), [0.0; 4]);
        assert_eq!(values(&first, "scale"), [7.0; 3]);
        second.draw(6).expect("drawn");
        assert_ne!(values(&first, "a.weight"), values(&second, "a.weight"));
    }

    #[test]
    fn a_snapshot_brings_the_numbers_back() {
        let weights = weights();
        let before = weights.snapshot().expect("copy");
        weights.set("scale", &[1.0, 2.0, 3.0]).expect("set");
        assert_eq!(values(&weights, "scale"), [1.0, 2.0, 3.0]);
        weights.restore(&before).expect("restored");
        assert_eq!(values(&weights, "scale"), [7.0; 3]);
    }

    #[test]
    fn a_wrong_name_or_length_is_refused() {
        let error = weights().set("scales", &[1.0]).expect_err("unknown").to_string();
        assert!(error.contains("scales") && error.contains("a.weight"), "{error}");
        assert!(weights().set("scale", &[1.0]).is_err());
    }
}
