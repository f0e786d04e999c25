//! Copies everything of one store into another, and counts afterwards.

use crate::{Collection, CollectionName, EmbeddingError, Filter, Progress, Tenant, VectorStore};

/// Points that travel at once: few enough to hold in memory at the largest dimension.
const COPY_POINTS: usize = 256;
/// Names of tenants read at once.
const COPY_TENANTS: usize = 1_000;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Collections.
    pub collections: u64,
    /// Tenants with points, counted once for each collection.
    pub tenants: u64,
    /// Points.
    pub points: u64,
}

/// Copies all collections with the points of all tenants; `progress` is called after each page. A collection that
/// exists in the target as described is added to. Nothing may write meanwhile, or the counts differ.
///
/// # Errors
/// What the stores answer, or `Corrupt` when the target holds fewer points of a tenant than the source.
pub async fn copy_all(
    from: &dyn VectorStore,
    to: &dyn VectorStore,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Copied, EmbeddingError> {
    let collections = from.collections().await?;
    let mut copy = Copy { from, to, progress, total: 0, done: Copied::default() };
    for collection in &collections {
        copy.total += from.stats(&collection.name).await?.points;
    }
    for collection in collections {
        copy.collection(collection).await?;
    }
    Ok(copy.done)
}

struct Copy<'c> {
    from: &'c dyn VectorStore,
    to: &'c dyn VectorStore,
    progress: &'c (dyn Fn(Progress) + Send + Sync),
    total: u64,
    done: Copied,
}

impl Copy<'_> {
    async fn collection(&mut self, collection: Collection) -> Result<(), EmbeddingError> {
        let name = collection.name.clone();
        self.to.create(collection).await?;
        let mut last: Option<Tenant> = None;
        loop {
            let tenants = self.from.operator_tenants(&name, last.as_ref(), COPY_TENANTS).await?;
            let Some(end) = tenants.last().cloned() else { break };
            for tenant in &tenants {
                self.tenant(tenant, &name).await?;
            }
            last = Some(end);
        }
        self.done.collections += 1;
        Ok(())
    }

    async fn tenant(&mut self, tenant: &Tenant, name: &CollectionName) -> Result<(), EmbeddingError> {
        let mut cursor = None;
        loop {
            let page = self.from.scroll(tenant, name, Filter::default(), cursor, COPY_POINTS).await?;
            self.done.points += page.points.len() as u64;
            if !page.points.is_empty() {
                self.to.upsert(tenant, name, page.points).await?;
            }
            (self.progress)(Progress { done: self.done.points, total: self.total });
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        self.done.tenants += 1;
        self.verify(tenant, name).await
    }

    async fn verify(&self, tenant: &Tenant, name: &CollectionName) -> Result<(), EmbeddingError> {
        let wanted = self.from.count(tenant, name, Filter::default()).await?;
        let found = self.to.count(tenant, name, Filter::default()).await?;
        if found >= wanted {
            return Ok(());
        }
        let what = format!("the copy of collection '{name}'");
        Err(EmbeddingError::Corrupt {
            what,
            reason: format!("a tenant has {found} of {wanted} points there"),
        })
    }
}
