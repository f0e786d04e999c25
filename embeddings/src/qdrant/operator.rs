//! What operators ask: numbers, tenants, whether all is well, and the index anew.

use std::collections::HashSet;
use std::time::Duration;

use qdrant_client::qdrant::{
    CollectionStatus, FacetCounts, Filter as Remote, OptimizersConfigDiff, UpdateCollection, facet_value,
};

use super::QdrantStore;
use super::keys::{TENANT, remote_name};
use crate::{
    Collection, CollectionName, EmbeddingError, Point, PointId, Progress, Query, Report, State, Stats,
    Tenant, VectorStore,
};

/// Tenants that a collection is asked for; the server answers them all at once, the largest first.
const TENANTS_MAX: u64 = 1_000_000;
/// Points whose neighbours are compared with exact search.
const SAMPLE_POINTS: usize = 50;
/// Neighbours that are compared.
const SAMPLE_K: usize = 10;
/// Pause between looks at the progress of the server.
const LOOK: Duration = Duration::from_millis(500);

impl QdrantStore {
    pub(super) async fn numbers(&self, name: &CollectionName) -> Result<Stats, EmbeddingError> {
        let collection = self.known(name).await?;
        let info = self.info(name).await?;
        let points = self.counted(name, Remote::default()).await?;
        let indexed = info.indexed_vectors_count.unwrap_or(0).min(points);
        let state = match CollectionStatus::try_from(info.status) {
            Ok(CollectionStatus::Yellow | CollectionStatus::Grey) => State::Indexing,
            Ok(
                CollectionStatus::Green | CollectionStatus::Red | CollectionStatus::UnknownCollectionStatus,
            )
            | Err(_) => State::Ready,
        };
        // Qdrant does not tell its memory; this is what the vectors take.
        let bytes = points * (collection.dimension * size_of::<f32>()) as u64;
        Ok(Stats { points, indexed, tail: points - indexed, bytes, state })
    }

    pub(super) async fn tenants(
        &self,
        name: &CollectionName,
        after: Option<&Tenant>,
        limit: usize,
    ) -> Result<Vec<Tenant>, EmbeddingError> {
        let max = self.limits.page_points_max;
        if !(1..=max).contains(&limit) {
            return Err(EmbeddingError::TooMany { what: "tenants in a page", got: limit, max });
        }
        let request = FacetCounts {
            collection_name: remote_name(name),
            key: TENANT.to_owned(),
            limit: Some(TENANTS_MAX),
            exact: Some(true),
            ..FacetCounts::default()
        };
        let answer = self.ask(name, request, |client, request| async move { client.facet(request).await });
        let mut tenants = Vec::new();
        for hit in answer.await?.hits {
            if let Some(facet_value::Variant::StringValue(text)) = hit.value.and_then(|value| value.variant) {
                tenants.push(Tenant::parse(text)?);
            }
        }
        tenants.retain(|tenant| after.is_none_or(|after| tenant > after));
        tenants.sort();
        tenants.truncate(limit);
        Ok(tenants)
    }

    pub(super) async fn checked(&self, name: &CollectionName) -> Result<Report, EmbeddingError> {
        let collection = self.known(name).await?;
        let (info, stats) = (self.info(name).await?, self.numbers(name).await?);
        let mut faults = Vec::new();
        if info.status() == CollectionStatus::Red {
            faults.push("Qdrant reports the collection as red: see its log".to_owned());
        }
        if let Some(reason) = info.optimizer_status.filter(|status| !status.ok).map(|status| status.error) {
            faults.push(format!("Qdrant cannot optimise the collection: {reason}"));
        }
        let recall = if stats.indexed > 0 { self.recall(&collection).await? } else { None };
        Ok(Report { points: stats.points, recall, faults })
    }

    /// Recall at 10 over the first points, each asked about among those of its own tenant.
    async fn recall(&self, collection: &Collection) -> Result<Option<f64>, EmbeddingError> {
        let name = &collection.name;
        let (mut found, mut wanted) = (0, 0);
        for tenant in self.tenants(name, None, SAMPLE_POINTS).await? {
            let filter = super::keys::of_tenant(&tenant);
            let points = self.points(collection, filter, None, SAMPLE_POINTS - wanted / SAMPLE_K).await?.0;
            for point in points {
                let exact = self.neighbours(&tenant, name, &point, true).await?;
                let near = self.neighbours(&tenant, name, &point, false).await?;
                found += near.intersection(&exact).count();
                wanted += exact.len();
            }
            if wanted >= SAMPLE_POINTS * SAMPLE_K {
                break;
            }
        }
        Ok((wanted > 0).then(|| found as f64 / wanted as f64))
    }

    async fn neighbours(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        point: &Point,
        exact: bool,
    ) -> Result<HashSet<PointId>, EmbeddingError> {
        let query =
            Query { vector: point.vector.clone(), k: SAMPLE_K, filter: crate::Filter::default(), exact };
        Ok(self.nearest(tenant, name, query).await?.into_iter().map(|hit| hit.id).collect())
    }

    /// Qdrant builds its index itself; this tells it to look now, and waits until it is content.
    pub(super) async fn optimised(
        &self,
        name: &CollectionName,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EmbeddingError> {
        let request = UpdateCollection {
            collection_name: remote_name(name),
            optimizers_config: Some(OptimizersConfigDiff::default()),
            ..UpdateCollection::default()
        };
        self.ask(name, request, |client, request| async move { client.update_collection(request).await })
            .await?;
        loop {
            let stats = self.stats(name).await?;
            let done = if stats.state == State::Ready { stats.points } else { stats.indexed };
            progress(Progress { done, total: stats.points });
            if stats.state == State::Ready {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
