//! A tokenizer from the metadata of a GGUF file (`tokenizer.ggml.*`).

use std::collections::HashMap;

use tokenizers::models::bpe::{BpeBuilder, Merges, Vocab as BpeVocab};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::encoder::{Algorithm, Encoder, added_vocabulary};
use super::error::TokenizerError;
use super::special::SpecialTokens;
use super::spm::{SPACE_MARK, Spm, parse_byte_token};
use super::vocab::{TokenKind, Vocab};
use super::{Tokenizer, bpe, byte_level, pretokenizers};
use crate::TokenId;
use crate::weights::WeightsError;
use crate::weights::gguf::GgufMetadata;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const PAD: &str = "tokenizer.ggml.padding_token_id";

/// `tokenizer.ggml.token_type` (llama.h, `llama_token_type`).
mod token_type {
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// Texts of tokens that end a turn or a document. A GGUF file has room for one EOS id and many files lack the keys
/// for the others, so llama.cpp knows them by their texts (`special_eog_ids`); so does Limpid, for the families that
/// it runs, where the token is not an ordinary one.
const END_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "<|end_of_text|>",
];

/// The keys of `tokenizer.ggml.` as plain data, absent ones as `None`.
#[derive(Clone, Debug, Default)]
pub struct GgufTokenizer {
    pub model: Option<String>,
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Option<Vec<f32>>,
    pub token_types: Option<Vec<i32>>,
    pub merges: Option<Vec<String>>,
    pub bos_id: Option<u64>,
    pub eos_id: Option<u64>,
    pub eot_id: Option<u64>,
    pub eom_id: Option<u64>,
    pub unknown_id: Option<u64>,
    pub pad_id: Option<u64>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
    /// `general.name`: the only sign of Phi-3, whose special tokens swallow the white space after them.
    pub model_name: Option<String>,
}

/// What depends on the kind of tokenizer.
struct Family {
    algorithm: Algorithm,
    vocab: Vocab,
    adds_bos: bool,
    bos_id: Option<u64>,
    eos_id: Option<u64>,
    unknown_id: Option<u64>,
}

impl GgufTokenizer {
    /// Reads the keys; a value of the wrong type is an error.
    pub fn read(metadata: &GgufMetadata) -> Result<Self, WeightsError> {
        let text = |key| metadata.str(key).map(|value| value.map(str::to_owned));
        let texts = |key| {
            metadata.str_array(key).map(|value| value.map(|array| array.iter().map(str::to_owned).collect()))
        };
        Ok(GgufTokenizer {
            model: text(MODEL)?,
            pre: text(PRE)?,
            tokens: texts(TOKENS)?.unwrap_or_default(),
            scores: metadata.f32_array(SCORES)?,
            token_types: metadata.i32_array(TYPES)?,
            merges: texts(MERGES)?,
            bos_id: metadata.u64(BOS)?,
            eos_id: metadata.u64(EOS)?,
            eot_id: metadata.u64(EOT)?,
            eom_id: metadata.u64(EOM)?,
            unknown_id: metadata.u64(UNKNOWN)?,
            pad_id: metadata.u64(PAD)?,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?,
            model_name: text("general.name")?,
        })
    }

    pub fn build(&self) -> Result<Tokenizer, TokenizerError> {
        let model = self.model.as_deref().ok_or(TokenizerError::Missing {
            field: MODEL,
            why: "without it a text cannot be turned into ids; convert the model again with its tokenizer",
        })?;
        self.check_lengths()?;
        let mut warnings = Vec::new();
        let family = match model {
            "gpt2" => self.byte_level_bpe(&mut warnings)?,
            "llama" => self.sentencepiece()?,
            other => {
                let known = "gpt2 (byte-level BPE), llama (SentencePiece)".to_string();
                return Err(TokenizerError::Unknown { field: MODEL, found: other.to_string(), known });
            }
        };
        let Family { algorithm, mut vocab, adds_bos, bos_id, eos_id, unknown_id } = family;
        let mut special = SpecialTokens {
            bos: self.id(BOS, self.bos_id.or(bos_id), &mut warnings),
            add_bos: self.add_bos.unwrap_or(adds_bos),
            add_eos: self.add_eos.unwrap_or(false),
            eos: Vec::new(),
            unknown: self.id(UNKNOWN, self.unknown_id.or(unknown_id), &mut warnings),
            pad: self.id(PAD, self.pad_id, &mut warnings),
        };
        self.find_eos(eos_id, &mut special, &mut vocab, &mut warnings);
        let (added, names) = self.added_tokens(&vocab)?;
        let encoder = Encoder::new(algorithm, added_vocabulary(added, &names, None, TOKENS)?);
        Ok(Tokenizer::assemble(encoder, vocab, special, warnings))
    }

