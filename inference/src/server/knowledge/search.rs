//! SearchKnowledge: by meaning where that can be done, else by letters, and the answer says why.

use clinical::Biomarker;
use models::family::encoder::{Script, script};
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{Inner, library::Passage};
use crate::server::ai::{DISCLAIMER, invalid, warning};

/// Characters of a question.
const TEXT_CHARS_MAX: usize = 2000;
/// Passages of one answer.
const PASSAGES_MAX: usize = 20;
/// Passages unless asked otherwise.
const PASSAGES: usize = 5;

/// Passages by their places with their scores, and how they were found.
struct Hits {
    places: Vec<(usize, f32)>,
    model: Option<wire::ModelReference>,
    warnings: Vec<wire::Warning>,
}

impl Inner {
    pub(super) async fn search(
        &self,
        request: wire::SearchKnowledgeRequest,
    ) -> Result<wire::SearchKnowledgeResponse, Status> {
        let wire::SearchKnowledgeRequest { text, k, loinc } = request;
        let k = check(&text, k, &loinc)?;
        let Hits { places, model, warnings } = match by_letters_because(&text) {
            Some(warning) => self.letters(&text, vec![warning]),
            None => self.meaning(&text).await?,
        };
        let about = |passage: &Passage| loinc.is_empty() || passage.loinc.contains(&loinc.as_str());
        let found = places.into_iter().filter_map(|(place, score)| {
            let passage = self.library.passages.get(place).filter(|passage| about(passage))?;
            Some(told(passage, score))
        });
        let method = if model.is_some() { wire::MatchMethod::Vector } else { wire::MatchMethod::Trigram };
        Ok(wire::SearchKnowledgeResponse {
            passages: found.take(k).collect(),
            method: method.into(),
            model,
            warnings,
            disclaimer: DISCLAIMER.into(),
        })
    }

    async fn meaning(&self, text: &str) -> Result<Hits, Status> {
        let Some(embedded) = self.ai.embed(&[text]).await? else {
            let reason = format!("searched by letters, not by meaning: {}", self.ai.no_encoder());
            return Ok(self.letters(text, vec![warning("no_encoder", &reason, "text")]));
        };
        let ready = self.prepared.get().filter(|ready| ready.passages.version == embedded.model.version);
        let (Some(ready), Some(vector)) = (ready, embedded.vectors.into_iter().next()) else {
            let reason = "searched by letters, not by meaning: the passages are not encoded (yet)";
            return Ok(self.letters(text, vec![warning("not_prepared", reason, "text")]));
        };
        let places = ready.passages.nearest(vector, self.library.passages.len()).await?;
        let cut = || warning("truncated", "only the first 256 tokens of the text were read", "text");
        let warnings = embedded.truncated.then(cut).into_iter().collect();
        Ok(Hits { places, model: Some(embedded.model), warnings })
    }

    fn letters(&self, text: &str, warnings: Vec<wire::Warning>) -> Hits {
        let found = self.library.letters.search(text, self.library.passages.len());
        let places = found.into_iter().map(|found| (found.text, found.score)).collect();
        Hits { places, model: None, warnings }
    }
}

fn check(text: &str, k: u32, loinc: &str) -> Result<usize, Status> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > TEXT_CHARS_MAX {
        let reason = format!("has {chars} characters, expected 1 to {TEXT_CHARS_MAX} and not only blanks");
        return Err(invalid("text", reason));
    }
    if !loinc.is_empty() && Biomarker::from_loinc(loinc).is_none() {
        return Err(invalid("loinc", "is no LOINC code we know"));
    }
    match usize::try_from(k) {
        Ok(0) => Ok(PASSAGES),
        Ok(k) if k <= PASSAGES_MAX => Ok(k),
        _ => Err(invalid("k", format!("is {k}, at most {PASSAGES_MAX}"))),
    }
}

/// Why a text is not for an encoder of English.
fn by_letters_because(text: &str) -> Option<wire::Warning> {
    let reason = match script(text) {
        Script::Latin => return None,
        Script::Hangul => {
            "the text is Korean, which the encoder does not know: it was searched by its letters, in the Korean key \
             words of the passages; the passages themselves are English"
        }
        Script::Other => {
            "the text is in a script that the encoder does not know: it was searched by its letters; the passages \
             are English"
        }
    };
    Some(warning("language", reason, "text"))
}

fn told(passage: &Passage, score: f32) -> wire::KnowledgePassage {
    wire::KnowledgePassage {
        id: passage.id.into(),
        text: passage.text.into(),
        similarity: score.into(),
        source: Some(wire::KnowledgeSource {
            title: passage.title.into(),
            organisation: passage.organisation.into(),
            year: passage.year,
            reference: passage.reference.into(),
        }),
        loinc: passage.loinc.iter().map(|code| (*code).to_owned()).collect(),
    }
}
