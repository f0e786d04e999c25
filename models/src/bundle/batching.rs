//! `[batching]` of `model.toml`: how requests of one model wait and are put together.

use serde::{Deserialize, Serialize};

use super::{LengthConfig, SequenceConfig};
use crate::Signature;

/// Bounds on what a bundle may ask for.
struct Limits {
    rows_max: usize,
    linger_us_max: u64,
    preferred_max: usize,
    cache_bytes_max: usize,
    timeout_us_max: u64,
}

const LIMITS: Limits = Limits {
    rows_max: 65_536,
    linger_us_max: 1_000_000,
    preferred_max: 16,
    cache_bytes_max: 1 << 30,
    timeout_us_max: 3_600_000_000,
};

/// `[batching]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchingConfig {
    /// Most rows of one run.
    pub rows_max: usize,
    /// Microseconds that a free worker waits for more rows; 0 for none.
    #[serde(default)]
    pub linger_us: u64,
    /// Rows that the model runs best, rising; none: any number. A batch has the most of them that wait, and a
    /// linger ends with the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_rows: Vec<usize>,
    /// Bytes of answers that are kept and given again for the same inputs; 0 for none. Not for a model whose answer
    /// depends on more than its inputs.
    #[serde(default, skip_serializing_if = "is_none")]
    pub cache_bytes_max: usize,
    /// How requests wait.
    #[serde(default, skip_serializing_if = "QueueConfig::is_default")]
    pub queue: QueueConfig,
    /// How requests of unlike length are put together; none: only requests of one shape are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthConfig>,
    /// What is remembered from one request of a sequence to the next; none: requests have nothing to do with each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceConfig>,
}

/// `[batching.queue]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Requests that wait at most; 0 for as many as the server lets wait.
    pub depth_max: usize,
    /// Microseconds that a request waits at most when it says nothing else; 0 for no bound.
    pub timeout_us: u64,
    /// What becomes of one that has waited longer.
    pub timeout_action: TimeoutAction,
    /// Whether a request may name a shorter time.
    pub timeout_override: bool,
}

/// What becomes of a request that has waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It runs behind all of its priority that are still in time.
    Delay,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { depth_max: 0, timeout_us: 0, timeout_action: TimeoutAction::Reject, timeout_override: true }
    }
}

impl QueueConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl BatchingConfig {
    /// Batches of up to `rows_max`, nothing else.
    pub fn new(rows_max: usize) -> Self {
        let queue = QueueConfig::default();
        Self {
            rows_max,
            linger_us: 0,
            preferred_rows: Vec::new(),
            cache_bytes_max: 0,
            queue,
            lengths: None,
            sequence: None,
        }
    }

    /// Checks what speaks of the model's tensors; the error names the key, what it is and what was expected.
    pub fn check_tensors(&self, signature: &Signature) -> Result<(), String> {
        self.lengths.as_ref().map_or(Ok(()), |lengths| lengths.check(signature))?;
        self.sequence.as_ref().map_or(Ok(()), |sequence| sequence.check(signature))
    }

    /// Checks every value; the error names the key, what it is and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let Self { rows_max, linger_us, preferred_rows, cache_bytes_max, queue, lengths: _, sequence: _ } =
            self;
        let ensure = |holds: bool, reason: String| if holds { Ok(()) } else { Err(reason) };
        let most = LIMITS.rows_max;
        ensure(
            (1..=most).contains(rows_max),
            format!("batching.rows_max is {rows_max}, expected 1 to {most}"),
        )?;
        let most = LIMITS.linger_us_max;
        ensure(*linger_us <= most, format!("batching.linger_us is {linger_us}, at most {most}"))?;
        let rising = preferred_rows.is_sorted_by(|less, more| less < more);
        let within = preferred_rows.iter().all(|rows| (1..=*rows_max).contains(rows));
        ensure(
            rising && within && preferred_rows.len() <= LIMITS.preferred_max,
            format!(
                "batching.preferred_rows are {preferred_rows:?}, expected up to {} rising numbers from 1 to {rows_max}",
                LIMITS.preferred_max
            ),
        )?;
        let most = LIMITS.cache_bytes_max;
        ensure(
            *cache_bytes_max <= most,
            format!("batching.cache_bytes_max is {cache_bytes_max}, at most {most}"),
        )?;
        let (timeout, most) = (queue.timeout_us, LIMITS.timeout_us_max);
        ensure(timeout <= most, format!("batching.queue.timeout_us is {timeout}, at most {most}"))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(bytes: &usize) -> bool {
    *bytes == 0
}