    fn check_lengths(&self) -> Result<(), TokenizerError> {
        let n_tokens = self.tokens.len();
        if n_tokens == 0 {
            return Err(TokenizerError::Missing { field: TOKENS, why: "it lists the vocabulary" });
        }
        let lengths =
            [(SCORES, self.scores.as_ref().map(Vec::len)), (TYPES, self.token_types.as_ref().map(Vec::len))];
        for (field, length) in lengths {
            if let Some(found) = length.filter(|length| *length != n_tokens) {
                let expected = format!("{n_tokens}, one for each of {TOKENS}");
                return Err(TokenizerError::invalid(field, format!("{found} entries"), expected));
            }
        }
        Ok(())
    }

    fn token_type(&self, i: usize) -> i32 {
        self.token_types.as_ref().map_or(0, |types| types[i])
    }

    fn kind(&self, i: usize) -> TokenKind {
        if self.tokens[i].is_empty() {
            return TokenKind::Unused;
        }
        match self.token_type(i) {
            token_type::UNKNOWN | token_type::CONTROL => TokenKind::Special,
            token_type::USER_DEFINED => TokenKind::UserDefined,
            token_type::UNUSED => TokenKind::Unused,
            _ => TokenKind::Normal,
        }
    }

    fn byte_level_bpe(&self, warnings: &mut Vec<String>) -> Result<Family, TokenizerError> {
        let name = self.pre.as_deref().unwrap_or_else(|| {
            warnings
                .push(format!("{PRE} is missing: an old file; texts are cut as llama.cpp's `default` does"));
            "default"
        });
        let pre = pretokenizers::find(name).ok_or_else(|| TokenizerError::Unknown {
            field: PRE,
            found: name.to_string(),
            known: pretokenizers::known_names(),
        })?;
        let lines = self.merges.as_ref().ok_or(TokenizerError::Missing {
            field: MERGES,
            why: "byte-level BPE joins bytes into tokens by it",
        })?;
        let merges = lines.iter().map(|line| split_merge(line)).collect::<Result<Merges, _>>()?;

        let mut vocab = Vocab::with_capacity(self.tokens.len(), false);
        let mut words = BpeVocab::with_capacity(self.tokens.len());
        let mut bytes = Vec::new();
        for (i, token) in self.tokens.iter().enumerate() {
            let kind = self.kind(i);
            bytes.clear();
            match kind {
                TokenKind::Normal => byte_level::decode(token, &mut bytes),
                TokenKind::Special | TokenKind::UserDefined => bytes.extend_from_slice(token.as_bytes()),
                TokenKind::Unused => {}
            }
            vocab.push(&bytes, kind);
            if kind != TokenKind::Special && !token.is_empty() {
                words.insert(token.clone(), i as u32);
            }
        }
        let bpe = bpe::build(BpeBuilder::new().ignore_merges(pre.ignores_merges), words, merges, MERGES)?;
        let algorithm = Algorithm::Steps {
            normalizer: pre.normalizes_nfc.then_some(NormalizerWrapper::NFC(NFC)),
            pre_tokenizer: Some(pre_tokenizer(pre.patterns)?),
            model: Box::new(ModelWrapper::BPE(bpe)),
        };
        Ok(Family { algorithm, vocab, adds_bos: pre.adds_bos, bos_id: None, eos_id: None, unknown_id: None })
    }

    fn sentencepiece(&self) -> Result<Family, TokenizerError> {
        let scores = self.scores.as_ref().ok_or(TokenizerError::Missing {
            field: SCORES,
            why: "SentencePiece joins characters into tokens by it",
        })?;
        if let Some(i) = scores.iter().position(|score| score.is_nan()) {
            return Err(TokenizerError::invalid(SCORES, format!("NaN for token {i}"), "numbers"));
        }
        let adds_space_prefix = self.add_space_prefix.unwrap_or(true);
        let mut vocab = Vocab::with_capacity(self.tokens.len(), adds_space_prefix);
        let mut texts = HashMap::with_capacity(self.tokens.len());
        let mut byte_tokens = [None; 256];
        for (i, token) in self.tokens.iter().enumerate() {
            let (id, kind) = (TokenId(i as u32), self.kind(i));
            if self.token_type(i) == token_type::BYTE {
                let byte = parse_byte_token(token).ok_or_else(|| {
                    TokenizerError::invalid(TOKENS, format!("the byte token `{token}`"), "<0x..>")
                })?;
                byte_tokens[byte as usize] = Some(id);
                vocab.push(&[byte], kind);
                continue;
            }
            match kind {
                TokenKind::Normal => vocab.push(token.replace(SPACE_MARK, " ").as_bytes(), kind),
                TokenKind::Special | TokenKind::UserDefined => vocab.push(token.as_bytes(), kind),
                TokenKind::Unused => vocab.push(&[], kind),
            }
            if kind != TokenKind::Special && !token.is_empty() {
                // + 0.0 makes -0.0 equal to 0.0 in the total order.
                texts.insert(token.clone().into_boxed_str(), (id, scores[i] + 0.0));
            }
        }
        let unknown_id = self.unknown_id.or(Some(0));
        let unknown = unknown_id.filter(|id| *id < self.tokens.len() as u64).map(|id| TokenId(id as u32));
        if unknown.is_none() && byte_tokens.contains(&None) {
            let expected = "all of <0x00> to <0xFF>, or tokenizer.ggml.unknown_token_id";
            return Err(TokenizerError::invalid(TOKENS, "bytes without a token", expected));
        }
        Ok(Family {
            algorithm: Algorithm::Spm(Box::new(Spm::new(texts, byte_tokens, unknown, adds_space_prefix))),
            vocab,
            adds_bos: true,
            bos_id: Some(1),
            eos_id: Some(2),
            unknown_id,
        })
    }

