//! Pictures of measured values: agreement of what was estimated with what was true.

use super::{Axis, Level, Plot, Scatter, thinned};
use crate::evaluate::metrics::agreement;

/// Difference of estimate and truth over their mean, after Bland and Altman; `unit` is that of both.
#[must_use]
pub fn bland_altman(what: &str, unit: &str, predicted: &[f64], truth: &[f64]) -> Plot {
    let found = agreement(predicted, truth);
    let points: Vec<(f64, f64)> = predicted.iter().zip(truth).map(|(p, t)| ((p + t) / 2.0, p - t)).collect();
    let in_unit = |text: &str| if unit.is_empty() { text.to_owned() } else { format!("{text}, {unit}") };
    let level = |name: &str, y: f64| Level { name: format!("{name} {}", short(y)), y };
    Plot::Scatter(Scatter {
        title: format!("Bland-Altman: {what}"),
        caption:
            "Each dot is one row of the test set, thinned evenly; the lines are the mean difference and the \
                  limits that hold 95 % of differences, from all rows."
                .into(),
        x: Axis::new(in_unit("mean of estimate and truth")),
        y: Axis::new(in_unit("estimate less truth")),
        points: thinned(&points),
        levels: vec![
            level("upper limit", found.high),
            level("mean difference", found.bias),
            level("lower limit", found.low),
        ],
    })
}

/// Three digits that count.
fn short(value: f64) -> String {
    let digits = (2.0 - value.abs().max(1e-9).log10().floor()).clamp(0.0, 6.0);
    format!("{value:.*}", digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_error_is_one_level() {
        let Plot::Scatter(plot) = bland_altman("x", "mg/dL", &[3.0, 5.0, 9.0], &[1.0, 3.0, 7.0]) else {
            panic!("a scatter was asked for")
        };
        assert_eq!(plot.points, [(2.0, 2.0), (4.0, 2.0), (8.0, 2.0)]);
        assert!(plot.levels.iter().all(|level| (level.y - 2.0).abs() < 1e-12), "{:?}", plot.levels);
        assert!(plot.y.label.ends_with("mg/dL"));
    }

    #[test]
    fn levels_are_written_shortly() {
        assert_eq!([short(0.012_345), short(-1.5), short(1_234.5)], ["0.0123", "-1.50", "1234"]);
    }
}
