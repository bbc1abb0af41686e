//! Keeps text from outside apart from the template's own: what looks like a special token in it gets a mark inside.

use std::collections::HashMap;

/// The noncharacters that a mark is chosen from: Unicode promises that they are never assigned.
const MARKS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A character that occurs in none of `texts`.
pub(super) fn choose<'a>(texts: impl Iterator<Item = &'a str>) -> Option<char> {
    let mut free: Vec<char> = MARKS.collect();
    for text in texts {
        // Noncharacters are rare: look closer only where their first byte occurs.
        if text.as_bytes().contains(&0xEF) {
            free.retain(|mark| !text.contains(*mark));
        }
    }
    free.first().copied()
}

/// Finds the texts of special tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct SpecialTexts {
    /// By first character. Texts of a single character have no inside for a mark; they are left out.
    by_first: HashMap<char, Vec<String>>,
}

impl SpecialTexts {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut by_first: HashMap<char, Vec<String>> = HashMap::new();
        for text in texts {
            let mut chars = text.chars();
            if let (Some(first), Some(_)) = (chars.next(), chars.next()) {
                by_first.entry(first).or_default().push(text.to_string());
            }
        }
        SpecialTexts { by_first }
    }

    /// `text` with `mark` after the first character of every special token's text.
    pub(super) fn mark(&self, text: &str, mark: char) -> String {
        let mut marked = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            marked.push(c);
            let candidates = self.by_first.get(&c).map_or(&[][..], Vec::as_slice);
            if candidates.iter().any(|special| text[at..].starts_with(special.as_str())) {
                marked.push(mark);
            }
        }
        marked
    }
}
