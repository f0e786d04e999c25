//! What is near: collections of vectors, kept durably, isolated by tenant and searched by similarity.
//!
//! Everything speaks to the [`VectorStore`] trait and does not learn which implementation answers. Vectors come from
//! elsewhere (models in inference, fingerprints from `clinical`); this crate only keeps and finds them.
//!
//! The tenant is part of every key, not of a caller's filter: there is no call that a forgotten condition could turn
//! into a look at someone else's vectors.

mod collection;
mod copy;
mod cursor;
mod embedded;
mod error;
mod filter;
pub mod kernel;
mod limits;
pub mod matching;
mod monitor;
mod names;
pub mod peers;
mod point;
mod qdrant;
pub mod trigram;
mod vector_store;

pub use collection::{Collection, Field, FieldKind, Metric, Storage};
pub use copy::{Copied, copy_all};
pub use cursor::Cursor;
pub use embedded::EmbeddedStore;
pub use error::EmbeddingError;
pub use filter::{Condition, Filter};
pub use limits::Limits;
pub use names::{CollectionName, PointId, Tenant};
pub use point::{Hit, Page, Payload, Point, Query, Value};
pub use qdrant::{QdrantOptions, QdrantStore};
pub use vector_store::{Progress, Report, State, Stats, VectorStore};
