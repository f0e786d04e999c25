//! The face of the embedded store: each call checks what it was given, then asks a shelf or the writer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::generation::Generation;
use super::loader::off;
use super::row::Row;
use super::shelf::Shelf;
use super::writer::{Ready, Work, Write};
use super::{EmbeddedStore, Inner, Phase, verify};
use crate::{
    Collection, CollectionName, Cursor, EmbeddingError, Filter, Hit, Page, Point, PointId, Progress, Query,
    Report, State, Stats, Tenant, VectorStore,
};

/// How often a rebuild tells how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

#[async_trait]
impl VectorStore for EmbeddedStore {
    async fn create(&self, collection: Collection) -> Result<(), EmbeddingError> {
        let inner = &self.inner;
        collection.check(&inner.limits)?;
        inner.ready().await?;
        let _arranging = inner.arranging.lock().await;
        if let Ok(shelf) = inner.shelf(&collection.name) {
            return collection.same_as(&shelf.collection);
        }
        inner.limits.most("collections", inner.all().len() + 1, inner.limits.collections_max)?;
        let id = inner.store.create(&collection).await?;
        inner.place(id, Generation::new(Arc::new(collection), &inner.limits)?)
    }

    async fn collections(&self) -> Result<Vec<Collection>, EmbeddingError> {
        self.inner.ready().await?;
        Ok(self.inner.all().iter().map(|shelf| (*shelf.collection).clone()).collect())
    }

    async fn collection(&self, name: &CollectionName) -> Result<Collection, EmbeddingError> {
        self.inner.ready().await?;
        Ok((*self.inner.shelf(name)?.collection).clone())
    }

    async fn drop_collection(&self, name: &CollectionName) -> Result<bool, EmbeddingError> {
        let inner = &self.inner;
        inner.ready().await?;
        let _arranging = inner.arranging.lock().await;
        let Some(shelf) = inner.take(name) else { return Ok(false) };
        shelf.stop();
        inner.store.drop_collection(shelf.id).await?;
        off(move || shelf.discard()).await?;
        Ok(true)
    }

