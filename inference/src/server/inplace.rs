//! Answers on the task of their connection.
//!
//! A task of its own for every request costs, beside a model of a few microseconds, a good part of the answer: it is
//! allocated, queued and often woken on another core. So as long as the answers of a connection are that quick, its own
//! task works them out in place; those that wait for something are gone back to when they are woken. When they are not
//! quick each gets a task again, so that all cores work for one connection too.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread::available_parallelism,
    time::Instant,
};

use futures::{StreamExt, stream::FuturesUnordered};
use hyper::rt::Executor;

/// Mean time of an answer up to which it is worked out in place, nanoseconds, while there are connections for every core:
/// all of them are busy then whoever does the work.
const QUICK_NS: u64 = 60_000;
/// The same with fewer connections: about what a task of its own costs in waking another core.
const QUICK_ALONE_NS: u64 = 15_000;
/// Weight of the past in that mean.
const WEIGHT: u64 = 32;
/// One answer counts as this many times the limit at most: what was interrupted tells nothing of the next.
const JUMP_MAX: u64 = 2;

/// What a connection begins answers with; a clone shares everything.
#[derive(Clone)]
pub(super) struct InPlace(Arc<Shared>);

struct Shared {
    begun: Mutex<Vec<Answer>>,
    /// Mean time that was spent on an answer, nanoseconds.
    mean_ns: AtomicU64,
    /// Connections beside it, this one among them.
    open: Arc<AtomicUsize>,
}

/// Connections of a port that are open.
#[derive(Default)]
pub(super) struct Open(Arc<AtomicUsize>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

impl Shared {
    fn is_quick(&self) -> bool {
        static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));
        let limit = if self.open.load(Relaxed) >= *CORES { QUICK_NS } else { QUICK_ALONE_NS };
        self.mean_ns.load(Relaxed) <= limit
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InPlace {
    fn execute(&self, answer: F) {
        let answer = Answer { work: Box::pin(answer), shared: Arc::clone(&self.0), spent_ns: 0 };
        if self.0.is_quick() {
            self.0.begun.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        } else {
            tokio::spawn(answer);
        }
    }
}

impl InPlace {
    /// Of one connection more among those that are `open`.
    pub(super) fn new(open: &Open) -> Self {
        let (begun, mean_ns) = (Mutex::default(), AtomicU64::new(0));
        open.0.fetch_add(1, Relaxed);
        Self(Arc::new(Shared { begun, mean_ns, open: Arc::clone(&open.0) }))
    }

    /// Drives `connection` to its end, and the answers that it begins. Those that are not done by then are dropped: nobody
    /// is there to have them.
    pub(super) async fn drive<C: Future>(self, mut connection: Pin<&mut C>) -> C::Output {
        let mut waiting: FuturesUnordered<Answer> = FuturesUnordered::new();
        std::future::poll_fn(move |context| {
            loop {
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    return Poll::Ready(end);
                }
                let mut goes_on = false;
                for mut answer in self.begun() {
                    goes_on = true;
                    if Pin::new(&mut answer).poll(context).is_pending() {
                        waiting.push(answer);
                    }
                }
                while let Poll::Ready(Some(())) = waiting.poll_next_unpin(context) {
                    goes_on = true;
                }
                // What was answered is sent by looking at the connection again.
                if !goes_on {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn begun(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.0.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One answer in the making.
struct Answer {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    shared: Arc<Shared>,
    /// Time spent on it so far, nanoseconds.
    spent_ns: u64,
}

impl Future for Answer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let began = Instant::now();
        let done = self.look(context);
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns = self.spent_ns.saturating_add(took).min(QUICK_NS * JUMP_MAX);
        if done.is_ready() {
            let mean = self.shared.mean_ns.load(Relaxed);
            // A race loses one observation, which changes nothing.
            self.shared.mean_ns.store((mean * (WEIGHT - 1) + self.spent_ns) / WEIGHT, Relaxed);
        }
        done
    }
}

impl Answer {
    /// A panic ends its own request, as it would in a task, and no other.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let work = AssertUnwindSafe(|| self.work.as_mut().poll(context));
        catch_unwind(work).unwrap_or(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// Keeps the processor busy.
    fn work(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn quick_answers_need_no_task_and_slow_ones_get_one() {
        let place = InPlace::new(&Open::default());
        for _ in 0..8 {
            place.execute(async {});
        }
        assert_eq!(place.begun().len(), 8, "nothing was spawned");
        let (done, mut all) = mpsc::channel(32);
        let busy = |count: usize| {
            for _ in 0..count {
                let done = done.clone();
                place.execute(async move {
                    work(Duration::from_micros(200));
                    done.send(()).await.expect("heard");
                });
            }
        };
        busy(8);
        let connection = async {
            while all.len() < 8 {
                tokio::task::yield_now().await;
            }
        };
        place.clone().drive(pin!(connection)).await;
        busy(4);
        assert!(place.begun().is_empty(), "each has a task now");
        for _ in 0..12 {
            all.recv().await.expect("answered");
        }
    }

    #[tokio::test]
    async fn an_answer_that_waits_is_gone_back_to_and_a_panic_stays_its_own() {
        let place = InPlace::new(&Open::default());
        let (wake, woken) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        place.execute(async { panic!("asked to") });
        place.execute(async {
            woken.await.expect("woken");
            tell.send(7).expect("heard");
        });
        let connection = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            wake.send(()).expect("it waits");
            told.await.expect("answered")
        };
        assert_eq!(place.drive(pin!(connection)).await, 7);
    }
}
