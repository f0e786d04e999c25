//! The series detector on two published series. Nothing is trained and no bundle made: the detector learns from the
//! ordinary start of each series.
//!
//! The rule is the same for both: the start is the 1,200 points that the first source gives to train on, the window is
//! the dominant period of the start, found without the marks. The rule itself was settled on with the marks of these two
//! series in view, after other windows and scores, so the figures flatter it. Points are scored in one pass; a point
//! counts with its settled score, which is known a window after it, and the score at arrival is reported beside it.

use std::ops::Range;

use anyhow::{Context as _, Result};
use models::family::discord::{Discord, Scored};

use crate::data::{Store, series, series::MarkedSeries};
use crate::evaluate::baseline::{Side, covering_mean, matrix_profile};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Benchmark, Target, metrics};

/// Name on the command line.
pub const NAME: &str = "series-anomaly";
/// Points of the start.
const START: usize = 1_200;
/// How far from the marked stretch the highest score may lie, as the archive counts.
const NEAR: usize = 100;
/// Windows of the matrix profile in published figures on the electrocardiogram.
const PUBLISHED_WINDOW: usize = 120;

/// A series with its points after the start scored.
struct Streamed {
    window: usize,
    /// Points that were settled, in order from the start.
    settled: Vec<Scored>,
    /// Settled distances of all points; of the last ones, whose windows end with the series, as far as it goes.
    distances: Vec<f64>,
    /// Distances of the same points at arrival.
    arrival: Vec<f64>,
    strange: Vec<bool>,
    /// Stated probability of a false alarm within a window.
    rate: f64,
}

/// The figures on both series, beside simple methods computed in the same run.
///
/// # Errors
/// Data that cannot be had, or a series that the detector refuses.
pub fn benchmarks(store: &Store) -> Result<Vec<Benchmark>> {
    let (pressure, heart) = (series::ucr135(store)?, series::mitdb(store)?);
    let (first, second) = (stream(&pressure)?, stream(&heart)?);
    let mut benchmarks = vec![hit(&pressure, &first)];
    benchmarks.extend(area(&heart, &second)?);
    benchmarks.extend([false_alarms("ucr135", &first), false_alarms("mitdb", &second)].into_iter().flatten());
    Ok(benchmarks)
}

/// One pass over the points after the start.
fn stream(series: &MarkedSeries) -> Result<Streamed> {
    let name = series.name;
    let (start, rest) =
        series.values.split_at_checked(START).with_context(|| format!("`{name}` is too short"))?;
    let mut discord = Discord::new(start).with_context(|| format!("the start of `{name}`"))?;
    let (mut settled, mut arrival) = (Vec::new(), Vec::new());
    for value in rest {
        let step = discord.push(*value).with_context(|| format!("a point of `{name}`"))?;
        arrival.push(step.arrival.distance);
        settled.extend(step.settled);
    }
    let mut distances: Vec<f64> = settled.iter().map(|point| point.distance).collect();
    distances.extend((settled.len()..arrival.len()).map(|at| metrics::mean(arrival[at..].iter().copied())));
    let strange = (START..series.values.len()).map(|at| series.strange.contains(&at)).collect();
    let (window, rate) = (discord.window(), discord.false_alarm_rate());
    Ok(Streamed { window, settled, distances, arrival, strange, rate })
}

impl Streamed {
    /// Points of the whole series that are judged.
    fn judged(&self) -> Range<usize> {
        START..START + self.distances.len()
    }

    fn protocol(&self) -> String {
        format!(
            "one pass after {START} ordinary points; window {} by the period of these; each point by its settled \
             score, known {} points after it or at the end",
            self.window,
            self.window - 1
        )
    }
}

