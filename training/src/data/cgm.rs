//! Continuous glucose: 19 people of Hall et al. 2018, 5 people with type 2 diabetes, and two external ones.
//!
//! All sensors report about every 5 minutes in mg/dL and are read within 40-400. Clocks wobble by seconds
//! and readings go missing, so forecasting needs [`CgmSeries::windows`]: an even 5-minute grid around each reading,
//! single missing readings bridged by a straight line, nothing across a real gap.
//!
//! The grid starts at a reading and never looks ahead of it. One grid for a whole stretch would put most points
//! between two readings; the newest point of a history would then hold a share of the reading that comes next, and
//! every method would look better than it is when it is served.

use std::collections::BTreeMap;
use std::io::Read;

use chrono::NaiveDateTime;

use super::{Dataset, Dropped, Record, Store, table::Table};
use crate::TrainingError;

const HALL: &str = "iglu_python-0.4.3/tests/data/example_data_hall.csv";
const FIVE: &str = "iglu_python-0.4.3/tests/data/example_data_5_subject.csv";
const EXTERNAL: [(&str, &str, Metabolism); 2] = [
    ("cgmpy-0.6.0/tests/fixtures/data/dm.csv", "cgmpy-dm", Metabolism::Diabetic),
    ("cgmpy-0.6.0/tests/fixtures/data/nodm.csv", "cgmpy-nodm", Metabolism::NotDiabetic),
];

/// Time between two points of a segment, seconds.
pub const STEP_S: i64 = 300;
/// A gap up to this many seconds is one missing reading and is bridged; a longer one cuts.
const BRIDGE_S_MAX: i64 = 660;
/// How many seconds short of an even grid a run may end: clocks wobble.
const WOBBLE_S_MAX: i64 = 60;
/// Two readings nearer than this are the same one reported twice.
const REPEAT_S_MAX: i64 = 60;
/// What the sensors can report, mg/dL.
const RANGE_MG_DL: std::ops::RangeInclusive<f64> = 40.0..=400.0;

/// What is known of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metabolism {
    /// No diabetes.
    NotDiabetic,
    /// Prediabetes.
    PreDiabetic,
    /// Diabetes.
    Diabetic,
    /// Type 2 diabetes.
    Type2,
}

/// All readings of one person, in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct CgmSeries {
    /// Person id, with the source in front.
    pub person: String,
    /// What is known of the person.
    pub metabolism: Metabolism,
    /// Local wall-clock time in seconds since 1970 and glucose in mg/dL.
    pub readings: Vec<(i64, f64)>,
}

/// What was known at one reading, and what came, every [`STEP_S`] seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Time of the reading, seconds since 1970, local wall clock.
    pub now_s: i64,
    /// Up to the reading, which is the last, mg/dL; from this and earlier readings only.
    pub history: Vec<f64>,
    /// After the reading, mg/dL.
    pub future: Vec<f64>,
}

impl CgmSeries {
    /// The windows of every reading with `lags` steps behind it (its own value among them) and `horizons` ahead.
    #[must_use]
    pub fn windows(&self, lags: usize, horizons: usize) -> Vec<Window> {
        let runs = self.readings.chunk_by(|a, b| b.0 - a.0 <= BRIDGE_S_MAX);
        runs.flat_map(|run| (0..run.len()).filter_map(move |now| window(run, now, lags, horizons))).collect()
    }
}

/// The window of the reading at `now`, when the run reaches far enough both ways.
fn window(run: &[(i64, f64)], now: usize, lags: usize, horizons: usize) -> Option<Window> {
    let (past, coming) = (&run[..=now], &run[now..]);
    let now_s = run[now].0;
    let from_s = now_s - (lags as i64 - 1) * STEP_S;
    let to_s = now_s + horizons as i64 * STEP_S;
    let reaches = past[0].0 <= from_s + WOBBLE_S_MAX && coming[coming.len() - 1].0 >= to_s - WOBBLE_S_MAX;
    let ahead = |step: usize| value_at(coming, now_s + step as i64 * STEP_S);
    reaches.then(|| Window {
        now_s,
        history: (0..lags).map(|lag| value_at(past, from_s + lag as i64 * STEP_S)).collect(),
        future: (1..=horizons).map(ahead).collect(),
    })
}

