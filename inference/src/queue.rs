//! The waiting line of one model version: three priorities, bounded in entries and bytes. Behind each line stands
//! one of those that have waited too long and are to run none the less.

use std::{collections::VecDeque, time::Instant};

use models::Tensor;
use tokio::sync::oneshot;

use crate::{InferError, Priority, monitor::Spans};

/// What a batch gave one of its entries.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Outputs in signature order.
    pub(crate) tensors: Vec<Tensor>,
    /// When the batch began.
    pub(crate) started: Instant,
    /// When the batch was done.
    pub(crate) finished: Instant,
    /// How much of that was not the model.
    pub(crate) spans: Spans,
}

/// Answer channel of an entry.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, InferError>>;

/// One waiting request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// Which of the model's lengths it is filled up to; its cost is learned for each.
    pub(crate) bucket: usize,
    pub(crate) priority: Priority,
    pub(crate) enqueued: Instant,
    /// When its answer is worthless.
    pub(crate) deadline: Instant,
    /// When it has waited too long; none: it may wait until the deadline.
    pub(crate) expires: Option<Instant>,
    pub(crate) reply: Reply,
}

/// Tells a waiting entry from all others of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    priority: Priority,
    number: u64,
}

impl Entry {
    /// Whether rows of `other` can stand below the rows of this one.
    pub(crate) fn joins(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Tensor, &Tensor)| a.shape().get(1..) == b.shape().get(1..);
        self.tensors.iter().zip(&other.tensors).all(alike)
    }
}

/// Those of one priority, in order of arrival, with the number of each.
#[derive(Debug, Default)]
struct Line {
    timely: VecDeque<(u64, Entry)>,
    delayed: VecDeque<(u64, Entry)>,
    rows: usize,
}

/// Entries in order of arrival within each priority.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: [Line; Priority::ALL.len()],
    number: u64,
    depth: usize,
    bytes: usize,
}

impl Queue {
    /// Waiting entries.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes of waiting tensors.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Rows of every priority.
    pub(crate) fn rows(&self) -> usize {
        self.lines.iter().map(|line| line.rows).sum()
    }

    /// Rows that run before a newcomer of `priority`.
    pub(crate) fn rows_before(&self, priority: Priority) -> usize {
        self.lines[..=priority.index()].iter().map(|line| line.rows).sum()
    }

    /// When the oldest entry came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let fronts = self.lines.iter().flat_map(|line| [line.timely.front(), line.delayed.front()]);
        fronts.flatten().map(|(_, entry)| entry.enqueued).min()
    }

    /// Puts `entry` at the end of its line. Bounds are the caller's to check.
    pub(crate) fn push(&mut self, entry: Entry) -> Ticket {
        let (priority, number) = (entry.priority, self.number);
        let line = &mut self.lines[priority.index()];
        self.number += 1;
        self.depth += 1;
        self.bytes += entry.bytes;
        line.rows += entry.rows;
        line.timely.push_back((number, entry));
        Ticket { priority, number }
    }

    /// The entry that is next.
    pub(crate) fn peek(&self) -> Option<&Entry> {
        self.lines.iter().find_map(Line::front)
    }

    /// Takes the entry that is next.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let line = self.lines.iter_mut().find(|line| !line.is_empty())?;
        let (_, entry) = line.timely.pop_front().or_else(|| line.delayed.pop_front())?;
        line.rows -= entry.rows;
        self.forget(&entry);
        Some(entry)
    }

    /// Puts the entry that is next behind all of its priority that are in time. It has no time to expire any more.
    pub(crate) fn delay(&mut self) {
        let Some(line) = self.lines.iter_mut().find(|line| !line.is_empty()) else { return };
        if let Some((number, mut entry)) = line.timely.pop_front() {
            entry.expires = None;
            line.delayed.push_back((number, entry));
        }
    }

    /// Takes the entry of `ticket` out, if it still waits.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<Entry> {
        let line = &mut self.lines[ticket.priority.index()];
        let at = line.timely.binary_search_by_key(&ticket.number, |(number, _)| *number).ok()?;
        let (_, entry) = line.timely.remove(at)?;
        line.rows -= entry.rows;
        self.forget(&entry);
        Some(entry)
    }

    fn forget(&mut self, entry: &Entry) {
        self.depth -= 1;
        self.bytes -= entry.bytes;
    }
}

impl Line {
    fn front(&self) -> Option<&Entry> {
        self.timely.front().or_else(|| self.delayed.front()).map(|(_, entry)| entry)
    }

