//! The same question in the words of each system.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use proto::inference::{ModelInferRequest, model_infer_request::InferRequestedOutputTensor};
use serde_json::json;

use super::{Options, Port, Protocol, System, Way};
use crate::{
    http,
    load::{Target, request},
    stats::Phase,
};

/// Connections that requests over gRPC are spread over.
const CONNECTIONS: usize = 4;
/// Shape of a picture of the image model.
const IMAGE: [i64; 4] = [1, 3, 260, 260];

/// A request, ready to be sent again and again.
pub(super) enum Request {
    Grpc(Target, Box<ModelInferRequest>),
    Http(http::Call),
}

impl Request {
    /// To `model` of `system`, the way it says; it is sent once, and must be answered.
    pub(super) async fn new(
        options: &Options,
        system: &System,
        way: &Way,
        model: &str,
    ) -> anyhow::Result<Self> {
        let address = match way.port {
            Port::Http => system.http,
            Port::Grpc => system.grpc,
        };
        let (shape, values) = if model == "image" {
            (IMAGE.to_vec(), picture())
        } else {
            (vec![1, options.row.len() as i64], options.row.clone())
        };
        let post = |kind: &str, body: Bytes| {
            let headers = vec![("content-type", kind.to_owned())];
            Self::Http(http::Call { address, path: way.path.clone(), headers, body })
        };
        let made = match way.protocol {
            Protocol::OipGrpc => {
                let target = Target::connect(address, CONNECTIONS).await?;
                let wanted = InferRequestedOutputTensor { name: way.output.clone(), ..Default::default() };
                let asked = request(&way.model, &way.input, &shape, &values);
                Self::Grpc(target, Box::new(ModelInferRequest { outputs: vec![wanted], ..asked }))
            }
            Protocol::OipHttp => {
                let input = json!({ "name": way.input, "datatype": "FP32", "shape": shape, "data": values });
                let body = json!({ "inputs": [input], "outputs": [{ "name": way.output }] });
                post("application/json", body.to_string().into())
            }
            Protocol::Json => post("application/json", json!({ "input": values }).to_string().into()),
            Protocol::Raw => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                post("application/octet-stream", bytes.into())
            }
        };
        made.check().await?;
        Ok(made)
    }

    /// Asks once and fails with what was said instead of an answer.
    async fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Grpc(target, request) => {
                let answer = target.once(request).await?;
                ensure!(!answer.raw_output_contents.is_empty(), "no tensor came back");
                Ok(())
            }
            Self::Http(call) => call.once().await.map(drop),
        }
    }

    /// Sends it over and over for `duration`.
    pub(super) async fn load(&self, in_flight: usize, duration: Duration) -> anyhow::Result<Phase> {
        match self {
            Self::Grpc(target, request) => target.closed_loop(request, in_flight, duration).await,
            Self::Http(call) => call.closed_loop(in_flight, duration).await,
        }
    }
}

/// Values between -1 and 1, so that every filter has something to do.
fn picture() -> Vec<f32> {
    let count = IMAGE.iter().product::<i64>();
    (0..count).map(|index| (index % 255) as f32 / 127.0 - 1.0).collect()
}
