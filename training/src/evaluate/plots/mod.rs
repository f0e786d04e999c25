//! Pictures of an evaluation as plain data: what is drawn, never how. The page draws them, a script reads them.
//!
//! Every picture is of test rows that the figures beside it were measured on; none has a say in any choice.

mod classes;
mod forecast;
mod scores;
mod survival;
mod values;

use serde::Serialize;

pub use classes::{Rival, confusion, precision_recall, reliability, roc};
pub use forecast::{Horizon, coverage_by_horizon, error_by_horizon};
pub use scores::histogram;
pub use survival::{Followed, survival_by_risk, survival_calibration};
pub use values::bland_altman;

/// Most points of one line: more than a screen shows.
const POINTS_MAX: usize = 300;

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plot {
    /// Lines or dots over two axes.
    Curves(Curves),
    /// How often each class was taken for each other.
    Confusion(Confusion),
    /// Single pairs of numbers with level lines, such as limits of agreement.
    Scatter(Scatter),
    /// What a series did, and the bounds that were forecast for it.
    Fan(Fan),
}

impl Plot {
    /// Heading of the picture.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Curves(plot) => &plot.title,
            Self::Confusion(plot) => &plot.title,
            Self::Scatter(plot) => &plot.title,
            Self::Fan(plot) => &plot.title,
        }
    }

    /// How to read it, in a sentence or two.
    #[must_use]
    pub fn caption(&self) -> &str {
        match self {
            Self::Curves(plot) => &plot.caption,
            Self::Confusion(plot) => &plot.caption,
            Self::Scatter(plot) => &plot.caption,
            Self::Fan(plot) => &plot.caption,
        }
    }
}

/// What an axis shows, with its unit in the label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// For example `glucose, mg/dL`.
    pub label: String,
    /// Ends of the axis; those of the data when absent.
    pub ends: Option<(f64, f64)>,
}

impl Axis {
    /// An axis as long as the data.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ends: None }
    }

    /// An axis from 0 to 1.
    #[must_use]
    pub fn share(label: impl Into<String>) -> Self {
        Self { label: label.into(), ends: Some((0.0, 1.0)) }
    }
}

/// One line of a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// In the order in which they are joined.
    pub points: Vec<(f64, f64)>,
    /// Interval of each point's second number; none, or as many as there are points.
    pub whiskers: Vec<(f64, f64)>,
    /// Marked one by one rather than only joined.
    pub dots: bool,
}

impl Series {
    /// A line, thinned where it has more points than can be seen.
    #[must_use]
    pub fn line(name: impl Into<String>, points: &[(f64, f64)]) -> Self {
        Self { name: name.into(), points: thinned(points), whiskers: Vec::new(), dots: false }
    }

    /// Joined dots with an interval each, or none.
    #[must_use]
    pub fn dots(name: impl Into<String>, points: Vec<(f64, f64)>, whiskers: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, whiskers, dots: true }
    }
}

/// Lines or dots over two axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curves {
    /// Heading.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines; the first is the model's own.
    pub series: Vec<Series>,
    /// Whether the line of equal numbers is drawn.
    pub diagonal: bool,
}

/// How often each class was taken for each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
    /// Heading.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Rows by true class, within them columns by answered class.
    pub counts: Vec<Vec<usize>>,
}

/// A level across a scatter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// For the end of the line.
    pub name: String,
    /// Where it lies.
    pub y: f64,
}

/// Single pairs of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scatter {
    /// Heading.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The pairs, thinned evenly where there are many.
    pub points: Vec<(f64, f64)>,
    /// Lines across, measured on all pairs.
    pub levels: Vec<Level>,
}

/// Bounds of one coverage over the horizons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Band {
    /// For the legend, for example `90 % interval`.
    pub name: String,
    /// Time, lower and upper bound.
    pub points: Vec<(f64, f64, f64)>,
}

/// One forecast beside what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fan {
    /// Heading.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// Across: time.
    pub x: Axis,
    /// Upwards: the value.
    pub y: Axis,
    /// What the model was shown.
    pub history: Vec<(f64, f64)>,
    /// What came.
    pub truth: Vec<(f64, f64)>,
    /// The middle of the forecast.
    pub median: Vec<(f64, f64)>,
    /// Bounds, the widest first.
    pub bands: Vec<Band>,
}

/// At most [`POINTS_MAX`] of the points, evenly by place, both ends kept.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let last = points.len() - 1;
    (0..POINTS_MAX).map(|at| points[at * last / (POINTS_MAX - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        let line = Series::line("x", &points);
        assert_eq!(line.points.len(), POINTS_MAX);
        assert_eq!((line.points[0].0, line.points[POINTS_MAX - 1].0), (0.0, 9_999.0));
        assert!(line.points.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(Series::line("x", &points[..7]).points.len(), 7);
    }

    #[test]
    fn a_picture_names_its_kind_for_scripts() {
        let counts = vec![vec![3, 1], vec![0, 2]];
        let plot = Confusion {
            title: "t".into(),
            caption: "c".into(),
            labels: vec!["a".into(), "b".into()],
            counts,
        };
        let json = serde_json::to_value(Plot::Confusion(plot)).expect("plain data");
        assert_eq!((&json["kind"], &json["counts"][1][1]), (&"confusion".into(), &2.into()));
    }
}
