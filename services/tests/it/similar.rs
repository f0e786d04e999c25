//! Similar sessions: found by their owner and nobody else, and not lost by a crash at any point.

use proto::manpasik::v1::find_similar_sessions_request::Like;
use proto::manpasik::v1::payload_value::Value;
use proto::manpasik::v1::*;
use tonic::{Code, Status};

use crate::harness::{Harness, Reach, eventually, packets, quick};

fn like(user: &str, session: &str) -> FindSimilarSessionsRequest {
    FindSimilarSessionsRequest {
        user_id: user.to_owned(),
        like: Some(Like::SessionId(session.to_owned())),
        ..Default::default()
    }
}

impl Harness {
    async fn similar(&self, request: FindSimilarSessionsRequest) -> Result<Vec<SimilarSession>, Status> {
        Ok(self.client.clone().find_similar_sessions(request).await?.into_inner().sessions)
    }

    /// The identifiers found.
    async fn ids(&self, request: FindSimilarSessionsRequest) -> Vec<String> {
        let found = self.similar(request).await.expect("answers");
        found.into_iter().map(|session| session.session_id).collect()
    }

    async fn fingerprint(&self, id: &str) -> FingerprintState {
        let request = GetMeasurementRequest { id: id.to_owned() };
        self.client.clone().get_measurement(request).await.expect("answers").into_inner().fingerprint()
    }

    /// Waits until the fingerprint of a session was dealt with.
    async fn recorded(&self, id: &str) -> FingerprintState {
        eventually(|| self.fingerprint(id), |state| *state != FingerprintState::Unspecified).await
    }

    async fn measured(&mut self, user: &str, cartridge: &str, count: usize) -> String {
        let id = self.measure(user, cartridge, count).await.id;
        assert_eq!(self.recorded(&id).await, FingerprintState::Kept);
        id
    }
}

async fn the_first_is_found_from_the_second(reach: Reach) {
    let mut harness = Harness::start(reach, quick()).await;
    let first = harness.measured("user-1", "01:01", 12).await;
    assert!(harness.similar(like("user-1", &first)).await.expect("answers").is_empty(), "not itself");
    harness.clock.advance_ms(60_000);
    let second = harness.measured("user-1", "01:01", 15).await;
    let found = harness.similar(like("user-1", &second)).await.expect("answers");
    let [found] = found.as_slice() else { panic!("one session, got {found:?}") };
    assert_eq!((found.session_id.as_str(), found.cartridge_code.as_str()), (first.as_str(), "01:01"));
    assert!((0.9..=1.0).contains(&found.similarity), "{}", found.similarity);
    assert_eq!(found.ended_unix_ms, 1_800_000_000_000);
    let value = found.values.first().expect("a value");
    let quantity = value.quantity.clone().expect("a quantity");
    assert_eq!((quantity.unit.as_str(), quantity.loinc.as_str()), ("mg/dL", "2345-7"));
    assert!(value.model.as_ref().is_some_and(|model| !model.version.is_empty()));
}

#[tokio::test]
async fn the_first_session_is_found_from_the_second_in_one_process() {
    the_first_is_found_from_the_second(Reach::InProcess).await;
}

#[tokio::test]
async fn the_first_session_is_found_from_the_second_over_the_network() {
    the_first_is_found_from_the_second(Reach::Network).await;
}

#[tokio::test]
async fn nobody_finds_the_sessions_of_another() {
    let mut harness = Harness::quick().await;
    let own = harness.measured("user-1", "01:01", 12).await;
    let other = harness.measured("user-2", "01:01", 12).await;
    assert!(harness.ids(like("user-1", &own)).await.is_empty());
    let status = harness.similar(like("user-1", &other)).await.expect_err("not theirs");
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    let absent = harness.similar(like("user-1", nobody)).await.expect_err("not there");
    assert_eq!((status.code(), absent.code()), (Code::NotFound, Code::NotFound));
    assert_eq!(status.message().replace(&other, nobody), absent.message(), "not told apart");
    // A user whose name is no name of a tenant.
    let odd = harness.measured("김 민수", "01:01", 12).await;
    let again = harness.measured("김 민수", "01:01", 12).await;
    assert_eq!(harness.ids(like("김 민수", &again)).await, [odd]);
}

