//! The electrode as an electric circuit (modified Randles): the solution resistance in series with the charge-transfer
//! branch, which is a resistance and a Warburg diffusion element, in parallel with a constant-phase double layer.
//!
//! ```text
//! Z(w) = Rs + 1 / ( Q (jw)^n + 1 / ( Rct + s (1 - j) / sqrt(w) ) )
//! ```

use std::f64::consts::{FRAC_PI_2, TAU};

/// The parts of one electrode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Randles {
    /// Solution resistance in ohm.
    pub rs: f64,
    /// Charge-transfer resistance in ohm.
    pub rct: f64,
    /// Constant-phase admittance in S s^n.
    pub q: f64,
    /// Constant-phase exponent, 1 for an ideal capacitor.
    pub n: f64,
    /// Warburg coefficient in ohm per square root of second.
    pub warburg: f64,
}

/// A frequency with what the circuit needs of it worked out once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frequency {
    ln_omega: f64,
    inverse_root_omega: f64,
}

impl Frequency {
    /// A frequency given in hertz.
    #[must_use]
    pub fn from_hz(hz: f64) -> Self {
        let omega = TAU * hz;
        Self { ln_omega: omega.ln(), inverse_root_omega: omega.sqrt().recip() }
    }
}

impl Randles {
    /// Real and imaginary part of the impedance in ohm.
    #[must_use]
    pub fn impedance(&self, at: Frequency) -> (f64, f64) {
        let diffusion = self.warburg * at.inverse_root_omega;
        let (branch_re, branch_im) = inverse(self.rct + diffusion, -diffusion);
        let layer = self.q * (self.n * at.ln_omega).exp();
        let (sin, cos) = (self.n * FRAC_PI_2).sin_cos();
        let (re, im) = inverse(branch_re + layer * cos, branch_im + layer * sin);
        (self.rs + re, im)
    }

    /// Magnitude of the impedance in ohm.
    #[must_use]
    pub fn magnitude(&self, at: Frequency) -> f64 {
        let (re, im) = self.impedance(at);
        re.hypot(im)
    }
}

fn inverse(re: f64, im: f64) -> (f64, f64) {
    let square = re * re + im * im;
    (re / square, -im / square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Randles = Randles { rs: 100.0, rct: 4000.0, q: 1e-7, n: 1.0, warburg: 0.0 };

    #[test]
    fn the_ends_of_the_spectrum_are_the_resistances() {
        assert!((PLAIN.magnitude(Frequency::from_hz(1e-4)) - 4100.0).abs() < 0.1);
        assert!((PLAIN.magnitude(Frequency::from_hz(1e9)) - 100.0).abs() < 0.1);
    }

    #[test]
    fn an_ideal_capacitor_gives_the_semicircle() {
        // At w = 1 / (R C) the branch is R/2 - jR/2.
        let corner = 1.0 / (TAU * PLAIN.rct * PLAIN.q);
        let (re, im) = PLAIN.impedance(Frequency::from_hz(corner));
        assert!((re - 2100.0).abs() < 1e-6 && (im + 2000.0).abs() < 1e-6, "{re} {im}");
    }

    #[test]
    fn diffusion_shows_at_low_frequencies_with_a_slope_of_45_degrees() {
        let with = Randles { warburg: 1000.0, ..PLAIN };
        let slow = Frequency::from_hz(1e-6);
        let ((re, im), (re0, im0)) = (with.impedance(slow), PLAIN.impedance(slow));
        assert!(((re - re0) + (im - im0)).abs() < 0.01 * (re - re0), "{} {}", re - re0, im - im0);
    }

    proptest! {
        #[test]
        fn impedance_falls_with_frequency_and_is_passive(
            rct in 10.0f64..1e5, q in 1e-9f64..1e-5, n in 0.7f64..1.0, warburg in 0.0f64..1e4, hz in 0.1f64..1e7,
        ) {
            let electrode = Randles { rs: 100.0, rct, q, n, warburg };
            let (re, im) = electrode.impedance(Frequency::from_hz(hz));
            prop_assert!(re >= 100.0 && im <= 0.0);
            let lower = electrode.magnitude(Frequency::from_hz(hz));
            prop_assert!(electrode.magnitude(Frequency::from_hz(hz * 1.5)) <= lower * (1.0 + 1e-12));
        }
    }
}
