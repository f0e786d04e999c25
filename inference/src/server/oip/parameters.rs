//! Request parameters that this server understands, from either face of the protocol.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::inference::{InferParameter, infer_parameter::ParameterChoice};
use serde_json::Value;

use crate::{InferError, Priority, Terms};

/// Header and metadata key that names the tenant.
pub(super) const TENANT: &str = "x-tenant-id";
/// Longest name of a tenant.
const TENANT_BYTES_MAX: usize = 128;

/// The tenant a header names.
pub(super) fn tenant(value: &[u8]) -> Result<Arc<str>, InferError> {
    let name = std::str::from_utf8(value).ok().map(str::trim);
    let name = name.filter(|name| !name.is_empty() && name.len() <= TENANT_BYTES_MAX);
    let reason = || format!("must be 1 to {TENANT_BYTES_MAX} bytes of text");
    name.map(Arc::from).ok_or_else(|| InferError::input(TENANT, reason()))
}

impl Terms {
    /// Takes the scheduling parameters `priority` (0 = default, 1 = most urgent) and `timeout`
    /// (microseconds in the queue); others say nothing to this server.
    pub(super) fn apply(&mut self, name: &str, number: Option<u64>) -> Result<(), InferError> {
        let number = || {
            number.ok_or_else(|| InferError::input(name, "parameter must be a whole number, not negative"))
        };
        match name {
            "priority" => self.priority = Priority::from_level(number()?),
            "timeout" => {
                self.timeout = Some(number()?).filter(|micros| *micros > 0).map(Duration::from_micros);
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

/// A parameter of either face, as far as this server reads any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Parameter<'a> {
    Bool(bool),
    /// A whole number that is not negative.
    Whole(u64),
    Text(&'a str),
    /// Nothing that this server understands.
    Other,
}

impl<'a> Parameter<'a> {
    /// Python clients send priorities unsigned and timeouts signed.
    pub(super) fn of_message(parameter: &'a InferParameter) -> Self {
        match &parameter.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => Self::Bool(*value),
            Some(ParameterChoice::Uint64Param(value)) => Self::Whole(*value),
            Some(ParameterChoice::Int64Param(value)) => {
                u64::try_from(*value).map_or(Self::Other, Self::Whole)
            }
            Some(ParameterChoice::StringParam(value)) => Self::Text(value),
            Some(ParameterChoice::DoubleParam(_)) | None => Self::Other,
        }
    }

    pub(super) fn of_json(value: &'a Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => number.as_u64().map_or(Self::Other, Self::Whole),
            Value::String(text) => Self::Text(text),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }

    pub(super) fn whole(self) -> Option<u64> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Bool(_) | Self::Text(_) | Self::Other => None,
        }
    }
}

/// Where a tensor lies when it is not in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) offset: u64,
    pub(super) byte_size: u64,
}

/// Parameters of one tensor that change its meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TensorParameters {
    /// Where it lies.
    pub(super) place: Option<Place>,
    /// Most probable classes that are wanted instead of the tensor.
    pub(super) classes: Option<usize>,
}

impl TensorParameters {
    /// Reads the parameters of the tensor of that name; those that say nothing to this server are passed over.
    pub(super) fn read<'a>(
        tensor: &str,
        parameters: impl IntoIterator<Item = (&'a str, Parameter<'a>)>,
    ) -> Result<Self, InferError> {
        let (mut region, mut byte_size, mut offset, mut classes) = (None, None, None, None);
        for (name, parameter) in parameters {
            let fault = |want: &str| InferError::input(tensor, format!("{name} must be {want}"));
            let whole = || parameter.whole().ok_or_else(|| fault("a whole number, not negative"));
            match name {
                "shared_memory_region" => match parameter {
                    Parameter::Text(text) => region = Some(text.to_owned()),
                    Parameter::Bool(_) | Parameter::Whole(_) | Parameter::Other => {
                        return Err(fault("the name of a region"));
                    }
                },
                "shared_memory_byte_size" => byte_size = Some(whole()?),
                "shared_memory_offset" => offset = Some(whole()?),
                "classification" => {
                    let count = whole()?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0);
                    classes = Some(count.ok_or_else(|| fault("at least 1"))?);
                }
                _ => {}
            }
        }
        let place = match (region, byte_size) {
            (Some(region), Some(byte_size)) => Some(Place { region, offset: offset.unwrap_or(0), byte_size }),
            (None, None) if offset.is_none() => None,
            _ => {
                let reason = "shared_memory_region and shared_memory_byte_size must be given together";
                return Err(InferError::input(tensor, reason));
            }
        };
        if place.is_some() && classes.is_some() {
            let reason = "classes are not put into shared memory; ask for them in the answer";
            return Err(InferError::input(tensor, reason));
        }
        Ok(Self { place, classes })
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
        let mut terms = Terms::default();
        terms.apply("priority", Some(1)).expect("number");
        terms.apply("timeout", Some(1000)).expect("number");
        terms.apply("sequence_id", None).expect("ignored");
        assert_eq!(terms.priority, Priority::Critical);
        assert_eq!(terms.timeout, Some(Duration::from_millis(1)));
        assert!(terms.apply("timeout", None).is_err());
        terms.apply("timeout", Some(0)).expect("none");
        assert_eq!(terms.timeout, None);
    }

    #[test]
    fn a_tenant_is_a_short_text() {
        assert_eq!(tenant(b" clinic-7 ").as_deref(), Ok("clinic-7"));
        for bad in [&b""[..], b"  ", b"\xff", &[b'a'; 129]] {
            assert!(tenant(bad).is_err_and(|error| error.to_string().starts_with("x-tenant-id: ")));
        }
    }

    #[test]
    fn a_tensor_lies_in_a_region_with_a_size_or_is_a_number_of_classes() {
        let read = |given: &[(&'static str, Parameter<'static>)]| {
            TensorParameters::read("x", given.iter().copied()).map_err(|error| error.to_string())
        };
        let region = ("shared_memory_region", Parameter::Text("a"));
        let size = ("shared_memory_byte_size", Parameter::Whole(8));
        let classes = ("classification", Parameter::Whole(2));
        assert_eq!(read(&[("colour", Parameter::Other)]), Ok(TensorParameters::default()));
        let place = Place { region: "a".into(), offset: 0, byte_size: 8 };
        assert_eq!(read(&[region, size]).map(|read| read.place), Ok(Some(place)));
        assert_eq!(read(&[classes]).map(|read| read.classes), Ok(Some(2)));
        for bad in [
            &[region][..],
            &[size],
            &[("shared_memory_offset", Parameter::Whole(1))],
            &[("shared_memory_region", Parameter::Whole(1)), size],
            &[region, ("shared_memory_byte_size", Parameter::Text("8"))],
            &[("classification", Parameter::Whole(0))],
            &[("classification", Parameter::Other)],
            &[region, size, classes],
        ] {
            assert!(read(bad).is_err_and(|text| text.starts_with("x: ")), "{bad:?}");
        }
    }
}
