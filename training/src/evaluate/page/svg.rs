//! Axes and shapes as SVG text.

use std::fmt::Write as _;

use super::escape;
use crate::evaluate::plots::Axis;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// About as many ticks as this on each axis.
const TICKS: f64 = 5.0;

/// A picture under work: the axes are known, shapes are added.
pub(super) struct Canvas {
    x: (f64, f64),
    y: (f64, f64),
    shapes: String,
}

impl Canvas {
    /// Axes that hold all of `points`, or what they say themselves.
    pub(super) fn over(x: &Axis, y: &Axis, points: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let across = x.ends.unwrap_or_else(|| ends(points.clone().map(|point| point.0), false));
        let upwards = y.ends.unwrap_or_else(|| ends(points.map(|point| point.1), true));
        let mut canvas = Self { x: across, y: upwards, shapes: String::new() };
        canvas.grid(x, y);
        canvas
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&mut self, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in ticks(self.x) {
            let at = self.px(tick);
            let _ = write!(
                self.shapes,
                r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/><text class="tick" text-anchor="middle" x="{at:.1}" y="{:.1}">{}</text>"#,
                bottom + 16.0,
                number(tick)
            );
        }
        for tick in ticks(self.y) {
            let at = self.py(tick);
            let _ = write!(
                self.shapes,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text class="tick" text-anchor="end" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT - 6.0,
                at + 4.0,
                number(tick)
            );
        }
        let (middle, half) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let _ = write!(
            self.shapes,
            r#"<text class="label" text-anchor="middle" x="{middle:.1}" y="{:.1}">{}</text><text class="label" text-anchor="middle" transform="translate(14 {half:.1}) rotate(-90)">{}</text>"#,
            HEIGHT - 8.0,
            escape(&x.label),
            escape(&y.label)
        );
    }

    /// The line of equal numbers.
    pub(super) fn diagonal(&mut self) {
        let (from, to) = (self.x.0.max(self.y.0), self.x.1.min(self.y.1));
        self.line("diagonal", &[(from, from), (to, to)]);
    }

    /// Points joined.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let path = self.path(points.iter().copied());
        let _ = write!(self.shapes, r#"<path class="{class}" d="{path}"/>"#);
    }

    /// The space between two lines over the same places.
    pub(super) fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let round = points.iter().map(|p| (p.0, p.1)).chain(points.iter().rev().map(|p| (p.0, p.2)));
        let path = self.path(round);
        let _ = write!(self.shapes, r#"<path class="{class}" d="{path}Z"/>"#);
    }

    /// One dot.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        if x.is_finite() && y.is_finite() {
            let (x, y) = (self.px(x), self.py(y));
            let _ = write!(self.shapes, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
        }
    }

    /// A line across with its name at the right.
    pub(super) fn level(&mut self, name: &str, y: f64) {
        self.line("level", &[(self.x.0, y), (self.x.1, y)]);
        let at = self.py(y) - 4.0;
        let _ = write!(
            self.shapes,
            r#"<text class="tick" text-anchor="end" x="{:.1}" y="{at:.1}">{}</text>"#,
            WIDTH - RIGHT - 4.0,
            escape(name)
        );
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points.filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.px(x), self.py(y));
        }
        path
    }

    /// The whole picture; `id` is unique on the page, `title` and `description` are read aloud.
    pub(super) fn finish(self, id: &str, title: &str, description: &str) -> String {
        format!(
            r#"<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{}</title><desc id="{id}-d">{}</desc>{}</svg>"#,
            escape(title),
            escape(description),
            self.shapes
        )
    }
}

/// Lowest and highest of some numbers, never equal, with a little air where `air` asks for it.
fn ends(values: impl Iterator<Item = f64>, air: bool) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let width = high - low;
    let air = if width < 1e-12 { 0.5 + high.abs() * 0.1 } else { f64::from(u8::from(air)) * width * 0.05 };
    (low - air, high + air)
}

/// Round numbers within `ends`.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / TICKS;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|s| s * power).into_iter().find(|s| *s >= rough * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

/// A tick without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            ticks((0.0, 1.0)).iter().map(|t| number(*t)).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(ticks((-37.0, 61.0)), [-20.0, 0.0, 20.0, 40.0, 60.0]);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let points = [(0.0, 1.0), (f64::NAN, 2.0), (1.0, f64::INFINITY), (1.0, 3.0)];
        let mut canvas = Canvas::over(&Axis::new("x"), &Axis::new("y"), points.iter().copied());
        canvas.line("s0", &points);
        canvas.dot("s0", points[1], 2.0);
        let text = canvas.finish("p", "t", "d");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    proptest! {
        #[test]
        fn any_ends_have_a_few_ticks_within_them(low in -1e6f64..1e6, width in 1e-3f64..1e6) {
            let ends = (low, low + width);
            let ticks = ticks(ends);
            prop_assert!((2..=9).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.iter().all(|t| *t >= low - width * 1e-6 && *t <= ends.1 + width * 1e-6));
        }
    }
}
