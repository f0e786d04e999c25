//! From a log-risk to a hazard: Breslow's baseline, a slope, and what everybody is exposed to.
//!
//! Breslow's estimate with a slope of 1 gives the shape of the hazard over time and takes care of those lost on the way;
//! measured in it, time runs evenly from 0 to 1 at the horizon. In this time the hazard is
//! `background + baseline * exp(slope * log_risk)`, whose three figures maximise the likelihood of the held-out cases.
//! For a slope and a ratio of background to baseline the level follows from the number of events, which leaves two
//! figures to search, on grids.

use super::RiskCase;

/// Slopes that are tried: first, step, number.
const SLOPES: (f64, f64, u32) = (0.4, 0.02, 51);
/// Ratios of background to baseline that are tried beside none: first, factor, number.
const RATIOS: (f64, f64, u32) = (1e-3, 1.25, 31);

/// Hazard cumulated to the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hazard {
    /// At a log-risk of 0, above 0.
    pub(super) baseline: f64,
    /// Of everybody.
    pub(super) background: f64,
    /// Factor on the log-risk.
    pub(super) slope: f64,
}

/// The hazard of held-out `cases`; `None` when no event was seen before the horizon.
pub(super) fn fit(cases: &[RiskCase], horizon_years: f64) -> Option<Hazard> {
    let seen = in_even_time(cases, horizon_years)?;
    let slopes = (0..SLOPES.2).map(|at| SLOPES.0 + SLOPES.1 * f64::from(at));
    let ratios = || (0..RATIOS.2).map(|at| RATIOS.0 * RATIOS.1.powi(at as i32));
    let plain = judged(&seen, 1.0, 0.0);
    let others =
        slopes.flat_map(|slope| std::iter::once(0.0).chain(ratios()).map(move |ratio| (slope, ratio)));
    let best = others.map(|(slope, ratio)| judged(&seen, slope, ratio));
    let best = best.fold(plain, |best, next| if next.0 > best.0 { next } else { best });
    Some(best.1)
}

/// A case with its time as a share of Breslow's hazard at the horizon.
struct Seen {
    log_risk: f64,
    time: f64,
    event: bool,
}

fn in_even_time(cases: &[RiskCase], horizon_years: f64) -> Option<Vec<Seen>> {
    let steps = breslow(cases, horizon_years);
    let last = steps.last()?.1;
    let seen = |case: &RiskCase| {
        let passed = steps.partition_point(|(years, _)| *years <= case.years);
        let time = passed.checked_sub(1).map_or(0.0, |at| steps[at].1 / last);
        Seen { log_risk: case.log_risk, time, event: case.event && case.years <= horizon_years }
    };
    Some(cases.iter().map(seen).collect())
}

/// Years of each event up to the horizon and the hazard cumulated by then: at every event, one over the summed relative
/// risks of those still observed.
fn breslow(cases: &[RiskCase], horizon_years: f64) -> Vec<(f64, f64)> {
    let mut latest_first: Vec<&RiskCase> = cases.iter().collect();
    latest_first.sort_by(|a, b| b.years.total_cmp(&a.years));
    let mut at_risk = 0.0;
    let mut steps = Vec::new();
    for group in latest_first.chunk_by(|a, b| a.years == b.years) {
        at_risk += group.iter().map(|case| case.log_risk.exp()).sum::<f64>();
        let events = group.iter().filter(|case| case.event).count();
        if events > 0 && group[0].years <= horizon_years {
            steps.push((group[0].years, events as f64 / at_risk));
        }
    }
    steps.reverse();
    let mut hazard = 0.0;
    for (_, step) in &mut steps {
        hazard += *step;
        *step = hazard;
    }
    steps
}

