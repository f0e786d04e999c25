//! The distribution of a stream in bounded memory: the sketch of Karnin, Lang and Liberty (2016).
//!
//! Values lie in levels; one in level *l* stands for 2^l values. A level that is full is sorted and every other value of
//! it, beginning with the first or the second by a throw of a coin, moves up. Values that repeat are kept as they are,
//! so that yes and no are told apart exactly as well as concentrations. With [`TOP`] = 200 a share is off by about one
//! in a hundred.

/// Values of the highest level.
const TOP: usize = 200;
/// Fewest values of a level.
const LEVEL_MIN: usize = 8;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sketch {
    levels: Vec<Vec<f32>>,
    count: u64,
    coin: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { levels: vec![Vec::new()], count: 0, coin: 0x9E37_79B9_7F4A_7C15 }
    }
}

impl Sketch {
    /// Takes in a finite value.
    pub(crate) fn add(&mut self, value: f32) {
        if let Some(lowest) = self.levels.first_mut() {
            lowest.push(value);
            self.count += 1;
        }
        if self.levels.first().is_some_and(|lowest| lowest.len() >= self.room(0)) {
            self.compact();
        }
    }

    /// Values taken in.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Share of the values that are at most `limit`; 0 without values.
    pub(crate) fn share_to(&self, limit: f32) -> f64 {
        let below = |level: &Vec<f32>| level.iter().filter(|value| **value <= limit).count() as u64;
        let weights = self.levels.iter().enumerate().map(|(at, level)| below(level) << at);
        weights.sum::<u64>() as f64 / self.count.max(1) as f64
    }

    /// The value below which `share` of the values lie; none without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<f32> {
        let weighed = |(at, level): (usize, &Vec<f32>)| {
            level.iter().map(move |value| (*value, 1_u64 << at)).collect::<Vec<_>>()
        };
        let mut values: Vec<(f32, u64)> = self.levels.iter().enumerate().flat_map(weighed).collect();
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (wanted, mut passed) = (share * self.count as f64, 0_u64);
        let reached = |(_, weight): &&(f32, u64)| {
            passed += weight;
            passed as f64 >= wanted
        };
        values.iter().find(reached).or(values.last()).map(|(value, _)| *value)
    }

    /// Values that a level may hold: a third less for every level above it.
    fn room(&self, level: usize) -> usize {
        let above = self.levels.len().saturating_sub(level + 1);
        let room = TOP as f64 * (2.0_f64 / 3.0).powi(i32::try_from(above).unwrap_or(i32::MAX));
        (room.ceil() as usize).max(LEVEL_MIN)
    }

    fn compact(&mut self) {
        let mut at = 0;
        while self.levels.get(at).is_some_and(|level| level.len() >= self.room(at)) {
            let second = self.toss();
            if self.levels.len() == at + 1 {
                self.levels.push(Vec::new());
            }
            let mut full = self.levels.get_mut(at).map(std::mem::take).unwrap_or_default();
            full.sort_unstable_by(f32::total_cmp);
            // Of an odd number one stays, so that the weights go on adding up to the count.
            let odd = if full.len() % 2 == 1 { full.pop() } else { None };
            if let Some(level) = self.levels.get_mut(at) {
                level.extend(odd);
            }
            if let Some(above) = self.levels.get_mut(at + 1) {
                above.extend(full.into_iter().skip(usize::from(second)).step_by(2));
            }
            at += 1;
        }
    }

    /// Marsaglia's xorshift: the same stream gives the same sketch.
    fn toss(&mut self) -> bool {
        self.coin ^= self.coin << 13;
        self.coin ^= self.coin >> 7;
        self.coin ^= self.coin << 17;
        self.coin >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = f32>) -> Sketch {
        let mut sketch = Sketch::default();
        values.into_iter().for_each(|value| sketch.add(value));
        sketch
    }

    fn kept(sketch: &Sketch) -> usize {
        sketch.levels.iter().map(Vec::len).sum()
    }

    #[test]
    fn an_empty_sketch_has_no_share_and_no_quantile() {
        assert_eq!((Sketch::default().share_to(1.0), Sketch::default().quantile(0.5)), (0.0, None));
    }

    #[test]
    fn yes_and_no_are_counted_nearly_exactly() {
        let sketch = of((0..100_000).map(|at| if at % 10 < 3 { 1.0 } else { 0.0 }));
        assert!((sketch.share_to(0.0) - 0.7).abs() < 0.02 && sketch.share_to(1.0) == 1.0);
        assert_eq!((sketch.quantile(0.5), sketch.quantile(0.9)), (Some(0.0), Some(1.0)));
        assert!(kept(&sketch) < 1_000, "{}", kept(&sketch));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn shares_are_near_in_any_order(
            values in prop::collection::vec(-100i16..100, 1..6_000), order in 0u8..3, limit in -110i16..110,
        ) {
            let mut values = values;
            match order {
                0 => {}
                1 => values.sort_unstable(),
                _ => values.sort_unstable_by(|a, b| b.cmp(a)),
            }
            let sketch = of(values.iter().map(|value| f32::from(*value)));
            let truth = values.iter().filter(|value| **value <= limit).count() as f64 / values.len() as f64;
            let share = sketch.share_to(f32::from(limit));
            prop_assert!((share - truth).abs() < 0.03, "{share} {truth}");
            prop_assert_eq!(sketch.count(), values.len() as u64);
            let weights: u64 = sketch.levels.iter().enumerate().map(|(at, level)| (level.len() as u64) << at).sum();
            prop_assert_eq!(weights, sketch.count());
            prop_assert!(kept(&sketch) < 1_000);
            let median = sketch.quantile(0.5).expect("not empty");
            let below = values.iter().filter(|value| f32::from(**value) < median).count() as f64;
            prop_assert!(below / (values.len() as f64) < 0.54);
        }
    }
}
