//! From a name as someone wrote it to the entry of a table it stands for: exactly, else by its letters, else by
//! meaning, else not at all.
//!
//! The names here are of substances, where two names that look or mean almost alike may stand for different things
//! (methylparaben and ethylparaben, vitamin A and vitamin E, polysorbate 20 and 80). So:
//!
//! - numbers and single letters must be the same in both names, however alike the rest is;
//! - how near is near enough is not chosen but measured on the table itself: a name counts as another spelling of an
//!   entry only if it is clearly nearer to it than the two most alike names of *different* entries are to each other;
//! - what is not near enough is unknown, with suggestions for a person to choose from. Unknown is never safe.

mod table;
mod threshold;

pub use table::{Entry, Names, Spelling, TableError};

/// How a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Written as in the table but for case, accents, blanks and punctuation.
    Exact,
    /// Spelt almost as in the table.
    Trigram,
    /// Means almost what an entry's name means.
    Vector,
}

/// An entry that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Place of the entry in the table.
    pub entry: usize,
    /// How it was found.
    pub method: Method,
    /// How near, 0 to 1; 1 for exact.
    pub score: f32,
}

/// What became of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It stands for this entry.
    Found(Match),
    /// It is not in the table. The nearest entries, best first, for a person to choose from; perhaps none.
    Unknown(Vec<Match>),
}

/// A name of the table that means something near, found by whoever keeps the vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Place of the name in [`Names::spellings`].
    pub spelling: usize,
    /// Cosine of the two vectors.
    pub similarity: f32,
}

/// Suggestions of an unknown name.
pub const SUGGESTIONS: usize = 3;
/// Below this a suggestion is noise.
const SUGGESTION_MIN: f32 = 0.45;

impl Names {
    /// Takes `name` through the cascade. `near` are the nearest names by meaning, if there is an encoder, and
    /// `similarity_min` what [`Names::similarity_min`] measured with it.
    #[must_use]
    pub fn find(&self, name: &str, near: &[Near], similarity_min: f32) -> Outcome {
        if let Some(found) = self.exact(name) {
            return Outcome::Found(found);
        }
        let spelt = self.spelt(name);
        let meant = self.meant(name, near);
        let sure = |found: &&Match, min: f32| found.score > min && self.alone(&spelt, &meant, found);
        let by_letters = spelt.first().filter(|found| sure(found, self.spelling_min()));
        let by_meaning = || meant.first().filter(|found| sure(found, similarity_min));
        match by_letters.or_else(by_meaning) {
            Some(found) => Outcome::Found(*found),
            None => Outcome::Unknown(suggestions(spelt, meant)),
        }
    }

    /// Whether no other entry of the same list is just as near.
    fn alone(&self, spelt: &[Match], meant: &[Match], found: &Match) -> bool {
        let list = if found.method == Method::Trigram { spelt } else { meant };
        list.iter().all(|other| other.entry == found.entry || other.score < found.score)
    }

    fn meant(&self, name: &str, near: &[Near]) -> Vec<Match> {
        let own = threshold::identifiers(name);
        let spelling = |near: &Near| {
            let spelling = self.spellings().get(near.spelling)?;
            let same = threshold::identifiers(&spelling.text) == own && near.similarity.is_finite();
            same.then(|| Match {
                entry: spelling.entry,
                method: Method::Vector,
                score: near.similarity.clamp(0.0, 1.0),
            })
        };
        ranked(near.iter().filter_map(spelling).collect())
    }
}

/// Best first, each entry once.
fn ranked(mut matches: Vec<Match>) -> Vec<Match> {
    matches.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.entry.cmp(&b.entry)));
    let mut seen = Vec::new();
    matches.retain(|found| {
        let new = !seen.contains(&found.entry);
        seen.push(found.entry);
        new
    });
    matches
}

fn suggestions(spelt: Vec<Match>, meant: Vec<Match>) -> Vec<Match> {
    let worth = spelt.into_iter().chain(meant).filter(|found| found.score >= SUGGESTION_MIN);
    let mut best = ranked(worth.collect());
    best.truncate(SUGGESTIONS);
    best
}

#[cfg(test)]
mod tests;
