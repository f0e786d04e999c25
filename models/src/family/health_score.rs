//! Health score: the share of people of the same sex and age whose predicted risk is higher, 0 to 100, with the risk
//! itself and what each area of health adds or takes.
//!
//! Somebody of whom only age and sex are known is compared with, so that such a person is near 50 by construction:
//! the model was taught to answer a panel with gaps by the median of what it would answer to the whole panel.
//!
//! Areas are credited by Shapley values (Shapley 1953) over groups of inputs: the score is computed with every
//! combination of areas hidden, all in one batch, and each area gets its average effect. Age and sex are never hidden:
//! they choose the peers. What the score of such an empty panel differs from 50 is the area `unmeasured`, so that the
//! points sum to the distance of the score from 50.

use clinical::{Panel, Sex};

use super::tabular::{Columns, Row};
use super::{Encoded, calibration, output};
use crate::bundle::BundleConfig;
use crate::calibration::{Calibration, Interval, Part, Reference, Risk, Support};
use crate::explain::Explanation;
use crate::{Bundle, ModelError, Tensor};

/// Areas and the inputs that belong to each; age and sex belong to none, whatever is not listed to `other`.
const AREAS: [(&str, &[&str]); 5] = [
    (
        "cardiovascular",
        &[
            "systolic_bp",
            "diastolic_bp",
            "heart_rate",
            "hypertension",
            "on_antihypertensive",
            "prior_myocardial_infarction",
            "prior_stroke",
            "heart_failure",
            "on_statin",
            "total_cholesterol",
            "hdl_cholesterol",
            "ldl_cholesterol",
            "triglyceride",
        ],
    ),
    (
        "metabolic",
        &[
            "bmi",
            "waist",
            "glucose",
            "fasting_glucose",
            "hba1c",
            "insulin",
            "uric_acid",
            "diabetes_diagnosed",
            "on_insulin",
        ],
    ),
    (
        "kidney_liver",
        &["creatinine", "chronic_kidney_disease", "fib4", "platelets", "ast", "alt", "liver_disease"],
    ),
    ("blood", &["hemoglobin", "ferritin", "crp", "kappa_flc", "lambda_flc", "mgus", "cancer"]),
    ("lifestyle", &["smoker", "ex_smoker", "physically_active"]),
];
/// Area of inputs that no other lists.
const OTHER: &str = "other";
/// Area of what age and sex alone leave.
const UNMEASURED: &str = "unmeasured";
/// The score of the average peer.
const AVERAGE: f64 = 50.0;

/// Reads questions and answers of one bundle.
#[derive(Debug, Clone)]
pub struct Encoder {
    model: String,
    columns: Columns,
    risk: Risk,
    coverage: f64,
    support: Option<Support>,
}

/// The person behind a request.
#[derive(Debug, Clone)]
pub struct Case {
    row: Row,
    age_years: f64,
    sex: Option<Sex>,
    areas: Vec<(&'static str, Vec<usize>)>,
}

/// The score.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 0 to 100, higher is healthier.
    pub score: f64,
    /// Around the score.
    pub interval: Interval,
    /// Signed points of each area; they sum to the score minus 50.
    pub areas: Vec<(String, f64)>,
    /// Probability of the event within the horizon.
    pub risk: f64,
    /// Around the risk.
    pub risk_interval: Interval,
    /// The event, for example death.
    pub event: String,
    /// Years ahead of the risk.
    pub horizon_years: f64,
    /// Whom the score compares with.
    pub reference_population: String,
    /// What moved the log-risk.
    pub explanation: Explanation,
    /// Inputs the panel did not have; they widen both intervals.
    pub missing: Vec<String>,
    /// Inputs that are further from all the model has seen than it should answer for; empty when it may. The intervals
    /// are then as wide as they can be.
    pub beyond: Vec<String>,
}

