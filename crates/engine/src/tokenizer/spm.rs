//! SentencePiece's BPE with scores: merge the neighbours whose union has the best score, until no union is a token.
//!
//! The same ids as llama.cpp's `llm_tokenizer_spm` (and SentencePiece's own `bpe_model`): of equal scores the
//! leftmost merges first; a character that is in no token is spelled in byte tokens `<0xE2>`. One difference:
//! control, unknown and byte tokens are never made by merging, so that typing `<s>` cannot give the BOS id.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use crate::TokenId;

/// SentencePiece's stand-in for the space.
pub(super) const SPACE_MARK: &str = "\u{2581}";

/// `<0xE2>` is 0xE2.
pub(super) fn parse_byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// The vocabulary as the merges need it.
#[derive(Debug)]
pub(super) struct Spm {
    /// Text (with `▁` for spaces) to id and score.
    tokens: HashMap<Box<str>, (TokenId, f32)>,
    /// `<0x00>` to `<0xFF>`.
    byte_tokens: [Option<TokenId>; 256],
    unknown: Option<TokenId>,
    /// A space is put before a text, and before text that follows a special token.
    pub(super) adds_space_prefix: bool,
}

/// A stretch of the text that is one token so far; `len` 0 once it was merged into its left neighbour.
struct Symbol {
    start: usize,
    len: usize,
    prev: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours whose union is a token. Stale when `len` is no longer the sum of theirs.
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}

impl Spm {
    pub(super) fn new(
        tokens: HashMap<Box<str>, (TokenId, f32)>,
        byte_tokens: [Option<TokenId>; 256],
        unknown: Option<TokenId>,
        adds_space_prefix: bool,
    ) -> Self {
        Spm { tokens, byte_tokens, unknown, adds_space_prefix }
    }

    /// Appends the ids of `text`, which holds no special token. `after_special`: it begins the whole text or comes
    /// after a special token.
    pub(super) fn encode(&self, text: &str, after_special: bool, ids: &mut Vec<TokenId>) {
        let mut escaped = String::with_capacity(text.len() + SPACE_MARK.len());
        if self.adds_space_prefix && after_special {
            escaped.push_str(SPACE_MARK);
        }
        for part in text.split_inclusive(' ') {
            match part.strip_suffix(' ') {
                Some(word) => {
                    escaped.push_str(word);
                    escaped.push_str(SPACE_MARK);
                }
                None => escaped.push_str(part),
            }
        }
        for symbol in self.merge(&escaped).iter().filter(|s| s.len > 0) {
            self.emit(&escaped[symbol.start..symbol.start + symbol.len], ids);
        }
    }

    /// The symbols of `text` after all merges.
    fn merge(&self, text: &str) -> Vec<Symbol> {
        let n_chars = text.chars().count();
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (start, c))| Symbol {
                start,
                len: c.len_utf8(),
                prev: i.checked_sub(1),
                next: (i + 1 < n_chars).then_some(i + 1),
            })
            .collect();
        let mut merges = BinaryHeap::with_capacity(n_chars);
        for left in 0..n_chars.saturating_sub(1) {
            self.propose(text, &symbols, left, &mut merges);
        }
        while let Some(merge) = merges.pop() {
            let (left_len, right_len) = (symbols[merge.left].len, symbols[merge.right].len);
            if left_len == 0 || right_len == 0 || left_len + right_len != merge.len {
                continue;
            }
            let after = symbols[merge.right].next;
            symbols[merge.right].len = 0;
            symbols[merge.left].len = merge.len;
            symbols[merge.left].next = after;
            if let Some(after) = after {
                symbols[after].prev = Some(merge.left);
            }
            if let Some(before) = symbols[merge.left].prev {
                self.propose(text, &symbols, before, &mut merges);
            }
            self.propose(text, &symbols, merge.left, &mut merges);
        }
        symbols
    }

    /// Queues the merge of a symbol with its right neighbour if their union is a token.
    fn propose(&self, text: &str, symbols: &[Symbol], left: usize, merges: &mut BinaryHeap<Merge>) {
        let Some(right) = symbols[left].next else { return };
        let start = symbols[left].start;
        let len = symbols[left].len + symbols[right].len;
        if let Some(&(_, score)) = self.tokens.get(&text[start..start + len]) {
            merges.push(Merge { score, left, right, len });
        }
    }

    fn emit(&self, symbol: &str, ids: &mut Vec<TokenId>) {
        if let Some(&(id, _)) = self.tokens.get(symbol) {
            return ids.push(id);
        }
        let spelled = symbol.bytes().map(|byte| self.byte_tokens[byte as usize]);
        if spelled.clone().all(|id| id.is_some()) {
            ids.extend(spelled.flatten());
        } else {
            ids.extend(self.unknown);
        }
    }
}
