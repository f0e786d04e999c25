//! The worker thread: runs batches of one pool and loads its instances, off the asynchronous
//! runtime.

use std::{sync::Arc, thread};

use crate::pool::{Job, Pool};

/// Starts a worker of `pool`. It ends when the pool is closed and empty, or after a batch that
/// ran so long that another worker took its place.
pub(crate) fn spawn(pool: &Arc<Pool>) {
    let worker = Arc::clone(pool);
    let spawned = thread::Builder::new().name(format!("model {}", pool.name)).spawn(move || work(&worker));
    if let Err(error) = spawned {
        // Requests then wait for their deadline or for a caller's task to run them.
        tracing::error!(model = &*pool.name, %error, "cannot start a worker thread");
    }
}

fn work(pool: &Pool) {
    while let Some(job) = pool.next_job() {
        match job {
            Job::Load => pool.load_missing(),
            Job::Run(turn) => {
                if !pool.run_turn(turn) {
                    return;
                }
            }
        }
    }
}
