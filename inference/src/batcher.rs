//! Which waiting requests go into the next batch. A pure function of the queue, the limits
//! and the time, so that every rule is tested without threads.
//!
//! Rules: more urgent first, first come first served within a priority, never more rows than
//! the limit, only rows of equal shape together, and nobody is overtaken because a later
//! request happens to fit better. Entries whose caller is gone, whose deadline has passed or would pass before
//! their batch is done leave the queue without being run; a batch stops growing where one of its members would
//! be late. Who has waited longer than the model's policy allows leaves too, or goes to the end of the line.

use std::time::{Duration, Instant};

use crate::{
    cost::Cost,
    queue::{Entry, Queue},
};

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Rows that the model takes at once; an entry with more is refused before the queue.
    pub(crate) rows_max: usize,
    /// Whether who has waited too long runs behind the others instead of not at all.
    pub(crate) delays: bool,
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
    /// The earliest deadline of the batch.
    until: Option<Instant>,
}

impl Plan {
    /// Whether `next` can join without making anybody late.
    fn takes(&self, next: &Entry, limits: BatchLimits, done: Instant) -> bool {
        self.rows + next.rows <= limits.rows_max
            && self.batch.first().is_none_or(|first| first.joins(next))
            && self.until.is_none_or(|until| done < until)
            && done < next.deadline
    }
}

/// Takes the next batch from `queue`, together with the dead entries met on the way.
pub(crate) fn form_batch(queue: &mut Queue, limits: BatchLimits, cost: &Cost, now: Instant) -> Plan {
    let mut plan = Plan::default();
    let after = |rows: usize| now + cost.estimate(rows).unwrap_or(Duration::ZERO);
    while let Some(next) = queue.peek() {
        let overdue = next.expires.is_some_and(|expires| expires <= now);
        let gone = next.reply.is_closed();
        if overdue && limits.delays && !gone {
            queue.delay();
            continue;
        }
        let hopeless = next.deadline <= after(next.rows);
        let dead = gone || overdue || hopeless;
        // An entry alone always goes, else one that is too large would block the line for ever.
        if !dead && !plan.batch.is_empty() && !plan.takes(next, limits, after(plan.rows + next.rows)) {
            break;
        }
        let Some(entry) = queue.pop() else { break };
        if gone {
            plan.abandoned += 1;
        } else if dead {
            if hopeless && entry.deadline > now {
                cost.doubt(entry.rows);
            }
            plan.expired.push(entry);
        } else {
            plan.rows += entry.rows;
            plan.until = Some(plan.until.map_or(entry.deadline, |until| until.min(entry.deadline)));
            plan.batch.push(entry);
        }
    }
    plan
}

/// Rows of the next batch when `waiting` rows wait for a model that runs some numbers of rows best: the most of
/// them that are there, else all.
pub(crate) fn preferred(preferred_rows: &[usize], waiting: usize, rows_max: usize) -> usize {
    let best = preferred_rows.iter().rev().find(|rows| **rows <= waiting.min(rows_max));
    best.copied().unwrap_or(rows_max)
}

