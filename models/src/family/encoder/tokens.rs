//! Text to token ids: BERT's lower-casing WordPiece, by the `tokenizers` crate, which the candle engine brings along
//! in any case. Only the pieces that need no configuration file are used; the vocabulary is a list of words.

use std::{collections::HashMap, fmt};

use tokenizers::{
    DecoderWrapper, PostProcessorWrapper, TokenizerBuilder, TokenizerImpl, models::wordpiece::WordPiece,
    normalizers::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};

use crate::ModelError;

/// File of a bundle with one word of the vocabulary a line, in the order of the ids.
pub const VOCABULARY_FILE: &str = "vocabulary.txt";

/// Stands for what the vocabulary does not have.
const UNKNOWN: &str = "[UNK]";

type Bert = TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>;

/// A vocabulary and the rules of splitting.
pub struct Tokens {
    bert: Bert,
    words: usize,
    first: i64,
    last: i64,
}

impl Tokens {
    /// Reads the text of [`VOCABULARY_FILE`].
    ///
    /// # Errors
    /// [`ModelError::Invalid`]: not text, a word twice, or a special word missing.
    pub fn parse(content: &[u8]) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::invalid(VOCABULARY_FILE, reason);
        let text = std::str::from_utf8(content).map_err(|error| fault(format!("is not text: {error}")))?;
        let words: Vec<&str> = text.split_terminator('\n').map(|line| line.trim_end_matches('\r')).collect();
        let ids: HashMap<&str, u32> = (0..).zip(&words).map(|(id, word)| (*word, id)).collect();
        if ids.len() != words.len() {
            return Err(fault(format!("has {} words, but only {} different ones", words.len(), ids.len())));
        }
        let special = |word: &str| {
            let id = ids.get(word).ok_or_else(|| fault(format!("has no word `{word}`")))?;
            Ok::<i64, ModelError>(i64::from(*id))
        };
        let (first, last, _) = (special("[CLS]")?, special("[SEP]")?, special(UNKNOWN)?);
        if special("[PAD]")? != 0 {
            return Err(fault("must begin with `[PAD]`, whose id ends a text".into()));
        }
        let bert = build(&ids).map_err(|error| fault(error.to_string()))?;
        Ok(Self { bert, words: words.len(), first, last })
    }

    /// Words of the vocabulary.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary has its special words")]
    pub fn len(&self) -> usize {
        self.words
    }

    /// The ids of `text` between those that begin and end it, filled with 0 up to `tokens_max`, and whether the text
    /// was longer.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the text cannot be split.
    pub fn encode(&self, text: &str, tokens_max: usize) -> Result<(Vec<i64>, bool), ModelError> {
        let encoding = self.bert.encode_fast(text, false);
        let encoding = encoding.map_err(|error| ModelError::input("texts", error.to_string()))?;
        let inner = tokens_max.saturating_sub(2);
        let ids = encoding.get_ids().iter().take(inner).map(|id| i64::from(*id));
        let mut row: Vec<i64> = std::iter::once(self.first).chain(ids).chain([self.last]).collect();
        row.resize(tokens_max, 0);
        Ok((row, encoding.get_ids().len() > inner))
    }
}

/// The special words get no meaning in a text: nobody can end one early by writing `[SEP]` into it.
fn build(ids: &HashMap<&str, u32>) -> tokenizers::Result<Bert> {
    let words = serde_json::json!({
        "type": "WordPiece",
        "unk_token": UNKNOWN,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": ids,
    });
    // Its reader wants borrowed text, which a value cannot lend.
    let words: WordPiece = serde_json::from_str(&words.to_string())?;
    TokenizerBuilder::new()
        .with_model(words)
        .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(None)
        .with_decoder(None)
        .build()
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("words", &self.words).finish_non_exhaustive()
    }
}
