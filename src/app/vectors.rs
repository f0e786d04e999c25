//! The vector store as configured.

use std::sync::Arc;

use anyhow::Context;
use embeddings::{EmbeddedStore, Limits, QdrantOptions, QdrantStore, VectorStore};
use inference::server::{knowledge::KnowledgeService, vectors::Vectors};
use proto::manpasik::v1::vector_service_server::VectorServiceServer;

use super::MESSAGE_BYTES_MAX;
use crate::config::{Config, VectorStoreKind};

/// Opens the store of this kind; rows are read in the background and calls wait for them.
pub(crate) async fn open(config: &Config, kind: VectorStoreKind) -> anyhow::Result<Arc<dyn VectorStore>> {
    match kind {
        VectorStoreKind::Embedded => {
            let folder = config.data_dir.join("vectors");
            let database = store::Url::file(&folder.join("vectors.sqlite"));
            let opened = EmbeddedStore::open(&database, &folder, Limits::default()).await;
            let place = || format!("cannot open the vector store in `{}`", folder.display());
            Ok(Arc::new(opened.with_context(place)?))
        }
        VectorStoreKind::Qdrant => Ok(Arc::new(qdrant(config)?)),
    }
}

fn qdrant(config: &Config) -> anyhow::Result<QdrantStore> {
    if config.vectors.qdrant_url.is_empty() {
        anyhow::bail!("vectors.qdrant_url is empty: give the gRPC address, such as http://127.0.0.1:6334");
    }
    let api_key = config.vectors.qdrant_api_key.reveal();
    let options = QdrantOptions {
        url: config.vectors.qdrant_url.clone(),
        api_key: (!api_key.is_empty()).then(|| api_key.to_owned()),
    };
    QdrantStore::new(&options, Limits::default()).context("cannot use vectors.qdrant_url")
}

/// The store as other services and clients reach it.
pub(super) fn service(store: &Arc<dyn VectorStore>) -> VectorServiceServer<Vectors> {
    VectorServiceServer::new(Vectors::new(Arc::clone(store)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Puts the shipped knowledge into the store, beside whatever is being served already.
pub(super) async fn prepare(knowledge: KnowledgeService, store: Arc<dyn VectorStore>) {
    if let Err(error) = knowledge.prepare(store).await {
        tracing::warn!(reason = error.message(), "knowledge is searched by letters");
    }
}
