//! What a policy says to the figures of a version in shadow or canary: go on, wait, or go back.

use super::{Policy, Rollback};
use crate::{release::Release, state::State};

/// What was seen of a version beside the live one, over a step or the latest part of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Requests it answered.
    pub answered: u64,
    /// Requests it failed and the live version answered.
    pub failed: u64,
    /// Answers like the live version's.
    pub agreed: u64,
    /// Answers unlike it.
    pub differed: u64,
    /// 95th percentile of its runs, µs, and how many there were.
    pub p95_us: (u64, u64),
    /// The same of the live version.
    pub live_p95_us: (u64, u64),
    /// Why its inputs or outputs are not what they were, where somebody says so.
    pub drift: Option<String>,
}

/// What becomes of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It stays as it is.
    Wait,
    /// It becomes canary with the first share.
    Canary,
    /// The share of the callers becomes this one.
    Share(u8),
    /// It becomes live.
    Live,
    /// It is taken back, for the reason given.
    Back(String),
}

impl Policy {
    /// What becomes of `release`, which is in `state`, at `now_ms`; `step` was seen since it is so, `latest` last.
    #[must_use]
    pub fn next(&self, release: &Release, state: State, now_ms: i64, step: &Seen, latest: &Seen) -> Next {
        let breach = self.rollback.breach(latest).or_else(|| self.rollback.breach(step));
        if let Some(reason) = breach {
            return Next::Back(reason);
        }
        let shadow = state == State::Shadow;
        let time_s = if shadow { self.shadow.time_s } else { self.canary.step_s };
        let passed_s = now_ms.saturating_sub(release.since_ms) as f64 / 1e3;
        if passed_s < time_s || !self.rollback.is_enough(step, shadow) {
            return Next::Wait;
        }
        if shadow {
            return Next::Canary;
        }
        let wider = self.canary.steps.iter().find(|share| **share > release.share);
        wider.map_or(Next::Live, |share| Next::Share(*share))
    }

    /// The share with which a version starts in `state`.
    #[must_use]
    pub fn first_share(&self, state: State) -> u8 {
        if state == State::Shadow {
            self.shadow.share
        } else {
            self.canary.steps.first().copied().unwrap_or(100)
        }
    }

    /// What a release does now and what ends that, as a sentence.
    #[must_use]
    pub fn tell(&self, state: State, share: u8) -> String {
        let least = self.rollback.answers_min;
        if state == State::Shadow {
            let time_s = self.shadow.time_s;
            return format!(
                "is sent {share} % of the requests and answers none; canary after {time_s} s and {least} comparisons within the policy"
            );
        }
        let next = self.canary.steps.iter().find(|next| **next > share);
        let next = next.map_or_else(|| "live".to_owned(), |next| format!("{next} %"));
        let step_s = self.canary.step_s;
        format!(
            "answers {share} % of the callers; {next} after {step_s} s and {least} answers within the policy"
        )
    }
}

impl Rollback {
    /// What is outside the policy, with its figures. So few answers that they say nothing are as many as would say
    /// something, all of them right: a version that fails at once need not fail long.
    fn breach(&self, seen: &Seen) -> Option<String> {
        if let Some(reason) = seen.drift.as_ref().filter(|_| self.on_drift) {
            return Some(format!("drift: {reason}"));
        }
        let asked = seen.answered + seen.failed;
        let rate = seen.failed as f64 / asked.max(self.answers_min).max(1) as f64;
        if rate > self.error_rate_max {
            return Some(format!(
                "errors: failed {} of {asked} requests that the live version answered, more than {} %",
                seen.failed,
                self.error_rate_max * 100.0
            ));
        }
        let compared = seen.agreed + seen.differed;
        let apart = seen.differed as f64 / compared.max(self.answers_min).max(1) as f64;
        if apart > 1.0 - self.agreement_min {
            return Some(format!(
                "agreement: {} of {compared} answers are like the live version's, fewer than {} %",
                seen.agreed,
                self.agreement_min * 100.0
            ));
        }
        self.slow(seen)
    }

