//! Routes of the vector service.

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use proto::manpasik::v1::{
    CountPointsRequest, CreateCollectionRequest, DeletePointsRequest, GetCollectionStatsRequest,
    GetPointsRequest, ListCollectionsRequest, ScrollPointsRequest, SearchPointsRequest, UpsertPointsRequest,
    vector_service_client::VectorServiceClient,
};
use services::kernel::GrpcService;

use super::{
    answer::{Body, json},
    routes::call,
};

type Vectors = VectorServiceClient<GrpcService>;

/// Method, path and RPC.
pub(super) const ROUTES: [(&str, &str, &str); 9] = [
    ("post", "/v1/vectors/collections", "manpasik.v1.VectorService.CreateCollection"),
    ("get", "/v1/vectors/collections", "manpasik.v1.VectorService.ListCollections"),
    ("get", "/v1/vectors/collections/{name}/stats", "manpasik.v1.VectorService.GetStats"),
    ("post", "/v1/vectors/upsert", "manpasik.v1.VectorService.Upsert"),
    ("post", "/v1/vectors/delete", "manpasik.v1.VectorService.Delete"),
    ("post", "/v1/vectors/get", "manpasik.v1.VectorService.Get"),
    ("post", "/v1/vectors/search", "manpasik.v1.VectorService.Search"),
    ("post", "/v1/vectors/count", "manpasik.v1.VectorService.Count"),
    ("post", "/v1/vectors/scroll", "manpasik.v1.VectorService.Scroll"),
];

/// Every route of the service.
pub(super) fn routes(client: Vectors) -> Router {
    collections()
        .route(
            "/v1/vectors/upsert",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: UpsertPointsRequest| client.upsert(request).await).await
            }),
        )
        .route(
            "/v1/vectors/delete",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: DeletePointsRequest| client.delete(request).await).await
            }),
        )
        .route(
            "/v1/vectors/get",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: GetPointsRequest| client.get(request).await).await
            }),
        )
        .route(
            "/v1/vectors/search",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: SearchPointsRequest| client.search(request).await).await
            }),
        )
        .route(
            "/v1/vectors/count",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: CountPointsRequest| client.count(request).await).await
            }),
        )
        .route(
            "/v1/vectors/scroll",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: ScrollPointsRequest| client.scroll(request).await).await
            }),
        )
        .with_state(client)
}

fn collections() -> Router<Vectors> {
    Router::new()
        .route(
            "/v1/vectors/collections",
            post(|State(mut client): State<Vectors>, Body(body): Body| async move {
                call(&body, async |request: CreateCollectionRequest| client.create_collection(request).await)
                    .await
            })
            .get(|State(mut client): State<Vectors>| async move {
                json(client.list_collections(ListCollectionsRequest {}).await)
            }),
        )
        .route(
            "/v1/vectors/collections/{name}/stats",
            get(|State(mut client): State<Vectors>, Path(collection): Path<String>| async move {
                json(client.get_stats(GetCollectionStatsRequest { collection }).await)
            }),
        )
}
