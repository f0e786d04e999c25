//! The waiting line of one model version: three priorities, bounded in entries and bytes.

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
    pub(crate) priority: Priority,
    pub(crate) enqueued: Instant,
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
}

impl Entry {
    /// Whether rows of `other` can stand below the rows of this one.
    pub(crate) fn joins(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Tensor, &Tensor)| a.shape().get(1..) == b.shape().get(1..);
        self.tensors.iter().zip(&other.tensors).all(alike)
    }
}

/// Entries in order of arrival within each priority.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: [VecDeque<Entry>; Priority::ALL.len()],
    rows: [usize; Priority::ALL.len()],
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
        self.rows.iter().sum()
    }

    /// Rows that run before a newcomer of `priority`.
    pub(crate) fn rows_before(&self, priority: Priority) -> usize {
        self.rows[..=priority.index()].iter().sum()
    }

    /// When the oldest entry came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lines.iter().filter_map(|line| line.front()).map(|entry| entry.enqueued).min()
    }

    /// Puts `entry` at the end of its line. Bounds are the caller's to check.
    pub(crate) fn push(&mut self, entry: Entry) {
        let index = entry.priority.index();
        self.rows[index] += entry.rows;
        self.depth += 1;
        self.bytes += entry.bytes;
        self.lines[index].push_back(entry);
    }

    /// The entry that is next.
    pub(crate) fn peek(&self) -> Option<&Entry> {
        self.lines.iter().find_map(VecDeque::front)
    }

    /// Takes the entry that is next.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let index = self.lines.iter().position(|line| !line.is_empty())?;
        let entry = self.lines[index].pop_front()?;
        self.rows[index] -= entry.rows;
        self.depth -= 1;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// An entry of `rows` rows; `number` tells it apart and is its age in milliseconds before `now`.
    fn entry(number: usize, rows: usize, priority: usize, now: Instant) -> Entry {
        Entry {
            tensors: vec![Tensor::from_f32(vec![rows, 1], &vec![number as f32; rows]).expect("shape")],
            rows,
            bytes: rows * 4,
            priority: Priority::ALL[priority],
            enqueued: now + Duration::from_millis(number as u64),
            deadline: now + Duration::from_secs(60),
            reply: oneshot::channel().0,
        }
    }

    proptest! {
        /// The queue against a plain list that is sorted each time: what is next, and every count.
        #[test]
        fn the_lines_are_a_list_in_order_of_urgency_and_arrival(
            steps in prop::collection::vec(prop::option::weighted(0.6, (1usize..9, 0usize..3)), 0..60),
        ) {
            let now = Instant::now();
            let (mut queue, mut list) = (Queue::default(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some((rows, priority)) => {
                        queue.push(entry(number, rows, priority, now));
                        list.push((priority, number, rows));
                    }
                    None => {
                        list.sort_unstable();
                        let first = (!list.is_empty()).then(|| list.remove(0));
                        let peeked = queue.peek().map(|entry| (entry.priority.index(), entry.rows));
                        prop_assert_eq!(peeked, first.map(|(priority, _, rows)| (priority, rows)));
                        let popped = queue.pop().map(|entry| entry.enqueued);
                        let expected = first.map(|(_, number, _)| now + Duration::from_millis(number as u64));
                        prop_assert_eq!(popped, expected);
                    }
                }
                let rows: usize = list.iter().map(|(_, _, rows)| rows).sum();
                prop_assert_eq!((queue.depth(), queue.rows(), queue.bytes()), (list.len(), rows, rows * 4));
                prop_assert_eq!(queue.is_empty(), list.is_empty());
                for priority in Priority::ALL {
                    let before = list.iter().filter(|(other, _, _)| *other <= priority.index());
                    prop_assert_eq!(queue.rows_before(priority), before.map(|(_, _, rows)| rows).sum::<usize>());
                }
                let oldest = list.iter().map(|(_, number, _)| *number).min();
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
