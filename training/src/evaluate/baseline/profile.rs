//! Matrix profile of a series: the distance of each window to the nearest other one, windows brought to mean 0 and
//! deviation 1.
//!
//! Every pair of windows is compared by its definition, along diagonals whose running product is renewed often; the
//! serving detector keeps its own products, so the two can be held against each other.

use std::ops::Range;

/// Steps of a diagonal after which its product is summed anew.
const RENEWED_EVERY: usize = 256;

/// Which windows a window is held against; none that overlap it by more than half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// All.
    Both,
    /// Earlier ones that share no point with it: what is known in a stream.
    Left,
}

/// Distance of each window of `window` points, by the place of its first; infinite for one that has no other.
#[must_use]
pub fn matrix_profile(series: &[f64], window: usize, side: Side) -> Vec<f64> {
    if window == 0 || series.len() < window {
        return Vec::new();
    }
    let moments: Vec<(f64, f64)> = series.windows(window).map(moments).collect();
    let mut best = vec![f64::NEG_INFINITY; moments.len()];
    let first = if side == Side::Left { window } else { window / 2 + 1 };
    for lag in first..moments.len() {
        let mut product = 0.0;
        for at in 0..moments.len() - lag {
            product = if at.is_multiple_of(RENEWED_EVERY) {
                dot(series, at..at + window, lag)
            } else {
                let (out, next) = (at - 1, at + window - 1);
                product + series[next] * series[next + lag] - series[out] * series[out + lag]
            };
            let (one, other) = (moments[at], moments[at + lag]);
            let alike = (product / window as f64 - one.0 * other.0) / (one.1 * other.1).max(1e-12);
            best[at + lag] = best[at + lag].max(alike);
            if side == Side::Both {
                best[at] = best[at].max(alike);
            }
        }
    }
    best.into_iter().map(|alike| (2.0 * (1.0 - alike)).max(0.0).sqrt()).collect()
}

/// Mean over the windows that hold a point, for the points that all windows of that length hold; 0 for the others and
/// for windows without a distance.
#[must_use]
pub fn covering_mean(profile: &[f64], window: usize) -> Vec<f64> {
    let known = |distance: &f64| if distance.is_finite() { *distance } else { 0.0 };
    let mean = |part: &[f64]| part.iter().map(known).sum::<f64>() / window as f64;
    let mut points = vec![0.0; window.saturating_sub(1)];
    points.extend(profile.windows(window.max(1)).map(mean));
    points.resize(profile.len() + window.saturating_sub(1), 0.0);
    points
}

fn moments(part: &[f64]) -> (f64, f64) {
    let mean = part.iter().sum::<f64>() / part.len() as f64;
    (mean, (part.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / part.len() as f64).sqrt())
}

fn dot(series: &[f64], part: Range<usize>, lag: usize) -> f64 {
    let other = &series[part.start + lag..part.end + lag];
    series[part].iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Vec<f64> {
        let at = |i: usize| (i as f64 / 5.0).sin() + if (300..315).contains(&i) { 0.8 } else { 0.0 };
        (0..600).map(at).collect()
    }

    #[test]
    fn it_is_the_distance_to_the_nearest_window() {
        let series = series();
        let profile = matrix_profile(&series, 20, Side::Left);
        let standard = |at: usize| {
            let part = &series[at..at + 20];
            let (mean, deviation) = moments(part);
            part.iter().map(|v| (v - mean) / deviation).collect::<Vec<f64>>()
        };
        for at in [40, 290, 305, 500] {
            let own = standard(at);
            let square = |other: usize| {
                standard(other).iter().zip(&own).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 20.0
            };
            let nearest = (0..=at - 20).map(square).fold(f64::INFINITY, f64::min).sqrt();
            assert!((profile[at] - nearest).abs() < 1e-6, "{at}: {} {nearest}", profile[at]);
        }
        assert!(profile[..20].iter().all(|distance| distance.is_infinite()), "nothing came before");
    }

    #[test]
    fn the_odd_stretch_stands_out_and_points_keep_their_place() {
        let series = series();
        let points = covering_mean(&matrix_profile(&series, 20, Side::Both), 20);
        assert_eq!(points.len(), series.len());
        let highest = (0..points.len()).max_by(|a, b| points[*a].total_cmp(&points[*b])).expect("points");
        assert!((295..320).contains(&highest), "{highest}");
        assert!(matrix_profile(&[1.0], 2, Side::Both).is_empty());
    }
}