    async fn upsert(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        points: Vec<Point>,
    ) -> Result<(), EmbeddingError> {
        self.inner.ready().await?;
        let (shelf, limits) = (self.inner.shelf(name)?, self.inner.limits);
        let of = Arc::clone(&shelf.collection);
        let ready = off(move || {
            of.check_points(&points, &limits)?;
            Ok::<_, EmbeddingError>(points.into_iter().map(|point| ready(point, &of)).collect())
        });
        let work = Work::Put(ready.await??);
        self.inner.write(Write { shelf, tenant: tenant.clone(), work }).await?;
        Ok(())
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<u64, EmbeddingError> {
        self.inner.ready().await?;
        self.inner.limits.most("ids in a call", ids.len(), self.inner.limits.batch_points_max)?;
        let (shelf, work) = (self.inner.shelf(name)?, Work::Remove(ids.to_vec()));
        self.inner.write(Write { shelf, tenant: tenant.clone(), work }).await
    }

    async fn delete_tenant(&self, tenant: &Tenant) -> Result<u64, EmbeddingError> {
        self.inner.ready().await?;
        let mut deleted = 0;
        for shelf in self.inner.all() {
            deleted += self.inner.delete_all(tenant, shelf).await?;
        }
        Ok(deleted)
    }

    async fn get(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<Vec<Point>, EmbeddingError> {
        self.inner.limits.most("ids in a call", ids.len(), self.inner.limits.batch_points_max)?;
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.inner.run(name, move |shelf, _| Ok(points(shelf, &tenant, &ids))).await
    }

    async fn search(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        query: Query,
    ) -> Result<Vec<Hit>, EmbeddingError> {
        let (started, limits, tenant) = (Instant::now(), self.inner.limits, tenant.clone());
        let search = move |shelf: &Shelf, until| {
            query.check(&shelf.collection, &limits)?;
            let hits = shelf.search(&tenant, query, until)?;
            shelf.monitor.searched(started.elapsed());
            Ok(hits)
        };
        self.inner.run(name, search).await
    }

    async fn count(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
    ) -> Result<u64, EmbeddingError> {
        let (limits, tenant) = (self.inner.limits, tenant.clone());
        let count = move |shelf: &Shelf, _| {
            filter.check(&shelf.collection, &limits)?;
            let generation = shelf.current();
            let table = generation.table();
            let Some(owner) = table.owner(&tenant) else { return Ok(0) };
            Ok(table.select(owner, &table.tests(&filter), 0).count() as u64)
        };
        self.inner.run(name, count).await
    }

    async fn scroll(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, EmbeddingError> {
        let limits = self.inner.limits;
        if limit == 0 {
            return Err(EmbeddingError::TooMany {
                what: "points in a page",
                got: 0,
                max: limits.page_points_max,
            });
        }
        limits.most("points in a page", limit, limits.page_points_max)?;
        let after = after.map(|cursor| position(&cursor, tenant, name)).transpose()?;
        let tenant = tenant.clone();
        let scroll = move |shelf: &Shelf, _| {
            filter.check(&shelf.collection, &limits)?;
            Ok(page(shelf, &tenant, &filter, after.unwrap_or(0), limit))
        };
        self.inner.run(name, scroll).await
    }

    async fn stats(&self, name: &CollectionName) -> Result<Stats, EmbeddingError> {
        if let Some(Progress { done, .. }) = self.loading() {
            return Ok(Stats { points: done, indexed: 0, tail: done, bytes: 0, state: State::Loading });
        }
        self.inner.run(name, |shelf, _| Ok(shelf.stats())).await
    }

    async fn operator_tenants(
        &self,
        name: &CollectionName,
        after: Option<&Tenant>,
        limit: usize,
    ) -> Result<Vec<Tenant>, EmbeddingError> {
        self.inner.limits.most("tenants in a page", limit, self.inner.limits.page_points_max)?;
        let after = after.cloned();
        let tenants = move |shelf: &Shelf, _| Ok(shelf.current().table().tenants(after.as_ref(), limit));
        self.inner.run(name, tenants).await
    }

    async fn verify(&self, name: &CollectionName) -> Result<Report, EmbeddingError> {
        self.inner.ready().await?;
        verify::verify(&self.inner.store, self.inner.shelf(name)?).await
    }

    async fn rebuild(
        &self,
        name: &CollectionName,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EmbeddingError> {
        self.inner.ready().await?;
        let shelf = self.inner.shelf(name)?;
        let building = Arc::clone(&shelf);
        let mut building = std::pin::pin!(off(move || building.rebuild()));
        loop {
            match tokio::time::timeout(PROGRESS_EVERY, &mut building).await {
                Ok(done) => {
                    progress(shelf.progress());
                    return done?;
                }
                Err(_) => progress(shelf.progress()),
            }
        }
    }

    async fn close(&self) -> Result<(), EmbeddingError> {
        if *self.inner.phase.borrow() == Phase::Closed {
            return Ok(());
        }
        self.inner.close().await
    }
}

impl Inner {
    fn take(&self, name: &CollectionName) -> Option<Arc<Shelf>> {
        self.shelves.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name)
    }

    async fn write(&self, write: Write) -> Result<u64, EmbeddingError> {
        let deadline_ms = self.limits.call_ms_max;
        let writer = self.writer()?;
        match tokio::time::timeout(Duration::from_millis(deadline_ms), writer.write(write)).await {
            Ok(written) => written,
            Err(_) => Err(EmbeddingError::Deadline { deadline_ms }),
        }
    }

    /// In as many transactions as the limit on a batch asks for, so that others can write in between.
    async fn delete_all(&self, tenant: &Tenant, shelf: Arc<Shelf>) -> Result<u64, EmbeddingError> {
        let of = (Arc::clone(&shelf), tenant.clone());
        let ids = off(move || of.0.current().table().names(&of.1)).await?;
        let mut deleted = 0;
        for ids in ids.chunks(self.limits.batch_points_max) {
            let work = Work::Remove(ids.to_vec());
            deleted += self.write(Write { shelf: Arc::clone(&shelf), tenant: tenant.clone(), work }).await?;
        }
        Ok(deleted)
    }
}

fn ready(point: Point, of: &Collection) -> Ready {
    let Point { id, vector, payload } = point;
    Ready { id, row: Row::new(&vector, of), payload }
}

fn points(shelf: &Shelf, tenant: &Tenant, ids: &[PointId]) -> Vec<Point> {
    let generation = shelf.current();
    let table = generation.table();
    let slots = ids.iter().filter_map(|id| table.slot(tenant, id.as_str()));
    slots.filter_map(|slot| table.entry(slot)).map(point).collect()
}

fn point(entry: super::table::Entry) -> Point {
    Point { id: entry.id, vector: entry.row.vector(), payload: entry.payload }
}

/// A position is the sequence of the last point seen.
fn position(cursor: &Cursor, tenant: &Tenant, name: &CollectionName) -> Result<u64, EmbeddingError> {
    let position = cursor.position(tenant, name)?;
    position.parse().map_err(|_| EmbeddingError::Cursor { reason: "it was made by another store" })
}

fn page(shelf: &Shelf, tenant: &Tenant, filter: &Filter, after: u64, limit: usize) -> Page {
    let generation = shelf.current();
    let table = generation.table();
    let Some(owner) = table.owner(tenant) else { return Page { points: Vec::new(), next: None } };
    let tests = table.tests(filter);
    let mut slots: Vec<u32> = table.select(owner, &tests, table.slot_after(after)).take(limit + 1).collect();
    let more = slots.len() > limit;
    slots.truncate(limit);
    let entries: Vec<_> = slots.into_iter().filter_map(|slot| table.entry(slot)).collect();
    let last = entries.last().filter(|_| more);
    let next = last.map(|last| Cursor::new(tenant, &shelf.collection.name, &last.sequence.to_string()));
    Page { points: entries.into_iter().map(point).collect(), next }
}
