//! From physical units to numbers near 0 with spread 1, and from missing to a plain 0.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::slice;

/// Least value whose logarithm is taken: below it lies under the detection limit of any assay here.
pub const LOG_FLOOR: f32 = 1e-3;

/// Largest standardised size. Nothing real is ten thousand spreads away; the bound keeps the
/// answers to absurd values finite.
pub const STANDARD_MAX: f32 = 1e4;

/// `(x − center) / scale` of each column, of `ln x` where `log` is not 0. A masked network's rows
/// are the standardised values, 0 where missing, followed by the mask.
#[derive(Debug)]
pub struct Standardise {
    center: Tensor,
    scale: Tensor,
    log: Tensor,
    columns: usize,
    masked: bool,
}

impl Standardise {
    /// Takes `center`, `scale` and `log`, each `[columns]`, from `vars`.
    pub(super) fn new(columns: usize, masked: bool, vars: &VarBuilder<'_>) -> Result<Self> {
        let get = |name, value| vars.get_with_hints(columns, name, Init::Const(value));
        Ok(Self {
            center: get("center", 0.0)?,
            scale: get("scale", 1.0)?,
            log: get("log", 0.0)?,
            columns,
            masked,
        })
    }

    /// Columns of the result.
    pub(super) fn width(&self) -> usize {
        if self.masked { 2 * self.columns } else { self.columns }
    }

    pub(super) fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// Where `value` of a column lies after standardising.
    pub(super) fn standard(&self, column: usize, value: f32) -> Result<f32> {
        let at = |of: &Tensor| slice::of(of, |of| of[column]);
        let value = if at(&self.log)? == 0.0 { value } else { value.max(LOG_FLOOR).ln() };
        Ok(((value - at(&self.center)?) / at(&self.scale)?).clamp(-STANDARD_MAX, STANDARD_MAX))
    }

    /// Rows of physical units to rows of [`Self::width`] numbers.
    pub(super) fn run(&self, features: &[f32], present: Option<&[f32]>) -> Result<Vec<f32>> {
        let present = match (self.masked, present) {
            (false, _) => None,
            (true, Some(present)) if present.len() == features.len() => Some(present),
            (true, _) => candle_core::bail!("a masked network needs one mark for each value"),
        };
        if !features.len().is_multiple_of(self.columns) {
            candle_core::bail!("{} values do not fill rows of {}", features.len(), self.columns);
        }
        let run = |center: &[f32], scale: &[f32], log: &[f32]| {
            let mut prepared = Vec::with_capacity(features.len() / self.columns * self.width());
            for (row, values) in features.chunks_exact(self.columns).enumerate() {
                let marks = present.map(|present| &present[row * self.columns..][..self.columns]);
                for (column, value) in values.iter().enumerate() {
                    let there = marks.is_none_or(|marks| marks[column] != 0.0);
                    let value = if log[column] == 0.0 { *value } else { value.max(LOG_FLOOR).ln() };
                    let standard = (value - center[column]) / scale[column];
                    // Chosen, not multiplied: what stands in a missing place may be anything.
                    prepared.push(if there { standard.clamp(-STANDARD_MAX, STANDARD_MAX) } else { 0.0 });
                }
                if let Some(marks) = marks {
                    prepared.extend(marks.iter().map(|mark| f32::from(u8::from(*mark != 0.0))));
                }
            }
            prepared
        };
        slice::of(&self.center, |center| {
            slice::of(&self.scale, |scale| slice::of(&self.log, |log| run(center, scale, log)))
        })??
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    use super::*;

    fn standardise(masked: bool) -> Standardise {
        let (device, mut map) = (Device::Cpu, VarMap::new());
        let built = Standardise::new(2, masked, &VarBuilder::from_varmap(&map, DType::F32, &device));
        for (name, values) in [("center", [10.0f32, 0.0]), ("scale", [2.0, 1.0]), ("log", [0.0, 1.0])] {
            map.set_one(name, Tensor::new(&values, &device).expect("tensor")).expect("known");
        }
        built.expect("built")
    }

    #[test]
    fn buffers_set_after_building_count() {
        let got = standardise(false).run(&[14.0, 1.0, 10.0, std::f32::consts::E], None).expect("rows");
        assert_eq!(got[..3], [2.0, 0.0, 0.0]);
        assert!((got[3] - 1.0).abs() < 1e-6, "{}", got[3]);
    }

    #[test]
    fn a_missing_value_is_zero_whatever_stands_there() {
        let run = |value: f32| standardise(true).run(&[value, 1.0], Some(&[0.0, 1.0])).expect("rows");
        for value in [0.0, -5.0, f32::MAX, f32::INFINITY, f32::NAN] {
            assert_eq!(run(value), [0.0, 0.0, 0.0, 1.0], "{value}");
        }
    }

    #[test]
    fn absurd_values_stay_bounded_and_wrong_lengths_are_refused() {
        let got = standardise(false).run(&[f32::MAX, 0.0, f32::MIN, -1.0], None).expect("rows");
        assert_eq!((got[0], got[2]), (STANDARD_MAX, -STANDARD_MAX));
        assert_eq!(got[1], LOG_FLOOR.ln());
        assert!(standardise(false).run(&[1.0], None).is_err());
        assert!(standardise(true).run(&[1.0, 1.0], None).is_err());
    }
}
