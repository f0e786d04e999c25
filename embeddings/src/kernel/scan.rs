//! The best rows of a matrix for several queries, by looking at every row.
//!
//! Rows are taken in blocks that fit the second-level cache, and all queries look at a block while it
//! is there: memory is read once for the whole batch, however many ask.

use std::ops::Range;
use std::thread;

use super::{Found, Matrix, Prepared, Top};
use crate::Metric;

/// Bytes of rows that the queries share, a quarter of a small second-level cache.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes below which a thread costs more than it saves: starting one takes some 30 µs, in which a
/// core reads about this much.
const THREAD_BYTES_MIN: usize = 1 << 20;

/// Which rows take part.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// All of them.
    All,
    /// Those for which the predicate holds.
    Where(&'a (dyn Fn(usize) -> bool + Sync)),
    /// These, each once.
    Listed(&'a [usize]),
}

/// What to look for and with how much.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// Where to look.
    pub matrix: Matrix<'a>,
    /// What "near" means; with [`Metric::Cosine`] rows and queries have length one.
    pub metric: Metric,
    /// Which rows may be found.
    pub rows: Rows<'a>,
    /// How many to find for each query.
    pub k: usize,
    /// Threads to share the work, the calling one among them; a small matrix takes fewer.
    pub threads: usize,
}

/// The nearest rows for each query, nearest first; of equally near ones the earlier row.
///
/// # Panics
/// When a query has another length than the rows, or a listed row does not exist.
pub fn top_k(scan: &Scan, queries: &[&[f32]]) -> Vec<Vec<Found>> {
    let queries: Vec<Prepared> = queries.iter().map(|query| scan.matrix.prepare(query)).collect();
    let pieces = scan.pieces();
    let mut tops = thread::scope(|scope| {
        let (own, others) = pieces.split_first().expect("there is always one piece");
        let queries = &queries;
        let others: Vec<_> =
            others.iter().map(|piece| scope.spawn(move || scan.piece(piece.clone(), queries))).collect();
        let mut tops = scan.piece(own.clone(), queries);
        for other in others {
            let found = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            merge(&mut tops, found);
        }
        tops
    });
    tops.drain(..).map(Top::into_sorted).collect()
}

fn merge(tops: &mut [Top], others: Vec<Top>) {
    for (top, other) in tops.iter_mut().zip(others) {
        other.into_sorted().into_iter().for_each(|found| top.offer(found));
    }
}

impl Scan<'_> {
    /// Places to look at: rows, or entries of the list.
    fn places(&self) -> usize {
        match self.rows {
            Rows::All | Rows::Where(_) => self.matrix.rows(),
            Rows::Listed(rows) => rows.len(),
        }
    }

    /// The row at a place, unless the predicate rejects it.
    fn row_at(&self, place: usize) -> Option<usize> {
        match self.rows {
            Rows::All => Some(place),
            Rows::Where(keep) => keep(place).then_some(place),
            Rows::Listed(rows) => Some(rows[place]),
        }
    }

    /// The places in equal parts, one for each thread that is worth starting.
    fn pieces(&self) -> Vec<Range<usize>> {
        let places = self.places();
        let worth = places * self.matrix.row_bytes() / THREAD_BYTES_MIN;
        let count = self.threads.min(worth).max(1);
        let bound = |piece: usize| piece * places / count;
        (0..count).map(|piece| bound(piece)..bound(piece + 1)).collect()
    }

    fn piece(&self, places: Range<usize>, queries: &[Prepared]) -> Vec<Top> {
        let mut tops: Vec<Top> = queries.iter().map(|_| Top::new(self.k)).collect();
        let rows_max = (BLOCK_BYTES / self.matrix.row_bytes()).max(1);
        let mut block = Vec::with_capacity(rows_max);
        let mut rows = places.filter_map(|place| self.row_at(place)).peekable();
        while rows.peek().is_some() {
            block.clear();
            block.extend(rows.by_ref().take(rows_max));
            for (query, top) in queries.iter().zip(&mut tops) {
                for row in &block {
                    top.offer(Found { row: *row, score: self.matrix.score(self.metric, query, *row) });
                }
            }
        }
        tops
    }
}
