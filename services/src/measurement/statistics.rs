//! Running statistics of a session: signal against noise, drift, and surroundings, each in bounded memory and equal
//! to what the whole window of packets would give.

use super::rules::Environment;

/// Highest ratio reported: what a 24-bit converter could show at best.
const SNR_MAX_DB: f64 = 144.0;
/// Packets needed before noise can be told from signal.
const PACKETS_MIN: u64 = 3;
/// Most groups the drift is computed from.
const GROUPS_MAX: usize = 96;
/// Middle of the comfortable temperatures; the worst temperature is the farthest from it.
const TEMPERATURE_MIDDLE_C: f64 = 27.5;

/// Power of the differences between successive packets, which a slow drift does not enter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Noise {
    /// Sum of squared differences over channels and steps, ohm squared.
    pub(super) power: f64,
    /// Differences taken.
    pub(super) steps: u64,
    /// Sequence of the newest packet.
    pub(super) last_sequence: u64,
    /// Its corrected channels; empty before the first.
    pub(super) last: Vec<f32>,
}

impl Noise {
    /// Adds a packet; only two with successive numbers make a difference.
    pub(super) fn add(&mut self, sequence: u64, corrected: &[f32]) {
        let first = self.last.is_empty();
        if !first && sequence < self.last_sequence {
            return;
        }
        if !first && sequence == self.last_sequence.saturating_add(1) {
            let squares = corrected.iter().zip(&self.last).map(|(&now, &before)| {
                let step = f64::from(now) - f64::from(before);
                step * step
            });
            self.power += squares.sum::<f64>();
            self.steps += 1;
        }
        self.last_sequence = sequence;
        self.last.clear();
        self.last.extend_from_slice(corrected);
    }

    /// Signal-to-noise ratio in dB, from the sums of `packets`; `None` while there are too few.
    pub(super) fn snr_db(&self, sums: &[f64], packets: u64) -> Option<f64> {
        if packets < PACKETS_MIN || self.steps == 0 {
            return None;
        }
        let signal: f64 = sums.iter().map(|sum| (sum / packets as f64).powi(2)).sum();
        let noise = self.power / (2.0 * self.steps as f64);
        let measurable = signal > 0.0 && signal.is_finite() && noise.is_finite();
        measurable.then(|| (10.0 * (signal / noise).log10()).min(SNR_MAX_DB))
    }
}

/// Mean level over time. Packets are summed in groups; when there are too many groups, neighbours are joined, so the
/// memory is bounded and the resolution stays better than a fiftieth of the session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level {
    /// Packets in each full group.
    pub(super) width: u64,
    /// Sum over channels and packets of each full group, ohm.
    pub(super) groups: Vec<f64>,
    /// Sum of the group being filled, ohm.
    pub(super) open: f64,
    /// Packets in it.
    pub(super) filled: u64,
}

impl Default for Level {
    fn default() -> Self {
        Self { width: 1, groups: Vec::new(), open: 0.0, filled: 0 }
    }
}

impl Level {
    /// Adds a packet.
    pub(super) fn add(&mut self, corrected: &[f32]) {
        self.open += corrected.iter().map(|&value| f64::from(value)).sum::<f64>();
        self.filled += 1;
        if self.filled < self.width {
            return;
        }
        self.groups.push(std::mem::take(&mut self.open));
        self.filled = 0;
        if self.groups.len() == GROUPS_MAX {
            self.groups = self.groups.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
        }
    }

    /// Change from the first to the last third in percent of the mean; `None` while there are too few packets.
    pub(super) fn drift_percent(&self) -> Option<f64> {
        let third = self.groups.len() / 3;
        if third == 0 {
            return None;
        }
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&self.groups[..third]), mean(&self.groups[self.groups.len() - third..]));
        let drift = 100.0 * (last - first) / mean(&self.groups).abs();
        drift.is_finite().then_some(drift)
    }
}

/// Surroundings of the packets that reported them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Surroundings {
    /// Packets that reported.
    pub(super) reports: u64,
    /// Sums of temperature, humidity, pressure and charge.
    pub(super) sums: [f64; 4],
    /// Temperature farthest from comfortable, °C.
    pub(super) temperature_worst: Option<f64>,
    /// Lowest charge, percent.
    pub(super) battery_lowest: Option<f64>,
    /// Whether every self test passed; `None` before the first packet.
    pub(super) self_test_passed: Option<bool>,
}

