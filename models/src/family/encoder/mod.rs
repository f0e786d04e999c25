//! What a text means, as a vector of length 1: texts that mean alike have vectors that point alike, and the product
//! of two is their cosine.
//!
//! The encoder was trained on English. Other languages share letters with it and little else, so a text that is
//! mostly written otherwise is told apart by [`script`], and whoever asks decides what to do instead.

mod script;
mod tokens;

pub use script::{Script, script};
pub use tokens::{Tokens, VOCABULARY_FILE};

use super::{Encoded, output};
use crate::bundle::{NetworkConfig, config::BundleConfig};
use crate::{Bundle, ModelError, Tensor};

/// Bounds on what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Characters of one text; far more than the tokens that are read.
    pub text_chars_max: usize,
    /// Texts of one request.
    pub texts_max: usize,
}

/// The bounds in force.
pub const LIMITS: Limits = Limits { text_chars_max: 8192, texts_max: 64 };

/// Reads questions and answers of one bundle.
#[derive(Debug)]
pub struct Encoder {
    model: String,
    tokens: Tokens,
    tokens_max: usize,
    width: usize,
}

/// The texts behind a request: which of them were longer than what is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    truncated: Vec<bool>,
}

impl Case {
    /// Whether the end of text `index` was not read.
    #[must_use]
    pub fn truncated(&self, index: usize) -> bool {
        self.truncated.get(index).copied().unwrap_or_default()
    }
}

impl Encoder {
    /// The encoder of a bundle of this family.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the vocabulary does not fit the network.
    pub fn new(bundle: &Bundle) -> Result<Self, ModelError> {
        Self::of(bundle.config(), &bundle.file(VOCABULARY_FILE)?)
    }

    /// The same before there is a bundle.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the vocabulary does not fit the network.
    pub fn of(config: &BundleConfig, vocabulary: &[u8]) -> Result<Self, ModelError> {
        let Some(NetworkConfig::Encoder(network)) = &config.network else {
            return Err(ModelError::invalid(
                "model.toml",
                "a text encoder needs [network] kind = \"encoder\"",
            ));
        };
        let tokens = Tokens::parse(vocabulary)?;
        if tokens.len() != network.vocabulary {
            let reason = format!("has {} words, the network {}", tokens.len(), network.vocabulary);
            return Err(ModelError::invalid(VOCABULARY_FILE, reason));
        }
        Ok(Self { model: config.name.clone(), tokens, tokens_max: network.inputs, width: network.width })
    }

    /// Numbers of one vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Token ids of each text, one row each.
    ///
    /// # Errors
    /// [`ModelError::Input`] naming `texts` or `texts[index]`: none, too many, blank or too long.
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Encoded<Case>, ModelError> {
        if texts.is_empty() || texts.len() > LIMITS.texts_max {
            let reason = format!("has {} texts, expected 1 to {}", texts.len(), LIMITS.texts_max);
            return Err(ModelError::input("texts", reason));
        }
        let (mut ids, mut truncated) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            check(text).map_err(|reason| ModelError::input(format!("texts[{index}]"), reason))?;
            let (row, cut) = self.tokens.encode(text, self.tokens_max)?;
            ids.extend(row);
            truncated.push(cut);
        }
        Ok(Encoded { tensors: vec![tensor(texts.len(), &ids)?], case: Case { truncated } })
    }

    /// Reads the outputs: a vector for each text, in order.
    ///
    /// # Errors
    /// [`ModelError::Run`] when the outputs are not what the signature promises.
    pub fn decode(&self, encoded: &Encoded<Case>, outputs: &[Tensor]) -> Result<Vec<Vec<f32>>, ModelError> {
        let values = output(&self.model, outputs, 0, (encoded.rows(), self.width))?;
        let single = |row: &[f64]| row.iter().map(|value| *value as f32).collect();
        Ok(values.chunks_exact(self.width).map(single).collect())
    }
}

impl Encoded<Case> {
    /// What is known of the texts.
    #[must_use]
    pub fn texts(&self) -> &Case {
        &self.case
    }
}

fn check(text: &str) -> Result<(), String> {
    let chars = text.chars().count();
    if text.trim().is_empty() {
        return Err("is blank".into());
    }
    if chars > LIMITS.text_chars_max {
        return Err(format!("has {chars} characters, at most {}", LIMITS.text_chars_max));
    }
    Ok(())
}

/// Rows of token ids as the network takes them.
///
/// # Errors
/// [`ModelError::Input`] when they do not fill the rows.
pub fn tensor(rows: usize, ids: &[i64]) -> Result<Tensor, ModelError> {
    let columns = ids.len().checked_div(rows).unwrap_or(0);
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    Tensor::new(crate::DType::I64, vec![rows, columns], bytes.into())
}
