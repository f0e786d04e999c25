//! Differential correction: what the detection cell saw, minus the share of it that the blank reference cell saw too.
//!
//! Order, per channel: `((det - alpha * ref) - offset) * gain`, then the temperature step
//! `S * (1 + coefficient * (T - 25 °C))`. The reference temperature of 25 °C is ours; the specification names none.

use crate::cartridge::Cartridge;

/// Temperature at which the temperature step changes nothing, in °C.
pub const REFERENCE_TEMPERATURE_C: f32 = 25.0;
/// Rise of ionic conductivity per °C, as a share: the default where a cartridge tag gives no coefficient of its own.
pub const TEMPERATURE_COEFFICIENT: f32 = 0.02;
/// Highest share of the reference channel that may be subtracted.
pub const ALPHA_MAX: f32 = 2.0;

/// Why a correction was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CorrectionError {
    /// The share is outside its limits.
    #[error("alpha of {alpha} is out of range: expected 0 to {ALPHA_MAX}")]
    Alpha {
        /// The share refused.
        alpha: f32,
    },
    /// A vector has the wrong number of channels.
    #[error("{what} has {got} channels: expected {expected}")]
    Channels {
        /// Which vector.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length expected.
        expected: usize,
    },
    /// A number is NaN or infinite.
    #[error("{what} channel {channel} is not a finite number")]
    NotFinite {
        /// Which vector.
        what: &'static str,
        /// First such channel; 0 for a scalar.
        channel: usize,
    },
}

/// Parameters of one cartridge, checked when made.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    alpha: f32,
    offset: Vec<f32>,
    gain: Vec<f32>,
    temperature_coefficient: f32,
}

impl Correction {
    /// Plain differential correction with no offset, unit gain and no temperature step.
    ///
    /// # Errors
    /// [`CorrectionError::Alpha`] unless `alpha` is from 0 to 2.
    pub fn new(alpha: f32) -> Result<Self, CorrectionError> {
        if !(0.0..=ALPHA_MAX).contains(&alpha) {
            return Err(CorrectionError::Alpha { alpha });
        }
        Ok(Self { alpha, offset: Vec::new(), gain: Vec::new(), temperature_coefficient: 0.0 })
    }

    /// The correction of a cartridge whose tag says nothing else: its default share and temperature coefficient.
    #[must_use]
    pub const fn for_cartridge(cartridge: &Cartridge) -> Self {
        let alpha = cartridge.alpha();
        Self { alpha, offset: Vec::new(), gain: Vec::new(), temperature_coefficient: TEMPERATURE_COEFFICIENT }
    }

    /// Adds per-channel offsets (ohm) and gains.
    ///
    /// # Errors
    /// [`CorrectionError`] when the two differ in length or hold a non-finite number.
    pub fn with_calibration(mut self, offset: Vec<f32>, gain: Vec<f32>) -> Result<Self, CorrectionError> {
        same_length("gain", gain.len(), offset.len())?;
        all_finite("offset", &offset)?;
        all_finite("gain", &gain)?;
        (self.offset, self.gain) = (offset, gain);
        Ok(self)
    }

    /// Adds the temperature step; `coefficient` is a share per °C.
    ///
    /// # Errors
    /// [`CorrectionError::NotFinite`].
    pub fn with_temperature(mut self, coefficient: f32) -> Result<Self, CorrectionError> {
        all_finite("temperature coefficient", &[coefficient])?;
        self.temperature_coefficient = coefficient;
        Ok(self)
    }

    /// Share of the reference channel subtracted.
    #[must_use]
    pub const fn alpha(&self) -> f32 {
        self.alpha
    }

    /// Corrects one packet into `out`; all vectors have the same length and are in ohm.
    ///
    /// # Errors
    /// [`CorrectionError`] for a wrong length or a NaN or infinity in the input; `out` is then unspecified.
    pub fn apply_into(
        &self,
        detection: &[f32],
        reference: &[f32],
        temperature_c: f32,
        out: &mut [f32],
    ) -> Result<(), CorrectionError> {
        let channels = detection.len();
        same_length("reference", reference.len(), channels)?;
        same_length("output", out.len(), channels)?;
        all_finite("temperature", &[temperature_c])?;
        for ((out, det), reference) in out.iter_mut().zip(detection).zip(reference) {
            *out = det - self.alpha * reference;
        }
        if !self.offset.is_empty() {
            same_length("calibration", self.offset.len(), channels)?;
            for ((out, offset), gain) in out.iter_mut().zip(&self.offset).zip(&self.gain) {
                *out = (*out - offset) * gain;
            }
        }
        let step = 1.0 + self.temperature_coefficient * (temperature_c - REFERENCE_TEMPERATURE_C);
        for out in out.iter_mut() {
            *out *= step;
        }
        // One look at the result clears the common case; only a bad packet pays for finding the culprit.
        if all_finite("result", out).is_err() {
            all_finite("detection", detection)?;
            all_finite("reference", reference)?;
        }
        all_finite("result", out)
    }

