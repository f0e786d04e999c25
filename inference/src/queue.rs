//! The waiting line of one model version: three priorities, bounded in entries and bytes.

use std::{collections::VecDeque, time::Instant};

use models::Tensor;
use tokio::sync::oneshot;

use crate::{InferError, Priority};

/// What a batch gave one of its entries.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Outputs in signature order.
    pub(crate) tensors: Vec<Tensor>,
    /// When the batch began.
    pub(crate) started: Instant,
    /// When the batch was done.
    pub(crate) finished: Instant,
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
