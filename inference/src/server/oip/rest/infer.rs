//! Inference over REST: JSON, bytes, or both.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;

use super::{Target, Targeted, path};
use crate::{
    Caller, InferError, Route, Served, Terms, TraceId,
    server::{
        caller, encoding,
        oip::{
            Oip,
            body::{self, Answer, Asked},
            decode::{self, Subject},
            memory::Reader,
            outputs::{self, Wanted},
        },
        terms::{TENANT, tenant},
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
    let caller = if handle.is_split() { caller::of_headers(&headers) } else { Caller::default() };
    let incoming = Incoming { served, version, caller, body, header_bytes };
    let Understood { mut asked, route, tensors, wanted } = if slow {
        let (oip, target) = (oip.clone(), model.clone());
        let read = move || incoming.understand(&oip, &target);
        tokio::task::spawn_blocking(read).await.map_err(|_| InferError::Failed { model: model.clone() })??
    } else {
        incoming.understand(&oip, &model)?
    };
    let tenant = headers.get(TENANT).map(|name| tenant(name.as_bytes())).transpose()?;
    let trace = headers.get(TRACEPARENT).and_then(|header| TraceId::parse(header.to_str().ok()?));
    let terms = Terms { tenant, trace, ..std::mem::take(&mut asked.terms) };
    let response = handle.infer_by(&route, tensors, terms).await?;
    oip.trace().observe(&asked.id, trace, &response);
    let delivered = outputs::deliver(route.served(), &wanted, &response).await?;
    let Answer { body, header_bytes } = body::write(&asked, &delivered, &response)?;
    Ok(answer(body, header_bytes))
}

/// A request as it came.
struct Incoming {
    /// What answers, as far as the path tells.
    served: Arc<Served>,
    version: Option<String>,
    /// Who asks, as far as the headers tell.
    caller: Caller,
    body: Bytes,
    header_bytes: Option<usize>,
}

/// Checked tensors, the version that answers and the outputs that are wanted of it.
struct Understood {
    asked: Asked,
    route: Route,
    tensors: Vec<models::Tensor>,
    wanted: Vec<Wanted>,
}

impl Incoming {
    fn understand(self, oip: &Oip, model: &str) -> Result<Understood, InferError> {
        let reader = &mut Reader::new(oip.regions(), oip.handle().limits().request_bytes_max);
        let mut asked = body::read(&self.body, self.header_bytes, self.served.signature(), reader)?;
        let caller = Caller {
            user: either(&asked.terms.caller.user, self.caller.user),
            cartridge: either(&asked.terms.caller.cartridge, self.caller.cartridge),
        };
        let route = oip.handle().route(model, self.version.as_deref(), &caller, &asked.id)?;
        let signature = route.served().signature();
        let inputs = std::mem::take(&mut asked.inputs);
        let subject = Subject { model, id: &asked.id };
        let outputs = asked.outputs.iter().map(|output| (output.name.as_str(), output.parameters.clone()));
        let wanted = outputs::wanted(subject, signature, oip.regions(), outputs)?;
        let tensors = decode::tensors(subject, signature, inputs)?;
        Ok(Understood { asked, route, tensors, wanted })
    }
}

/// What the parameters say goes before what the headers do.
fn either(parameter: &str, header: String) -> String {
    if parameter.is_empty() { header } else { parameter.to_owned() }
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
