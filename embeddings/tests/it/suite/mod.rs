//! What every implementation of the trait must hold. Each case gets a store of its own, or a collection of its own
//! name in a shared one.

mod crud;
mod faults;
mod filters;
mod nearest;

use embeddings::{EmbeddedStore, QdrantOptions, QdrantStore, VectorStore};
use tempfile::TempDir;

use crate::{remote::Double, support};

/// Makes a test of each case for one implementation; `open` gives a store and what must outlive it, or nothing where
/// the implementation cannot run here.
macro_rules! suite {
    ($implementation:ident, $open:path) => {
        mod $implementation {
            suite!(@cases $open;
                crud::points_are_written_replaced_read_and_deleted,
                crud::creating_again_is_idempotent_and_a_difference_is_an_error,
                crud::a_dropped_collection_is_gone_and_its_name_free,
                crud::the_last_of_two_points_with_one_id_counts,
                crud::a_scroll_sees_every_point_once,
                crud::everything_is_copied_and_counted,
                crud::deleting_a_tenant_leaves_the_others,
                faults::bad_input_gets_a_clear_error,
                faults::bad_collections_are_refused,
                filters::filters_hold_for_search_count_and_scroll,
                filters::a_point_without_the_field_matches_no_condition,
                nearest::the_nearest_are_found_in_order_with_their_scores,
                nearest::an_insert_is_visible_at_once,
                nearest::the_index_agrees_with_comparing_all,
                nearest::every_storage_finds_what_was_stored,
            );
        }
    };
    (@cases $open:path; $($file:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some((store, _keep)) = $open().await {
                    super::$file::$case(&store).await;
                }
            }
        )*
    };
}

suite!(embedded, super::open_embedded);
suite!(qdrant, super::open_qdrant);
suite!(qdrant_double, super::open_double);

/// An embedded store in a folder of its own.
async fn open_embedded() -> Option<(EmbeddedStore, TempDir)> {
    let folder = tempfile::tempdir().expect("a folder");
    Some((support::open(folder.path(), support::small()).await, folder))
}

/// A Qdrant server, where one is named; its collections are shared by all cases.
#[allow(clippy::unused_async, reason = "each implementation is opened alike")]
async fn open_qdrant() -> Option<(QdrantStore, ())> {
    let Ok(url) = std::env::var("QDRANT_URL") else {
        #[allow(clippy::print_stdout, reason = "a test that was skipped must say so")]
        {
            println!("skipped: QDRANT_URL names no server");
        }
        return None;
    };
    let options = QdrantOptions { url, api_key: None };
    Some((QdrantStore::new(&options, support::small()).expect("a URL"), ()))
}

/// The same store on the stand-in, so that what it makes of answers is tested where no server is.
async fn open_double() -> Option<(QdrantStore, ())> {
    let options = QdrantOptions { url: Double::start().await.url, api_key: None };
    Some((QdrantStore::new(&options, support::small()).expect("a URL"), ()))
}

/// Creates a collection of the test's own.
async fn create(store: &dyn VectorStore, collection: embeddings::Collection) -> embeddings::CollectionName {
    let name = collection.name.clone();
    store.drop_collection(&name).await.expect("drops what an earlier run left");
    store.create(collection).await.expect("creates");
    name
}