impl Surroundings {
    /// Adds a packet.
    pub(super) fn add(&mut self, environment: Option<Environment>, self_test_passed: bool) {
        self.self_test_passed = Some(self.self_test_passed.unwrap_or(true) && self_test_passed);
        let Some(environment) = environment else { return };
        let Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } =
            environment;
        let values = [temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent];
        self.reports += 1;
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        let distance = |celsius: f64| (celsius - TEMPERATURE_MIDDLE_C).abs();
        let farther =
            self.temperature_worst.is_none_or(|worst| distance(temperature_celsius) > distance(worst));
        if farther {
            self.temperature_worst = Some(temperature_celsius);
        }
        self.battery_lowest =
            Some(self.battery_lowest.map_or(battery_percent, |low| low.min(battery_percent)));
    }

    /// Mean over the packets that reported.
    pub(super) fn mean(&self) -> Option<Environment> {
        let [temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent] =
            self.sums.map(|sum| sum / self.reports as f64);
        (self.reports > 0).then_some(Environment {
            temperature_celsius,
            humidity_percent,
            pressure_kilopascal,
            battery_percent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::gate;
    use proptest::prelude::*;

    fn through(window: &[Vec<f32>]) -> (Option<f64>, Option<f64>) {
        let (mut noise, mut level) = (Noise::default(), Level::default());
        let mut sums = vec![0.0; window[0].len()];
        for (sequence, packet) in window.iter().enumerate() {
            noise.add(sequence as u64, packet);
            level.add(packet);
            sums.iter_mut().zip(packet).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        (noise.snr_db(&sums, window.len() as u64), level.drift_percent())
    }

    fn close(left: Option<f64>, right: Option<f64>, tolerance: f64) -> bool {
        match (left, right) {
            (Some(left), Some(right)) => (left - right).abs() <= tolerance * right.abs().max(1.0),
            (left, right) => left == right,
        }
    }

    #[test]
    fn a_long_session_keeps_a_bounded_level_and_its_drift() {
        let mut level = Level::default();
        let packets = 30_000u16;
        for packet in 0..packets {
            level.add(&[1_000.0 + 100.0 * f32::from(packet) / f32::from(packets)]);
        }
        assert!(level.groups.len() < GROUPS_MAX);
        // From a sixth to five sixths of a rise by a tenth.
        let drift = level.drift_percent().expect("enough packets");
        assert!((drift - 6.35).abs() < 0.2, "{drift}");
    }

    #[test]
    fn a_lost_packet_makes_no_noise() {
        let mut noise = Noise::default();
        for (sequence, value) in [(0, 1.0), (1, 1.0), (5, 50.0), (4, 7.0), (6, 50.0)] {
            noise.add(sequence, &[value]);
        }
        assert_eq!((noise.power, noise.steps), (0.0, 2));
    }

    #[test]
    fn the_worst_surroundings_and_the_mean_are_kept() {
        let mut seen = Surroundings::default();
        assert_eq!(seen.mean(), None);
        for (temperature_celsius, battery_percent, passed) in
            [(20.0, 50.0, true), (40.0, 30.0, false), (25.0, 40.0, true)]
        {
            let environment = Environment {
                temperature_celsius,
                humidity_percent: 40.0,
                pressure_kilopascal: 100.0,
                battery_percent,
            };
            seen.add(Some(environment), passed);
        }
        seen.add(None, true);
        assert_eq!(seen.temperature_worst, Some(40.0));
        assert_eq!((seen.battery_lowest, seen.self_test_passed), (Some(30.0), Some(false)));
        assert_eq!(seen.mean().map(|mean| mean.battery_percent), Some(40.0));
    }

    proptest! {
        /// The running statistics are those of the window functions the gates were made for.
        #[test]
        fn running_equals_whole_window(
            window in prop::collection::vec(prop::collection::vec(10.0f32..1e4, 8), 1..90),
        ) {
            let slices: Vec<&[f32]> = window.iter().map(Vec::as_slice).collect();
            let (snr, drift) = through(&window);
            prop_assert!(close(snr, gate::snr_db(&slices), 1e-6), "{:?} {:?}", snr, gate::snr_db(&slices));
            prop_assert!(close(drift, gate::drift_percent(&slices), 1e-6), "{drift:?}");
        }
    }
}
