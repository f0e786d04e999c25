//! "Have I looked like this before?", through the real program: measured twice, found, kept over a restart, and seen
//! by nobody else. The sessions are synthetic.

use std::time::{Duration, Instant};

use proto::manpasik::v1::{
    EndSessionRequest, FindSimilarSessionsRequest, GetCollectionStatsRequest, ListCollectionsRequest,
    SearchPointsRequest, SimilarSession, StartSessionRequest, UpsertPointsRequest, VectorPoint,
    find_similar_sessions_request::Like,
};
use tonic::{Code, Status};

use crate::{
    analysis::packets,
    support::{Server, http},
};

/// Longest wait until a session that has ended can be found.
const PATIENCE: Duration = Duration::from_secs(20);

/// A whole session; its identifier.
async fn measure(server: &Server, user: &str) -> String {
    let mut client = server.measurement().await;
    let start = StartSessionRequest {
        user_id: user.into(),
        device_id: "reader".into(),
        cartridge_code: "01:01".into(),
        subject: None,
    };
    let session_id = client.start_session(start).await.expect("starts").into_inner().session_id;
    let answers = client.stream_measurement(tokio_stream::iter(packets(&session_id))).await.expect("streams");
    let mut answers = answers.into_inner();
    while answers.message().await.expect("the stream holds").is_some() {}
    client.end_session(EndSessionRequest { session_id: session_id.clone() }).await.expect("ends");
    session_id
}

fn like(user: &str, session: &str) -> FindSimilarSessionsRequest {
    let like = Some(Like::SessionId(session.into()));
    FindSimilarSessionsRequest { user_id: user.into(), like, ..Default::default() }
}

async fn similar(server: &Server, user: &str, session: &str) -> Result<Vec<SimilarSession>, Status> {
    let answer = server.measurement().await.find_similar_sessions(like(user, session)).await?;
    Ok(answer.into_inner().sessions)
}

/// Asks until something is found: a session is kept just after its end.
async fn found(server: &Server, user: &str, session: &str) -> Vec<SimilarSession> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = similar(server, user, session).await.expect("answers");
        if !found.is_empty() {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing was found within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// More threads than one: a blocked one could not close its connections, and the server would wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_session_is_found_by_its_owner_only_and_after_a_restart_too() {
    let server = Server::start();
    let first = measure(&server, "someone").await;
    let other = measure(&server, "somebody-else").await;
    let second = measure(&server, "someone").await;
    let sessions = found(&server, "someone", &second).await;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0].session_id, first);
    assert!(sessions[0].similarity > 0.99 && sessions[0].similarity <= 1.0, "{}", sessions[0].similarity);
    let quantity = sessions[0].values[0].quantity.clone().expect("a value");
    assert_eq!((quantity.unit.as_str(), quantity.loinc.as_str()), ("mg/dL", "2345-7"));
    let status = similar(&server, "someone", &other).await.expect_err("not theirs");
    assert_eq!(status.code(), Code::NotFound);
    assert!(similar(&server, "somebody-else", &other).await.expect("answers").is_empty());

    let body = format!(r#"{{"userId":"someone","sessionId":"{second}"}}"#);
    let rest = http::post(server.http, "/v1/measurement/similar-sessions", &body);
    assert_eq!(rest.status, 200, "{}", String::from_utf8_lossy(&rest.body));
    assert_eq!(rest.json()["sessions"][0]["sessionId"], first.as_str());

    let server = server.restart();
    assert_eq!(found(&server, "someone", &second).await, sessions, "kept, and the same");
    let collections = server.vectors().await.list_collections(ListCollectionsRequest {}).await;
    let collections = collections.expect("answers").into_inner().collections;
    assert!(collections.iter().any(|collection| collection.layout == "clinical/88"), "{collections:?}");
}

#[tokio::test]
async fn vectors_are_written_and_found_over_grpc_and_rest_and_bad_ones_refused_by_name() {
    let server = Server::start();
    let create = r#"{"collection":{"name":"notes","dimension":2,"metric":"VECTOR_METRIC_COSINE","layout":"test/2",
        "fields":[{"name":"kind","kind":"PAYLOAD_KIND_KEYWORD"}]}}"#;
    for _ in 0..2 {
        let created = http::post(server.http, "/v1/vectors/collections", create);
        assert_eq!(created.status, 200, "{}", String::from_utf8_lossy(&created.body));
    }
    let mut client = server.vectors().await;
    let point = |id: &str, vector| VectorPoint { id: id.into(), vector, payload: Vec::new() };
    let upsert = |points| UpsertPointsRequest { tenant: "t".into(), collection: "notes".into(), points };
    let points = vec![point("east", vec![1.0, 0.0]), point("north", vec![0.0, 2.0])];
    client.upsert(upsert(points)).await.expect("written");
    let search = r#"{"tenant":"t","collection":"notes","vector":[0.9,0.1],"k":1}"#;
    let hits = http::post(server.http, "/v1/vectors/search", search).json();
    assert_eq!(hits["hits"][0]["id"], "east", "{hits}");
    let foreign = http::post(server.http, "/v1/vectors/search", &search.replace(r#""t""#, r#""u""#)).json();
    assert!(foreign["hits"].as_array().is_none_or(Vec::is_empty), "{foreign}");

    let wrong = [
        ("points: ", upsert(vec![point("a", vec![1.0])])),
        ("points: ", upsert(vec![point("a", vec![0.0, 0.0])])),
        ("points: ", upsert(vec![point("a", vec![f32::NAN, 0.0])])),
        ("points[0].id: ", upsert(vec![point("", vec![1.0, 0.0])])),
        ("tenant: ", UpsertPointsRequest { tenant: " ".into(), ..upsert(Vec::new()) }),
    ];
    for (field, request) in wrong {
        let status = client.upsert(request).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{field} {}", status.message());
    }
    for k in [0, 1_000_000] {
        let request = SearchPointsRequest {
            tenant: "t".into(),
            collection: "notes".into(),
            vector: vec![1.0, 0.0],
            k,
            ..Default::default()
        };
        let status = client.search(request).await.expect_err("k");
        assert!(status.code() == Code::InvalidArgument && status.message().starts_with("k: "), "{status}");
    }
    let unknown = http::get(server.http, "/v1/vectors/collections/nothing/stats");
    assert_eq!(unknown.status, 404);
    let stats = client.get_stats(GetCollectionStatsRequest { collection: "notes".into() }).await;
    assert_eq!(stats.expect("answers").into_inner().points, 2);
}
