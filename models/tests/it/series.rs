//! Series and their forecasts: the grid against plain interpolation, the simple methods against their formulas,
//! and what the typed answer makes of outputs that a model might give.

use clinical::{Biomarker, Person, Unit};
use models::calibration::{Interval, Part};
use models::family::trend::{
    Answer, Direction, Encoder, MEAN_HORIZON_S_MAX, MEAN_SAMPLES_MIN, POINTS_MAX, Question, Sample, Series,
    Way, linear_slope, sparse, without_model,
};
use models::{Calibration, Tensor};
use proptest::prelude::*;

use crate::bundles;

const START_MS: i64 = 1_700_000_000_000;
const STEP_MS: i64 = 300_000;
const DAY_MS: i64 = 86_400_000;

/// The encoder of a glucose model with horizons of 30 and 60 minutes.
fn encoder() -> Encoder {
    let dir = tempfile::tempdir().expect("dir");
    Encoder::new(&bundles::glucose_trend(dir.path())).expect("fits")
}

fn glucose(samples: Vec<Sample>) -> Series {
    Series::new(Biomarker::Glucose, Unit::MgPerDl, samples).expect("valid")
}

/// Samples at these gaps with these values.
fn spaced(steps: &[(i64, f64)]) -> Vec<Sample> {
    let mut at = START_MS;
    let sample = |(gap, value): &(i64, f64)| {
        at += gap;
        Sample { time_unix_ms: at, value: *value }
    };
    steps.iter().map(sample).collect()
}

/// The history that the model is asked about; `None` when it is too short.
fn history(encoder: &Encoder, samples: Vec<Sample>) -> Option<Vec<f32>> {
    match encoder.encode(&glucose(samples), 0, &Person::default()).expect("encodes") {
        Question::Run(encoded) => {
            let row = encoded.tensors[0].slice_rows(0, 1).expect("a row");
            Some(row.as_f32().expect("FP32").into_owned())
        }
        Question::Simple(_) => None,
    }
}

fn simple(samples: Vec<Sample>) -> Answer {
    match encoder().encode(&glucose(samples), 0, &Person::default()).expect("encodes") {
        Question::Simple(answer) => answer,
        Question::Run(_) => panic!("too short for the model"),
    }
}

/// The value of the polygon through `samples` at `at`.
fn polygon(samples: &[Sample], at: i64) -> f64 {
    let right = samples.iter().position(|sample| sample.time_unix_ms >= at).expect("within");
    let Sample { time_unix_ms: end, value } = samples[right];
    if end == at {
        return value;
    }
    let Sample { time_unix_ms: start, value: before } = samples[right - 1];
    before + (value - before) * (at - start) as f64 / (end - start) as f64
}

