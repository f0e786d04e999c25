//! Inference over REST: JSON, bytes, or both.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;

use super::{Target, Targeted, path};
use crate::{
    InferError, Served, Terms, TraceId,
    server::{
        encoding,
        oip::{
            Oip,
            body::{self, Answer, Asked},
            decode::{self, Subject},
            memory::Reader,
            outputs::{self, Wanted},
            parameters::{self, TENANT},
        },
    },
    traceparent::TRACEPARENT,
};

const HEADER_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");
/// Bodies above this are read on a thread that may block.
const BLOCKING_BYTES: usize = 256 << 10;

pub(super) async fn infer(
    State(oip): State<Oip>,
    target: Targeted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InferError> {
    let Target { model, version } = path(target)?;
    let handle = oip.handle();
    let served = handle.model(&model, version.as_deref())?;
    let header_bytes = header_bytes(&headers)?;
    let body = encoding::read(&headers, body, handle.limits()).await?;
    // With shared memory on, a small body may stand for large tensors.
    let slow = body.len() > BLOCKING_BYTES || oip.regions().is_some();
    let (mut asked, tensors, wanted) = if slow {
        let (oip, target, served) = (oip.clone(), model.clone(), served.clone());
        let read = move || understand(&oip, &target, &served, &body, header_bytes);
        tokio::task::spawn_blocking(read).await.map_err(|_| InferError::Failed { model: model.clone() })??
    } else {
        understand(&oip, &model, &served, &body, header_bytes)?
    };
    let tenant = headers.get(TENANT).map(|name| parameters::tenant(name.as_bytes())).transpose()?;
    let trace = headers.get(TRACEPARENT).and_then(|header| TraceId::parse(header.to_str().ok()?));
    let terms = Terms { tenant, trace, ..std::mem::take(&mut asked.terms) };
    let response = handle.infer_on(&served, tensors, terms).await?;
    oip.trace().observe(&asked.id, trace, &response);
    let delivered = outputs::deliver(&served, &wanted, &response).await?;
    let Answer { body, header_bytes } = body::write(&asked, &delivered, &response)?;
    Ok(answer(body, header_bytes))
}

type Understood = (Asked, Vec<models::Tensor>, Vec<Wanted>);

/// From bytes to checked tensors and the outputs that are wanted.
fn understand(
    oip: &Oip,
    model: &str,
    served: &Served,
    bytes: &Bytes,
    header_bytes: Option<usize>,
) -> Result<Understood, InferError> {
    let signature = served.signature();
    let reader = &mut Reader::new(oip.regions(), oip.handle().limits().request_bytes_max);
    let mut asked = body::read(bytes, header_bytes, signature, reader)?;
    let inputs = std::mem::take(&mut asked.inputs);
    let subject = Subject { model, id: &asked.id };
    let outputs = asked.outputs.iter().map(|output| (output.name.as_str(), output.parameters.clone()));
    let wanted = outputs::wanted(subject, signature, oip.regions(), outputs)?;
    let tensors = decode::tensors(subject, signature, inputs)?;
    Ok((asked, tensors, wanted))
}

fn header_bytes(headers: &HeaderMap) -> Result<Option<usize>, InferError> {
    let Some(value) = headers.get(HEADER_BYTES) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let reason = "must be the number of JSON bytes before the binary data";
    number.map(Some).ok_or_else(|| InferError::input("Inference-Header-Content-Length", reason))
}

fn answer(body: Vec<u8>, header_bytes: Option<usize>) -> Response {
    let kind = if header_bytes.is_some() { "application/octet-stream" } else { "application/json" };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(bytes) = header_bytes {
        headers.insert(HEADER_BYTES, HeaderValue::from(bytes));
    }
    response
}
