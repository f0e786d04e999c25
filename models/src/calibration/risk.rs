//! Uncertainty of a survival model: how its log-risk ranks among peers, what it means in absolute terms, and how far
//! both can be trusted.
//!
//! A proportional-hazards model gives a log-risk without a zero. The score takes what it exceeds that of somebody of
//! the same age and sex of whom nothing else is known, and ranks this excess among people of the same sex and of about
//! the same age; so the years within a band of ages count for nothing.
//!
//! The absolute risk at the horizon is `1 - exp(-(B + H0 * exp(s * log_risk)))`. A network trained to rank is too sure at
//! both ends, so the slope `s` is fitted again on held-out cases; `B` is the hazard of deaths that no input foretells
//! (Makeham 1860), without which the least endangered would seem immortal. The interval is the Kaplan-Meier share with Greenwood's variance among cases of similar predicted risk.

use serde::{Deserialize, Serialize};

use super::{Grid, Interval, hazard, stats::normal_quantile};

/// Points of a reference grid, one per cent apart.
const GRID_POINTS: usize = 101;
/// Bins of the absolute risk.
const BINS: usize = 8;

/// Figures of a health-score model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// What the risk is of, for example death.
    pub event: String,
    /// Years ahead the absolute risk is stated for.
    pub horizon_years: f64,
    /// Baseline hazard cumulated to the horizon at a log-risk of 0.
    pub baseline_hazard: f64,
    /// Hazard cumulated to the horizon that everybody has, whatever the log-risk.
    #[serde(default)]
    pub background_hazard: f64,
    /// Factor on the log-risk in absolute terms, above 0.
    #[serde(default = "one")]
    pub slope: f64,
    /// How far log-risk and score can be trusted.
    pub spread: RiskSpread,
    /// Peers.
    pub references: Vec<Reference>,
    /// Observed against predicted risk, ascending.
    pub bins: Vec<RiskBin>,
}

/// How far log-risk and score can be trusted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskSpread {
    /// Half-width of the interval around the log-risk of a complete case.
    pub log_risk_half_width: f64,
    /// How far the score can be trusted, for everybody.
    pub score: ScoreWidth,
    /// Root mean square change of the score when nothing but age and sex is known, points.
    pub score_sd_unmeasured: f64,
    /// What each input is worth; widens the interval of a case that lacks it.
    pub missing: Vec<MissingSpread>,
}

/// Width of the interval of a score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreWidth {
    /// Half-width around the score of a complete case, points.
    pub half_width: f64,
    /// Split-conformal factor on the points that absent inputs are worth together.
    pub missing_factor: f64,
}

/// Effect of one hidden input among held-out cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingSpread {
    /// Name of the input column.
    pub feature: String,
    /// Root mean square change of the log-risk.
    pub log_risk_sd: f64,
    /// Root mean square change of the score, points.
    pub score_sd: f64,
}

fn one() -> f64 {
    1.0
}

/// One group of peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// `female`, `male`, or absent for both together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<String>,
    /// Ages of the group.
    pub ages: AgeBand,
    /// Log-risk of each less that of an unmeasured person of the same age and sex, at each per cent.
    pub excess: Grid,
    /// People in the group.
    pub n: u64,
    /// [`RiskSpread::score`] of this group alone (Mondrian), where it has people enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<ScoreWidth>,
}

/// From one age up to but not including another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeBand {
    /// First age in years.
    pub from: f64,
    /// Age in years at which the band ends.
    pub to: f64,
}

/// Cases of similar predicted risk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskBin {
    /// Lowest predicted risk in the bin.
    pub start: f64,
    /// Lower end of the observed risk.
    pub low: f64,
    /// Upper end of the observed risk.
    pub high: f64,
}

/// One held-out person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RiskCase {
    /// The model's output.
    pub log_risk: f64,
    /// Years observed.
    pub years: f64,
    /// Whether the event came at the end of them.
    pub event: bool,
}

impl Reference {
    /// Score, 0 to 100, of this excess: the share of the group whose excess is larger.
    #[must_use]
    pub fn score(&self, excess: f64) -> f64 {
        100.0 * (1.0 - self.excess.rank(excess))
    }
}

impl RiskSpread {
    /// Half-width of the log-risk of a case that lacks the inputs for which `missing` says so.
    #[must_use]
    pub fn log_risk(&self, missing: impl Fn(&str) -> bool, coverage: f64) -> f64 {
        let z = normal_quantile(0.5 + coverage / 2.0);
        self.log_risk_half_width.hypot(z * self.lacking(missing, |input| input.log_risk_sd))
    }

