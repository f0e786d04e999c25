//! Small bundles with random weights: one of each family that candle runs, quick to write and to load.

#![allow(dead_code, reason = "each test binary that includes this file uses a part of it")]

use std::path::Path;

use models::{
    Bundle, Calibration, ModelError, Tensor,
    bundle::{
        BatchingConfig, BundleConfig, BundleWriter, EngineKind, Family, Golden, NetworkConfig,
        config::{FeatureConfig, ForecastConfig, GoldenConfig, LineageConfig, TensorConfig},
        network::{
            AutoencoderConfig, BodyConfig, ClassifierConfig, ForecasterConfig, Link, RegressorConfig,
            RiskConfig,
        },
        to_safetensors,
    },
    calibration::{
        AgeBand, BANDS, COHORT_CASES_MIN, COVERAGE, Classes, Cohort, Cohorts, Forecast, HorizonWidth,
        MissingSpread, OutputResidual, Part, ReliabilityBin, Residuals, RiskCase, RiskSpread, Scale,
        ScoreWidth, Seen, Support, fit_normality, fit_reference, fit_risk,
    },
    engine::candle::CandleEngine,
    family::anomaly::channel_name,
};

/// Columns of the thyroid models.
pub(crate) const THYROID: [&str; 6] = ["age", "sex_male", "tsh", "t3", "total_t4", "pregnant"];
/// Columns of the health-score model.
pub(crate) const HEALTH: [&str; 6] = ["age", "sex_male", "bmi", "systolic_bp", "hdl_cholesterol", "smoker"];
/// Steps of history and seconds of each.
pub(crate) const HISTORY: (usize, u32) = (24, 300);
/// Channels of a sweep.
pub(crate) const CHANNELS: usize = 88;

/// Writes every bundle below `dir`.
pub(crate) fn all(dir: &Path) -> Vec<Bundle> {
    [thyroid, thyroid_anomaly, sweep_anomaly, glucose_trend, health_score, sensor_value, quality]
        .map(|make| make(dir))
        .into()
}

pub(crate) fn thyroid(dir: &Path) -> Bundle {
    let (config, part) = thyroid_parts();
    write(dir, config, part)
}

/// The thyroid model, which was right in four of five cases, has seen ages about 50 and thyrotropins about 2, and rules
/// out every class but the winner, though none for men from 60 to 79.
pub(crate) fn bounded_thyroid(dir: &Path) -> Bundle {
    let (config, _) = thyroid_parts();
    let bins = vec![ReliabilityBin { start: 0.0, n: 100, right: 80 }];
    let part = Part::Classes(Classes { thresholds: vec![0.0; 3], bins });
    let seen = |name: &str, log, center, spread| Seen { name: name.into(), log, center, spread };
    let features = vec![seen("age", false, 50.0, 5.0), seen("tsh", true, 0.7, 1.0)];
    let men = vec![(Cohort::of(Some(65.0), Some(true)), ()); COHORT_CASES_MIN];
    write_with(dir, config, part, |calibration| {
        calibration
            .with_support(Some(support(features)))
            .and_then(|known| known.with_cohorts(Cohorts::fit(&men, |_| Some(vec![1.0; 3]))))
    })
}

fn support(features: Vec<Seen>) -> Support {
    Support { features, correlations: Vec::new(), threshold: 4.0, n: 500 }
}

fn thyroid_parts() -> (BundleConfig, Part) {
    let network = NetworkConfig::Classifier(ClassifierConfig {
        inputs: THYROID.len(),
        masked: true,
        outputs: 3,
        body: body(3),
        forest: None,
    });
    let classes = Classes { thresholds: vec![0.7, 0.9, 1.0], bins: Vec::new() };
    let mut config = config("thyroid", Family::Biomarker, "thyroid_state", network);
    config.labels = ["negative", "hypothyroid", "hyperthyroid"].map(str::to_owned).into();
    config.features = features(&THYROID);
    config.inputs = masked(THYROID.len());
    config.outputs = vec![TensorConfig::rows("probabilities", &[3])];
    (config, Part::Classes(classes))
}

pub(crate) fn thyroid_anomaly(dir: &Path) -> Bundle {
    let network =
        NetworkConfig::Autoencoder(AutoencoderConfig { inputs: THYROID.len(), masked: true, body: body(1) });
    let mut config = config("thyroid-anomaly", Family::Anomaly, "thyroid_panel", network);
    config.features = features(&THYROID);
    config.inputs = masked(THYROID.len());
    config.outputs =
        vec![TensorConfig::rows("error", &[1]), TensorConfig::rows("residual", &[THYROID.len() as i64])];
    write(dir, config, normality(&THYROID.map(str::to_owned)))
}

