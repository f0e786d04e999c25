//! What an explanation costs: one answer of each kind of model with its Shapley values and without, on the shipped
//! bundles, from the typed question to the typed answer.
//!
//! `answer` runs the tensors of the case alone, ready made; `explained` is what is served: the question encoded with its
//! copies with inputs hidden, run as one batch and read. Neither has a wire in it; docs/benchmarks.md sets the difference
//! beside the latency of a request.

use std::hint::black_box;
use std::path::Path;

use clinical::{Biomarker as B, Panel, Person, Sex};
use criterion::{Criterion, criterion_group, criterion_main};
use models::engine::CandleEngine;
use models::family::{biomarker, health_score, trend};
use models::{Batch, Bundle, Model, Tensor};

/// The one version of a shipped model.
fn shipped(name: &str) -> Bundle {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles").join(name);
    let mut versions = std::fs::read_dir(&folder).expect("a folder of versions");
    let version = versions.next().expect("a version").expect("readable").path();
    Bundle::open(&version).expect("a bundle")
}

fn loaded(bundle: &Bundle) -> Box<dyn Model> {
    bundle.load(&CandleEngine::new()).expect("loads")
}

/// The case without its copies.
fn alone(tensors: &[Tensor]) -> Vec<Tensor> {
    let first = |tensor: &Tensor| {
        let mut shape = tensor.shape().to_vec();
        let values = tensor.as_f32().expect("numbers");
        let own = values.len() / shape[0];
        shape[0] = 1;
        Tensor::from_f32(shape, &values[..own]).expect("a row")
    };
    tensors.iter().map(first).collect()
}

fn panel(values: &[(B, f64)]) -> Panel {
    let person = Person::new(Some(55.0), Some(Sex::Male)).expect("a person");
    let add = |builder: clinical::panel::PanelBuilder, (marker, value): &(B, f64)| {
        builder.value(*marker, *value, marker.unit()).expect("possible")
    };
    values.iter().fold(Panel::builder(person), add).build().expect("a panel")
}

/// Measures `explained` beside a run of the case alone.
fn beside(
    criterion: &mut Criterion,
    name: &str,
    model: &mut dyn Model,
    tensors: &dyn Fn() -> Vec<Tensor>,
    read: &dyn Fn(Vec<Tensor>),
) {
    let mut group = criterion.benchmark_group(name);
    group.bench_function("answer", |bencher| {
        let case = alone(&tensors());
        bencher.iter(|| black_box(model.run(Batch { tensors: case.clone() }).expect("outputs")));
    });
    group.bench_function("explained", |bencher| {
        bencher.iter(|| read(model.run(Batch { tensors: tensors() }).expect("outputs").tensors));
    });
    group.finish();
}

fn thyroid() -> Panel {
    panel(&[(B::Tsh, 2.0), (B::T3, 120.0), (B::TotalT4, 8.2), (B::FreeT4Index, 8.5)])
}

/// An examination with blood drawn.
fn examination() -> Panel {
    let body = [(B::Bmi, 27.0), (B::Waist, 98.0), (B::SystolicBp, 135.0), (B::DiastolicBp, 82.0)];
    let blood = [(B::Hdl, 45.0), (B::TotalCholesterol, 210.0), (B::HbA1c, 5.6), (B::HeartRate, 70.0)];
    panel(&[body, blood].concat())
}

fn panels(criterion: &mut Criterion) {
    for (name, asked) in
        [("thyroid", thyroid()), ("diabetes", examination()), ("cardiovascular", examination())]
    {
        let bundle = shipped(name);
        let encoder = biomarker::Encoder::new(&bundle).expect("fits");
        let encoded = encoder.encode(&asked).expect("encodes");
        let tensors = || encoder.encode(&asked).expect("encodes").tensors;
        let read =
            |outputs: Vec<Tensor>| drop(black_box(encoder.decode(&encoded, &outputs).expect("decodes")));
        beside(criterion, &format!("explain_{name}"), &mut *loaded(&bundle), &tensors, &read);
    }
    let bundle = shipped("health-score");
    let encoder = health_score::Encoder::new(&bundle).expect("fits");
    let asked = examination();
    let encoded = encoder.encode(&asked).expect("encodes");
    let tensors = || encoder.encode(&asked).expect("encodes").tensors;
    let read = |outputs: Vec<Tensor>| drop(black_box(encoder.decode(&encoded, &outputs).expect("decodes")));
    beside(criterion, "explain_health_score", &mut *loaded(&bundle), &tensors, &read);
}

fn series(criterion: &mut Criterion) {
    let bundle = shipped("glucose-trend");
    let encoder = trend::Encoder::new(&bundle).expect("fits");
    let sample = |step: i64| trend::Sample {
        time_unix_ms: step * 300_000,
        value: 120.0 + 20.0 * (step as f64 / 6.0).sin(),
    };
    let asked =
        trend::Series::new(B::Glucose, B::Glucose.unit(), (0..40).map(sample).collect()).expect("a series");
    let encode = || match encoder.encode(&asked, 0, &Person::default()).expect("encodes") {
        trend::Question::Run(encoded) => encoded,
        trend::Question::Simple(answer) => panic!("long enough for the model: {answer:?}"),
    };
    let encoded = encode();
    let read = |outputs: Vec<Tensor>| drop(black_box(encoder.decode(&encoded, &outputs).expect("decodes")));
    beside(criterion, "explain_glucose_trend", &mut *loaded(&bundle), &|| encode().tensors, &read);
}

criterion_group!(benches, panels, series);
criterion_main!(benches);
