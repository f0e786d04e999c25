//! Pictures of forecasts over their horizons: the error beside simple methods, and how often the bounds held.

use super::{Axis, Curves, Plot, Series};
use crate::evaluate::metrics::{coverage, rmse};

/// One horizon of all test rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Horizon {
    /// How far ahead, in the unit of the axis.
    pub ahead: f64,
    /// What came.
    pub truth: Vec<f64>,
    /// The middle of the forecast.
    pub median: Vec<f64>,
    /// Lower bounds.
    pub low: Vec<f64>,
    /// Upper bounds.
    pub high: Vec<f64>,
    /// What simple methods said, by name.
    pub rivals: Vec<(String, Vec<f64>)>,
}

/// Root mean squared error by horizon.
#[must_use]
pub fn error_by_horizon(time: &str, unit: &str, horizons: &[Horizon]) -> Plot {
    let own = horizons.iter().map(|h| (h.ahead, rmse(&h.median, &h.truth))).collect();
    let mut series = vec![Series::dots("model", own, Vec::new())];
    let names = horizons.first().map_or(&[][..], |horizon| &horizon.rivals);
    series.extend(names.iter().enumerate().map(|(at, (name, _))| {
        let of = |h: &Horizon| h.rivals.get(at).map(|(_, said)| (h.ahead, rmse(said, &h.truth)));
        Series::dots(name, horizons.iter().filter_map(of).collect(), Vec::new())
    }));
    Plot::Curves(Curves {
        title: "Error by horizon".into(),
        caption:
            "Root mean squared error on people not trained on, beside simple methods on the same windows."
                .into(),
        x: Axis::new(time),
        y: Axis::new(format!("RMSE, {unit}")),
        series,
        diagonal: false,
    })
}

/// Share of truths within their bounds by horizon, beside the share that was promised.
#[must_use]
pub fn coverage_by_horizon(time: &str, promised: f64, horizons: &[Horizon]) -> Plot {
    let held = horizons.iter().map(|h| (h.ahead, coverage(&h.low, &h.high, &h.truth))).collect();
    let line: Vec<(f64, f64)> = horizons.iter().map(|h| (h.ahead, promised)).collect();
    Plot::Curves(Curves {
        title: "Coverage by horizon".into(),
        caption: format!(
            "How often the truth lay within the bounds; {:.0} % were promised.",
            100.0 * promised
        ),
        x: Axis::new(time),
        y: Axis::share("share within the bounds"),
        series: vec![Series::dots("model", held, Vec::new()), Series::line("promised", &line)],
        diagonal: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn horizon() -> Horizon {
        Horizon {
            ahead: 30.0,
            truth: vec![1.0, 2.0],
            median: vec![1.0, 4.0],
            low: vec![0.0, 3.0],
            high: vec![2.0, 5.0],
            rivals: vec![("persistence".into(), vec![1.0, 2.0])],
        }
    }

    #[test]
    fn error_and_coverage_are_those_of_the_figures() {
        let Plot::Curves(error) = error_by_horizon("minutes", "mg/dL", &[horizon()]) else {
            panic!("curves")
        };
        assert_eq!(error.series[0].points, [(30.0, 2.0_f64.sqrt())]);
        assert_eq!((error.series[1].name.as_str(), error.series[1].points[0].1), ("persistence", 0.0));
        let Plot::Curves(held) = coverage_by_horizon("minutes", 0.8, &[horizon()]) else { panic!("curves") };
        assert_eq!((held.series[0].points[0].1, held.series[1].points[0].1), (0.5, 0.8));
    }
}