    /// An id that a key gives, or nothing and a warning if there is no such token.
    fn id(&self, key: &'static str, id: Option<u64>, warnings: &mut Vec<String>) -> Option<TokenId> {
        let id = id?;
        if id >= self.tokens.len() as u64 {
            warnings
                .push(format!("{key} is {id}, but there are {} tokens: it is not used", self.tokens.len()));
            return None;
        }
        Some(TokenId(id as u32))
    }

    fn find_eos(
        &self,
        family_eos: Option<u64>,
        special: &mut SpecialTokens,
        vocab: &mut Vocab,
        warnings: &mut Vec<String>,
    ) {
        let keys = [(EOS, self.eos_id.or(family_eos)), (EOT, self.eot_id), (EOM, self.eom_id)];
        for (key, id) in keys {
            if let Some(id) = self.id(key, id, warnings) {
                special.add_eos_token(id, key);
            }
        }
        for (i, token) in self.tokens.iter().enumerate() {
            let id = TokenId(i as u32);
            let added = matches!(vocab.kind(id), TokenKind::Special | TokenKind::UserDefined);
            if added && END_TEXTS.contains(&token.as_str()) {
                special.add_eos_token(id, "the token's text");
                vocab.set_kind(id, TokenKind::Special);
            }
        }
    }

    /// Special and user-defined tokens, and a model that knows their ids.
    fn added_tokens(&self, vocab: &Vocab) -> Result<(Vec<AddedToken>, WordLevel), TokenizerError> {
        let mut added = Vec::new();
        let mut ids: HashMap<&str, usize> = HashMap::new();
        let mut names = BpeVocab::new();
        for (i, text) in self.tokens.iter().enumerate() {
            if let Some(first) = ids.insert(text, i).filter(|_| !text.is_empty()) {
                let found = format!("`{text}` twice, as token {first} and {i}");
                return Err(TokenizerError::invalid(TOKENS, found, "every text once"));
            }
            let kind = vocab.kind(TokenId(i as u32));
            if text.is_empty() || !matches!(kind, TokenKind::Special | TokenKind::UserDefined) {
                continue;
            }
            let token = AddedToken::from(text.as_str(), kind == TokenKind::Special).normalized(false);
            added.push(token.rstrip(self.swallows_space_after(text)));
            names.insert(text.clone(), i as u32);
        }
        let names = WordLevel::builder()
            .vocab(names)
            .build()
            .map_err(|error| TokenizerError::invalid(TOKENS, error.to_string(), "a vocabulary"))?;
        Ok((added, names))
    }

    /// GGUF has no key for a token's `rstrip`; Phi-3 is the one family in use that sets it (llama.cpp does the same).
    fn swallows_space_after(&self, text: &str) -> bool {
        let name = self.model_name.as_deref().unwrap_or_default().to_lowercase();
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        is_phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
    }
}

/// `a b`: two tokens with a space between them; the first may begin with a space of its own.
fn split_merge(line: &str) -> Result<(String, String), TokenizerError> {
    let space = line.bytes().skip(1).position(|byte| byte == b' ').map(|i| i + 1);
    match space {
        Some(space) => Ok((line[..space].to_string(), line[space + 1..].to_string())),
        None => {
            Err(TokenizerError::invalid(MERGES, format!("`{line}`"), "two tokens and a space between them"))
        }
    }
}

fn pre_tokenizer(patterns: &[&str]) -> Result<PreTokenizerWrapper, TokenizerError> {
    let mut steps = Vec::with_capacity(patterns.len() + 1);
    for pattern in patterns {
        let pattern = SplitPattern::Regex(pattern.to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| TokenizerError::invalid(PRE, error.to_string(), "a regular expression"))?;
        steps.push(PreTokenizerWrapper::Split(split));
    }
    steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
}
