//! Bounds of this crate. Beyond one the caller gets an error that names it.

use crate::EmbeddingError;

/// Bounds of a vector store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Hits of one search.
    pub k_max: usize,
    /// Points of one upsert, ids of one delete or get.
    pub batch_points_max: usize,
    /// Points of one page of a scroll.
    pub page_points_max: usize,
    /// Numbers in a vector.
    pub dimension_max: usize,
    /// Fields of a collection.
    pub fields_max: usize,
    /// Conditions of a filter.
    pub conditions_max: usize,
    /// Bytes of one payload, names of fields included.
    pub payload_bytes_max: usize,
    /// Bytes of a layout's name.
    pub layout_bytes_max: usize,
    /// Collections of a store.
    pub collections_max: usize,
    /// Points of a collection, deleted ones that still take room included.
    pub points_max: usize,
    /// Writes that wait for the next transaction; one more is refused.
    pub write_queue_max: usize,
    /// Points that share one transaction.
    pub commit_points_max: usize,
    /// Searches that run at once.
    pub search_threads_max: usize,
    /// Searches that wait for their turn; one more is refused.
    pub search_queue_max: usize,
    /// Longest wait of one call, its turn included.
    pub call_ms_max: u64,
    /// Matching points below which they are all compared instead of asking the index.
    pub exact_below_points: usize,
    /// Threads that add points to an index.
    pub index_threads_max: usize,
    /// Newly indexed points after which a snapshot is written.
    pub snapshot_every_points: usize,
    /// Share of deleted points in an index, in percent, above which it is built anew.
    pub dead_percent_max: usize,
    /// Candidates an index search keeps, at least.
    pub expansion_min: usize,
    /// Candidates an index search keeps, at most, however hard the data.
    pub expansion_max: usize,
    /// Recall against exact search that an index is tuned for, in percent.
    pub recall_percent_min: usize,
    /// One search in so many is compared with exact search; 0 compares none.
    pub recall_sample_every: u64,
    /// Attempts of one call to a remote store, the first included.
    pub attempts_max: u32,
    /// Pause before the second attempt; doubled for each further one.
    pub retry_ms_min: u64,
    /// Longest pause between attempts.
    pub retry_ms_max: u64,
    /// Failed attempts in a row after which a remote store is left alone.
    pub breaker_failures_max: u32,
    /// How long it is left alone.
    pub breaker_open_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            k_max: 1_000,
            batch_points_max: 2_000,
            page_points_max: 1_000,
            dimension_max: 4_096,
            fields_max: 32,
            conditions_max: 32,
            payload_bytes_max: 16 * 1024,
            layout_bytes_max: 256,
            collections_max: 256,
            points_max: 16_000_000,
            write_queue_max: 1_024,
            commit_points_max: 4_000,
            search_threads_max: 16,
            search_queue_max: 1_024,
            call_ms_max: 10_000,
            exact_below_points: 2_000,
            index_threads_max: 2,
            snapshot_every_points: 50_000,
            dead_percent_max: 25,
            expansion_min: 64,
            expansion_max: 1_024,
            recall_percent_min: 96,
            recall_sample_every: 1_000,
            attempts_max: 4,
            retry_ms_min: 50,
            retry_ms_max: 1_000,
            breaker_failures_max: 5,
            breaker_open_ms: 5_000,
        }
    }
}

impl Limits {
    /// Threads that may be inside an index at once: searches, those that add, and the one that measures.
    pub(crate) const fn inside_max(&self) -> usize {
        self.search_threads_max + self.index_threads_max + 2
    }

    /// Refuses `got` above `max`.
    pub(crate) fn most(&self, what: &'static str, got: usize, max: usize) -> Result<(), EmbeddingError> {
        if got > max { Err(EmbeddingError::TooMany { what, got, max }) } else { Ok(()) }
    }
}
