//! Where the scores of two kinds of rows lie.

use super::{Axis, Curves, Plot, Series};

const BINS: usize = 40;

/// Shares of rows by score, one line for each kind, in bins of equal width from 0 to 1.
#[must_use]
pub fn histogram(title: &str, caption: &str, x: Axis, kinds: &[(&str, Vec<f64>)]) -> Plot {
    let line = |(name, scores): &(&str, Vec<f64>)| {
        let mut bins = [0_usize; BINS];
        for score in scores.iter().filter(|score| score.is_finite()) {
            bins[((score.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let all = scores.len().max(1) as f64;
        let point = |(at, count): (usize, &usize)| ((at as f64 + 0.5) / BINS as f64, *count as f64 / all);
        let points: Vec<(f64, f64)> = bins.iter().enumerate().map(point).collect();
        Series::line(format!("{name} ({})", scores.len()), &points)
    };
    Plot::Curves(Curves {
        title: title.to_owned(),
        caption: caption.to_owned(),
        x,
        y: Axis::new("share of rows"),
        series: kinds.iter().map(line).collect(),
        diagonal: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_each_kind_sum_to_one() {
        let kinds = [("ordinary", vec![0.1, 0.2, 1.0]), ("strange", vec![1.5, -0.5])];
        let Plot::Curves(plot) = histogram("t", "c", Axis::share("score"), &kinds) else { panic!("curves") };
        for series in &plot.series {
            let sum: f64 = series.points.iter().map(|point| point.1).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
        assert_eq!(plot.series[1].points[BINS - 1].1, 0.5, "what lies beyond is at the edge");
    }
}
