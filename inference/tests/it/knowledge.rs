//! Knowledge without an encoder and without a store: found by letters, said so, never made up.

use inference::{
    Limits, Server,
    server::{ai::AiService, foods::FoodService, knowledge::KnowledgeService},
};
use proto::manpasik::v1::{
    self as wire, food_service_server::FoodService as _, knowledge_service_server::KnowledgeService as _,
};
use tonic::{Code, Request, Status};

fn ai() -> AiService {
    AiService::new(Server::serve(Limits::default(), Vec::new(), Vec::new(), Vec::new()).handle())
}

async fn search(text: &str, k: u32, loinc: &str) -> Result<wire::SearchKnowledgeResponse, Status> {
    let request = wire::SearchKnowledgeRequest { text: text.into(), k, loinc: loinc.into() };
    let answer = KnowledgeService::new(ai()).search_knowledge(Request::new(request)).await;
    answer.map(tonic::Response::into_inner)
}

async fn ingredients(names: &[&str]) -> Result<wire::MatchIngredientsResponse, Status> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let request = wire::MatchIngredientsRequest { names };
    let answer = KnowledgeService::new(ai()).match_ingredients(Request::new(request)).await;
    answer.map(tonic::Response::into_inner)
}

fn warned(warnings: &[wire::Warning], code: &str) -> bool {
    warnings.iter().any(|warning| warning.code == code)
}

#[tokio::test]
async fn without_an_encoder_passages_are_found_by_letters_with_their_source() {
    let answer = search("fasting glucose", 3, "").await.expect("answers");
    assert_eq!(answer.method(), wire::MatchMethod::Trigram);
    assert!(answer.model.is_none() && warned(&answer.warnings, "no_encoder"), "{:?}", answer.warnings);
    assert_eq!(answer.passages.len(), 3);
    let first = &answer.passages[0];
    assert!(first.text.to_lowercase().contains("fasting") && first.similarity > 0.5, "{first:?}");
    let source = first.source.as_ref().expect("a source");
    assert!(!source.organisation.is_empty() && !source.reference.is_empty() && source.year > 1990);
    assert!(answer.passages.is_sorted_by(|a, b| a.similarity >= b.similarity));
}

#[tokio::test]
async fn korean_is_searched_by_letters_and_the_answer_says_so() {
    for (question, wanted) in [("공복 혈당 기준", "glucose"), ("고혈압", "bp-"), ("수면 시간은?", "sleep-")]
    {
        let answer = search(question, 2, "").await.expect("answers");
        assert_eq!(answer.method(), wire::MatchMethod::Trigram);
        assert!(warned(&answer.warnings, "language"));
        assert!(answer.passages[0].id.starts_with(wanted), "{question}: {:?}", answer.passages[0].id);
    }
}

#[tokio::test]
async fn passages_can_be_restricted_to_a_measurement() {
    let answer = search("what is a good level", 20, "4548-4").await.expect("answers");
    assert!(!answer.passages.is_empty());
    assert!(answer.passages.iter().all(|passage| passage.loinc.contains(&"4548-4".to_owned())));
}

#[tokio::test]
async fn bad_questions_are_refused_by_field() {
    let long = "x".repeat(2001);
    for (text, k, loinc, field) in [
        ("", 0, "", "text: "),
        (" \n", 0, "", "text: "),
        (&*long, 0, "", "text: "),
        ("a", 21, "", "k: "),
        ("a", 1, "no", "loinc: "),
    ] {
        let status = search(text, k, loinc).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{status}");
    }
    assert_eq!(search("sleep", 0, "").await.expect("answers").passages.len(), 5, "5 unless asked otherwise");
}

#[tokio::test]
async fn ingredients_are_matched_or_unknown_never_guessed() {
    let names =
        ["AQUA", "glycerine", "vitamin-e", "Sulfate, Sodium Lauryl", "Propylparabens", "unobtainium oil"];
    let answer = ingredients(&names).await.expect("answers");
    let told = |index: usize| {
        let found = &answer.matches[index];
        assert_eq!(found.asked, names[index]);
        (found.ingredient.as_ref().map(|ingredient| ingredient.name.as_str()), found.method(), found.unknown)
    };
    use wire::MatchMethod::{Exact, Trigram, Unspecified};
    assert_eq!(told(0), (Some("Aqua"), Exact, false));
    assert_eq!(told(1), (Some("Glycerin"), Exact, false), "a synonym");
    assert_eq!(told(2), (Some("Tocopherol"), Exact, false));
    assert_eq!(told(3), (Some("Sodium Lauryl Sulfate"), Trigram, false));
    assert_eq!(told(4), (None, Unspecified, true), "too near to its brothers");
    assert_eq!(answer.matches[4].suggestions[0].name, "Propylparaben");
    assert_eq!(told(5), (None, Unspecified, true));
    assert!(warned(&answer.warnings, "no_encoder") && !answer.table.is_empty());
    let annexes = &ingredients(&["Methylparaben"]).await.expect("answers").matches[0];
    assert_eq!(annexes.ingredient.as_ref().expect("known").eu_annexes, ["V"]);
}

#[tokio::test]
async fn bad_lists_of_ingredients_are_refused_by_field() {
    let many = vec!["water"; 101];
    let long = "x".repeat(201);
    for (names, field) in
        [(&[][..], "names: "), (&many, "names: "), (&["water", " "], "names[1]: "), (&[&*long], "names[0]: ")]
    {
        let status = ingredients(names).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{status}");
    }
}

#[tokio::test]
async fn dishes_without_a_store_are_unavailable_and_bad_requests_are_named_first() {
    let service = FoodService::new(ai());
    let list = |user_id: &str| Request::new(wire::ListFoodsRequest { user_id: user_id.into() });
    assert_eq!(service.list_foods(list("anna")).await.expect_err("none").code(), Code::Unavailable);
    let status = service.list_foods(list("")).await.expect_err("no user");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("user_id: "), "{status}");
    let enrol = |name: &str, kcal_per_100g, images: usize| wire::EnrolFoodRequest {
        user_id: "anna".into(),
        name: name.into(),
        kcal_per_100g,
        images: vec![bytes::Bytes::from_static(b"x"); images],
        replace: false,
    };
    let long = "x".repeat(101);
    for (request, field) in [
        (enrol(" ", 100.0, 1), "name: "),
        (enrol(&long, 100.0, 1), "name: "),
        (enrol("a\nb", 100.0, 1), "name: "),
        (enrol("soup", -1.0, 1), "kcal_per_100g: "),
        (enrol("soup", f64::NAN, 1), "kcal_per_100g: "),
        (enrol("soup", 901.0, 1), "kcal_per_100g: "),
        (enrol("soup", 50.0, 0), "images: "),
        (enrol("soup", 50.0, 17), "images: "),
    ] {
        let status = service.enrol_food(Request::new(request)).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
    }
}
