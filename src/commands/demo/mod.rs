//! `manpasik demo`: real inputs through gRPC to every family, the answers as tables.

mod inputs;
mod session;

use std::time::{Duration, Instant};

use anyhow::Context;
use proto::manpasik::v1::{
    EstimateFoodCaloriesResponse, ai_inference_service_client::AiInferenceServiceClient,
    measurement_service_client::MeasurementServiceClient,
};
use serde::Serialize;
use services::kernel::remote;
use tonic::{Code, Status, transport::Endpoint};

use crate::{
    app::{App, Signals},
    cli,
    commands::{bearing, print, runtime, show::Shown},
    config::Config,
};

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer and request; a photo may have 10 MB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Serves, asks, shows, and serves on unless told `--once`.
pub(crate) fn run(config: &Config, demo: &cli::Demo, token: Option<&str>, json: bool) -> anyhow::Result<()> {
    let out = Output { json };
    runtime()?.block_on(async {
        let start = Instant::now();
        let mut signals = Signals::listen()?;
        let app = tokio::select! {
            app = App::build(config) => app?,
            () = signals.next() => return Ok(()),
        };
        let (grpc, http) = (app.grpc_address(), app.http_address());
        let endpoint = config.server.reached(grpc)?;
        let ready = start.elapsed();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(app.run(async move {
            let _ = stopped.await;
        }));
        out.remark(&format!("server ready after {:.2} s: gRPC {grpc}, HTTP {http}", ready.as_secs_f64()))?;
        tokio::select! {
            asked = ask_everything(endpoint, token, start, out) => asked?,
            () = signals.next() => return stopping(stop, server).await,
        }
        if !demo.once {
            out.remark(&format!(
                "\nServing on. Try:  curl http://{http}/v1/ai/models\nPress Ctrl-C to stop."
            ))?;
            signals.first().await;
        }
        stopping(stop, server).await
    })
}

/// Tells the server to stop and waits until it has.
async fn stopping(
    stop: tokio::sync::oneshot::Sender<()>,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    drop(stop);
    server.await.context("the server task failed")?
}

/// Where answers go: tables for a person, one JSON object a line for a script.
#[derive(Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    /// One answer under its title.
    fn answer(self, title: &str, answer: &impl Serialize, shown: &Shown) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::json!({ "title": title, "answer": answer }).to_string());
        }
        print(&format!("\n{title}\n{}", shown.text()))
    }

    /// What only a person wants to know.
    fn remark(self, text: &str) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }
}

async fn ask_everything(
    endpoint: Endpoint,
    token: Option<&str>,
    start: Instant,
    out: Output,
) -> anyhow::Result<()> {
    let channel = endpoint.timeout(ANSWER_TIMEOUT).connect().await?;
    let channel = bearing(remote(channel), token)?;
    let mut ai = AiInferenceServiceClient::new(channel.clone())
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut measurement = MeasurementServiceClient::new(channel);

    let answer = ai.analyze_measurement(inputs::thyroid()?).await.context("thyroid panel")?.into_inner();
    out.remark(&format!("first answer after {:.2} s", start.elapsed().as_secs_f64()))?;
    out.answer("Thyroid panel of a man of 47 (real)", &answer, &Shown::default().analysis(&answer))?;

    let answer = ai.analyze_measurement(inputs::adult()?).await.context("adult panel")?.into_inner();
    out.answer("Examination of a woman of 54 (real, NHANES)", &answer, &Shown::default().analysis(&answer))?;

    let (request, last) = inputs::glucose()?;
    let answer = ai.predict_trend(request).await.context("glucose series")?.into_inner();
    let shown = Shown::default().forecast(&answer, Some(last));
    out.answer("Six hours of continuous glucose (real)", &answer, &shown)?;

    let outcome = session::run(&mut measurement).await?;
    out.answer(&session_title(&outcome), &outcome.end, &Shown::default().session(&outcome.end))?;
    if let Some(measured) = &outcome.end.measurement {
        let found = session::similar(&mut measurement, &measured.id).await?;
        let shown = Shown::default().similar(&found);
        out.answer("Have I looked like this before? Nearest earlier session (SYNTHETIC)", &found, &shown)?;
    }

    photo(ai.estimate_food_calories(inputs::espresso()).await.map(tonic::Response::into_inner), out)
}

fn session_title(outcome: &session::Outcome) -> String {
    let (packets, unusual) = outcome.packets;
    format!(
        "Measurement session, 88 channels (SYNTHETIC: simulated glucose {} mg/dL; {packets} packets streamed, \
         {unusual} unusual)",
        outcome.truth
    )
}

/// A missing image model is told with its reason and does not end the demonstration.
fn photo(answer: Result<EstimateFoodCaloriesResponse, Status>, out: Output) -> anyhow::Result<()> {
    const TITLE: &str = "Photo of an espresso (real)";
    match answer {
        Ok(answer) => out.answer(TITLE, &answer, &Shown::default().food(&answer)),
        Err(status)
            if matches!(status.code(), Code::Unavailable | Code::NotFound | Code::FailedPrecondition) =>
        {
            print(&format!("\n{TITLE}\n  not answered: {}", status.message()))
        }
        Err(status) => Err(status).context("photo"),
    }
}
