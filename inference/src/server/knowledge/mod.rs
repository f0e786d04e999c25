//! The Knowledge service: passages of public guidelines and the names of ingredients.
//!
//! Both are searched by meaning when there is a vector store and an encoder that knows the language, and by letters
//! otherwise; an answer always says which. Nothing is made up: a passage is a committed one with its source, and an
//! ingredient that is not clearly in the table is unknown.

mod ingredients;
mod library;
mod search;
mod shelf;

use std::sync::{Arc, OnceLock};

use embeddings::VectorStore;
use proto::manpasik::v1::{self as wire, knowledge_service_server::KnowledgeService as Service};
use tonic::{Request, Response, Status};

use super::ai::AiService;
use library::{Ingredients, Library};
use shelf::Shelf;

/// The service. Clones share everything.
#[derive(Clone)]
pub struct KnowledgeService(Arc<Inner>);

struct Inner {
    ai: AiService,
    library: Library,
    ingredients: Ingredients,
    prepared: OnceLock<Prepared>,
}

/// What can be searched by meaning.
struct Prepared {
    passages: Shelf,
    spellings: Shelf,
    /// Cosine above which a name of an ingredient is taken for another spelling.
    similarity_min: f32,
}

impl KnowledgeService {
    /// The service, which searches by letters until [`Self::prepare`] is done.
    #[must_use]
    pub fn new(ai: AiService) -> Self {
        let (library, ingredients) = (Library::read(), Ingredients::read());
        Self(Arc::new(Inner { ai, library, ingredients, prepared: OnceLock::new() }))
    }

    /// Puts passages and names into the vector store, once for each encoder; without an encoder it does nothing.
    /// The first time takes seconds.
    ///
    /// # Errors
    /// A failure of the encoder or of the store; the service goes on by letters.
    pub async fn prepare(&self, store: Arc<dyn VectorStore>) -> Result<(), Status> {
        let Inner { ai, library, ingredients, prepared } = &*self.0;
        let passages: Vec<&str> = library.passages.iter().map(|passage| passage.text).collect();
        let spellings: Vec<&str> =
            ingredients.names.spellings().iter().map(|spelling| spelling.text.as_str()).collect();
        let Some(passages) = Shelf::fill(&store, ai, "knowledge", &passages).await? else { return Ok(()) };
        let Some(spellings) = Shelf::fill(&store, ai, "ingredients", &spellings).await? else {
            return Ok(());
        };
        let similarity_min = ingredients.names.similarity_min(&spellings.vectors);
        tracing::info!(encoder = passages.version, similarity_min, "knowledge is searched by meaning");
        let _ = prepared.set(Prepared { passages, spellings, similarity_min });
        Ok(())
    }
}

#[tonic::async_trait]
impl Service for KnowledgeService {
    async fn search_knowledge(
        &self,
        request: Request<wire::SearchKnowledgeRequest>,
    ) -> Result<Response<wire::SearchKnowledgeResponse>, Status> {
        self.0.search(request.into_inner()).await.map(Response::new)
    }

    async fn match_ingredients(
        &self,
        request: Request<wire::MatchIngredientsRequest>,
    ) -> Result<Response<wire::MatchIngredientsResponse>, Status> {
        self.0.ingredients(request.into_inner()).await.map(Response::new)
    }
}
