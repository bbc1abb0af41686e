//! The table from a token id to the bytes it stands for: everything that turning ids into text needs.

use crate::TokenId;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// Ordinary text, or one byte of it.
    Normal,
    /// Steers the model (BOS, EOS, `<|im_start|>`, unknown): no text unless asked for.
    Special,
    /// Added to the vocabulary as a whole (`<think>`): found in text before all else, and shown as text.
    UserDefined,
    /// A place in the vocabulary that means nothing.
    Unused,
}

/// Bytes and kind of every token, by id. Holes in the ids are `Unused`.
#[derive(Debug)]
pub(super) struct Vocab {
    bytes: Vec<u8>,
    /// Where a token's bytes end; they begin where its predecessor's end.
    ends: Vec<usize>,
    kinds: Vec<TokenKind>,
    /// SentencePiece puts a space before a text; one space at the beginning of decoded text goes.
    pub(super) strips_first_space: bool,
}

impl Vocab {
    pub(super) fn with_capacity(n_tokens: usize, strips_first_space: bool) -> Self {
        Vocab {
            bytes: Vec::with_capacity(n_tokens * 8),
            ends: Vec::with_capacity(n_tokens),
            kinds: Vec::with_capacity(n_tokens),
            strips_first_space,
        }
    }

    /// Adds the token with the next id.
    pub(super) fn push(&mut self, bytes: &[u8], kind: TokenKind) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.kinds.push(kind);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The token's bytes; none for an id beyond the vocabulary (a model's embedding may have more rows).
    pub(super) fn bytes(&self, id: TokenId) -> &[u8] {
        let i = id.0 as usize;
        let Some(&end) = self.ends.get(i) else { return &[] };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..end]
    }

    pub(super) fn kind(&self, id: TokenId) -> TokenKind {
        self.kinds.get(id.0 as usize).copied().unwrap_or(TokenKind::Unused)
    }

    pub(super) fn set_kind(&mut self, id: TokenId, kind: TokenKind) {
        if let Some(k) = self.kinds.get_mut(id.0 as usize) {
            *k = kind;
        }
    }

    /// All ids of one kind, ascending.
    pub(super) fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = TokenId> + '_ {
        self.kinds.iter().enumerate().filter(move |(_, k)| **k == kind).map(|(i, _)| TokenId(i as u32))
    }
}
