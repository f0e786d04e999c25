//! Writes down what was answered and what drifted, in batches, beside the requests. What cannot be written is counted
//! and said once, and holds nobody up.

use std::{sync::Arc, time::Duration};

use inference::{
    Handle,
    drift::{Closed, Figure},
    server::ai::trace::{Part, Traced},
};
use metrics::Counter;
use registry::{
    Registry, RegistryError,
    predictions::{Cipher, DriftWindow, Payload, Prediction, digest},
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{drift::Alarms, recorder::now_ms};

/// Answers that wait to be written; further ones are dropped and counted.
pub(super) const ANSWERS_MAX: usize = 4_096;
/// Windows of drift that wait to be written.
pub(super) const WINDOWS_MAX: usize = 256;
/// Answers written in one transaction.
const BATCH_MAX: usize = 500;
/// Time between two transactions, in which a batch gathers.
const PAUSE: Duration = Duration::from_millis(200);

const WRITTEN: &str = "manpasik_predictions_written_total";
const LOST: &str = "manpasik_predictions_lost_total";

/// The task that writes.
pub(super) struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Writes what comes through both queues until it is stopped.
    pub(super) fn start(
        writer: Writer,
        answers: mpsc::Receiver<Traced>,
        windows: mpsc::Receiver<Closed>,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(writer.run(answers, windows, stop.clone()));
        Self { stop, task }
    }

    /// Writes what is still waiting, and ends.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the last predictions were not written");
        }
    }
}

/// What writes, and whom alarms concern.
pub(super) struct Writer {
    registry: Registry,
    handle: Handle,
    cipher: Option<Arc<Cipher>>,
    alarms: Alarms,
    written: Counter,
    lost: Counter,
    failing: bool,
}

impl Writer {
    /// Writes into `registry`, payloads where there is a cipher.
    pub(super) fn new(registry: Registry, handle: Handle, cipher: Option<Arc<Cipher>>) -> Self {
        metrics::describe_counter!(WRITTEN, "Predictions written down");
        metrics::describe_counter!(LOST, "Predictions that the database did not take");
        let (written, lost) = (metrics::counter!(WRITTEN), metrics::counter!(LOST));
        Self { registry, handle, cipher, alarms: Alarms::default(), written, lost, failing: false }
    }

    async fn run(
        mut self,
        mut answers: mpsc::Receiver<Traced>,
        mut windows: mpsc::Receiver<Closed>,
        stop: CancellationToken,
    ) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                // Without a trace nobody leaves answers.
                _ = answers.recv_many(&mut batch, BATCH_MAX), if !answers.is_closed() => self.write(batch).await,
                Some(closed) = windows.recv() => self.keep(&closed).await,
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => break,
            }
        }
        let mut rest = Vec::new();
        while let Ok(answer) = answers.try_recv() {
            rest.push(answer);
        }
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(BATCH_MAX));
            self.write(std::mem::replace(&mut rest, later)).await;
        }
        while let Ok(closed) = windows.try_recv() {
            self.keep(&closed).await;
        }
    }

    async fn write(&mut self, batch: Vec<Traced>) {
        let (mut predictions, mut payloads) = (Vec::new(), Vec::new());
        for answer in batch {
            match rows(answer, self.cipher.as_deref()) {
                Ok((parts, payload)) => {
                    predictions.extend(parts);
                    payloads.extend(payload);
                }
                Err(error) => self.failed(&error, 1),
            }
        }
        let count = predictions.len() as u64;
        match self.registry.predictions_write(predictions, payloads).await {
            Ok(()) => {
                self.written.increment(count);
                self.failing = false;
            }
            Err(error) => self.failed(&error, count),
        }
    }

    async fn keep(&mut self, closed: &Closed) {
        // The release is taken back even if the database does not take the figures.
        let noted = self.alarms.note(&self.registry, &self.handle, closed).await;
        for written in [noted, self.registry.drift_add(&window(closed)).await] {
            if let Err(error) = written {
                self.failed(&error, 0);
            }
        }
    }

    fn failed(&mut self, error: &RegistryError, count: u64) {
        self.lost.increment(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, cause = ?error, "answers are not written down");
        }
    }
}

fn rows(
    answer: Traced,
    cipher: Option<&Cipher>,
) -> Result<(Vec<Prediction>, Option<Payload>), RegistryError> {
    let Traced { id, rpc, tenant, cohort, at_ms, parts, request, answer, beside } = answer;
    let request = request();
    let input_sha256 = digest(&request);
    let cohort = cohort.map(|cohort| cohort.name()).unwrap_or_default();
    let prediction = |(part, of): (i32, Part)| {
        let Part { model, output, interval, probability, classes } = of;
        Prediction {
            id: id.clone(),
            part,
            rpc: rpc.to_owned(),
            model: model.name,
            version: model.version,
            input_sha256: input_sha256.clone(),
            output,
            interval,
            probability,
            classes,
            cohort: cohort.clone(),
            tenant: tenant.clone(),
            at_ms,
            outcome: None,
        }
    };
    let predictions = (0..).zip(parts).map(prediction).collect();
    let payload = match (cipher, answer) {
        (Some(cipher), Some(answer)) => {
            let whole = [request, beside.map(|beside| beside()).unwrap_or_default()].concat();
            let (request, answer) = (cipher.seal(&id, whole)?, cipher.seal(&id, answer())?);
            Some(Payload { id, request, answer, at_ms })
        }
        (_, None) | (None, _) => None,
    };
    Ok((predictions, payload))
}

fn window(closed: &Closed) -> DriftWindow {
    let figure = |figure: &Figure| {
        let Figure { column, values, index, distance, medians: (training, now), alarm } = figure;
        json!({
            "feature": column, "values": values, "stability_index": index, "distance": distance,
            "training_median": training, "median": now, "alarm": alarm,
        })
    };
    DriftWindow {
        model: closed.model.clone(),
        version: closed.version.clone(),
        cohort: closed.cohort.map(|cohort| cohort.name()).unwrap_or_default(),
        rows: closed.rows,
        figures: json!(closed.figures.iter().map(figure).collect::<Vec<_>>()).to_string(),
        closed_ms: now_ms(),
    }
}