fn uneven() -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop::collection::vec((1_000i64..6 * STEP_MS, 45.0f64..390.0), 90..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_grid_lies_on_the_polygon_through_the_samples(steps in uneven()) {
        let samples = spaced(&steps);
        let last = samples[samples.len() - 1].time_unix_ms;
        let (count, _) = bundles::HISTORY;
        prop_assume!(last - samples[0].time_unix_ms > count as i64 * STEP_MS);
        let history = history(&encoder(), samples.clone()).expect("long enough");
        for (index, value) in history.iter().enumerate() {
            let at = last - (count - 1 - index) as i64 * STEP_MS;
            let expected = polygon(&samples, at);
            prop_assert!((f64::from(*value) - expected).abs() < 1e-3, "{index}: {value} {expected}");
        }
    }

    #[test]
    fn the_order_in_which_samples_come_does_not_matter(steps in uneven(), turn in 0usize..90) {
        let samples = spaced(&steps);
        let mut shuffled = samples.clone();
        shuffled.rotate_left(turn);
        shuffled.reverse();
        let encoder = encoder();
        prop_assert_eq!(history(&encoder, samples), history(&encoder, shuffled));
    }

    #[test]
    fn the_unit_of_a_series_does_not_change_its_history(values in prop::collection::vec(60.0f64..300.0, 30)) {
        let even = |factor: f64| -> Vec<Sample> {
            let sample = |(at, value): (i64, &f64)| Sample { time_unix_ms: START_MS + at * STEP_MS, value: value / factor };
            (0..).zip(&values).map(sample).collect()
        };
        let molar = Series::new(Biomarker::Glucose, Unit::MmolPerL, even(18.0156)).expect("valid");
        let plain = glucose(even(1.0));
        prop_assert!((molar.last().value - plain.last().value).abs() < 0.05);
    }

    #[test]
    fn a_short_history_never_gives_nonsense(
        steps in prop::collection::vec((1i64..60 * STEP_MS, 20.0f64..600.0), 1..9),
    ) {
        let answer = simple(spaced(&steps));
        prop_assert!(matches!(answer.way, Way::Linear | Way::Persistence));
        let (low, high) = Biomarker::Glucose.plausible();
        for point in &answer.points {
            let Interval { low: from, high: to, .. } = point.interval;
            prop_assert!(low <= from && from <= point.value && point.value <= to && to <= high, "{:?}", point);
        }
    }

    #[test]
    fn what_no_model_knows_has_a_named_answer_with_an_interval_around_it(
        values in prop::collection::vec(1.0f64..300.0, 1..14), equal: bool, ahead_s in 0..=MEAN_HORIZON_S_MAX,
    ) {
        let value = |(at, value): (usize, &f64)| (DAY_MS + at as i64, if equal { values[0] } else { *value });
        let steps: Vec<_> = values.iter().enumerate().map(value).collect();
        let series = Series::new(Biomarker::Hdl, Unit::MgPerDl, spaced(&steps)).expect("valid");
        let answer = without_model(&series, ahead_s);
        prop_assert_eq!(answer.is_ok(), values.len() >= MEAN_SAMPLES_MIN);
        let Ok(answer) = answer else { return Ok(()) };
        prop_assert_eq!((answer.way, answer.points.len()), (Way::Mean, 1));
        let point = answer.points[0];
        let recent: Vec<f64> = steps.iter().rev().take(10).map(|step| step.1).collect();
        let mean = recent.iter().sum::<f64>() / recent.len() as f64;
        prop_assert!((point.value - mean).abs() < 1e-9);
        prop_assert!(point.interval.low < point.value && point.value < point.interval.high);
        let ahead = if ahead_s == 0 { MEAN_HORIZON_S_MAX } else { ahead_s };
        prop_assert_eq!(point.time_unix_ms, series.last().time_unix_ms + ahead * 1000);
    }

    #[test]
    fn a_sparse_history_ends_with_the_newest_and_begins_with_their_mean(
        values in prop::collection::vec(1.0f64..300.0, 0..12), least in 1usize..6,
    ) {
        let history = sparse(values.iter().copied(), 6, least);
        if values.len() < least {
            prop_assert_eq!(&history, &values);
            return Ok(());
        }
        let known = &values[values.len().saturating_sub(6)..];
        prop_assert_eq!(history.len(), 6);
        prop_assert_eq!(&history[6 - known.len()..], known);
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        prop_assert!(history[..6 - known.len()].iter().all(|value| (value - mean).abs() < 1e-9));
    }

    /// The slope by the normal equations of a straight line.
    #[test]
    fn the_line_is_the_least_squares_line_through_the_last_four(values in prop::collection::vec(40.0f64..400.0, 4..12)) {
        let recent = &values[values.len() - 4..];
        let n = 4.0;
        let (sx, sy) = (6.0, recent.iter().sum::<f64>());
        let sxy: f64 = recent.iter().enumerate().map(|(x, y)| x as f64 * y).sum();
        let expected = (n * sxy - sx * sy) / (n * 14.0 - sx * sx);
        prop_assert!((linear_slope(&values).expect("four") - expected).abs() < 1e-9);
    }
}

/// Student's prediction interval worked out by hand: mean 50, standard deviation 10, three values.
#[test]
fn the_interval_of_a_mean_is_students() {
    let series =
        Series::new(Biomarker::Hdl, Unit::MgPerDl, spaced(&[(DAY_MS, 40.0), (DAY_MS, 50.0), (DAY_MS, 60.0)]));
    let answer = without_model(&series.expect("valid"), 0).expect("enough");
    let Interval { low, high, coverage } = answer.points[0].interval;
    let half = 1.886 * 10.0 * (4.0f64 / 3.0).sqrt();
    assert!((low - (50.0 - half)).abs() < 1e-9 && (high - (50.0 + half)).abs() < 1e-9, "{low} {high}");
    assert_eq!((coverage, answer.direction), (0.8, Direction::Stable));
}

