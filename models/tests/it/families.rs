//! Every family through real networks: what goes in comes out as a typed answer, and never depends on the rows it
//! travels with.

use std::sync::{LazyLock, Mutex};

use clinical::{Biomarker, Finding, Panel, Person, Sex, panel::PanelBuilder};
use models::{
    Batch, Bundle, Model, Tensor,
    engine::candle::CandleEngine,
    explain::{Contribution, OTHERS},
    family::{
        anomaly, biomarker, encoder, health_score, sensor,
        trend::{self, Direction, Question, Sample, Series, Way},
    },
};
use proptest::prelude::*;

use crate::bundles;

fn loaded(bundle: &Bundle) -> Box<dyn Model> {
    bundle.load(&CandleEngine::new()).expect("loads")
}

fn run(model: &mut dyn Model, tensors: &[Tensor]) -> Vec<Tensor> {
    model.run(Batch { tensors: tensors.to_vec() }).expect("runs").tensors
}

fn panel(values: &[(Biomarker, f64)]) -> Panel {
    let person = Person::new(Some(55.0), Some(Sex::Female)).expect("valid");
    let builder =
        values.iter().try_fold(Panel::builder(person), |b, (marker, v)| b.value(*marker, *v, marker.unit()));
    builder.and_then(|b| b.finding(Finding::Smoker, true)).and_then(PanelBuilder::build).expect("valid")
}

fn samples(count: i64, step_ms: i64) -> Vec<Sample> {
    let sample =
        |i: i64| Sample { time_unix_ms: 1_700_000_000_000 + i * step_ms, value: 100.0 + (i % 7) as f64 };
    (0..count).map(sample).collect()
}

fn series(samples: Vec<Sample>) -> Series {
    Series::new(Biomarker::Glucose, clinical::Unit::MgPerDl, samples).expect("valid")
}

#[test]
fn a_classifier_answers_with_set_interval_and_explanation() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::thyroid(dir.path());
    let encoder = biomarker::Encoder::new(&bundle).expect("fits");
    let encoded = encoder.encode(&panel(&[(Biomarker::Tsh, 9.0), (Biomarker::T3, 90.0)])).expect("encodes");
    let outputs = run(&mut *loaded(&bundle), &encoded.tensors);
    let answer = encoder.decode(&encoded, &outputs).expect("decodes");
    let total: f64 = answer.probabilities.iter().map(|(_, p)| p).sum();
    assert!((total - 1.0).abs() < 1e-5);
    assert!(answer.prediction_set.contains(&answer.label().to_owned()));
    assert!(answer.interval.low <= answer.probability() && answer.probability() <= answer.interval.high);
    assert_eq!(answer.missing, ["total_t4", "pregnant"]);
    assert!((1..=4).contains(&answer.explanation.contributions.len()));
    assert!(encoder.encode(&panel(&[(Biomarker::Ferritin, 90.0)])).is_err(), "nothing it looks at");
}

#[test]
fn an_anomaly_is_explained_by_shares_that_sum_to_the_error() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::thyroid_anomaly(dir.path());
    let encoder = anomaly::Encoder::new(&bundle).expect("fits");
    let encoded = encoder.encode_panel(&panel(&[(Biomarker::Tsh, 900.0)])).expect("encodes");
    let outputs = run(&mut *loaded(&bundle), &encoded.tensors);
    let answer = encoder.decode(&encoded, &outputs).expect("decodes");
    let error = f64::from(outputs[0].as_f32().expect("fp32")[0]);
    let shares: f64 = answer.explanation.contributions.iter().map(|c| c.contribution).sum();
    assert!((shares - error).abs() < 1e-3 * error.max(1.0), "{shares} {error}");
    assert!(answer.anomalous && answer.score > answer.threshold);
    assert!(answer.flags.iter().any(|flag| flag.feature == "tsh" && flag.value > flag.high));
}

