//! Request parameters that this server understands, from either face of the protocol.

use std::time::{Duration, Instant};

use crate::{InferError, Priority};

/// How a request wants to be treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Treatment {
    pub(super) priority: Priority,
    pub(super) deadline: Option<Instant>,
}

impl Treatment {
    /// Takes the scheduling parameters `priority` (0 = default, 1 = most urgent) and `timeout`
    /// (microseconds); others say nothing to this server.
    pub(super) fn apply(&mut self, name: &str, number: Option<u64>) -> Result<(), InferError> {
        let number = || {
            number.ok_or_else(|| InferError::input(name, "parameter must be a whole number, not negative"))
        };
        match name {
            "priority" => self.priority = Priority::from_level(number()?),
            "timeout" => {
                let micros = number()?;
                if micros > 0 {
                    self.limit(Duration::from_micros(micros));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Answers are worthless after `timeout` from now.
    pub(super) fn limit(&mut self, timeout: Duration) {
        let until = Instant::now().checked_add(timeout);
        self.deadline = match (self.deadline, until) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
    }
}

/// The value of a `grpc-timeout` header: up to eight digits and a unit.
pub(super) fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Parameters of a tensor that would change its meaning, and that this server does not offer.
pub(super) fn check_tensor_parameter(tensor: &str, parameter: &str) -> Result<(), InferError> {
    match parameter {
        "shared_memory_region" | "shared_memory_offset" | "shared_memory_byte_size" => {
            Err(InferError::Unsupported(format!(
                "{tensor}: shared memory is not offered; send the bytes instead"
            )))
        }
        "classification" => Err(InferError::Unsupported(format!(
            "{tensor}: the classification extension is not offered; ask for the tensor"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_specification_says() {
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "1", "1x", "-1S", "999999999S", "1é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn priority_and_timeout_are_understood_and_the_rest_ignored() {
        let mut treatment = Treatment::default();
        treatment.apply("priority", Some(1)).expect("number");
        treatment.apply("timeout", Some(1000)).expect("number");
        treatment.apply("sequence_id", None).expect("ignored");
        assert_eq!(treatment.priority, Priority::Critical);
        assert!(treatment.deadline.is_some());
        assert!(treatment.apply("timeout", None).is_err());
    }
}
