//! What a value means: reference ranges by sex and age, decision limits of named guidelines, and one function that
//! places a value in them. Both sides count: a low glucose is as little normal as a high one.

mod classify;
mod critical;
mod limits;
mod reference;

pub use classify::{Banded, classify};
pub use critical::{CriticalLimit, critical_limits};
pub use limits::{Band, DecisionLimit, Side, decision_limits};
pub use reference::{ReferenceRange, reference_range};

use crate::person::{Person, Sex};

/// Three-step classification, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Within what healthy people have.
    Normal,
    /// Outside it, but below a diagnostic limit.
    Borderline,
    /// Beyond a diagnostic limit.
    Abnormal,
}

/// Risk attached to a value, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RiskLevel {
    /// Nothing to do.
    Low,
    /// Measure again, see a doctor in due course.
    Moderate,
    /// See a doctor soon.
    High,
    /// Act now.
    Critical,
}

/// HL7 v3 ObservationInterpretation codes the platform produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpretation {
    /// Critically low.
    CriticalLow,
    /// Low.
    Low,
    /// Normal.
    Normal,
    /// High.
    High,
    /// Critically high.
    CriticalHigh,
    /// Abnormal without a direction.
    Abnormal,
}

impl Class {
    /// Every class, mildest first; models number their outputs in this order.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Borderline, Self::Abnormal];

    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Borderline => "borderline",
            Self::Abnormal => "abnormal",
        }
    }
}

impl RiskLevel {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Moderate, Self::High, Self::Critical];

    /// Stable identifier.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Interpretation {
    /// The HL7 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CriticalLow => "LL",
            Self::Low => "L",
            Self::Normal => "N",
            Self::High => "H",
            Self::CriticalHigh => "HH",
            Self::Abnormal => "A",
        }
    }
}

/// To whom a table row applies: a sex, or anyone, from one age up to but not including another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cohort {
    /// The sex, or `None` for anyone.
    pub sex: Option<Sex>,
    /// First age in years.
    pub age_min: f64,
    /// Age in years at which the row ends.
    pub age_max: f64,
}

/// Age from which adult rows apply.
const ADULT: f64 = 18.0;
/// An age no one reaches, the end of rows without an upper age.
const NO_END: f64 = 200.0;

impl Cohort {
    /// Everyone of any age.
    pub(crate) const ANYONE: Self = Self { sex: None, age_min: 0.0, age_max: NO_END };
    /// Adults of either sex.
    pub(crate) const ADULTS: Self = Self { sex: None, age_min: ADULT, age_max: NO_END };
    /// Adult women.
    pub(crate) const WOMEN: Self = Self { sex: Some(Sex::Female), ..Self::ADULTS };
    /// Adult men.
    pub(crate) const MEN: Self = Self { sex: Some(Sex::Male), ..Self::ADULTS };

    /// The same people between two ages.
    pub(crate) const fn aged(self, age_min: f64, age_max: f64) -> Self {
        Self { sex: self.sex, age_min, age_max }
    }

    /// Whether the row speaks about `person`. An unknown sex matches only rows for anyone; an unknown age counts as
    /// an adult of middle age, since every cartridge is sold to adults.
    pub(crate) fn covers(&self, person: &Person) -> bool {
        const MIDDLE_AGE: f64 = 45.0;
        let age = person.age_years().unwrap_or(MIDDLE_AGE);
        let sex = self.sex.is_none() || self.sex == person.sex();
        sex && age >= self.age_min && age < self.age_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_risks_order_from_mild_to_severe() {
        assert!(Class::Normal < Class::Borderline && Class::Borderline < Class::Abnormal);
        assert!(RiskLevel::Low < RiskLevel::Moderate && RiskLevel::High < RiskLevel::Critical);
    }

    #[test]
    fn cohorts_cover_whom_they_say() {
        let person = |age, sex| Person::new(age, sex).expect("valid person");
        assert!(Cohort::WOMEN.covers(&person(None, Some(Sex::Female))));
        assert!(!Cohort::WOMEN.covers(&person(None, None)), "an unknown sex is not a woman");
        assert!(!Cohort::ADULTS.covers(&person(Some(17.9), None)));
        assert!(Cohort::ADULTS.covers(&person(Some(18.0), None)));
        assert!(Cohort::ANYONE.covers(&person(Some(0.0), None)));
        assert!(!Cohort::MEN.aged(18.0, 50.0).covers(&person(Some(50.0), Some(Sex::Male))));
    }
}
