//! How the models share the processor: each may compute with one instance at any time, and with more only while
//! cores are spare.
//!
//! Models that are busy at once then have as many threads each, and the operating system gives threads equal time;
//! a flood on one model cannot crowd out another by its instances. A model that is alone uses every core.
//! Batches on a caller's own task are too short to be counted.

use std::{
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use crate::pool::Pool;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cores {
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that compute.
    busy: usize,
    /// Pools that were told to wait for a spare core.
    waiting: Vec<Weak<Pool>>,
}

impl Default for Cores {
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, NonZero::get))
    }
}

impl Cores {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, state: Mutex::default() }
    }

    /// Counts `threads` more in, unless the model already computes and no core is spare; `pool` is then told when
    /// one may be.
    pub(crate) fn begin(&self, threads: usize, computes: bool, pool: &Weak<Pool>) -> bool {
        let mut state = self.lock();
        if computes && state.busy + threads > self.count {
            if !state.waiting.iter().any(|other| other.ptr_eq(pool)) {
                state.waiting.push(pool.clone());
            }
            return false;
        }
        state.busy += threads;
        true
    }

    /// Counts `threads` out and wakes who waits for a core.
    pub(crate) fn end(&self, threads: usize) {
        let mut state = self.lock();
        state.busy -= threads;
        let waiting = if state.busy < self.count { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        waiting.iter().filter_map(Weak::upgrade).for_each(|pool| pool.nudge());
    }

    /// Cores that nobody computes on.
    pub(crate) fn spare(&self) -> usize {
        self.count.saturating_sub(self.lock().busy)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Models that begin and end at random: no model is ever kept from its first instance, no core beyond
        /// those is lent twice, and all are given back.
        #[test]
        fn the_first_instance_never_waits_and_spare_cores_are_lent_once(
            count in 1usize..5, steps in prop::collection::vec((0usize..4, any::<bool>()), 0..200),
        ) {
            let (cores, mut running) = (Cores::new(count), [0usize; 4]);
            for (model, starts) in steps {
                if starts {
                    let busy: usize = running.iter().sum();
                    let began = cores.begin(1, running[model] > 0, &Weak::new());
                    prop_assert_eq!(began, running[model] == 0 || busy < count);
                    running[model] += usize::from(began);
                } else if running[model] > 0 {
                    running[model] -= 1;
                    cores.end(1);
                }
                let models = running.iter().filter(|instances| **instances > 0).count();
                prop_assert!(running.iter().sum::<usize>() <= count.max(count - 1 + models));
            }
            running.iter().for_each(|instances| (0..*instances).for_each(|_| cores.end(1)));
            prop_assert_eq!(cores.lock().busy, 0);
        }
    }
}
