//! The two formulas everything else stands on: the conformal quantile and the Wilson interval.

/// The smallest bound that holds a new score, exchangeable with `scores`, with probability at least `coverage`: the
/// `ceil((n + 1) * coverage)`-th smallest. `None` when the sample is too small to promise it.
#[must_use]
pub fn conformal_quantile(mut scores: Vec<f64>, coverage: f64) -> Option<f64> {
    scores.retain(|score| !score.is_nan());
    scores.sort_by(f64::total_cmp);
    let rank = ((scores.len() + 1) as f64 * coverage - 1e-9).ceil().max(1.0);
    scores.get(rank as usize - 1).copied()
}

/// Wilson's score interval for a share of which `successes` of `n` were seen (Wilson 1927). It stays inside 0 to 1
/// and is close to its nominal coverage even for small counts, where the plain normal interval is not.
#[must_use]
pub fn wilson(successes: f64, n: f64, coverage: f64) -> (f64, f64) {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let z = normal_quantile(0.5 + coverage / 2.0);
    let share = (successes / n).clamp(0.0, 1.0);
    let center = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((center - spread) / whole).max(0.0), ((center + spread) / whole).min(1.0))
}

/// Standard normal quantile for `level` in 0.5..1, within 4.5e-4 (Abramowitz & Stegun 26.2.23).
pub(crate) fn normal_quantile(level: f64) -> f64 {
    let t = (-2.0 * (1.0 - level).max(1e-12).ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_sample_promises_nothing() {
        assert_eq!(conformal_quantile(vec![1.0; 8], 0.9), None);
        assert_eq!(conformal_quantile((1..=9).map(f64::from).collect(), 0.9), Some(9.0));
        assert_eq!(conformal_quantile((1..=19).rev().map(f64::from).collect(), 0.9), Some(18.0));
        assert_eq!(conformal_quantile(Vec::new(), 0.5), None);
    }

    #[test]
    fn wilson_agrees_with_the_published_example() {
        let (low, high) = wilson(15.0, 148.0, 0.95);
        assert!((low - 0.0624).abs() < 5e-4 && (high - 0.1605).abs() < 5e-4, "{low} {high}");
        assert_eq!(wilson(0.0, 0.0, 0.9), (0.0, 1.0));
        assert!(wilson(10.0, 10.0, 0.9).1 > 0.999);
    }

    #[test]
    fn normal_quantiles_are_the_familiar_ones() {
        for (level, z) in [(0.5, 0.0), (0.95, 1.6449), (0.975, 1.96), (0.995, 2.5758)] {
            assert!((normal_quantile(level) - z).abs() < 1e-3, "{level}");
        }
    }

    proptest! {
        /// Leave each case out in turn: the share of left-out cases inside the bound of the others is the coverage
        /// averaged over the exchangeable orderings, which the theorem bounds from below.
        #[test]
        fn left_out_cases_are_covered(
            scores in prop::collection::vec(0.0f64..1.0, 20..60), coverage in 0.5f64..0.95,
        ) {
            let inside = (0..scores.len()).filter(|&left_out| {
                let mut rest = scores.clone();
                let score = rest.swap_remove(left_out);
                conformal_quantile(rest, coverage).is_none_or(|bound| score <= bound)
            }).count();
            prop_assert!(inside as f64 >= coverage * scores.len() as f64 - 1e-6);
        }

        #[test]
        fn wilson_holds_the_share(n in 1u32..500, part in 0.0f64..=1.0, coverage in 0.5f64..0.99) {
            let successes = (f64::from(n) * part).floor();
            let (low, high) = wilson(successes, f64::from(n), coverage);
            let share = successes / f64::from(n);
            prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            prop_assert!(low <= share + 1e-9 && share <= high + 1e-9);
        }
    }
}
