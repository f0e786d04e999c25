//! Where a model computes.

use std::{fmt, str::FromStr};

/// The processor, or one graphics card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of that number; only a program that was built with the feature `cuda` can use one.
    Cuda(u16),
}

impl FromStr for Device {
    type Err = String;

    /// `cpu` or `cuda:N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let card = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, card) {
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            (_, None) => Err(format!("`{text}` is no device: cpu, or cuda:0 for the first graphics card")),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// What is said where a card was asked for that this program cannot use.
#[cfg(not(feature = "cuda"))]
pub(super) const WITHOUT: &str = "this program was built without the feature `cuda`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_it_is_read() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(7)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for bad in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x"] {
            assert!(bad.parse::<Device>().is_err_and(|text| text.contains("cuda:0")), "{bad}");
        }
    }
}
