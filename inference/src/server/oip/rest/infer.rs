//! Inference over REST: JSON, bytes, or both.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{Target, Targeted, failure, path};
use crate::{
    Caller, InferError, Route, Served, Terms, TraceContext,
    server::{
        caller, encoding,
        oip::{
            Oip,
            body::{self, Answer, Asked},
            decode::{self, Subject},
            memory::Reader,
            outputs::{self, Wanted},
        },
        requests::{self, Noted, Times},
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
    noted(&oip, path(target)?, &headers, body).await
}

/// The same without a router, for a request with a [`target`].
pub(in crate::server) async fn direct(oip: Oip, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let Some((model, version)) = target(head.uri.path()) else {
        return failure(StatusCode::NOT_FOUND, "Not Found");
    };
    let target = Target { model: model.to_owned(), version: version.map(str::to_owned) };
    let mut response = noted(&oip, target, &head.headers, body).await.into_response();
    // As it says where answers may be compressed.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Model and version of a path of inference that holds both as they are.
pub(in crate::server) fn target(path: &str) -> Option<(&str, Option<&str>)> {
    let named = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    let (model, version) = match named.split_once("/versions/") {
        Some((model, version)) => (model, Some(version)),
        None => (named, None),
    };
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '%']);
    (is_plain(model) && version.is_none_or(is_plain)).then_some((model, version))
}

async fn noted(oip: &Oip, target: Target, headers: &HeaderMap, body: Body) -> Result<Response, InferError> {
    let mut known = Known { began: Instant::now(), id: String::new(), times: Times::default() };
    let trace = TraceContext::of(headers.get(TRACEPARENT).map(|header| header.to_str().unwrap_or_default()));
    let result = answered(oip, &target, headers, body, trace, &mut known).await;
    let Known { began, id, times } = known;
    let noted = Noted { rpc: "infer", id: &id, model: &target.model, trace, began };
    requests::ended(&noted, result.as_ref().err().map(InferError::code), &times);
    result
}

/// What was found out of a request by the time it ended.
struct Known {
    began: Instant,
    id: String,
    times: Times,
}

async fn answered(
    oip: &Oip,
    Target { model, version }: &Target,
    headers: &HeaderMap,
    body: Body,
    trace: Option<TraceContext>,
    known: &mut Known,
) -> Result<Response, InferError> {
    let (version, model) = (version.clone(), model.clone());
    let handle = oip.handle();
    let served = handle.model(&model, version.as_deref())?;
    let header_bytes = header_bytes(headers)?;
    let body = encoding::read(headers, body, handle.limits()).await?;
    // With shared memory on, a small body may stand for large tensors.
    let slow = body.len() > BLOCKING_BYTES || oip.regions().is_some();
    let caller = if handle.is_split() { caller::of_headers(headers) } else { Caller::default() };
    let incoming = Incoming { served, version, caller, body, header_bytes };
    let read = if slow {
        let (oip, target) = (oip.clone(), model.clone());
        let read = move || incoming.understand(&oip, &target);
        tokio::task::spawn_blocking(read).await.map_err(|_| InferError::Failed { model: model.clone() })?
    } else {
        incoming.understand(oip, &model)
    };
    let Understood { mut asked, route, tensors, wanted } = read.map_err(|(id, error)| {
        known.id = id;
        error
    })?;
    let tenant = headers.get(TENANT).map(|name| tenant(name.as_bytes())).transpose()?;
    known.id.clone_from(&asked.id);
    let terms = Terms { tenant, trace, ..std::mem::take(&mut asked.terms) };
    let response = handle.infer_by(&route, tensors, terms).await?;
    known.times.of(&response);
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
    /// What it asks; what is wrong comes with the request's id, as far as that could be read.
    fn understand(mut self, oip: &Oip, model: &str) -> Result<Understood, (String, InferError)> {
        let reader = &mut Reader::new(oip.regions(), oip.handle().limits().request_bytes_max);
        let asked = body::read(&self.body, self.header_bytes, self.served.signature(), reader);
        let asked = asked.map_err(|error| (String::new(), error))?;
        let id = asked.id.clone();
        let caller = std::mem::take(&mut self.caller);
        let version = self.version.as_deref();
        understood(oip, model, version, caller, asked).map_err(|error| (id, error))
    }
}

fn understood(
    oip: &Oip,
    model: &str,
    version: Option<&str>,
    caller: Caller,
    mut asked: Asked,
) -> Result<Understood, InferError> {
    let caller = Caller {
        user: either(&asked.terms.caller.user, caller.user),
        cartridge: either(&asked.terms.caller.cartridge, caller.cartridge),
    };
    let route = oip.handle().route(model, version, &caller, &asked.id)?;
    let signature = route.served().signature();
    let inputs = std::mem::take(&mut asked.inputs);
    let subject = Subject { model, id: &asked.id };
    let outputs = asked.outputs.iter().map(|output| (output.name.as_str(), output.parameters.clone()));
    let wanted = outputs::wanted(subject, signature, oip.regions(), outputs)?;
    let tensors = decode::inputs(subject, route.served(), inputs)?;
    Ok(Understood { asked, route, tensors, wanted })
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
