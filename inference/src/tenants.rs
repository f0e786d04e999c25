//! What each tenant has under way, and how fast it asks. Who neither is there nor was a moment ago takes no room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Tenants in the table before it is looked through for those who have gone.
const SWEEP_FROM: usize = 1_024;
/// How much a tenant may ask at once, in time at its rate.
const BURST: Duration = Duration::from_secs(1);

/// What one tenant may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    /// Requests under way at once.
    pub(crate) at_once: usize,
    /// Requests a second, as many of them at once as come in a second; 0: as many as it likes.
    pub(crate) per_s: u32,
}

/// Why a tenant has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// It has as many requests under way as it may.
    AtOnce,
    /// It asks too fast; the next request is due after this.
    TooFast(Duration),
}

#[derive(Debug, Default)]
struct Tenant {
    inside: usize,
    /// When all it has asked would have been asked at its rate (generic cell rate algorithm, ITU-T I.371).
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct Table {
    tenants: HashMap<Arc<str>, Tenant>,
    /// Size at which those who have gone are looked for again.
    sweep_at: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<Table>);

/// Counts a request of a tenant in for as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    tenants: &'a Tenants,
    tenant: Arc<str>,
}

impl Tenants {
    /// A seat for one more request of `tenant` at `now`, if its quota has one.
    pub(crate) fn enter(&self, tenant: &Arc<str>, quota: Quota, now: Instant) -> Result<Seat<'_>, Full> {
        let mut table = self.lock();
        table.sweep(now);
        let known = table.tenants.get(tenant);
        if known.map_or(0, |known| known.inside) >= quota.at_once {
            return Err(Full::AtOnce);
        }
        let due = next_due(known.and_then(|known| known.due), quota.per_s, now)?;
        let known = table.tenants.entry(Arc::clone(tenant)).or_default();
        known.inside += 1;
        known.due = due;
        Ok(Seat { tenants: self, tenant: Arc::clone(tenant) })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When everything is due with one request more at `now`.
fn next_due(due: Option<Instant>, per_s: u32, now: Instant) -> Result<Option<Instant>, Full> {
    if per_s == 0 {
        return Ok(None);
    }
    let pause = Duration::from_secs(1) / per_s;
    let due = due.unwrap_or(now).max(now);
    match (due + pause).checked_duration_since(now + BURST) {
        Some(early) if !early.is_zero() => Err(Full::TooFast(early)),
        _ => Ok(Some(due + pause)),
    }
}

impl Table {
    fn sweep(&mut self, now: Instant) {
        if self.tenants.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.tenants.retain(|_, tenant| tenant.inside > 0 || tenant.due.is_some_and(|due| due > now));
        self.sweep_at = self.tenants.len() * 2;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut table = self.tenants.lock();
        let Some(tenant) = table.tenants.get_mut(&self.tenant) else { return };
        tenant.inside -= 1;
        // Whose rate counts is remembered until it no longer does.
        if tenant.inside == 0 && tenant.due.is_none() {
            table.tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> [Arc<str>; 3] {
        ["a".into(), "b".into(), "c".into()]
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_the_limit_and_who_left_is_forgotten(
            at_once in 0usize..4, steps in prop::collection::vec((0usize..3, any::<bool>()), 0..60),
        ) {
            let (tenants, names, now) = (Tenants::default(), names(), Instant::now());
            let mut seats: [Vec<Seat<'_>>; 3] = Default::default();
            for (who, enters) in steps {
                if enters {
                    let seat = tenants.enter(&names[who], Quota { at_once, per_s: 0 }, now);
                    prop_assert_eq!(seat.is_ok(), seats[who].len() < at_once);
                    seats[who].extend(seat);
                } else {
                    seats[who].pop();
                }
                let inside = seats.iter().filter(|seats| !seats.is_empty()).count();
                prop_assert_eq!(tenants.lock().tenants.len(), inside);
            }
        }

        #[test]
        fn nobody_is_answered_faster_than_its_rate_and_who_waits_as_told_is_answered(
            per_s in 1u32..200, waits_ms in prop::collection::vec(0u64..400, 1..200),
        ) {
            let (tenants, names, start) = (Tenants::default(), names(), Instant::now());
            let quota = Quota { at_once: 1, per_s };
            let (mut now, mut answered) = (start, Vec::new());
            for wait_ms in waits_ms {
                now += Duration::from_millis(wait_ms);
                match tenants.enter(&names[0], quota, now) {
                    Ok(_) => answered.push(now),
                    Err(Full::TooFast(wait)) => {
                        prop_assert!(tenants.enter(&names[0], quota, now + wait).is_ok(), "as told");
                        answered.push(now + wait);
                        now += wait;
                    }
                    Err(Full::AtOnce) => prop_assert!(false, "nobody is inside"),
                }
            }
            for (at, first) in answered.iter().enumerate() {
                let second = answered[at..].iter().filter(|next| **next < *first + Duration::from_secs(1));
                prop_assert!(second.count() <= 2 * per_s as usize, "a burst and a second at the rate");
            }
        }
    }

    #[test]
    fn who_has_gone_is_forgotten_when_the_table_has_grown() {
        let (tenants, start) = (Tenants::default(), Instant::now());
        let quota = Quota { at_once: 1, per_s: 1_000 };
        for number in 0..SWEEP_FROM * 3 {
            let name: Arc<str> = number.to_string().into();
            let now = start + Duration::from_millis(number as u64 * 10);
            assert!(tenants.enter(&name, quota, now).is_ok());
            assert!(tenants.lock().tenants.len() <= SWEEP_FROM);
        }
    }
}