    /// Points that the inputs for which `missing` says so are worth together: the root of their summed squares, which
    /// levels off at what everything together is worth.
    #[must_use]
    pub fn points(&self, missing: impl Fn(&str) -> bool) -> f64 {
        let (sum, most) = (self.lacking(missing, |input| input.score_sd), self.score_sd_unmeasured);
        if most > 0.0 { most * (-(-(sum / most).powi(2)).exp_m1()).sqrt() } else { sum }
    }

    fn lacking(&self, missing: impl Fn(&str) -> bool, worth: impl Fn(&MissingSpread) -> f64) -> f64 {
        let lacking = self.missing.iter().filter(|input| missing(&input.feature));
        lacking.map(|input| worth(input).powi(2)).sum::<f64>().sqrt()
    }

    fn check(&self) -> Result<(), String> {
        let sound = |value: f64| value.is_finite() && value >= 0.0;
        for (name, value) in [
            ("log_risk_half_width", self.log_risk_half_width),
            ("score.half_width", self.score.half_width),
            ("score.missing_factor", self.score.missing_factor),
            ("score_sd_unmeasured", self.score_sd_unmeasured),
        ] {
            if !sound(value) {
                return Err(format!("{name} must be at least 0"));
            }
        }
        match self.missing.iter().find(|m| !sound(m.log_risk_sd) || !sound(m.score_sd)) {
            Some(wrong) => Err(format!("spreads of missing `{}` must be at least 0", wrong.feature)),
            None => Ok(()),
        }
    }
}

impl Risk {
    /// Peers of a person: the narrowest group that holds the age, of the same sex where there is one.
    #[must_use]
    pub fn reference(&self, age_years: f64, sex: Option<&str>) -> Option<&Reference> {
        let holds = |r: &&Reference| r.ages.from <= age_years && age_years < r.ages.to;
        let narrowest = |of: Option<&str>| {
            let peers = self.references.iter().filter(holds).filter(|r| r.sex.as_deref() == of);
            peers.min_by(|a, b| (a.ages.to - a.ages.from).total_cmp(&(b.ages.to - b.ages.from)))
        };
        narrowest(sex).or_else(|| narrowest(None))
    }

    /// Interval of the score of a case among `peers` that lacks the inputs for which `missing` says so. Its width
    /// depends on the group and on what is absent, and every absent input adds to it: an interval that would leave 0 to
    /// 100 is moved back inside rather than cut.
    #[must_use]
    pub fn score_interval(
        &self,
        score: f64,
        peers: Option<&Reference>,
        missing: impl Fn(&str) -> bool,
        coverage: f64,
    ) -> Interval {
        let width = peers.and_then(|peers| peers.width).unwrap_or(self.spread.score);
        let half = width.half_width.hypot(width.missing_factor * self.spread.points(missing)).min(50.0);
        let middle = score.clamp(half, 100.0 - half);
        Interval { low: middle - half, high: middle + half, coverage }
    }

    /// Probability of the event within the horizon.
    #[must_use]
    pub fn absolute(&self, log_risk: f64) -> f64 {
        -(-self.background_hazard - self.baseline_hazard * (self.slope * log_risk).exp()).exp_m1()
    }

    /// Interval of the absolute risk.
    #[must_use]
    pub fn absolute_interval(&self, log_risk: f64, half_width: f64, coverage: f64) -> Interval {
        let risk = self.absolute(log_risk);
        let index = self.bins.partition_point(|bin| bin.start <= risk).saturating_sub(1);
        let (low, high) = self.bins.get(index).map_or((0.0, 1.0), |bin| (bin.low, bin.high));
        let of_model = Interval {
            low: self.absolute(log_risk - half_width),
            high: self.absolute(log_risk + half_width),
            coverage,
        };
        of_model.including(low.min(risk)).including(high.max(risk)).clamped(0.0, 1.0)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |value: f64, what: &str| {
            if value.is_finite() && value > 0.0 { Ok(()) } else { Err(format!("{what} must be above 0")) }
        };
        positive(self.horizon_years, "horizon_years")?;
        positive(self.baseline_hazard, "baseline_hazard")?;
        positive(self.slope, "slope")?;
        if !(self.background_hazard.is_finite() && self.background_hazard >= 0.0) {
            return Err("background_hazard must be at least 0".into());
        }
        let widths = self.references.iter().filter_map(|peers| peers.width);
        widths.into_iter().try_for_each(|width| {
            positive(width.half_width, "width.half_width of a group of peers")?;
            positive(width.missing_factor, "width.missing_factor of a group of peers")
        })?;
        self.spread.check()?;
        if self.references.is_empty() {
            return Err("references must not be empty".into());
        }
        self.references.iter().try_for_each(|r| r.excess.check("excess"))?;
        let sane = |bin: &RiskBin| 0.0 <= bin.low && bin.low <= bin.high && bin.high <= 1.0;
        if self.bins.iter().all(sane) && self.bins.is_sorted_by(|a, b| a.start <= b.start) {
            Ok(())
        } else {
            Err("bins must ascend, each with 0 <= low <= high <= 1".into())
        }
    }
}

