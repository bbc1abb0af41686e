//! Ids to text, one at a time: what is complete comes out at once, half a character never.

use super::Tokenizer;
use super::vocab::{TokenKind, Vocab};
use crate::TokenId;

/// Turns a stream of ids into text. All that `push` and `finish` append, taken together, equals
/// [`Tokenizer::decode`] of the same ids.
///
/// Bytes that cannot become a character are replaced by U+FFFD as soon as that is known, as
/// `String::from_utf8_lossy` does: one for each longest beginning of a character that breaks off.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    /// The beginning of a character (`pending[..n_pending]`); a character has at most four bytes.
    pending: [u8; 4],
    n_pending: usize,
    /// No byte has come yet: SentencePiece's first space is still to be dropped.
    at_start: bool,
    shows_special: bool,
}

impl Detokenizer {
    /// For a text that begins with the first id pushed; special tokens give no text.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Detokenizer {
            pending: [0; 4],
            n_pending: 0,
            at_start: tokenizer.vocab.strips_first_space,
            shows_special: false,
        }
    }

    /// For ids that continue `prompt`: what is pushed comes out as the text that it adds to the prompt's. So a
    /// space before the first word stays, and a character that the prompt left half is completed.
    pub fn after(tokenizer: &Tokenizer, prompt: &[TokenId]) -> Self {
        let mut detokenizer = Detokenizer::new(tokenizer);
        let mut prompt_text = String::new();
        for &id in prompt {
            detokenizer.push(tokenizer, id, &mut prompt_text);
            prompt_text.clear();
        }
        detokenizer
    }

    /// Shows special tokens as their text (`<|im_end|>`).
    pub fn with_special(mut self) -> Self {
        self.shows_special = true;
        self
    }

    /// Appends the text that `id` completes, possibly none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId, out: &mut String) {
        self.push_from(&tokenizer.vocab, id, out);
    }

    fn push_from(&mut self, vocab: &Vocab, id: TokenId, out: &mut String) {
        if vocab.kind(id) == TokenKind::Special && !self.shows_special {
            return;
        }
        let mut bytes = vocab.bytes(id);
        if self.at_start && !bytes.is_empty() {
            self.at_start = false;
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        while self.n_pending > 0 && !bytes.is_empty() {
            self.pending[self.n_pending] = bytes[0];
            self.n_pending += 1;
            bytes = &bytes[1..];
            self.settle_pending(out);
        }
        self.append(bytes, out);
    }

    /// Ends the text: a character that was never completed becomes one U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if self.n_pending > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
            self.n_pending = 0;
        }
    }

    /// Takes whole characters and broken ones out of `pending`.
    fn settle_pending(&mut self, out: &mut String) {
        let pending = self.pending;
        let bytes = &pending[..self.n_pending];
        self.n_pending = 0;
        self.append(bytes, out);
    }

    /// Appends `bytes`, keeping the beginning of a character at their end. Needs `pending` to be empty.
    fn append(&mut self, mut bytes: &[u8], out: &mut String) {
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(text) => return out.push_str(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            out.push_str(std::str::from_utf8(valid).unwrap_or_default());
            match error.error_len() {
                Some(n_broken) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    bytes = &rest[n_broken..];
                }
                None => {
                    self.pending[..rest.len()].copy_from_slice(rest);
                    self.n_pending = rest.len();
                    return;
                }
            }
        }
    }
}

/// All ids at once.
pub(super) fn decode(vocab: &Vocab, ids: &[TokenId], shows_special: bool) -> String {
    let mut detokenizer =
        Detokenizer { pending: [0; 4], n_pending: 0, at_start: vocab.strips_first_space, shows_special };
    let mut text = String::with_capacity(ids.len() * 4);
    for &id in ids {
        detokenizer.push_from(vocab, id, &mut text);
    }
    detokenizer.finish(&mut text);
    text
}
