//! Who a value belongs to, as far as reference ranges need to know: age and sex, either of which may be unknown.

/// Sex as reference ranges use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

impl Sex {
    /// Stable identifier, also the FHIR administrative gender code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
        }
    }

    /// Reads [`code`](Self::code), case-insensitively, or its first letter.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        match code.to_ascii_lowercase().as_str() {
            "female" | "f" => Some(Self::Female),
            "male" | "m" => Some(Self::Male),
            _ => None,
        }
    }
}

/// The age was not one a person can have.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("age of {age_years} years is impossible: expected 0 to 120")]
pub struct AgeError {
    /// The age refused.
    pub age_years: f64,
}

/// Age and sex of a person; the default knows neither.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Person {
    age_years: Option<f64>,
    sex: Option<Sex>,
}

impl Person {
    /// Highest age accepted.
    pub const AGE_MAX_YEARS: f64 = 120.0;

    /// A person of whom the given facts are known.
    ///
    /// # Errors
    /// [`AgeError`] for an age below 0, above 120, or not a number.
    pub fn new(age_years: Option<f64>, sex: Option<Sex>) -> Result<Self, AgeError> {
        match age_years {
            Some(age) if !(0.0..=Self::AGE_MAX_YEARS).contains(&age) => Err(AgeError { age_years: age }),
            Some(_) | None => Ok(Self { age_years, sex }),
        }
    }

    /// Age in years.
    #[must_use]
    pub const fn age_years(&self) -> Option<f64> {
        self.age_years
    }

    /// Sex.
    #[must_use]
    pub const fn sex(&self) -> Option<Sex> {
        self.sex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_checked_at_the_edges() {
        for age in [0.0, 0.5, 120.0] {
            assert!(Person::new(Some(age), None).is_ok(), "{age}");
        }
        for age in [-0.1, 120.1, 65_511.0, f64::NAN, f64::INFINITY] {
            assert!(Person::new(Some(age), None).is_err(), "{age}");
        }
        assert_eq!(Person::new(None, None), Ok(Person::default()));
    }

    #[test]
    fn sex_reads_back() {
        for sex in [Sex::Female, Sex::Male] {
            assert_eq!(Sex::from_code(sex.code()), Some(sex));
            assert_eq!(Sex::from_code(&sex.code()[..1].to_uppercase()), Some(sex));
        }
        assert_eq!(Sex::from_code("unknown"), None);
    }
}
