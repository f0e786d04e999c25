//! Latency histograms and medians.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What one load phase measured.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Wall time of the phase.
    pub elapsed: Duration,
    /// Latency of each answered request, microseconds.
    pub latency_us: Histogram<u64>,
    /// Requests that were answered with an error.
    pub errors: u64,
}

impl Phase {
    /// Answered requests per second.
    pub fn rate(&self) -> f64 {
        self.latency_us.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency below which `share` of the answers lie, microseconds.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.latency_us.value_at_quantile(share) as f64
    }
}

/// A histogram from 1 µs to 60 s with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are constant and valid")
}

/// Records `latency`, cut off at the upper bound of the histogram.
pub fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// The middle of `values`; the mean of the two middle ones when their number is even.
/// Returns NaN for no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Bounds between which the median lies with 95 %, whatever the distribution (sign test); the extremes for fewer than nine
/// values. NaN for no values.
pub fn interval(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    // So many of the smallest, and of the largest, can be left out: each has at most 2.5 % behind it.
    let (mut left_out, mut below, mut part) = (0, 0.0, 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX)));
    while 2 * (left_out + 1) < count {
        below += part;
        if below > 0.025 {
            break;
        }
        part *= (count - left_out) as f64 / (left_out + 1) as f64;
        left_out += 1;
    }
    let place = left_out.saturating_sub(1);
    let at = |index: Option<usize>| index.and_then(|index| sorted.get(index)).copied().unwrap_or(f64::NAN);
    (at(Some(place)), at(count.checked_sub(place + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_leaves_out_what_chance_allows() {
        let values = |count: u8| (1..=count).map(f64::from).collect::<Vec<_>>();
        // P(X = 0) of 7 is .8 %, P(X < 2) 6 %; of 9 P(X < 2) is 2 %; of 20 P(X < 6) is 2.1 %, P(X < 7) 5.8 %.
        assert_eq!(interval(&values(7)), (1.0, 7.0));
        assert_eq!(interval(&values(9)), (2.0, 8.0));
        assert_eq!(interval(&values(20)), (6.0, 15.0));
        assert_eq!(interval(&values(1)), (1.0, 1.0));
        assert!(interval(&[]).0.is_nan());
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_phase_reports_rate_and_quantiles() {
        let mut latency_us = histogram();
        for micros in 1..=100 {
            record(&mut latency_us, Duration::from_micros(micros));
        }
        let phase = Phase { elapsed: Duration::from_secs(2), latency_us, errors: 0 };
        assert_eq!(phase.rate(), 50.0);
        assert_eq!(phase.quantile_us(0.99), 99.0);
    }

    #[test]
    fn latencies_beyond_the_bounds_are_kept_at_the_bounds() {
        let mut latency_us = histogram();
        record(&mut latency_us, Duration::ZERO);
        record(&mut latency_us, Duration::from_secs(3600));
        assert_eq!(latency_us.len(), 2);
        assert_eq!(latency_us.min(), 1);
    }
}
