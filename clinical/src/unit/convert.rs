//! Conversion between units of one biomarker. Mass and molar concentration differ by the molar mass of the analyte, so
//! a conversion without the analyte is meaningless; haemoglobin A1c and insulin have conventions of their own.

use super::{Dimension, Unit, UnitError};
use crate::biomarker::Biomarker;

/// Slope of the NGSP/IFCC master equation: A1c(%) = slope * A1c(mmol/mol) + intercept (Hoelzel 2004).
const NGSP_SLOPE: f64 = 0.091_48;
/// Intercept of the NGSP/IFCC master equation in per cent.
const NGSP_INTERCEPT: f64 = 2.152;
/// Picomoles of human insulin in one milli international unit (WHO 83/500; Knopp 2019).
const INSULIN_PMOL_PER_MIU: f64 = 6.0;

/// Converts `value` of `biomarker` between two units.
///
/// # Errors
/// [`UnitError::Inconvertible`] naming both units and the accepted ones, [`UnitError::NotFinite`] for NaN or infinity.
pub fn convert(biomarker: Biomarker, value: f64, from: Unit, to: Unit) -> Result<f64, UnitError> {
    if !value.is_finite() {
        return Err(UnitError::NotFinite { biomarker: biomarker.code() });
    }
    from_unit(biomarker, value, from).and_then(|base| into_unit(biomarker, base, to)).ok_or_else(|| {
        UnitError::Inconvertible {
            biomarker: biomarker.code(),
            from: from.ucum(),
            to: to.ucum(),
            accepted: accepted(biomarker).map(Unit::ucum).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Converts `value` to the canonical unit of `biomarker`.
///
/// # Errors
/// As [`convert`].
pub fn to_canonical(biomarker: Biomarker, value: f64, from: Unit) -> Result<f64, UnitError> {
    convert(biomarker, value, from, biomarker.unit())
}

/// The units in which `biomarker` may be given.
pub fn accepted(biomarker: Biomarker) -> impl Iterator<Item = Unit> {
    Unit::ALL.iter().copied().filter(move |&unit| from_unit(biomarker, 1.0, unit).is_some())
}

/// To the canonical unit, or `None` when `from` does not fit the biomarker.
fn from_unit(biomarker: Biomarker, value: f64, from: Unit) -> Option<f64> {
    let canonical = biomarker.unit();
    if from == canonical {
        return Some(value);
    }
    if biomarker == Biomarker::HbA1c {
        return (from == Unit::MmolPerMol).then_some(NGSP_SLOPE * value + NGSP_INTERCEPT);
    }
    factor(biomarker, from, canonical).map(|factor| value * factor)
}

/// From the canonical unit, or `None` when `to` does not fit the biomarker.
fn into_unit(biomarker: Biomarker, value: f64, to: Unit) -> Option<f64> {
    let canonical = biomarker.unit();
    if to == canonical {
        return Some(value);
    }
    if biomarker == Biomarker::HbA1c {
        return (to == Unit::MmolPerMol).then_some((value - NGSP_INTERCEPT) / NGSP_SLOPE);
    }
    factor(biomarker, to, canonical).map(|factor| value / factor)
}

/// How many `to` make one `from`.
fn factor(biomarker: Biomarker, from: Unit, to: Unit) -> Option<f64> {
    let ((from_dimension, from_scale), (to_dimension, to_scale)) = (from.scale(), to.scale());
    match (from_dimension, to_dimension) {
        (Dimension::Alone, _) | (_, Dimension::Alone) => None,
        (a, b) if a == b => Some(from_scale / to_scale),
        (Dimension::Molar, Dimension::Mass) => {
            biomarker.molar_mass().map(|mass| from_scale * mass / to_scale)
        }
        (Dimension::Molar, Dimension::Activity) if biomarker == Biomarker::Insulin => {
            Some(from_scale / (INSULIN_PMOL_PER_MIU * 1e-9) / to_scale)
        }
        (
            Dimension::Mass
            | Dimension::Molar
            | Dimension::Activity
            | Dimension::Enzyme
            | Dimension::Pressure
            | Dimension::Length
            | Dimension::Ratio
            | Dimension::Count,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(biomarker: Biomarker, value: f64, from: Unit, to: Unit, expected: f64) {
        let got = convert(biomarker, value, from, to).expect("convertible");
        assert!((got - expected).abs() <= 0.002 * expected.abs(), "{biomarker:?} {got} != {expected}");
    }

    #[test]
    fn textbook_conversions() {
        use Biomarker as B;
        check(B::Glucose, 100.0, Unit::MgPerDl, Unit::MmolPerL, 5.551);
        check(B::TotalCholesterol, 5.0, Unit::MmolPerL, Unit::MgPerDl, 193.3);
        check(B::Triglyceride, 150.0, Unit::MgPerDl, Unit::MmolPerL, 1.694);
        check(B::HbA1c, 48.0, Unit::MmolPerMol, Unit::Percent, 6.543);
        check(B::HbA1c, 6.5, Unit::Percent, Unit::MmolPerMol, 47.53);
        check(B::Creatinine, 88.4, Unit::UmolPerL, Unit::MgPerDl, 1.0);
        check(B::UricAcid, 360.0, Unit::UmolPerL, Unit::MgPerDl, 6.052);
        check(B::VitaminD, 75.0, Unit::NmolPerL, Unit::NgPerMl, 30.05);
        check(B::Insulin, 60.0, Unit::PmolPerL, Unit::MicroIuPerMl, 10.0);
        check(B::Tsh, 2.5, Unit::MicroIuPerMl, Unit::MilliIuPerL, 2.5);
        check(B::TotalT4, 100.0, Unit::NmolPerL, Unit::UgPerDl, 7.769);
        check(B::T3, 2.0, Unit::NmolPerL, Unit::NgPerDl, 130.2);
        check(B::Hemoglobin, 140.0, Unit::GPerL, Unit::GPerDl, 14.0);
        check(B::Waist, 40.0, Unit::Inch, Unit::Cm, 101.6);
        check(B::SystolicBp, 16.0, Unit::KiloPascal, Unit::MmHg, 120.01);
    }

    #[test]
    fn a_foreign_unit_is_refused_naming_what_is_accepted() {
        let error = convert(Biomarker::Glucose, 90.0, Unit::MmHg, Unit::MgPerDl).expect_err("pressure");
        let text = error.to_string();
        assert!(text.contains("mm[Hg]") && text.contains("mg/dL") && text.contains("mmol/L"), "{text}");
        assert!(convert(Biomarker::HbA1c, 0.06, Unit::One, Unit::Percent).is_err());
        assert!(convert(Biomarker::Ferritin, 1.0, Unit::NmolPerL, Unit::NgPerMl).is_err(), "no molar mass");
        assert!(convert(Biomarker::Tsh, 1.0, Unit::PmolPerL, Unit::MilliIuPerL).is_err());
        assert!(convert(Biomarker::Glucose, f64::NAN, Unit::MgPerDl, Unit::MgPerDl).is_err());
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_number(index in 0..Biomarker::ALL.len(), value in 0.01f64..1e4) {
            let biomarker = Biomarker::ALL[index];
            for unit in accepted(biomarker) {
                let there = convert(biomarker, value, biomarker.unit(), unit).expect("accepted");
                let back = convert(biomarker, there, unit, biomarker.unit()).expect("accepted");
                prop_assert!((back - value).abs() <= 1e-9 * value.max(1.0), "{biomarker:?} {unit}");
            }
        }
    }
}
