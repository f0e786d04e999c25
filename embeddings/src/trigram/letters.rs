//! Folding: the letters and digits of a text, without what does not change the word.

/// How blocks of Hangul are made of letters (Unicode 3.12): where blocks, leads, vowels and tails begin.
const BLOCK: u32 = 0xAC00;
const LEAD: u32 = 0x1100;
const VOWEL: u32 = 0x1161;
const TAIL: u32 = 0x11A7;
const VOWELS: u32 = 21;
const TAILS: u32 = 28;

/// The words of a text, folded.
pub(super) fn words(text: &str) -> Vec<Vec<char>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    for letter in text.chars() {
        // A mark belongs to the letter before it and is dropped; an apostrophe does not end a word.
        if is_mark(letter) || letter == '\'' || letter == '’' {
            continue;
        }
        if letter.is_alphanumeric() {
            fold(letter, &mut word);
        } else if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Only the folded letters and digits: equal for names that differ in case, accents, blanks and punctuation.
#[must_use]
pub fn squeezed(text: &str) -> String {
    words(text).into_iter().flatten().collect()
}

fn fold(letter: char, word: &mut Vec<char>) {
    if let Some(letters) = taken_apart(letter) {
        word.extend(letters.into_iter().flatten());
        return;
    }
    for lower in letter.to_lowercase().filter(|lower| !is_mark(*lower)) {
        match plain(lower) {
            Some(plain) => word.extend(plain.chars()),
            None => word.push(lower),
        }
    }
}

/// Lead, vowel and, where there is one, tail of a block of Hangul.
fn taken_apart(letter: char) -> Option<[Option<char>; 3]> {
    let index = u32::from(letter).checked_sub(BLOCK).filter(|_| letter <= '\u{D7A3}')?;
    let tail = index % TAILS;
    Some([
        char::from_u32(LEAD + index / (VOWELS * TAILS)),
        char::from_u32(VOWEL + index / TAILS % VOWELS),
        (tail > 0).then(|| char::from_u32(TAIL + tail)).flatten(),
    ])
}

fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36F}')
}

/// Accented Latin letters without the accent.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'į' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ř' => "r",
        'ś' | 'ş' | 'š' => "s",
        'ß' => "ss",
        'ť' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_squeezed_to_what_is_written() {
        for (text, want) in
            [("DMDM Hydantoin", "dmdmhydantoin"), ("p-Phenylene diamine", "pphenylenediamine")]
        {
            assert_eq!(squeezed(text), want);
        }
        assert_eq!(squeezed("C.I. 77491"), "ci77491");
        assert_eq!(squeezed("Straße"), squeezed("STRASSE"));
        assert_eq!(squeezed("don't"), "dont");
    }

    #[test]
    fn blocks_of_hangul_come_apart() {
        let letters = |text: &str| words(text).concat();
        assert_eq!(letters("가"), ['\u{1100}', '\u{1161}']);
        assert_eq!(letters("힣"), ['\u{1112}', '\u{1175}', '\u{11C2}']);
        assert_eq!(letters("각"), ['\u{1100}', '\u{1161}', '\u{11A8}']);
    }
}
