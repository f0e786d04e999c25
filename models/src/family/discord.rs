//! How unlike its own ordinary start a series is, point by point, in one pass and in bounded memory.
//!
//! A window is the last `window` points. Its distance is that to the nearest window of the start which it does not
//! overlap, both brought to mean 0 and deviation 1: a discord as in Keogh, Lin and Fu (2005), looked for among what is
//! known to be ordinary. Two scores come of it. At arrival a point has the distance of the window that ends with it.
//! A window later it is settled: the mean distance of all windows that hold it, which says far better where a strange
//! stretch begins and ends. Neither looks at points that have not arrived.
//!
//! Products of windows are carried along diagonals (Zhu and others, 2016), so that a point costs as many
//! multiplications as the start has points. A diagonal is no longer than the start, and so is its rounding.
//!
//! The thresholds are the largest scores of the start itself, each of its windows held against the others only: what
//! comes next is the largest of `n` alike windows with probability 1 / n. A long start therefore promises more.

use std::collections::VecDeque;

use crate::ModelError;
use crate::explain::{Contribution, Explanation, Method};

/// Fewest points of a window.
pub const WINDOW_MIN: usize = 8;
/// Most points of a start.
pub const START_MAX: usize = 8_192;
/// Windows that a start must have room for.
const WINDOWS_MIN: usize = 3;
/// A window that moves less than this share of the whole start does not move.
const FLAT: f64 = 1e-6;

/// Scores a series against its start.
#[derive(Debug, Clone)]
pub struct Discord {
    window: usize,
    /// Mean of the start, taken off every value: small numbers keep their digits.
    offset: f64,
    start: Vec<f64>,
    /// Mean and deviation of each window of the start.
    moments: Vec<Moments>,
    /// Deviation below which a window is flat.
    flat: f64,
    /// Products of the newest window with each window of the start.
    products: Vec<f64>,
    /// The newest window.
    newest: VecDeque<f64>,
    /// Distances of the windows that ended with the last points, at most `window` of them.
    distances: VecDeque<f64>,
    /// Window of the start that the newest is nearest to.
    nearest: usize,
    /// Points that came after the start.
    taken: u64,
    thresholds: Thresholds,
}

#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

/// Scores above which a point is anomalous.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    /// At arrival.
    pub arrival: f64,
    /// A window later.
    pub settled: f64,
}

/// A score of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Number of the point, 0 for the first after the start.
    pub index: u64,
    /// Distance, 0 for the shape of the start to 2 for its opposite.
    pub distance: f64,
    /// Whether that is above the threshold.
    pub anomalous: bool,
}

/// What a point told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The point itself, at arrival.
    pub arrival: Scored,
    /// The point that is settled by it, one window less a point back; none before there is one.
    pub settled: Option<Scored>,
}

impl Discord {
    /// Learns from the ordinary `start` of a series, with windows as long as its dominant [`period`].
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `start`: as [`Self::with_window`], or no period in it.
    pub fn new(start: &[f64]) -> Result<Self, ModelError> {
        check(start)?;
        let window = period(start).ok_or_else(|| {
            let reason = format!("nothing repeats within its {} points; give a longer one", start.len());
            ModelError::input("start", reason)
        })?;
        Self::with_window(start, window)
    }

