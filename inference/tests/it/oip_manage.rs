//! The Open Inference Protocol over gRPC beside inference: repository, statistics, configuration, settings,
//! shared memory and classes.

use std::{fs, os::unix::fs::symlink, sync::Arc, time::Duration};

use bytes::Bytes;
use inference::{
    Candidate, Limits, Repository, Server,
    server::oip::{self, LogSettings, Oip, OipOptions},
};
use proto::inference::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryStatusRequest, InferParameter, LogSettingsRequest,
    ModelConfigRequest, ModelInferRequest, ModelInferResponse, ModelRepositoryParameter,
    ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusRequest, SystemSharedMemoryUnregisterRequest,
    TraceSettingRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    grpc_inference_service_server::GrpcInferenceServiceServer,
    infer_parameter::ParameterChoice,
    log_settings_request, log_settings_response,
    model_config::SchedulingChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    trace_setting_request,
};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::{doubler, echo};

type Client = GrpcInferenceServiceClient<GrpcInferenceServiceServer<oip::OipService>>;

/// Has two versions of `double` and one of `broken`, which does not load.
struct Shelf;

impl Repository for Shelf {
    fn find(&self, model: &str) -> Result<Vec<Candidate>, String> {
        let version = |version: &str, factor, live| Candidate {
            live,
            ..doubler(version, factor, Duration::ZERO, 8, &Arc::default())
        };
        match model {
            "double" => Ok(vec![version("1", 2.0, false), version("2", 4.0, true)]),
            "broken" => Err("`manifest.json` is missing".to_owned()),
            _ => Ok(Vec::new()),
        }
    }
}

struct Started {
    _server: Server,
    client: Client,
    memory: TempDir,
    logged: Arc<std::sync::Mutex<Vec<LogSettings>>>,
}

fn start(shared_memory: bool) -> Started {
    let memory = TempDir::new().expect("a temporary folder");
    let candidates = vec![doubler("1", 2.0, Duration::ZERO, 8, &Arc::default()), echo()];
    let server = Server::serve(Limits::default(), Vec::new(), candidates, Vec::new());
    let logged: Arc<std::sync::Mutex<Vec<LogSettings>>> = Arc::default();
    let noted = Arc::clone(&logged);
    let options = OipOptions {
        override_bytes_max: 0,
        repository: Some(Arc::new(Shelf)),
        shared_memory: shared_memory.then(|| memory.path().to_path_buf()),
        log: Some(Arc::new(move |settings| noted.lock().expect("lock").push(settings.clone()))),
    };
    let service = oip::grpc(Oip::new(server.handle(), options));
    Started { _server: server, client: GrpcInferenceServiceClient::new(service), memory, logged }
}

