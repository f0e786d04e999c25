//! Units of measure by UCUM code: a closed list, so a number with an unknown unit is refused at the door instead of
//! being guessed at. Conversion lives in [`convert`] because it needs to know the analyte.

mod convert;

pub use convert::{accepted, convert, to_canonical};

/// Why a unit or a conversion was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// The text is neither a UCUM code we use nor a known alias of one.
    #[error("unknown unit '{given}': give a UCUM code such as mg/dL, mmol/L, %, m[IU]/L or mm[Hg]")]
    Unknown {
        /// The text as received.
        given: String,
    },
    /// There is no conversion between the two units for this biomarker.
    #[error("{biomarker} cannot be converted from {from} to {to}: accepted units are {accepted}")]
    Inconvertible {
        /// Code of the biomarker.
        biomarker: &'static str,
        /// UCUM code converted from.
        from: &'static str,
        /// UCUM code converted to.
        to: &'static str,
        /// UCUM codes that do convert, comma separated.
        accepted: String,
    },
    /// The number is NaN or infinite.
    #[error("{biomarker} value is not a finite number")]
    NotFinite {
        /// Code of the biomarker.
        biomarker: &'static str,
    },
}

/// What a unit measures; two units convert by a factor only inside one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Grams per litre.
    Mass,
    /// Moles per litre.
    Molar,
    /// International units per litre.
    Activity,
    /// Enzyme units per litre.
    Enzyme,
    /// Millimetres of mercury.
    Pressure,
    /// Metres.
    Length,
    /// Plain ratio.
    Ratio,
    /// Cells per litre.
    Count,
    /// A unit that converts to nothing else.
    Alone,
}

macro_rules! units {
    ($($variant:ident, $code:literal, $dimension:ident, $factor:expr, [$($alias:literal),*], $doc:literal;)*) => {
        /// A UCUM unit the platform understands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Unit {
            $(#[doc = $doc] $variant,)*
        }

        impl Unit {
            /// Every unit, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The UCUM code, case sensitive.
            #[must_use]
            pub const fn ucum(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Spellings met in practice that mean the same unit.
            const fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($alias),*],)* }
            }

            /// Dimension and the factor to that dimension's base unit.
            pub(crate) const fn scale(self) -> (Dimension, f64) {
                match self { $(Self::$variant => (Dimension::$dimension, $factor),)* }
            }
        }
    };
}

