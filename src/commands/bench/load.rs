//! `manpasik bench load`: the load generator by itself, for any server that speaks the Open Inference Protocol.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use axum::body::Bytes;
use benches::{
    http::Call,
    load::{OPEN_MAX, Target},
    stats::Phase,
};
use models::DType;
use proto::inference::{ModelInferRequest, model_infer_request::InferInputTensor};
use serde_json::{Value, json};

use crate::{
    cli::{BenchLoad, LoadProtocol},
    commands::{print, print_json, runtime},
};

/// Connections that requests over gRPC are spread over.
const CONNECTIONS: usize = 4;
/// What is told of the latencies.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0];

/// Sends the load, and prints what came back.
pub(super) fn run(options: &BenchLoad, json: bool) -> anyhow::Result<()> {
    let path = options.request.display();
    let text = std::fs::read(&options.request).with_context(|| format!("cannot read `{path}`"))?;
    let body: Value = serde_json::from_slice(&text).with_context(|| format!("`{path}` is no JSON"))?;
    let length = Duration::try_from_secs_f64(options.seconds)?;
    let phase = runtime()?.block_on(async {
        match options.protocol {
            LoadProtocol::Grpc => over_grpc(options, &message(&options.model, &body)?, length).await,
            LoadProtocol::Http => over_http(options, options.address, text.into(), length).await,
        }
    })?;
    let told = told(options, &phase);
    if json { print_json(&told) } else { print(&shown(&phase)) }?;
    ensure!(phase.errors == 0, "{} requests were not answered, or with an error", phase.errors);
    Ok(())
}

async fn over_grpc(
    options: &BenchLoad,
    request: &ModelInferRequest,
    length: Duration,
) -> anyhow::Result<Phase> {
    let target = Target::connect(options.address, CONNECTIONS).await?;
    target.once(request).await.context("the first request was not answered")?;
    target.closed_loop(request, options.in_flight, length / 5).await?;
    match options.rate {
        Some(rate) => target.open_loop(request, rate, length).await,
        None => target.closed_loop(request, options.in_flight, length).await,
    }
}

async fn over_http(
    options: &BenchLoad,
    address: SocketAddr,
    body: Bytes,
    length: Duration,
) -> anyhow::Result<Phase> {
    let headers = vec![("content-type", "application/json".to_owned())];
    let call = Call { address, path: format!("/v2/models/{}/infer", options.model), headers, body };
    call.once().await.context("the first request was not answered")?;
    call.closed_loop(options.in_flight, length / 5).await?;
    match options.rate {
        Some(rate) => call.open_loop(rate, OPEN_MAX, length).await,
        None => call.closed_loop(options.in_flight, length).await,
    }
}

/// The body of a REST request as a message with raw tensors.
fn message(model: &str, body: &Value) -> anyhow::Result<ModelInferRequest> {
    let inputs = body["inputs"].as_array().context("the request has no list `inputs`")?;
    let mut message = ModelInferRequest { model_name: model.to_owned(), ..Default::default() };
    for input in inputs {
        let name = input["name"].as_str().context("an input has no name")?.to_owned();
        let datatype = input["datatype"].as_str().context("an input has no datatype")?.to_owned();
        let shape = input["shape"].as_array().context("an input has no shape")?;
        let shape = shape
            .iter()
            .map(|dim| dim.as_i64().context("a shape is made of numbers"))
            .collect::<Result<_, _>>()?;
        message.raw_input_contents.push(raw(&name, &datatype, &input["data"])?.into());
        message.inputs.push(InferInputTensor { name, datatype, shape, ..Default::default() });
    }
    Ok(message)
}

/// The numbers of a tensor, whatever their nesting, as little-endian bytes.
fn raw(name: &str, datatype: &str, data: &Value) -> anyhow::Result<Vec<u8>> {
    fn flat<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| flat(value, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                into.push(value);
            }
        }
    }
    let mut values = Vec::new();
    flat(data, &mut values);
    let fault = || format!("`{name}` has an element that is no {datatype}");
    let float = |value: &Value| value.as_f64().with_context(fault);
    let whole = |value: &Value| value.as_i64().with_context(fault);
    let bytes = values.into_iter().map(|value| {
        Ok(match DType::from_oip(datatype) {
            Some(DType::F32) => (float(value)? as f32).to_le_bytes().to_vec(),
            Some(DType::F64) => float(value)?.to_le_bytes().to_vec(),
            Some(DType::I64) => whole(value)?.to_le_bytes().to_vec(),
            Some(DType::I32) => i32::try_from(whole(value)?)?.to_le_bytes().to_vec(),
            Some(DType::U8) => u8::try_from(whole(value)?)?.to_le_bytes().to_vec(),
            Some(DType::Bool) => vec![u8::from(value.as_bool().with_context(fault)?)],
            Some(_) | None => {
                bail!("`{name}` is {datatype}; over gRPC FP32, FP64, INT64, INT32, UINT8 and BOOL are sent")
            }
        })
    });
    Ok(bytes.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

fn told(options: &BenchLoad, phase: &Phase) -> Value {
    let latencies = QUANTILES.map(|share| (format!("p{}", share * 100.0), json!(phase.quantile_us(share))));
    json!({
        "model": options.model,
        "loop": if options.rate.is_some() { "open" } else { "closed" },
        "rate": options.rate,
        "in_flight": if options.rate.is_some() { OPEN_MAX } else { options.in_flight },
        "seconds": phase.elapsed.as_secs_f64(),
        "answers": phase.latency_us.len(),
        "errors": phase.errors,
        "per_s": phase.rate(),
        "latency_us": serde_json::Map::from_iter(latencies),
        // Every latency that was seen, µs, with how often: histograms of several runs can be added.
        "histogram": phase.latency_us.iter_recorded().map(|bar| (bar.value_iterated_to(), bar.count_at_value())).collect::<Vec<_>>(),
    })
}

fn shown(phase: &Phase) -> String {
    let latency = |share: f64| format!("p{} {:.2} ms", share * 100.0, phase.quantile_us(share) / 1e3);
    format!(
        "{:.0} answers/s, {} in all, {} errors\n{}",
        phase.rate(),
        phase.latency_us.len(),
        phase.errors,
        QUANTILES.map(latency).join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_rest_becomes_raw_tensors() {
        let body = json!({ "inputs": [
            { "name": "x", "datatype": "FP32", "shape": [2, 1], "data": [[1.5], [2]] },
            { "name": "n", "datatype": "INT64", "shape": [1, 1], "data": [-7] },
        ]});
        let message = message("m", &body).expect("a message");
        assert_eq!(message.inputs[0].shape, [2, 1]);
        assert_eq!(message.raw_input_contents[0], [1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
        assert_eq!(message.raw_input_contents[1], (-7i64).to_le_bytes().as_slice());
        for (data, datatype, word) in [(json!(["a"]), "FP32", "no FP32"), (json!([1]), "FP16", "over gRPC")] {
            let body =
                json!({ "inputs": [{ "name": "x", "datatype": datatype, "shape": [1], "data": data }] });
            let error = super::message("m", &body).expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