/// The straight line between the readings around a time; beyond the ends the reading there.
fn value_at(readings: &[(i64, f64)], at_s: i64) -> f64 {
    let next = readings.partition_point(|reading| reading.0 < at_s).min(readings.len() - 1);
    let ((left_s, left), (right_s, right)) = (readings[next.saturating_sub(1)], readings[next]);
    let width = (right_s - left_s) as f64;
    let share = if width > 0.0 { (at_s - left_s) as f64 / width } else { 1.0 };
    left + (right - left) * share.clamp(0.0, 1.0)
}

impl Record for CgmSeries {
    fn subject(&self) -> String {
        self.person.clone()
    }

    /// The two groups that the forecasts differ on: the type 2 people against the rest.
    fn stratum(&self) -> u32 {
        u32::from(self.metabolism == Metabolism::Type2)
    }
}

/// The 19 Hall subjects and the 5 people with type 2 diabetes.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load(store: &Store) -> Result<Dataset<CgmSeries>, TrainingError> {
    let mut people = store.with_member("iglu", HALL, |r| parse_people(r, "hall", None))?;
    people.extend(store.with_member("iglu", FIVE, |r| parse_people(r, "t2d", Some(Metabolism::Type2)))?);
    dataset("cgm-iglu", people, store, "iglu")
}

/// Two people of another source, never trained on: the external check.
///
/// # Errors
/// Fetching ([`Store::path`]) or a file that is not as documented.
pub fn load_external(store: &Store) -> Result<Dataset<CgmSeries>, TrainingError> {
    let mut people = Vec::new();
    for (member, person, metabolism) in EXTERNAL {
        let readings = store.with_member("cgmpy", member, |r| parse_single(r))?;
        people.push(CgmSeries { person: person.to_owned(), metabolism, readings });
    }
    dataset("cgm-external", people, store, "cgmpy")
}

fn dataset(
    name: &'static str,
    mut rows: Vec<CgmSeries>,
    store: &Store,
    source: &str,
) -> Result<Dataset<CgmSeries>, TrainingError> {
    let dropped = clean(&mut rows);
    Ok(Dataset { name, rows, provenance: vec![store.provenance(source)?], dropped })
}

/// Sorts readings and takes out what a sensor cannot have said.
fn clean(people: &mut [CgmSeries]) -> Vec<Dropped> {
    let (mut outside, mut repeated) = (0, 0);
    for person in people {
        let before = person.readings.len();
        person.readings.retain(|(_, value)| RANGE_MG_DL.contains(value));
        outside += before - person.readings.len();
        person.readings.sort_by_key(|reading| reading.0);
        let before = person.readings.len();
        person.readings.dedup_by(|later, earlier| later.0 - earlier.0 < REPEAT_S_MAX);
        repeated += before - person.readings.len();
    }
    vec![
        Dropped { reason: "reading outside 40-400 mg/dL", count: outside },
        Dropped { reason: "reading repeated within a minute", count: repeated },
    ]
}

fn parse_people(
    input: &mut dyn Read,
    prefix: &str,
    known: Option<Metabolism>,
) -> Result<Vec<CgmSeries>, TrainingError> {
    let mut wanted = vec!["id", "time", "gl"];
    if known.is_none() {
        wanted.push("diagnosis");
    }
    let mut table = Table::new("cgm-iglu", b',', &wanted, input)?;
    let mut people: BTreeMap<String, CgmSeries> = BTreeMap::new();
    while table.advance()? {
        let metabolism = match known {
            Some(metabolism) => metabolism,
            None => match table.text("diagnosis")? {
                "diabetic" => Metabolism::Diabetic,
                "pre-diabetic" => Metabolism::PreDiabetic,
                "non-diabetic" => Metabolism::NotDiabetic,
                other => return Err(table.fault(format!("`diagnosis` has the unknown `{other}`"))),
            },
        };
        let Some(value) = table.number("gl")? else { continue };
        let person = format!("{prefix}-{}", table.text("id")?);
        let reading = (time_of(&table)?, value);
        people
            .entry(person.clone())
            .or_insert_with(|| CgmSeries { person, metabolism, readings: Vec::new() })
            .readings
            .push(reading);
    }
    Ok(people.into_values().collect())
}

fn parse_single(input: &mut dyn Read) -> Result<Vec<(i64, f64)>, TrainingError> {
    let mut table = Table::new("cgm-external", b',', &["time", "glucose"], input)?;
    let mut readings = Vec::new();
    while table.advance()? {
        if let Some(value) = table.number("glucose")? {
            readings.push((time_of(&table)?, value));
        }
    }
    Ok(readings)
}

