//! The vector store on a Qdrant server: for installations of several replicas, or more vectors than
//! one process should hold.
//!
//! Qdrant keeps, indexes and replicates; this module translates, and adds what the trait promises
//! beyond it: the tenant in every key and condition, the checks of what comes in, and an end to
//! every wait. Nothing of Qdrant's types leaves it.
//!
//! Differences from the embedded store that a caller can notice: a write is acknowledged when Qdrant
//! has it in its log, numbers of a cosine collection may come back with other last bits, and bounds
//! of a range beyond 2⁵³ are rounded.

mod breaker;
mod call;
mod keys;
mod operator;
mod points;
mod reading;
mod schema;
mod writing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::{Qdrant, QdrantError};

use crate::{
    Collection, CollectionName, Cursor, EmbeddingError, Filter, Hit, Limits, Page, Point, PointId, Progress,
    Query, Report, Stats, Tenant, VectorStore,
};
use call::Caller;

/// Where the server is and who we are to it.
#[derive(Clone)]
pub struct QdrantOptions {
    /// The server's gRPC address, such as `http://127.0.0.1:6334`.
    pub url: String,
    /// The key it asks for, if any.
    pub api_key: Option<String>,
}

/// A [`VectorStore`] on a Qdrant server.
pub struct QdrantStore {
    caller: Caller,
    limits: Limits,
    closed: AtomicBool,
    /// Descriptions seen so far; one that another replica dropped is forgotten when a call fails.
    known: RwLock<HashMap<CollectionName, Arc<Collection>>>,
}

impl QdrantStore {
    /// A store on the server at `options`; it need not be up yet, see [`health`](Self::health).
    ///
    /// # Errors
    /// `Unavailable` when the URL is not one.
    pub fn new(options: &QdrantOptions, limits: Limits) -> Result<Self, EmbeddingError> {
        let unusable = |_: QdrantError| EmbeddingError::Unavailable {
            reason: "qdrant.url is not a URL, expected one like http://127.0.0.1:6334".into(),
        };
        let timeout = Duration::from_millis(limits.call_ms_max);
        let mut client = Qdrant::from_url(&options.url)
            .timeout(timeout)
            .connect_timeout(timeout / 4)
            .keep_alive_while_idle()
            // The check would print to standard output, and block.
            .skip_compatibility_check();
        client.api_key = options.api_key.clone();
        let caller = Caller::new(client.build().map_err(unusable)?, limits);
        Ok(Self { caller, limits, closed: AtomicBool::new(false), known: RwLock::default() })
    }

    /// Asks the server for its version.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline` when it does not answer.
    pub async fn health(&self) -> Result<String, EmbeddingError> {
        let reply =
            self.caller()?.call("", (), |client, ()| async move { client.health_check().await }).await?;
        Ok(reply.version)
    }

    /// The way to the server, unless the store was closed.
    fn caller(&self) -> Result<&Caller, EmbeddingError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(EmbeddingError::Unavailable { reason: "it was closed".into() });
        }
        Ok(&self.caller)
    }

    /// Makes a call about a collection, and forgets its description when the server has none.
    async fn ask<R: Clone, T, F>(
        &self,
        name: &CollectionName,
        request: R,
        send: impl Fn(Qdrant, R) -> F,
    ) -> Result<T, EmbeddingError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let answer = self.caller()?.call(name.as_str(), request, send).await;
        if matches!(answer, Err(EmbeddingError::UnknownCollection { .. })) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        answer
    }

    /// The collection, from memory where possible.
    async fn known(&self, name: &CollectionName) -> Result<Arc<Collection>, EmbeddingError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match known {
            Some(collection) => Ok(collection),
            None => self.described(name).await,
        }
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn create(&self, collection: Collection) -> Result<(), EmbeddingError> {
        self.create_collection(collection).await
    }

    async fn collections(&self) -> Result<Vec<Collection>, EmbeddingError> {
        self.all_described().await
    }

    async fn collection(&self, name: &CollectionName) -> Result<Collection, EmbeddingError> {
        self.described(name).await.map(|collection| Collection::clone(&collection))
    }

    async fn drop_collection(&self, name: &CollectionName) -> Result<bool, EmbeddingError> {
        self.delete_collection(name).await
    }

    async fn upsert(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        points: Vec<Point>,
    ) -> Result<(), EmbeddingError> {
        self.write(tenant, name, points).await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<u64, EmbeddingError> {
        self.limits.most("ids in a call", ids.len(), self.limits.batch_points_max)?;
        self.known(name).await?;
        self.erase(name, keys::of_points(tenant, ids)).await
    }

    async fn delete_tenant(&self, tenant: &Tenant) -> Result<u64, EmbeddingError> {
        let mut deleted = 0;
        for collection in self.all_described().await? {
            deleted += self.erase(&collection.name, keys::of_tenant(tenant)).await?;
        }
        Ok(deleted)
    }

    async fn get(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<Vec<Point>, EmbeddingError> {
        self.limits.most("ids in a call", ids.len(), self.limits.batch_points_max)?;
        self.named(tenant, name, ids).await
    }

    async fn search(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        query: Query,
    ) -> Result<Vec<Hit>, EmbeddingError> {
        self.nearest(tenant, name, query).await
    }

    async fn count(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
    ) -> Result<u64, EmbeddingError> {
        let collection = self.known(name).await?;
        filter.check(&collection, &self.limits)?;
        self.counted(name, keys::of_filter(tenant, &collection, &filter)?).await
    }

    async fn scroll(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, EmbeddingError> {
        self.page(tenant, name, &filter, after.as_ref(), limit).await
    }

    async fn stats(&self, name: &CollectionName) -> Result<Stats, EmbeddingError> {
        self.numbers(name).await
    }

    async fn operator_tenants(
        &self,
        name: &CollectionName,
        after: Option<&Tenant>,
        limit: usize,
    ) -> Result<Vec<Tenant>, EmbeddingError> {
        self.tenants(name, after, limit).await
    }

    async fn verify(&self, name: &CollectionName) -> Result<Report, EmbeddingError> {
        self.checked(name).await
    }

    async fn rebuild(
        &self,
        name: &CollectionName,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EmbeddingError> {
        self.optimised(name, progress).await
    }

    async fn close(&self) -> Result<(), EmbeddingError> {
        // Every acknowledged write is at the server already.
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
