//! REST for the typed services as a client without protocol buffers meets it: every route that is described
//! answers, every refusal has one shape, and it names what was wrong.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Server,
    http::{self, Answer},
};

const ANALYZE: &str = "/v1/ai/analyze-measurement";
const SESSIONS: &str = "/v1/measurement/sessions";
const PACKETS: &str = "/v1/measurement/packets";

/// A panel with one value.
fn panel(code: &str, value: f64, unit: &str) -> Value {
    json!({ "panel": {
        "subject": { "ageYears": 54, "sex": "SEX_FEMALE" },
        "observations": [{ "code": code, "value": value, "unit": unit }],
    } })
}

/// The one shape of a refusal; gives its field and message.
fn refusal(answer: &Answer, status: u16, code: &str) -> (String, String) {
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    let error = answer.json()["error"].clone();
    assert_eq!(error["code"], code, "{error}");
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    assert!(!text("message").is_empty(), "{error}");
    (text("field"), text("message"))
}

#[test]
fn what_is_described_is_there_and_answers_in_json() {
    let server = Server::start();
    let api = http::get(server.http, "/openapi.json").json();
    let paths = api["paths"].as_object().expect("paths");
    let mut operations = BTreeSet::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            operations.insert(operation["operationId"].as_str().expect("an id").to_owned());
            let place =
                path.replace("{name}", "nope").replace("{id}", "nope").replace("{cartridge}", "01:01");
            let place = place.replace("{number}", "7");
            let answer =
                http::exchange(server.http, &method.to_uppercase(), &place, "application/json", b"{}");
            // 503: a model that set-up brings need not be on this machine.
            let answers = !matches!(answer.status, 405 | 500..) || answer.status == 503;
            assert!(answers, "{method} {path}: {}", answer.status);
            let lines = operation["responses"]["200"]["content"].as_object().expect("a content");
            if !lines.contains_key("application/x-ndjson") {
                assert!(answer.json().is_object(), "{method} {path}");
            }
        }
    }
    assert!(operations.contains("ApproveVersion") && operations.contains("DiffVersions"));
    assert!(operations.contains("AnalyzeMeasurement") && operations.contains("StreamMeasurement"));
    assert_eq!(
        operations.len(),
        paths.values().map(|methods| methods.as_object().map_or(0, |m| m.len())).sum::<usize>()
    );
}

#[test]
fn parameters_of_a_path_are_described_as_needed_and_those_of_a_query_as_not() {
    let server = Server::start();
    let api = http::get(server.http, "/openapi.json").json();
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let named: Vec<(&str, bool)> = operation["parameters"]
                .as_array()
                .expect("parameters")
                .iter()
                .map(|p| (p["name"].as_str().expect("a name"), p["required"] == true))
                .collect();
            for (name, required) in named {
                assert_eq!(path.contains(&format!("{{{name}}}")), required, "{path}: {name}");
            }
        }
    }
}

