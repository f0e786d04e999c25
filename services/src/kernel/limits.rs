//! Every bound of the services in one place, units last.

/// Bounds of queues, waits and sizes; the defaults are those of the specification where it names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for an analysis of a whole measurement.
    pub ai_call_ms_max: u64,
    /// Longest wait for the analysis of one packet.
    pub stream_packet_ms_max: u64,
    /// Longest wait for the vector service.
    pub vector_call_ms_max: u64,
    /// Pause before a broken analysis stream is opened again.
    pub stream_retry_ms: u64,
    /// Packets of one stream in analysis at a time; further ones wait in the network.
    pub stream_window_max: usize,
    /// Sessions open at a time.
    pub sessions_active_max: usize,
    /// Packets of one session.
    pub session_packets_max: u64,
    /// Packets between two writes of a running session to disk.
    pub checkpoint_packets_max: u64,
    /// Silence after which a session ends by itself.
    pub session_idle_ms_max: i64,
    /// Time between two looks for silent sessions.
    pub sweep_ms: u64,
    /// Longest identifier of a user or device.
    pub identifier_bytes_max: usize,
    /// Largest message from a reader; a packet of 1792 channels has about 15 kB.
    pub message_bytes_max: usize,
    /// Longest wait for the first message of a stream.
    pub stream_attach_ms_max: u64,
    /// Earlier values sent along with an analysis.
    pub history_values_max: u64,
    /// Most measurements on one page.
    pub page_size_max: u32,
    /// Measurements on a page when none was asked for.
    pub page_size_default: u32,
    /// Most similar sessions in an answer.
    pub similar_max: u32,
    /// Similar sessions in an answer when none was asked for.
    pub similar_default: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ai_call_ms_max: 10_000,
            stream_packet_ms_max: 1_000,
            vector_call_ms_max: 3_000,
            stream_retry_ms: 5_000,
            stream_window_max: 8,
            sessions_active_max: 1_024,
            session_packets_max: 36_000,
            checkpoint_packets_max: 50,
            session_idle_ms_max: 300_000,
            sweep_ms: 1_000,
            identifier_bytes_max: 128,
            message_bytes_max: 256 * 1024,
            stream_attach_ms_max: 10_000,
            history_values_max: 500,
            page_size_max: 200,
            page_size_default: 50,
            similar_max: 100,
            similar_default: 10,
        }
    }
}