units! {
    MgPerDl, "mg/dL", Mass, 1e-2, ["mg/dl", "mg%"], "Milligram per decilitre.";
    MmolPerL, "mmol/L", Molar, 1e-3, ["mmol/l", "mM"], "Millimole per litre.";
    UmolPerL, "umol/L", Molar, 1e-6, ["umol/l"], "Micromole per litre.";
    NmolPerL, "nmol/L", Molar, 1e-9, ["nmol/l"], "Nanomole per litre.";
    PmolPerL, "pmol/L", Molar, 1e-12, ["pmol/l"], "Picomole per litre.";
    Percent, "%", Alone, 1.0, ["percent"], "Per cent.";
    MmolPerMol, "mmol/mol", Alone, 1.0, [], "Millimole per mole (IFCC haemoglobin A1c).";
    GPerDl, "g/dL", Mass, 10.0, ["g/dl"], "Gram per decilitre.";
    GPerL, "g/L", Mass, 1.0, ["g/l"], "Gram per litre.";
    MgPerL, "mg/L", Mass, 1e-3, ["mg/l"], "Milligram per litre.";
    UgPerMl, "ug/mL", Mass, 1e-3, ["ug/ml", "mcg/mL"], "Microgram per millilitre.";
    UgPerL, "ug/L", Mass, 1e-6, ["ug/l", "mcg/L"], "Microgram per litre.";
    UgPerDl, "ug/dL", Mass, 1e-5, ["ug/dl", "mcg/dL"], "Microgram per decilitre.";
    NgPerMl, "ng/mL", Mass, 1e-6, ["ng/ml"], "Nanogram per millilitre.";
    NgPerDl, "ng/dL", Mass, 1e-8, ["ng/dl"], "Nanogram per decilitre.";
    NgPerL, "ng/L", Mass, 1e-9, ["ng/l"], "Nanogram per litre.";
    PgPerMl, "pg/mL", Mass, 1e-9, ["pg/ml"], "Picogram per millilitre.";
    MilliIuPerL, "m[IU]/L", Activity, 1e-3, ["mIU/L", "mIU/l", "mU/L"], "Milli international unit per litre.";
    MicroIuPerMl, "u[IU]/mL", Activity, 1e-3, ["uIU/mL", "uIU/ml", "uU/mL"],
        "Micro international unit per millilitre.";
    UnitPerL, "U/L", Enzyme, 1.0, ["u/L", "IU/L"], "Enzyme unit per litre.";
    ThousandPerUl, "10*3/uL", Count, 1e9, ["10^3/uL", "K/uL", "10*9/L", "10^9/L"], "Thousand cells per microlitre.";
    MmHg, "mm[Hg]", Pressure, 1.0, ["mmHg", "mm Hg"], "Millimetre of mercury.";
    KiloPascal, "kPa", Pressure, 7.500_615_76, [], "Kilopascal.";
    KgPerM2, "kg/m2", Alone, 1.0, ["kg/m^2", "kg/m²"], "Kilogram per square metre.";
    Cm, "cm", Length, 1e-2, [], "Centimetre.";
    Metre, "m", Length, 1.0, [], "Metre.";
    Inch, "[in_i]", Length, 0.0254, ["in", "inch"], "International inch.";
    PerMinute, "/min", Alone, 1.0, ["bpm", "{beats}/min", "1/min"], "Per minute.";
    Year, "a", Alone, 1.0, ["year", "years", "yr"], "Year (UCUM annum).";
    One, "1", Ratio, 1.0, ["{ratio}", "{index}", "{score}"], "Plain number.";
    Ohm, "Ohm", Alone, 1.0, ["ohm", "Ω"], "Ohm.";
    MilliVolt, "mV", Alone, 1.0, [], "Millivolt.";
    Celsius, "Cel", Alone, 1.0, ["°C", "degC"], "Degree Celsius.";
    Decibel, "dB", Alone, 1.0, [], "Decibel.";
    BqPerM3, "Bq/m3", Alone, 1.0, ["Bq/m³"], "Becquerel per cubic metre.";
    MicroSievertPerHour, "uSv/h", Alone, 1.0, [], "Microsievert per hour.";
    Gram, "g", Alone, 1.0, [], "Gram.";
    KiloCalorie, "kcal", Alone, 1.0, [], "Kilocalorie.";
    KiloCaloriePer100G, "kcal/(100.g)", Alone, 1.0, ["kcal/100g", "kcal/100 g"], "Kilocalorie per 100 grams.";
}

impl Unit {
    /// Reads a UCUM code or a common alias; both micro signs are read as `u`.
    ///
    /// # Errors
    /// [`UnitError::Unknown`] when the text names no unit of ours.
    pub fn from_ucum(text: &str) -> Result<Self, UnitError> {
        let plain = text.trim().replace(['µ', 'μ'], "u");
        Self::ALL
            .iter()
            .copied()
            .find(|unit| unit.ucum() == plain || unit.aliases().contains(&plain.as_str()))
            .ok_or_else(|| UnitError::Unknown { given: text.chars().take(32).collect() })
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.ucum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_alias_reads_back_to_its_own_unit() {
        for &unit in Unit::ALL {
            assert_eq!(Unit::from_ucum(unit.ucum()), Ok(unit));
            for alias in unit.aliases() {
                assert_eq!(Unit::from_ucum(alias), Ok(unit), "alias {alias}");
            }
        }
    }

    #[test]
    fn both_micro_signs_and_white_space_are_understood() {
        assert_eq!(Unit::from_ucum("µg/dL"), Ok(Unit::UgPerDl));
        assert_eq!(Unit::from_ucum(" μIU/mL "), Ok(Unit::MicroIuPerMl));
    }

    #[test]
    fn unknown_text_is_refused_and_cut_short() {
        let error = Unit::from_ucum(&"x".repeat(500)).expect_err("no such unit");
        assert!(error.to_string().len() < 200, "{error}");
        assert!(Unit::from_ucum("MG/DL").is_err(), "UCUM is case sensitive");
        assert!(Unit::from_ucum("").is_err(), "a missing unit is not a plain number");
    }
}
