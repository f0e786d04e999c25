//! Figures of people of one sex and age band: what is right for all together can be wrong for each.
//!
//! Split-conformal prediction within a cohort (Mondrian, Vovk et al. 2005) keeps its promise to that cohort. It needs
//! cases of its own: a cohort with fewer than [`COHORT_CASES_MIN`], or a person whose age or sex is not known, has the
//! figures of all.

use serde::{Deserialize, Serialize};

/// Fewest held-out cases behind figures of a cohort's own.
pub const COHORT_CASES_MIN: usize = 50;
/// Age bands, years: from, and up to but without.
const BANDS: [(f64, f64); 4] = [(0.0, 40.0), (40.0, 60.0), (60.0, 80.0), (80.0, 200.0)];

/// People of one sex and one age band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// Whether they are men.
    pub male: bool,
    /// Youngest, years.
    pub age_from: f64,
    /// First age above them, years.
    pub age_to: f64,
}

impl Cohort {
    /// Where a person belongs; nowhere when age or sex is not known.
    #[must_use]
    pub fn of(age_years: Option<f64>, male: Option<bool>) -> Option<Self> {
        let (age, male) = (age_years?, male?);
        let (age_from, age_to) = BANDS.into_iter().find(|(from, to)| (*from..*to).contains(&age))?;
        Some(Self { male, age_from, age_to })
    }

    /// Where a person belongs, as panels and requests tell of them.
    #[must_use]
    pub fn of_person(person: &clinical::Person) -> Option<Self> {
        Self::of(person.age_years(), person.sex().map(|sex| sex == clinical::Sex::Male))
    }

    /// Name in rows and metrics, such as `men_40_60`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_{}_{}", if self.male { "men" } else { "women" }, self.age_from, self.age_to)
    }

    /// Every cohort there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |male: bool| BANDS.map(|(age_from, age_to)| Self { male, age_from, age_to });
        [false, true].into_iter().flat_map(of)
    }
}

/// Figures of one cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfCohort {
    /// Whose they are.
    pub cohort: Cohort,
    /// Held-out cases behind them.
    pub n: u64,
    /// What stands in the place of the figures of all: of a classifier the threshold of each class, of a forecaster
    /// the factor by which the stretch at each horizon is multiplied.
    pub values: Vec<f64>,
}

/// Figures of the cohorts that have their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cohorts(Vec<OfCohort>);

impl Cohorts {
    /// Figures of every cohort with cases enough, by `fit` from its own cases; `None` when no cohort has any.
    pub fn fit<T>(cases: &[(Option<Cohort>, T)], fit: impl Fn(&[&T]) -> Option<Vec<f64>>) -> Option<Self> {
        let figures = |cohort: Cohort| {
            let own: Vec<&T> =
                cases.iter().filter(|(of, _)| *of == Some(cohort)).map(|(_, case)| case).collect();
            let enough = own.len() >= COHORT_CASES_MIN;
            let values = if enough { fit(&own)? } else { return None };
            Some(OfCohort { cohort, n: own.len() as u64, values })
        };
        let all: Vec<OfCohort> = Cohort::all().filter_map(figures).collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// The figures of `cohort`; none when it has no own or the person belongs nowhere.
    #[must_use]
    pub fn of(&self, cohort: Option<Cohort>) -> Option<&[f64]> {
        self.0.iter().find(|known| Some(known.cohort) == cohort).map(|known| &known.values[..])
    }

    /// Every cohort with its own figures.
    #[must_use]
    pub fn all(&self) -> &[OfCohort] {
        &self.0
    }

    /// `values` is how many figures a cohort has to have, where that is known.
    pub(super) fn check(&self, values: Option<usize>) -> Result<(), String> {
        let sane = |of: &OfCohort| {
            let Cohort { male: _, age_from, age_to } = of.cohort;
            let finite = of.values.iter().all(|value| value.is_finite() && *value >= 0.0);
            finite && age_from < age_to && values.is_none_or(|wanted| of.values.len() == wanted)
        };
        if self.0.iter().all(sane) {
            Ok(())
        } else {
            Err("every cohort needs an age band and as many figures of 0 or more as all have".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use clinical::{Person, Sex};

    use super::*;

    #[test]
    fn a_person_belongs_where_age_and_sex_say_and_else_nowhere() {
        let person = |age, sex| Cohort::of_person(&Person::new(age, sex).expect("valid"));
        let woman = person(Some(59.9), Some(Sex::Female)).expect("known");
        assert_eq!((woman.male, woman.age_from, woman.age_to), (false, 40.0, 60.0));
        assert_eq!(person(Some(60.0), Some(Sex::Male)).expect("known").age_from, 60.0);
        assert_eq!((person(None, Some(Sex::Male)), person(Some(50.0), None)), (None, None));
        assert_eq!(Cohort::of(Some(f64::NAN), Some(true)), None);
        assert_eq!(Cohort::all().count(), 8);
    }

    #[test]
    fn a_cohort_needs_fifty_cases_of_its_own() {
        let cohorts: Vec<Cohort> = Cohort::all().collect();
        let cases: Vec<(Option<Cohort>, f64)> = (0..150)
            .map(|at| match at {
                0..50 => (Some(cohorts[0]), 2.0),
                50..99 => (Some(cohorts[1]), 3.0),
                _ => (None, 4.0),
            })
            .collect();
        let mean = |own: &[&f64]| Some(vec![own.iter().copied().sum::<f64>() / own.len() as f64]);
        let fitted = Cohorts::fit(&cases, mean).expect("one has enough");
        assert_eq!(fitted.of(Some(cohorts[0])), Some(&[2.0][..]));
        assert_eq!((fitted.of(Some(cohorts[1])), fitted.of(None), fitted.all().len()), (None, None, 1));
        assert_eq!(Cohorts::fit(&cases[50..], mean), None);
    }

    #[test]
    fn senseless_figures_are_refused() {
        let cohort = Cohort::of(Some(50.0), Some(true)).expect("known");
        let of = |values: Vec<f64>| Cohorts(vec![OfCohort { cohort, n: 50, values }]);
        assert_eq!(of(vec![0.5, 0.7]).check(Some(2)), Ok(()));
        assert!(of(vec![0.5]).check(Some(2)).is_err() && of(vec![f64::NAN]).check(None).is_err());
    }
}
