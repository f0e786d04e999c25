//! Mini-batches: every row once an epoch, in an order that only the seed decides.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Row numbers `0..rows` shuffled and cut into batches of `size`. A rest shorter than half a batch joins
/// the last one, since the slope of a handful of rows is mostly noise.
#[must_use]
pub fn batches(rows: usize, size: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(rng);
    let size = size.max(1);
    let mut cut: Vec<Vec<usize>> = order.chunks(size).map(<[usize]>::to_vec).collect();
    if cut.len() > 1 && cut.last().is_some_and(|rest| rest.len() * 2 < size) {
        let rest = cut.pop().unwrap_or_default();
        if let Some(last) = cut.last_mut() {
            last.extend(rest);
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn every_row_comes_once_an_epoch(rows in 0usize..200, size in 1usize..50, seed in any::<u64>()) {
            let cut = batches(rows, size, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut all = cut.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
            prop_assert!(cut.len() < 2 || cut.iter().all(|b| b.len() * 2 >= size && b.len() * 2 < 3 * size));
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        let draw = |seed| batches(100, 10, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