/// Log-likelihood, and the hazard whose level fits the number of events.
fn judged(seen: &[Seen], slope: f64, ratio: f64) -> (f64, Hazard) {
    let relative = |case: &Seen| ratio + (slope * case.log_risk).exp();
    let exposed: f64 = seen.iter().map(|case| case.time * relative(case)).sum();
    let events: Vec<f64> = seen.iter().filter(|case| case.event).map(|case| relative(case).ln()).collect();
    let level = events.len() as f64 / exposed;
    // The exposure at this level is the number of events whatever the slope, and so drops out.
    let likelihood = events.iter().sum::<f64>() + events.len() as f64 * level.ln();
    (likelihood, Hazard { baseline: level, background: level * ratio, slope })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Cases of which each meets `hazard` over ten years, some lost before.
    fn cases(hazard: &Hazard, seed: u64, n: usize) -> Vec<RiskCase> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut case = || {
            let log_risk: f64 = rng.random_range(-3.0..3.0);
            let level = hazard.background + hazard.baseline * (hazard.slope * log_risk).exp();
            let years = -10.0 * rng.random_range(1e-9f64..1.0).ln() / level;
            let lost = rng.random_range(3.0..15.0);
            RiskCase { log_risk, years: years.min(lost), event: years < lost }
        };
        (0..n).map(|_| case()).collect()
    }

    #[test]
    fn a_network_that_is_too_sure_is_told_so() {
        for (slope, background) in [(1.0, 0.0), (0.7, 0.0), (1.0, 0.03), (0.8, 0.02)] {
            let truth = Hazard { baseline: 0.05, background, slope };
            // So many that slope and background, which stand in for each other, are told apart.
            let found = fit(&cases(&truth, 5, 60_000), 10.0).expect("events");
            assert!((found.slope - slope).abs() < 0.1, "{found:?} {truth:?}");
            assert!((found.background - background).abs() < 0.012, "{found:?} {truth:?}");
            assert!((found.baseline - 0.05).abs() < 0.012, "{found:?} {truth:?}");
        }
    }

    #[test]
    fn nobody_and_no_event_have_no_hazard() {
        assert_eq!(fit(&[], 10.0), None);
        assert_eq!(fit(&[RiskCase { log_risk: 0.0, years: 5.0, event: false }; 9], 10.0), None);
        assert_eq!(fit(&[RiskCase { log_risk: 0.0, years: 11.0, event: true }; 9], 10.0), None);
    }

    proptest! {
        #[test]
        fn breslow_is_the_double_sum(rows in prop::collection::vec((1u8..12, any::<bool>(), 0u8..8), 2..40)) {
            let case = |&(years, event, risk): &(u8, bool, u8)| RiskCase {
                log_risk: f64::from(risk) / 4.0 - 1.0,
                years: f64::from(years),
                event,
            };
            let cases: Vec<RiskCase> = rows.iter().map(case).collect();
            let dead = cases.iter().filter(|case| case.event && case.years <= 8.0);
            let step = |dead: &RiskCase| {
                let at_risk = cases.iter().filter(|other| other.years >= dead.years);
                1.0 / at_risk.map(|other| other.log_risk.exp()).sum::<f64>()
            };
            let expected: f64 = dead.map(step).sum();
            let found = breslow(&cases, 8.0).last().map_or(0.0, |step| step.1);
            prop_assert!((found - expected).abs() < 1e-9 * expected.max(1.0));
        }

        #[test]
        fn as_many_events_are_expected_as_were_seen(seed in 0u64..40, slope in 0.5f64..1.3) {
            let cases = cases(&Hazard { baseline: 0.1, background: 0.01, slope }, seed, 300);
            let found = fit(&cases, 10.0).expect("events");
            let seen = in_even_time(&cases, 10.0).expect("events");
            let of = |case: &Seen| case.time * (found.background + found.baseline * (found.slope * case.log_risk).exp());
            let (expected, events) = (seen.iter().map(of).sum::<f64>(), seen.iter().filter(|case| case.event).count());
            prop_assert!((expected - events as f64).abs() < 1e-6 * events as f64, "{expected} {events}");
        }
    }
}
