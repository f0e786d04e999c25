//! Texts as vectors, for the services that search by meaning.

use models::bundle::Family;
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{
    AiService,
    analyze::mismatched,
    family::{Reader, refused},
};

/// Texts that run as one request: a few dozen tokens each, so that none waits long behind it.
const TOGETHER: usize = 16;

/// Texts as vectors of length 1, in order.
pub(in crate::server) struct Embedded {
    pub(in crate::server) vectors: Vec<Vec<f32>>,
    /// Whether the end of a text was not read.
    pub(in crate::server) truncated: bool,
    pub(in crate::server) model: wire::ModelReference,
}

impl AiService {
    /// The vectors of `texts` by the encoder that serves; `None` when there is none.
    pub(in crate::server) async fn embed(&self, texts: &[&str]) -> Result<Option<Embedded>, Status> {
        let models = self.0.asked(Family::Encoder);
        let Some(asked) = models.first() else { return Ok(None) };
        let Reader::Text(encoder) = &*asked.reader else { return Err(mismatched(asked)) };
        let mut all = Embedded { vectors: Vec::new(), truncated: false, model: asked.reference.clone() };
        for texts in texts.chunks(TOGETHER) {
            let encoded = encoder.encode(texts).map_err(refused)?;
            let outputs = self.0.run(asked, &encoded.tensors).await?;
            all.vectors.extend(encoder.decode(&encoded, &outputs).map_err(refused)?);
            all.truncated |= (0..texts.len()).any(|index| encoded.texts().truncated(index));
        }
        Ok(Some(all))
    }

    /// Why there is no encoder, for a warning.
    pub(in crate::server) fn no_encoder(&self) -> String {
        self.0.unavailable(Family::Encoder).message().to_owned()
    }
}
