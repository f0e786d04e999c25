//! The gRPC face: each method takes its message apart, asks, and puts the answer into a message.

use std::pin::Pin;

use futures::Stream;
use proto::inference::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    LogSettingsRequest, LogSettingsResponse, ModelConfigRequest, ModelConfigResponse, ModelInferRequest,
    ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ModelRepositoryParameter, ModelStatisticsRequest, ModelStatisticsResponse, ModelStreamInferResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse, SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse, TraceSettingRequest, TraceSettingResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    log_settings_request, log_settings_response,
    model_repository_parameter::ParameterChoice,
    trace_setting_response,
};
use tonic::{Request, Response, Status, Streaming, async_trait, codec::CompressionEncoding};

use super::{
    Oip, SERVER, config, describe,
    infer::{self, given},
    log::{LogSettings, LogValue},
    memory,
    overridden::Given,
    repository, stream,
};
use crate::{
    InferError, ModelState, Terms,
    server::{caller, terms},
};

/// Room above the request limit for names and framing, and so that a request a little too
/// large is refused by us, in words that name the field.
const FRAME_BYTES: usize = 8 << 20;

/// The service; see [`grpc`].
#[derive(Debug)]
pub struct OipService {
    oip: Oip,
}

/// The Open Inference Protocol as a tonic service. Compressed requests are
/// read; answers are small and go uncompressed.
pub fn grpc(oip: impl Into<Oip>) -> GrpcInferenceServiceServer<OipService> {
    let oip = oip.into();
    let bytes_max = oip.handle().limits().request_bytes_max.saturating_add(FRAME_BYTES);
    GrpcInferenceServiceServer::new(OipService { oip })
        .max_decoding_message_size(bytes_max)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl GrpcInferenceService for OipService {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: self.oip.handle().readiness().ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let served = self.oip.handle().model(&name, given(&version));
        let ready = served.is_ok_and(|served| served.state() == ModelState::Ready);
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: self.oip.extensions(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        Ok(Response::new(describe::metadata(self.oip.handle(), &name, given(&version))?))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let mut terms = terms::of_metadata(request.metadata())?;
        if self.oip.handle().is_split() {
            terms.caller = caller::of_metadata(request.metadata());
        }
        Ok(Response::new(infer::noted("ModelInfer", &self.oip, request.into_inner(), terms).await?))
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + 'static>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let terms = Terms {
            caller: caller::of_metadata(request.metadata()),
            ..terms::of_metadata(request.metadata())?
        };
        let answers = stream::answers(self.oip.clone(), request.into_inner(), terms);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let config = config::config(self.oip.handle(), &name, given(&version))?;
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let model_stats = describe::statistics(self.oip.handle(), &name, given(&version))?;
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        let RepositoryIndexRequest { repository_name: _, ready } = request.into_inner();
        Ok(Response::new(RepositoryIndexResponse { models: describe::index(self.oip.handle(), ready) }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        let RepositoryModelLoadRequest { repository_name, model_name, parameters } = request.into_inner();
        let model_name = repository::model_of(repository_name, model_name);
        let given = |(name, parameter): (String, ModelRepositoryParameter)| {
            let given = match parameter.parameter_choice {
                Some(ParameterChoice::StringParam(text)) => Given::Text(text),
                Some(ParameterChoice::BytesParam(file)) => Given::File(file),
                Some(ParameterChoice::BoolParam(_) | ParameterChoice::Int64Param(_)) | None => Given::Other,
            };
            (name, given)
        };
        repository::load(&self.oip, &model_name, parameters.into_iter().map(given)).await?;
        Ok(Response::new(RepositoryModelLoadResponse { model_name, is_loaded: true }))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        // No model depends on another, so there is nothing more to unload.
        let RepositoryModelUnloadRequest { repository_name, model_name, parameters: _ } =
            request.into_inner();
        let model_name = repository::model_of(repository_name, model_name);
        repository::unload(&self.oip, &model_name)?;
        Ok(Response::new(RepositoryModelUnloadResponse { model_name, is_unloaded: true }))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        let regions = memory::status(self.oip.regions(), &request.into_inner().name)?;
        let regions = regions.into_iter().map(|region| (region.name.clone(), region)).collect();
        Ok(Response::new(SystemSharedMemoryStatusResponse { regions }))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        let SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request.into_inner();
        memory::register(self.oip.regions(), &name, &key, offset, byte_size)?;
        Ok(Response::new(SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        memory::unregister(self.oip.regions(), &request.into_inner().name);
        Ok(Response::new(SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        if !request.into_inner().name.is_empty() {
            return Err(memory::no_cuda().into());
        }
        Ok(Response::new(CudaSharedMemoryStatusResponse::default()))
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        Err(memory::no_cuda().into())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(&self, request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        let TraceSettingRequest { settings, model_name } = request.into_inner();
        let (trace, handle) = (self.oip.trace(), self.oip.handle());
        let changes: Vec<_> = settings.into_iter().map(|(name, setting)| (name, setting.value)).collect();
        let settings = match changes.as_slice() {
            [] => trace.settings(handle, &model_name)?,
            changes => trace.update(handle, &model_name, changes)?,
        };
        let tell = |(name, value): (&str, Vec<String>)| {
            (name.to_owned(), trace_setting_response::SettingValue { value })
        };
        Ok(Response::new(TraceSettingResponse { settings: settings.into_iter().map(tell).collect() }))
    }

    async fn log_settings(&self, request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        let log = self.oip.log();
        let read = |(name, setting): (String, log_settings_request::SettingValue)| {
            use log_settings_request::setting_value::ParameterChoice as Choice;
            let value = match setting.parameter_choice {
                Some(Choice::BoolParam(on)) => LogValue::Bool(on),
                Some(Choice::Uint32Param(number)) => LogValue::Number(number),
                Some(Choice::StringParam(text)) => LogValue::Text(text),
                None => return Err(InferError::input(name, "has no value")),
            };
            Ok((name, value))
        };
        let changes = request.into_inner().settings.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let settings = if changes.is_empty() { log.settings() } else { log.update(&changes)? };
        Ok(Response::new(log_answer(&settings)))
    }
}

fn log_answer(settings: &LogSettings) -> LogSettingsResponse {
    use log_settings_response::{SettingValue, setting_value::ParameterChoice as Choice};
    let tell = |(name, value): (&str, LogValue)| {
        let choice = match value {
            LogValue::Bool(on) => Choice::BoolParam(on),
            LogValue::Number(number) => Choice::Uint32Param(number),
            LogValue::Text(text) => Choice::StringParam(text),
        };
        (name.to_owned(), SettingValue { parameter_choice: Some(choice) })
    };
    LogSettingsResponse { settings: settings.written().into_iter().map(tell).collect() }
}
