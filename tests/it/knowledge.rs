//! What is found by likeness, through the whole program: passages and ingredients by meaning, dishes by their photos.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, food_is_installed, http, program, skipped, text_is_installed};

/// Longest wait for the passages to be encoded.
const PATIENCE: Duration = Duration::from_secs(90);

fn post(server: &Server, path: &str, body: &Value) -> Value {
    let body = serde_json::to_vec(body).expect("JSON");
    http::exchange(server.http, "POST", path, "application/json", &body).json()
}

fn get(server: &Server, path: &str) -> Value {
    http::exchange(server.http, "GET", path, "application/json", b"").json()
}

/// Asks until the passages are searched by meaning.
fn by_meaning(server: &Server, text: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = post(server, "/v1/knowledge/search", &json!({ "text": text, "k": 3 }));
        if answer["method"] == "MATCH_METHOD_VECTOR" {
            return answer;
        }
        assert_eq!(answer["warnings"][0]["code"], "not_prepared", "{answer}");
        assert!(Instant::now() < until, "the passages were never encoded");
        std::thread::yield_now();
    }
}

#[test]
fn a_question_in_other_words_finds_its_passage_and_source() {
    if !text_is_installed() {
        return skipped("the text encoder is not installed: run `manpasik models fetch text`");
    }
    let server = Server::start();
    for (question, wanted) in [
        ("how many hours of rest do grown-ups need?", "sleep-duration"),
        ("is it fine to have a glass of wine every evening?", "alcohol"),
        ("what is the best way to take my pressure at home", "bp-measuring"),
    ] {
        let answer = by_meaning(&server, question);
        let passages = answer["passages"].as_array().expect("passages");
        assert!(passages.iter().any(|passage| passage["id"] == wanted), "{question}: {answer}");
        assert!(passages[0]["source"]["reference"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(answer["model"]["name"], "text-encoder");
    }
    let korean = post(&server, "/v1/knowledge/search", &json!({ "text": "혈압 기준" }));
    assert_eq!(korean["method"], "MATCH_METHOD_TRIGRAM");
    assert_eq!(korean["warnings"][0]["code"], "language");
    let names = json!({ "names": ["Aqua", "green tea leaf extract", "unobtainium"] });
    let matched = post(&server, "/v1/knowledge/ingredients", &names);
    assert_eq!(matched["matches"][0]["method"], "MATCH_METHOD_EXACT");
    assert_eq!(matched["matches"][1]["ingredient"]["name"], "Camellia Sinensis Leaf Extract", "{matched}");
    assert_eq!(matched["matches"][2]["unknown"], true);
}

#[test]
fn an_enrolled_dish_is_recognised_for_its_owner_only_and_forgotten_on_demand() {
    if !food_is_installed() {
        return skipped("the food model is not installed: run `manpasik models fetch food`");
    }
    let server = Server::start();
    let photo = include_bytes!("../../assets/espresso.jpg");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("one.jpg"), photo).expect("writes");
    let foods = |arguments: &[&str]| {
        let mut command = program(server.data_dir());
        command.env("MANPASIK__SERVER__GRPC", server.grpc.to_string());
        let output =
            command.args(["foods", "--user", "anna", "--json"]).args(arguments).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let dir = folder.path().to_string_lossy().into_owned();
    let enrolled = foods(&["enrol", "할머니 식혜", &dir, "--kcal-per-100g", "104"]);
    assert_eq!(enrolled[0]["images"], 1, "{enrolled}");
    let ask = |user: &str| {
        let path = format!("/v1/ai/food-calories?portion_grams=50&user_id={user}");
        http::exchange(server.http, "POST", &path, "image/jpeg", photo).json()
    };
    let own = ask("anna");
    assert_eq!(own["item"]["name"], "할머니 식혜", "{own}");
    assert_eq!(own["item"]["method"], "FOOD_METHOD_ENROLLED");
    assert_eq!(own["item"]["energy"]["value"], 52.0);
    assert_eq!(ask("bert")["item"]["name"], "Espresso", "another person's dish is not looked at");
    assert_eq!(ask("")["item"]["method"], "FOOD_METHOD_CLASSIFIED");
    assert_eq!(get(&server, "/v1/foods?userId=anna")["foods"][0]["kcalPer100g"], 104.0);
    assert!(get(&server, "/v1/foods?userId=bert")["foods"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(foods(&["remove", "할머니 식혜"])["images"], 1);
    assert_eq!(ask("anna")["item"]["name"], "Espresso");
}
