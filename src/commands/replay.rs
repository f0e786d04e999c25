//! `manpasik replay`: the kept request of a prediction, answered again by the versions that answered it.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use inference::server::ai::{
    AiService,
    replay::{Replayed, told},
    trace::Part,
};
use models::Bundle;
use registry::{Catalogue, predictions::Prediction};
use serde_json::json;

use super::registered::{Session, with};
use crate::{
    app,
    cli::Replay,
    commands::{print, print_json, runtime},
    config::Config,
};

/// Share by which a number may be off on another processor or engine, unless a bundle says more.
const TOLERANCE: f64 = 1e-6;

/// How an answer compares with the kept one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Alike {
    /// Every bit.
    Exactly,
    /// Classes the same, numbers off by at most this share.
    Within(f64),
}

/// Answers again, compares, and fails when the answers differ.
pub(crate) fn run(config: &Config, replay: &Replay, token: Option<&str>, json: bool) -> anyhow::Result<()> {
    let kept = with(config, token, async |session| kept(config, session, &replay.id).await);
    let (parts, request, before) = kept?;
    runtime()?.block_on(async {
        let rpc = parts.first().map(|part| part.rpc.clone()).unwrap_or_default();
        let (service, tolerance) = serving(config, &parts).await?;
        let now = service
            .replay(&rpc, &request)
            .await
            .map_err(|status| anyhow::anyhow!("the request was not answered again: {}", status.message()))?;
        let alike = compare(&before, &now, tolerance)?;
        if json {
            let (exact, tolerance) = match alike {
                Alike::Exactly => (true, 0.0),
                Alike::Within(tolerance) => (false, tolerance),
            };
            return print_json(&json!({ "id": replay.id, "bit_for_bit": exact, "tolerance": tolerance }));
        }
        print(&match alike {
            Alike::Exactly => format!("{}: reproduced bit for bit", replay.id),
            Alike::Within(tolerance) => format!(
                "{}: reproduced within the engine's tolerance of {tolerance:e}, not bit for bit",
                replay.id
            ),
        })
    })
}

/// The prediction with its request and answer, decrypted.
async fn kept(
    config: &Config,
    session: &Session,
    id: &str,
) -> anyhow::Result<(Vec<Prediction>, Vec<u8>, Replayed)> {
    let parts = session.registry.prediction(id).await?;
    let payload = session.registry.prediction_payload(id).await?.with_context(|| {
        format!("of prediction {id} no payload was kept (predictions.payload_logging was off), so it cannot be replayed")
    })?;
    let cipher = config.cipher().context("the payload needs its key (predictions.payload_key)")?;
    let (request, answer) = (cipher.open(id, &payload.request)?, cipher.open(id, &payload.answer)?);
    let rpc = parts.first().map(|part| part.rpc.as_str()).unwrap_or_default();
    let before = told(rpc, &answer).map_err(|status| anyhow::anyhow!("{}", status.message()))?;
    Ok((parts, request, before))
}

/// A service in which the versions that answered are live, and the largest tolerance of their engines.
async fn serving(config: &Config, parts: &[Prediction]) -> anyhow::Result<(AiService, f64)> {
    let (server, shelf) = app::models::start(config).await?;
    let mut folders = config.bundle_dirs();
    folders.push(PathBuf::from(&config.data_dir).join("registered"));
    let catalogue = Catalogue::scan(&folders, &config.trust());
    let mut tolerance = TOLERANCE;
    for part in parts {
        let is_it = |bundle: &&Arc<Bundle>| {
            bundle.config().name == part.model && bundle.config().version.to_string() == part.version
        };
        let bundle = catalogue.entries().iter().filter_map(|entry| entry.bundle()).find(is_it);
        let bundle = bundle.with_context(|| {
            format!(
                "version {} of {} answered, and its bundle is not here any more",
                part.version, part.model
            )
        })?;
        tolerance = bundle.config().golden.tolerance.max(tolerance);
        let handle = server.handle();
        let candidate = shelf.as_live(bundle);
        tokio::task::spawn_blocking(move || handle.install(candidate)).await??;
    }
    Ok((AiService::new(server.handle()), tolerance))
}

fn compare(before: &Replayed, now: &Replayed, tolerance: f64) -> anyhow::Result<Alike> {
    if before.answer == now.answer {
        return Ok(Alike::Exactly);
    }
    if before.parts.len() != now.parts.len() {
        bail!("not reproduced: {} models answered then, {} now", before.parts.len(), now.parts.len());
    }
    for (then, now) in before.parts.iter().zip(&now.parts) {
        if !alike(then, now, tolerance) {
            bail!("not reproduced: {} answered {} then and {} now", then.model.name, then.output, now.output);
        }
    }
    Ok(Alike::Within(tolerance))
}

fn alike(then: &Part, now: &Part, tolerance: f64) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0);
    let outputs = match (then.output.parse::<f64>(), now.output.parse::<f64>()) {
        (Ok(a), Ok(b)) => near(a, b),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) | (Err(_), Err(_)) => then.output == now.output,
    };
    let intervals = match (then.interval, now.interval) {
        (Some(a), Some(b)) => near(a.0, b.0) && near(a.1, b.1),
        (a, b) => a == b,
    };
    let probabilities = match (then.probability, now.probability) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    };
    outputs && intervals && probabilities && then.model == now.model && then.classes == now.classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(output: &str) -> Part {
        Part {
            model: Default::default(),
            output: output.into(),
            interval: Some((1.0, 2.0)),
            probability: None,
            classes: vec![],
        }
    }

    fn replayed(answer: u8, output: &str) -> Replayed {
        Replayed { answer: vec![answer], parts: vec![part(output)] }
    }

    #[test]
    fn bits_then_tolerance_then_a_difference() {
        let before = replayed(1, "100.0");
        assert_eq!(compare(&before, &replayed(1, "100.0"), 1e-3).expect("the same"), Alike::Exactly);
        assert_eq!(compare(&before, &replayed(2, "100.05"), 1e-3).expect("near"), Alike::Within(1e-3));
        let error = compare(&before, &replayed(2, "101.0"), 1e-3).expect_err("far").to_string();
        assert!(error.contains("100.0 then and 101.0 now"), "{error}");
        assert!(compare(&before, &replayed(2, "sick"), 1e-3).is_err());
        assert!(compare(&before, &Replayed { answer: vec![], parts: vec![] }, 1e-3).is_err());
    }
}