#[test]
fn a_sweep_of_another_size_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let encoder = anomaly::Encoder::new(&bundles::sweep_anomaly(dir.path())).expect("fits");
    assert_eq!(encoder.channels(), Some(bundles::CHANNELS));
    assert!(encoder.encode_sweep(&[1.0; 87]).is_err());
    assert!(encoder.encode_panel(&panel(&[(Biomarker::Tsh, 1.0)])).is_err());
}

/// What the classifier of `bounded_thyroid` makes of one thyrotropin.
fn bounded(age: Option<f64>, sex: Option<Sex>, tsh: f64) -> biomarker::Answer {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::bounded_thyroid(dir.path());
    let encoder = biomarker::Encoder::new(&bundle).expect("fits");
    let builder = Panel::builder(Person::new(age, sex).expect("valid"));
    let panel = builder.value(Biomarker::Tsh, tsh, Biomarker::Tsh.unit()).and_then(PanelBuilder::build);
    let encoded = encoder.encode(&panel.expect("valid")).expect("encodes");
    let outputs = run(&mut *loaded(&bundle), &encoded.tensors);
    encoder.decode(&encoded, &outputs).expect("decodes")
}

#[test]
fn a_panel_unlike_any_that_was_seen_rules_nothing_out_and_says_why() {
    let ordinary = bounded(Some(52.0), Some(Sex::Female), 2.0);
    assert!(ordinary.beyond.is_empty() && ordinary.interval.high - ordinary.interval.low < 1.0);
    let strange = bounded(Some(95.0), Some(Sex::Female), 2.0);
    assert_eq!(strange.beyond, ["age"]);
    assert_eq!((strange.interval.low, strange.interval.high, strange.prediction_set.len()), (0.0, 1.0, 3));
    assert_eq!(strange.probabilities, bounded(Some(95.0), Some(Sex::Female), 2.0).probabilities);
}

#[test]
fn a_cohort_has_prediction_sets_of_its_own_and_whoever_is_unknown_those_of_all() {
    let sets = |age, sex| bounded(age, sex, 2.0).prediction_set;
    assert_eq!(sets(Some(62.0), Some(Sex::Male)).len(), 3, "nothing is ruled out for them");
    let all = sets(None, Some(Sex::Male));
    assert!(all.len() < 3, "{all:?}");
    assert_eq!(sets(Some(62.0), None), all);
}

#[test]
fn a_history_unlike_any_that_was_seen_is_left_to_the_last_value_with_a_wide_interval() {
    let dir = tempfile::tempdir().expect("dir");
    let encoder = trend::Encoder::new(&bundles::bounded_glucose_trend(dir.path())).expect("fits");
    let saw = |i: i64| Sample { time_unix_ms: i * 300_000, value: if i % 2 == 0 { 100.0 } else { 180.0 } };
    let question = encoder.encode(&series((0..40).map(saw).collect()), 0, &Person::default());
    let Question::Simple(answer) = question.expect("encodes") else { panic!("no model knows a saw") };
    assert_eq!(
        (answer.way, &answer.beyond[..]),
        (Way::Persistence, &["roughness of the history".to_owned()][..])
    );
    let point = answer.points[0];
    assert_eq!((point.value, point.interval.low), (180.0, 100.0), "the 80 that it went in one step");
}

#[test]
fn a_cohort_has_an_interval_of_its_own_and_whoever_is_unknown_that_of_all() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::bounded_glucose_trend(dir.path());
    let encoder = trend::Encoder::new(&bundle).expect("fits");
    let width = |age, sex| {
        let person = Person::new(age, sex).expect("valid");
        let question = encoder.encode(&series(samples(40, 300_000)), 0, &person).expect("encodes");
        let Question::Run(encoded) = question else { panic!("smooth") };
        let outputs = vec![Tensor::from_f32(
            vec![encoded.rows(), 2, 3],
            &[80.0, 120.0, 160.0].repeat(2 * encoded.rows()),
        )];
        let outputs: Vec<Tensor> = outputs.into_iter().map(|tensor| tensor.expect("tensor")).collect();
        let interval = encoder.decode(&encoded, &outputs).expect("decodes").points[0].interval;
        interval.high - interval.low
    };
    let all = width(None, None);
    assert!(width(Some(30.0), Some(Sex::Female)) > 1.5 * all, "twice the stretch");
    assert_eq!(width(Some(50.0), Some(Sex::Female)), all, "a cohort without figures of its own");
    assert_eq!(width(Some(30.0), None), all);
}

