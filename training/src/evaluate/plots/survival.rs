//! Pictures of risks over follow-up: whether as many died as were expected, and who lived on.

use super::{Axis, Curves, Plot, Series};

/// Groups of equal size, from the lowest risk to the highest, of the calibration.
const TENTHS: usize = 10;
/// Fewest people of a group whose curve is drawn.
const PEOPLE_MIN: usize = 20;

/// Follow-up of some people.
#[derive(Debug, Clone, Copy)]
pub struct Followed<'a> {
    /// Years observed.
    pub years: &'a [f64],
    /// Whether death ended them.
    pub died: &'a [bool],
}

impl Followed<'_> {
    /// Share of `people` alive after each death, by Kaplan and Meier; begins with everybody.
    fn alive(&self, people: &[usize]) -> Vec<(f64, f64)> {
        let mut order = people.to_vec();
        order.sort_by(|a, b| self.years[*a].total_cmp(&self.years[*b]));
        let (mut alive, mut left) = (1.0, order.len() as f64);
        let mut points = vec![(0.0, 1.0)];
        for together in order.chunk_by(|a, b| self.years[*a] == self.years[*b]) {
            let deaths = together.iter().filter(|person| self.died[**person]).count();
            if deaths > 0 {
                let year = self.years[together[0]];
                points.push((year, alive));
                alive *= 1.0 - deaths as f64 / left;
                points.push((year, alive));
            }
            left -= together.len() as f64;
        }
        points
    }

    /// Share of `people` dead by `horizon`, with the interval by Greenwood's formula.
    fn dead_by(&self, horizon: f64, people: &[usize]) -> (f64, (f64, f64)) {
        let mut order = people.to_vec();
        order.sort_by(|a, b| self.years[*a].total_cmp(&self.years[*b]));
        let (mut alive, mut spread, mut left) = (1.0, 0.0, order.len() as f64);
        for together in order.chunk_by(|a, b| self.years[*a] == self.years[*b]) {
            if self.years[together[0]] > horizon {
                break;
            }
            let deaths = together.iter().filter(|person| self.died[**person]).count() as f64;
            alive *= 1.0 - deaths / left;
            if left > deaths {
                spread += deaths / (left * (left - deaths));
            }
            left -= together.len() as f64;
        }
        let half = 1.96 * alive * f64::sqrt(spread);
        let dead = 1.0 - alive;
        (dead, ((dead - half).max(0.0), (dead + half).min(1.0)))
    }
}

/// People from the lowest to the highest of `by`, in groups of equal size.
fn ranked(by: &[f64], groups: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..by.len()).collect();
    order.sort_by(|a, b| by[*a].total_cmp(&by[*b]));
    let at = |group: usize| group * order.len() / groups;
    (0..groups)
        .map(|group| order[at(group)..at(group + 1)].to_vec())
        .filter(|group| !group.is_empty())
        .collect()
}

/// Share dead within `horizon` years beside the share expected, in tenths of the expected risk.
#[must_use]
pub fn survival_calibration(expected: &[f64], followed: Followed<'_>, horizon: f64) -> Plot {
    let (mut points, mut whiskers) = (Vec::new(), Vec::new());
    for people in ranked(expected, TENTHS) {
        let mean = people.iter().map(|person| expected[*person]).sum::<f64>() / people.len() as f64;
        let (dead, between) = followed.dead_by(horizon, &people);
        points.push((mean, dead));
        whiskers.push(between);
    }
    Plot::Curves(Curves {
        title: format!("Calibration of the risk of death within {horizon:.0} years"),
        caption:
            "Tenths of the test people by expected risk; what happened is by Kaplan and Meier, with 95 % \
                  intervals by Greenwood. On the diagonal as many died as were expected."
                .into(),
        x: Axis::new("share expected to die"),
        y: Axis::new("share that died"),
        series: vec![Series::dots("model", points, whiskers)],
        diagonal: true,
    })
}

/// Share alive over the years, in thirds of risk.
#[must_use]
pub fn survival_by_risk(risk: &[f64], followed: Followed<'_>) -> Plot {
    let names = ["highest third of risk", "middle third", "lowest third"];
    let thirds = ranked(risk, names.len()).into_iter().rev().zip(names);
    let drawn = thirds.filter(|(people, _)| people.len() >= PEOPLE_MIN);
    Plot::Curves(Curves {
        title: "Survival by risk".into(),
        caption: "Share alive by Kaplan and Meier, in thirds of the test people by risk.".into(),
        x: Axis::new("years"),
        y: Axis::share("share alive"),
        series: drawn.map(|(people, name)| Series::line(name, &followed.alive(&people))).collect(),
        diagonal: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: [f64; 4] = [1.0, 2.0, 3.0, 12.0];
    const DIED: [bool; 4] = [true, false, true, true];

    #[test]
    fn the_censored_leave_without_dying() {
        let followed = Followed { years: &YEARS, died: &DIED };
        // One of four dies at 1, one is lost at 2, one of two dies at 3: 1 - 3/4 * 1/2.
        let (dead, (low, high)) = followed.dead_by(10.0, &[0, 1, 2, 3]);
        assert!((dead - 0.625).abs() < 1e-12 && low < dead && dead < high, "{dead} {low} {high}");
        let alive = followed.alive(&[0, 1, 2, 3]);
        assert_eq!(alive[..5], [(0.0, 1.0), (1.0, 1.0), (1.0, 0.75), (3.0, 0.75), (3.0, 0.375)]);
        assert_eq!(alive.last().map(|point| point.1), Some(0.0), "the last one dies too");
    }

    #[test]
    fn tenths_hold_everybody_once_in_order() {
        let by: Vec<f64> = (0..103).map(|i| f64::from((i * 37) % 103)).collect();
        let groups = ranked(&by, TENTHS);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 103);
        let ends = |group: &Vec<usize>| {
            let of = group.iter().map(|person| by[*person]);
            (of.clone().fold(f64::INFINITY, f64::min), of.fold(0.0, f64::max))
        };
        assert!(groups.windows(2).all(|pair| ends(&pair[0]).1 < ends(&pair[1]).0));
    }

    #[test]
    fn a_third_of_few_people_has_no_curve() {
        let followed = Followed { years: &YEARS, died: &DIED };
        let Plot::Curves(plot) = survival_by_risk(&[0.1, 0.2, 0.3, 0.4], followed) else { panic!("curves") };
        assert!(plot.series.is_empty());
    }
}
