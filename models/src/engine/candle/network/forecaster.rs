//! Where a series goes: for each horizon quantiles that cannot cross.
//!
//! The body sees the history relative to its last value, in units of `scale`, and that last
//! value relative to `center`; it answers in the same units relative to the last value. The middle
//! quantile is free, each one outwards adds a positive step (a softplus).

use candle_core::{Device, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::super::kernel;
use super::standardise::STANDARD_MAX;
use super::{Dense, regressor, slice};
use crate::bundle::network::ForecasterConfig;

/// A dense quantile forecaster.
#[derive(Debug)]
pub struct Forecaster {
    center: Tensor,
    pub(super) scale: Tensor,
    pub(super) body: Dense,
    steps: usize,
    horizons: usize,
    quantiles: usize,
}

impl Forecaster {
    pub(super) fn new(config: &ForecasterConfig, vars: &VarBuilder<'_>) -> Result<Self> {
        let ForecasterConfig { inputs: steps, horizons, quantiles, ref body } = *config;
        let buffers = vars.pp("standardise");
        let get = |name, value| buffers.get_with_hints(1, name, Init::Const(value));
        let (center, scale) = (get("center", 0.0)?, get("scale", 1.0)?);
        let body = Dense::new(steps + 1, horizons * quantiles, body, vars)?;
        Ok(Self { center, scale, body, steps, horizons, quantiles })
    }

    fn buffers(&self) -> Result<(f32, f32)> {
        let first = |buffer: &Tensor| slice::of(buffer, |values| values.first().copied().unwrap_or(1.0));
        Ok((first(&self.center)?, first(&self.scale)?))
    }

    pub(super) fn standardise(&self, history: &[f32]) -> Result<Vec<f32>> {
        if !history.len().is_multiple_of(self.steps) {
            candle_core::bail!("{} values do not fill histories of {}", history.len(), self.steps);
        }
        let (center, scale) = self.buffers()?;
        let mut prepared = Vec::with_capacity(history.len() / self.steps * (self.steps + 1));
        for history in history.chunks_exact(self.steps) {
            let last = history.last().copied().unwrap_or_default();
            let relative = history.iter().map(|value| (value - last) / scale);
            let bounded = relative.chain([(last - center) / scale]);
            prepared.extend(bounded.map(|value| value.clamp(-STANDARD_MAX, STANDARD_MAX)));
        }
        Ok(prepared)
    }

    /// Standardised rows to `rows × horizons × quantiles` values in the unit of the series.
    pub(super) fn run(&self, prepared: &[f32]) -> Result<Vec<f32>> {
        let mut raw = self.body.run(prepared)?;
        raw.chunks_exact_mut(self.quantiles).for_each(order_slice);
        let mut values = kernel::mean(raw, self.body.members());
        let (center, scale) = self.buffers()?;
        let rows = prepared.chunks_exact(self.steps + 1);
        for (row, values) in rows.zip(values.chunks_exact_mut(self.horizons * self.quantiles)) {
            let last = row[self.steps].mul_add(scale, center);
            values.iter_mut().for_each(|value| *value = value.mul_add(scale, last));
        }
        Ok(values)
    }

    /// Raw answers `[members, rows, horizons × quantiles]` to ordered quantiles
    /// `[members, rows, horizons, quantiles]`, with gradients.
    pub(super) fn order(&self, raw: &Tensor) -> Result<Tensor> {
        let (members, rows, _) = raw.dims3()?;
        let (quantiles, middle) = (self.quantiles, self.quantiles / 2);
        let raw = raw.reshape((members * rows * self.horizons, quantiles))?;
        let below = regressor::softplus(&raw.narrow(1, 0, middle)?)?;
        let above = regressor::softplus(&raw.narrow(1, middle + 1, quantiles - middle - 1)?)?;
        let steps = Tensor::cat(&[&below, &raw.narrow(1, middle, 1)?, &above], 1)?;
        let ordered = steps.matmul(&outwards(quantiles, steps.device())?)?;
        ordered.reshape((members, rows, self.horizons, quantiles))
    }
}

/// Raw answers of one horizon to rising quantiles.
fn order_slice(raw: &mut [f32]) {
    let middle = raw.len() / 2;
    for at in middle + 1..raw.len() {
        raw[at] = raw[at - 1] + kernel::softplus(raw[at]);
    }
    for at in (0..middle).rev() {
        raw[at] = raw[at + 1] - kernel::softplus(raw[at]);
    }
}

/// The sums of `order_slice` as a matrix `[step, quantile]`.
fn outwards(quantiles: usize, device: &Device) -> Result<Tensor> {
    let middle = quantiles / 2;
    let entry = |step: usize, quantile: usize| match step.cmp(&middle) {
        std::cmp::Ordering::Equal => 1.0,
        std::cmp::Ordering::Greater if step <= quantile => 1.0,
        std::cmp::Ordering::Less if quantile <= step => -1.0,
        std::cmp::Ordering::Greater | std::cmp::Ordering::Less => 0.0f32,
    };
    let entries: Vec<f32> =
        (0..quantiles * quantiles).map(|at| entry(at / quantiles, at % quantiles)).collect();
    Tensor::from_vec(entries, (quantiles, quantiles), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_ordering_agree_and_never_cross() {
        let mut raw = vec![0.5, -2.0, 1.5, -30.0, 3.0];
        let steps = [raw[0], raw[1], raw[3], raw[4]].map(kernel::softplus);
        let steps = vec![steps[0], steps[1], raw[2], steps[2], steps[3]];
        let steps = Tensor::from_vec(steps, (1, 5), &Device::Cpu).expect("tensor");
        let want = steps
            .matmul(&outwards(5, &Device::Cpu).expect("matrix"))
            .and_then(|t| t.flatten_all()?.to_vec1::<f32>());
        order_slice(&mut raw);
        for (got, want) in raw.iter().zip(want.expect("product")) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
        assert!(raw.is_sorted(), "{raw:?}");
    }
}