/// Simple methods, a score for each point of the series.
fn simple(series: &MarkedSeries, window: usize) -> Vec<(&'static str, Vec<f64>)> {
    let values = &series.values;
    let steps = std::iter::once(0.0).chain(values.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
    let profile = |window, side| covering_mean(&matrix_profile(values, window, side), window);
    vec![
        ("persistence", steps.collect()),
        ("matrix profile of 120 points, whole series", profile(PUBLISHED_WINDOW, Side::Both)),
        ("left matrix profile of a period", profile(window, Side::Left)),
    ]
}

fn highest(scores: &[f64]) -> usize {
    (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or_default()
}

/// Whether the highest score lies at the marked stretch.
fn hit(series: &MarkedSeries, streamed: &Streamed) -> Benchmark {
    let near = series.strange.start.saturating_sub(NEAR)..series.strange.end + NEAR;
    let hits = |scores: &[f64]| f64::from(u8::from(near.contains(&(START + highest(scores)))));
    let beside = simple(series, streamed.window).into_iter();
    let beside = beside.map(|(name, scores)| (name, hits(&scores[streamed.judged()])));
    let best = beside.max_by(|a, b| a.1.total_cmp(&b.1));
    let benchmark = Benchmark::new(
        "ucr135/hit",
        hits(&streamed.distances),
        Target::AtLeast(1.0),
        streamed.distances.len(),
        &format!(
            "{}; 1 when the highest lies within {NEAR} points of the marked stretch",
            streamed.protocol()
        ),
    );
    benchmark.against(best.map_or("", |best| best.0), best.map(|best| best.1), None)
}

/// Areas under the curve of the settled scores and of those at arrival.
fn area(series: &MarkedSeries, streamed: &Streamed) -> Result<Vec<Benchmark>> {
    let truth = &streamed.strange;
    let of = |scores: &[f64], at: &[usize]| metrics::auroc(&pick(scores, at), &pick(truth, at));
    let everyone: Vec<usize> = (0..truth.len()).collect();
    let blocks = Blocks::of(truth, streamed.window);
    let beside = simple(series, streamed.window).into_iter();
    let beside: Vec<(&str, Vec<f64>)> =
        beside.map(|(name, scores)| (name, scores[streamed.judged()].to_vec())).collect();
    let named = beside.iter().filter_map(|(name, scores)| Some((*name, scores, of(scores, &everyone)?)));
    let best = named.max_by(|a, b| a.2.total_cmp(&b.2)).context("no marked point after the start")?;
    let figure = |key: &str, scores: &[f64], protocol: &str| -> Result<Benchmark> {
        let value = of(scores, &everyone).context("no marked point after the start")?;
        let benchmark = Benchmark::new(key, value, Target::AtLeast(0.94), truth.len(), protocol);
        let benchmark = benchmark.between(blocks.interval(|at| of(scores, at)));
        let gain = blocks.interval(|at| Some(of(scores, at)? - of(best.1, at)?));
        Ok(benchmark.against(best.0, Some(best.2), gain))
    };
    let arrival =
        format!("one pass after {START} ordinary points; window {}; each point at arrival", streamed.window);
    Ok(vec![
        figure("mitdb/auroc", &streamed.distances, &streamed.protocol())?,
        figure("mitdb/auroc_at_arrival", &streamed.arrival, &arrival)?,
    ])
}

/// Share of ordinary windows' worth of points in which an alarm is raised, against the stated probability.
fn false_alarms(task: &str, streamed: &Streamed) -> Option<Benchmark> {
    let Blocks { ordinary, .. } = Blocks::of(&streamed.strange[..streamed.settled.len()], streamed.window);
    let alarm = |block: &Vec<usize>| block.iter().any(|at| streamed.settled[*at].anomalous);
    let alarms: Vec<f64> = ordinary.iter().map(|block| f64::from(u8::from(alarm(block)))).collect();
    let share = |at: &[usize]| (!at.is_empty()).then(|| metrics::mean(at.iter().map(|i| alarms[*i])));
    let everyone: Vec<usize> = (0..alarms.len()).collect();
    let groups: Vec<u64> = (0..).take(alarms.len()).collect();
    let protocol =
        format!("{}; share of ordinary windows with an alarm, stated beforehand", streamed.protocol());
    let key = format!("{task}/false_alarm_rate");
    let benchmark =
        Benchmark::new(key, share(&everyone)?, Target::AtMost(streamed.rate), alarms.len(), &protocol);
    Some(benchmark.between(interval(&groups, share)))
}

/// Points of a series in stretches of a window, which are drawn whole; those that touch the marked stretch are kept in
/// every draw, because there is only one of it.
struct Blocks {
    ordinary: Vec<Vec<usize>>,
    kept: Vec<usize>,
}

impl Blocks {
    fn of(strange: &[bool], window: usize) -> Self {
        let points: Vec<usize> = (0..strange.len()).collect();
        let touched = |block: &&[usize]| block.iter().any(|at| strange[*at]);
        let blocks = points.chunks(window.max(1));
        Self {
            kept: blocks.clone().filter(touched).flatten().copied().collect(),
            ordinary: blocks.filter(|block| !touched(block)).map(<[usize]>::to_vec).collect(),
        }
    }

    fn interval(&self, figure: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
        let groups: Vec<u64> = (0..).take(self.ordinary.len()).collect();
        interval(&groups, |drawn| {
            let ordinary = drawn.iter().flat_map(|block| &self.ordinary[*block]);
            figure(&self.kept.iter().chain(ordinary).copied().collect::<Vec<usize>>())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::data::Provenance;

    use super::*;

    /// Beats of 50 points, one of them upside down.
    fn marked() -> MarkedSeries {
        let strange = 2_000..2_050;
        let beat = |at: usize| {
            let phase = (at % 50) as f64 / 50.0;
            let beat = (-(phase - 0.5).powi(2) / 0.01).exp() + 0.02 * (at as f64 * 1.7).sin();
            if strange.contains(&at) { -beat } else { beat }
        };
        let provenance = Provenance {
            source: String::new(),
            package: String::new(),
            version: String::new(),
            sha256: String::new(),
            license_package: String::new(),
            license_data: String::new(),
            citation: String::new(),
        };
        MarkedSeries {
            name: "t",
            values: (0..3_000).map(beat).collect(),
            strange: strange.clone(),
            provenance,
        }
    }

    #[test]
    fn a_beat_upside_down_is_hit_beside_the_simple_methods() {
        let series = marked();
        let streamed = stream(&series).expect("scored");
        assert_eq!((streamed.window, streamed.settled.len(), streamed.distances.len()), (50, 1_751, 1_800));
        assert_eq!(hit(&series, &streamed).value, 1.0);
        let areas = area(&series, &streamed).expect("areas");
        assert!(areas[0].value > 0.97 && areas[0].low.is_some() && areas[0].baseline.is_some());
        assert!(areas[0].value > areas[1].value, "a settled score knows more");
        let alarms = false_alarms("t", &streamed).expect("ordinary windows");
        assert!(alarms.value < 0.2, "{alarms:?}");
    }

    #[test]
    fn every_draw_holds_the_marked_stretch() {
        let mut strange = vec![false; 100];
        strange[38..45].fill(true);
        let blocks = Blocks::of(&strange, 10);
        assert_eq!((blocks.ordinary.len(), blocks.kept.len()), (8, 20));
        let whole = |at: &[usize]| at.iter().filter(|at| strange[**at]).count() as f64;
        assert_eq!(blocks.interval(|at| Some(whole(at))), Some((7.0, 7.0)));
    }
}