#[cfg(test)]
mod tests {
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
        Overdue,
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
                bucket: 0,
                priority: Priority::ALL[case.priority],
                enqueued: now,
                deadline: if late { now } else { now + Duration::from_secs(1) },
                expires: (case.fate == Fate::Overdue).then_some(now),
                reply,
            });
        }
        (queue, receivers)
    }

    fn case() -> impl Strategy<Value = Case> {
        let fate = prop_oneof![
            6 => Just(Fate::Alive), 1 => Just(Fate::Expired), 1 => Just(Fate::Overdue), 1 => Just(Fate::Abandoned),
        ];
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
            delays: bool,
        ) {
            let now = Instant::now();
            let (mut queue, _receivers) = queue_of(&cases, now);
            let cost = Cost::default();
            let (mut ran, mut expired, mut abandoned) = (Vec::new(), Vec::new(), 0);
            while !queue.is_empty() {
                let plan = form_batch(&mut queue, BatchLimits { rows_max, delays }, &cost, now);
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
            let runs = |case: &Case| case.fate == Fate::Alive || (delays && case.fate == Fate::Overdue);
            let mut want: Vec<usize> = (0..cases.len()).filter(|id| runs(&cases[*id])).collect();
            want.sort_by_key(|id| (cases[*id].priority, cases[*id].fate == Fate::Overdue, *id));
            prop_assert_eq!(ran, want);
            expired.sort_unstable();
            let is_late = |case: &Case| case.fate == Fate::Expired || (!delays && case.fate == Fate::Overdue);
            let late: Vec<usize> = (0..cases.len()).filter(|id| is_late(&cases[*id])).collect();
            prop_assert_eq!(expired, late);
            prop_assert_eq!(abandoned, of(Fate::Abandoned).count());
            prop_assert_eq!((queue.depth(), queue.rows(), queue.bytes()), (0, 0, 0));
        }
    }

    #[test]
    fn a_batch_takes_all_that_fit() {
        let now = Instant::now();
        let alive = |rows| Case { rows, width: 1, priority: 1, fate: Fate::Alive };
        let (mut queue, _receivers) = queue_of(&[alive(3), alive(4), alive(2), alive(1)], now);
        let plan = form_batch(&mut queue, EIGHT, &Cost::default(), now);
        assert_eq!(plan.batch.len(), 2, "the third does not fit, and the fourth must not overtake it");
        assert_eq!(queue.depth(), 2);
    }

    const EIGHT: BatchLimits = BatchLimits { rows_max: 8, delays: false };

    /// One alive entry of `rows` rows for each deadline in milliseconds.
    fn due(deadlines: &[u64], rows: usize, now: Instant) -> (Queue, Receivers) {
        let alive = Case { rows, width: 1, priority: 1, fate: Fate::Alive };
        let (mut from, receivers) = queue_of(&vec![alive; deadlines.len()], now);
        let mut queue = Queue::default();
        for milliseconds in deadlines {
            let entry = from.pop().expect("one for each");
            queue.push(Entry { deadline: now + Duration::from_millis(*milliseconds), ..entry });
        }
        (queue, receivers)
    }

    /// A model that takes 10 ms and 1 ms for each row.
    fn eleven() -> Cost {
        let cost = Cost::default();
        cost.observe(1, Duration::from_millis(11));
        cost.observe(8, Duration::from_millis(18));
        cost
    }

    #[test]
    fn what_cannot_be_done_in_time_is_told_so_before_it_runs() {
        let now = Instant::now();
        let (mut queue, _receivers) = due(&[10, 60, 5, 60], 1, now);
        let plan = form_batch(&mut queue, EIGHT, &eleven(), now);
        assert_eq!((plan.batch.len(), plan.expired.len()), (2, 2));
    }

    #[test]
    fn a_batch_grows_only_as_far_as_its_most_urgent_member_has_time() {
        let now = Instant::now();
        let (mut queue, _receivers) = due(&[60, 14, 60, 60, 60], 1, now);
        let plan = form_batch(&mut queue, EIGHT, &eleven(), now);
        assert_eq!(plan.batch.len(), 3, "four rows take 14 ms");
        assert_eq!(form_batch(&mut queue, EIGHT, &eleven(), now).batch.len(), 2);
    }

    #[test]
    fn refusals_on_a_wrong_estimate_end() {
        let now = Instant::now();
        let cost = eleven();
        let refused = (0..1000).take_while(|_| {
            let (mut queue, _receivers) = due(&[5], 1, now);
            form_batch(&mut queue, EIGHT, &cost, now).batch.is_empty()
        });
        assert!((10..200).contains(&refused.count()));
    }

    #[test]
    fn the_largest_preferred_number_that_waits_is_taken() {
        for (waiting, want) in [(1, 32), (3, 32), (4, 4), (11, 8), (16, 16), (100, 16)] {
            assert_eq!(preferred(&[4, 8, 16], waiting, 32), want, "{waiting} wait");
        }
        assert_eq!(preferred(&[4, 8, 16], 100, 10), 8, "never more than the limit");
        assert_eq!(preferred(&[], 100, 32), 32);
    }
}
