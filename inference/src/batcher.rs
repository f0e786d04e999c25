//! Which waiting requests go into the next batch. A pure function of the queue, the limits
//! and the time, so that every rule is tested without threads.
//!
//! Rules: more urgent first, first come first served within a priority, never more rows than
//! the limit, only rows of equal shape together, and nobody is overtaken because a later
//! request happens to fit better. Entries whose caller is gone or whose deadline has passed
//! leave the queue without being run.

use std::time::Instant;

use crate::queue::{Entry, Queue};

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Rows that the model takes at once; an entry with more is refused before the queue.
    pub(crate) rows_max: usize,
}

/// What to do with the entries taken from the queue.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// To run together, in order.
    pub(crate) batch: Vec<Entry>,
    /// Rows of the batch.
    pub(crate) rows: usize,
    /// Too late: to be told so.
    pub(crate) expired: Vec<Entry>,
    /// Number of entries whose caller has gone.
    pub(crate) abandoned: usize,
}

/// Takes the next batch from `queue`, together with the dead entries met on the way.
pub(crate) fn form_batch(queue: &mut Queue, limits: BatchLimits, now: Instant) -> Plan {
    let mut plan = Plan::default();
    while let Some(next) = queue.peek() {
        let dead = next.reply.is_closed() || next.deadline <= now;
        let fits = plan.rows + next.rows <= limits.rows_max
            && plan.batch.first().is_none_or(|first| first.joins(next));
        // An entry alone always goes, else one that is too large would block the line for ever.
        if !dead && !fits && !plan.batch.is_empty() {
            break;
        }
        let Some(entry) = queue.pop() else { break };
        if entry.reply.is_closed() {
            plan.abandoned += 1;
        } else if dead {
            plan.expired.push(entry);
        } else {
            plan.rows += entry.rows;
            plan.batch.push(entry);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use models::Tensor;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;
    use crate::{Priority, queue::Outcome};

    #[derive(Debug, Clone)]
    struct Case {
        rows: usize,
        width: usize,
        priority: usize,
        fate: Fate,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Alive,
        Expired,
        Abandoned,
    }

    type Receivers = Vec<oneshot::Receiver<Result<Outcome, crate::InferError>>>;

    fn queue_of(cases: &[Case], now: Instant) -> (Queue, Receivers) {
        let (mut queue, mut receivers) = (Queue::default(), Vec::new());
        for (id, case) in cases.iter().enumerate() {
            let (reply, receiver) = oneshot::channel();
            if case.fate != Fate::Abandoned {
                receivers.push(receiver);
            }
            let late = case.fate == Fate::Expired;
            let values = vec![id as f32; case.rows * case.width];
            queue.push(Entry {
                tensors: vec![Tensor::from_f32(vec![case.rows, case.width], &values).expect("shape")],
                rows: case.rows,
                // The identity travels in `bytes`, which the batcher only adds up.
                bytes: id,
                priority: Priority::ALL[case.priority],
                enqueued: now,
                deadline: if late { now } else { now + Duration::from_secs(1) },
                reply,
            });
        }
        (queue, receivers)
    }

    fn case() -> impl Strategy<Value = Case> {
        let fate = prop_oneof![6 => Just(Fate::Alive), 1 => Just(Fate::Expired), 1 => Just(Fate::Abandoned)];
        (1..=8usize, 1..=2usize, 0..3usize, fate).prop_map(|(rows, width, priority, fate)| Case {
            rows,
            width,
            priority,
            fate,
        })
    }

    proptest! {
        #[test]
        fn no_entry_is_lost_doubled_or_overtaken(
            cases in prop::collection::vec(case(), 0..40),
            rows_max in 8..20usize,
        ) {
            let now = Instant::now();
            let (mut queue, _receivers) = queue_of(&cases, now);
            let (mut ran, mut expired, mut abandoned) = (Vec::new(), Vec::new(), 0);
            while !queue.is_empty() {
                let plan = form_batch(&mut queue, BatchLimits { rows_max }, now);
                let rows: usize = plan.batch.iter().map(|entry| entry.rows).sum();
                prop_assert_eq!(rows, plan.rows);
                prop_assert!(rows <= rows_max);
                prop_assert!(plan.batch.windows(2).all(|pair| pair[0].joins(&pair[1])));
                prop_assert!(!plan.batch.is_empty() || queue.is_empty());
                ran.extend(plan.batch.iter().map(|entry| entry.bytes));
                expired.extend(plan.expired.iter().map(|entry| entry.bytes));
                abandoned += plan.abandoned;
            }
            let of = |fate| cases.iter().enumerate().filter(move |(_, case)| case.fate == fate);
            let mut want: Vec<usize> = of(Fate::Alive).map(|(id, _)| id).collect();
            want.sort_by_key(|id| (cases[*id].priority, *id));
            prop_assert_eq!(ran, want);
            expired.sort_unstable();
            prop_assert_eq!(expired, of(Fate::Expired).map(|(id, _)| id).collect::<Vec<_>>());
            prop_assert_eq!(abandoned, of(Fate::Abandoned).count());
            prop_assert_eq!((queue.depth(), queue.rows(), queue.bytes()), (0, 0, 0));
        }
    }

    #[test]
    fn a_batch_takes_all_that_fit() {
        let now = Instant::now();
        let alive = |rows| Case { rows, width: 1, priority: 1, fate: Fate::Alive };
        let (mut queue, _receivers) = queue_of(&[alive(3), alive(4), alive(2), alive(1)], now);
        let plan = form_batch(&mut queue, BatchLimits { rows_max: 8 }, now);
        assert_eq!(plan.batch.len(), 2, "the third does not fit, and the fourth must not overtake it");
        assert_eq!(queue.depth(), 2);
    }
}