pub(crate) fn sweep_anomaly(dir: &Path) -> Bundle {
    let network =
        NetworkConfig::Autoencoder(AutoencoderConfig { inputs: CHANNELS, masked: false, body: body(1) });
    let mut config = config("sweep-anomaly", Family::Anomaly, "sensor_sweep", network);
    config.synthetic = true;
    config.inputs = vec![TensorConfig::rows("channels", &[CHANNELS as i64])];
    config.outputs =
        vec![TensorConfig::rows("error", &[1]), TensorConfig::rows("residual", &[CHANNELS as i64])];
    write(dir, config, normality(&(0..CHANNELS).map(channel_name).collect::<Vec<_>>()))
}

pub(crate) fn glucose_trend(dir: &Path) -> Bundle {
    let (config, part) = glucose_parts();
    write(dir, config, part)
}

/// The glucose model, which has seen smooth histories only, and is half as sure of women under 40.
pub(crate) fn bounded_glucose_trend(dir: &Path) -> Bundle {
    let (config, part) = glucose_parts();
    let features =
        vec![Seen { name: "roughness of the history".into(), log: true, center: -4.0, spread: 0.5 }];
    let women = vec![(Cohort::of(Some(30.0), Some(false)), ()); COHORT_CASES_MIN];
    write_with(dir, config, part, |calibration| {
        calibration
            .with_support(Some(support(features)))
            .and_then(|known| known.with_cohorts(Cohorts::fit(&women, |_| Some(vec![2.0; 2]))))
    })
}

fn glucose_parts() -> (BundleConfig, Part) {
    let (steps, step_seconds) = HISTORY;
    let network = NetworkConfig::Forecaster(ForecasterConfig {
        inputs: steps,
        horizons: 2,
        quantiles: 3,
        body: body(1),
    });
    let mut config = config("glucose-trend", Family::Trend, "glucose", network);
    config.inputs = vec![TensorConfig::rows("history", &[steps as i64])];
    config.outputs = vec![TensorConfig::rows("quantiles", &[2, 3])];
    config.forecast = Some(ForecastConfig {
        step_seconds,
        history_steps: steps,
        sparse_samples_min: None,
        horizons_seconds: vec![1800, 3600],
        quantiles: vec![0.05, 0.5, 0.95],
    });
    let width = |seconds, half| HorizonWidth {
        seconds,
        stretch: [1.5; BANDS],
        persistence_half_width: half,
        linear_half_width: 1.5 * half,
    };
    let horizons = vec![width(1800, 30.0), width(3600, 50.0)];
    (config, Part::Forecast(Forecast { low: 0.05, high: 0.95, spreads: [4.0, 8.0, 16.0, 32.0], horizons }))
}

#[allow(dead_code, reason = "the tests of inference share this file and ask for no laboratory values")]
pub(crate) fn hdl_trend(dir: &Path) -> Bundle {
    let network =
        NetworkConfig::Forecaster(ForecasterConfig { inputs: 6, horizons: 1, quantiles: 3, body: body(1) });
    let mut config = config("hdl-trend", Family::Trend, "hdl_cholesterol", network);
    config.inputs = vec![TensorConfig::rows("history", &[6])];
    config.outputs = vec![TensorConfig::rows("quantiles", &[1, 3])];
    config.forecast = Some(ForecastConfig {
        step_seconds: 86_400,
        history_steps: 6,
        sparse_samples_min: Some(3),
        horizons_seconds: vec![604_800],
        quantiles: vec![0.1, 0.5, 0.9],
    });
    let horizons = vec![HorizonWidth {
        seconds: 604_800,
        stretch: [1.5; BANDS],
        persistence_half_width: 8.0,
        linear_half_width: 8.0,
    }];
    let spreads = [1.0, 2.0, 4.0, 8.0];
    write(dir, config, Part::Forecast(Forecast { low: 0.1, high: 0.9, spreads, horizons }))
}

