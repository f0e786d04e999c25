//! Tokens where they are asked for: on both ports, on every face, with a text that says what to do.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use proto::{
    inference::{
        ModelInferRequest, ModelMetadataRequest, ModelStatisticsRequest, RepositoryIndexRequest,
        RepositoryModelUnloadRequest, ServerReadyRequest, TraceSettingRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
    },
    manpasik::v1::{
        GetMeasurementHistoryRequest, GetModelInfoRequest, ListModelsRequest, StreamAnalysisRequest,
        StreamResume, StreamStart, ai_inference_service_client::AiInferenceServiceClient,
        measurement_service_client::MeasurementServiceClient, stream_analysis_request::Message as Asking,
        stream_analysis_response::Message as Telling,
    },
};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};

use crate::support::{
    Server,
    http::{self, bearing},
    run_over, shipped_bundles,
};

const REQUIRED: (&str, &str) = ("MANPASIK__AUTH__REQUIRED", "true");

fn server() -> Server {
    Server::with(&shipped_bundles(), &[REQUIRED])
}

/// A new token of `name`, made by whoever holds the database.
fn token(data: &Path, name: &str, role: &str) -> String {
    let ran = run_over(data, &["tokens", "create", name, "--role", role, "--json"], &[REQUIRED]).ok();
    ran.json()["token"].as_str().expect("a token").to_owned()
}

fn of<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = MetadataValue::try_from(format!("Bearer {token}")).expect("a header");
    request.metadata_mut().insert("authorization", header);
    request
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).expect("a URI");
    endpoint.connect().await.expect("the server listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn rpcs_take_a_token_and_the_role_they_name() {
    let server = server();
    let user = token(server.data_dir(), "u", "user");
    let maker = token(server.data_dir(), "m", "data_scientist");
    let channel = channel(&server).await;
    let mut oip = GrpcInferenceServiceClient::new(channel.clone());
    let mut ai = AiInferenceServiceClient::new(channel.clone());
    let mut measured = MeasurementServiceClient::new(channel);

    let refused = oip.server_ready(ServerReadyRequest {}).await.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("manpasik tokens create"), "{refused}");
    let refused = ai.list_models(ListModelsRequest::default()).await.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = ai.list_models(of("mps_a_b", ListModelsRequest::default())).await.expect_err("nobody's");
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("has ended"), "{refused}");

    assert!(ai.list_models(of(&user, ListModelsRequest::default())).await.is_ok());
    assert!(oip.repository_index(of(&user, RepositoryIndexRequest::default())).await.is_ok());
    let unload = || RepositoryModelUnloadRequest { model_name: "thyroid".into(), ..Default::default() };
    let refused = oip.repository_model_unload(of(&user, unload())).await.expect_err("a user");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("u may not") && refused.message().contains("data_scientist"),
        "{refused}"
    );
    assert!(oip.repository_model_unload(of(&maker, unload())).await.is_ok());

    let history = || GetMeasurementHistoryRequest { user_id: "u".into(), ..Default::default() };
    assert!(measured.get_measurement_history(of(&user, history())).await.is_ok());
    let refused = measured.get_measurement_history(of(&maker, history())).await.expect_err("no carer");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