#[tokio::test]
async fn a_window_and_a_cartridge_narrow_what_is_found() {
    let mut harness = Harness::quick().await;
    let start_ms = 1_800_000_000_000;
    let mut ids = Vec::new();
    for cartridge in ["01:01", "01:02", "01:01"] {
        ids.push(harness.measured("user-1", cartridge, 12).await);
        harness.clock.advance_ms(1_000);
    }
    let ask = like("user-1", &ids[2]);
    assert_eq!(harness.ids(ask.clone()).await.len(), 2);
    assert_eq!(harness.ids(FindSimilarSessionsRequest { k: 1, ..ask.clone() }).await, ids[..1]);
    let lipids = FindSimilarSessionsRequest { cartridge_code: "01:02".to_owned(), ..ask.clone() };
    assert_eq!(harness.ids(lipids).await, ids[1..2]);
    let window = |from, to| FindSimilarSessionsRequest { from_unix_ms: from, to_unix_ms: to, ..ask.clone() };
    assert_eq!(harness.ids(window(Some(start_ms + 1_000), None)).await, ids[1..2]);
    assert_eq!(harness.ids(window(None, Some(start_ms + 1_000))).await, ids[..1], "the end is exclusive");
}

#[tokio::test]
async fn a_sweep_of_ones_own_is_compared_too() {
    let mut harness = Harness::quick().await;
    let measured = harness.measure("user-1", "01:01", 12).await;
    harness.recorded(&measured.id).await;
    let channels = measured.channels.expect("a sweep");
    let ask = |channels| FindSimilarSessionsRequest {
        user_id: "user-1".to_owned(),
        like: Some(Like::Channels(channels)),
        ..Default::default()
    };
    let found = harness.similar(ask(channels.clone())).await.expect("answers");
    assert_eq!(found[0].session_id, measured.id);
    assert!(found[0].similarity > 0.9999);
    let stronger = Channels { values: channels.values.iter().map(|value| value * 3.0).collect(), ..channels };
    let found = harness.similar(ask(stronger)).await.expect("answers");
    assert!(found[0].similarity > 0.9999, "shape, not strength");
}

#[tokio::test]
async fn a_wrong_question_names_its_field() {
    let mut harness = Harness::quick().await;
    let id = harness.measured("user-1", "01:01", 12).await;
    let sweep = |code: &str, values| {
        Some(Like::Channels(Channels { cartridge_code: code.to_owned(), values, environment: None }))
    };
    let right = like("user-1", &id);
    let wrong = [
        ("user_id", FindSimilarSessionsRequest { user_id: String::new(), ..right.clone() }),
        ("session_id", FindSimilarSessionsRequest { like: None, ..right.clone() }),
        ("session_id", like("user-1", "seven")),
        ("k", FindSimilarSessionsRequest { k: 1_000_000, ..right.clone() }),
        ("cartridge_code", FindSimilarSessionsRequest { cartridge_code: "x".to_owned(), ..right.clone() }),
        (
            "cartridge_code",
            FindSimilarSessionsRequest { cartridge_code: "FF:01".to_owned(), ..right.clone() },
        ),
        (
            "channels.values",
            FindSimilarSessionsRequest { like: sweep("01:01", vec![0.0; 88]), ..right.clone() },
        ),
        (
            "channels.values",
            FindSimilarSessionsRequest { like: sweep("01:01", vec![1.0; 87]), ..right.clone() },
        ),
        (
            "channels.values",
            FindSimilarSessionsRequest { like: sweep("01:01", vec![f32::NAN; 88]), ..right.clone() },
        ),
        (
            "channels.values",
            FindSimilarSessionsRequest { like: sweep("04:01", vec![1.0; 8]), ..right.clone() },
        ),
        ("channels.cartridge_code", FindSimilarSessionsRequest { like: sweep("", vec![1.0; 88]), ..right }),
    ];
    for (field, request) in wrong {
        let status = harness.similar(request).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(status.message().starts_with(&format!("{field}: ")), "{field}: {}", status.message());
    }
    let running = harness.begin("user-1", "01:01").await;
    let status = harness.similar(like("user-1", &running)).await.expect_err("still running");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(harness.similar(like("user-2", &running)).await.expect_err("no").code(), Code::NotFound);
}

