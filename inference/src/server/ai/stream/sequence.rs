//! Numbers of packets: duplicates are dropped, late ones taken, gaps counted.

use proto::manpasik::v1 as wire;

use super::super::write::warning;

/// How far a late packet may lie behind the newest.
const WINDOW: u64 = 64;

/// What has been seen. Bit `i` of `seen` stands for the number `newest - i`.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sequence {
    newest: Option<u64>,
    seen: u64,
    duplicates: u64,
    missing: u64,
    late: u64,
}

impl Sequence {
    /// Whether the packet is new.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let Some(newest) = self.newest else {
            (self.newest, self.seen) = (Some(number), 1);
            return true;
        };
        if number > newest {
            let ahead = number - newest;
            self.missing = self.missing.saturating_add(ahead - 1);
            self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
            self.newest = Some(number);
            return true;
        }
        let behind = newest - number;
        // Before the first packet, or too long ago to tell: counted as seen.
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            self.duplicates += 1;
            return false;
        }
        self.seen |= 1 << behind;
        self.late += 1;
        self.missing = self.missing.saturating_sub(1);
        true
    }

    /// The highest number so far.
    pub(super) fn newest(self) -> Option<u64> {
        self.newest
    }

    /// What the reader of the summary should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = wire::Warning> {
        let lines = [
            ("missing_packets", self.missing, "packets never came"),
            ("duplicate_packets", self.duplicates, "packets came twice or too late and were dropped"),
            ("late_packets", self.late, "packets came out of order and were analysed when they came"),
        ];
        let told = lines.into_iter().filter(|(_, count, _)| *count > 0);
        told.map(|(code, count, text)| warning(code, format!("{count} {text}"), "packet.sequence"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duplicates_are_dropped_late_ones_taken_and_gaps_counted() {
        let mut sequence = Sequence::default();
        let taken: Vec<bool> = [5, 6, 6, 9, 7, 5, 200, 100].map(|number| sequence.take(number)).to_vec();
        assert_eq!(taken, [true, true, false, true, true, false, true, false]);
        assert_eq!((sequence.missing, sequence.duplicates, sequence.late), (1 + 190, 3, 1));
        assert_eq!(sequence.warnings().count(), 3);
    }

    #[test]
    fn the_ends_of_the_numbers_do_not_overflow() {
        let mut sequence = Sequence::default();
        assert!(sequence.take(0) && sequence.take(u64::MAX) && !sequence.take(u64::MAX) && !sequence.take(0));
    }

    proptest! {
        #[test]
        fn no_number_is_taken_twice(numbers in prop::collection::vec(0u64..100, 0..300)) {
            let mut sequence = Sequence::default();
            let mut taken = HashSet::new();
            for number in numbers {
                if sequence.take(number) {
                    prop_assert!(taken.insert(number));
                }
            }
        }
    }
}
