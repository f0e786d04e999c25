//! A vector service that compares with everything it has, and can be told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use proto::manpasik::v1::payload_value::Value;
use proto::manpasik::v1::vector_condition::Condition;
use proto::manpasik::v1::vector_service_server::{VectorService, VectorServiceServer};
use proto::manpasik::v1::*;
use tonic::{Request, Response, Status};

#[derive(Debug, Default)]
struct Kept {
    down: bool,
    upserts: usize,
    collections: BTreeMap<String, VectorCollection>,
    /// By tenant, collection and id.
    points: BTreeMap<(String, String, String), VectorPoint>,
}

/// Cheap to clone; all clones hold the same points.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestVectors(Arc<Mutex<Kept>>);

impl TestVectors {
    pub(crate) fn server(&self) -> VectorServiceServer<Self> {
        VectorServiceServer::new(self.clone())
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.kept().down = down;
    }

    pub(crate) fn upserts(&self) -> usize {
        self.kept().upserts
    }

    pub(crate) fn collections(&self) -> Vec<VectorCollection> {
        self.kept().collections.values().cloned().collect()
    }

    /// Every point with its tenant.
    pub(crate) fn points(&self) -> Vec<(String, VectorPoint)> {
        self.kept().points.iter().map(|((tenant, _, _), point)| (tenant.clone(), point.clone())).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("not poisoned")
    }

    fn of(&self, collection: &str) -> Result<MutexGuard<'_, Kept>, Status> {
        let kept = self.kept();
        if kept.down {
            return Err(Status::unavailable("the test vectors are down"));
        }
        if !kept.collections.contains_key(collection) {
            return Err(Status::not_found(format!("there is no collection '{collection}'")));
        }
        Ok(kept)
    }
}

fn holds(point: &VectorPoint, condition: &VectorCondition) -> bool {
    let value = |name: &str| {
        let entry = point.payload.iter().find(|entry| entry.name == name);
        entry.and_then(|entry| entry.value.clone()).and_then(|value| value.value)
    };
    let time = |value: &Option<PayloadValue>| match value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::TimeUnixMs(ms)) => Some(ms),
        Some(_) | None => None,
    };
    match condition.condition.as_ref().expect("a condition") {
        Condition::Equals(equals) => value(&equals.field) == equals.value.clone().and_then(|v| v.value),
        Condition::Range(range) => match value(&range.field) {
            Some(Value::TimeUnixMs(ms)) => {
                time(&range.from).is_none_or(|from| ms >= from) && time(&range.to).is_none_or(|to| ms < to)
            }
            Some(_) | None => false,
        },
    }
}

fn hit(point: &VectorPoint, vector: &[f32]) -> VectorHit {
    let score = point.vector.iter().zip(vector).map(|(a, b)| a * b).sum();
    VectorHit { id: point.id.clone(), score, payload: point.payload.clone() }
}

#[tonic::async_trait]
impl VectorService for TestVectors {
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let collection = request.into_inner().collection.expect("a collection");
        self.kept().collections.insert(collection.name.clone(), collection);
        Ok(Response::new(CreateCollectionResponse {}))
    }

    async fn list_collections(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        Ok(Response::new(ListCollectionsResponse { collections: self.collections() }))
    }

    async fn upsert(
        &self,
        request: Request<UpsertPointsRequest>,
    ) -> Result<Response<UpsertPointsResponse>, Status> {
        let UpsertPointsRequest { tenant, collection, points } = request.into_inner();
        let mut kept = self.of(&collection)?;
        kept.upserts += 1;
        for point in points {
            kept.points.insert((tenant.clone(), collection.clone(), point.id.clone()), point);
        }
        Ok(Response::new(UpsertPointsResponse {}))
    }

    async fn search(
        &self,
        request: Request<SearchPointsRequest>,
    ) -> Result<Response<SearchPointsResponse>, Status> {
        let SearchPointsRequest { tenant, collection, vector, k, conditions, exact: _ } =
            request.into_inner();
        let kept = self.of(&collection)?;
        let own = kept.points.iter().filter(|((t, c, _), _)| *t == tenant && *c == collection);
        let matching = own.filter(|(_, point)| conditions.iter().all(|condition| holds(point, condition)));
        let mut hits: Vec<_> = matching.map(|(_, point)| hit(point, &vector)).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits.truncate(k as usize);
        Ok(Response::new(SearchPointsResponse { hits }))
    }

    async fn delete(
        &self,
        _: Request<DeletePointsRequest>,
    ) -> Result<Response<DeletePointsResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn get(&self, _: Request<GetPointsRequest>) -> Result<Response<GetPointsResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn count(&self, _: Request<CountPointsRequest>) -> Result<Response<CountPointsResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn scroll(
        &self,
        _: Request<ScrollPointsRequest>,
    ) -> Result<Response<ScrollPointsResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn get_stats(
        &self,
        _: Request<GetCollectionStatsRequest>,
    ) -> Result<Response<GetCollectionStatsResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }
}
