//! A tokenizer from a Hugging Face folder: tokenizer.json, and the files that name its special tokens.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::models::bpe::{BpeBuilder, Merges, Vocab as BpeVocab};
use tokenizers::{
    AddedToken, AddedVocabulary, Model as _, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
};

use super::encoder::{Algorithm, Encoder, added_vocabulary};
use super::error::TokenizerError;
use super::frame::Frame;
use super::special::SpecialTokens;
use super::spelling::Spelling;
use super::vocab::{TokenKind, Vocab};
use super::{Tokenizer, bpe};
use crate::TokenId;
use crate::weights::hf::HfMetadata;

const FILE: &str = "tokenizer.json";
const ADDED: &str = "tokenizer.json: added_tokens";
const MODEL: &str = "tokenizer.json: model";

/// The files of the folder, parsed, absent ones as `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HfTokenizer<'a> {
    pub tokenizer_json: Option<&'a [u8]>,
    pub tokenizer_config: Option<&'a Value>,
    pub special_tokens_map: Option<&'a Value>,
    pub generation_config: Option<&'a Value>,
    pub config: Option<&'a Value>,
}

/// tokenizer.json. `truncation` and `padding` are for batches of training texts: nothing is cut here.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<FileToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Value,
}

#[derive(Deserialize)]
struct FileToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// `dropout` is for training: it is not read.
#[derive(Deserialize)]
struct FileBpe {
    vocab: std::collections::HashMap<String, u32>,
    merges: Vec<FileMerge>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
}

/// `["a", "b"]`, or `"a b"` in older files.
#[derive(Deserialize)]
#[serde(untagged)]
enum FileMerge {
    Pair(String, String),
    Line(String),
}

impl<'a> HfTokenizer<'a> {
    pub fn read(metadata: &'a HfMetadata) -> Self {
        HfTokenizer {
            tokenizer_json: metadata.tokenizer_json.as_deref(),
            tokenizer_config: metadata.tokenizer_config.as_ref(),
            special_tokens_map: metadata.special_tokens_map.as_ref(),
            generation_config: metadata.generation_config.as_ref(),
            config: Some(&metadata.config),
        }
    }

    pub fn build(&self) -> Result<Tokenizer, TokenizerError> {
        let bytes = self.tokenizer_json.ok_or(TokenizerError::Missing {
            field: FILE,
            why: "it holds the vocabulary; transformers' save_pretrained writes it",
        })?;
        let file: File = serde_json::from_slice(bytes).map_err(|error| {
            TokenizerError::invalid(FILE, error.to_string(), "a tokenizer in the format 1.0")
        })?;
        let normalizer: Option<NormalizerWrapper> = step(file.normalizer, &NORMALIZERS)?;
        let pre_tokenizer: Option<PreTokenizerWrapper> = step(file.pre_tokenizer, &PRE_TOKENIZERS)?;
        let frame = Frame::read(file.post_processor.as_ref())?;
        let spelling = Spelling::read(file.decoder.as_ref())?;
        let model = read_model(file.model)?;
        let mut warnings = Vec::new();

        let expected: Vec<(String, u32)> =
            file.added_tokens.iter().map(|added| (added.token.content.clone(), added.id)).collect();
        let mut tokens = file.added_tokens.into_iter().map(|added| added.token).collect();
        self.make_special(&mut tokens, &model);
        let added = added_vocabulary(tokens, &model, normalizer.as_ref(), ADDED)?;
        for (content, id) in expected {
            if added.token_to_id(&content, &model) != Some(id) {
                warnings.push(format!(
                    "{ADDED}: `{content}` is listed with id {id}, but the vocabulary gives another"
                ));
            }
        }
        let vocab = read_vocab(&model, &added, &spelling)?;
        let names = Names { model: &model, added: &added };
        let special = self.special(&names, &frame, vocab.len(), &mut warnings)?;
        let algorithm = Algorithm::Steps { normalizer, pre_tokenizer, model: Box::new(model) };
        Ok(Tokenizer::assemble(Encoder::new(algorithm, added), vocab, special, warnings))
    }