    /// The same with windows of `window` points.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `window` or `start`: fewer than 8 points of a window, fewer than 3 windows or more
    /// than 8,192 points of a start, a value that is not finite, or values that never change.
    pub fn with_window(start: &[f64], window: usize) -> Result<Self, ModelError> {
        check(start)?;
        if window < WINDOW_MIN {
            return Err(ModelError::input("window", format!("is {window}, expected at least {WINDOW_MIN}")));
        }
        if start.len() / WINDOWS_MIN < window {
            let (points, needed) = (start.len(), WINDOWS_MIN.saturating_mul(window));
            let reason = format!("has {points} points, expected {needed} or more for windows of {window}");
            return Err(ModelError::input("start", reason));
        }
        let whole = Moments::of(start.iter());
        let start: Vec<f64> = start.iter().map(|value| value - whole.mean).collect();
        let moments: Vec<Moments> = start.windows(window).map(|part| Moments::of(part.iter())).collect();
        if !moments.iter().any(|part| part.deviation > 0.0) || !whole.deviation.is_finite() {
            return Err(ModelError::input("start", "its values never change, or lie too far apart"));
        }
        let last = start.len() - window;
        let mut discord = Self {
            window,
            offset: whole.mean,
            products: (0..=last).map(|at| dot(&start[at..at + window], &start[last..])).collect(),
            newest: start[last..].iter().copied().collect(),
            distances: VecDeque::with_capacity(window),
            flat: FLAT * whole.deviation,
            nearest: 0,
            thresholds: Thresholds::default(),
            taken: 0,
            moments,
            start,
        };
        discord.thresholds = discord.own();
        Ok(discord)
    }

    /// Points of a window, which is also how late a point is settled.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Probability that a window's worth of points raises a false alarm, if the series goes on as it began: 1 in as
    /// many as the start has windows, of which the first has only neighbours on one side. It is a bound over starts,
    /// not over the windows that follow one of them.
    #[must_use]
    pub fn false_alarm_rate(&self) -> f64 {
        1.0 / (self.start.len() / self.window) as f64
    }

    /// The largest scores of the start itself.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Takes the next point of the series.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a value that is not finite; the series goes on as if it had not come.
    pub fn push(&mut self, value: f64) -> Result<Step, ModelError> {
        if !value.is_finite() {
            return Err(ModelError::input("value", format!("is {value}, expected a finite number")));
        }
        let distance = self.advance(value - self.offset);
        if self.distances.len() == self.window {
            self.distances.pop_front();
        }
        self.distances.push_back(distance);
        let index = self.taken;
        self.taken += 1;
        let settled = (self.distances.len() == self.window).then(|| {
            let distance = self.distances.iter().sum::<f64>() / self.window as f64;
            let index = self.taken - self.window as u64;
            Scored { index, distance, anomalous: distance > self.thresholds.settled }
        });
        let anomalous = distance > self.thresholds.arrival;
        Ok(Step { arrival: Scored { index, distance, anomalous }, settled })
    }

    /// Moves the window on by a value and returns its distance.
    fn advance(&mut self, value: f64) -> f64 {
        let oldest = self.newest.pop_front().unwrap_or_default();
        self.newest.push_back(value);
        for at in (1..self.products.len()).rev() {
            self.products[at] = self.products[at - 1] - oldest * self.start[at - 1]
                + value * self.start[at + self.window - 1];
        }
        let first = self.newest.iter().zip(&self.start).map(|(a, b)| a * b).sum();
        if let Some(product) = self.products.first_mut() {
            *product = first;
        }
        let own = Moments::of(self.newest.iter());
        // The first windows still hold points of the start and must not be found in themselves.
        let taken = self.taken.min(self.window as u64) as usize;
        let free = (self.start.len() + taken + 2 - 2 * self.window).min(self.products.len());
        let alike = self.products[..free]
            .iter()
            .zip(&self.moments)
            .map(|(product, other)| self.likeness(*product, own, *other));
        let higher = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
        let (nearest, likeness) = alike.enumerate().fold((0, -1.0), higher);
        self.nearest = nearest;
        distance(likeness)
    }