pub(crate) fn health_score(dir: &Path) -> Bundle {
    let network = NetworkConfig::Risk(RiskConfig {
        inputs: HEALTH.len(),
        masked: true,
        rising: Vec::new(),
        body: body(3),
    });
    let mut config = config("health-score", Family::HealthScore, "mortality", network);
    config.features = features(&HEALTH);
    config.inputs = masked(HEALTH.len());
    config.outputs = vec![TensorConfig::rows("log_risk", &[1])];
    let spread: Vec<f64> = (-200..=200).map(|i| f64::from(i) / 40.0).collect();
    let ages = AgeBand { from: 18.0, to: 120.0 };
    let cases: Vec<RiskCase> = spread
        .iter()
        .map(|log_risk| RiskCase { log_risk: *log_risk, years: 12.0 - log_risk, event: *log_risk > 1.0 })
        .collect();
    let references = [None, Some("female"), Some("male")]
        .into_iter()
        .filter_map(|sex| fit_reference(sex, ages, spread.clone()))
        .collect();
    let missing =
        HEALTH.map(|feature| MissingSpread { feature: feature.into(), log_risk_sd: 0.2, score_sd: 5.0 });
    let spread = RiskSpread {
        log_risk_half_width: 0.1,
        score: ScoreWidth { half_width: 3.0, missing_factor: 1.5 },
        score_sd_unmeasured: 26.0,
        missing: missing.into(),
    };
    let risk = fit_risk("death", 10.0, &cases, references, spread, COVERAGE).expect("events");
    write(dir, config, Part::Risk(risk))
}

pub(crate) fn sensor_value(dir: &Path) -> Bundle {
    let network = NetworkConfig::Regressor(RegressorConfig {
        inputs: CHANNELS,
        masked: false,
        outputs: 2,
        link: Link::Exp,
        body: body(1),
    });
    let mut config = config("sensor-value", Family::Sensor, "sensor_value", network);
    config.synthetic = true;
    config.labels = vec!["glucose".into(), "hba1c".into()];
    config.inputs = vec![TensorConfig::rows("channels", &[CHANNELS as i64])];
    config.outputs = vec![TensorConfig::rows("values", &[2])];
    let output = |name: &str| OutputResidual { output: name.into(), scale: Scale::Relative, half_width: 0.1 };
    let outputs = vec![output("glucose"), output("hba1c")];
    write(dir, config, Part::Residuals(Residuals { outputs, baseline: vec![1000.0; CHANNELS] }))
}

pub(crate) fn quality(dir: &Path) -> Bundle {
    let network = NetworkConfig::Classifier(ClassifierConfig {
        inputs: 6,
        masked: false,
        outputs: 3,
        body: body(1),
        forest: None,
    });
    let mut config = config("sensor-quality", Family::Sensor, "sensor_quality", network);
    config.synthetic = true;
    config.labels = ["good", "fair", "poor"].map(str::to_owned).into();
    config.inputs = vec![TensorConfig::rows("statistics", &[6])];
    config.outputs = vec![TensorConfig::rows("probabilities", &[3])];
    write(dir, config, Part::Classes(Classes { thresholds: vec![0.9; 3], bins: Vec::new() }))
}

fn body(members: usize) -> BodyConfig {
    BodyConfig { members, skip: true, ..BodyConfig::new([8]) }
}

fn masked(width: usize) -> Vec<TensorConfig> {
    vec![TensorConfig::rows("features", &[width as i64]), TensorConfig::rows("present", &[width as i64])]
}

fn features(names: &[&str]) -> Vec<FeatureConfig> {
    let feature =
        |name: &&str| FeatureConfig { name: (*name).into(), unit: None, loinc: None, low: None, high: None };
    names.iter().map(feature).collect()
}

fn normality(names: &[String]) -> Part {
    let errors = (0..200).map(|i| f64::from(i) / 100.0).collect();
    let column = |name: &String| (name.clone(), vec![0.0, 100.0], vec![-1.0, 1.0]);
    let fitted = fit_normality(errors, names.iter().map(column).collect(), 0.05);
    Part::Normality(fitted.expect("errors"))
}

fn config(name: &str, family: Family, task: &str, network: NetworkConfig) -> BundleConfig {
    BundleConfig {
        schema_version: models::bundle::config::SCHEMA_VERSION,
        name: name.into(),
        version: "MPS-TEST-v1.0.0-FP32".parse().expect("version"),
        family,
        engine: EngineKind::Candle,
        task: task.into(),
        intended_use: "tests".into(),
        synthetic: false,
        labels: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        network: Some(network),
        features: Vec::new(),
        forecast: None,
        batching: BatchingConfig::new(256),
        golden: GoldenConfig { tolerance: 1e-4 },
        lineage: LineageConfig { seed: 1, rows_train: 0, trained_with: "tests".into(), datasets: Vec::new() },
        metrics: Vec::new(),
    }
}