impl Encoder {
    /// The encoder of a bundle of this family.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when its features or calibration do not fit.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &calibration(bundle)?)
    }

    fn of(config: &BundleConfig, calibration: &Calibration) -> Result<Self, ModelError> {
        let Part::Risk(risk) = calibration.part() else {
            return Err(calibration.unexpected("risk"));
        };
        let columns = Columns::new(&config.features)?;
        Ok(Self {
            model: config.name.clone(),
            columns,
            risk: risk.clone(),
            coverage: calibration.coverage(),
            support: calibration.support().cloned(),
        })
    }

    /// Tensors of the panel: itself, the copies of the explanation, and one copy per combination of areas hidden.
    ///
    /// # Errors
    /// [`ModelError::Input`] without an age, with an age that has no peers, or with none of the values needed.
    pub fn encode(&self, panel: &Panel) -> Result<Encoded<Case>, ModelError> {
        let needed = || ModelError::input("subject.age_years", "is needed for a health score");
        let age_years = panel.person().age_years().ok_or_else(needed)?;
        let sex = panel.person().sex();
        self.peers(age_years, sex)?;
        let row = self.columns.read(panel)?;
        let areas = self.areas(&row);
        let mut hidden = self.columns.hidden(&row);
        hidden.extend((1..1usize << areas.len()).map(|mask| members(&areas, mask)));
        let tensors = self.columns.tensors(&row, &hidden)?;
        Ok(Encoded { tensors, case: Case { row, age_years, sex, areas } })
    }

    fn peers(&self, age_years: f64, sex: Option<Sex>) -> Result<&Reference, ModelError> {
        self.risk.reference(age_years, sex.map(Sex::code)).ok_or_else(|| {
            let reason = format!("is {age_years}, outside the ages of the reference population");
            ModelError::input("subject.age_years", reason)
        })
    }

    /// Areas with at least one value, and their columns.
    fn areas(&self, row: &Row) -> Vec<(&'static str, Vec<usize>)> {
        let of = |index: &usize| area(&self.columns.get()[*index].name);
        let present = self.columns.present(row);
        let names = AREAS.iter().map(|(name, _)| *name).chain([OTHER]);
        names
            .map(|name| {
                (name, present.iter().copied().filter(|index| of(index) == Some(name)).collect::<Vec<_>>())
            })
            .filter(|(_, columns)| !columns.is_empty())
            .collect()
    }

    /// Reads the outputs.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Answer, ModelError> {
        let values = output(&self.model, outputs, 0, (encoded.rows(), 1))?;
        let Case { row, age_years, sex, areas } = &encoded.case;
        let peers = self.peers(*age_years, *sex)?;
        let log_risk = values[0];
        let missing = self.columns.missing(row);
        let absent = |name: &str| missing.iter().any(|m| m == name);
        let half = self.risk.spread.log_risk(absent, self.coverage);
        let coalitions = &values[values.len() + 1 - (1 << areas.len())..];
        // The last copy has no area left: age and sex alone.
        let unmeasured = coalitions.last().copied().unwrap_or(log_risk);
        let score_of = |log_risk: f64| peers.score(log_risk - unmeasured);
        let with_hidden = |mask: usize| score_of(if mask == 0 { log_risk } else { coalitions[mask - 1] });
        let score = score_of(log_risk);
        let beyond = self.support.as_ref().and_then(|support| support.beyond(&self.columns.reader(row)));
        let beyond = beyond.unwrap_or_default();
        let within = |interval: Interval, high: f64| match beyond.is_empty() {
            true => interval,
            // Of a case like none that was measured nothing is known but the guess.
            false => Interval { low: 0.0, high, ..interval },
        };
        Ok(Answer {
            score,
            interval: within(self.risk.score_interval(score, Some(peers), absent, self.coverage), 100.0),
            areas: points(areas, with_hidden),
            risk: self.risk.absolute(log_risk),
            risk_interval: within(self.risk.absolute_interval(log_risk, half, self.coverage), 1.0),
            event: self.risk.event.clone(),
            horizon_years: self.risk.horizon_years,
            reference_population: describe(peers),
            explanation: self.columns.explain(row, "log_risk", &values),
            missing,
            beyond,
        })
    }
}

/// The area of an input; `None` for age and sex.
fn area(feature: &str) -> Option<&'static str> {
    if matches!(feature, "age" | "sex_male") {
        return None;
    }
    let listed = AREAS.iter().find(|(_, features)| features.contains(&feature));
    Some(listed.map_or(OTHER, |(name, _)| name))
}

/// Columns of the areas whose bit is set.
fn members(areas: &[(&'static str, Vec<usize>)], mask: usize) -> Vec<usize> {
    let chosen = areas.iter().enumerate().filter(|(area, _)| mask >> area & 1 == 1);
    chosen.flat_map(|(_, (_, columns))| columns.iter().copied()).collect()
}

/// Shapley value of each area, and what is left. `score` gives the score with the areas of a mask hidden.
fn points(areas: &[(&'static str, Vec<usize>)], score: impl Fn(usize) -> f64) -> Vec<(String, f64)> {
    let count = areas.len();
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let share = |area: usize| {
        let others = (0..1usize << count).filter(|mask| mask >> area & 1 == 0);
        let effect = |mask: usize| {
            let hidden = mask.count_ones() as usize;
            let weight = factorial(hidden) * factorial(count - hidden - 1) / factorial(count);
            weight * (score(mask) - score(mask | 1 << area))
        };
        others.map(effect).sum::<f64>()
    };
    let named = areas.iter().enumerate().map(|(area, (name, _))| ((*name).to_owned(), share(area)));
    named.chain([(UNMEASURED.to_owned(), score((1 << count) - 1) - AVERAGE)]).collect()
}

fn describe(peers: &Reference) -> String {
    let who = match peers.sex.as_deref() {
        Some("female") => "women",
        Some("male") => "men",
        Some(_) | None => "people",
    };
    format!("{who} aged {} to under {} (n = {})", peers.ages.from, peers.ages.to, peers.n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_listed_input_exists_and_has_one_area() {
        let listed: Vec<_> = AREAS.iter().flat_map(|(_, features)| features.iter()).collect();
        for feature in &listed {
            let known = clinical::Biomarker::from_code(feature).is_some()
                || clinical::Finding::from_code(feature).is_some();
            assert!(known, "{feature}");
            assert_eq!(listed.iter().filter(|other| other == &feature).count(), 1, "{feature}");
        }
        assert_eq!((area("age"), area("tsh"), area("bmi")), (None, Some(OTHER), Some("metabolic")));
    }

    proptest! {
        #[test]
        fn points_sum_to_the_distance_from_the_average(
            scores in prop::collection::vec(0.0f64..100.0, 16), areas in 0usize..=4,
        ) {
            let named: Vec<_> = (0..areas).map(|index| ("area", vec![index])).collect();
            let total: f64 = points(&named, |mask| scores[mask]).iter().map(|(_, points)| points).sum();
            prop_assert!((total - (scores[0] - AVERAGE)).abs() < 1e-9);
        }
    }
}
