//! Vector layouts: which number stands at which index. A model is trained for one layout and its name is kept with
//! the model, because two layouts of equal length would otherwise be confused.
//!
//! The 88 base values are impedance magnitudes in ohm, electrode by electrode, each at the 11 base frequencies.

/// Electrodes of one cell.
pub const ELECTRODES: usize = 8;
/// Base frequencies of the sweep.
pub const BASE_FREQUENCIES: usize = 11;
/// The base frequencies in hertz.
pub const BASE_FREQUENCIES_HZ: [f64; BASE_FREQUENCIES] =
    [10.0, 100.0, 1e3, 5e3, 1e4, 5e4, 1e5, 5e5, 1e6, 5e6, 1e7];
/// Length of the base sweep.
pub const BASE_CHANNELS: usize = ELECTRODES * BASE_FREQUENCIES;
/// Extra frequencies of the enhanced sweep.
pub const EXTRA_FREQUENCIES: usize = 43;
/// Frequencies of the electrode-pair sweep.
pub const PAIR_FREQUENCIES: usize = 16;
/// Unordered pairs of two different electrodes.
pub const PAIRS: usize = ELECTRODES * (ELECTRODES - 1) / 2;
/// Gas sensors of the electronic nose.
pub const NOSE_SENSORS: usize = 8;
/// Ion sensors of the electronic tongue.
pub const TONGUE_SENSORS: usize = 8;
/// First index of the electronic nose in the enhanced layout.
pub const NOSE_START: usize = BASE_CHANNELS;
/// First index of the electronic tongue in the enhanced layout.
pub const TONGUE_START: usize = NOSE_START + NOSE_SENSORS;
/// First index of the extra sweep in the enhanced layout.
pub const EXTRA_START: usize = TONGUE_START + TONGUE_SENSORS;
/// First index of the electrode pairs in the full layout.
pub const PAIR_START: usize = EXTRA_START + ELECTRODES * EXTRA_FREQUENCIES;

/// What an electrode is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElectrodeRole {
    /// Carries the receptor and so the analyte signal.
    Working,
    /// Closes the circuit.
    Counter,
    /// Holds the potential.
    Reference,
}

/// Role of electrode `electrode`: 0 to 3 work, 4 and 5 are counter, 6 and 7 reference electrodes.
#[must_use]
pub const fn role(electrode: usize) -> ElectrodeRole {
    match electrode {
        0..=3 => ElectrodeRole::Working,
        4 | 5 => ElectrodeRole::Counter,
        _ => ElectrodeRole::Reference,
    }
}

/// A vector layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// 8 values of one electronic-sensor cartridge.
    Sensor,
    /// 88 impedance magnitudes.
    Basic,
    /// Basic, then 8 nose, 8 tongue and 344 extra sweep values.
    Enhanced,
    /// Enhanced, then 28 electrode pairs at 16 frequencies.
    Full,
    /// Full now, then full one interval earlier.
    Ultimate,
}

impl Layout {
    /// Every layout, shortest first.
    pub const ALL: [Self; 5] = [Self::Sensor, Self::Basic, Self::Enhanced, Self::Full, Self::Ultimate];

    /// Number of channels.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Sensor => NOSE_SENSORS,
            Self::Basic => BASE_CHANNELS,
            Self::Enhanced => PAIR_START,
            Self::Full => PAIR_START + PAIRS * PAIR_FREQUENCIES,
            Self::Ultimate => 2 * (PAIR_START + PAIRS * PAIR_FREQUENCIES),
        }
    }

    /// Name kept with models and sessions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor-8",
            Self::Basic => "impedance-88",
            Self::Enhanced => "enhanced-448",
            Self::Full => "full-896",
            Self::Ultimate => "ultimate-1792",
        }
    }

    /// The layout with exactly `channels` values.
    #[must_use]
    pub fn from_channels(channels: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.channels() == channels)
    }

    /// The layout called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }
}

/// Index of `electrode` at base frequency `frequency`, both counted from zero.
#[must_use]
pub const fn base_index(electrode: usize, frequency: usize) -> usize {
    electrode * BASE_FREQUENCIES + frequency
}

/// Electrode and base frequency of an index below [`BASE_CHANNELS`].
#[must_use]
pub const fn base_position(index: usize) -> (usize, usize) {
    (index / BASE_FREQUENCIES, index % BASE_FREQUENCIES)
}

/// The 43 extra frequencies: evenly spaced in the logarithm from 0.1 Hz to 100 MHz.
#[must_use]
pub fn extra_frequencies_hz() -> [f64; EXTRA_FREQUENCIES] {
    log_spaced(0.1, 1e8)
}

/// The 16 pair frequencies: evenly spaced in the logarithm from 10 Hz to 10 MHz (spacing is ours).
#[must_use]
pub fn pair_frequencies_hz() -> [f64; PAIR_FREQUENCIES] {
    log_spaced(10.0, 1e7)
}

/// The 28 electrode pairs in the order of the full layout.
pub fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..ELECTRODES).flat_map(|a| (a + 1..ELECTRODES).map(move |b| (a, b)))
}

fn log_spaced<const N: usize>(first: f64, last: f64) -> [f64; N] {
    std::array::from_fn(|i| first * (last / first).powf(i as f64 / (N - 1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_packet_format() {
        assert_eq!(Layout::ALL.map(Layout::channels), [8, 88, 448, 896, 1792]);
        for layout in Layout::ALL {
            assert_eq!(Layout::from_channels(layout.channels()), Some(layout));
            assert_eq!(Layout::from_name(layout.name()), Some(layout));
        }
        assert_eq!(Layout::from_channels(87), None);
    }

    #[test]
    fn sections_begin_where_the_format_says() {
        assert_eq!((NOSE_START, TONGUE_START, EXTRA_START, PAIR_START), (88, 96, 104, 448));
        assert_eq!(pairs().count(), PAIRS);
    }

    #[test]
    fn index_and_position_are_inverse() {
        for index in 0..BASE_CHANNELS {
            let (electrode, frequency) = base_position(index);
            assert_eq!(base_index(electrode, frequency), index);
        }
    }

    #[test]
    fn frequencies_ascend_between_their_ends() {
        assert!(BASE_FREQUENCIES_HZ.is_sorted());
        let extra = extra_frequencies_hz();
        assert!(extra.is_sorted());
        assert!((extra[0] - 0.1).abs() < 1e-12 && (extra[42] / 1e8 - 1.0).abs() < 1e-9);
        assert!(pair_frequencies_hz().is_sorted());
    }

    #[test]
    fn roles_are_four_two_two() {
        let count = |wanted| (0..ELECTRODES).filter(|&e| role(e) == wanted).count();
        assert_eq!(count(ElectrodeRole::Working), 4);
        assert_eq!(count(ElectrodeRole::Counter), 2);
        assert_eq!(count(ElectrodeRole::Reference), 2);
    }
}
