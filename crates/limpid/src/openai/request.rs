//! From a request's JSON to the engine's request.

use super::fields::{ApiError, Fields};
use super::sampling::{context_overflow, decoding, defaults, logprobs_mode, sampling, stop, token_ids};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::prompt::{ChatPrompt, TemplateVariables, encode_raw};
use limpid_engine::TokenId;
use limpid_engine::chat::Message;
use limpid_engine::decode::LogprobParams;
use limpid_engine::engine::Request;
use limpid_engine::sampling::Defaults;
use limpid_engine::tokenizer::Tokenizer;
use serde_json::Value;
use std::sync::Arc;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    Completions,
    ChatCompletions,
}

impl Endpoint {
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        match path {
            "/v1/completions" => Some(Self::Completions),
            "/v1/chat/completions" => Some(Self::ChatCompletions),
            _ => None,
        }
    }
}

/// A request and what its answer has to know.
pub(crate) struct Ask {
    /// What the engine drops of its prompt goes here, too.
    pub(crate) request: Request,
    pub(crate) endpoint: Endpoint,
    /// As the request spells it: there is one model, whatever it is called.
    pub(crate) model: String,
    /// Whether the answer's texts begin with the prompt's.
    pub(crate) echoes: bool,
}

/// What requests are translated with.
pub(crate) struct Translator {
    tokenizer: Arc<Tokenizer>,
    chat: Option<ChatPrompt>,
    defaults: Defaults,
}

impl Translator {
    pub(crate) fn new(file: &ModelFile, tokenizer: Arc<Tokenizer>) -> Result<Self, CliError> {
        let metadata = file.weights.metadata();
        let defaults = defaults(Defaults::of(metadata)?);
        let chat = ChatPrompt::of(file, TemplateVariables::default(), &tokenizer)?;
        Ok(Self { tokenizer, chat, defaults })
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// `seed` is the one of a request that gives none.
    pub(crate) fn ask(&self, endpoint: Endpoint, body: Value, seed: u64) -> Result<Ask, ApiError> {
        let mut fields = Fields::new(body, "")?;
        let model = fields.text("model")?.ok_or_else(|| fields.missing("model", "a name"))?;
        if fields.flag("stream")? == Some(true) {
            return Err(ApiError::invalid(
                Some("stream"),
                "`stream` is true: an answer here comes as a whole",
            ));
        }
        let prompt = match endpoint {
            Endpoint::Completions => self.prompt(&mut fields)?,
            Endpoint::ChatCompletions => self.conversation(&mut fields)?,
        };
        let decoding = decoding(&mut fields)?;
        let sampling = sampling(&mut fields, &self.defaults, &decoding, seed)?;
        let echoes = endpoint == Endpoint::Completions && fields.flag("echo")?.unwrap_or(false);
        let request = Request {
            stop: stop(&mut fields)?,
            max_tokens: max_tokens(&mut fields, endpoint)?,
            context_overflow: context_overflow(&mut fields)?,
            logprobs: logprobs(&mut fields, endpoint, echoes)?,
            decoding,
            ..Request::new(prompt, sampling)
        };
        fields.end()?;
        Ok(Ask { request, endpoint, model, echoes })
    }

    /// What each text of an answer begins with.
    pub(crate) fn echo(&self, ask: &Ask) -> String {
        if ask.echoes { self.tokenizer.decode(&ask.request.prompt, true) } else { String::new() }
    }

    /// A string or token ids; OpenAI's lists of prompts are as many requests.
    fn prompt(&self, fields: &mut Fields) -> Result<Vec<TokenId>, ApiError> {
        const EXPECTED: &str = "one string, or one list of token ids,";
        match fields.take("prompt") {
            None => Err(fields.missing("prompt", EXPECTED)),
            Some(Value::String(text)) => {
                encode_raw(&text, &self.tokenizer).map_err(|error| unreadable("prompt", &error))
            }
            Some(value) => token_ids(&value).ok_or_else(|| fields.wrong("prompt", &value, EXPECTED)),
        }
    }

    fn conversation(&self, fields: &mut Fields) -> Result<Vec<TokenId>, ApiError> {
        let messages = match fields.take("messages") {
            None => return Err(fields.missing("messages", "a list of messages")),
            Some(Value::Array(messages)) => messages,
            Some(other) => return Err(fields.wrong("messages", &other, "a list of messages")),
        };
        let messages = messages.into_iter().enumerate().map(message).collect::<Result<Vec<_>, _>>()?;
        let Some(chat) = &self.chat else {
            let message = "the model has no chat template: use /v1/completions";
            return Err(ApiError::invalid(Some("messages"), message));
        };
        chat.encode(&messages, &self.tokenizer).map_err(|error| unreadable("messages", &error))
    }
}

fn unreadable(param: &str, error: &CliError) -> ApiError {
    ApiError::invalid(Some(param), error.to_string())
}

fn message((i, value): (usize, Value)) -> Result<Message, ApiError> {
    let mut fields = Fields::new(value, &format!("messages[{i}]."))?;
    let role = fields.text("role")?.ok_or_else(|| fields.missing("role", "a string"))?;
    let content = fields.read("content", "a string, or a list of text parts,", content)?;
    let content = content.ok_or_else(|| fields.missing("content", "a string"))?;
    fields.end()?;
    Ok(Message { role, content })
}

/// A string, or parts that are all text.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(text_part).collect(),
        _ => None,
    }
}

fn text_part(part: &Value) -> Option<&str> {
    let is_text = part.as_object()?.len() == 2 && part["type"] == "text";
    part["text"].as_str().filter(|_| is_text)
}

fn max_tokens(fields: &mut Fields, endpoint: Endpoint) -> Result<Option<usize>, ApiError> {
    let older = fields.count("max_tokens")?;
    if endpoint == Endpoint::Completions {
        return Ok(older);
    }
    match (older, fields.count("max_completion_tokens")?) {
        (Some(_), Some(_)) => {
            let message = "`max_tokens` and `max_completion_tokens` are the same: give one of them";
            Err(ApiError::invalid(Some("max_completion_tokens"), message))
        }
        (older, newer) => Ok(older.or(newer)),
    }
}

/// Completions say how many alternatives; chats say that, and how many beside it. An echo has those of the prompt too.
fn logprobs(fields: &mut Fields, endpoint: Endpoint, echoes: bool) -> Result<LogprobParams, ApiError> {
    let output = match endpoint {
        Endpoint::Completions => fields.count("logprobs")?,
        Endpoint::ChatCompletions => match (fields.flag("logprobs")?, fields.count("top_logprobs")?) {
            (Some(true), n_top) => Some(n_top.unwrap_or(0)),
            (_, None) => None,
            (_, Some(_)) => {
                let message = "`top_logprobs` needs `logprobs`: true";
                return Err(ApiError::invalid(Some("top_logprobs"), message));
            }
        },
    };
    let prompt = fields.count("prompt_logprobs")?.or(if echoes { output } else { None });
    let logprobs = LogprobParams { output, prompt, mode: logprobs_mode(fields)? };
    logprobs.validate()?;
    Ok(logprobs)
}
