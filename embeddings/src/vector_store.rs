//! The trait that everyone speaks to, and what it tells of itself.

use async_trait::async_trait;

use crate::{
    Collection, CollectionName, Cursor, EmbeddingError, Filter, Hit, Page, Point, PointId, Query, Tenant,
};

/// Whether a collection answers from its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its rows are being read; calls wait.
    Loading,
    /// Its index is being built or tuned; what is not in it yet is searched exactly.
    Indexing,
    /// Everything is in the index, or too few points make one worthwhile.
    Ready,
}

/// Numbers of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Points of all tenants.
    pub points: u64,
    /// Points the index holds.
    pub indexed: u64,
    /// Points that wait for the index and are searched exactly.
    pub tail: u64,
    /// Memory of vectors, payloads and index, as far as it is known.
    pub bytes: u64,
    /// What it is doing.
    pub state: State,
}

/// What a check of a collection found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Points that were checked.
    pub points: u64,
    /// Recall at 10 of the index against exact search over a sample; `None` when there is no index.
    pub recall: Option<f64>,
    /// What does not fit together; empty when all is well.
    pub faults: Vec<String>,
}

/// How far a long work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Points done.
    pub done: u64,
    /// Points in all.
    pub total: u64,
}

/// Collections of vectors, kept durably and searched by similarity.
///
/// A call that names a tenant sees that tenant's points and no others, whatever ids, filters or cursors it brings.
/// A write that was answered survives the end of the process and is seen by every later call.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Creates a collection; does nothing when it exists as described.
    ///
    /// # Errors
    /// `Description`, `CollectionDiffers`, `TooMany`, or a failure of the store.
    async fn create(&self, collection: Collection) -> Result<(), EmbeddingError>;

    /// All collections, by name.
    ///
    /// # Errors
    /// A failure of the store.
    async fn collections(&self) -> Result<Vec<Collection>, EmbeddingError>;

    /// One collection.
    ///
    /// # Errors
    /// `UnknownCollection`, or a failure of the store.
    async fn collection(&self, name: &CollectionName) -> Result<Collection, EmbeddingError>;

    /// Drops a collection with the points of all tenants; whether there was one.
    ///
    /// # Errors
    /// A failure of the store.
    async fn drop_collection(&self, name: &CollectionName) -> Result<bool, EmbeddingError>;

    /// Writes points, all or none; one with an id that exists replaces the old one, and of two with the same id in
    /// one call the last counts.
    ///
    /// # Errors
    /// The first fault of a point, `TooMany`, `UnknownCollection`, `Overloaded`, or a failure of the store.
    async fn upsert(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        points: Vec<Point>,
    ) -> Result<(), EmbeddingError>;

    /// Deletes points; how many there were.
    ///
    /// # Errors
    /// `TooMany`, `UnknownCollection`, `Overloaded`, or a failure of the store.
    async fn delete(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<u64, EmbeddingError>;

    /// Deletes every point of a tenant in every collection; how many there were.
    ///
    /// # Errors
    /// `Overloaded`, or a failure of the store.
    async fn delete_tenant(&self, tenant: &Tenant) -> Result<u64, EmbeddingError>;

    /// The points with these ids, in the order asked; those that do not exist are left out.
    ///
    /// # Errors
    /// `TooMany`, `UnknownCollection`, or a failure of the store.
    async fn get(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<Vec<Point>, EmbeddingError>;

    /// The nearest points that satisfy the filter, nearest first, at most `k`.
    ///
    /// # Errors
    /// The first fault of the query, `UnknownCollection`, `Overloaded`, `Deadline`, or a failure of the store.
    async fn search(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        query: Query,
    ) -> Result<Vec<Hit>, EmbeddingError>;

    /// How many points satisfy the filter.
    ///
    /// # Errors
    /// A fault of the filter, `UnknownCollection`, or a failure of the store.
    async fn count(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
    ) -> Result<u64, EmbeddingError>;

    /// A page of points that satisfy the filter, in an order of the store's own. A point that is there during the
    /// whole scroll is seen; one that is replaced meanwhile may be seen twice.
    ///
    /// # Errors
    /// `TooMany` (for a limit of zero too), `Cursor`, a fault of the filter, `UnknownCollection`, or a failure.
    async fn scroll(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, EmbeddingError>;

    /// Numbers of a collection.
    ///
    /// # Errors
    /// `UnknownCollection`, or a failure of the store.
    async fn stats(&self, name: &CollectionName) -> Result<Stats, EmbeddingError>;

    /// For operators: the tenants that have points in a collection, in ascending order, those after `after`.
    /// Never reachable from a tenant's call.
    ///
    /// # Errors
    /// `UnknownCollection`, `TooMany`, or a failure of the store.
    async fn operator_tenants(
        &self,
        name: &CollectionName,
        after: Option<&Tenant>,
        limit: usize,
    ) -> Result<Vec<Tenant>, EmbeddingError>;

    /// For operators: checks that rows and index fit together.
    ///
    /// # Errors
    /// `UnknownCollection`, or a failure of the store; what the check finds is in the report.
    async fn verify(&self, name: &CollectionName) -> Result<Report, EmbeddingError>;

    /// For operators: builds the index anew and returns when it is done; searches go on meanwhile.
    ///
    /// # Errors
    /// `UnknownCollection`, or a failure of the store.
    async fn rebuild(
        &self,
        name: &CollectionName,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EmbeddingError>;

    /// Finishes what waits and leaves the store; later calls are `Unavailable`.
    ///
    /// # Errors
    /// A failure of the store.
    async fn close(&self) -> Result<(), EmbeddingError>;
}
