//! Which callers a share of the traffic is.
//!
//! A caller has a place from 0 to 9,999 that depends on nothing but its name, the model and the version on trial. It
//! belongs to a share of so many percent when its place is below that many hundred: it stays where it is on every
//! replica and after every start, a larger share holds the smaller one, and another version begins with other people.

/// Places.
const PLACES: u64 = 10_000;
/// Places of a percent.
const PERCENT: u64 = PLACES / 100;
/// 2^64 divided by the golden ratio: its multiples are spread as evenly as can be.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whether the caller of that name is among `share` percent.
pub(super) fn holds(share: u8, model: &str, version: &str, caller: &str) -> bool {
    place(hash(&[model, version, caller])) < u64::from(share) * PERCENT
}

/// Whether the `turn`-th request is among `share` percent: for requests of which nobody knows whose they are.
pub(super) fn takes(share: u8, turn: u64) -> bool {
    place(turn.wrapping_mul(STRIDE)) < u64::from(share) * PERCENT
}

fn place(hash: u64) -> u64 {
    let scaled = (u128::from(hash) * u128::from(PLACES)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

/// FNV-1a over the parts with a zero byte after each, and mixed: its high bits alone hardly depend on the last bytes.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let folded = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mixed = (folded ^ (folded >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(share: u8, callers: usize, mut holds: impl FnMut(usize) -> bool) -> f64 {
        let held = (0..callers).filter(|caller| holds(*caller)).count();
        held as f64 / callers as f64 - f64::from(share) / 100.0
    }

    proptest! {
        #[test]
        fn a_caller_stays_and_a_larger_share_holds_the_smaller(
            model in "[a-z-]{1,12}", version in "[0-9]{1,3}", caller in ".{0,40}", shares in (0..=100_u8, 0..=100_u8),
        ) {
            let (less, more) = (shares.0.min(shares.1), shares.0.max(shares.1));
            let held = holds(less, &model, &version, &caller);
            prop_assert_eq!(held, holds(less, &model, &version, &caller));
            prop_assert!(!held || holds(more, &model, &version, &caller));
            prop_assert!(holds(100, &model, &version, &caller) && !holds(0, &model, &version, &caller));
        }

        /// Six standard deviations of 4,000 throws.
        #[test]
        fn a_share_of_the_callers_is_that_share(share in 1..=99_u8, model in "[a-z]{1,8}", prefix in "[a-z]{0,8}") {
            let off = count(share, 4_000, |at| holds(share, &model, "2", &format!("{prefix}{at}")));
            let part = f64::from(share) / 100.0;
            prop_assert!(off.abs() <= 6.0 * (part * (1.0 - part) / 4_000.0).sqrt(), "off by {off}");
        }

        /// Much closer than chance: of any hundred requests in a row, as many as the share says, but for two.
        #[test]
        fn turns_are_spread(share in 0..=100_u8, from in 0..1_000_000_u64) {
            let off = count(share, 100, |at| takes(share, from + at as u64));
            prop_assert!(off.abs() <= 0.021, "off by {off}");
        }
    }

    #[test]
    fn places_are_the_same_on_every_replica_and_other_for_every_version() {
        let places = ["ann", "bob", ""].map(|caller| place(hash(&["thyroid-panel", "2", caller])));
        assert_eq!(places, PINNED);
        let first =
            |version| (0..2_000).filter(|at| holds(5, "m", version, &at.to_string())).collect::<Vec<_>>();
        assert_ne!(first("2"), first("3"), "the same people would be first every time");
    }

    const PINNED: [u64; 3] = [783, 558, 4_787];
}
