//! The gRPC face. Answers are always raw: the widely used Python client reads nothing else.

use std::time::Duration;

use models::TensorSpec;
use proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    infer_parameter::ParameterChoice,
    model_infer_request::InferInputTensor,
    model_infer_response::InferOutputTensor,
    model_metadata_response::TensorMetadata,
    repository_index_response::ModelIndex,
};
use tonic::{Request, Response, Status, async_trait, codec::CompressionEncoding};

use super::{
    EXTENSIONS, SERVER,
    decode::{self, Subject, WireData, WireTensor},
    outputs,
    parameters::{Treatment, check_tensor_parameter, grpc_timeout},
};
use crate::{Handle, InferError, ModelState};

/// Room above the request limit for names and framing, and so that a request a little too
/// large is refused by us, in words that name the field.
const FRAME_BYTES: usize = 8 << 20;

/// The service; see [`grpc`].
#[derive(Debug)]
pub struct OipService {
    handle: Handle,
}

/// The Open Inference Protocol as a tonic service over `handle`. Compressed requests are
/// read; answers are small and go uncompressed.
pub fn grpc(handle: Handle) -> GrpcInferenceServiceServer<OipService> {
    let bytes_max = handle.limits().request_bytes_max.saturating_add(FRAME_BYTES);
    GrpcInferenceServiceServer::new(OipService { handle })
        .max_decoding_message_size(bytes_max)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
}

#[async_trait]
impl GrpcInferenceService for OipService {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.handle.readiness().ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let served = self.handle.model(&name, given(&version));
        let ready = served.is_ok_and(|served| served.state() == ModelState::Ready);
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        Ok(Response::new(metadata(&self.handle, &name, given(&version))?))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = timeout.and_then(grpc_timeout);
        Ok(Response::new(infer(&self.handle, request.into_inner(), timeout).await?))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let RepositoryIndexRequest { repository_name: _, ready } = request.into_inner();
        Ok(Response::new(RepositoryIndexResponse { models: index(&self.handle, ready) }))
    }
}

/// An empty version stands for the one that serves.
fn given(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

/// Every known version with its state.
pub(super) fn index(handle: &Handle, ready_only: bool) -> Vec<ModelIndex> {
    let entry = |status: crate::ModelStatus| {
        let (state, reason) = match status.state {
            ModelState::Ready => ("READY", String::new()),
            ModelState::Unavailable { reason } => ("UNAVAILABLE", reason),
        };
        ModelIndex { name: status.name, version: status.version, state: state.to_owned(), reason }
    };
    let models = handle.models().into_iter();
    models.filter(|status| !ready_only || status.state == ModelState::Ready).map(entry).collect()
}

/// Versions, engine and signature of a model.
pub(super) fn metadata(
    handle: &Handle,
    name: &str,
    version: Option<&str>,
) -> Result<ModelMetadataResponse, InferError> {
    let served = handle.model(name, version)?;
    let describe = |spec: &TensorSpec| TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.dtype.oip().to_owned(),
        shape: spec.dims.clone(),
    };
    let versions = match version {
        Some(version) => vec![version.to_owned()],
        None => handle.versions(name),
    };
    let signature = served.signature();
    let properties = [("family", served.family()), ("task", served.task()), ("version", served.version())];
    Ok(ModelMetadataResponse {
        name: served.name().to_owned(),
        versions,
        platform: served.platform().to_owned(),
        inputs: signature.inputs.iter().map(describe).collect(),
        outputs: signature.outputs.iter().map(describe).collect(),
        properties: properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    })
}

async fn infer(
    handle: &Handle,
    request: ModelInferRequest,
    timeout: Option<Duration>,
) -> Result<ModelInferResponse, InferError> {
    let ModelInferRequest { model_name, model_version, id, parameters, inputs, outputs, raw_input_contents } =
        request;
    let mut treatment = Treatment::default();
    if let Some(timeout) = timeout {
        treatment.limit(timeout);
    }
    for (name, parameter) in &parameters {
        treatment.apply(name, whole(parameter))?;
    }
    for output in &outputs {
        output.parameters.keys().try_for_each(|name| check_tensor_parameter(&output.name, name))?;
    }
    let served = handle.model(&model_name, given(&model_version))?;
    let subject = Subject { model: &model_name, id: &id };
    let signature = served.signature();
    let places = outputs::places(subject, signature, outputs.iter().map(|output| output.name.as_str()))?;
    let wires = wire_tensors(subject, inputs, raw_input_contents, handle.limits().request_bytes_max)?;
    let tensors = decode::tensors(subject, signature, wires)?;
    let answer = handle.infer_on(&served, tensors, treatment.priority, treatment.deadline).await?;
    let mut response = ModelInferResponse {
        model_version: answer.version.to_string(),
        outputs: Vec::with_capacity(places.len()),
        raw_output_contents: Vec::with_capacity(places.len()),
        ..ModelInferResponse::default()
    };
    for place in places {
        let (spec, tensor) = (&signature.outputs[place], &answer.tensors[place]);
        response.outputs.push(InferOutputTensor {
            name: spec.name.clone(),
            datatype: tensor.dtype().oip().to_owned(),
            shape: outputs::shape(tensor),
            ..InferOutputTensor::default()
        });
        response.raw_output_contents.push(tensor.data().clone());
    }
    (response.model_name, response.id) = (model_name, id);
    Ok(response)
}

/// Pairs every input with its bytes, raw or typed.
pub(super) fn wire_tensors(
    subject: Subject<'_>,
    inputs: Vec<InferInputTensor>,
    raw: Vec<bytes::Bytes>,
    bytes_max: usize,
) -> Result<Vec<WireTensor>, InferError> {
    let raw_used = !raw.is_empty();
    if raw_used && raw.len() != inputs.len() {
        let text = format!("raw_input_contents has {} entries for {} inputs", raw.len(), inputs.len());
        return Err(subject.fault(&text));
    }
    if raw.iter().map(bytes::Bytes::len).sum::<usize>() > bytes_max {
        return Err(InferError::TooLarge { what: "raw_input_contents".into(), limit_bytes: bytes_max });
    }
    let mut raw = raw.into_iter();
    let mut wires = Vec::with_capacity(inputs.len());
    for input in inputs {
        let InferInputTensor { name, datatype, shape, parameters, contents } = input;
        parameters.keys().try_for_each(|parameter| check_tensor_parameter(&name, parameter))?;
        let data = match (raw.next(), contents) {
            (Some(bytes), None) => WireData::Raw(bytes),
            (Some(_), Some(_)) => {
                return Err(subject.fault(&format!(
                    "contents field must not be specified when using raw_input_contents for '{name}' for model '{}'",
                    subject.model
                )));
            }
            (None, contents) => WireData::Typed(contents.unwrap_or_default()),
        };
        wires.push(WireTensor { name, datatype, shape, data });
    }
    Ok(wires)
}

/// A parameter as a whole number; Python clients send priorities unsigned and timeouts signed.
fn whole(parameter: &InferParameter) -> Option<u64> {
    match parameter.parameter_choice.as_ref()? {
        ParameterChoice::Uint64Param(value) => Some(*value),
        ParameterChoice::Int64Param(value) => u64::try_from(*value).ok(),
        ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_) | ParameterChoice::DoubleParam(_) => {
            None
        }
    }
}
