//! MatchIngredients: names through the cascade of `embeddings::matching`.

use embeddings::matching::{Match, Method, Near, Outcome};
use models::family::encoder::{Script, script};
use proto::manpasik::v1 as wire;
use tonic::Status;

use super::{Inner, Prepared};
use crate::server::ai::{invalid, warning};

/// Names of one request.
const NAMES_MAX: usize = 100;
/// Characters of one name.
const NAME_CHARS_MAX: usize = 200;
/// Names near in meaning that the cascade looks at.
const NEAR: usize = 8;

const TABLE: &str = "Common cosmetic ingredients compiled by hand for this project; incomplete and no legal source. \
                     An EU annex sets conditions, which are in Regulation (EC) No 1223/2009 itself.";
const DISCLAIMER: &str =
    "Names are matched, nothing is judged: found does not mean safe, and unknown never does.";

impl Inner {
    pub(super) async fn ingredients(
        &self,
        request: wire::MatchIngredientsRequest,
    ) -> Result<wire::MatchIngredientsResponse, Status> {
        let wire::MatchIngredientsRequest { names } = request;
        check(&names)?;
        // Only names that letters do not settle are worth a run of the encoder.
        let settled: Vec<Outcome> =
            names.iter().map(|name| self.ingredients.names.find(name, &[], 1.0)).collect();
        let open: Vec<&str> = names
            .iter()
            .zip(&settled)
            .filter(|(name, outcome)| is_open(name, outcome))
            .map(|(name, _)| name.as_str())
            .collect();
        let Meant { near, similarity_min, model, warnings } = self.near(&open).await?;
        let mut near = near.into_iter();
        let finish = |(name, outcome): (String, Outcome)| {
            let outcome = match outcome {
                outcome @ Outcome::Unknown(_) if !is_open(&name, &outcome) => outcome,
                Outcome::Unknown(_) => {
                    self.ingredients.names.find(&name, &near.next().unwrap_or_default(), similarity_min)
                }
                found @ Outcome::Found(_) => found,
            };
            self.told(name, outcome)
        };
        Ok(wire::MatchIngredientsResponse {
            matches: names.into_iter().zip(settled).map(finish).collect(),
            model,
            warnings,
            table: TABLE.into(),
            disclaimer: DISCLAIMER.into(),
        })
    }

    /// What the table has near each name by meaning; nothing without an encoder.
    async fn near(&self, names: &[&str]) -> Result<Meant, Status> {
        if names.is_empty() {
            return Ok(Meant::default());
        }
        let without = |reason: String| Meant {
            warnings: vec![warning(
                "no_encoder",
                format!("names were not compared by meaning: {reason}"),
                "names",
            )],
            ..Meant::default()
        };
        let Some(embedded) = self.ai.embed(names).await? else { return Ok(without(self.ai.no_encoder())) };
        let same = |ready: &&Prepared| ready.spellings.version == embedded.model.version;
        let Some(ready) = self.prepared.get().filter(same) else {
            return Ok(without("the table is not encoded (yet)".into()));
        };
        let mut near = Vec::with_capacity(names.len());
        for vector in embedded.vectors {
            let hits = ready.spellings.nearest(vector, NEAR).await?;
            near.push(hits.into_iter().map(|(spelling, similarity)| Near { spelling, similarity }).collect());
        }
        let (similarity_min, model) = (ready.similarity_min, Some(embedded.model));
        Ok(Meant { near, similarity_min, model, warnings: Vec::new() })
    }

    fn told(&self, asked: String, outcome: Outcome) -> wire::IngredientMatch {
        match outcome {
            Outcome::Found(found) => wire::IngredientMatch {
                asked,
                ingredient: self.ingredient(found),
                method: method(found.method).into(),
                score: found.score.into(),
                unknown: false,
                suggestions: Vec::new(),
            },
            Outcome::Unknown(near) => wire::IngredientMatch {
                asked,
                ingredient: None,
                method: wire::MatchMethod::Unspecified.into(),
                score: 0.0,
                unknown: true,
                suggestions: near.into_iter().filter_map(|near| self.suggestion(near)).collect(),
            },
        }
    }

    fn ingredient(&self, found: Match) -> Option<wire::Ingredient> {
        let entry = self.ingredients.entries.get(found.entry)?;
        Some(wire::Ingredient {
            name: entry.name.into(),
            function: entry.function.into(),
            eu_annexes: entry.eu_annexes.iter().map(|annex| (*annex).to_owned()).collect(),
        })
    }

    fn suggestion(&self, near: Match) -> Option<wire::IngredientSuggestion> {
        let name = self.ingredients.entries.get(near.entry)?.name.into();
        Some(wire::IngredientSuggestion {
            name,
            method: method(near.method).into(),
            score: near.score.into(),
        })
    }
}

/// Names near in meaning, for each name that was asked about.
#[derive(Default)]
struct Meant {
    near: Vec<Vec<Near>>,
    similarity_min: f32,
    model: Option<wire::ModelReference>,
    warnings: Vec<wire::Warning>,
}

/// Whether the encoder has a say: letters did not settle the name, and it is in a script that the encoder knows.
fn is_open(name: &str, outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown(_)) && script(name) == Script::Latin
}

fn check(names: &[String]) -> Result<(), Status> {
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(invalid("names", format!("has {} names, expected 1 to {NAMES_MAX}", names.len())));
    }
    for (index, name) in names.iter().enumerate() {
        let chars = name.chars().count();
        if name.trim().is_empty() || chars > NAME_CHARS_MAX {
            let reason =
                format!("has {chars} characters, expected 1 to {NAME_CHARS_MAX} and not only blanks");
            return Err(invalid(format!("names[{index}]"), reason));
        }
    }
    Ok(())
}

fn method(method: Method) -> wire::MatchMethod {
    match method {
        Method::Exact => wire::MatchMethod::Exact,
        Method::Trigram => wire::MatchMethod::Trigram,
        Method::Vector => wire::MatchMethod::Vector,
    }
}