    /// Corrects one packet into a new vector.
    ///
    /// # Errors
    /// As [`apply_into`](Self::apply_into).
    pub fn apply(
        &self,
        detection: &[f32],
        reference: &[f32],
        temperature_c: f32,
    ) -> Result<Vec<f32>, CorrectionError> {
        let mut out = vec![0.0; detection.len()];
        self.apply_into(detection, reference, temperature_c, &mut out)?;
        Ok(out)
    }
}

fn same_length(what: &'static str, got: usize, expected: usize) -> Result<(), CorrectionError> {
    if got == expected { Ok(()) } else { Err(CorrectionError::Channels { what, got, expected }) }
}

/// A branch-free pass first, so that the ordinary packet costs one vectorised loop.
fn all_finite(what: &'static str, values: &[f32]) -> Result<(), CorrectionError> {
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    let channel = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    Err(CorrectionError::NotFinite { what, channel })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let corrected = Correction::new(0.95).and_then(|c| c.apply(&[1.234], &[0.012], 25.0)).expect("valid");
        assert!((corrected[0] - 1.2226).abs() < 1e-6, "{corrected:?}");
    }

    #[test]
    fn offset_and_gain_come_before_the_temperature_step() {
        let correction = Correction::new(1.0)
            .and_then(|c| c.with_calibration(vec![1.0, 0.0], vec![2.0, 3.0]))
            .and_then(|c| c.with_temperature(0.02))
            .expect("valid");
        let got = correction.apply(&[10.0, 10.0], &[4.0, 5.0], 30.0).expect("valid");
        assert!(
            (got[0] - 5.0 * 2.0 * 1.1).abs() < 1e-5 && (got[1] - 5.0 * 3.0 * 1.1).abs() < 1e-5,
            "{got:?}"
        );
    }

    #[test]
    fn alpha_is_limited() {
        for alpha in [0.0, 0.95, 2.0] {
            assert!(Correction::new(alpha).is_ok());
        }
        for alpha in [-0.01, 2.01, f32::NAN, f32::INFINITY] {
            assert!(Correction::new(alpha).is_err(), "{alpha}");
        }
    }

    #[test]
    fn wrong_lengths_and_non_finite_numbers_are_named() {
        let correction = Correction::new(0.95).expect("valid");
        let error = correction.apply(&[1.0; 88], &[1.0; 87], 25.0).expect_err("short reference");
        assert_eq!(error.to_string(), "reference has 87 channels: expected 88");
        let mut reference = [1.0f32; 88];
        reference[17] = f32::NAN;
        let error = correction.apply(&[1.0; 88], &reference, 25.0).expect_err("NaN");
        assert_eq!(error, CorrectionError::NotFinite { what: "reference", channel: 17 });
        assert!(correction.apply(&[1.0], &[1.0], f32::INFINITY).is_err());
        let calibrated = correction.with_calibration(vec![0.0; 8], vec![1.0; 8]).expect("valid");
        assert!(calibrated.apply(&[1.0; 88], &[1.0; 88], 25.0).is_err(), "calibration of another cartridge");
        assert!(Correction::new(1.0).and_then(|c| c.with_calibration(vec![0.0], vec![])).is_err());
        assert!(Correction::new(1.0).and_then(|c| c.with_temperature(f32::NAN)).is_err());
    }

    #[test]
    fn an_overflow_is_refused_not_passed_on() {
        let correction = Correction::new(2.0).expect("valid");
        let error = correction.apply(&[f32::MAX], &[-f32::MAX], 25.0).expect_err("overflow");
        assert_eq!(error, CorrectionError::NotFinite { what: "result", channel: 0 });
    }

    proptest! {
        /// A signal common to both cells with alpha 1 vanishes; what is only in detection stays.
        #[test]
        fn what_both_cells_see_is_removed(
            common in prop::collection::vec(10.0f32..1e4, 88), signal in prop::collection::vec(-100.0f32..100.0, 88),
        ) {
            let detection: Vec<f32> = common.iter().zip(&signal).map(|(c, s)| c + s).collect();
            let correction = Correction::new(1.0).expect("valid");
            let got = correction.apply(&detection, &common, 25.0).expect("valid");
            for (got, signal) in got.iter().zip(&signal) {
                prop_assert!((got - signal).abs() < 0.01);
            }
        }
    }
}
