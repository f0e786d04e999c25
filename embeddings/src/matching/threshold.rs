//! How near is near enough, measured on the table: beyond the greatest likeness between names of different entries.

use super::table::Spelling;

/// Part of the way from that likeness to 1 that is added, because no table has all the names there are: two that
/// it lacks may be more alike than any two it has.
const MARGIN: f32 = 0.25;

/// Numbers and single letters of a name, in order: what tells members of a series apart.
pub(super) fn identifiers(name: &str) -> Vec<String> {
    let words = name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let telling = |word: &str| word.chars().count() == 1 || word.chars().any(|letter| letter.is_numeric());
    words.filter(|word| telling(word)).map(str::to_lowercase).collect()
}

pub(super) fn spelling(spellings: &[Spelling]) -> f32 {
    greatest(spellings, |a, b| spellings[a].trigrams.similarity(&spellings[b].trigrams))
}

pub(super) fn meaning(spellings: &[Spelling], vectors: &[Vec<f32>]) -> f32 {
    let cosine = |a: usize, b: usize| match (vectors.get(a), vectors.get(b)) {
        (Some(a), Some(b)) => a.iter().zip(b).map(|(a, b)| a * b).sum(),
        // Without a vector nothing is near enough.
        _ => 1.0,
    };
    greatest(spellings, cosine)
}

/// Over all pairs of names that belong to different entries and could be confused at all.
fn greatest(spellings: &[Spelling], likeness: impl Fn(usize, usize) -> f32) -> f32 {
    let series: Vec<Vec<String>> = spellings.iter().map(|spelling| identifiers(&spelling.text)).collect();
    let mut greatest = 0.0f32;
    for (a, spelling) in spellings.iter().enumerate() {
        for (b, other) in spellings[..a].iter().enumerate() {
            if spelling.entry != other.entry && series[a] == series[b] {
                greatest = greatest.max(likeness(a, b));
            }
        }
    }
    greatest + (1.0 - greatest).max(0.0) * MARGIN
}
