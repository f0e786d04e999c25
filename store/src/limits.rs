//! Every bound of this crate in one place, units last.

/// Bounds of a database and of the outbox in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; a database in memory always has one.
    pub connections_max: u32,
    /// Longest wait for another writer.
    pub busy_ms_max: u64,
    /// Longest wait for one call, waiting for a connection included.
    pub call_ms_max: u64,
    /// Events a consumer has in hand at a time.
    pub outbox_batch_max: u64,
    /// Largest payload of an event.
    pub outbox_payload_bytes_max: usize,
    /// Longest a consumer may take for one event.
    pub outbox_handle_ms_max: u64,
    /// Tries of one event before it is parked; with the pauses below these are about an hour.
    pub outbox_attempts_max: u32,
    /// Pause after the first failed try; it doubles with each further one.
    pub outbox_retry_ms_min: u64,
    /// Longest pause between two tries.
    pub outbox_retry_ms_max: u64,
    /// Time between two looks for events nobody told us of, such as those whose pause is over.
    pub outbox_poll_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4,
            busy_ms_max: 2_000,
            call_ms_max: 3_000,
            outbox_batch_max: 32,
            outbox_payload_bytes_max: 256 * 1024,
            outbox_handle_ms_max: 5_000,
            outbox_attempts_max: 20,
            outbox_retry_ms_min: 1_000,
            outbox_retry_ms_max: 300_000,
            outbox_poll_ms: 500,
        }
    }
}
