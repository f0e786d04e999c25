//! A month of requests, with and without a shift, through the same code as those of a server.

use models::{bundle::BundleConfig, reference::Case};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const DAYS: usize = 30;
const DAILY: usize = 800;
const THRESHOLDS: Thresholds = Thresholds { rows: 1_000, index_max: 0.25, distance_max: 0.15 };

/// The shipped thyroid model's shape: 22 features with marks, three classes.
fn layout() -> Layout {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/thyroid");
    let version = std::fs::read_dir(folder).expect("shipped").next().expect("a version").expect("readable");
    let text = std::fs::read_to_string(version.path().join("model.toml")).expect("text");
    Layout::of(&BundleConfig::from_toml(&text).expect("valid")).expect("a table")
}

/// A synthetic patient: age, sex, and hormones that spread over decades; a laboratory may read TSH too high.
fn patient(rng: &mut StdRng, tsh: f32) -> [Tensor; 3] {
    let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let mut features: Vec<f32> = (0..22).map(|_| normal().exp()).collect();
    features[0] = (55.0 + 15.0 * normal()).clamp(18.0, 95.0);
    features[2] *= tsh;
    features[1] = f32::from(rng.random::<f32>() < 0.35);
    let marks: Vec<f32> = (0..22).map(|at| f32::from(at < 2 || rng.random::<f32>() < 0.8)).collect();
    let sick = rng.random::<f32>() * 0.2;
    let tensor = |values: &[f32]| Tensor::from_f32(vec![1, values.len()], values).expect("whole");
    [tensor(&features), tensor(&marks), tensor(&[1.0 - sick, sick / 2.0, sick / 2.0])]
}

/// What was told of a month of requests.
fn month(tsh: impl Fn(usize) -> f32) -> Vec<Closed> {
    let layout = layout();
    let mut rng = StdRng::seed_from_u64(7);
    let mut trained = |_| {
        let [features, marks, output] = patient(&mut rng, 1.0);
        layout.cases(&[features, marks], &[output])
    };
    let cases: Vec<Case> = (0..4_000).flat_map(&mut trained).collect();
    let reference = Reference::of(&layout, &cases).expect("enough");
    let ground = Arc::new(Ground { model: "thyroid".into(), version: "1".into(), layout, reference });
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, settings) = (Arc::clone(&told), Settings { all: THRESHOLDS, own: HashMap::new() });
    let mut watch = Watch {
        windows: BTreeMap::new(),
        alarming: BTreeSet::new(),
        thresholds: Arc::new(Mutex::new(settings)),
        told: Box::new(move |closed| heard.lock().expect("sound").push(closed)),
    };
    let mut rng = StdRng::seed_from_u64(8);
    for day in 0..DAYS {
        for _ in 0..DAILY {
            let [features, marks, output] = patient(&mut rng, tsh(day));
            watch.take(&Seen {
                ground: Arc::clone(&ground),
                inputs: vec![features, marks],
                outputs: vec![output],
                cases: 1,
            });
        }
    }
    drop(watch);
    told.lock().expect("sound").clone()
}

/// Columns that raised an alarm, window by window.
fn alarms(closed: &[Closed]) -> Vec<&str> {
    let figures = closed.iter().flat_map(|closed| &closed.figures);
    figures.filter(|figure| figure.alarm).map(|figure| figure.column.as_str()).collect()
}

#[test]
fn a_month_as_in_training_raises_no_alarm() {
    let told = month(|_| 1.0);
    let (all, some): (Vec<&Closed>, Vec<&Closed>) = told.iter().partition(|closed| closed.cohort.is_none());
    assert_eq!(all.len(), DAYS * DAILY / 1_000);
    assert!(some.len() > 10, "cohorts have windows of their own: {}", some.len());
    assert!(all.iter().all(|closed| closed.figures.len() == 25), "22 features and 3 classes");
    assert!(alarms(&told).is_empty(), "nothing has changed: {:?}", alarms(&told));
}

#[test]
fn a_shift_is_caught_in_the_first_window_after_it_and_named() {
    let told = month(|day| if day < 20 { 1.0 } else { 3.0 });
    let whole: Vec<Closed> = told.into_iter().filter(|closed| closed.cohort.is_none()).collect();
    let (before, after) = whole.split_at(16);
    assert!(alarms(before).is_empty(), "{:?}", alarms(before));
    assert!(
        after.iter().all(|closed| alarms(std::slice::from_ref(closed)) == ["tsh"]),
        "{:?}",
        alarms(after)
    );
    let figure = after[0].figures.iter().find(|figure| figure.column == "tsh").expect("compared");
    assert!(figure.index > 0.5 && figure.distance > 0.3, "{figure:?}");
    assert!(figure.medians.1 > 2.0 * figure.medians.0, "{figure:?}");
}