#[test]
fn laboratory_values_at_any_times_go_to_the_model_from_the_third_on() {
    let dir = tempfile::tempdir().expect("dir");
    let encoder = Encoder::new(&bundles::hdl_trend(dir.path())).expect("fits");
    let ask = |steps: &[(i64, f64)]| {
        let series = Series::new(Biomarker::Hdl, Unit::MgPerDl, spaced(steps)).expect("valid");
        encoder.encode(&series, 0, &Person::default()).expect("encodes")
    };
    let Question::Simple(short) = ask(&[(DAY_MS, 50.0), (400 * DAY_MS, 54.0)]) else { panic!("two values") };
    assert_eq!((short.way, short.points[0].value), (Way::Persistence, 54.0));
    let Question::Run(run) = ask(&[(DAY_MS, 50.0), (400 * DAY_MS, 54.0), (DAY_MS, 58.0)]) else {
        panic!("three values are enough")
    };
    let row = run.tensors[0].slice_rows(0, 1).expect("a row");
    assert_eq!(*row.as_f32().expect("FP32"), [54.0, 54.0, 54.0, 50.0, 54.0, 58.0]);
}

#[test]
fn three_values_make_no_line() {
    assert_eq!(linear_slope(&[1.0, 2.0, 3.0]), None);
    assert_eq!(linear_slope(&[]), None);
    assert_eq!(linear_slope(&[5.0, 1.0, 2.0, 3.0, 4.0]), Some(1.0), "only the last four count");
}

#[test]
fn a_short_rise_goes_on_as_a_line_with_the_width_of_lines() {
    let rising: Vec<(i64, f64)> = (0..6).map(|i| (STEP_MS, 100.0 + 5.0 * f64::from(i))).collect();
    let answer = simple(spaced(&rising));
    assert_eq!(answer.way, Way::Linear);
    // 5 mg/dL a step of five minutes: six steps to the first horizon, twelve to the second.
    let values: Vec<f64> = answer.points.iter().map(|point| point.value).collect();
    assert!((values[0] - 155.0).abs() < 1e-6 && (values[1] - 185.0).abs() < 1e-6, "{values:?}");
    let half = answer.points[0].interval.high - answer.points[0].value;
    assert!((half - 45.0).abs() < 1e-6, "1.5 times the 30 of persistence: {half}");
    assert!(answer.explanation.is_none());
}

#[test]
fn a_forecast_stays_within_what_a_person_can_have() {
    let (low, high) = Biomarker::Glucose.plausible();
    for (start, step) in [(390.0, 200.0), (400.0, -130.0)] {
        let steps: Vec<(i64, f64)> =
            (0..4).map(|i| (STEP_MS, f64::max(start + step * f64::from(i), low + 1.0))).collect();
        for point in simple(spaced(&steps)).points {
            let Interval { low: from, high: to, .. } = point.interval;
            assert!(low <= from && from <= point.value && point.value <= to && to <= high, "{point:?}");
        }
    }
}

#[test]
fn each_point_lies_its_horizon_ahead_of_the_last_sample() {
    let samples = spaced(&[(STEP_MS, 100.0), (STEP_MS, 101.0)]);
    let last = samples[1].time_unix_ms;
    let times: Vec<i64> = simple(samples).points.iter().map(|point| point.time_unix_ms - last).collect();
    assert_eq!(times, [1_800_000, 3_600_000]);
}

#[test]
fn as_many_horizons_are_answered_as_were_asked_for() {
    let encoder = encoder();
    let points = |seconds: i64| match encoder
        .encode(&glucose(spaced(&[(1, 100.0)])), seconds, &Person::default())
        .expect("encodes")
    {
        Question::Simple(answer) => answer.points.len(),
        Question::Run(_) => panic!("one sample"),
    };
    assert_eq!([0, 1800, 1801, 3600].map(points), [2, 1, 2, 2]);
    for seconds in [1799, 3601] {
        let error = encoder
            .encode(&glucose(spaced(&[(1, 100.0)])), seconds, &Person::default())
            .expect_err("beyond")
            .to_string();
        assert!(error.contains("horizon_seconds") && error.contains("1800 to 3600"), "{error}");
    }
}

/// The model's answer, were its outputs these (low, median, high) at both horizons in every row.
fn told(outputs: [f32; 3]) -> Result<Answer, models::ModelError> {
    let encoder = encoder();
    let level: Vec<(i64, f64)> = (0..40).map(|_| (STEP_MS, 150.0)).collect();
    let Question::Run(encoded) =
        encoder.encode(&glucose(spaced(&level)), 0, &Person::default()).expect("encodes")
    else {
        panic!("long enough")
    };
    let rows = encoded.rows();
    let tensor = Tensor::from_f32(vec![rows, 2, 3], &[outputs, outputs].concat().repeat(rows)).expect("fits");
    encoder.decode(&encoded, &[tensor])
}

