//! `manpasik.v1.VectorService`: a vector store on the wire.
//!
//! A handler reads its request into checked names and points, asks the store, and writes the answer. What is wrong is
//! told with the field of the request it stands in; the store's own words say what was expected.

mod error;
mod read;
mod write;

use std::sync::Arc;

use embeddings::{EmbeddingError, VectorStore};
use proto::manpasik::v1::vector_service_server::VectorService;
use proto::manpasik::v1::{self as wire};
use tonic::{Request, Response, Status};

use self::error::{Fields, refused};

/// Points of a page when none was asked for.
const PAGE_POINTS_DEFAULT: usize = 100;

/// The service over a store, whichever it is. Clones share it.
#[derive(Clone)]
pub struct Vectors(Arc<dyn VectorStore>);

impl Vectors {
    /// The service over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn VectorStore>) -> Self {
        Self(store)
    }
}

/// What a call about points or conditions answers, or how it was refused.
fn answer<T, A>(
    answered: Result<T, EmbeddingError>,
    fields: &Fields,
    write: impl FnOnce(T) -> A,
) -> Result<Response<A>, Status> {
    match answered {
        Ok(answered) => Ok(Response::new(write(answered))),
        Err(error) => Err(refused(&error, fields)),
    }
}

#[tonic::async_trait]
impl VectorService for Vectors {
    async fn create_collection(
        &self,
        request: Request<wire::CreateCollectionRequest>,
    ) -> Result<Response<wire::CreateCollectionResponse>, Status> {
        let wire::CreateCollectionRequest { collection } = request.into_inner();
        let collection = read::collection(collection)?;
        let created = self.0.create(collection).await;
        answer(created, &Fields::COLLECTION, |()| wire::CreateCollectionResponse {})
    }

    async fn list_collections(
        &self,
        request: Request<wire::ListCollectionsRequest>,
    ) -> Result<Response<wire::ListCollectionsResponse>, Status> {
        let wire::ListCollectionsRequest {} = request.into_inner();
        answer(self.0.collections().await, &Fields::COLLECTION, |collections| wire::ListCollectionsResponse {
            collections: collections.into_iter().map(write::collection).collect(),
        })
    }

    async fn upsert(
        &self,
        request: Request<wire::UpsertPointsRequest>,
    ) -> Result<Response<wire::UpsertPointsResponse>, Status> {
        let wire::UpsertPointsRequest { tenant, collection, points } = request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let written = self.0.upsert(&tenant, &name, read::points(points)?).await;
        answer(written, &Fields::POINTS, |()| wire::UpsertPointsResponse {})
    }

    async fn delete(
        &self,
        request: Request<wire::DeletePointsRequest>,
    ) -> Result<Response<wire::DeletePointsResponse>, Status> {
        let wire::DeletePointsRequest { tenant, collection, ids } = request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let deleted = self.0.delete(&tenant, &name, &read::ids(ids)?).await;
        answer(deleted, &Fields::IDS, |deleted| wire::DeletePointsResponse { deleted })
    }

    async fn get(
        &self,
        request: Request<wire::GetPointsRequest>,
    ) -> Result<Response<wire::GetPointsResponse>, Status> {
        let wire::GetPointsRequest { tenant, collection, ids } = request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let found = self.0.get(&tenant, &name, &read::ids(ids)?).await;
        answer(found, &Fields::IDS, |points| wire::GetPointsResponse { points: write::points(points) })
    }

    async fn search(
        &self,
        request: Request<wire::SearchPointsRequest>,
    ) -> Result<Response<wire::SearchPointsResponse>, Status> {
        let wire::SearchPointsRequest { tenant, collection, vector, k, conditions, exact } =
            request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let query = embeddings::Query { vector, k: k as usize, filter: read::filter(conditions)?, exact };
        answer(self.0.search(&tenant, &name, query).await, &Fields::SEARCH, |hits| {
            wire::SearchPointsResponse { hits: hits.into_iter().map(write::hit).collect() }
        })
    }

    async fn count(
        &self,
        request: Request<wire::CountPointsRequest>,
    ) -> Result<Response<wire::CountPointsResponse>, Status> {
        let wire::CountPointsRequest { tenant, collection, conditions } = request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let counted = self.0.count(&tenant, &name, read::filter(conditions)?).await;
        answer(counted, &Fields::SEARCH, |count| wire::CountPointsResponse { count })
    }

    async fn scroll(
        &self,
        request: Request<wire::ScrollPointsRequest>,
    ) -> Result<Response<wire::ScrollPointsResponse>, Status> {
        let wire::ScrollPointsRequest { tenant, collection, conditions, page_token, page_size } =
            request.into_inner();
        let (tenant, name) = (read::tenant(tenant)?, read::name(collection)?);
        let (filter, after) = (read::filter(conditions)?, read::cursor(page_token)?);
        let limit = if page_size == 0 { PAGE_POINTS_DEFAULT } else { page_size as usize };
        let page = self.0.scroll(&tenant, &name, filter, after, limit).await;
        answer(page, &Fields::SCROLL, write::page)
    }

    async fn get_stats(
        &self,
        request: Request<wire::GetCollectionStatsRequest>,
    ) -> Result<Response<wire::GetCollectionStatsResponse>, Status> {
        let wire::GetCollectionStatsRequest { collection } = request.into_inner();
        let name = read::name(collection)?;
        answer(self.0.stats(&name).await, &Fields::COLLECTION, write::stats)
    }
}
