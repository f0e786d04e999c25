//! Routes of what is found by likeness: passages, ingredients, a person's dishes.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::{delete, post},
};
use proto::manpasik::v1::{
    DeleteFoodRequest, EnrolFoodRequest, ListFoodsRequest, MatchIngredientsRequest, SearchKnowledgeRequest,
    food_service_client::FoodServiceClient, knowledge_service_client::KnowledgeServiceClient,
};
use services::kernel::GrpcService;
use tonic::Status;

use super::{
    answer::{Body, Failure, json},
    routes::call,
};

type Knowledge = KnowledgeServiceClient<GrpcService>;
type Food = FoodServiceClient<GrpcService>;
/// Whose dishes; the message's own reader knows the name of the field.
type UserQuery = Result<Query<ListFoodsRequest>, QueryRejection>;

/// Method, path and RPC of each route.
pub(super) const ROUTES: [(&str, &str, &str); 5] = [
    ("post", "/v1/knowledge/search", "manpasik.v1.KnowledgeService.SearchKnowledge"),
    ("post", "/v1/knowledge/ingredients", "manpasik.v1.KnowledgeService.MatchIngredients"),
    ("post", "/v1/foods", "manpasik.v1.FoodService.EnrolFood"),
    ("get", "/v1/foods", "manpasik.v1.FoodService.ListFoods"),
    ("delete", "/v1/foods/{name}", "manpasik.v1.FoodService.DeleteFood"),
];

/// Routes of knowledge.
pub(super) fn knowledge(client: Knowledge) -> Router {
    Router::new()
        .route(
            "/v1/knowledge/search",
            post(|State(mut client): State<Knowledge>, Body(body): Body| async move {
                call(&body, async |request: SearchKnowledgeRequest| client.search_knowledge(request).await)
                    .await
            }),
        )
        .route(
            "/v1/knowledge/ingredients",
            post(|State(mut client): State<Knowledge>, Body(body): Body| async move {
                call(&body, async |request: MatchIngredientsRequest| client.match_ingredients(request).await)
                    .await
            }),
        )
        .with_state(client)
}

/// Routes of enrolled dishes.
pub(super) fn foods(client: Food) -> Router {
    Router::new()
        .route(
            "/v1/foods",
            post(|State(mut client): State<Food>, Body(body): Body| async move {
                call(&body, async |request: EnrolFoodRequest| client.enrol_food(request).await).await
            })
            .get(|State(mut client): State<Food>, query: UserQuery| async move {
                match user(query) {
                    Ok(request) => json(client.list_foods(request).await),
                    Err(refused) => refused,
                }
            }),
        )
        .route(
            "/v1/foods/{name}",
            delete(|State(mut client): State<Food>, Path(name): Path<String>, query: UserQuery| async move {
                match user(query) {
                    Ok(ListFoodsRequest { user_id }) => {
                        json(client.delete_food(DeleteFoodRequest { user_id, name }).await)
                    }
                    Err(refused) => refused,
                }
            }),
        )
        .with_state(client)
}

#[allow(clippy::result_large_err, reason = "the refusal is the answer itself")]
fn user(query: UserQuery) -> Result<ListFoodsRequest, Response> {
    query
        .map(|Query(request)| request)
        .map_err(|refused| Failure(Status::invalid_argument(refused.body_text())).into_response())
}