#[test]
fn a_direction_is_told_only_when_the_whole_interval_agrees() {
    let direction = |outputs| told(outputs).expect("decodes").direction;
    assert_eq!(direction([200.0, 220.0, 240.0]), Direction::Up);
    assert_eq!(direction([60.0, 80.0, 100.0]), Direction::Down);
    assert_eq!(direction([145.0, 160.0, 175.0]), Direction::Stable);
    assert_eq!(direction([151.0, 151.0, 151.0]), Direction::Stable, "the interval is never a point");
}

#[test]
fn a_median_outside_its_own_quantiles_is_still_inside_its_interval() {
    let answer = told([100.0, 300.0, 120.0]).expect("decodes");
    for point in answer.points {
        assert!(point.interval.low <= point.value && point.value <= point.interval.high, "{point:?}");
    }
}

#[test]
fn outputs_that_are_no_numbers_are_the_models_fault() {
    for bad in [f32::NAN, f32::INFINITY] {
        let error = told([100.0, bad, 120.0]).expect_err("not finite").to_string();
        assert!(error.contains("glucose-trend") && error.contains("not finite"), "{error}");
    }
}

#[test]
fn an_answer_of_the_model_is_explained_by_four_stretches_of_history() {
    let answer = told([140.0, 150.0, 160.0]).expect("decodes");
    let explanation = answer.explanation.expect("of the model");
    assert!(explanation.contributions.len() <= 4);
    assert!(
        explanation.contributions.iter().all(|part| part.contribution == 0.0),
        "every row answered alike"
    );
}

#[test]
fn a_series_is_refused_with_the_index_of_the_sample() {
    let refused = |samples: Vec<Sample>| {
        Series::new(Biomarker::Glucose, Unit::MgPerDl, samples).expect_err("refused").to_string()
    };
    let good = spaced(&[(1, 100.0), (1, 101.0), (1, 102.0)]);
    let with = |at: usize, time_unix_ms: i64, value: f64| {
        let mut samples = good.clone();
        samples[at] = Sample { time_unix_ms, value };
        samples
    };
    for (samples, start) in [
        (with(1, -1, 100.0), "points[1].time_unix_ms"),
        (with(2, i64::MAX, 100.0), "points[2].time_unix_ms"),
        (with(0, START_MS, f64::NAN), "points[0].value"),
        (with(2, START_MS, 1e9), "points[2].value"),
        (with(2, START_MS + 1, 100.0), "points: has two samples at"),
        (vec![], "points: has 0 samples"),
        (vec![good[0]; POINTS_MAX + 1], "points: has 100001 samples"),
    ] {
        let error = refused(samples);
        assert!(error.starts_with(start), "`{error}` should start with `{start}`");
    }
}

#[test]
fn a_bundle_whose_parts_do_not_fit_is_refused_by_file() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::glucose_trend(dir.path());
    let spoilt = |change: &dyn Fn(&mut models::bundle::BundleConfig), calibration: &str| {
        let mut config = bundle.config().clone();
        change(&mut config);
        let place = tempfile::tempdir().expect("dir");
        let written = models::bundle::BundleWriter::new(config)
            .weights(bundle.weights().expect("weights"))
            .golden(&bundle.golden().expect("golden"))
            .expect("golden")
            .calibration(calibration)
            .card(bundle.card())
            .write(place.path().join("b"))
            .expect("written");
        Encoder::new(&written).expect_err("does not fit").to_string()
    };
    let own = bundle.calibration_json();
    let other = Calibration::new(0.9, 10, Part::None).and_then(|c| c.to_json()).expect("valid");
    let other = String::from_utf8(other).expect("text");
    let cases = [
        (spoilt(&|c| c.task = "mood".into(), own), "model.toml", "`mood`"),
        (spoilt(&|_| {}, &other), "calibration.json", "`none`, expected `forecast`"),
        (spoilt(&|_| {}, &own.replace("3600", "3700")), "calibration.json", "horizons"),
        (spoilt(&|_| {}, &own.replace("0.05", "0.06")), "model.toml", "quantile 0.06"),
        (spoilt(&|_| {}, "{}"), "calibration.json", "schema_version"),
    ];
    for (error, file, part) in cases {
        assert!(error.contains(file) && error.contains(part), "`{error}` lacks `{file}` or `{part}`");
    }
}
