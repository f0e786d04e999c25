//! Which packets have been seen: a sliding window of 64, so that a late packet still counts, a repeated one does not,
//! and the memory stays the same however long a session runs.

/// Width of the window; a packet later than this is treated as seen.
const WINDOW: u64 = u64::BITS as u64;

/// Whether a packet is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not seen before.
    New,
    /// Seen before, or so late that nobody can tell.
    Repeated,
}

/// The sequence numbers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sequences {
    /// Lowest number seen.
    pub(super) first: u64,
    /// Highest number seen.
    pub(super) highest: u64,
    /// Bit `i` stands for `highest - i`.
    pub(super) seen: u64,
    /// Different numbers seen.
    pub(super) received: u64,
}

impl Sequences {
    /// Whether `sequence` would be new.
    pub(super) fn arrival(&self, sequence: u64) -> Arrival {
        if self.received == 0 || sequence > self.highest {
            return Arrival::New;
        }
        let behind = self.highest - sequence;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 { Arrival::Repeated } else { Arrival::New }
    }

    /// Notes a number that is [`Arrival::New`]; any other is ignored.
    pub(super) fn note(&mut self, sequence: u64) {
        if self.arrival(sequence) == Arrival::Repeated {
            return;
        }
        if self.received == 0 {
            (self.first, self.highest, self.seen) = (sequence, sequence, 1);
        } else if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead >= WINDOW { 1 } else { (self.seen << ahead) | 1 };
            self.highest = sequence;
        } else {
            self.seen |= 1 << (self.highest - sequence);
            self.first = self.first.min(sequence);
        }
        self.received += 1;
    }

    /// How far `sequence` would jump ahead.
    pub(super) const fn ahead(&self, sequence: u64) -> u64 {
        if self.received == 0 { 0 } else { sequence.saturating_sub(self.highest) }
    }

    /// Packets missing between the first and the highest, in percent; `None` before the first.
    pub(super) fn loss_percent(&self) -> Option<f64> {
        let expected = (self.highest - self.first) as f64 + 1.0;
        (self.received > 0).then(|| 100.0 * (expected - self.received as f64) / expected)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    fn after(numbers: &[u64]) -> Sequences {
        let mut sequences = Sequences::default();
        numbers.iter().for_each(|&number| sequences.note(number));
        sequences
    }

    #[test]
    fn late_counts_and_repeated_does_not() {
        let sequences = after(&[10, 11, 14, 12, 12]);
        assert_eq!((sequences.first, sequences.highest, sequences.received), (10, 14, 4));
        assert_eq!(sequences.arrival(13), Arrival::New);
        assert_eq!(sequences.arrival(12), Arrival::Repeated);
        assert_eq!(sequences.loss_percent(), Some(20.0));
        assert_eq!(after(&[3, 2]).first, 2, "the first to arrive need not be the first sent");
    }

    #[test]
    fn the_ends_of_the_window_and_of_the_numbers() {
        let sequences = after(&[0, 64]);
        assert_eq!(sequences.arrival(0), Arrival::Repeated);
        assert_eq!(sequences.arrival(1), Arrival::New);
        let sequences = after(&[0, u64::MAX]);
        assert_eq!((sequences.ahead(u64::MAX), sequences.received), (0, 2));
        assert!(sequences.loss_percent().is_some_and(|loss| loss > 99.9));
        assert_eq!(Sequences::default().loss_percent(), None);
    }

    proptest! {
        /// Against a set that forgets nothing, for numbers that stay within the window.
        #[test]
        fn within_the_window_it_is_a_set(numbers in prop::collection::vec(0u64..64, 1..200)) {
            let mut sequences = Sequences::default();
            let mut set = HashSet::new();
            for number in numbers {
                let fresh = set.insert(number);
                prop_assert_eq!(sequences.arrival(number) == Arrival::New, fresh);
                sequences.note(number);
                prop_assert_eq!(sequences.received, set.len() as u64);
            }
            let loss = sequences.loss_percent().expect("not empty");
            prop_assert!((0.0..100.0).contains(&loss));
        }

        #[test]
        fn anywhere_nothing_counts_twice(numbers in prop::collection::vec(any::<u64>(), 1..100)) {
            let mut sequences = Sequences::default();
            for &number in &numbers {
                sequences.note(number);
                prop_assert_eq!(sequences.arrival(number), Arrival::Repeated);
            }
            let distinct: HashSet<_> = numbers.iter().collect();
            prop_assert!(sequences.received <= distinct.len() as u64);
        }
    }
}
