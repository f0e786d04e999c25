//! How a sensor model fares as the simulated reader gets worse: noise, drift and temperature, one at a time, and faults.
//! Synthetic like all else here: it says where a model gives way on this simulator, not on any instrument.
//!
//! Figures are those of the answers as they are served: a sweep that is turned away is answered with everything that is
//! possible, so its interval or set holds, and the share turned away stands beside.

use anyhow::Result;
use clinical::simulator::{Fault, SimulatorConfig};
use models::calibration::Calibration;
use models::family::anomaly::channel_name;

use crate::evaluate::bootstrap::interval;
use crate::evaluate::plots::{Axis, Curves, Plot, Series};
use crate::evaluate::{Measure, metrics};
use crate::families::matrix::Matrix;
use crate::families::recipe::Prepared;

/// Seed of the worsened readers, other than any of training.
pub(super) const SEED: u64 = 0x726f_6275;
/// Faults that are looked for, and how they are called.
pub(super) const FAULTS: [(&str, Fault); 4] = [
    ("bubble", Fault::Bubble { electrode: 1 }),
    ("open circuit", Fault::OpenCircuit { electrode: 2 }),
    ("saturated channel", Fault::SaturatedChannel { channel: 30 }),
    ("runaway drift", Fault::DriftRunaway),
];

/// What is made worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stress {
    Noise,
    Drift,
    Temperature,
}

impl Stress {
    const ALL: [Self; 3] = [Self::Noise, Self::Drift, Self::Temperature];

    /// Times the ordinary noise, share per minute, degrees Celsius.
    fn levels(self) -> &'static [f64] {
        match self {
            Self::Noise => &[1.0, 3.0, 10.0, 30.0, 100.0],
            Self::Drift => &[0.002, 0.01, 0.03, 0.1, 0.3],
            Self::Temperature => &[5.0, 15.0, 25.0, 35.0, 45.0],
        }
    }

    fn config(self, level: f64) -> SimulatorConfig {
        let plain = SimulatorConfig::default();
        match self {
            Self::Noise => SimulatorConfig {
                noise_relative: plain.noise_relative * level,
                noise_ohm: plain.noise_ohm * level,
                ..plain
            },
            Self::Drift => SimulatorConfig { drift_per_minute: level, ..plain },
            Self::Temperature => SimulatorConfig { temperature_c: level, ..plain },
        }
    }

    fn part(self, level: f64) -> String {
        match self {
            Self::Noise => format!("noise {level:.0} x"),
            Self::Drift => format!("drift {:.1} %/min", 100.0 * level),
            Self::Temperature => format!("at {level:.0} °C"),
        }
    }

    fn axis(self) -> (&'static str, &'static str) {
        match self {
            Self::Noise => ("noise", "noise, powers of ten of the ordinary"),
            Self::Drift => ("drift", "drift, powers of ten of a share per minute"),
            Self::Temperature => ("temperature", "temperature of the cell, °C"),
        }
    }

    fn across(self, level: f64) -> f64 {
        match self {
            Self::Noise | Self::Drift => level.log10(),
            Self::Temperature => level,
        }
    }
}

/// One figure of some sweeps: a mean over them, or what `of` makes of it.
pub(super) struct Figure {
    name: &'static str,
    rows: Vec<f64>,
    of: fn(f64) -> f64,
}

impl Figure {
    /// The mean of these.
    pub(super) fn mean(name: &'static str, rows: Vec<f64>) -> Self {
        Self { name, rows, of: |mean| mean }
    }

    /// The root of the mean of these squares.
    pub(super) fn root(name: &'static str, squares: Vec<f64>) -> Self {
        Self { name, rows: squares, of: f64::sqrt }
    }

    /// The share of these that is true.
    pub(super) fn share(name: &'static str, rows: &[bool]) -> Self {
        Self::mean(name, rows.iter().map(|held| f64::from(u8::from(*held))).collect())
    }

    fn value(&self, at: &[usize]) -> f64 {
        (self.of)(metrics::mean(at.iter().map(|row| self.rows[*row])))
    }

    /// With its interval, rows drawn anew.
    pub(super) fn measure(&self) -> Measure {
        let everyone: Vec<usize> = (0..self.rows.len()).collect();
        let groups: Vec<u64> = everyone.iter().map(|row| *row as u64).collect();
        let spread = interval(&groups, |at| Some(self.value(at)));
        Measure::new(self.name, self.value(&everyone), everyone.len()).between(spread)
    }
}

