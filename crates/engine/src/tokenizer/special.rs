//! The tokens that steer generation, and where each of them is named.

use crate::TokenId;

/// BOS, EOS and their kin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<TokenId>,
    /// The model was trained with BOS before every text.
    pub add_bos: bool,
    /// The model was trained with EOS after every text. Generation never adds it.
    pub add_eos: bool,
    /// Ends a generation: the union of what every source names, in the order of the sources.
    pub eos: Vec<EosToken>,
    pub unknown: Option<TokenId>,
    pub pad: Option<TokenId>,
}

/// A token that ends a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct EosToken {
    pub id: TokenId,
    /// The keys that name it, such as `generation_config.json eos_token_id`.
    pub sources: Vec<&'static str>,
}

impl SpecialTokens {
    pub fn is_eos(&self, id: TokenId) -> bool {
        self.eos.iter().any(|eos| eos.id == id)
    }

    pub fn eos_ids(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.eos.iter().map(|eos| eos.id)
    }

    pub(super) fn add_eos_token(&mut self, id: TokenId, source: &'static str) {
        match self.eos.iter_mut().find(|eos| eos.id == id) {
            Some(eos) if eos.sources.contains(&source) => {}
            Some(eos) => eos.sources.push(source),
            None => self.eos.push(EosToken { id, sources: vec![source] }),
        }
    }
}