fn bytes(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn request(values: &[f32]) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![values.len() as i64 / 2, 2],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "double".into(),
        inputs: vec![input],
        raw_input_contents: vec![bytes(values)],
        ..Default::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

async fn infer(client: &mut Client, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
    client.model_infer(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_load_brings_what_the_repository_has_and_both_shapes_of_the_request_mean_it() {
    let Started { mut client, .. } = start(false);
    let triton = |name: &str| RepositoryModelLoadRequest { model_name: name.into(), ..Default::default() };
    let kserve =
        |name: &str| RepositoryModelLoadRequest { repository_name: name.into(), ..Default::default() };
    for load in [triton("double"), kserve("double")] {
        let unload = RepositoryModelUnloadRequest {
            repository_name: load.repository_name.clone(),
            model_name: load.model_name.clone(),
            ..Default::default()
        };
        let answer = client.repository_model_unload(unload).await.expect("unloads").into_inner();
        assert_eq!((&*answer.model_name, answer.is_unloaded), ("double", true));
        let status = infer(&mut client, request(&[1.0, 2.0])).await.expect_err("unloaded");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unavailable, "model 'double' is unavailable: unloaded")
        );
        let index =
            client.repository_index(RepositoryIndexRequest::default()).await.expect("answer").into_inner();
        let double: Vec<_> = index.models.iter().filter(|model| model.name == "double").collect();
        assert!(
            double.iter().all(|model| (&*model.state, &*model.reason) == ("UNAVAILABLE", "unloaded")),
            "{double:?}"
        );
        let answer = client.repository_model_load(load).await.expect("loads").into_inner();
        assert_eq!((&*answer.model_name, answer.is_loaded), ("double", true));
        let answer = infer(&mut client, request(&[1.0, 2.0])).await.expect("answer");
        assert_eq!(answer.raw_output_contents, [bytes(&[4.0, 8.0])], "the live version of the repository");
        let first = ModelInferRequest { model_version: "1".into(), ..request(&[1.0, 2.0]) };
        assert_eq!(
            infer(&mut client, first).await.expect("answer").raw_output_contents,
            [bytes(&[2.0, 4.0])]
        );
    }
    for (name, text) in [
        ("nope", "failed to load 'nope', failed to poll from model repository"),
        ("broken", "failed to load 'broken', `manifest.json` is missing"),
    ] {
        let status = client.repository_model_load(triton(name)).await.expect_err("not there");
        assert_eq!((status.code(), status.message()), (Code::Internal, text));
    }
    let mut sent = triton("double");
    sent.parameters.insert("config".into(), ModelRepositoryParameter::default());
    let status = client.repository_model_load(sent).await.expect_err("refused");
    assert!(status.code() == Code::Unimplemented && status.message().contains("'config'"), "{status}");
    let status = client.repository_model_load(triton("")).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn statistics_count_what_was_asked() {
    let Started { mut client, .. } = start(false);
    for rows in [1, 1, 3] {
        infer(&mut client, request(&vec![1.0; rows * 2])).await.expect("answer");
    }
    infer(&mut client, request(&[-1.0, 0.0])).await.expect_err("refused by the model");
    let of = |name: &str| ModelStatisticsRequest { name: name.into(), version: String::new() };
    let all = client.model_statistics(of("")).await.expect("answer").into_inner().model_stats;
    assert_eq!(all.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["double", "echo"]);
    let [double] = &client.model_statistics(of("double")).await.expect("answer").into_inner().model_stats[..]
    else {
        panic!("one version")
    };
    let stats = double.inference_stats.expect("statistics");
    assert_eq!((stats.success.expect("a count").count, stats.fail.expect("a count").count), (3, 1));
    assert_eq!((double.inference_count, double.execution_count), (5, 3));
    let sizes: Vec<_> = double
        .batch_stats
        .iter()
        .map(|batch| (batch.batch_size, batch.compute_infer.expect("a count").count))
        .collect();
    assert_eq!(sizes, [(1, 2), (3, 1)]);
    assert!(double.last_inference > 0);
    let status = client.model_statistics(of("nope")).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    let config = ModelConfigRequest { name: "double".into(), version: String::new() };
    let config =
        client.model_config(config).await.expect("answer").into_inner().config.expect("a configuration");
    assert_eq!(
        (config.max_batch_size, config.input[0].data_type, &*config.output[0].dims),
        (8, 11, &[2i64][..])
    );
    let Some(SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice else {
        panic!("every model is batched")
    };
    assert_eq!((batching.priority_levels, batching.default_priority_level), (3, 2));
    assert!(batching.default_queue_policy.is_some_and(|policy| policy.allow_timeout_override));
    assert!(config.response_cache.is_some_and(|cache| !cache.enable));
}

#[tokio::test]
async fn settings_are_kept_checked_and_put_into_effect() {
    let Started { mut client, logged, .. } = start(false);
    let trace = |model: &str, settings: &[(&str, &[&str])]| TraceSettingRequest {
        model_name: model.into(),
        settings: settings
            .iter()
            .map(|(name, values)| {
                let value = values.iter().map(|value| (*value).to_owned()).collect();
                ((*name).to_owned(), trace_setting_request::SettingValue { value })
            })
            .collect(),
    };
    let told = |response: proto::inference::TraceSettingResponse, name: &str| {
        response.settings[name].value.join(",")
    };
    let server = trace("", &[("trace_level", &["TIMESTAMPS"]), ("trace_rate", &["1"])]);
    client.trace_setting(server).await.expect("valid");
    let model =
        client.trace_setting(trace("double", &[("trace_rate", &["7"])])).await.expect("valid").into_inner();
    assert_eq!((&*told(model.clone(), "trace_rate"), &*told(model, "trace_level")), ("7", "TIMESTAMPS"));
    infer(&mut client, request(&[1.0, 2.0])).await.expect("a traced request is answered like any other");
    let cleared =
        client.trace_setting(trace("double", &[("trace_rate", &[])])).await.expect("valid").into_inner();
    assert_eq!(told(cleared, "trace_rate"), "1", "inherited again");
    for (model, name, values, code) in [
        ("", "trace_level", &["TENSORS"][..], Code::InvalidArgument),
        ("", "trace_rate", &["0"], Code::InvalidArgument),
        ("", "colour", &["red"], Code::InvalidArgument),
        ("nope", "trace_rate", &["1"], Code::NotFound),
    ] {
        let status = client.trace_setting(trace(model, &[(name, values)])).await.expect_err("refused");
        assert_eq!(status.code(), code, "{name}: {status}");
    }
    let log = |name: &str, choice| LogSettingsRequest {
        settings: [(name.to_owned(), log_settings_request::SettingValue { parameter_choice: Some(choice) })]
            .into(),
    };
    use log_settings_request::setting_value::ParameterChoice as Choice;
    let answer = client.log_settings(log("log_verbose_level", Choice::Uint32Param(1))).await.expect("valid");
    let level = &answer.into_inner().settings["log_verbose_level"];
    let want = log_settings_response::setting_value::ParameterChoice::Uint32Param(1);
    assert_eq!(level.parameter_choice, Some(want));
    assert_eq!(logged.lock().expect("lock").len(), 1);
    let status =
        client.log_settings(log("log_file", Choice::StringParam("x".into()))).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
}

fn in_region(region: &str, offset: i64, byte_size: i64) -> [(String, InferParameter); 3] {
    [
        ("shared_memory_region".to_owned(), parameter(ParameterChoice::StringParam(region.into()))),
        ("shared_memory_offset".to_owned(), parameter(ParameterChoice::Int64Param(offset))),
        ("shared_memory_byte_size".to_owned(), parameter(ParameterChoice::Int64Param(byte_size))),
    ]
}

fn register(name: &str, key: &str, offset: u64, byte_size: u64) -> SystemSharedMemoryRegisterRequest {
    SystemSharedMemoryRegisterRequest { name: name.into(), key: key.into(), offset, byte_size }
}

#[tokio::test]
async fn tensors_come_from_and_go_to_shared_memory() {
    let Started { mut client, memory, .. } = start(true);
    let object = memory.path().join("tensors");
    fs::write(&object, [&[9; 4][..], &bytes(&[1.0, 2.5]), &[7; 12]].concat()).expect("written");
    client.system_shared_memory_register(register("all", "/tensors", 4, 20)).await.expect("registered");
    let mut asked = request(&[0.0; 2]);
    asked.raw_input_contents.clear();
    asked.inputs[0].parameters = in_region("all", 0, 8).into();
    let output = InferRequestedOutputTensor { name: "y".into(), parameters: in_region("all", 8, 12).into() };
    let plain = infer(&mut client, asked.clone()).await.expect("answer");
    assert_eq!(plain.raw_output_contents, [bytes(&[2.0, 5.0])]);
    asked.outputs = vec![output];
    let answer = infer(&mut client, asked).await.expect("answer");
    assert_eq!(answer.raw_output_contents, [Bytes::new()], "one entry for each output");
    assert_eq!((&*answer.outputs[0].datatype, &*answer.outputs[0].shape), ("FP32", &[1i64, 2][..]));
    let size = &answer.outputs[0].parameters["shared_memory_byte_size"];
    assert_eq!(size.parameter_choice, Some(ParameterChoice::Int64Param(8)));
    let written = [&[9; 4][..], &bytes(&[1.0, 2.5]), &bytes(&[2.0, 5.0]), &[7; 4]].concat();
    assert_eq!(fs::read(&object).expect("readable"), written, "and nothing else is touched");
    let status = SystemSharedMemoryStatusRequest { name: "all".into() };
    let regions =
        client.system_shared_memory_status(status.clone()).await.expect("answer").into_inner().regions;
    assert_eq!((&*regions["all"].key, regions["all"].offset, regions["all"].byte_size), ("/tensors", 4, 20));
    let all = SystemSharedMemoryUnregisterRequest { name: String::new() };
    client.system_shared_memory_unregister(all).await.expect("forgotten");
    assert_eq!(client.system_shared_memory_status(status).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn nothing_outside_a_region_is_read_or_written() {
    let Started { mut client, memory, .. } = start(true);
    fs::write(memory.path().join("tensors"), [0; 16]).expect("written");
    fs::create_dir(memory.path().join("folder")).expect("made");
    symlink("/etc/hostname", memory.path().join("link")).expect("made");
    for (key, offset, byte_size) in [
        ("/tensors", 0, 17),
        ("/tensors", 9, 8),
        ("/tensors", u64::MAX, 8),
        ("/tensors", 0, 0),
        ("/nothing", 0, 8),
        ("/folder", 0, 8),
        ("/link", 0, 1),
        ("../tensors", 0, 8),
        ("/../etc/hostname", 0, 1),
        ("/etc/hostname", 0, 1),
        ("..", 0, 1),
        ("", 0, 8),
        ("a\0b", 0, 8),
    ] {
        let status = client.system_shared_memory_register(register("bad", key, offset, byte_size)).await;
        assert_eq!(status.expect_err(key).code(), Code::InvalidArgument, "{key}");
    }
    client.system_shared_memory_register(register("ok", "tensors", 8, 8)).await.expect("registered");
    let twice = client.system_shared_memory_register(register("ok", "tensors", 0, 8)).await;
    assert!(twice.expect_err("twice").message().contains("already in manager"));
    for (region, offset, byte_size, code) in [
        ("ok", 0, 9, Code::InvalidArgument),
        ("ok", 1, 8, Code::InvalidArgument),
        ("ok", i64::MAX, 8, Code::InvalidArgument),
        ("ok", -1, 8, Code::InvalidArgument),
        ("ok", 0, 4, Code::InvalidArgument),
        ("nope", 0, 8, Code::NotFound),
    ] {
        let mut asked = request(&[0.0; 2]);
        asked.raw_input_contents.clear();
        asked.inputs[0].parameters = in_region(region, offset, byte_size).into();
        let status = infer(&mut client, asked).await.expect_err("refused");
        assert_eq!(status.code(), code, "{region} {offset} {byte_size}: {status}");
        let mut asked = request(&[0.0; 2]);
        asked.outputs = vec![InferRequestedOutputTensor {
            name: "y".into(),
            parameters: in_region(region, offset, byte_size).into(),
        }];
        let status = infer(&mut client, asked).await.expect_err("refused");
        assert_eq!(status.code(), code, "{region} {offset} {byte_size}: {status}");
    }
    fs::OpenOptions::new()
        .write(true)
        .open(memory.path().join("tensors"))
        .expect("opens")
        .set_len(10)
        .expect("cut");
    let mut asked = request(&[0.0; 2]);
    asked.raw_input_contents.clear();
    asked.inputs[0].parameters = in_region("ok", 0, 8).into();
    let status = infer(&mut client, asked).await.expect_err("a client that cuts its object gets an error");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn shared_memory_is_off_unless_it_is_turned_on_and_memory_of_a_gpu_always() {
    let Started { mut client, .. } = start(false);
    let status = client.system_shared_memory_register(register("a", "/a", 0, 1)).await.expect_err("off");
    assert!(
        status.code() == Code::Unimplemented && status.message().contains("server.shared_memory"),
        "{status}"
    );
    let none = client.system_shared_memory_status(SystemSharedMemoryStatusRequest::default()).await;
    assert!(none.expect("answer").into_inner().regions.is_empty());
    let mut asked = request(&[0.0; 2]);
    asked.inputs[0].parameters = in_region("a", 0, 8).into();
    asked.raw_input_contents.clear();
    assert_eq!(infer(&mut client, asked).await.expect_err("off").code(), Code::Unimplemented);
    let status = client.cuda_shared_memory_register(CudaSharedMemoryRegisterRequest::default()).await;
    let status = status.expect_err("not offered");
    assert!(status.code() == Code::Unimplemented && status.message().contains("GPU"), "{status}");
    let none = client.cuda_shared_memory_status(CudaSharedMemoryStatusRequest::default()).await;
    assert!(none.expect("answer").into_inner().regions.is_empty());
}

#[tokio::test]
async fn classes_come_as_text_instead_of_the_tensor() {
    let Started { mut client, .. } = start(false);
    let mut asked = request(&[0.25, 0.5, 3.0, 1.0]);
    let classes =
        |count| [("classification".to_owned(), parameter(ParameterChoice::Int64Param(count)))].into();
    asked.outputs = vec![InferRequestedOutputTensor { name: "y".into(), parameters: classes(1) }];
    let answer = infer(&mut client, asked.clone()).await.expect("answer");
    assert_eq!((&*answer.outputs[0].datatype, &*answer.outputs[0].shape), ("BYTES", &[2i64, 1][..]));
    let text = |text: &[u8]| [&(text.len() as u32).to_le_bytes()[..], text].concat();
    assert_eq!(answer.raw_output_contents[0], [text(b"1.000000:1"), text(b"6.000000:0")].concat());
    asked.outputs[0].parameters = classes(0);
    assert_eq!(infer(&mut client, asked).await.expect_err("none").code(), Code::InvalidArgument);
}
