//! Request parameters that this server understands, from either face of the protocol.

use std::time::Duration;

use proto::inference::{InferParameter, infer_parameter::ParameterChoice};
use serde_json::Value;

use crate::{InferError, Priority, SequenceId, SequenceStep, Terms};

impl Terms {
    /// Takes the scheduling parameters `priority` (0 = default, 1 = most urgent) and `timeout` (microseconds in the
    /// queue), who asks: `user_id` and `cartridge_type`, and the place in a sequence: `sequence_id`, `sequence_start` and
    /// `sequence_end`. Others say nothing to this server.
    pub(super) fn apply(&mut self, name: &str, parameter: Parameter<'_>) -> Result<(), InferError> {
        let fault = |want: &str| InferError::input(name, format!("parameter must be {want}"));
        let number = || parameter.whole().ok_or_else(|| fault("a whole number, not negative"));
        let text = || match parameter {
            Parameter::Text(text) => Ok(text.to_owned()),
            Parameter::Bool(_) | Parameter::Whole(_) | Parameter::Other => Err(fault("a text")),
        };
        let flag = || match parameter {
            Parameter::Bool(flag) => Ok(flag),
            Parameter::Text(_) | Parameter::Whole(_) | Parameter::Other => Err(fault("true or false")),
        };
        match name {
            "priority" => self.priority = Priority::from_level(number()?),
            "timeout" => {
                self.timeout = Some(number()?).filter(|micros| *micros > 0).map(Duration::from_micros);
            }
            "user_id" => self.caller.user = text()?,
            "cartridge_type" => self.caller.cartridge = text()?,
            "sequence_id" => self.step().id = sequence_id(parameter)?,
            "sequence_start" => self.step().start = flag()?,
            "sequence_end" => self.step().end = flag()?,
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self) -> &mut SequenceStep {
        self.sequence.get_or_insert_default()
    }
}

fn sequence_id(parameter: Parameter<'_>) -> Result<SequenceId, InferError> {
    match parameter {
        Parameter::Whole(number) => Ok(SequenceId::Number(number)),
        Parameter::Text(text) if text.len() <= SEQUENCE_BYTES_MAX => Ok(SequenceId::Text(text.into())),
        Parameter::Text(_) | Parameter::Bool(_) | Parameter::Other => {
            let want =
                format!("parameter must be a whole number or a text of up to {SEQUENCE_BYTES_MAX} bytes");
            Err(InferError::input("sequence_id", want))
        }
    }
}

/// Longest name of a sequence, as in Triton.
const SEQUENCE_BYTES_MAX: usize = 128;

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
    fn priority_and_timeout_are_understood_and_the_rest_ignored() {
        let mut terms = Terms::default();
        terms.apply("priority", Parameter::Whole(1)).expect("number");
        terms.apply("timeout", Parameter::Whole(1000)).expect("number");
        terms.apply("colour", Parameter::Other).expect("ignored");
        terms.apply("user_id", Parameter::Text("ann")).expect("text");
        terms.apply("cartridge_type", Parameter::Text("01:01")).expect("text");
        assert_eq!(terms.priority, Priority::Critical);
        assert_eq!(terms.timeout, Some(Duration::from_millis(1)));
        assert_eq!(terms.caller, crate::Caller { user: "ann".into(), cartridge: "01:01".into() });
        assert!(terms.apply("timeout", Parameter::Other).is_err());
        assert!(terms.apply("user_id", Parameter::Whole(7)).is_err());
        terms.apply("timeout", Parameter::Whole(0)).expect("none");
        assert_eq!(terms.timeout, None);
    }

    #[test]
    fn a_place_in_a_sequence_is_told_in_any_order() {
        let mut terms = Terms::default();
        terms.apply("sequence_end", Parameter::Bool(true)).expect("flag");
        terms.apply("sequence_id", Parameter::Text("bed-7")).expect("name");
        let step = SequenceStep { id: SequenceId::Text("bed-7".into()), start: false, end: true };
        assert_eq!(terms.sequence, Some(step));
        assert!(terms.apply("sequence_id", Parameter::Bool(true)).is_err());
        assert!(terms.apply("sequence_id", Parameter::Text(&"x".repeat(129))).is_err());
        assert!(terms.apply("sequence_start", Parameter::Whole(1)).is_err());
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
