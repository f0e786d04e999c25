//! What changes something: collections made and dropped, points written and deleted.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use qdrant_client::qdrant::{CollectionInfo, DeletePoints, Filter as Remote, PointsSelector, UpsertPoints};

use super::QdrantStore;
use super::keys::{is_ours, remote_name};
use super::points::sent;
use super::schema::{creation, described, foreign, indexes};
use crate::{Collection, CollectionName, EmbeddingError, Point, PointId, Tenant};

impl QdrantStore {
    pub(super) async fn create_collection(&self, collection: Collection) -> Result<(), EmbeddingError> {
        collection.check(&self.limits)?;
        match self.described(&collection.name).await {
            Err(EmbeddingError::UnknownCollection { .. }) => {}
            existing => {
                collection.same_as(&*existing?)?;
                return self.index(&collection).await;
            }
        }
        let max = self.limits.collections_max;
        self.limits.most("collections", self.remote_names().await?.len() + 1, max)?;
        let made = self
            .ask(&collection.name, creation(&collection), |client, request| async move {
                client.create_collection(request).await
            })
            .await;
        // Another replica may have been faster; then its collection decides.
        let existing = self.described(&collection.name).await;
        match (made, existing) {
            (_, Ok(existing)) => collection.same_as(&existing)?,
            (Err(error), Err(_)) | (Ok(_), Err(error)) => return Err(error),
        }
        self.index(&collection).await
    }

    /// Indexes the fields; asked again for one that is indexed, Qdrant does nothing.
    async fn index(&self, collection: &Collection) -> Result<(), EmbeddingError> {
        for request in indexes(collection) {
            self.ask(&collection.name, request, |client, request| async move {
                client.create_field_index(request).await
            })
            .await?;
        }
        Ok(())
    }

    /// What the server tells of a collection.
    pub(super) async fn info(&self, name: &CollectionName) -> Result<CollectionInfo, EmbeddingError> {
        let info =
            self.ask(name, remote_name(name), |client, remote| async move {
                client.collection_info(remote).await
            })
            .await?;
        info.result.ok_or_else(|| foreign(name))
    }

    /// The collection as the server describes it now.
    pub(super) async fn described(&self, name: &CollectionName) -> Result<Arc<Collection>, EmbeddingError> {
        let collection = described(&self.info(name).await?).filter(|collection| collection.name == *name);
        let collection = Arc::new(collection.ok_or_else(|| foreign(name))?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.clone(), Arc::clone(&collection));
        Ok(collection)
    }

    /// Our collections, by name.
    pub(super) async fn all_described(&self) -> Result<Vec<Collection>, EmbeddingError> {
        let mut collections = Vec::new();
        for remote in self.remote_names().await? {
            let asked = self.caller()?.call(&remote, remote.clone(), |client, remote| async move {
                client.collection_info(remote).await
            });
            match asked.await {
                Ok(info) => collections.extend(info.result.as_ref().and_then(described)),
                // Dropped since it was listed.
                Err(EmbeddingError::UnknownCollection { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        collections.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(collections)
    }

    async fn remote_names(&self) -> Result<Vec<String>, EmbeddingError> {
        let listed = self.caller()?.call("", (), |client, ()| async move { client.list_collections().await });
        let names = listed.await?.collections.into_iter().map(|collection| collection.name);
        Ok(names.filter(|name| is_ours(name)).collect())
    }

    pub(super) async fn delete_collection(&self, name: &CollectionName) -> Result<bool, EmbeddingError> {
        let existed = match self.info(name).await {
            Err(EmbeddingError::UnknownCollection { .. }) => return Ok(false),
            existing => existing.is_ok(),
        };
        let dropped = self.ask(name, remote_name(name), |client, remote| async move {
            client.delete_collection(remote).await
        });
        dropped.await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(existed)
    }

    /// Writes points in one request, which Qdrant takes whole or not at all.
    pub(super) async fn write(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        points: Vec<Point>,
    ) -> Result<(), EmbeddingError> {
        let collection = self.known(name).await?;
        collection.check_points(&points, &self.limits)?;
        // Of two points with one id the last counts, and Qdrant promises no order within a request.
        let last: HashMap<PointId, Point> =
            points.into_iter().map(|point| (point.id.clone(), point)).collect();
        let points = last.into_values().map(|point| sent(tenant, &collection, point));
        let points = points.collect::<Result<Vec<_>, _>>()?;
        if points.is_empty() {
            return Ok(());
        }
        let request = UpsertPoints {
            collection_name: remote_name(name),
            wait: Some(true),
            points,
            ..UpsertPoints::default()
        };
        self.ask(name, request, |client, request| async move { client.upsert_points(request).await }).await?;
        Ok(())
    }

    /// Deletes what the filter matches, which always names a tenant; how many there were.
    pub(super) async fn erase(&self, name: &CollectionName, filter: Remote) -> Result<u64, EmbeddingError> {
        let count = self.counted(name, filter.clone()).await?;
        let request = DeletePoints {
            collection_name: remote_name(name),
            wait: Some(true),
            points: Some(PointsSelector::from(filter)),
            ..DeletePoints::default()
        };
        self.ask(name, request, |client, request| async move { client.delete_points(request).await }).await?;
        Ok(count)
    }
}