#[tokio::test]
async fn a_session_that_ended_just_before_a_crash_is_found_after_it() {
    let mut harness = Harness::quick().await;
    harness.vectors.set_down(true);
    let first = harness.measure("user-1", "01:01", 12).await.id;
    assert_eq!(harness.fingerprint(&first).await, FingerprintState::Unspecified);
    // What a crash between the commit and the dispatch leaves is the same as after a failed try.
    let mut after = harness.after_crash().await;
    after.vectors.set_down(false);
    after.clock.advance_ms(3_600_000);
    assert_eq!(after.recorded(&first).await, FingerprintState::Kept);
    let second = after.measured("user-1", "01:01", 15).await;
    assert_eq!(after.ids(like("user-1", &second)).await, std::slice::from_ref(&first));

    // The process dies after the vector was written and before that was written down: written again, found once.
    let upserts = harness.vectors.upserts();
    harness.clock.advance_ms(3_600_000);
    assert_eq!(harness.recorded(&first).await, FingerprintState::Kept);
    assert!(harness.vectors.upserts() > upserts, "replayed");
    assert_eq!(after.ids(like("user-1", &second)).await, [first], "and still found once");
}

#[tokio::test]
async fn a_vector_service_that_is_down_is_told_and_ending_goes_on_without_it() {
    let mut harness = Harness::quick().await;
    let id = harness.measured("user-1", "01:01", 12).await;
    harness.vectors.set_down(true);
    let status = harness.similar(like("user-1", &id)).await.expect_err("down");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("test vectors"), "internals stay inside: {}", status.message());
    harness.measure("user-1", "01:01", 12).await;
}

#[tokio::test]
async fn a_session_without_a_shape_is_marked_and_not_kept() {
    let mut harness = Harness::quick().await;
    let single = harness.measure("user-1", "04:01", 12).await.id;
    assert_eq!(harness.recorded(&single).await, FingerprintState::None, "eight channels");
    let dead = harness.begin("user-1", "01:01").await;
    let mut flat = packets("01:01", 12);
    for packet in &mut flat {
        packet.detection = vec![0.0; 88];
        packet.reference = vec![0.0; 88];
    }
    harness.stream(&dead, &flat).await;
    harness.end(&dead).await.expect("ends");
    assert_eq!(harness.recorded(&dead).await, FingerprintState::None, "all zero");
    assert!(harness.vectors.points().is_empty());
    let status = harness.similar(like("user-1", &dead)).await.expect_err("no shape");
    assert_eq!(status.code(), Code::InvalidArgument);
    let mut harness = harness.restart().await;
    harness.measured("user-1", "01:01", 12).await;
    assert_eq!(harness.vectors.points().len(), 1, "the event that was refused held nobody up");
}

#[tokio::test]
async fn what_is_kept_carries_time_cartridge_quality_and_values() {
    let mut harness = Harness::quick().await;
    let measured = harness.measure("user-1", "01:01", 12).await;
    harness.recorded(&measured.id).await;
    let collections = harness.vectors.collections();
    let collection = collections.first().expect("a collection");
    assert_eq!((collection.name.as_str(), collection.layout.as_str()), ("sessions_88", "clinical/88"));
    assert_eq!((collection.dimension, collection.metric()), (88, VectorMetric::Cosine));
    let (tenant, point) = harness.vectors.points().remove(0);
    assert_eq!((tenant.as_str(), &point.id), ("user-1", &measured.id));
    let norm: f32 = point.vector.iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-5);
    let value = |name: &str| {
        let entry = point.payload.iter().find(|entry| entry.name == name).expect(name);
        entry.value.clone().and_then(|value| value.value).expect("a value")
    };
    assert_eq!(value("cartridge"), Value::Keyword("01:01".to_owned()));
    assert_eq!(value("ended"), Value::TimeUnixMs(measured.ended_unix_ms));
    assert!(
        matches!(value("quality"), Value::Keyword(quality) if ["good", "fair", "poor"].contains(&quality.as_str()))
    );
    let quantity = measured.biomarkers[0].quantity.clone().expect("a quantity");
    assert_eq!(value("loinc:2345-7"), Value::Real(quantity.value));
}
