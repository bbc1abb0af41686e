//! Text to ids and back, as the model was trained.
//!
//! A tokenizer comes from a Hugging Face folder (tokenizer.json) or from GGUF metadata; both give the same
//! [`Tokenizer`]. Encoding is the crate `tokenizers`, and our own SentencePiece for GGUF files; decoding is a table.

mod bound;
mod bpe;
mod byte_level;
mod detokenizer;
mod encoder;
mod error;
mod frame;
mod gguf;
mod hf;
mod pretokenizers;
mod special;
mod spelling;
mod spm;
mod vocab;

use std::borrow::Cow;

use crate::TokenId;
use crate::weights::Metadata;

pub use detokenizer::Detokenizer;
pub use encoder::Specials;
pub use error::TokenizerError;
pub use gguf::GgufTokenizer;
pub use hf::HfTokenizer;
pub use special::{EosToken, SpecialTokens};
pub use vocab::TokenKind;

use encoder::Encoder;
use vocab::Vocab;

/// Text to ids and back. Immutable once built: one serves all threads.
pub struct Tokenizer {
    encoder: Encoder,
    vocab: Vocab,
    special: SpecialTokens,
    warnings: Vec<String>,
    /// See [`bound::most_bytes`].
    most_bytes: Option<usize>,
}

impl Tokenizer {
    /// The tokenizer that came with a model.
    pub fn new(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
        let built = match metadata {
            Metadata::Gguf(gguf) => GgufTokenizer::read(gguf)?.build(),
            Metadata::HuggingFace(hf) => HfTokenizer::read(hf).build(),
        };
        let path = || metadata.path().to_owned();
        built.map_err(|cause| TokenizerError::File { path: path(), cause: Box::new(cause) })
    }

    fn assemble(
        encoder: Encoder,
        vocab: Vocab,
        mut special: SpecialTokens,
        mut warnings: Vec<String>,
    ) -> Tokenizer {
        if special.add_bos && special.bos.is_none() {
            warnings
                .push("the tokenizer asks for BOS before a text but names none: none is added".to_string());
            special.add_bos = false;
        }
        if special.eos.is_empty() {
            warnings
                .push("no EOS token is named: a text ends at its length limit or a stop string".to_string());
        }
        let most_bytes = bound::most_bytes(&encoder, &vocab);
        Tokenizer { encoder, vocab, special, warnings, most_bytes }
    }

    /// The ids of `text`. With `bos`, BOS stands before them exactly once, also if `text` begins with it; without
    /// one in the vocabulary that is an error.
    pub fn encode(&self, text: &str, specials: Specials, bos: bool) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if bos {
            let missing =
                TokenizerError::Missing { field: "bos_token", why: "BOS was asked for before the text" };
            ids.push(self.special.bos.ok_or(missing)?);
        }
        self.encoder.encode(text, specials, None, &mut ids)?;
        if bos {
            self.keep_one_bos(&mut ids);
        }
        Ok(ids)
    }

    /// The ids of a text whose special tokens are read, except those with `mark` inside; all marks are dropped.
    pub(crate) fn encode_marked(
        &self,
        text: &str,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        ids.extend(self.special.bos.filter(|_| self.special.add_bos));
        self.encoder.encode(text, Specials::Parse, mark, &mut ids)?;
        self.keep_one_bos(&mut ids);
        Ok(ids)
    }

    /// No tokenization of `text` has fewer ids than this; 0 where that takes cutting it up. Takes no time.
    pub fn fewest_ids(&self, text: &str) -> usize {
        let bos = self.special.bos.map(|id| self.vocab.bytes(id)).filter(|bytes| !bytes.is_empty());
        let mut bytes = text.as_bytes();
        // Of several, one is kept.
        while let Some(rest) = bos.and_then(|bos| bytes.strip_prefix(bos)) {
            bytes = rest;
        }
        self.most_bytes.map_or(0, |most| bytes.len().div_ceil(most))
    }

    /// The most bytes of a text that one id can stand for, where that is known.
    pub fn most_bytes_per_id(&self) -> Option<usize> {
        self.most_bytes
    }

    /// The same, without BOS unless the text has it.
    pub(crate) fn encode_unframed(
        &self,
        text: &str,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        self.encoder.encode(text, Specials::Parse, mark, &mut ids)?;
        Ok(ids)
    }

    /// Of several BOS at the beginning, keeps one.
    fn keep_one_bos(&self, ids: &mut Vec<TokenId>) {
        let n_bos = ids.iter().take_while(|id| Some(**id) == self.special.bos).count();
        ids.drain(..n_bos.saturating_sub(1));
    }

    /// The text of `ids`; bytes that are no UTF-8 become U+FFFD. A space that SentencePiece put before the text is
    /// dropped.
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> String {
        detokenizer::decode(&self.vocab, ids, !skip_special)
    }

    /// One token for people to look at: its bytes as text, and as `<0xF0>` each byte that is no UTF-8 by itself.
    pub fn piece(&self, id: TokenId) -> Cow<'_, str> {
        let bytes = self.vocab.bytes(id);
        if let Ok(text) = std::str::from_utf8(bytes) {
            return text.into();
        }
        let mut piece = String::new();
        for chunk in bytes.utf8_chunks() {
            piece.push_str(chunk.valid());
            piece.extend(chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
        }
        piece.into()
    }

    /// The bytes that a token stands for (a special token: its text). Empty for an id beyond the vocabulary.
    pub fn piece_bytes(&self, id: TokenId) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// The tokens whose bytes have `text` in them, in ascending order; special tokens, which are no text, are left out.
    /// None for an empty text.
    pub fn tokens_with(&self, text: &str) -> Vec<TokenId> {
        let text = text.as_bytes();
        let has_text = |id: &TokenId| {
            !text.is_empty()
                && !self.is_special(*id)
                && self.piece_bytes(*id).windows(text.len()).any(|part| part == text)
        };
        (0..self.vocab_size() as u32).map(TokenId).filter(has_text).collect()
    }

    /// Number of ids, holes included. The model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    pub fn kind(&self, id: TokenId) -> TokenKind {
        self.vocab.kind(id)
    }

    /// Whether `id` gives no text unless asked for.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.vocab.kind(id) == TokenKind::Special
    }

    /// The texts that are read as special tokens, by id.
    pub fn special_texts(&self) -> impl Iterator<Item = &str> + '_ {
        self.vocab.of_kind(TokenKind::Special).filter_map(|id| std::str::from_utf8(self.vocab.bytes(id)).ok())
    }

    /// What is odd about the tokenizer, for people: conflicts between files, ids that do not exist.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
