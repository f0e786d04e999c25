//! Spans (OpenTelemetry): where the time of a request went that belongs to a recorded trace, told to whoever exports them.
//!
//! A request is recorded when its caller says so (`traceparent`), and one in so many of those whose callers say nothing.
//! Spans are made when the request is answered, from the times that were measured anyway: one for the request, below the
//! caller's, and one below it for each stage. Nothing is made for other requests.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    num::NonZero,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use crate::{ErrorCode, TraceContext, TraceId, monitor::Times};

/// Names one span within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZero<u64>);

impl SpanId {
    /// Eight bytes, not all 0.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        NonZero::new(u64::from_be_bytes(bytes)).map(Self)
    }

    /// One that nobody else has, as far as chance goes.
    pub fn fresh() -> Self {
        Self(random())
    }

    /// As it travels.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The whole request.
    Request,
    /// Its time in the queue.
    Queue,
    /// Putting the rows of its batch together.
    Input,
    /// The model.
    Compute,
    /// Taking the rows of its batch apart.
    Output,
}

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own name.
    pub id: SpanId,
    /// The span it is part of; none where the trace begins here.
    pub parent: Option<SpanId>,
    /// What it is of.
    pub stage: Stage,
    /// Model that was asked.
    pub model: Arc<str>,
    /// Version that answered.
    pub version: Arc<str>,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Why there was no answer, if there was none.
    pub error: Option<ErrorCode>,
}

/// Takes spans away without waiting.
pub type Sink = Box<dyn Fn(Span) + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();
/// Requests whose callers say nothing are recorded when a random number is below this; 0: never.
static THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// Gives every span of this process to `sink` from now on, and records `share` (0 to 1) of the requests that come without a
/// trace. The first call counts; whether this was it.
pub fn export(share: f64, sink: Sink) -> bool {
    let first = SINK.set(sink).is_ok();
    if first {
        THRESHOLD.store((share.clamp(0.0, 1.0) * u64::MAX as f64) as u64, Relaxed);
    }
    first
}

/// A new trace for a request that came without one, if chance has it.
pub(crate) fn root() -> Option<TraceContext> {
    let threshold = THRESHOLD.load(Relaxed);
    if threshold == 0 || random().get() > threshold {
        return None;
    }
    let halves = [random().get().to_be_bytes(), random().get().to_be_bytes()];
    let mut id = [0; 16];
    id.iter_mut().zip(halves.as_flattened()).for_each(|(to, from)| *to = *from);
    Some(TraceContext { id: TraceId::new(id)?, parent: None })
}

/// Of whom spans tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) model: &'a Arc<str>,
    pub(crate) version: &'a Arc<str>,
}

/// Tells the spans of a request that ended now, as `own` below the caller's.
pub(crate) fn tell(
    trace: TraceContext,
    own: SpanId,
    of: Subject<'_>,
    times: Times,
    error: Option<ErrorCode>,
) {
    let Some(sink) = SINK.get() else { return };
    let Times { queue, input, compute, output, total } = times;
    let start = SystemTime::now().checked_sub(total).unwrap_or(SystemTime::UNIX_EPOCH);
    let span = |stage, id, parent, after: Duration, took| Span {
        trace: trace.id,
        id,
        parent,
        stage,
        model: Arc::clone(of.model),
        version: Arc::clone(of.version),
        start: start + after,
        took,
        error,
    };
    let mut after = Duration::ZERO;
    for (stage, took) in
        [(Stage::Queue, queue), (Stage::Input, input), (Stage::Compute, compute), (Stage::Output, output)]
    {
        if !took.is_zero() {
            sink(Span { error: None, ..span(stage, SpanId::fresh(), Some(own), after, took) });
        }
        after += took;
    }
    sink(span(Stage::Request, own, trace.parent, Duration::ZERO, total));
}

/// A number that is not 0; not for secrets.
fn random() -> NonZero<u64> {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // SplitMix64 (Steele, Lea, Flood 2014): every count gives another number.
    let mut number = SEED.wrapping_add(COUNT.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    NonZero::new(number ^ (number >> 31)).unwrap_or(NonZero::<u64>::MIN)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Mutex};

    use super::*;

    #[test]
    fn span_names_do_not_repeat() {
        let names: HashSet<SpanId> = (0..10_000).map(|_| SpanId::fresh()).collect();
        assert_eq!(names.len(), 10_000);
        assert_eq!(SpanId::new([0; 8]), None);
        let name = SpanId::fresh();
        assert_eq!(SpanId::new(name.to_bytes()), Some(name));
    }

    #[test]
    fn the_stages_of_a_request_stand_below_it_one_after_another() {
        static SEEN: Mutex<Vec<Span>> = Mutex::new(Vec::new());
        assert!(root().is_none(), "nothing is recorded that nobody asked for");
        assert!(export(1.0, Box::new(|span| SEEN.lock().expect("lock").push(span))));
        let trace = root().expect("all are recorded");
        let (model, version): (Arc<str>, Arc<str>) = ("spans-test".into(), "1".into());
        let micros = Duration::from_micros;
        let times = Times { queue: micros(5), compute: micros(7), total: micros(20), ..Times::default() };
        let own = SpanId::fresh();
        tell(trace, own, Subject { model: &model, version: &version }, times, Some(ErrorCode::Internal));
        let seen = SEEN.lock().expect("lock");
        let mine: Vec<&Span> = seen.iter().filter(|span| span.trace == trace.id).collect();
        let [queue, compute, request] = &mine[..] else { panic!("{mine:?}") };
        assert_eq!(
            (queue.stage, compute.stage, request.stage),
            (Stage::Queue, Stage::Compute, Stage::Request)
        );
        assert!([queue, compute].iter().all(|span| span.parent == Some(own) && span.error.is_none()));
        assert_eq!((request.id, request.parent, request.error), (own, None, Some(ErrorCode::Internal)));
        assert_eq!(queue.start + queue.took, compute.start);
        assert_eq!((queue.start, request.took), (request.start, micros(20)));
    }
}
