//! The lines of one model version: one for each length to which its requests are filled up, so that a request waits
//! beside those that it can run with, and not behind one of another length. The line whose next entry is the most urgent,
//! and of those the oldest, is served first: nobody waits for ever beside a busy length.

use std::time::Instant;

use crate::{
    Priority,
    queue::{Entry, Queue, Ticket},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Queues(Vec<Queue>);

/// Finds a waiting entry again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    line: usize,
    ticket: Ticket,
}

impl Default for Queues {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Queues {
    /// So many empty lines, at least one.
    pub(crate) fn new(lines: usize) -> Self {
        Self(std::iter::repeat_with(Queue::default).take(lines.max(1)).collect())
    }

    /// Waiting entries.
    pub(crate) fn depth(&self) -> usize {
        self.0.iter().map(Queue::depth).sum()
    }

    /// Bytes of waiting tensors.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(Queue::bytes).sum()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Queue::is_empty)
    }

    /// When the oldest entry came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.0.iter().filter_map(Queue::oldest).min()
    }

    /// The line to be served next, if anybody waits.
    pub(crate) fn next(&self) -> Option<usize> {
        if let [only] = &self.0[..] {
            return (!only.is_empty()).then_some(0);
        }
        let next = |(line, queue): (usize, &Queue)| {
            queue.peek().map(|entry| (entry.priority.index(), entry.enqueued, line))
        };
        self.0.iter().enumerate().filter_map(next).min().map(|(_, _, line)| line)
    }

    /// One line.
    pub(crate) fn line(&mut self, line: usize) -> Option<&mut Queue> {
        self.0.get_mut(line)
    }

    /// Rows that wait in one line.
    pub(crate) fn rows(&self, line: usize) -> usize {
        self.0.get(line).map_or(0, Queue::rows)
    }

    /// For each line, rows that run before a newcomer of `priority`.
    pub(crate) fn rows_before(&self, priority: Priority) -> impl Iterator<Item = usize> {
        self.0.iter().map(move |queue| queue.rows_before(priority))
    }

    /// Puts `entry` at the end of its line; what is beyond the last line waits in that. Bounds are the caller's to check.
    pub(crate) fn push(&mut self, line: usize, entry: Entry) -> Option<Place> {
        let line = line.min(self.0.len() - 1);
        let ticket = self.0.get_mut(line)?.push(entry);
        Some(Place { line, ticket })
    }

    /// Takes any entry.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.0.iter_mut().find_map(Queue::pop)
    }

    /// Takes the entry at `place` out, if it still waits.
    pub(crate) fn withdraw(&mut self, place: Place) -> Option<Entry> {
        self.0.get_mut(place.line)?.withdraw(place.ticket)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use models::Tensor;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn the_most_urgent_line_is_next_and_then_the_oldest() {
        let now = Instant::now();
        let entry = |age: u64, priority| Entry {
            tensors: vec![Tensor::from_f32(vec![1, 1], &[0.0]).expect("shape")],
            rows: 1,
            bytes: 4,
            bucket: 0,
            priority,
            enqueued: now - Duration::from_millis(age),
            deadline: now + Duration::from_secs(1),
            expires: None,
            reply: oneshot::channel().0,
        };
        let mut queues = Queues::new(3);
        assert_eq!(queues.next(), None);
        queues.push(0, entry(5, Priority::Interactive));
        queues.push(1, entry(9, Priority::Interactive));
        let urgent = queues.push(7, entry(1, Priority::Critical)).expect("a line");
        assert_eq!((queues.next(), queues.depth(), queues.rows(2)), (Some(2), 3, 1));
        assert_eq!(queues.oldest(), Some(now - Duration::from_millis(9)));
        assert!(queues.withdraw(urgent).is_some() && queues.withdraw(urgent).is_none());
        assert_eq!(queues.next(), Some(1));
        assert_eq!(queues.rows_before(Priority::Bulk).collect::<Vec<_>>(), [1, 1, 0]);
        while queues.pop().is_some() {}
        assert!(queues.is_empty() && queues.bytes() == 0);
    }
}
