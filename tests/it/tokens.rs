//! Tokens where they are asked for: on both ports, on every face, with a text that says what to do.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use proto::{
    inference::{
        RepositoryIndexRequest, RepositoryModelUnloadRequest, ServerReadyRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
    },
    manpasik::v1::{
        GetMeasurementHistoryRequest, ListModelsRequest,
        ai_inference_service_client::AiInferenceServiceClient,
        measurement_service_client::MeasurementServiceClient,
    },
};
use tonic::{Code, Request, metadata::MetadataValue, transport::Channel};

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
    let basic = format!("Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, plain));
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