/// Figures of one level of one stress.
pub(super) struct Point {
    stress: Stress,
    level: f64,
    figures: Vec<Measure>,
}

/// Every level of every stress; `figures` measures sweeps of a reader in this state.
pub(super) fn curves(figures: &mut dyn FnMut(SimulatorConfig) -> Result<Vec<Figure>>) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for stress in Stress::ALL {
        for level in stress.levels() {
            let figures = figures(stress.config(*level))?.iter().map(Figure::measure).collect();
            points.push(Point { stress, level: *level, figures });
        }
    }
    Ok(points)
}

/// The figures as parts of the report and the card.
pub(super) fn measures(points: &[Point]) -> Vec<Measure> {
    let of = |point: &Point| {
        let part = point.stress.part(point.level);
        point.figures.iter().cloned().map(|figure| figure.within(&part)).collect::<Vec<_>>()
    };
    points.iter().flat_map(of).collect()
}

/// Sweeps of a worsened reader: at most `most`, and a fourth of the test sweeps, of which a trial has few.
pub(super) fn rows(prepared: &Prepared, most: usize) -> usize {
    most.min(prepared.parts.test.len() / 4).max(1)
}

/// One picture for each figure and stress.
pub(super) fn plots(points: &[Point]) -> Vec<Plot> {
    let names: Vec<&str> = points
        .first()
        .map_or_else(Vec::new, |point| point.figures.iter().map(|of| of.name.as_str()).collect());
    let of = |name: &str, stress: Stress| {
        let (what, label) = stress.axis();
        let own = points.iter().filter(|point| point.stress == stress);
        let (mut at, mut whiskers) = (Vec::new(), Vec::new());
        for point in own {
            let Some(figure) = point.figures.iter().find(|figure| figure.name == name) else { continue };
            at.push((stress.across(point.level), figure.value));
            whiskers.push((figure.low.unwrap_or(figure.value), figure.high.unwrap_or(figure.value)));
        }
        Plot::Curves(Curves {
            title: format!("Robustness: {name} over {what}"),
            caption: "Simulated sweeps of a reader in each state (synthetic); everything else as in training. Sweeps \
                      that the model turns away count as answered with all that is possible."
                .into(),
            x: Axis::new(label),
            y: Axis::new(name),
            series: vec![Series::dots("model", at, whiskers)],
            diagonal: false,
        })
    };
    names.iter().flat_map(|name| Stress::ALL.map(|stress| of(name, stress))).collect()
}

/// By row of `inputs`, whether the model turns it away.
pub(super) fn turned_away(calibration: &Calibration, inputs: &Matrix, names: &[String]) -> Vec<bool> {
    let of = |row: usize| {
        let values = inputs.row(row);
        let value = |name: &str| {
            let at = names.iter().position(|known| known == name)?;
            values.get(at).copied().map(f64::from)
        };
        calibration.support().is_some_and(|support| support.beyond(&value).is_some())
    };
    (0..inputs.rows()).map(of).collect()
}

/// Names of the channels of a sweep.
pub(super) fn channel_names(count: usize) -> Vec<String> {
    (0..count).map(channel_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_reader_that_can_be_simulated_and_is_drawn_once() {
        let points = curves(&mut |config| {
            config.validate()?;
            let away = Figure::share("abstains", &[true, false, false, true]);
            Ok(vec![Figure::mean("top1", vec![config.noise_ohm; 4]), away])
        });
        let points = points.expect("valid");
        let measures = measures(&points);
        assert_eq!((points.len(), measures.len()), (15, 30));
        let parts: std::collections::BTreeSet<_> =
            measures.iter().filter_map(|m| m.subgroup.clone()).collect();
        assert_eq!(parts.len(), 15);
        assert!(measures.iter().all(|m| m.low <= Some(m.value) && Some(m.value) <= m.high));
        let plots = plots(&points);
        assert_eq!(plots.len(), 6);
        let Plot::Curves(noise) = &plots[0] else { panic!("curves") };
        assert_eq!(noise.series[0].points.len(), 5);
        assert!(noise.series[0].points.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }
}
