//! What is traced and logged, read and changed over REST.

use axum::{
    Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::HeaderMap,
    response::Response,
    routing::get,
};
use serde::Deserialize;
use serde_json::Value;

use super::{answer, object, path, written};
use crate::{
    InferError,
    server::oip::{Oip, log::LogValue},
};

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    model: String,
}

type Targeted = Result<Path<Target>, PathRejection>;

pub(super) fn routes() -> Router<Oip> {
    Router::new()
        .route("/trace/setting", get(trace).post(set_trace))
        .route("/models/{model}/trace/setting", get(trace).post(set_trace))
        .route("/logging", get(log).post(set_log))
}

async fn trace(State(oip): State<Oip>, target: Targeted) -> Result<Response, InferError> {
    let Target { model } = path(target)?;
    Ok(answer(&written::Trace(oip.trace().settings(oip.handle(), &model)?)))
}

async fn set_trace(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model } = path(target)?;
    let asked = object(&oip, &headers, body).await?;
    let read = |(name, value): (String, Value)| Ok((name.clone(), values(&name, &value)?));
    let changes = asked.into_iter().map(read).collect::<Result<Vec<_>, InferError>>()?;
    Ok(answer(&written::Trace(oip.trace().update(oip.handle(), &model, &changes)?)))
}

/// One value, several, or none to inherit again.
fn values(name: &str, value: &Value) -> Result<Vec<String>, InferError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(InferError::input(name, "must be a text or a list of texts"))
        }
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(one).collect(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) => Ok(vec![one(value)?]),
    }
}

async fn log(State(oip): State<Oip>) -> Response {
    answer(&written::Log(oip.log().settings().written()))
}

async fn set_log(State(oip): State<Oip>, headers: HeaderMap, body: Body) -> Result<Response, InferError> {
    let asked = object(&oip, &headers, body).await?;
    let read = |(name, value): (String, Value)| {
        let value = match &value {
            Value::Bool(on) => LogValue::Bool(*on),
            Value::String(text) => LogValue::Text(text.clone()),
            Value::Number(number) => {
                let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
                let fault = || InferError::input(&name, "must be a whole number, not negative");
                LogValue::Number(number.ok_or_else(fault)?)
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(InferError::input(name, "must be a text, a number, or true or false"));
            }
        };
        Ok((name, value))
    };
    let changes = asked.into_iter().map(read).collect::<Result<Vec<_>, InferError>>()?;
    Ok(answer(&written::Log(oip.log().update(&changes)?.written())))
}