    fn slow(&self, seen: &Seen) -> Option<String> {
        let ((own, owns), (live, lives)) = (seen.p95_us, seen.live_p95_us);
        if owns < self.answers_min || lives < self.answers_min || own < self.latency_us_free {
            return None;
        }
        let most = live.max(1) as f64 * self.latency_ratio_max;
        (own as f64 > most).then(|| {
            format!(
                "latency: the 95th percentile of its runs is {own} us, more than {} times the live version's {live} us",
                self.latency_ratio_max
            )
        })
    }

    /// Whether so much was seen that a step may end.
    fn is_enough(&self, seen: &Seen, shadow: bool) -> bool {
        let count = if shadow { seen.agreed + seen.differed } else { seen.answered };
        count >= self.answers_min
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(share: u8) -> Release {
        Release { model: "m".into(), number: 2, share, since_ms: 0 }
    }

    fn good() -> Seen {
        Seen { answered: 500, agreed: 500, p95_us: (900, 500), live_p95_us: (800, 500), ..Seen::default() }
    }

    fn next(share: u8, state: State, now_s: i64, seen: &Seen) -> Next {
        Policy::default().next(&at(share), state, now_s * 1_000, seen, seen)
    }

    #[test]
    fn a_good_version_goes_up_step_by_step_and_is_live_after_the_last() {
        let walk = |share| next(share, State::Canary, 600, &good());
        assert_eq!([walk(5), walk(25), walk(50)], [25, 50, 100].map(Next::Share));
        assert_eq!(walk(100), Next::Live);
        assert_eq!(next(100, State::Shadow, 600, &good()), Next::Canary);
    }

    #[test]
    fn neither_time_nor_answers_alone_are_enough() {
        assert_eq!(next(5, State::Canary, 599, &good()), Next::Wait);
        let few = Seen { answered: 49, ..Seen::default() };
        assert_eq!(next(5, State::Canary, 6_000, &few), Next::Wait);
        assert_eq!(next(100, State::Shadow, 6_000, &few), Next::Wait, "a shadow is judged by comparisons");
    }

    #[test]
    fn each_bound_takes_it_back_with_its_figures() {
        for (seen, told) in [
            (Seen { failed: 6, ..good() }, "errors: failed 6 of 506"),
            (Seen { failed: 1, ..Seen::default() }, "errors: failed 1 of 1"),
            (Seen { agreed: 100, differed: 30, ..good() }, "agreement: 100 of 130"),
            (
                Seen { p95_us: (2_500, 90), live_p95_us: (1_000, 90), ..good() },
                "latency: the 95th percentile",
            ),
            (Seen { drift: Some("tsh".into()), ..good() }, "drift: tsh"),
        ] {
            let Next::Back(reason) = next(25, State::Canary, 1, &seen) else { panic!("{seen:?} stays") };
            assert!(reason.starts_with(told), "{reason}");
        }
        let quick = Seen { p95_us: (1_900, 90), live_p95_us: (10, 90), ..good() };
        assert_eq!(next(25, State::Canary, 1, &quick), Next::Wait, "short enough whatever the ratio");
        let rare = Seen { p95_us: (9_000, 49), live_p95_us: (10, 500), ..good() };
        assert_eq!(next(25, State::Canary, 1, &rare), Next::Wait, "a few slow runs say nothing");
    }

    #[test]
    fn the_latest_answers_count_where_the_whole_step_hides_them() {
        let policy = Policy::default();
        let (step, latest) = (
            Seen { answered: 100_000, failed: 60, ..good() },
            Seen { answered: 40, failed: 60, ..Seen::default() },
        );
        assert_eq!(policy.next(&at(5), State::Canary, 1, &step, &step), Next::Wait);
        assert!(matches!(policy.next(&at(5), State::Canary, 1, &step, &latest), Next::Back(_)));
    }

    proptest! {
        /// More failures never save a version.
        #[test]
        fn worse_is_never_better(answered in 0..10_000_u64, failed in 0..500_u64, more in 0..500_u64) {
            let judged = |failed| next(5, State::Canary, 1, &Seen { answered, failed, ..Seen::default() });
            if matches!(judged(failed), Next::Back(_)) {
                prop_assert!(matches!(judged(failed + more), Next::Back(_)));
            }
        }
    }
}
