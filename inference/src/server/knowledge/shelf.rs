//! A set of texts in the vector store: written once for each encoder and each edition of the texts, searched by
//! meaning afterwards.

use std::sync::Arc;

use embeddings::{
    Collection, CollectionName, EmbeddingError, Filter, Metric, Payload, Point, PointId, Query, Storage,
    Tenant, VectorStore,
};
use tonic::Status;

use crate::server::{ai::AiService, stored::failed};

/// Whose the shared texts are.
const SHARED: &str = "shared";

/// Texts that are ready to be searched by meaning.
pub(super) struct Shelf {
    store: Arc<dyn VectorStore>,
    tenant: Tenant,
    name: CollectionName,
    /// Version of the encoder; another one's vectors do not compare.
    pub(super) version: String,
    /// Vectors of the texts, in order.
    pub(super) vectors: Vec<Vec<f32>>,
}

impl Shelf {
    /// Puts `texts` into collection `name` unless they are there; `None` without an encoder.
    pub(super) async fn fill(
        store: &Arc<dyn VectorStore>,
        ai: &AiService,
        name: &str,
        texts: &[&str],
    ) -> Result<Option<Self>, Status> {
        let Some(first) = ai.embed(&texts[..1]).await? else { return Ok(None) };
        let mut shelf = Self {
            store: Arc::clone(store),
            tenant: Tenant::parse(SHARED).map_err(|error| failed(&error))?,
            name: CollectionName::parse(name).map_err(|error| failed(&error))?,
            version: first.model.version,
            vectors: Vec::new(),
        };
        let dimension = first.vectors.first().map_or(0, Vec::len);
        let known = shelf.known(dimension, texts).await.map_err(|error| failed(&error))?;
        shelf.vectors = match known {
            Some(vectors) => vectors,
            None => shelf.write(ai, texts).await?,
        };
        Ok(Some(shelf))
    }

    /// The vectors that an earlier start has left. A collection of another encoder or edition is emptied: what was
    /// in it can be made again.
    async fn known(&self, dimension: usize, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>, EmbeddingError> {
        let collection = Collection {
            name: self.name.clone(),
            dimension,
            metric: Metric::Cosine,
            layout: format!("text/{}/{:016x}", self.version, edition(texts)),
            storage: Storage::F32,
            fields: Vec::new(),
        };
        match self.store.create(collection.clone()).await {
            Err(EmbeddingError::CollectionDiffers { .. }) => {
                self.store.drop_collection(&self.name).await?;
                self.store.create(collection).await?;
                return Ok(None);
            }
            created => created?,
        }
        let ids = (0..texts.len()).map(id).collect::<Result<Vec<_>, _>>()?;
        let points = self.store.get(&self.tenant, &self.name, &ids).await?;
        let whole = points.len() == texts.len();
        Ok(whole.then(|| points.into_iter().map(|point| point.vector).collect()))
    }

    async fn write(&self, ai: &AiService, texts: &[&str]) -> Result<Vec<Vec<f32>>, Status> {
        let embedded = ai.embed(texts).await?;
        let vectors = embedded.ok_or_else(|| Status::unavailable("the encoder has gone"))?.vectors;
        let point = |(index, vector): (usize, &Vec<f32>)| {
            Ok(Point { id: id(index)?, vector: vector.clone(), payload: Payload::new() })
        };
        let points = vectors.iter().enumerate().map(point).collect::<Result<Vec<_>, EmbeddingError>>();
        let points = points.map_err(|error| failed(&error))?;
        self.store.upsert(&self.tenant, &self.name, points).await.map_err(|error| failed(&error))?;
        Ok(vectors)
    }

    /// Places and cosines of the `k` nearest texts, nearest first.
    pub(super) async fn nearest(&self, vector: Vec<f32>, k: usize) -> Result<Vec<(usize, f32)>, Status> {
        let query = Query { vector, k, filter: Filter::default(), exact: false };
        let hits =
            self.store.search(&self.tenant, &self.name, query).await.map_err(|error| failed(&error))?;
        let place = |id: &PointId| id.as_str().parse::<usize>().ok();
        Ok(hits.iter().filter_map(|hit| Some((place(&hit.id)?, hit.score))).collect())
    }
}

fn id(index: usize) -> Result<PointId, EmbeddingError> {
    PointId::parse(index.to_string())
}

/// A number that changes with the texts (FNV-1a); it guards against editions, not against malice.
fn edition(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_changes_with_words_order_and_cuts() {
        let editions = [&["a", "b"][..], &["b", "a"], &["ab"], &["a", "b", ""], &[]].map(edition);
        for (index, one) in editions.iter().enumerate() {
            assert!(!editions[..index].contains(one), "{index}");
        }
    }
}