/// A token for some of the models.
fn for_some(server: &Server) -> String {
    let arguments = [
        "tokens",
        "create",
        "t",
        "--role",
        "data_scientist",
        "--model",
        "thyroid*",
        "--model",
        "sensor-*",
        "--json",
    ];
    let made = run_over(server.data_dir(), &arguments, &[REQUIRED]).ok().json();
    made["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_models_reaches_no_other_by_any_way() {
    let server = server();
    let own = for_some(&server);
    let channel = channel(&server).await;
    let mut oip = GrpcInferenceServiceClient::new(channel.clone());
    let mut ai = AiInferenceServiceClient::new(channel);

    let about = |name: &str| ModelMetadataRequest { name: name.into(), ..Default::default() };
    assert!(oip.model_metadata(of(&own, about("thyroid-anomaly"))).await.is_ok());
    let refused = oip.model_metadata(of(&own, about("diabetes"))).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("t may not use model 'diabetes'"), "{refused}");
    let asked = || ModelInferRequest { model_name: "diabetes".into(), ..Default::default() };
    let refused = oip.model_infer(of(&own, asked())).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    // On a stream the caller is known as long as it lasts.
    let stream = tokio_stream::iter([asked(), ModelInferRequest { model_name: "thyroid".into(), ..asked() }]);
    let mut answers = oip.model_stream_infer(of(&own, stream)).await.expect("opens").into_inner();
    let mut next = async || answers.message().await.expect("goes on").expect("an answer").error_message;
    assert!(next().await.contains("may not use model"));
    assert!(next().await.contains("but got 0 inputs"), "what is its own is looked at");
    let unload = || RepositoryModelUnloadRequest { model_name: "diabetes".into(), ..Default::default() };
    let refused = oip.repository_model_unload(of(&own, unload())).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let start = |model: &str| {
        let start =
            StreamStart { cartridge_code: "01:01".into(), model_name: model.into(), ..Default::default() };
        tokio_stream::iter([StreamAnalysisRequest { message: Some(Asking::Start(start)) }])
    };
    let mut begun = ai.stream_analysis(of(&own, start("sensor-anomaly"))).await.expect("opens").into_inner();
    assert!(begun.message().await.expect("its own").is_some());
    let mut refused =
        ai.stream_analysis(of(&own, start("systolic-trend"))).await.expect("opens").into_inner();
    assert_eq!(refused.message().await.expect_err("another's").code(), Code::PermissionDenied);

    let header = format!("Bearer {own}");
    let status =
        |method: &str, path: &str, body: &str| bearing(server.http, method, path, &header, body).status;
    assert_eq!(status("GET", "/v2/models/thyroid", ""), 200);
    assert_eq!(status("GET", "/v2/models/diabetes/config", ""), 403);
    assert_eq!(status("POST", "/v2/models/diabetes/infer", r#"{"inputs": []}"#), 403);
    assert_eq!(status("POST", "/v2/repository/models/diabetes/load", "{}"), 403);
    let create = |name: &str| json!({ "name": name }).to_string();
    assert_eq!(status("POST", "/api/2.0/mlflow/registered-models/create", &create("diabetes")), 403);
    assert_eq!(status("POST", "/api/2.0/mlflow/registered-models/create", &create("thyroid-next")), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_models_is_told_of_no_other() {
    let server = server();
    let own = for_some(&server);
    let channel = channel(&server).await;
    let mut oip = GrpcInferenceServiceClient::new(channel.clone());
    let mut ai = AiInferenceServiceClient::new(channel);
    let figures = |name: &str| ModelStatisticsRequest { name: name.into(), ..Default::default() };
    let refused = oip.model_statistics(of(&own, figures("diabetes"))).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let told = oip.model_statistics(of(&own, figures(""))).await.expect("its own").into_inner().model_stats;
    let index = oip.repository_index(of(&own, RepositoryIndexRequest::default())).await.expect("its own");
    let listed = ai.list_models(of(&own, ListModelsRequest::default())).await.expect("its own").into_inner();
    let named: [Vec<String>; 3] = [
        told.into_iter().map(|model| model.name).collect(),
        index.into_inner().models.into_iter().map(|model| model.name).collect(),
        listed.models.into_iter().map(|model| model.name).collect(),
    ];
    let is_own = |name: &String| name.starts_with("thyroid") || name.starts_with("sensor-");
    assert!(named.iter().all(|names| names.len() >= 2 && names.iter().all(is_own)), "{named:?}");
    let info = GetModelInfoRequest { name: "diabetes".into(), ..Default::default() };
    let refused = ai.get_model_info(of(&own, info)).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let settings = TraceSettingRequest { model_name: "diabetes".into(), ..Default::default() };
    let refused = oip.trace_setting(of(&own, settings)).await.expect_err("another's");
    assert!(refused.message().contains("may not use model"), "{refused}");
    let answer = bearing(server.http, "GET", "/v2/models", &format!("Bearer {own}"), "");
    let models = answer.json()["models"].as_array().expect("a list").clone();
    assert!(
        !models.is_empty() && models.iter().all(|name| is_own(&name.as_str().expect("a name").to_owned()))
    );
}

#[test]
fn routes_refuse_in_the_words_of_their_face() {
    let server = server();
    let user = format!("Bearer {}", token(server.data_dir(), "u", "user"));
    let maker = token(server.data_dir(), "m", "data_scientist");
    for open in ["/healthz", "/readyz"] {
        assert_eq!(http::get(server.http, open).status, 200, "{open}");
    }
    for path in
        ["/v2/models/thyroid", "/v1/ai/models", "/api/2.0/mlflow/experiments/search", "/metrics", "/none"]
    {
        assert_eq!(http::get(server.http, path).status, 401, "{path}");
    }
    let get = |path: &str, header: &str| bearing(server.http, "GET", path, header, "");
    assert_eq!(get("/none", &user).status, 404, "who is known is told that there is nothing");
    assert_eq!(get("/v1/ai/models", &user).status, 200);
    assert_eq!(get("/v2/models/thyroid", &user).status, 200);
    assert_eq!(get("/metrics", &user).status, 403);
    assert_eq!(get("/metrics", &format!("Bearer {maker}")).status, 200);

    let oip = http::get(server.http, "/v2/models/thyroid").json();
    assert!(oip["error"].as_str().is_some_and(|text| text.contains("Bearer TOKEN")), "{oip}");
    let typed = http::get(server.http, "/v1/ai/models").json();
    assert_eq!(typed["error"]["code"], "UNAUTHENTICATED");
    let mlflow = get("/api/2.0/mlflow/experiments/search", &user);
    assert_eq!((mlflow.status, &mlflow.json()["error_code"]), (403, &"PERMISSION_DENIED".into()));
    // As MLflow's clients send name and token: `m:` and the token, in base64.
    let plain = format!("m:{maker}");
    let basic = format!("Basic {}", BASE64_STANDARD.encode(plain));
    assert_eq!(get("/api/2.0/mlflow/experiments/search", &basic).status, 200);
}

#[test]
fn a_revoked_token_stops_counting_within_the_cache_time() {
    let server = server();
    let user = format!("Bearer {}", token(server.data_dir(), "u", "user"));
    let asked = || bearing(server.http, "GET", "/v1/ai/models", &user, "").status;
    assert_eq!(asked(), 200);
    run_over(server.data_dir(), &["tokens", "revoke", "u"], &[REQUIRED]).ok();
    let deadline = Instant::now() + Duration::from_secs(30);
    while asked() != 401 {
        assert!(Instant::now() < deadline, "the token still counts");
    }
}

#[test]
fn the_command_line_asks_too_but_for_the_first_token() {
    let data = tempfile::TempDir::new().expect("a folder");
    let refused = run_over(data.path(), &["models", "audit"], &[REQUIRED]);
    refused.refused(&["auth.required", "--token"]);
    let admin = token(data.path(), "a", "admin");
    run_over(data.path(), &["models", "audit", "--token", &admin], &[REQUIRED]).ok();
}

/// A token with these claims, signed by `pair` under the name `kid`.
fn signed(pair: &Ed25519KeyPair, kid: &str, claims: &Value) -> String {
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(&json!({ "alg": "EdDSA", "kid": kid })), encoded(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_identity_provider_count_with_their_roles_on_both_ports() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let folder = tempfile::TempDir::new().expect("a folder");
    let place = folder.path().join("keys.json");
    let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] });
    std::fs::write(&place, keys.to_string()).expect("writes");
    let place = place.to_string_lossy();
    let server = Server::with(
        &shipped_bundles(),
        &[
            REQUIRED,
            ("MANPASIK__AUTH__JWT__KEYS", &place),
            ("MANPASIK__AUTH__JWT__ISSUER", "https://id.example.org"),
            ("MANPASIK__AUTH__JWT__AUDIENCE", "manpasik"),
        ],
    );
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = |sub: &str, audience: &str, exp: u64, roles: &[&str]| json!({ "iss": "https://id.example.org", "sub": sub, "aud": audience, "exp": exp, "roles": roles });
    let maker = signed(&pair, "k1", &claims("mina", "manpasik", now_s + 600, &["data_scientist"]));
    let user = signed(&pair, "k1", &claims("anna", "manpasik", now_s + 600, &["user"]));
    let mut oip = GrpcInferenceServiceClient::new(channel(&server).await);
    let unload = || RepositoryModelUnloadRequest { model_name: "thyroid".into(), ..Default::default() };
    let refused = oip.repository_model_unload(of(&user, unload())).await.expect_err("a user");
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("anna"), "{refused}");
    assert!(oip.repository_model_unload(of(&maker, unload())).await.is_ok());
    let get = |path: &str, token: &str| bearing(server.http, "GET", path, &format!("Bearer {token}"), "");
    assert_eq!(get("/metrics", &maker).status, 200);
    assert_eq!(get("/metrics", &user).status, 403);
    let own = token(server.data_dir(), "u", "user");
    assert_eq!(get("/v1/ai/models", &own).status, 200, "the registry's own tokens count too");
    let other = Ed25519KeyPair::from_pkcs8(
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key").as_ref(),
    );
    let all = claims("anna", "manpasik", now_s + 600, &["admin"]);
    for (token, word) in [
        (signed(&pair, "k1", &claims("anna", "manpasik", now_s - 60, &[])), "has ended"),
        (signed(&pair, "k1", &claims("anna", "shop", now_s + 600, &[])), "audience"),
        (signed(&pair, "k2", &all), "does not list"),
        (signed(&other.expect("a key"), "k1", &all), "signature"),
    ] {
        let answer = get("/v1/ai/models", &token);
        assert_eq!(answer.status, 401);
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|text| text.contains(word)), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_or_watches_the_server_has_ports_of_its_own_where_that_is_set() {
    let settings =
        [("MANPASIK__SERVER__ADMIN__GRPC", "127.0.0.1:0"), ("MANPASIK__SERVER__ADMIN__HTTP", "127.0.0.1:0")];
    let server = Server::with(&shipped_bundles(), &settings);
    let (grpc, http) = server.admin.expect("ports of its own");
    for path in ["/metrics", "/v1/registry/models", "/v1/predictions", "/api/2.0/mlflow/experiments/search"] {
        let refused = http::get(server.http, path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(String::from_utf8_lossy(&refused.body).contains("server.admin"), "{path}");
    }
    for path in ["/metrics", "/v1/registry/models", "/v1/ai/models", "/v2/models/thyroid"] {
        assert_eq!(http::get(http, path).status, 200, "{path}");
    }
    for path in ["/v1/ai/models", "/v2/models/thyroid", "/healthz", "/readyz"] {
        assert_eq!(http::get(server.http, path).status, 200, "{path}");
    }
    let unload = || RepositoryModelUnloadRequest { model_name: "thyroid".into(), ..Default::default() };
    let mut oip = GrpcInferenceServiceClient::new(channel(&server).await);
    let refused = oip.repository_model_unload(unload()).await.expect_err("not here");
    assert!(
        refused.code() == Code::PermissionDenied && refused.message().contains("server.admin"),
        "{refused}"
    );
    assert!(oip.server_ready(ServerReadyRequest {}).await.is_ok());
    let admins =
        Channel::from_shared(format!("http://{grpc}")).expect("a URI").connect().await.expect("listens");
    assert!(GrpcInferenceServiceClient::new(admins).repository_model_unload(unload()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_off_is_gone_on_with_by_who_began_it() {
    let server = server();
    let [anna, bert] = ["anna", "bert"].map(|name| token(server.data_dir(), name, "user"));
    let client = AiInferenceServiceClient::new(channel(&server).await);
    let open = async |token: &str, start: StreamStart| {
        let message = Some(Asking::Start(start));
        let requests = futures::stream::iter([StreamAnalysisRequest { message }]);
        let requests = futures::StreamExt::chain(requests, futures::stream::pending());
        let mut answers = client.clone().stream_analysis(of(token, requests)).await?.into_inner();
        match answers.message().await?.and_then(|answer| answer.message) {
            Some(Telling::Started(started)) => Ok::<_, Status>(started.stream_id),
            other => panic!("no start: {other:?}"),
        }
    };
    let begun = StreamStart { cartridge_code: "01:01".into(), ..Default::default() };
    let stream_id = open(&anna, begun).await.expect("begins");
    let resume = Some(StreamResume { stream_id, last_sequence: None });
    let start = StreamStart { resume, ..Default::default() };
    let refused = open(&bert, start.clone()).await.expect_err("another's");
    assert_eq!(refused.code(), Code::NotFound, "not even that there is one");
    open(&anna, start).await.expect("goes on");
}