/// A time as `2015-06-06 16:50:27` or as seconds since 1970.
fn time_of<R: Read>(table: &Table<R>) -> Result<i64, TrainingError> {
    let text = table.text("time")?;
    text.parse::<i64>()
        .or_else(|_| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").map(|t| t.and_utc().timestamp())
        })
        .map_err(|_| table.fault(format!("`time` should be a date and time or seconds, is `{text}`")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(readings: Vec<(i64, f64)>) -> CgmSeries {
        CgmSeries { person: "p".to_owned(), metabolism: Metabolism::Type2, readings }
    }

    #[test]
    fn people_are_told_apart_and_times_read() {
        let text = "\"\",\"id\",\"time\",\"gl\",\"diagnosis\"\n\"1\",\"b\",2014-02-03 03:42:12,93,\"diabetic\"\n\
                    \"2\",\"a\",2014-02-03 03:42:12,100,\"pre-diabetic\"\n\"3\",\"b\",2014-02-03 03:47:12,95,\"diabetic\"\n";
        let people = parse_people(&mut text.as_bytes(), "hall", None).expect("people");
        assert_eq!(people.iter().map(|p| p.person.as_str()).collect::<Vec<_>>(), ["hall-a", "hall-b"]);
        assert_eq!(people[1].readings[1].0 - people[1].readings[0].0, 300);
        assert_eq!(people[1].metabolism, Metabolism::Diabetic);
        let seconds =
            parse_single(&mut "time,glucose\n1679414460,102.0\n1679414760,\n".as_bytes()).expect("single");
        assert_eq!(seconds, [(1_679_414_460, 102.0)]);
        assert!(parse_single(&mut "time,glucose\nnoon,102.0\n".as_bytes()).is_err());
    }

    #[test]
    fn one_missing_reading_is_bridged_and_a_gap_cuts() {
        let person = series(vec![(0, 100.0), (300, 110.0), (900, 130.0), (3000, 90.0), (3300, 80.0)]);
        let windows = person.windows(2, 2);
        assert_eq!(windows.len(), 1, "only one reading has enough on both sides of it");
        assert_eq!((windows[0].now_s, &windows[0].history[..]), (300, &[100.0, 110.0][..]));
        assert_eq!(windows[0].future, [120.0, 130.0]);
        assert_eq!(person.windows(2, 1).len(), 1, "the last of a stretch has nothing ahead");
        assert!(person.windows(5, 1).is_empty());
    }

    #[test]
    fn what_a_sensor_cannot_say_goes() {
        let mut people = [series(vec![(600, 100.0), (0, 90.0), (10, 91.0), (900, 20.0)])];
        let dropped = clean(&mut people);
        assert_eq!(people[0].readings, [(0, 90.0), (600, 100.0)]);
        assert_eq!(dropped.iter().map(|d| d.count).collect::<Vec<_>>(), [1, 1]);
    }

    proptest! {
        #[test]
        fn windows_stay_within_what_was_read_and_know_nothing_of_what_comes(
            steps in prop::collection::vec((200i64..900, 40.0f64..400.0), 1..60),
            spoilt in 0usize..60,
        ) {
            let mut at = 0;
            let readings: Vec<_> = steps.into_iter().map(|(gap, value)| { at += gap; (at, value) }).collect();
            let mut other = readings.clone();
            let from = spoilt.min(other.len() - 1);
            other[from..].iter_mut().for_each(|reading| reading.1 = 440.0 - reading.1);
            let (windows, changed) = (series(readings.clone()).windows(4, 3), series(other).windows(4, 3));
            prop_assert_eq!(windows.len(), changed.len());
            let low = readings.iter().map(|r| r.1).fold(f64::INFINITY, f64::min);
            let high = readings.iter().map(|r| r.1).fold(0.0, f64::max);
            for (window, changed) in windows.iter().zip(&changed) {
                let mut values = window.history.iter().chain(&window.future);
                prop_assert!(values.all(|v| *v >= low - 1e-9 && *v <= high + 1e-9));
                if window.now_s < readings[from].0 {
                    prop_assert_eq!(&window.history, &changed.history, "the future changed the past");
                }
            }
        }
    }
}