#[test]
fn a_long_history_is_forecast_by_the_model_a_short_one_by_a_named_method() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::glucose_trend(dir.path());
    let encoder = trend::Encoder::new(&bundle).expect("fits");
    let Question::Run(encoded) =
        encoder.encode(&series(samples(40, 300_000)), 0, &Person::default()).expect("encodes")
    else {
        panic!("long enough for the model")
    };
    let outputs = run(&mut *loaded(&bundle), &encoded.tensors);
    let answer = encoder.decode(&encoded, &outputs).expect("decodes");
    assert_eq!((answer.points.len(), answer.way), (2, Way::Model));
    assert!(answer.points.iter().all(|p| p.interval.low <= p.value && p.value <= p.interval.high));
    let simple = |samples| match encoder.encode(&series(samples), 1800, &Person::default()).expect("encodes")
    {
        Question::Simple(answer) => answer,
        Question::Run(_) => panic!("too short for the model"),
    };
    let single = simple(samples(1, 1));
    assert_eq!((single.way, single.points.len(), single.direction), (Way::Persistence, 1, Direction::Stable));
    assert!((single.points[0].interval.high - 130.0).abs() < 1e-9);
    assert_eq!(simple(samples(10, 300_000)).way, Way::Linear);
    let mut gap = samples(40, 300_000);
    gap.drain(30..38);
    assert_eq!(simple(gap).way, Way::Persistence, "only what comes after the gap counts");
}

#[test]
fn irregular_samples_are_laid_on_the_models_grid() {
    let dir = tempfile::tempdir().expect("dir");
    let encoder = trend::Encoder::new(&bundles::glucose_trend(dir.path())).expect("fits");
    let even = |i: i64| Sample { time_unix_ms: 1_700_000_000_000 + i * 300_000, value: 80.0 + i as f64 };
    let uneven: Vec<Sample> = (0..=60).filter(|i| i % 3 != 1).map(even).collect();
    let history = |samples: Vec<Sample>| match encoder
        .encode(&series(samples), 0, &Person::default())
        .expect("encodes")
    {
        Question::Run(encoded) => {
            encoded.tensors[0].slice_rows(0, 1).expect("row").as_f32().expect("fp32").into_owned()
        }
        Question::Simple(_) => panic!("long enough"),
    };
    let regular = history((0..=60).map(even).collect());
    let resampled = history(uneven);
    assert!(regular.iter().zip(&resampled).all(|(a, b)| (a - b).abs() < 1e-3), "{regular:?} {resampled:?}");
}

#[test]
fn horizons_and_series_that_do_not_fit_name_the_field() {
    let dir = tempfile::tempdir().expect("dir");
    let encoder = trend::Encoder::new(&bundles::glucose_trend(dir.path())).expect("fits");
    for seconds in [-1, 1, 7200, i64::MAX, i64::MIN] {
        let error = encoder
            .encode(&series(samples(40, 300_000)), seconds, &Person::default())
            .expect_err("out of reach");
        assert!(error.to_string().starts_with("horizon_seconds: "), "{error}");
    }
    let hdl = Series::new(Biomarker::Hdl, clinical::Unit::MgPerDl, samples(3, 1)).expect("valid");
    assert!(encoder.encode(&hdl, 0, &Person::default()).is_err_and(|e| e.to_string().starts_with("code: ")));
    let of = |time_unix_ms, value| {
        Series::new(Biomarker::Glucose, clinical::Unit::MgPerDl, vec![Sample { time_unix_ms, value }])
    };
    assert!(of(i64::MIN, 90.0).is_err() && of(1, -5.0).is_err() && of(1, f64::NAN).is_err());
}