fn write(dir: &Path, config: BundleConfig, part: Part) -> Bundle {
    write_with(dir, config, part, Ok)
}

fn write_with(
    dir: &Path,
    config: BundleConfig,
    part: Part,
    more: impl FnOnce(Calibration) -> Result<Calibration, ModelError>,
) -> Bundle {
    let weights = weights(&config);
    let signature = config.signature().expect("signature");
    let mut model = CandleEngine::new().open(&config, &weights).expect("opens");
    let inputs =
        signature.inputs.iter().map(|spec| tensor(&[&[2], &sizes(&spec.dims)[..]].concat(), |_| 1.0));
    let golden = Golden::record(&mut *model, &signature, inputs.collect()).expect("runs");
    let calibration = Calibration::new(COVERAGE, 200, part).and_then(more).expect("valid");
    let json = String::from_utf8(calibration.to_json().expect("writes")).expect("text");
    let place = dir.join(&config.name).join(config.version.to_string());
    BundleWriter::new(config)
        .weights(weights)
        .golden(&golden)
        .expect("golden")
        .calibration(json)
        .card("# A model for tests\n")
        .write(place)
        .expect("writes")
}

fn sizes(dims: &[i64]) -> Vec<usize> {
    dims[1..].iter().map(|dim| usize::try_from(*dim).expect("fixed")).collect()
}

fn tensor(shape: &[usize], value: impl FnMut(usize) -> f32) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_f32(shape.to_vec(), &values).expect("fits")
}

/// Random weights under the names that the networks know.
fn weights(config: &BundleConfig) -> Vec<u8> {
    let network = config.network.as_ref().expect("candle");
    let body = network.body().expect("dense layers");
    let width = network.inputs();
    let wide = match network {
        // The forecaster also sees the level of its last value.
        NetworkConfig::Forecaster(_) => width + 1,
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Autoencoder(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => width * if network.masked() { 2 } else { 1 },
    };
    let outputs = match network {
        NetworkConfig::Classifier(classifier) => classifier.outputs,
        NetworkConfig::Regressor(regressor) => regressor.outputs,
        NetworkConfig::Autoencoder(_) => width,
        NetworkConfig::Forecaster(forecaster) => forecaster.horizons * forecaster.quantiles,
        NetworkConfig::Risk(_) => 1,
        NetworkConfig::Encoder(encoder) => encoder.width,
    };
    let mut count = 0.0;
    // Digits of a sine far behind the point: scattered enough for weights, and no generator to depend on.
    let mut random = |shape: &[usize]| {
        tensor(shape, |_| {
            count += 1.0;
            ((f64::sin(count * 12.9898) * 43_758.545_3).rem_euclid(1.0) - 0.5) as f32
        })
    };
    let mut named: Vec<(String, Tensor)> = Vec::new();
    let mut before = wide;
    for (index, next) in body.hidden.iter().copied().chain([outputs]).enumerate() {
        named.push((format!("body.{index}.weight"), random(&[body.members, before, next])));
        named.push((format!("body.{index}.bias"), random(&[body.members, 1, next])));
        before = next;
    }
    if body.skip {
        named.push(("skip.weight".into(), random(&[body.members, wide, outputs])));
    }
    let (columns, logged) = match network {
        NetworkConfig::Forecaster(_) => (1, false),
        NetworkConfig::Classifier(_)
        | NetworkConfig::Regressor(_)
        | NetworkConfig::Autoencoder(_)
        | NetworkConfig::Risk(_)
        | NetworkConfig::Encoder(_) => (width, true),
    };
    named.push(("standardise.center".into(), tensor(&[columns], |_| 10.0)));
    named.push(("standardise.scale".into(), tensor(&[columns], |_| 40.0)));
    if logged {
        named.push(("standardise.log".into(), tensor(&[columns], |_| 0.0)));
    }
    if matches!(network, NetworkConfig::Regressor(_)) {
        named.push(("output.center".into(), tensor(&[outputs], |_| 3.0)));
        named.push(("output.scale".into(), tensor(&[outputs], |_| 0.01)));
    }
    to_safetensors(named.iter().map(|(name, tensor)| (name.clone(), tensor))).expect("writes")
}
