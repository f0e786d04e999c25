//! In which script a text is written, as far as it matters for an encoder of English.

/// The script of most letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Latin letters, or no letters at all.
    Latin,
    /// Hangul: Korean.
    Hangul,
    /// Any other.
    Other,
}

/// The script that has the most letters of `text`. A few foreign letters in an English text do not matter; a Korean
/// sentence with "HbA1c" in it stays Korean, because each syllable block of Hangul counts as the two to three letters
/// it is made of.
#[must_use]
pub fn script(text: &str) -> Script {
    let (mut latin, mut hangul, mut other) = (0usize, 0usize, 0usize);
    for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
        match letter {
            'A'..='Z' | 'a'..='z' | '\u{00C0}'..='\u{024F}' => latin += 1,
            // Syllables; then the letters they are made of, in their three blocks.
            '\u{AC00}'..='\u{D7A3}' => hangul += 2,
            '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{A960}'..='\u{A97F}' => hangul += 1,
            _ => other += 1,
        }
    }
    if latin >= hangul.max(other) {
        Script::Latin
    } else if hangul >= other {
        Script::Hangul
    } else {
        Script::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_most_letters_counts() {
        let cases = [
            ("What should my glucose be?", Script::Latin),
            ("142/91", Script::Latin),
            ("Café crème", Script::Latin),
            ("5 µg of β-carotene", Script::Latin),
            ("혈당", Script::Hangul),
            ("당화혈색소 HbA1c 정상 범위", Script::Hangul),
            ("血糖値", Script::Other),
            ("глюкоза", Script::Other),
        ];
        for (text, want) in cases {
            assert_eq!(script(text), want, "{text}");
        }
    }
}
