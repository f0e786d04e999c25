//! Every bound of this crate in one place: nothing waits, queues or grows without one.

use std::time::Duration;

/// Bounds of the scheduler and of the wire servers. Units stand last in each name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests waiting for one model version.
    pub queue_depth_max: usize,
    /// Bytes of tensors waiting for one model version.
    pub queue_bytes_max: usize,
    /// Full batches that may stand before an interactive request. With the batch itself and
    /// the one in progress this keeps an admitted request within five times its unloaded time.
    pub queue_wait_batches_max: u32,
    /// Estimated wait that is always allowed, so that a burst at a tiny model is not refused.
    pub queue_wait_us_min: u64,
    /// Requests inside the scheduler, all models together.
    pub inflight_requests_max: usize,
    /// Requests inside the scheduler of one tenant.
    pub tenant_requests_max: usize,
    /// Requests of one tenant a second, after a burst of as many; 0: no limit.
    pub tenant_requests_per_s_max: u32,
    /// Bytes of kept answers of one model version, whatever its bundle asks for.
    pub cache_bytes_max: usize,
    /// Bytes of one request, after decompression.
    pub request_bytes_max: usize,
    /// Rows of one batch, whatever the bundle asks for.
    pub batch_rows_max: usize,
    /// Time one batch may run before its instance is given up and replaced.
    pub run_ms_max: u64,
    /// Time a request may take when its caller names no deadline, and at most.
    pub deadline_ms_max: u64,
    /// Learned cost of a batch up to which it runs on the caller's own task: below it, waking
    /// another thread costs more than the model.
    pub inline_us_max: u64,
    /// Further batches that a caller runs for those who queued behind it.
    pub inline_rounds_max: u32,
    /// Pause between attempts to load a replacement of a failed instance.
    pub reload_pause_ms: u64,
    /// Time a draining server gives to the requests it has admitted.
    pub shutdown_grace_ms: u64,
    /// Connections of one listener.
    pub connections_max: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams_max: u32,
    /// Requests of one stream of the Open Inference Protocol that are under way at once.
    pub stream_window_max: usize,
    /// Silence after which such a stream ends.
    pub stream_idle_ms_max: u64,
    /// Regions of shared memory that are registered at once; each holds a file open.
    pub regions_max: usize,
    /// Bytes on the way between the steps of ensembles, all requests together.
    pub ensemble_bytes_max: usize,
    /// Bytes that are remembered of all sequences of one model.
    pub sequence_bytes_max: usize,
    /// Series watched by streams at once; each holds up to 300 kB.
    pub series_watched_max: usize,
    /// Requests that wait to be run again on the other version of a trial.
    pub mirror_depth_max: usize,
    /// Bytes of their tensors.
    pub mirror_bytes_max: usize,
    /// Photos anywhere between arrival and answer; each holds up to 10 MB.
    pub photos_max: usize,
    /// Photos decoded at once; each may need 200 MB for a moment.
    pub photo_decoders_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_depth_max: 4096,
            queue_bytes_max: 256 << 20,
            queue_wait_batches_max: 3,
            queue_wait_us_min: 5_000,
            inflight_requests_max: 16_384,
            tenant_requests_max: 4096,
            tenant_requests_per_s_max: 0,
            cache_bytes_max: 64 << 20,
            request_bytes_max: 64 << 20,
            batch_rows_max: 1024,
            run_ms_max: 10_000,
            deadline_ms_max: 30_000,
            inline_us_max: 100,
            inline_rounds_max: 2,
            reload_pause_ms: 500,
            shutdown_grace_ms: 10_000,
            connections_max: 1024,
            streams_max: 1024,
            stream_window_max: 64,
            stream_idle_ms_max: 300_000,
            regions_max: 64,
            ensemble_bytes_max: 256 << 20,
            sequence_bytes_max: 256 << 20,
            series_watched_max: 256,
            mirror_depth_max: 64,
            mirror_bytes_max: 64 << 20,
            photos_max: 16,
            photo_decoders_max: 2,
        }
    }
}

impl Limits {
    /// Longest run of one batch.
    pub fn run_max(&self) -> Duration {
        Duration::from_millis(self.run_ms_max)
    }

    /// Longest life of a request.
    pub fn deadline_max(&self) -> Duration {
        Duration::from_millis(self.deadline_ms_max)
    }

    /// Pause between two attempts to load.
    pub(crate) fn reload_pause(&self) -> Duration {
        Duration::from_millis(self.reload_pause_ms)
    }

    /// Longest silence on a stream of the Open Inference Protocol.
    pub(crate) fn stream_idle(&self) -> Duration {
        Duration::from_millis(self.stream_idle_ms_max)
    }

    /// Time for a drain.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}