    /// As in transformers, a token that tokenizer_config.json names for a role is special whatever tokenizer.json
    /// says, and is found in texts.
    fn make_special(&self, tokens: &mut Vec<AddedToken>, model: &ModelWrapper) {
        const ROLES: [&str; 7] =
            ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
        let mut named: Vec<&str> =
            ROLES.iter().filter_map(|role| text_of(self.config_value(role)?)).collect();
        let more = self.config_value("additional_special_tokens").and_then(Value::as_array);
        named.extend(more.into_iter().flatten().filter_map(text_of));
        for text in named {
            match tokens.iter_mut().find(|token| token.content == text) {
                Some(token) => token.special = true,
                None if model.token_to_id(text).is_some() => tokens.push(AddedToken::from(text, true)),
                None => {}
            }
        }
    }

    /// A value that is not null, of tokenizer_config.json or, in older folders, of special_tokens_map.json.
    fn config_value(&self, key: &str) -> Option<&Value> {
        let files = [self.tokenizer_config, self.special_tokens_map];
        files.into_iter().flatten().find_map(|file| file.get(key).filter(|value| !value.is_null()))
    }

    fn special(
        &self,
        names: &Names,
        frame: &Frame,
        vocab_size: usize,
        warnings: &mut Vec<String>,
    ) -> Result<SpecialTokens, TokenizerError> {
        let named = |field| self.named(field, names);
        let mut by_id = None;
        for (file, field) in [
            (self.generation_config, "generation_config.json bos_token_id"),
            (self.config, "config.json bos_token_id"),
        ] {
            let ids = token_ids(file, field)?;
            let unusable = ids.iter().flatten().filter(|id| id.0 as usize >= vocab_size);
            warnings.extend(unusable.map(|id| beyond(field, *id, vocab_size)));
            by_id = by_id.or(ids);
        }
        let bos = frame.before.or(named("tokenizer_config.json bos_token")?);
        let bos = bos.or_else(|| by_id?.first().copied());
        let mut special = SpecialTokens {
            bos: bos.filter(|id| (id.0 as usize) < vocab_size),
            unknown: named("tokenizer_config.json unk_token")?,
            pad: named("tokenizer_config.json pad_token")?,
            ..SpecialTokens::default()
        };
        let flag = self.flag("tokenizer_config.json add_bos_token")?;
        special.add_bos = frame.decides("add_bos_token", frame.before.is_some(), flag, warnings);
        let flag = self.flag("tokenizer_config.json add_eos_token")?;
        special.add_eos = frame.decides("add_eos_token", frame.after.is_some(), flag, warnings);
        self.find_eos(named("tokenizer_config.json eos_token")?, vocab_size, &mut special, warnings)?;
        Ok(special)
    }

    /// A switch of tokenizer_config.json. `field`: the file's name and the key, here and below.
    fn flag(&self, field: &'static str) -> Result<Option<bool>, TokenizerError> {
        match self.tokenizer_config.and_then(|config| config.get(key_of(field))) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(found) => Err(TokenizerError::invalid(field, found.to_string(), "true or false")),
        }
    }

    /// The id of the token that has a role; `None` if none has, or if the vocabulary does not have it.
    fn named(&self, field: &'static str, names: &Names<'_>) -> Result<Option<TokenId>, TokenizerError> {
        let Some(found) = self.config_value(key_of(field)) else { return Ok(None) };
        let text = text_of(found).ok_or_else(|| {
            TokenizerError::invalid(
                field,
                found.to_string(),
                "a token's text, or an object with it as `content`",
            )
        })?;
        Ok(names.id(text))
    }

    fn find_eos(
        &self,
        named: Option<TokenId>,
        vocab_size: usize,
        special: &mut SpecialTokens,
        warnings: &mut Vec<String>,
    ) -> Result<(), TokenizerError> {
        const GENERATION_CONFIG: &str = "generation_config.json eos_token_id";
        const CONFIG: &str = "config.json eos_token_id";
        let sources = [
            // First what the chat template means by `eos_token`.
            ("tokenizer_config.json eos_token", named.map(|id| vec![id])),
            (GENERATION_CONFIG, token_ids(self.generation_config, GENERATION_CONFIG)?),
            (CONFIG, token_ids(self.config, CONFIG)?),
        ];
        for (source, ids) in &sources {
            for id in ids.iter().flatten() {
                if (id.0 as usize) < vocab_size {
                    special.add_eos_token(*id, source);
                } else {
                    warnings.push(beyond(source, *id, vocab_size));
                }
            }
        }
        let said: Vec<_> = sources.iter().filter_map(|(source, ids)| Some((source, ids.as_ref()?))).collect();
        let agree = |ids: &[TokenId], others: &[TokenId]| {
            ids.iter().all(|id| others.contains(id)) || others.iter().all(|id| ids.contains(id))
        };
        if said.windows(2).any(|pair| !agree(pair[0].1, pair[1].1)) {
            let said: Vec<_> =
                said.iter().map(|(source, ids)| format!("{source} is {}", list(ids))).collect();
            warnings.push(format!(
                "the files name different EOS tokens, and each of them ends a text: {}",
                said.join("; ")
            ));
        }
        Ok(())
    }
}

