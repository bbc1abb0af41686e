//! Text to ids: added tokens are found first, then the model cuts up what is between them.

use tokenizers::{
    AddedToken, AddedVocabulary, Model as _, ModelWrapper, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper,
};

use super::error::TokenizerError;
use super::spm::Spm;
use crate::TokenId;

/// Whether special tokens in a text are read as such.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Specials {
    /// `<|im_end|>` is that token.
    Parse,
    /// `<|im_end|>` is ten characters.
    Text,
}

/// What cuts up the text between added tokens.
#[expect(clippy::large_enum_variant, reason = "a tokenizer has one")]
pub(super) enum Algorithm {
    /// The steps of a tokenizer.json, run by the crate `tokenizers`.
    Steps {
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        model: Box<ModelWrapper>,
    },
    Spm(Box<Spm>),
}

pub(super) struct Encoder {
    algorithm: Algorithm,
    /// Finds all added tokens.
    all_added: AddedVocabulary,
    /// Finds those that are not special.
    text_added: AddedVocabulary,
}

/// The tokens that are found in a text before all else. `names` knows their ids.
pub(super) fn added_vocabulary(
    tokens: Vec<AddedToken>,
    names: &impl tokenizers::Model,
    normalizer: Option<&NormalizerWrapper>,
    field: &'static str,
) -> Result<AddedVocabulary, TokenizerError> {
    let mut added = AddedVocabulary::new();
    added.add_tokens(tokens, names, normalizer).map_err(|error| {
        TokenizerError::invalid(field, error.to_string(), "added tokens that can be told apart")
    })?;
    Ok(added)
}

impl Encoder {
    pub(super) fn new(algorithm: Algorithm, all_added: AddedVocabulary) -> Self {
        let mut text_added = all_added.clone();
        text_added.set_encode_special_tokens(true);
        Encoder { algorithm, all_added, text_added }
    }

    pub(super) fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// Whether an added token takes the white space beside it, however much there is.
    pub(super) fn takes_white_space(&self) -> bool {
        self.all_added.get_added_tokens_decoder().values().any(|token| token.lstrip || token.rstrip)
    }

    /// Appends the ids of `text`. Every `mark` in it is dropped once the added tokens are found: it keeps what looks
    /// like one from being read as one.
    pub(super) fn encode(
        &self,
        text: &str,
        specials: Specials,
        mark: Option<char>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        let added = match specials {
            Specials::Parse => &self.all_added,
            Specials::Text => &self.text_added,
        };
        self.encode_with(added, text, mark, ids).map_err(|error| TokenizerError::Encode(error.to_string()))
    }

    fn encode_with(
        &self,
        added: &AddedVocabulary,
        text: &str,
        mark: Option<char>,
        ids: &mut Vec<TokenId>,
    ) -> tokenizers::Result<()> {
        let normalizer = match &self.algorithm {
            Algorithm::Steps { normalizer, .. } => normalizer.as_ref(),
            Algorithm::Spm(_) => None,
        };
        let mut pieces = added.extract_and_normalize(normalizer, text);
        if let Some(mark) = mark {
            pieces.normalize(|piece| piece.replace(mark, ""))?;
        }
        match &self.algorithm {
            Algorithm::Steps { pre_tokenizer, model, .. } => {
                if let Some(pre_tokenizer) = pre_tokenizer {
                    pre_tokenizer.pre_tokenize(&mut pieces)?;
                }
                model.tokenize_in_pretokenized(&mut pieces, None)?;
                for (_, _, tokens) in splits(&pieces) {
                    ids.extend(tokens.iter().flatten().map(|token| TokenId(token.id)));
                }
            }
            Algorithm::Spm(spm) => {
                let mut after_special = true;
                for (text, _, tokens) in splits(&pieces) {
                    match tokens {
                        Some(tokens) => ids.extend(tokens.iter().map(|token| TokenId(token.id))),
                        None => spm.encode(text, after_special, ids),
                    }
                    after_special = tokens.is_some();
                }
            }
        }
        Ok(())
    }
}

type SplitRef<'a> = (&'a str, tokenizers::Offsets, &'a Option<Vec<tokenizers::Token>>);

fn splits(pieces: &PreTokenizedString) -> Vec<SplitRef<'_>> {
    pieces.get_splits(OffsetReferential::Normalized, OffsetType::None)
}
