//! `manpasik predict`: a file of rows or images in, answers out, without a server.
//!
//! It asks the same service that the server mounts, in this process, so that an answer here is
//! the answer there.

mod rows;

use std::path::Path;

use anyhow::{Context, bail};
use inference::server::ai::AiService;
use models::bundle::Family;
use proto::manpasik::v1::{
    AnalysisKind, AnalyzeMeasurementRequest, AnalyzeMeasurementResponse, EstimateFoodCaloriesRequest,
    GetHealthScoreRequest, PredictTrendRequest, Series,
    ai_inference_service_client::AiInferenceServiceClient,
    ai_inference_service_server::AiInferenceServiceServer, analyze_measurement_request::Source,
    get_health_score_request, predict_trend_request,
};
use serde_json::Value;
use services::kernel::{GrpcService, in_process};

use crate::{
    app, cli,
    commands::{print, print_json, runtime, show::Shown},
    config::Config,
};

/// Largest message: a photo and its frame.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Runs one model over every input and prints an answer for each.
pub(crate) fn run(config: &Config, predict: &cli::Predict, json: bool) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let (inference, _) = app::models::start(config).await?;
        let handle = inference.handle();
        let served = handle.model(&predict.model, None)?;
        let family =
            served.bundle().map(|bundle| bundle.config().family).context("the model has no bundle")?;
        let server = AiInferenceServiceServer::new(AiService::new(handle))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let client = AiInferenceServiceClient::new(in_process(server))
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut asker = Asker { client, model: predict.model.clone() };
        let mut answers = Vec::new();
        for input in &predict.inputs {
            let found = asker.ask(family, input).await;
            answers.extend(found.with_context(|| format!("`{}`", input.display()))?);
        }
        if json {
            return print_json(&answers.into_iter().map(|answer| answer.json).collect::<Vec<_>>());
        }
        answers.iter().try_for_each(|answer| print(&format!("\n{}\n{}", answer.title, answer.shown.text())))
    })
}

/// One answer in both forms.
struct Answer {
    title: String,
    json: Value,
    shown: Shown,
}

struct Asker {
    client: AiInferenceServiceClient<GrpcService>,
    model: String,
}

impl Asker {
    async fn ask(&mut self, family: Family, input: &Path) -> anyhow::Result<Vec<Answer>> {
        match family {
            Family::Biomarker => self.rows(input, AnalysisKind::Biomarker).await,
            Family::Anomaly => self.rows(input, AnalysisKind::Anomaly).await,
            Family::HealthScore => self.scores(input).await,
            Family::Trend => Ok(vec![self.forecast(input).await?]),
            Family::Food => Ok(vec![self.photo(input).await?]),
            Family::Sensor | Family::Encoder | Family::Generic => bail!(
                "`{}` takes sensor channels, text or plain tensors; ask it over the Open Inference Protocol \
                 (`manpasik serve`)",
                self.model
            ),
        }
    }

    /// Panels, one a row; only what this model says of them is kept.
    async fn rows(&mut self, input: &Path, kind: AnalysisKind) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for (number, panel) in (1..).zip(rows::panels(input)?) {
            let request = AnalyzeMeasurementRequest {
                source: Some(Source::Panel(panel)),
                analyses: vec![kind.into()],
                ..Default::default()
            };
            let answer = self.client.analyze_measurement(request).await;
            let answer = self.only_mine(answer.with_context(|| format!("row {number}"))?.into_inner());
            answers.push(Answer {
                title: format!("{} row {number}", input.display()),
                json: serde_json::to_value(&answer)?,
                shown: Shown::default().analysis(&answer),
            });
        }
        Ok(answers)
    }

    fn only_mine(&self, mut answer: AnalyzeMeasurementResponse) -> AnalyzeMeasurementResponse {
        answer
            .classifications
            .retain(|item| item.model.as_ref().is_some_and(|model| model.name == self.model));
        answer.anomalies.retain(|item| item.model.as_ref().is_some_and(|model| model.name == self.model));
        answer
    }

    async fn scores(&mut self, input: &Path) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for (number, panel) in (1..).zip(rows::panels(input)?) {
            let source = Some(get_health_score_request::Source::Panel(panel));
            let answer = self.client.get_health_score(GetHealthScoreRequest { source }).await;
            let answer = answer.with_context(|| format!("row {number}"))?.into_inner();
            answers.push(Answer {
                title: format!("{} row {number}", input.display()),
                json: serde_json::to_value(&answer)?,
                shown: Shown::default().score(&answer),
            });
        }
        Ok(answers)
    }

    async fn forecast(&mut self, input: &Path) -> anyhow::Result<Answer> {
        let series: Series = rows::series(input)?;
        let last = series.points.last().map(|point| point.time_unix_ms);
        let source = Some(predict_trend_request::Source::Series(series));
        let request = PredictTrendRequest { source, ..Default::default() };
        let answer = self.client.predict_trend(request).await?.into_inner();
        Ok(Answer {
            title: input.display().to_string(),
            json: serde_json::to_value(&answer)?,
            shown: Shown::default().forecast(&answer, last),
        })
    }

    async fn photo(&mut self, input: &Path) -> anyhow::Result<Answer> {
        let image = std::fs::read(input).context("cannot read the image")?;
        let request = EstimateFoodCaloriesRequest { image: image.into(), ..Default::default() };
        let answer = self.client.estimate_food_calories(request).await?.into_inner();
        Ok(Answer {
            title: input.display().to_string(),
            json: serde_json::to_value(&answer)?,
            shown: Shown::default().food(&answer),
        })
    }
}