#[test]
fn a_body_that_is_none_is_refused_with_the_field_and_the_place() {
    let server = Server::start();
    let cases = [
        ("", "body"),
        ("{", "column"),
        ("[]", "body"),
        ("null", "body"),
        (r#"{"colour":"red"}"#, "colour"),
        (r#"{"panel":{"observations":[{"colour":1}]}}"#, "colour"),
        (r#"{"panel":{"observations":7}}"#, "7"),
        (r#"{"panel":{"observations":[{"value":"many"}]}}"#, "column 42"),
        (r#"{"panel":{"subject":{"sex":"SEX_OTHER"}}}"#, "SEX_OTHER"),
        (r#"{"analyses":["ANALYSIS_KIND_NONSENSE"]}"#, "ANALYSIS_KIND_NONSENSE"),
    ];
    for (body, word) in cases {
        let (field, message) = refusal(&http::post(server.http, ANALYZE, body), 400, "INVALID_ARGUMENT");
        assert_eq!(field, "body", "{body}");
        assert!(format!("{field}: {message}").contains(word), "{body}: `{message}` lacks `{word}`");
    }
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_field() {
    let server = Server::start();
    for (request, word) in [
        (panel("glucose", -5.0, "mg/dL"), "glucose"),
        (panel("glucose", 90.0, "furlong"), "furlong"),
        (panel("unobtainium", 90.0, "mg/dL"), "unobtainium"),
        (json!({}), "source"),
        (json!({ "measurementId": "nope" }), "measurement_id"),
        (json!({ "panel": { "subject": { "ageYears": -1 } } }), "age_years"),
    ] {
        let answer = http::post(server.http, ANALYZE, &request.to_string());
        let (field, message) = refusal(&answer, 400, "INVALID_ARGUMENT");
        assert!(
            !field.is_empty() && format!("{field}: {message}").contains(word),
            "{request}: {field}: {message}"
        );
    }
}

#[test]
fn names_of_fields_are_read_in_both_spellings_and_numbers_as_text() {
    let server = Server::start();
    let camel = panel("glucose", 90.0, "mg/dL").to_string();
    let snake = camel.replace("ageYears", "age_years");
    let text = camel.replace(":90.0", ":\"90\"");
    let answers = [camel.as_str(), &snake, &text].map(|body| {
        let answer = http::post(server.http, ANALYZE, body);
        assert_eq!(answer.status, 200, "{body}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()["biomarkers"].clone()
    });
    assert!(answers[0].is_array() && answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn a_model_is_asked_for_by_name_and_an_unknown_one_is_not_found() {
    let server = Server::start();
    let listed = http::get(server.http, "/v1/ai/models").json();
    let names: Vec<&str> = listed["models"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|model| model["name"].as_str())
        .collect();
    assert!(names.contains(&"thyroid") && names.is_sorted(), "{names:?}");
    let model = http::get(server.http, "/v1/ai/models/thyroid").json();
    assert!(model["card"].as_str().is_some_and(|card| card.contains("## Limits")));
    assert_eq!(model["model"]["name"], "thyroid");
    let (_, message) = refusal(&http::get(server.http, "/v1/ai/models/nope"), 404, "NOT_FOUND");
    assert!(message.contains("nope"), "{message}");
}

#[test]
fn paths_and_methods_that_are_none_are_refused_in_the_same_shape() {
    let server = Server::start();
    refusal(&http::get(server.http, "/v1/nope"), 404, "NOT_FOUND");
    refusal(&http::get(server.http, "/v1/ai/models/%ff"), 400, "INVALID_ARGUMENT");
    refusal(&http::get(server.http, ANALYZE), 405, "UNIMPLEMENTED");
    let delete = http::exchange(server.http, "DELETE", "/v1/ai/models", "application/json", b"");
    refusal(&delete, 405, "UNIMPLEMENTED");
}

#[test]
fn a_session_that_is_opened_wrong_names_the_field() {
    let server = Server::start();
    let good = json!({ "userId": "u", "deviceId": "d", "cartridgeCode": "01:01" });
    for (key, value, field) in [
        ("userId", json!(""), "user_id"),
        ("userId", json!("u".repeat(10_000)), "user_id"),
        ("cartridgeCode", json!("ff:ff:ff"), "cartridge_code"),
        ("cartridgeCode", json!(""), "cartridge_code"),
        ("subject", json!({ "ageYears": 400 }), "subject.age_years"),
    ] {
        let mut request = good.clone();
        request[key] = value;
        let answer = http::post(server.http, SESSIONS, &request.to_string());
        assert_eq!(refusal(&answer, 400, "INVALID_ARGUMENT").0, field, "{request}");
    }
    let opened = http::post(server.http, SESSIONS, &good.to_string());
    assert_eq!(opened.status, 200);
    let id = opened.json()["sessionId"].as_str().expect("an id").to_owned();
    let ended = http::post(server.http, &format!("{SESSIONS}/{id}/end"), "");
    assert!(ended.status == 200 || ended.json()["error"]["code"].is_string(), "{}", ended.status);
    let (field, _) =
        refusal(&http::post(server.http, &format!("{SESSIONS}/nope/end"), ""), 400, "INVALID_ARGUMENT");
    assert_eq!(field, "session_id");
    let nobody = "00000000-0000-0000-0000-000000000000";
    refusal(&http::post(server.http, &format!("{SESSIONS}/{nobody}/end"), ""), 404, "NOT_FOUND");
}

#[test]
fn a_history_is_asked_for_in_the_query_and_refused_by_field() {
    let server = Server::start();
    let history = |query: &str| http::get(server.http, &format!("/v1/measurement/measurements{query}"));
    let empty = history("?userId=somebody&pageSize=5");
    assert_eq!(empty.status, 200, "{}", String::from_utf8_lossy(&empty.body));
    assert!(empty.json()["measurements"].as_array().is_none_or(Vec::is_empty));
    for (query, field) in [
        ("", "user_id"),
        ("?userId=u&pageSize=1000000", "page_size"),
        ("?userId=u&pageToken=zzz", "page_token"),
        ("?userId=u&biomarkerCode=unobtainium", "biomarker_code"),
    ] {
        assert_eq!(refusal(&history(query), 400, "INVALID_ARGUMENT").0, field, "{query}");
    }
    for (query, word) in [("?userId=u&pageSize=many", "pageSize"), ("?userId=u&colour=red", "colour")] {
        let (_, message) = refusal(&history(query), 400, "INVALID_ARGUMENT");
        assert!(message.contains(word), "{query}: {message}");
    }
}

#[test]
fn a_bad_line_of_a_stream_is_told_by_its_number() {
    let server = Server::start();
    let body = "{\"sessionId\":\"a\"}\n\n{\"sessionId\":7}\n";
    let (field, message) = refusal(&http::post(server.http, PACKETS, body), 400, "INVALID_ARGUMENT");
    assert!(field == "body" && message.contains("line 3"), "{field}: {message}");
    let (_, message) =
        refusal(&http::post(server.http, "/v1/ai/stream-analysis", "nonsense"), 400, "INVALID_ARGUMENT");
    assert!(message.contains("line 1"), "{message}");
}

#[test]
fn a_portion_that_is_no_number_is_refused_before_the_photo_is_looked_at() {
    let server = Server::start();
    let path = "/v1/ai/food-calories?portion_grams=many";
    let answer = http::exchange(server.http, "POST", path, "image/jpeg", b"no photo");
    let (field, message) = refusal(&answer, 400, "INVALID_ARGUMENT");
    assert!(field == "portion_grams" && message.contains("many"), "{field}: {message}");
}

#[test]
fn a_service_that_is_not_mounted_has_no_routes_and_the_others_serve() {
    let server = Server::with(&crate::support::shipped_bundles(), &[("MANPASIK__SERVICES__ENABLED", "[]")]);
    let answer = http::post(server.http, SESSIONS, r#"{"userId":"u","cartridgeCode":"01:01"}"#);
    assert_eq!(answer.status, 404);
    assert_eq!(http::post(server.http, ANALYZE, &panel("glucose", 90.0, "mg/dL").to_string()).status, 200);
}
