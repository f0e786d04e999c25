//! Biomarkers: a closed list, each with its code, LOINC, canonical unit and the interval a living person can have.
//!
//! The LOINC code always matches the canonical unit (mass per volume for mg/dL and so on); a code for another property
//! of the same substance is a different observation and is refused.

mod table;

use crate::unit::{Unit, UnitError, to_canonical};
use table::{Row, TABLE};

/// A quantity measured or computed for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Biomarker {
    /// Glucose with the fasting state unknown.
    Glucose,
    /// Glucose after eight hours without food.
    FastingGlucose,
    /// Total cholesterol.
    TotalCholesterol,
    /// High-density lipoprotein cholesterol.
    Hdl,
    /// Low-density lipoprotein cholesterol.
    Ldl,
    /// Triglycerides.
    Triglyceride,
    /// Glycated haemoglobin, NGSP per cent.
    HbA1c,
    /// Uric acid.
    UricAcid,
    /// Creatinine.
    Creatinine,
    /// 25-hydroxyvitamin D, D2 and D3 together.
    VitaminD,
    /// Cobalamin.
    VitaminB12,
    /// Ferritin.
    Ferritin,
    /// Thyrotropin.
    Tsh,
    /// Cortisol, morning sample assumed by its range.
    Cortisol,
    /// Total testosterone.
    Testosterone,
    /// Estradiol, what the estrogen cartridge measures.
    Estradiol,
    /// C-reactive protein.
    Crp,
    /// Insulin, fasting sample assumed by its range.
    Insulin,
    /// Systolic blood pressure.
    SystolicBp,
    /// Diastolic blood pressure.
    DiastolicBp,
    /// Body mass index.
    Bmi,
    /// Haemoglobin.
    Hemoglobin,
    /// Waist circumference.
    Waist,
    /// Heart rate at rest.
    HeartRate,
    /// Total triiodothyronine.
    T3,
    /// Total thyroxine.
    TotalT4,
    /// Thyroid hormone uptake as a binding-capacity ratio to normal, the divisor of the free thyroxine index.
    T4Uptake,
    /// Free thyroxine index: total thyroxine divided by uptake.
    FreeT4Index,
    /// Thyroxine binding globulin.
    Tbg,
    /// Fibrosis-4 index of the liver.
    Fib4,
    /// Platelet count.
    Platelets,
    /// Aspartate aminotransferase.
    Ast,
    /// Alanine aminotransferase.
    Alt,
    /// Free kappa light chains.
    KappaFlc,
    /// Free lambda light chains.
    LambdaFlc,
}

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// NaN or infinite.
    #[error("{biomarker} is not a finite number")]
    NotFinite {
        /// Code of the biomarker.
        biomarker: &'static str,
    },
    /// Outside what a living person can have.
    #[error(
        "{biomarker} of {value} {unit} is impossible: expected {low} to {high} {unit}; check value and unit"
    )]
    Implausible {
        /// Code of the biomarker.
        biomarker: &'static str,
        /// The value refused, canonical unit.
        value: f64,
        /// Lowest possible value.
        low: f64,
        /// Highest possible value.
        high: f64,
        /// Canonical unit.
        unit: Unit,
    },
    /// The unit does not fit.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl Biomarker {
    /// Every biomarker, in declaration order.
    pub const ALL: &'static [Self] = &table::ALL;

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// English display name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Stable identifier in snake case, used on the wire and in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// LOINC code of this quantity in its canonical unit.
    #[must_use]
    pub const fn loinc(self) -> &'static str {
        self.row().loinc
    }

    /// The unit every value inside the platform is in.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.row().unit
    }

    /// Molar mass in g/mol where a molar concentration is in use.
    #[must_use]
    pub const fn molar_mass(self) -> Option<f64> {
        self.row().molar_mass
    }

    /// Lowest and highest possible value in a living person, canonical unit, both included.
    #[must_use]
    pub const fn plausible(self) -> (f64, f64) {
        self.row().plausible
    }

    /// Finds a biomarker by LOINC code; codes of the same substance in another property are not matched.
    #[must_use]
    pub fn from_loinc(loinc: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|b| b.loinc() == loinc)
    }

    /// Finds a biomarker by its [`code`](Self::code).
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|b| b.code() == code)
    }

    /// Checks that `value`, in the canonical unit, is finite and possible, and hands it back.
    ///
    /// # Errors
    /// [`ValueError::NotFinite`] or [`ValueError::Implausible`].
    pub fn check_value(self, value: f64) -> Result<f64, ValueError> {
        if !value.is_finite() {
            return Err(ValueError::NotFinite { biomarker: self.code() });
        }
        let (low, high) = self.plausible();
        if value < low || value > high {
            return Err(ValueError::Implausible {
                biomarker: self.code(),
                value,
                low,
                high,
                unit: self.unit(),
            });
        }
        Ok(value)
    }

    /// Converts `value` from `unit` to the canonical unit and checks it.
    ///
    /// # Errors
    /// As [`check_value`](Self::check_value), or [`ValueError::Unit`] for a unit that does not fit.
    pub fn read(self, value: f64, unit: Unit) -> Result<f64, ValueError> {
        if !value.is_finite() {
            return Err(ValueError::NotFinite { biomarker: self.code() });
        }
        self.check_value(to_canonical(self, value, unit)?)
    }
}