    fn is_empty(&self) -> bool {
        self.timely.is_empty() && self.delayed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// What happens to the queue.
    #[derive(Debug, Clone)]
    enum Step {
        Push {
            rows: usize,
            priority: usize,
        },
        Pop,
        Delay,
        /// The entry that was pushed so many pushes ago leaves.
        Withdraw(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (1usize..9, 0usize..3).prop_map(|(rows, priority)| Step::Push { rows, priority }),
            2 => Just(Step::Pop),
            1 => Just(Step::Delay),
            1 => (0usize..8).prop_map(Step::Withdraw),
        ]
    }

    /// An entry of `rows` rows; `number` tells it apart and is its age in milliseconds before `now`.
    fn entry(number: usize, rows: usize, priority: usize, now: Instant) -> Entry {
        Entry {
            tensors: vec![Tensor::from_f32(vec![rows, 1], &vec![number as f32; rows]).expect("shape")],
            rows,
            bytes: rows * 4,
            bucket: 0,
            priority: Priority::ALL[priority],
            enqueued: now + Duration::from_millis(number as u64),
            deadline: now + Duration::from_secs(60),
            expires: None,
            reply: oneshot::channel().0,
        }
    }

    proptest! {
        /// The queue against a plain list that is sorted each time: what is next, and every count.
        #[test]
        fn the_lines_are_a_list_in_order_of_urgency_and_arrival(steps in prop::collection::vec(step(), 0..60)) {
            let now = Instant::now();
            let (mut queue, mut tickets, mut delays) = (Queue::default(), Vec::new(), 0);
            // Priority, 0 or the place among the delayed, number, rows.
            let mut list: Vec<(usize, usize, usize, usize)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                list.sort_unstable();
                match step {
                    Step::Push { rows, priority } => {
                        tickets.push((number, queue.push(entry(number, rows, priority, now))));
                        list.push((priority, 0, number, rows));
                    }
                    Step::Pop => {
                        let first = (!list.is_empty()).then(|| list.remove(0));
                        let peeked = queue.peek().map(|entry| (entry.priority.index(), entry.rows));
                        prop_assert_eq!(peeked, first.map(|(priority, _, _, rows)| (priority, rows)));
                        let popped = queue.pop().map(|entry| entry.enqueued);
                        let expected = first.map(|(_, _, number, _)| now + Duration::from_millis(number as u64));
                        prop_assert_eq!(popped, expected);
                    }
                    Step::Delay => {
                        queue.delay();
                        if let Some(first) = list.first_mut().filter(|first| first.1 == 0) {
                            delays += 1;
                            first.1 = delays;
                        }
                    }
                    Step::Withdraw(ago) => {
                        let Some((number, ticket)) = tickets.iter().rev().nth(ago).copied() else { continue };
                        let at = list.iter().position(|entry| entry.1 == 0 && entry.2 == number);
                        let left = queue.withdraw(ticket).map(|entry| entry.rows);
                        prop_assert_eq!(left, at.map(|at| list.remove(at).3));
                    }
                }
                let rows: usize = list.iter().map(|entry| entry.3).sum();
                prop_assert_eq!((queue.depth(), queue.rows(), queue.bytes()), (list.len(), rows, rows * 4));
                prop_assert_eq!(queue.is_empty(), list.is_empty());
                for priority in Priority::ALL {
                    let before = list.iter().filter(|entry| entry.0 <= priority.index());
                    prop_assert_eq!(queue.rows_before(priority), before.map(|entry| entry.3).sum::<usize>());
                }
                // A delayed entry is older than the delayed behind it only within its line.
                list.sort_unstable();
                let fronts = |delayed: bool| {
                    let list = &list;
                    (0..3).filter_map(move |line| {
                        list.iter().find(|entry| entry.0 == line && (entry.1 > 0) == delayed).map(|entry| entry.2)
                    })
                };
                let oldest = fronts(false).chain(fronts(true)).min();
                let oldest = oldest.map(|number| now + Duration::from_millis(number as u64));
                prop_assert_eq!(queue.oldest(), oldest);
            }
        }
    }

    #[test]
    fn rows_of_another_shape_do_not_stand_together() {
        let now = Instant::now();
        let with = |shape: &[usize]| {
            let count = shape.iter().product();
            let tensor = Tensor::from_f32(shape.to_vec(), &vec![0.0; count]).expect("shape");
            Entry { tensors: vec![tensor], ..entry(0, 1, 0, now) }
        };
        assert!(with(&[1, 2, 3]).joins(&with(&[7, 2, 3])), "only the number of rows may differ");
        for other in [&[1, 3, 2][..], &[1, 6], &[1, 2, 3, 1]] {
            assert!(!with(&[1, 2, 3]).joins(&with(other)), "{other:?}");
        }
    }
}
