//! What counting and timing one request costs: everything that is recorded for an answered request.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use inference::{
    TraceContext,
    monitor::{self, ModelMetrics, Times},
};

fn answered(criterion: &mut Criterion) {
    monitor::install();
    let metrics = ModelMetrics::new("bench", "1");
    let micros = Duration::from_micros;
    let times = Times {
        queue: micros(40),
        input: micros(1),
        compute: micros(30),
        output: micros(1),
        total: micros(80),
    };
    let trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let mut group = criterion.benchmark_group("telemetry of a request");
    group.bench_function("untraced", |bencher| bencher.iter(|| metrics.answered(black_box(times), None)));
    group.bench_function("traced", |bencher| {
        bencher.iter(|| metrics.answered(black_box(times), trace.map(|trace| trace.id)));
    });
    group.finish();
}

criterion_group!(benches, answered);
criterion_main!(benches);