/// A token is named by its text, or by an object with the text as `content`.
fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One step of tokenizer.json in the crate's form.
fn step<T: DeserializeOwned>(value: Option<Value>, known: &Known) -> Result<Option<T>, TokenizerError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    known.check(&value)?;
    serde_json::from_value(value)
        .map(Some)
        .map_err(|error| TokenizerError::invalid(known.field, error.to_string(), "its parameters"))
}

/// The kinds of one step that decoder-only models use; a hostile file cannot make these panic.
struct Known {
    field: &'static str,
    /// Where a `Sequence` lists its parts.
    parts: &'static str,
    kinds: &'static [&'static str],
}

const NORMALIZERS: Known = Known {
    field: "tokenizer.json: normalizer",
    parts: "normalizers",
    kinds: &["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents"],
};

const PRE_TOKENIZERS: Known = Known {
    field: "tokenizer.json: pre_tokenizer",
    parts: "pretokenizers",
    kinds: &["ByteLevel", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit"],
};

impl Known {
    fn check(&self, step: &Value) -> Result<(), TokenizerError> {
        let kind = step.get("type").and_then(Value::as_str).unwrap_or("(no type)");
        if let ("Sequence", Some(parts)) = (kind, step.get(self.parts).and_then(Value::as_array)) {
            return parts.iter().try_for_each(|part| self.check(part));
        }
        if self.kinds.contains(&kind) {
            return Ok(());
        }
        let known = format!("Sequence, {}", self.kinds.join(", "));
        Err(TokenizerError::Unknown { field: self.field, found: kind.to_string(), known })
    }
}

/// An id, or a list of ids (`eos_token_id` of a generation_config.json is either). `field`: the file's name and the
/// key.
fn token_ids(config: Option<&Value>, field: &'static str) -> Result<Option<Vec<TokenId>>, TokenizerError> {
    let key = key_of(field);
    let ids: Option<Vec<TokenId>> = match config.and_then(|config| config.get(key)) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(values)) => values.iter().map(token_id).collect(),
        Some(one) => token_id(one).map(|id| vec![id]),
    };
    match ids {
        Some(ids) => Ok(Some(ids).filter(|ids| !ids.is_empty())),
        None => {
            let found = config.and_then(|config| config.get(key)).map_or_else(String::new, Value::to_string);
            Err(TokenizerError::invalid(field, found, "a token id or a list of them"))
        }
    }
}

