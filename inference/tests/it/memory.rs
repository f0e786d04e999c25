//! A vector store that keeps everything in a map and compares everything: enough to test what is asked of one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use embeddings::{
    Collection, CollectionName, Cursor, EmbeddingError, Filter, Hit, Page, Point, PointId, Progress, Query,
    Report, Stats, Tenant, VectorStore,
};

type Rows = BTreeMap<(Tenant, PointId), Point>;

/// Collections with the points of everyone.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<CollectionName, (Collection, Rows)>>);

impl Memory {
    fn all(&self) -> MutexGuard<'_, BTreeMap<CollectionName, (Collection, Rows)>> {
        self.0.lock().expect("lock")
    }

    fn points(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: &Filter,
    ) -> Result<Vec<Point>, EmbeddingError> {
        let all = self.all();
        let (_, rows) =
            all.get(name).ok_or_else(|| EmbeddingError::UnknownCollection { name: name.to_string() })?;
        let own = rows.iter().filter(|((owner, _), point)| owner == tenant && filter.matches(&point.payload));
        Ok(own.map(|(_, point)| point.clone()).collect())
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[async_trait]
impl VectorStore for Memory {
    async fn create(&self, collection: Collection) -> Result<(), EmbeddingError> {
        let mut all = self.all();
        let entry = all.entry(collection.name.clone());
        collection.same_as(&entry.or_insert_with(|| (collection.clone(), Rows::new())).0)
    }

    async fn collections(&self) -> Result<Vec<Collection>, EmbeddingError> {
        Ok(self.all().values().map(|(collection, _)| collection.clone()).collect())
    }

    async fn collection(&self, _: &CollectionName) -> Result<Collection, EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn drop_collection(&self, name: &CollectionName) -> Result<bool, EmbeddingError> {
        Ok(self.all().remove(name).is_some())
    }

    async fn upsert(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        points: Vec<Point>,
    ) -> Result<(), EmbeddingError> {
        let mut all = self.all();
        let (_, rows) = all.get_mut(name).expect("created before");
        rows.extend(points.into_iter().map(|point| ((tenant.clone(), point.id.clone()), point)));
        Ok(())
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<u64, EmbeddingError> {
        let mut all = self.all();
        let (_, rows) = all.get_mut(name).expect("created before");
        Ok(ids.iter().filter(|id| rows.remove(&(tenant.clone(), (*id).clone())).is_some()).count() as u64)
    }

    async fn delete_tenant(&self, _: &Tenant) -> Result<u64, EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn get(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<Vec<Point>, EmbeddingError> {
        let points = self.points(tenant, name, &Filter::default())?;
        Ok(ids.iter().filter_map(|id| points.iter().find(|point| point.id == *id).cloned()).collect())
    }

    async fn search(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        query: Query,
    ) -> Result<Vec<Hit>, EmbeddingError> {
        let points = self.points(tenant, name, &query.filter)?.into_iter();
        let hit = |point: Point| Hit {
            score: cosine(&query.vector, &point.vector),
            id: point.id,
            payload: point.payload,
        };
        let mut hits: Vec<Hit> = points.map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits.truncate(query.k);
        Ok(hits)
    }

    async fn count(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
    ) -> Result<u64, EmbeddingError> {
        Ok(self.points(tenant, name, &filter)?.len() as u64)
    }

    async fn scroll(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
        _: Option<Cursor>,
        _: usize,
    ) -> Result<Page, EmbeddingError> {
        Ok(Page { points: self.points(tenant, name, &filter)?, next: None })
    }

    async fn stats(&self, _: &CollectionName) -> Result<Stats, EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn operator_tenants(
        &self,
        _: &CollectionName,
        _: Option<&Tenant>,
        _: usize,
    ) -> Result<Vec<Tenant>, EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn verify(&self, _: &CollectionName) -> Result<Report, EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn rebuild(
        &self,
        _: &CollectionName,
        _: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EmbeddingError> {
        unreachable!("nobody asks for it")
    }

    async fn close(&self) -> Result<(), EmbeddingError> {
        Ok(())
    }
}
