//! The cartridge registry: which sensor a two-byte code names, what it measures, on how many channels and how long.

mod table;

use std::str::FromStr;

use crate::biomarker::Biomarker;
use crate::layout::Layout;

/// Category and type of a cartridge, written "01:0A".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CartridgeCode {
    /// Category byte.
    pub category: u8,
    /// Type byte within the category.
    pub kind: u8,
}

/// Why a cartridge was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CartridgeError {
    /// The text is not two hexadecimal bytes.
    #[error("cartridge code '{given}' is malformed: expected two hexadecimal bytes such as 01:0A")]
    Malformed {
        /// The text as received.
        given: String,
    },
    /// The code names no registered cartridge.
    #[error("cartridge {code} is not registered")]
    Unknown {
        /// The code looked up.
        code: CartridgeCode,
    },
}

/// Family of a cartridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// Blood biomarkers.
    HealthBiomarker,
    /// Water, air, radiation.
    Environmental,
    /// Food.
    FoodSafety,
    /// Electronic nose and tongue.
    ElectronicSensor,
    /// Wide non-target sweeps.
    AdvancedAnalysis,
    /// Research cartridges.
    CustomResearch,
}

impl Category {
    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::HealthBiomarker => "health_biomarker",
            Self::Environmental => "environmental",
            Self::FoodSafety => "food_safety",
            Self::ElectronicSensor => "electronic_sensor",
            Self::AdvancedAnalysis => "advanced_analysis",
            Self::CustomResearch => "custom_research",
        }
    }

    /// Default share of the reference channel to subtract.
    #[must_use]
    pub const fn alpha(self) -> f32 {
        match self {
            Self::ElectronicSensor => 0.92,
            Self::AdvancedAnalysis => 0.97,
            Self::HealthBiomarker | Self::Environmental | Self::FoodSafety | Self::CustomResearch => 0.95,
        }
    }
}

/// One registered cartridge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cartridge {
    /// Its code.
    pub code: CartridgeCode,
    /// One-byte code of the first tag format.
    pub legacy: u8,
    /// Its family.
    pub category: Category,
    /// English name.
    pub name: &'static str,
    /// Layout of one packet.
    pub layout: Layout,
    /// Seconds one measurement takes.
    pub seconds: u16,
    /// What it measures; empty where no biomarker of ours is the result.
    pub analytes: &'static [Biomarker],
}

impl Cartridge {
    /// Every registered cartridge, by code.
    #[must_use]
    pub fn all() -> &'static [Self] {
        table::REGISTRY
    }

    /// Looks a cartridge up by code.
    ///
    /// # Errors
    /// [`CartridgeError::Unknown`].
    pub fn find(code: CartridgeCode) -> Result<&'static Self, CartridgeError> {
        Self::all().iter().find(|c| c.code == code).ok_or(CartridgeError::Unknown { code })
    }

    /// Looks a cartridge up by its written code, "01:0A".
    ///
    /// # Errors
    /// [`CartridgeError`].
    pub fn parse(code: &str) -> Result<&'static Self, CartridgeError> {
        Self::find(code.parse()?)
    }

    /// Looks a cartridge up by its legacy byte.
    #[must_use]
    pub fn from_legacy(legacy: u8) -> Option<&'static Self> {
        Self::all().iter().find(|c| c.legacy == legacy)
    }

    /// The cartridge of health category that measures `biomarker`.
    #[must_use]
    pub fn measuring(biomarker: Biomarker) -> Option<&'static Self> {
        Self::all().iter().find(|c| c.analytes.contains(&biomarker))
    }

    /// Channels of one packet.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.layout.channels()
    }

    /// Default share of the reference channel to subtract.
    #[must_use]
    pub const fn alpha(&self) -> f32 {
        self.category.alpha()
    }
}

impl FromStr for CartridgeCode {
    type Err = CartridgeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || CartridgeError::Malformed { given: text.chars().take(16).collect() };
        let byte = |part: &str| {
            let two = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if two { u8::from_str_radix(part, 16).map_err(|_| malformed()) } else { Err(malformed()) }
        };
        let (category, kind) = text.split_once(':').ok_or_else(malformed)?;
        Ok(Self { category: byte(category)?, kind: byte(kind)? })
    }
}

impl std::fmt::Display for CartridgeCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02X}:{:02X}", self.category, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_holds_thirty_and_each_reads_back() {
        assert_eq!(Cartridge::all().len(), 30);
        assert!(Cartridge::all().is_sorted_by_key(|c| c.code));
        for cartridge in Cartridge::all() {
            assert_eq!(Cartridge::parse(&cartridge.code.to_string()), Ok(cartridge));
            assert_eq!(Cartridge::from_legacy(cartridge.legacy), Some(cartridge));
            assert!((0.0..=2.0).contains(&cartridge.alpha()));
        }
    }

    #[test]
    fn health_cartridges_measure_fourteen_kinds_of_biomarker() {
        let health = Cartridge::all().iter().filter(|c| c.category == Category::HealthBiomarker);
        assert_eq!(health.clone().count(), 14);
        assert!(health.clone().all(|c| c.channels() == 88 && c.seconds == 15 && !c.analytes.is_empty()));
        let lipid = Cartridge::measuring(Biomarker::Ldl).expect("lipid panel");
        assert_eq!((lipid.code.to_string().as_str(), lipid.analytes.len()), ("01:02", 4));
    }

    #[test]
    fn codes_are_read_in_either_case_and_refused_when_malformed() {
        assert_eq!(Cartridge::parse("01:0a").map(|c| c.name), Ok("Cortisol"));
        assert_eq!(Cartridge::parse("FF:01").map(|c| c.channels()), Ok(896));
        for text in ["", "01", "01:1", "0101", "01:GG", "+1:01", "01:01:01", "é:01"] {
            assert!(matches!(Cartridge::parse(text), Err(CartridgeError::Malformed { .. })), "{text}");
        }
        assert!(matches!(Cartridge::parse("01:FF"), Err(CartridgeError::Unknown { .. })));
    }

    #[test]
    fn legacy_bytes_map_to_their_category() {
        let code = |legacy| Cartridge::from_legacy(legacy).map(|c| c.code.to_string());
        assert_eq!(code(0x0E).as_deref(), Some("01:0E"));
        assert_eq!(code(0x20).as_deref(), Some("02:01"));
        assert_eq!(code(0x33).as_deref(), Some("03:04"));
        assert_eq!(code(0x42).as_deref(), Some("04:03"));
        assert_eq!(code(0x53).as_deref(), Some("05:04"));
        assert_eq!(code(0xFF).as_deref(), Some("FF:01"));
        assert_eq!(code(0x0F), None);
    }
}