    /// What each of up to `parts` stretches of the newest window, oldest first, adds to the square of its distance.
    #[must_use]
    pub fn explain(&self, parts: usize) -> Explanation {
        let newest = self.newest.iter().copied().collect::<Vec<f64>>();
        let other = &self.start[self.nearest..self.nearest + self.window];
        let (one, two) = (self.standard(&newest), self.standard(other));
        let squares: Vec<f64> = one.iter().zip(&two).map(|(a, b)| (a - b).powi(2)).collect();
        let last = self.distances.back().copied().unwrap_or_default();
        // Of a window that does not move the distance is set, not computed; its parts are then in proportion.
        let scale = last.powi(2) / squares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let length = self.window.div_ceil(parts.max(1));
        let part = |(number, part): (usize, &[f64])| {
            let first = self.window - 1 - number * length;
            Contribution {
                feature: format!("lag {first} to {}", first + 1 - part.len()),
                loinc: String::new(),
                value: None,
                unit: String::new(),
                contribution: part.iter().sum::<f64>() * scale,
            }
        };
        let contributions = squares.chunks(length).enumerate().map(part).collect();
        Explanation::of(Method::Residual, "squared distance", 0.0, contributions)
    }

    /// Brought to mean 0 and deviation 1; all 0 when it does not move.
    fn standard(&self, window: &[f64]) -> Vec<f64> {
        let Moments { mean, deviation } = Moments::of(window.iter());
        let scale = if deviation <= self.flat { 0.0 } else { 1.0 / deviation };
        window.iter().map(|value| (value - mean) * scale).collect()
    }

    /// Largest scores of the start's windows, each held against those that it does not overlap.
    fn own(&self) -> Thresholds {
        let windows = self.moments.len();
        let mut best = vec![-1.0f64; windows];
        for lag in self.window..windows {
            let mut product = dot(&self.start[..self.window], &self.start[lag..lag + self.window]);
            for at in 0..windows - lag {
                if at > 0 {
                    let (out, next) = (at - 1, at + self.window - 1);
                    product +=
                        self.start[next] * self.start[next + lag] - self.start[out] * self.start[out + lag];
                }
                let alike = self.likeness(product, self.moments[at], self.moments[at + lag]);
                best[at] = best[at].max(alike);
                best[at + lag] = best[at + lag].max(alike);
            }
        }
        let distances: Vec<f64> = best.into_iter().map(distance).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        Thresholds {
            arrival: distances.iter().copied().fold(0.0, f64::max),
            settled: distances.windows(self.window).map(mean).fold(0.0, f64::max),
        }
    }

    /// Correlation of two windows; one that does not move is like another such, and unlike all that move.
    fn likeness(&self, product: f64, one: Moments, other: Moments) -> f64 {
        match (one.deviation <= self.flat, other.deviation <= self.flat) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            (false, false) => {
                let shared = product / self.window as f64 - one.mean * other.mean;
                (shared / (one.deviation * other.deviation)).clamp(-1.0, 1.0)
            }
        }
    }
}

impl Moments {
    fn of<'a>(values: impl ExactSizeIterator<Item = &'a f64> + Clone) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Self { mean, deviation: variance.sqrt() }
    }
}

