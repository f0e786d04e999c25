//! A history in a few numbers, by which it is told whether a forecaster has seen its like.

/// Least share of the level that a change is taken for: below it values are rounded ones.
const CHANGE_SHARE_MIN: f64 = 0.01;

/// Level of a history, and as shares of it its spread, its largest step, how its steps differ from each other and its
/// last value. All are above 0 for values above 0, and are looked at by their logarithms.
#[must_use]
pub fn window(history: &[f64]) -> [(&'static str, f64); 5] {
    let count = history.len().max(1) as f64;
    let level = (history.iter().sum::<f64>() / count).abs().max(f64::MIN_POSITIVE);
    let share = |change: f64| (change / level).max(CHANGE_SHARE_MIN);
    let steps: Vec<f64> = history.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let turns = steps.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum::<f64>();
    let turn = (turns / steps.len().saturating_sub(1).max(1) as f64).sqrt();
    let largest = steps.iter().fold(0.0_f64, |most, step| most.max(step.abs()));
    [
        ("level of the history", level),
        ("spread of the history", share(super::spread(history))),
        ("largest step of the history", share(largest)),
        ("roughness of the history", share(turn)),
        ("last value beside the history", share(history.last().copied().unwrap_or_default())),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(history: &[f64], name: &str) -> f64 {
        window(history).into_iter().find(|(known, _)| known.starts_with(name)).expect("known").1
    }

    #[test]
    fn a_straight_line_is_smooth_and_a_saw_is_rough() {
        let line: Vec<f64> = (0..24).map(|i| 100.0 + f64::from(i)).collect();
        let saw: Vec<f64> = (0..24).map(|i| 100.0 + 40.0 * f64::from(i % 2)).collect();
        assert_eq!(of(&line, "roughness"), CHANGE_SHARE_MIN);
        assert!((of(&saw, "roughness") - 80.0 / 120.0).abs() < 1e-9);
        assert!((of(&saw, "largest") - 40.0 / 120.0).abs() < 1e-9);
        assert!((of(&line, "last") - 123.0 / 111.5).abs() < 1e-9);
        assert!((of(&line, "level") - 111.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn every_number_is_finite_and_above_nothing(history in prop::collection::vec(0.0f64..1e6, 0..30)) {
            prop_assert!(window(&history).iter().all(|(_, value)| value.is_finite() && *value > 0.0));
        }

        #[test]
        fn shares_do_not_depend_on_the_unit(
            history in prop::collection::vec(1.0f64..500.0, 2..30), factor in 0.05f64..20.0,
        ) {
            let other: Vec<f64> = history.iter().map(|value| value * factor).collect();
            for ((name, one), (_, two)) in window(&history).into_iter().zip(window(&other)).skip(1) {
                prop_assert!((one - two).abs() < 1e-9 * one.max(1.0), "{}", name);
            }
        }
    }
}
