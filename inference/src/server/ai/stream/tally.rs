//! What a whole stream looked like, from running sums.

use models::family::anomaly::Encoder;
use proto::manpasik::v1 as wire;

use super::super::{judge, write};

/// Share of anomalous packets above which the stream itself is called anomalous, over what normal packets give.
const EXCESS: f64 = 0.05;

/// Running sums over packets and channels.
#[derive(Debug)]
pub(super) struct Tally {
    packets: u64,
    anomalous: u64,
    score: f64,
    channels: Vec<f32>,
    squares: Vec<f32>,
}

impl Tally {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            packets: 0,
            anomalous: 0,
            score: 0.0,
            channels: vec![0.0; channels],
            squares: vec![0.0; channels],
        }
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn add(&mut self, score: f64, anomalous: bool, channels: &[f32], residual: &[f32]) {
        self.packets += 1;
        self.anomalous += u64::from(anomalous);
        self.score += score;
        // Running means, so that a long stream loses no precision.
        let share = 1.0 / self.packets as f32;
        for (mean, value) in self.channels.iter_mut().zip(channels) {
            *mean += (value - *mean) * share;
        }
        for (mean, value) in self.squares.iter_mut().zip(residual) {
            *mean += (value * value - *mean) * share;
        }
    }

    pub(super) fn summary(
        &self,
        encoder: &Encoder,
        label: &str,
        model: wire::ModelReference,
        warnings: Vec<wire::Warning>,
    ) -> wire::StreamSummary {
        let packets = self.packets.max(1) as f64;
        let score_mean = self.score / packets;
        let usual = 1.0 - encoder.specificity();
        let anomalous = self.anomalous as f64 / packets > usual + EXCESS;
        let typical: Vec<f32> = self.squares.iter().map(|square| square.sqrt()).collect();
        let any = self.packets > 0;
        let explanation = any.then(|| write::explanation(encoder.explain_sweep(&self.channels, &typical)));
        wire::StreamSummary {
            label: label.into(),
            packets: self.packets,
            anomalous_packets: self.anomalous,
            score_mean,
            score_interval: any.then(|| write::interval(encoder.interval(score_mean))),
            explanation,
            safety: any.then(|| judge::of_sweep(anomalous)),
            model: Some(model),
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_packets() {
        let mut tally = Tally::new(2);
        tally.add(0.2, false, &[1.0, 10.0], &[3.0, 0.0]);
        tally.add(0.4, true, &[3.0, 30.0], &[4.0, 0.0]);
        assert_eq!((tally.packets(), tally.anomalous), (2, 1));
        assert_eq!(tally.channels, [2.0, 20.0]);
        assert!((tally.squares[0] - 12.5).abs() < 1e-5 && (tally.score - 0.6).abs() < 1e-12);
    }
}