#[test]
fn a_health_score_sums_up_and_needs_an_age() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::health_score(dir.path());
    let encoder = health_score::Encoder::new(&bundle).expect("fits");
    let mut model = loaded(&bundle);
    let mut answer = |panel: &Panel| {
        let encoded = encoder.encode(panel).expect("encodes");
        let outputs = run(&mut *model, &encoded.tensors);
        encoder.decode(&encoded, &outputs).expect("decodes")
    };
    let complete =
        answer(&panel(&[(Biomarker::Bmi, 31.0), (Biomarker::SystolicBp, 150.0), (Biomarker::Hdl, 40.0)]));
    let points: f64 = complete.areas.iter().map(|(_, points)| points).sum();
    assert!((points - (complete.score - 50.0)).abs() < 1e-9);
    assert!(complete.interval.low <= complete.score && complete.score <= complete.interval.high);
    assert!(complete.risk_interval.low <= complete.risk && complete.risk <= complete.risk_interval.high);
    assert!(complete.reference_population.starts_with("women aged 18"));
    let names: Vec<_> = complete.areas.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["cardiovascular", "metabolic", "lifestyle", "unmeasured"]);
    let without = answer(&panel(&[(Biomarker::Bmi, 31.0), (Biomarker::SystolicBp, 150.0)]));
    assert_eq!(without.missing, ["hdl_cholesterol"]);
    let width = |answer: &health_score::Answer| answer.interval.high - answer.interval.low;
    assert!(width(&without) > width(&complete), "{:?} {:?}", without.interval, complete.interval);
    let unmeasured = |answer: &health_score::Answer| answer.areas.last().map(|(_, points)| *points);
    assert_eq!(
        unmeasured(&without),
        unmeasured(&complete),
        "age and sex leave the same, whatever was measured"
    );
    let nobody = Panel::builder(Person::default()).value(Biomarker::Bmi, 25.0, Biomarker::Bmi.unit());
    let error = encoder.encode(&nobody.and_then(PanelBuilder::build).expect("valid")).expect_err("no age");
    assert!(error.to_string().starts_with("subject.age_years: "), "{error}");
}

#[test]
fn a_sweep_gives_the_values_of_its_cartridge() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::sensor_value(dir.path());
    let predictor = sensor::ValuePredictor::new(&bundle).expect("fits");
    let encoded = predictor.encode(&[900.0; bundles::CHANNELS]).expect("encodes");
    let outputs = run(&mut *loaded(&bundle), &encoded.tensors);
    let values = predictor.decode(&encoded, &outputs, &[Biomarker::HbA1c]).expect("decodes");
    assert_eq!(values.iter().map(|v| v.biomarker).collect::<Vec<_>>(), [Biomarker::HbA1c]);
    let explanation = values[0].explanation.as_ref().expect("has a mean sweep");
    let named = |c: &Contribution| c.feature.starts_with("electrode_") || c.feature == OTHERS;
    assert!(explanation.contributions.iter().all(named), "{explanation:?}");
    let parts: f64 = explanation.contributions.iter().map(|c| c.contribution).sum();
    let raw = f64::from(outputs[0].as_f32().expect("fp32")[1]);
    assert!(
        (explanation.base_value + parts - raw).abs() < 1e-6 * raw.abs().max(1.0),
        "{explanation:?} {raw}"
    );
}

#[test]
fn a_sensor_classifier_names_its_field() {
    let dir = tempfile::tempdir().expect("dir");
    let bundle = bundles::quality(dir.path());
    let classifier = sensor::Classifier::new(&bundle).expect("fits");
    let encoded = classifier.encode(&[1.0; 6]).expect("encodes");
    let answer = classifier.decode(&encoded, &run(&mut *loaded(&bundle), &encoded.tensors)).expect("decodes");
    assert_eq!(answer.probabilities.len(), 3);
    assert!(classifier.encode(&[1.0; 5]).is_err_and(|e| e.to_string().starts_with("statistics: ")));
}

#[test]
fn families_refuse_the_calibration_of_another() {
    let dir = tempfile::tempdir().expect("dir");
    let error = biomarker::Encoder::new(&bundles::health_score(dir.path())).expect_err("a risk model");
    assert!(error.to_string().contains("expected `classes`"), "{error}");
    assert!(trend::Encoder::new(&bundles::thyroid(dir.path())).is_err());
    assert!(health_score::Encoder::new(&bundles::quality(dir.path())).is_err());
}

