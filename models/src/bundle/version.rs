//! Version ids: `MPS-{TYPE}-v{major}.{minor}.{patch}-{QUANT}`, for example `MPS-THYROID-v1.0.0-FP32`.
//!
//! Major is a change of architecture, minor a change of data inside the approved envelope,
//! patch a repair. Ordering compares those three numbers only after the type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantisation {
    /// Single precision.
    Fp32,
    /// Half precision.
    Fp16,
    /// 8-bit integers.
    Int8,
}

impl Quantisation {
    /// Name as it stands in a version id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "FP32",
            Self::Fp16 => "FP16",
            Self::Int8 => "INT8",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Fp32, Self::Fp16, Self::Int8].into_iter().find(|quantisation| quantisation.name() == name)
    }
}

/// A parsed version id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    kind: String,
    number: [u32; 3],
    quantisation: Quantisation,
}

impl Version {
    /// The `{TYPE}` part: capital letters, digits and inner `-` or `_`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Major, minor and patch.
    pub fn number(&self) -> [u32; 3] {
        self.number
    }

    /// Number format of the weights.
    pub fn quantisation(&self) -> Quantisation {
        self.quantisation
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.number;
        write!(f, "MPS-{}-v{major}.{minor}.{patch}-{}", self.kind, self.quantisation.name())
    }
}

impl FromStr for Version {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        parse(text).ok_or_else(|| {
            let reason = format!("`{text}` is not of the form MPS-TYPE-v1.2.3-FP32 (or -FP16, -INT8)");
            ModelError::input("version", reason)
        })
    }
}

impl TryFrom<String> for Version {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

fn parse(text: &str) -> Option<Version> {
    if text.len() > 96 {
        return None;
    }
    let (rest, quantisation) = text.strip_prefix("MPS-")?.rsplit_once('-')?;
    let (kind, number) = rest.rsplit_once("-v")?;
    let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !kind.chars().all(inner) || !edge(kind.chars().next()) || !edge(kind.chars().last()) {
        return None;
    }
    let parts: Vec<u32> = number.split('.').map(parse_number).collect::<Option<_>>()?;
    Some(Version {
        kind: kind.to_owned(),
        number: parts.try_into().ok()?,
        quantisation: Quantisation::from_name(quantisation)?,
    })
}

/// Digits only and no leading zero, so that one version has one spelling.
fn parse_number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_same_text() {
        for text in ["MPS-THYROID-v1.0.0-FP32", "MPS-SENSOR-VALUE-v0.12.3-INT8", "MPS-X1-v10.20.30-FP16"] {
            assert_eq!(text.parse::<Version>().expect("valid").to_string(), text);
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for text in [
            "",
            "MPS--v1.0.0-FP32",
            "MPS-a-v1.0.0-FP32",
            "MPS-A-v1.0-FP32",
            "MPS-A-v1.0.0.0-FP32",
            "MPS-A-v01.0.0-FP32",
            "MPS-A-v+1.0.0-FP32",
            "MPS-A-v1.0.0-FP64",
            "MPS-A-v1.0.0",
            "XYZ-A-v1.0.0-FP32",
            "MPS-A-v99999999999.0.0-FP32",
            "MPS-../A-v1.0.0-FP32",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn orders_by_number() {
        let version = |text: &str| text.parse::<Version>().expect("valid");
        assert!(version("MPS-A-v1.9.0-FP32") < version("MPS-A-v1.10.0-FP32"));
        assert!(version("MPS-A-v1.10.0-FP32") < version("MPS-A-v2.0.0-FP16"));
    }
}
