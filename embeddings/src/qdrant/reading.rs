//! What only looks: points by name, by nearness, by page, and how many there are.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    CountPoints, Filter as Remote, PointId as RemoteId, Query as RemoteQuery, QueryPoints, ScrollPoints,
    SearchParams, VectorInput,
};

use super::QdrantStore;
use super::call::misunderstood;
use super::keys::{of_filter, of_points, remote_name};
use super::points::{hit, position, received};
use crate::{
    Collection, CollectionName, Cursor, EmbeddingError, Filter, Hit, Page, Point, PointId, Query, Tenant,
};

impl QdrantStore {
    /// The points with these ids in the order asked.
    pub(super) async fn named(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        ids: &[PointId],
    ) -> Result<Vec<Point>, EmbeddingError> {
        let collection = self.known(name).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (points, _) = self.points(&collection, of_points(tenant, ids), None, ids.len()).await?;
        let points: HashMap<&PointId, &Point> = points.iter().map(|point| (&point.id, point)).collect();
        Ok(ids.iter().filter_map(|id| points.get(id).copied().cloned()).collect())
    }

    pub(super) async fn nearest(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        query: Query,
    ) -> Result<Vec<Hit>, EmbeddingError> {
        let collection = self.known(name).await?;
        query.check(&collection, &self.limits)?;
        let filter = of_filter(tenant, &collection, &query.filter)?;
        let params = SearchParams { exact: Some(query.exact), ..SearchParams::default() };
        let request = QueryPoints {
            collection_name: remote_name(name),
            query: Some(RemoteQuery::from(VectorInput::from(query.vector))),
            filter: Some(filter),
            params: Some(params),
            limit: Some(query.k as u64),
            with_payload: Some(true.into()),
            ..QueryPoints::default()
        };
        let found = self.ask(name, request, |client, request| async move { client.query(request).await });
        found.await?.result.into_iter().map(|point| hit(&collection, point)).collect()
    }

    /// How many points match a filter, which names a tenant unless an operator asks.
    pub(super) async fn counted(&self, name: &CollectionName, filter: Remote) -> Result<u64, EmbeddingError> {
        let request = CountPoints {
            collection_name: remote_name(name),
            filter: Some(filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        let counted = self.ask(name, request, |client, request| async move { client.count(request).await });
        let result = counted.await?.result;
        result.map(|result| result.count).ok_or_else(|| misunderstood("a count came without a number"))
    }

    pub(super) async fn page(
        &self,
        tenant: &Tenant,
        name: &CollectionName,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, EmbeddingError> {
        let max = self.limits.page_points_max;
        if !(1..=max).contains(&limit) {
            return Err(EmbeddingError::TooMany { what: "points in a page", got: limit, max });
        }
        let collection = self.known(name).await?;
        filter.check(&collection, &self.limits)?;
        let after = after.map(|cursor| start(cursor, tenant, name)).transpose()?;
        let filter = of_filter(tenant, &collection, filter)?;
        let (points, next) = self.points(&collection, filter, after, limit).await?;
        let next = next.and_then(position).map(|position| Cursor::new(tenant, name, &position));
        Ok(Page { points, next })
    }

    /// Points with their vectors, in the order of their identifiers, and where the next ones begin.
    pub(super) async fn points(
        &self,
        collection: &Collection,
        filter: Remote,
        offset: Option<RemoteId>,
        limit: usize,
    ) -> Result<(Vec<Point>, Option<RemoteId>), EmbeddingError> {
        let request = ScrollPoints {
            collection_name: remote_name(&collection.name),
            filter: Some(filter),
            offset,
            limit: u32::try_from(limit).ok(),
            with_payload: Some(true.into()),
            with_vectors: Some(true.into()),
            ..ScrollPoints::default()
        };
        let scrolled = self
            .ask(&collection.name, request, |client, request| async move { client.scroll(request).await });
        let scrolled = scrolled.await?;
        let points = scrolled.result.into_iter().map(|point| received(collection, point));
        Ok((points.collect::<Result<_, _>>()?, scrolled.next_page_offset))
    }
}

/// The identifier a cursor stands at.
fn start(cursor: &Cursor, tenant: &Tenant, name: &CollectionName) -> Result<RemoteId, EmbeddingError> {
    let uuid = cursor.position(tenant, name)?;
    let is_uuid = uuid.len() == 36 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_uuid {
        return Err(EmbeddingError::Cursor { reason: "it is not one of this store" });
    }
    Ok(RemoteId::from(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_store_tenant_or_collection_is_refused() {
        let tenant = |name: &str| Tenant::parse(name).expect("a name");
        let name = CollectionName::parse("c").expect("a name");
        let uuid = "12345678-1234-8234-9234-1234567890ab";
        let cursor = |position| Cursor::new(&tenant("a"), &name, position);
        assert_eq!(start(&cursor(uuid), &tenant("a"), &name).expect("own"), RemoteId::from(uuid));
        assert!(start(&cursor(uuid), &tenant("b"), &name).is_err());
        // The embedded store counts its rows.
        assert!(start(&cursor("17"), &tenant("a"), &name).is_err());
    }
}