/// The group of peers with these excesses of the log-risk. `None` without people.
#[must_use]
pub fn fit_reference(sex: Option<&str>, ages: AgeBand, excess: Vec<f64>) -> Option<Reference> {
    let n = excess.len() as u64;
    Some(Reference { sex: sex.map(Into::into), ages, excess: Grid::of(excess, GRID_POINTS)?, n, width: None })
}

/// Measures a survival model on held-out people; see the fields of [`Risk`] for the parts that come from elsewhere.
/// `None` when no event was seen before the horizon.
#[must_use]
pub fn fit_risk(
    event: &str,
    horizon_years: f64,
    cases: &[RiskCase],
    references: Vec<Reference>,
    spread: RiskSpread,
    coverage: f64,
) -> Option<Risk> {
    let hazard::Hazard { baseline, background, slope } = hazard::fit(cases, horizon_years)?;
    let fitted = Risk {
        event: event.into(),
        horizon_years,
        baseline_hazard: baseline,
        background_hazard: background,
        slope,
        spread,
        references,
        bins: Vec::new(),
    };
    let bins = risk_bins(&fitted, cases, coverage);
    Some(Risk { bins, ..fitted })
}

fn risk_bins(risk: &Risk, cases: &[RiskCase], coverage: f64) -> Vec<RiskBin> {
    let mut sorted: Vec<(f64, &RiskCase)> =
        cases.iter().map(|case| (risk.absolute(case.log_risk), case)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bin = |chunk: &[(f64, &RiskCase)]| {
        let people: Vec<&RiskCase> = chunk.iter().map(|(_, case)| *case).collect();
        let (_, low, high) = kaplan_meier(people, risk.horizon_years, coverage);
        RiskBin { start: chunk[0].0, low, high }
    };
    sorted.chunks(cases.len().div_ceil(BINS).max(1)).map(bin).collect()
}

/// Share of `cases` with the event by the horizon, lower and upper end: Kaplan-Meier with Greenwood's variance.
#[must_use]
pub fn observed_risk(cases: &[RiskCase], horizon_years: f64, coverage: f64) -> (f64, f64, f64) {
    kaplan_meier(cases.iter().collect(), horizon_years, coverage)
}

/// The share with the event by the horizon and its ends on the log-minus-log scale, which stays inside 0 to 1.
fn kaplan_meier(mut people: Vec<&RiskCase>, horizon_years: f64, coverage: f64) -> (f64, f64, f64) {
    people.sort_by(|a, b| a.years.total_cmp(&b.years));
    let (mut survival, mut variance, mut left) = (1.0f64, 0.0f64, people.len() as f64);
    for group in people.chunk_by(|a, b| a.years == b.years) {
        let events = group.iter().filter(|case| case.event).count() as f64;
        if group[0].years > horizon_years {
            break;
        }
        survival *= 1.0 - events / left;
        variance += if left > events { events / (left * (left - events)) } else { 0.0 };
        left -= group.len() as f64;
    }
    if survival >= 1.0 || survival <= 0.0 {
        let (low, high) =
            super::wilson((1.0 - survival) * people.len() as f64, people.len() as f64, coverage);
        return (1.0 - survival, low, high);
    }
    let log = survival.ln();
    let spread = normal_quantile(0.5 + coverage / 2.0) * variance.sqrt() / log.abs();
    (1.0 - survival, 1.0 - survival.powf((-spread).exp()), 1.0 - survival.powf(spread.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Exponential survival: hazard 0.02 a year times exp(log_risk), observed for at most 15 years.
    fn cases(seed: u64, n: usize) -> Vec<RiskCase> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let log_risk: f64 = rng.random_range(-1.0..1.0);
            let years = -rng.random_range(1e-9f64..1.0).ln() / (0.02 * log_risk.exp());
            RiskCase { log_risk, years: years.min(15.0), event: years < 15.0 }
        };
        (0..n).map(|_| case()).collect()
    }

    fn fitted() -> Risk {
        let cases = cases(7, 4000);
        let all = || cases.iter().map(|case| case.log_risk).collect::<Vec<_>>();
        let ages = AgeBand { from: 20.0, to: 120.0 };
        let references = vec![
            fit_reference(None, ages, all()).expect("people"),
            fit_reference(Some("female"), AgeBand { from: 50.0, to: 60.0 }, all()).expect("people"),
        ];
        let missing =
            |feature: &str, score_sd| MissingSpread { feature: feature.into(), log_risk_sd: 0.3, score_sd };
        let spread = RiskSpread {
            log_risk_half_width: 0.1,
            score: ScoreWidth { half_width: 4.0, missing_factor: 1.6 },
            score_sd_unmeasured: 26.0,
            missing: vec![missing("creatinine", 10.0), missing("bmi", 3.0), missing("smoker", 25.0)],
        };
        fit_risk("death", 10.0, &cases, references, spread, 0.9).expect("events")
    }

    #[test]
    fn the_baseline_is_found_again() {
        let risk = fitted();
        assert!((risk.baseline_hazard - 0.2).abs() < 0.03, "{}", risk.baseline_hazard);
        assert!((risk.absolute(0.0) - (1.0 - (-0.2f64).exp())).abs() < 0.015);
        assert!(risk.check().is_ok());
    }

    #[test]
    fn observed_intervals_hold_the_true_risk() {
        let risk = fitted();
        for log_risk in [-0.9, -0.3, 0.0, 0.4, 0.9] {
            let interval = risk.absolute_interval(log_risk, 0.1, 0.9);
            let truth = 1.0 - (-0.2 * f64::exp(log_risk)).exp();
            assert!(interval.low <= truth && truth <= interval.high, "{log_risk}: {interval:?} {truth}");
            assert!(interval.high - interval.low < 0.15);
        }
    }

    #[test]
    fn peers_are_of_the_same_sex_where_known() {
        let risk = fitted();
        assert_eq!(risk.reference(55.0, Some("female")).and_then(|r| r.sex.as_deref()), Some("female"));
        assert_eq!(risk.reference(55.0, Some("male")).map(|r| r.sex.is_none()), Some(true));
        assert_eq!(risk.reference(55.0, None).map(|r| r.sex.is_none()), Some(true));
        assert_eq!(risk.reference(5.0, None), None);
    }

    #[test]
    fn a_missing_input_widens_the_interval() {
        let spread = fitted().spread;
        let complete = spread.log_risk(|_| false, 0.9);
        let without = spread.log_risk(|feature| feature == "creatinine", 0.9);
        assert!((complete - 0.1).abs() < 1e-12 && without > 0.4, "{without}");
    }

    #[test]
    fn hiding_one_more_input_never_narrows_the_interval_of_any_score() {
        let risk = fitted();
        let spread = &risk.spread;
        let width = |score: f64, mask: usize, peers: Option<&Reference>| {
            let missing = |name: &str| {
                let at = spread.missing.iter().position(|input| input.feature == name);
                at.is_some_and(|at| mask >> at & 1 == 1)
            };
            let interval = risk.score_interval(score, peers, missing, 0.9);
            assert!(0.0 <= interval.low && interval.high <= 100.0);
            assert!(interval.low <= score && score <= interval.high, "{score}: {interval:?}");
            interval.high - interval.low
        };
        for mask in 0..8 {
            for more in (0..3).map(|at| mask | 1 << at).filter(|more| *more != mask) {
                // The score moves when an input is hidden, wherever to.
                for (before, after) in [(50.0, 50.0), (50.0, 0.0), (3.0, 60.0), (99.0, 100.0)] {
                    assert!(width(after, more, None) > width(before, mask, None), "{mask:b} {more:b}");
                    let own = ScoreWidth { half_width: 3.0, missing_factor: 1.1 };
                    let peers = Reference { width: Some(own), ..risk.references[0].clone() };
                    assert!(width(after, more, Some(&peers)) > width(before, mask, Some(&peers)));
                    assert!(width(after, mask, Some(&peers)) < width(after, mask, None), "its own width");
                }
            }
        }
    }

    #[test]
    fn nobody_and_no_event_make_no_model() {
        let quiet = vec![RiskCase { log_risk: 0.0, years: 10.0, event: false }; 50];
        assert!(fit_risk("death", 10.0, &quiet, Vec::new(), RiskSpread::default(), 0.9).is_none());
        assert!(fit_reference(None, AgeBand { from: 0.0, to: 9.0 }, Vec::new()).is_none());
    }
}
