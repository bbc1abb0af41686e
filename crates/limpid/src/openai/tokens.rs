//! Log-probabilities as OpenAI's API spells them, which the two endpoints do differently.

use crate::texts::TextLogprob;
use limpid_engine::TokenId;
use limpid_engine::decode::TopLogprob;
use limpid_engine::tokenizer::{Detokenizer, Tokenizer};
use serde_json::{Map, Value, json};

/// Of chats: an object a token.
pub(super) fn chat_token(of: &TextLogprob, tokenizer: &Tokenizer) -> Value {
    let one = |id: TokenId, logprob: f32| {
        json!({"token": tokenizer.piece(id), "token_id": id.0, "logprob": number(logprob),
            "bytes": tokenizer.piece_bytes(id)})
    };
    let mut entry = one(of.id, of.logprob);
    if let Value::Object(entry) = &mut entry {
        let top = of.top.iter().map(|top| one(top.id, top.logprob)).collect();
        entry.insert("top_logprobs".to_owned(), Value::Array(top));
    }
    entry
}

pub(super) fn chat_tokens(logprobs: &[TextLogprob], tokenizer: &Tokenizer) -> Value {
    logprobs.iter().map(|of| chat_token(of, tokenizer)).collect()
}

/// Of completions: lists side by side, one entry a token. An offset is where in the answer's text, in characters, that
/// of the token begins.
pub(super) struct CompletionTokens {
    detokenizer: Detokenizer,
    /// The text of the token at hand.
    text: String,
    offset: usize,
    tokens: Vec<Value>,
    token_logprobs: Vec<Value>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<Value>,
}

impl CompletionTokens {
    /// Of a text that continues `prompt`.
    pub(super) fn after(prompt: &[TokenId], tokenizer: &Tokenizer) -> Self {
        Self::new(Detokenizer::after(tokenizer, prompt))
    }

    /// Of a text that begins with its prompt. `told` are the log-probabilities of all of the prompt's tokens but the
    /// first, which has none.
    pub(super) fn with_echo(prompt: &[TokenId], told: &[TextLogprob], tokenizer: &Tokenizer) -> Self {
        let mut tokens = Self::new(Detokenizer::new(tokenizer));
        prompt.first().into_iter().for_each(|&id| tokens.push_token(id, None, tokenizer));
        told.iter().for_each(|of| tokens.push(of, tokenizer));
        tokens
    }

    fn new(detokenizer: Detokenizer) -> Self {
        Self {
            detokenizer,
            text: String::new(),
            offset: 0,
            tokens: Vec::new(),
            token_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text_offset: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, of: &TextLogprob, tokenizer: &Tokenizer) {
        self.push_token(of.id, Some(of), tokenizer);
    }

    fn push_token(&mut self, id: TokenId, of: Option<&TextLogprob>, tokenizer: &Tokenizer) {
        let piece = tokenizer.piece(id);
        self.text_offset.push(json!(self.offset));
        self.text.clear();
        self.detokenizer.push(tokenizer, id, &mut self.text);
        self.offset += self.text.chars().count();
        self.tokens.push(json!(piece));
        self.token_logprobs.push(json!(of.map(|of| number(of.logprob))));
        let top = of.map(|of| {
            // Where alternatives are asked for, the chosen one stands among them, likely or not.
            let chosen = (!of.top.is_empty()).then(|| (piece.to_string(), number(of.logprob)));
            of.top.iter().map(|top| named(top, tokenizer)).chain(chosen).collect::<Map<_, _>>()
        });
        self.top_logprobs.push(json!(top));
    }

    /// What was pushed since the last time.
    pub(super) fn take(&mut self) -> Value {
        let take = |list: &mut Vec<Value>| Value::Array(std::mem::take(list));
        json!({
            "tokens": take(&mut self.tokens),
            "token_logprobs": take(&mut self.token_logprobs),
            "top_logprobs": take(&mut self.top_logprobs),
            "text_offset": take(&mut self.text_offset),
        })
    }
}

fn named(top: &TopLogprob, tokenizer: &Tokenizer) -> (String, Value) {
    (tokenizer.piece(top.id).into_owned(), number(top.logprob))
}

/// As short as an f32 can be told from its neighbours; null if it is not finite.
fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
