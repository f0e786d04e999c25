//! One window of one cohort: so many cases in sketches, then compared with the training reference.

use models::{
    calibration::Cohort,
    reference::{Case, Layout, Reference},
};

use super::{Thresholds, sketch::Sketch};

/// How one column of a closed window compares with training.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Input feature, or `output:` and the name of the output or class.
    pub column: String,
    /// Values seen; absent ones are not counted.
    pub values: u64,
    /// Population stability index.
    pub index: f64,
    /// Kolmogorov's and Smirnov's distance, 0 to 1.
    pub distance: f64,
    /// Median in training and in the window.
    pub medians: (f32, f32),
    /// Whether one of the two is beyond its threshold and beyond what chance gives.
    pub alarm: bool,
}

/// The cases of a cohort since the last window was closed.
#[derive(Debug)]
pub(super) struct Window {
    sketches: Vec<Sketch>,
    rows: u64,
}

impl Window {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { sketches: layout.names().map(|_| Sketch::default()).collect(), rows: 0 }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn add(&mut self, case: &Case) {
        self.rows += 1;
        for (place, value) in case.values.iter().filter(|(_, value)| value.is_finite()) {
            if let Some(sketch) = self.sketches.get_mut(*place) {
                sketch.add(*value);
            }
        }
    }

    /// Every column that training told of and the window has values of.
    pub(super) fn figures(
        &self,
        layout: &Layout,
        reference: &Reference,
        cohort: Option<Cohort>,
        thresholds: Thresholds,
    ) -> Vec<Figure> {
        let figure = |(name, sketch): (&str, &Sketch)| {
            let (earlier, values) = (reference.column(cohort, name)?, sketch.count());
            let share = |value: f32| sketch.share_to(value);
            let (index, distance) = (earlier.stability_index(values, share), earlier.distance(share));
            let shifted = index > thresholds.index_max.max(earlier.index_by_chance(values));
            let apart = distance > thresholds.distance_max.max(earlier.distance_by_chance(values));
            let middle = earlier.quantiles.get(earlier.quantiles.len() / 2).copied()?;
            let medians = (middle, sketch.quantile(0.5)?);
            Some(Figure {
                column: name.to_owned(),
                values,
                index,
                distance,
                medians,
                alarm: shifted || apart,
            })
        };
        layout.names().zip(&self.sketches).filter_map(figure).collect()
    }
}