/// Of the name of a file and a key.
fn key_of(field: &'static str) -> &'static str {
    field.rsplit(' ').next().unwrap_or(field)
}

/// A warning.
fn beyond(field: &str, id: TokenId, vocab_size: usize) -> String {
    format!("{field} is {}, but there are {vocab_size} tokens: it is not used", id.0)
}

fn token_id(value: &Value) -> Option<TokenId> {
    value.as_u64().and_then(|id| u32::try_from(id).ok()).map(TokenId)
}

fn list(ids: &[TokenId]) -> String {
    ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
}

fn read_model(model: Value) -> Result<ModelWrapper, TokenizerError> {
    let kind = model.get("type").and_then(Value::as_str);
    // Files from before `type` was written are BPE if they list merges.
    let kind = kind.or(model.get("merges").map(|_| "BPE")).unwrap_or("(no type)");
    if kind != "BPE" {
        let (found, known) = (kind.to_string(), "BPE".to_string());
        return Err(TokenizerError::Unknown { field: MODEL, found, known });
    }
    let file: FileBpe = serde_json::from_value(model)
        .map_err(|error| TokenizerError::invalid(MODEL, error.to_string(), "a BPE model"))?;
    let decorations = [&file.continuing_subword_prefix, &file.end_of_word_suffix];
    if let Some(found) = decorations.into_iter().flatten().find(|decoration| !decoration.is_empty()) {
        let expected = "no continuing_subword_prefix and no end_of_word_suffix: they are not supported";
        return Err(TokenizerError::invalid(MODEL, format!("`{found}`"), expected));
    }
    let merges = file.merges.into_iter().map(FileMerge::pair).collect::<Result<Merges, _>>()?;
    let mut builder = BpeBuilder::new()
        .fuse_unk(file.fuse_unk.unwrap_or(false))
        .byte_fallback(file.byte_fallback.unwrap_or(false))
        .ignore_merges(file.ignore_merges.unwrap_or(false));
    if let Some(unk) = file.unk_token {
        builder = builder.unk_token(unk);
    }
    let vocab: BpeVocab = file.vocab.into_iter().collect();
    Ok(ModelWrapper::BPE(bpe::build(builder, vocab, merges, MODEL)?))
}

impl FileMerge {
    fn pair(self) -> Result<(String, String), TokenizerError> {
        match self {
            FileMerge::Pair(left, right) => Ok((left, right)),
            FileMerge::Line(line) => match line.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => Ok((left.to_string(), right.to_string())),
                _ => Err(TokenizerError::invalid(
                    MODEL,
                    format!("the merge `{line}`"),
                    "two tokens and one space",
                )),
            },
        }
    }
}

/// Ids by text.
struct Names<'a> {
    model: &'a ModelWrapper,
    added: &'a AddedVocabulary,
}

impl Names<'_> {
    fn id(&self, text: &str) -> Option<TokenId> {
        self.added.token_to_id(text, self.model).map(TokenId)
    }
}

/// Bytes and kinds of all tokens, by id.
fn read_vocab(
    model: &ModelWrapper,
    added: &AddedVocabulary,
    spelling: &Spelling,
) -> Result<Vocab, TokenizerError> {
    let words = model.get_vocab();
    let added = added.get_added_tokens_decoder();
    let n_tokens = words.len() + added.len();
    let n_ids = words.values().chain(added.keys()).max().map_or(0, |id| *id as usize + 1);
    if n_ids > 2 * n_tokens + 1024 {
        let expected = "ids without large holes";
        return Err(TokenizerError::invalid(
            FILE,
            format!("{n_tokens} tokens with ids up to {}", n_ids - 1),
            expected,
        ));
    }
    let mut by_id: Vec<Option<&str>> = vec![None; n_ids];
    for (word, id) in &words {
        if let Some(other) = by_id[*id as usize].replace(word) {
            let found = format!("the id {id} for `{other}` and `{word}`");
            return Err(TokenizerError::invalid(FILE, found, "one token for each id"));
        }
    }
    let mut vocab = Vocab::with_capacity(n_ids, spelling.strips_first_space());
    let mut bytes = Vec::new();
    for (i, word) in by_id.iter().enumerate() {
        bytes.clear();
        match (added.get(&(i as u32)), word) {
            (Some(token), _) => {
                let kind = if token.special { TokenKind::Special } else { TokenKind::UserDefined };
                vocab.push(token.content.as_bytes(), kind);
            }
            (None, Some(word)) => {
                spelling.decode(word, &mut bytes);
                vocab.push(&bytes, TokenKind::Normal);
            }
            (None, None) => vocab.push(&[], TokenKind::Unused),
        }
    }
    Ok(vocab)
}
