//! How many requests each tenant has under way. Who is not there now takes no room, so the table is no larger
//! than the requests inside.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    inside: Mutex<HashMap<Arc<str>, usize>>,
}

/// Counts a request of a tenant in for as long as it lives.
pub(crate) struct Seat<'a> {
    tenants: &'a Tenants,
    tenant: Arc<str>,
}

impl Tenants {
    /// A seat for one more request of `tenant`; none when it has `limit` under way.
    pub(crate) fn enter(&self, tenant: &Arc<str>, limit: usize) -> Option<Seat<'_>> {
        let mut inside = self.lock();
        match inside.get_mut(tenant) {
            Some(count) if *count >= limit => return None,
            Some(count) => *count += 1,
            None if limit == 0 => return None,
            None => {
                inside.insert(Arc::clone(tenant), 1);
            }
        }
        Some(Seat { tenants: self, tenant: Arc::clone(tenant) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut inside = self.tenants.lock();
        match inside.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                inside.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_has_more_than_the_limit_and_who_left_is_forgotten(
            limit in 0usize..4, steps in prop::collection::vec((0usize..3, any::<bool>()), 0..60),
        ) {
            let tenants = Tenants::default();
            let names: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
            let mut seats: [Vec<Seat<'_>>; 3] = Default::default();
            for (who, enters) in steps {
                if enters {
                    let seat = tenants.enter(&names[who], limit);
                    prop_assert_eq!(seat.is_some(), seats[who].len() < limit);
                    seats[who].extend(seat);
                } else {
                    seats[who].pop();
                }
                let inside = seats.iter().filter(|seats| !seats.is_empty()).count();
                prop_assert_eq!(tenants.lock().len(), inside);
            }
        }
    }
}