fn check(start: &[f64]) -> Result<(), ModelError> {
    if start.len() > START_MAX {
        let reason = format!("has {} points, at most {START_MAX}", start.len());
        return Err(ModelError::input("start", reason));
    }
    match start.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(ModelError::input(format!("start[{at}]"), "is not a finite number")),
        None => Ok(()),
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Distance of two windows of deviation 1 with this correlation, over the root of their length.
fn distance(likeness: f64) -> f64 {
    (2.0 * (1.0 - likeness)).max(0.0).sqrt()
}

/// Points after which a series repeats itself: the first peak of its autocorrelation, beyond where that has first
/// fallen below 0, that is at least half as high as the highest. Looked for up to half the length; `None` where there
/// is no such peak.
#[must_use]
pub fn period(series: &[f64]) -> Option<usize> {
    let mean = Moments::of(series.iter()).mean;
    let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let at = |lag: usize| dot(&centred[lag..], &centred) / (centred.len() - lag) as f64;
    let correlation: Vec<f64> = (0..=series.len() / 2).map(at).collect();
    let fallen = correlation.iter().position(|value| *value < 0.0)?;
    let peaks: Vec<(usize, f64)> = correlation
        .windows(3)
        .enumerate()
        .skip(fallen)
        .filter(|(_, part)| part[1] > 0.0 && part[1] >= part[0] && part[1] > part[2])
        .map(|(lag, part)| (lag + 1, part[1]))
        .collect();
    let highest = peaks.iter().map(|peak| peak.1).fold(0.0, f64::max);
    peaks.into_iter().find(|peak| peak.1 >= 0.5 * highest).map(|peak| peak.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Beats of 40 points whose height and length vary a little.
    fn beats(points: usize, strange: std::ops::Range<usize>) -> Vec<f64> {
        let at = |index: usize| {
            let time = index as f64 + 2.0 * (index as f64 / 170.0).sin();
            let phase = time % 40.0 / 40.0;
            let height = 1.0 + 0.1 * (index as f64 / 90.0).sin();
            let beat = height * (-(phase - 0.5).powi(2) / 0.005).exp() + 0.1 * (phase * 6.3).sin();
            if strange.contains(&index) { 0.3 * beat + 0.2 * (index as f64).sin() } else { beat }
        };
        (0..points).map(at).collect()
    }

    /// The definition, window by window, of the windows that end after the start.
    fn batch(series: &[f64], start: usize, window: usize) -> Vec<f64> {
        let standard = |part: &[f64]| {
            let Moments { mean, deviation } = Moments::of(part.iter());
            part.iter().map(|value| (value - mean) / deviation).collect::<Vec<f64>>()
        };
        let windows: Vec<Vec<f64>> = series.windows(window).map(standard).collect();
        let nearest = |own: usize| {
            let others = (0..=start - window).filter(|other| other + window <= own);
            let square = |other: usize| {
                windows[own].iter().zip(&windows[other]).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
            };
            (others.map(square).fold(f64::INFINITY, f64::min) / window as f64).sqrt()
        };
        (start + 1 - window..windows.len()).map(nearest).collect()
    }

    #[test]
    fn the_period_is_that_of_the_beats_and_noise_has_none() {
        assert!((38..=42).contains(&period(&beats(400, 0..0)).expect("beats repeat")));
        assert_eq!(period(&(0..100).map(f64::from).collect::<Vec<_>>()), None);
        assert_eq!(period(&[1.0; 100]), None);
        assert_eq!(period(&[]), None);
    }

    #[test]
    fn a_strange_beat_is_found_where_it_is_and_nothing_else() {
        let series = beats(1600, 1000..1040);
        let mut discord = Discord::new(&series[..400]).expect("a start");
        let steps: Vec<Step> = series[400..].iter().map(|v| discord.push(*v).expect("finite")).collect();
        let settled: Vec<Scored> = steps.iter().filter_map(|step| step.settled).collect();
        let highest = settled.iter().max_by(|a, b| a.distance.total_cmp(&b.distance)).expect("settled");
        assert!((600..640).contains(&highest.index) && highest.anomalous, "{highest:?}");
        let far = |point: &&Scored| !(600 - 45..640 + 45).contains(&(point.index as usize));
        let alarms = settled.iter().filter(far).filter(|point| point.anomalous).count();
        assert!(alarms as f64 <= discord.false_alarm_rate() * settled.len() as f64, "{alarms}");
    }

    #[test]
    fn what_it_keeps_does_not_grow() {
        let series = beats(400, 0..0);
        let mut discord = Discord::new(&series).expect("a start");
        let kept = |of: &Discord| {
            [of.newest.capacity(), of.distances.capacity(), of.products.capacity(), of.start.capacity()]
        };
        let before = kept(&discord);
        for round in 0..50 {
            series.iter().for_each(|value| {
                let _ = discord.push(value + f64::from(round)).expect("finite");
            });
        }
        assert_eq!(kept(&discord), before);
        assert_eq!(discord.distances.len(), discord.window());
    }

    #[test]
    fn what_is_no_series_is_refused_by_name() {
        let series = beats(400, 0..0);
        let refused = |start: &[f64], window: usize| {
            Discord::with_window(start, window).expect_err("refused").to_string()
        };
        assert!(refused(&series, 7).starts_with("window"));
        assert!(refused(&series, 200).contains("600 or more"));
        assert!(refused(&[3.0; 100], 10).contains("never change"));
        assert!(refused(&[&series[..50], &[f64::NAN]].concat(), 10).starts_with("start[50]"));
        assert!(refused(&vec![0.0; START_MAX + 1], 10).contains("at most 8192"));
        assert!(Discord::new(&[0.0; 90]).is_err());
        let mut discord = Discord::with_window(&series, 40).expect("a start");
        let mut other = discord.clone();
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(discord.push(bad).expect_err("refused").to_string().starts_with("value"));
        }
        assert_eq!(discord.push(0.5).expect("goes on"), other.push(0.5).expect("finite"));
    }

    #[test]
    fn the_parts_of_a_window_add_up_to_its_squared_distance() {
        let series = beats(1600, 1000..1040);
        let mut discord = Discord::with_window(&series[..400], 40).expect("a start");
        for value in series[400..1030].iter().copied().chain([0.1; 60]) {
            let distance = discord.push(value).expect("finite").arrival.distance;
            let explained = discord.explain(6).contributions;
            let sum: f64 = explained.iter().map(|part| part.contribution).sum();
            assert!((sum - distance.powi(2)).abs() < 1e-9, "{sum} {distance}");
            assert!(explained.iter().all(|part| part.contribution > 0.0));
        }
        let lags: Vec<String> =
            discord.explain(6).contributions.into_iter().map(|part| part.feature).collect();
        assert!(lags.contains(&"lag 39 to 33".into()) && lags.contains(&"lag 4 to 0".into()), "{lags:?}");
    }

    #[test]
    fn a_series_that_stops_moving_is_strange() {
        let series = beats(400, 0..0);
        let mut discord = Discord::with_window(&series, 40).expect("a start");
        let last = (0..100).map(|_| discord.push(0.1).expect("finite")).last().expect("some");
        assert_eq!(last.arrival.distance, 2f64.sqrt());
        assert!(last.arrival.anomalous && last.settled.expect("settled").anomalous);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_stream_gives_what_the_definition_gives(
            noise in prop::collection::vec(-0.2f64..0.2, 300..500),
            window in 8usize..40,
            offset in -1e4f64..1e4,
        ) {
            let start = 150;
            let series: Vec<f64> =
                beats(noise.len(), 0..0).iter().zip(&noise).map(|(beat, by)| beat + by + offset).collect();
            let mut discord = Discord::with_window(&series[..start], window).expect("a start");
            let steps: Vec<Step> =
                series[start..].iter().map(|v| discord.push(*v).expect("finite")).collect();
            let expected = batch(&series, start, window);
            prop_assert_eq!(expected.len(), steps.len());
            for (step, expected) in steps.iter().zip(&expected) {
                prop_assert!((step.arrival.distance - expected).abs() < 1e-6, "{step:?} {expected}");
            }
            for settled in steps.iter().filter_map(|step| step.settled) {
                let at = settled.index as usize;
                let mean = expected[at..at + window].iter().sum::<f64>() / window as f64;
                prop_assert!((settled.distance - mean).abs() < 1e-6, "{settled:?} {mean}");
            }
            prop_assert_eq!(steps.iter().filter(|step| step.settled.is_some()).count(), steps.len() + 1 - window);
        }

        #[test]
        fn units_do_not_matter(scale in 1e-3f64..1e3, offset in -1e3f64..1e3) {
            let series = beats(700, 500..520);
            let other: Vec<f64> = series.iter().map(|value| value * scale + offset).collect();
            let mut one = Discord::with_window(&series[..300], 40).expect("a start");
            let mut two = Discord::with_window(&other[..300], 40).expect("a start");
            for (a, b) in series[300..].iter().zip(&other[300..]) {
                let (a, b) = (one.push(*a).expect("finite"), two.push(*b).expect("finite"));
                prop_assert!((a.arrival.distance - b.arrival.distance).abs() < 1e-5);
            }
        }
    }
}
