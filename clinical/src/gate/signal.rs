//! The statistics the gates need, from a window of packets.

/// Highest ratio reported: what a 24-bit converter could show at best.
const SNR_MAX_DB: f64 = 144.0;
/// Packets needed before noise can be told from signal.
const WINDOW_MIN: usize = 3;

/// Signal-to-noise ratio of a window of packets in dB: the power of the channel means over the power of the noise.
///
/// Noise is taken from differences of successive packets, so a slow drift is not mistaken for it. `None` for fewer
/// than three packets, unequal lengths, no channels, non-finite numbers or no signal at all.
#[must_use]
pub fn snr_db(window: &[&[f32]]) -> Option<f64> {
    let channels = common_length(window)?;
    let packets = window.len() as f64;
    let (mut signal, mut noise) = (0.0, 0.0);
    for channel in 0..channels {
        let mean = window.iter().map(|packet| f64::from(packet[channel])).sum::<f64>() / packets;
        let steps = window.windows(2).map(|pair| f64::from(pair[1][channel]) - f64::from(pair[0][channel]));
        signal += mean * mean;
        noise += steps.map(|step| step * step).sum::<f64>() / (2.0 * (packets - 1.0));
    }
    match (signal.is_finite() && noise.is_finite(), signal > 0.0) {
        (true, true) => Some((10.0 * (signal / noise).log10()).min(SNR_MAX_DB)),
        (_, _) => None,
    }
}

/// Change from the first to the last third of the window, in per cent of the mean, summed over channels. `None` as
/// for [`snr_db`].
#[must_use]
pub fn drift_percent(window: &[&[f32]]) -> Option<f64> {
    common_length(window)?;
    let third = window.len() / 3;
    let sum =
        |part: &[&[f32]]| part.iter().flat_map(|packet| packet.iter()).map(|&v| f64::from(v)).sum::<f64>();
    let first = sum(&window[..third]) / third as f64;
    let last = sum(&window[window.len() - third..]) / third as f64;
    let mean = (sum(window) / window.len() as f64).abs();
    let drift = 100.0 * (last - first) / mean;
    drift.is_finite().then_some(drift)
}

/// Packets lost in per cent, from the sequence numbers in order of arrival; repeats count once. `None` for no packet.
#[must_use]
pub fn packet_loss_percent(sequences: &[u64]) -> Option<f64> {
    let mut seen = sequences.to_vec();
    seen.sort_unstable();
    seen.dedup();
    let (first, last) = (*seen.first()?, *seen.last()?);
    let expected = (last - first) as f64 + 1.0;
    Some(100.0 * (expected - seen.len() as f64) / expected)
}

fn common_length(window: &[&[f32]]) -> Option<usize> {
    let channels = window.first()?.len();
    let usable = window.len() >= WINDOW_MIN && channels > 0 && window.iter().all(|p| p.len() == channels);
    usable.then_some(channels)
}

/// What the reference cell of a cartridge shows when all is well.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceBaseline {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl ReferenceBaseline {
    /// Estimates the baseline from reference vectors known to be good; `None` as for [`snr_db`].
    #[must_use]
    pub fn estimate(good: &[&[f32]]) -> Option<Self> {
        let channels = common_length(good)?;
        let count = good.len() as f64;
        let mean: Vec<f64> =
            (0..channels).map(|c| good.iter().map(|v| f64::from(v[c])).sum::<f64>() / count).collect();
        let variance =
            |c: usize| good.iter().map(|v| (f64::from(v[c]) - mean[c]).powi(2)).sum::<f64>() / (count - 1.0);
        let deviation = (0..channels).map(|c| variance(c).sqrt() as f32).collect();
        Some(Self { mean: mean.iter().map(|&m| m as f32).collect(), deviation })
    }

    /// Mean over the channels of how many standard deviations `reference` is from the baseline. The mean, not the
    /// largest: among 88 sound channels one beyond three deviations is ordinary. `None` when the lengths differ.
    #[must_use]
    pub fn z(&self, reference: &[f32]) -> Option<f64> {
        if reference.len() != self.mean.len() || reference.is_empty() {
            return None;
        }
        let scores =
            reference.iter().zip(&self.mean).zip(&self.deviation).map(|((&value, &mean), &deviation)| {
                f64::from(value - mean) / f64::from(deviation.max(f32::MIN_POSITIVE))
            });
        Some(scores.sum::<f64>() / reference.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slices(window: &[Vec<f32>]) -> Vec<&[f32]> {
        window.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn a_known_ratio_comes_back() {
        // Alternating +1/-1 around 100: successive differences of 2, so a noise power of 2 and a signal of 10,000.
        let window: Vec<Vec<f32>> =
            (0..101).map(|i| vec![if i % 2 == 0 { 101.0 } else { 99.0 }; 88]).collect();
        let snr = snr_db(&slices(&window)).expect("measurable");
        assert!((snr - 37.0).abs() < 0.1, "{snr}");
    }

    #[test]
    fn drift_is_not_noise_and_comes_back_in_per_cent() {
        let window: Vec<Vec<f32>> = (0..300).map(|i| vec![100.0 + i as f32 / 100.0; 8]).collect();
        assert!(snr_db(&slices(&window)).expect("measurable") > 60.0);
        let drift = drift_percent(&slices(&window)).expect("measurable");
        assert!((drift - 1.97).abs() < 0.05, "{drift}");
    }

    #[test]
    fn nothing_is_made_up_from_too_little() {
        let one = [1.0f32; 4];
        assert_eq!(snr_db(&[&one, &one]), None);
        assert_eq!(snr_db(&[&one, &one, &one[..3]]), None);
        assert_eq!(snr_db(&[&[0.0], &[0.0], &[0.0]]), None, "no signal");
        assert_eq!(snr_db(&[&[f32::NAN], &[1.0], &[1.0]]), None);
        assert_eq!(snr_db(&[&one, &one, &one]), Some(144.0), "no noise at all");
        assert_eq!(drift_percent(&[&one]), None);
        assert_eq!(packet_loss_percent(&[]), None);
    }

    #[test]
    fn gaps_count_as_loss_and_repeats_do_not() {
        assert_eq!(packet_loss_percent(&[5]), Some(0.0));
        assert_eq!(packet_loss_percent(&[0, 1, 1, 3]), Some(25.0));
        assert_eq!(packet_loss_percent(&[9, 8, 7]), Some(0.0), "late is not lost");
    }

    #[test]
    fn a_shifted_reference_cell_scores_its_shift() {
        let good: Vec<Vec<f32>> = (0..50).map(|i| vec![100.0 + (i % 5) as f32 - 2.0; 88]).collect();
        let baseline = ReferenceBaseline::estimate(&slices(&good)).expect("enough");
        assert!(baseline.z(&[100.0; 88]).expect("same length").abs() < 0.01);
        assert!(baseline.z(&[110.0; 88]).expect("same length") > 3.0);
        assert_eq!(baseline.z(&[100.0; 8]), None);
    }

    proptest! {
        #[test]
        fn loss_is_a_percentage(sequences in prop::collection::vec(0u64..1000, 1..100)) {
            let loss = packet_loss_percent(&sequences).expect("not empty");
            prop_assert!((0.0..100.0).contains(&loss));
        }
    }
}