/// Requests of random sizes, put together in one batch, give bit for bit what each gives alone.
fn batched_is_single(model: &mut dyn Model, bundle: &Bundle, seed: u64, sizes: &[usize]) {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut request = |rows: usize| -> Vec<Tensor> {
        let of = |spec: &models::TensorSpec| {
            let mut shape = vec![rows];
            shape.extend(spec.dims[1..].iter().map(|dim| usize::try_from(*dim).expect("fixed")));
            let mark = spec.name == "present";
            let value = || {
                if mark { f32::from(u8::from(rng.random_bool(0.7))) } else { rng.random_range(1.0..200.0) }
            };
            let values: Vec<f32> = std::iter::repeat_with(value).take(shape.iter().product()).collect();
            Tensor::from_f32(shape, &values).expect("fits")
        };
        bundle.signature().inputs.iter().map(of).collect()
    };
    let requests: Vec<Vec<Tensor>> = sizes.iter().map(|rows| request(*rows)).collect();
    let inputs = bundle.signature().inputs.len();
    let together: Vec<Tensor> = (0..inputs)
        .map(|input| {
            Tensor::concat_rows(&requests.iter().map(|r| &r[input]).collect::<Vec<_>>()).expect("alike")
        })
        .collect();
    let batched = run(model, &together);
    let mut start = 0;
    for (request, rows) in requests.iter().zip(sizes) {
        let alone = run(model, request);
        let slice: Vec<Tensor> =
            batched.iter().map(|tensor| tensor.slice_rows(start, *rows).expect("rows")).collect();
        assert_eq!(alone, slice, "{} rows {start}..{}", bundle.config().name, start + rows);
        start += rows;
    }
}

/// A bundle and an instance of its model.
type Loaded = (Bundle, Box<dyn Model>);

/// Every model there is, loaded once.
static MODELS: LazyLock<Mutex<Vec<Loaded>>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("dir");
    let all = bundles::all(dir.path()).into_iter().chain(committed());
    let loaded = all.map(|bundle| (bundle.clone(), loaded(&bundle)));
    Mutex::new(loaded.collect())
});

/// The bundles of the project that candle runs.
fn committed() -> Vec<Bundle> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let children = |dir: &std::path::Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect::<Vec<_>>()
    };
    let candle = |bundle: &Bundle| bundle.config().engine == models::bundle::EngineKind::Candle;
    let versions = children(&root).into_iter().flat_map(|model| children(&model));
    let folders = versions.filter(|dir| dir.join("manifest.json").is_file());
    folders.map(|dir| Bundle::open(dir).expect("committed bundles open")).filter(candle).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn neighbours_never_change_an_answer(seed: u64, sizes in prop::collection::vec(1usize..9, 1..6)) {
        for (bundle, model) in MODELS.lock().expect("no other test").iter_mut() {
            batched_is_single(&mut **model, bundle, seed, &sizes);
        }
    }
}

#[test]
fn committed_bundles_can_be_asked() {
    use models::bundle::Family;
    for bundle in committed() {
        let config = bundle.config();
        let readable = match config.family {
            Family::Biomarker => biomarker::Encoder::new(&bundle).map(drop),
            Family::Anomaly => anomaly::Encoder::new(&bundle).map(drop),
            Family::Trend => trend::Encoder::new(&bundle).map(drop),
            Family::HealthScore => health_score::Encoder::new(&bundle).map(drop),
            Family::Sensor if config.task == "sensor_value" => sensor::ValuePredictor::new(&bundle).map(drop),
            Family::Sensor if config.task == "sensor_calibration" => Ok(()),
            Family::Sensor => sensor::Classifier::new(&bundle).map(drop),
            Family::Encoder => encoder::Encoder::new(&bundle).map(drop),
            Family::Food | Family::Generic => Ok(()),
        };
        assert!(readable.is_ok(), "{}: {readable:?}", config.name);
    }
}
