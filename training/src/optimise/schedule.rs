//! Learning rate over a run: a short linear rise, then half a cosine down to a hundredth of the peak.

use std::f64::consts::PI;

/// Share of the steps that the rise takes.
const WARM_UP: f64 = 0.05;
/// What is left of the peak at the end.
const FLOOR: f64 = 0.01;

/// Factor on the peak rate at step `step` of `steps`.
#[must_use]
pub fn cosine(step: usize, steps: usize) -> f64 {
    let done = (step as f64 + 1.0) / steps.max(1) as f64;
    if done < WARM_UP {
        return done / WARM_UP;
    }
    let along = ((done - WARM_UP) / (1.0 - WARM_UP)).min(1.0);
    FLOOR + (1.0 - FLOOR) * (1.0 + (PI * along).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_then_falls_to_the_floor() {
        let rates: Vec<f64> = (0..1000).map(|step| cosine(step, 1000)).collect();
        let top = rates.iter().copied().fold(0.0, f64::max);
        assert!((top - 1.0).abs() < 1e-3 && rates[0] < 0.03);
        assert!(rates[50..].is_sorted_by(|a, b| a >= b));
        assert!((rates[999] - FLOOR).abs() < 1e-9);
        assert!((cosine(524, 1000) - (FLOOR + (1.0 - FLOOR) / 2.0)).abs() < 1e-3, "half way down");
        assert!(cosine(0, 0).is_finite());
    }
}
