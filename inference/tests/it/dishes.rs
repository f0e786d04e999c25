//! Enrolled dishes over a made-up food model whose features are the contrast.

use std::sync::Arc;

use inference::{
    Limits, Server,
    server::{ai::AiService, foods::FoodService},
};
use proto::manpasik::v1::{
    self as wire, ai_inference_service_server::AiInferenceService as _, food_service_server::FoodService as _,
};
use tonic::{Code, Request, Status};

use crate::{food, memory::Memory};

struct Kitchen {
    ai: AiService,
    foods: FoodService,
    _server: Server,
    _dir: tempfile::TempDir,
}

fn kitchen() -> Kitchen {
    let dir = tempfile::tempdir().expect("dir");
    let server = Server::serve(Limits::default(), Vec::new(), vec![food::candidate(dir.path())], Vec::new());
    let ai = AiService::new(server.handle());
    let foods = FoodService::new(ai.clone());
    foods.connect(Arc::new(Memory::default()));
    Kitchen { ai, foods, _server: server, _dir: dir }
}

fn espresso() -> Vec<u8> {
    include_bytes!("../../../assets/espresso.jpg").to_vec()
}

impl Kitchen {
    async fn enrol(&self, user: &str, name: &str, energy: f64, replace: bool) -> Result<u32, Status> {
        let request = wire::EnrolFoodRequest {
            user_id: user.into(),
            name: name.into(),
            kcal_per_100g: energy,
            images: vec![espresso().into()],
            replace,
        };
        let answer = self.foods.enrol_food(Request::new(request)).await?.into_inner();
        Ok(answer.food.expect("the dish").images)
    }

    async fn ask(&self, user: &str, image: Vec<u8>) -> wire::EstimateFoodCaloriesResponse {
        let request = wire::EstimateFoodCaloriesRequest {
            image: image.into(),
            portion_grams: Some(200.0),
            user_id: user.into(),
            ..Default::default()
        };
        self.ai.estimate_food_calories(Request::new(request)).await.expect("answers").into_inner()
    }

    async fn names(&self, user: &str) -> Vec<(String, u32)> {
        let request = wire::ListFoodsRequest { user_id: user.into() };
        let foods = self.foods.list_foods(Request::new(request)).await.expect("lists").into_inner().foods;
        foods.into_iter().map(|food| (food.name, food.images)).collect()
    }
}

#[tokio::test]
async fn an_enrolled_dish_is_answered_with_its_own_energy_and_says_how() {
    let kitchen = kitchen();
    let before = kitchen.ask("anna", espresso()).await.item.expect("classified");
    assert_eq!((before.name.as_str(), before.method()), ("Espresso", wire::FoodMethod::Classified));
    assert_eq!(kitchen.enrol("anna", "수정과", 130.0, false).await.expect("enrols"), 1);
    let answer = kitchen.ask("anna", espresso()).await;
    let item = answer.item.expect("enrolled");
    assert_eq!((item.name.as_str(), item.method()), ("수정과", wire::FoodMethod::Enrolled));
    assert!(item.confidence > 0.999, "the same photo");
    assert_eq!(item.energy.expect("energy").value, 260.0);
    let weighed = item.energy_interval.expect("of the portion");
    assert_eq!((weighed.low, weighed.high), (260.0, 260.0));
    assert!(!answer.unsure);
    assert!(answer.warnings.iter().any(|warning| warning.code == "enrolled"));
    assert_eq!(answer.candidates[1].name, "Espresso", "what the classifier thinks comes after");
    let unweighed = wire::EstimateFoodCaloriesRequest {
        image: espresso().into(),
        user_id: "anna".into(),
        ..Default::default()
    };
    let unweighed = kitchen.ai.estimate_food_calories(Request::new(unweighed)).await.expect("answers");
    let usual = unweighed.into_inner().item.expect("enrolled").energy_interval.expect("of the portion");
    assert!(
        (usual.low - 78.0).abs() < 1e-9 && (usual.high - 182.0).abs() < 1e-9,
        "130 kcal, give or take 40 %"
    );
    let other = kitchen.ask("bert", espresso()).await.item.expect("classified");
    assert_eq!(other.name, "Espresso", "dishes belong to one person");
    let black = kitchen.ask("anna", food::photo()).await.item.expect("classified");
    assert_eq!(black.method(), wire::FoodMethod::Classified, "another photo is another food");
}

#[tokio::test]
async fn dishes_grow_are_replaced_and_forgotten() {
    let kitchen = kitchen();
    kitchen.enrol("anna", "soup", 50.0, false).await.expect("enrols");
    assert_eq!(kitchen.enrol("anna", "soup", 50.0, false).await.expect("grows"), 2);
    let status = kitchen.enrol("anna", "soup", 60.0, false).await.expect_err("another energy");
    assert!(
        status.code() == Code::InvalidArgument && status.message().starts_with("kcal_per_100g: "),
        "{status}"
    );
    assert_eq!(kitchen.enrol("anna", "soup", 60.0, true).await.expect("replaces"), 1);
    assert_eq!(kitchen.names("anna").await, [("soup".to_owned(), 1)]);
    assert!(kitchen.names("bert").await.is_empty());
    let delete = |user: &str| {
        let request = wire::DeleteFoodRequest { user_id: user.into(), name: "soup".into() };
        kitchen.foods.delete_food(Request::new(request))
    };
    assert_eq!(delete("bert").await.expect_err("not his").code(), Code::NotFound);
    assert_eq!(delete("anna").await.expect("hers").into_inner().images, 1);
    assert!(kitchen.names("anna").await.is_empty());
}

#[tokio::test]
async fn a_broken_photo_is_named_by_its_place() {
    let kitchen = kitchen();
    let request = wire::EnrolFoodRequest {
        user_id: "anna".into(),
        name: "soup".into(),
        kcal_per_100g: 50.0,
        images: vec![espresso().into(), b"no photo".to_vec().into()],
        replace: false,
    };
    let status = kitchen.foods.enrol_food(Request::new(request)).await.expect_err("broken");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("images[1]"), "{status}");
    assert!(kitchen.names("anna").await.is_empty(), "all or none");
}