impl std::fmt::Display for Biomarker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_enum_order_and_reads_back_both_ways() {
        for (index, &biomarker) in Biomarker::ALL.iter().enumerate() {
            assert_eq!(biomarker as usize, index);
            assert_eq!(Biomarker::from_code(biomarker.code()), Some(biomarker));
            assert_eq!(Biomarker::from_loinc(biomarker.loinc()), Some(biomarker));
        }
    }

    /// LOINC ends in a Luhn check digit, so a mistyped code shows.
    #[test]
    fn every_loinc_code_has_a_valid_check_digit() {
        for biomarker in Biomarker::ALL {
            let (number, check) = biomarker.loinc().split_once('-').expect("LOINC has a dash");
            let sum: u32 = number
                .bytes()
                .rev()
                .enumerate()
                .map(|(i, byte)| u32::from(byte - b'0') * if i % 2 == 0 { 2 } else { 1 })
                .map(|digit| digit / 10 + digit % 10)
                .sum();
            assert_eq!(((10 - sum % 10) % 10).to_string(), check, "{biomarker}");
        }
    }

    #[test]
    fn molar_glucose_and_body_weight_codes_are_not_taken_for_something_else() {
        assert_eq!(Biomarker::from_loinc("15074-8"), None);
        assert_eq!(Biomarker::from_loinc("29463-7"), None);
        assert_eq!(Biomarker::from_loinc("2345-7"), Some(Biomarker::Glucose));
    }

    #[test]
    fn impossible_values_are_refused_and_edges_accepted() {
        for &biomarker in Biomarker::ALL {
            let (low, high) = biomarker.plausible();
            assert!(low < high && low >= 0.0, "{biomarker}");
            assert!(biomarker.check_value(low).is_ok() && biomarker.check_value(high).is_ok());
            assert!(biomarker.check_value(-1.0).is_err() && biomarker.check_value(high * 1.01).is_err());
        }
        let text = Biomarker::Glucose.check_value(-5.0).expect_err("negative").to_string();
        assert!(text.contains("glucose") && text.contains("-5 mg/dL"), "{text}");
        assert!(Biomarker::Crp.check_value(0.0).is_ok(), "no inflammation is a real result");
    }

    #[test]
    fn reading_converts_before_checking() {
        let value = Biomarker::Glucose.read(5.5, Unit::MmolPerL).expect("ordinary glucose");
        assert!((value - 99.09).abs() < 0.01);
        assert!(matches!(Biomarker::Glucose.read(99.0, Unit::Cm), Err(ValueError::Unit(_))));
        assert!(matches!(
            Biomarker::Glucose.read(900.0, Unit::MmolPerL),
            Err(ValueError::Implausible { .. })
        ));
        assert!(matches!(Biomarker::Glucose.read(f64::NAN, Unit::Cm), Err(ValueError::NotFinite { .. })));
    }
}
