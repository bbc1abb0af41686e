//! From a request's JSON to the engine's request.

use super::accepted::accept_usual;
use super::fields::{ApiError, Fields};
use super::sampling::{context_overflow, decoding, defaults, logprobs_mode, sampling, stop, token_ids};
use crate::cli::run::DefaultsJson;
use crate::error::CliError;
use crate::load::ModelFile;
use crate::prompt::{ChatPrompt, TemplateVariables, encode_raw};
use limpid_engine::TokenId;
use limpid_engine::chat::Message;
use limpid_engine::decode::LogprobParams;
use limpid_engine::engine::{ContextOverflow, Dropped, Request, RequestError};
use limpid_engine::sampling::Defaults;
use limpid_engine::tokenizer::{Specials, Tokenizer};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Prompts of one request.
const MAX_PROMPTS: usize = 64;

/// Alternatives of each token whose log-probabilities are told, as in OpenAI's API.
const MAX_ALTERNATIVES: usize = 20;

/// Log-probabilities of prompt tokens in one answer, alternatives included.
const MAX_PROMPT_LOGPROBS: usize = 200_000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    Completions,
    ChatCompletions,
}

impl Endpoint {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::ChatCompletions => "/v1/chat/completions",
        }
    }

    pub(crate) fn from_path(path: &str) -> Option<Self> {
        [Self::Completions, Self::ChatCompletions].into_iter().find(|endpoint| endpoint.path() == path)
    }
}

/// A request and what its answer has to know.
pub(crate) struct Ask {
    /// One for each prompt, alike in all else; at least one. What the engine drops of a prompt goes here, too.
    pub(crate) requests: Vec<Request>,
    pub(crate) endpoint: Endpoint,
    /// As the request spells it.
    pub(crate) model: String,
    /// Whether the answer's texts begin with the prompt's.
    pub(crate) echoes: bool,
    /// Whether the answer has the ids of its tokens.
    pub(crate) returns_token_ids: bool,
    /// `None`: the answer comes as a whole.
    pub(crate) stream: Option<Stream>,
}

/// An answer in chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    /// Whether the last chunk has the usage.
    pub(crate) includes_usage: bool,
}

impl Ask {
    pub(super) fn seed(&self) -> u64 {
        self.requests[0].sampling.seed
    }

    pub(super) fn wants_logprobs(&self) -> bool {
        self.requests[0].logprobs.output.is_some()
    }

    /// Of each prompt.
    pub(super) fn n_texts(&self) -> usize {
        self.requests[0].decoding.n_texts()
    }

    pub(super) fn drop_of_prompt(&mut self, i: usize, Dropped { start, n_tokens }: Dropped) {
        self.requests[i].prompt.drain(start..start + n_tokens);
    }
}

/// What requests are translated with.
pub(crate) struct Translator {
    tokenizer: Arc<Tokenizer>,
    chat: Option<ChatPrompt>,
    defaults: Defaults,
    /// For answers.
    defaults_json: Value,
    context_length: Option<usize>,
    /// Of the model, for messages.
    name: String,
}

impl Translator {
    pub(crate) fn new(file: &ModelFile, tokenizer: Arc<Tokenizer>) -> Result<Self, CliError> {
        let metadata = file.weights.metadata();
        let defaults = defaults(Defaults::of(metadata, file.config.vocab_size)?);
        let defaults_json = shortest(&DefaultsJson::new(&defaults));
        let chat = ChatPrompt::of(file, TemplateVariables::default(), &tokenizer)?;
        Ok(Self { tokenizer, chat, defaults, defaults_json, context_length: None, name: file.name() })
    }

    /// From now on a prompt that is far too long for the context is refused before it is tokenized, which may take many
    /// seconds.
    pub(crate) fn with_context(self, context_length: usize) -> Self {
        Self { context_length: Some(context_length), ..self }
    }

    /// From now on messages call the model so, and not by its file.
    pub(crate) fn with_name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// What went wrong with a request that the engine had begun.
    pub(super) fn failed(&self, error: &RequestError) -> ApiError {
        ApiError::failed(format!("{}: {error}", self.name))
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(crate) fn defaults(&self) -> &Value {
        &self.defaults_json
    }

    /// `seed` is the one of a request that gives none.
    pub(crate) fn ask(&self, endpoint: Endpoint, body: Value, seed: u64) -> Result<Ask, ApiError> {
        let mut fields = Fields::new(body, "")?;
        let model = fields.text("model")?.ok_or_else(|| fields.missing("model", "a name"))?;
        let stream = stream(&mut fields)?;
        let context_overflow = context_overflow(&mut fields)?;
        // A prompt that may be cut is cut token by token.
        let most = self.context_length.filter(|_| context_overflow == ContextOverflow::Error);
        let prompts = match endpoint {
            Endpoint::Completions => self.prompts(&mut fields, most)?,
            Endpoint::ChatCompletions => vec![self.conversation(&mut fields, most)?],
        };
        let decoding = decoding(&mut fields)?;
        let sampling = sampling(&mut fields, &self.defaults, &decoding, &self.tokenizer, seed)?;
        let echoes = endpoint == Endpoint::Completions && fields.flag("echo")?.unwrap_or(false);
        let request = Request {
            stop: stop(&mut fields)?,
            max_tokens: max_tokens(&mut fields, endpoint)?,
            context_overflow,
            logprobs: logprobs(&mut fields, endpoint, echoes)?,
            time_limit: time_limit(&mut fields)?,
            decoding,
            ..Request::new(Vec::new(), sampling)
        };
        let returns_token_ids = fields.flag("return_token_ids")?.unwrap_or(false);
        accept_usual(&mut fields, endpoint)?;
        fields.end()?;
        let requests: Vec<_> =
            prompts.into_iter().map(|prompt| Request { prompt, ..request.clone() }).collect();
        check_scored(&requests, echoes)?;
        Ok(Ask { requests, endpoint, model, echoes, returns_token_ids, stream })
    }

    /// The ids of a `prompt` as completions read it, or of `messages` as chats do.
    pub(crate) fn tokenize(&self, mut fields: Fields) -> Result<Vec<TokenId>, ApiError> {
        let text = fields.text("prompt")?;
        let adds_special = fields.flag("add_special_tokens")?;
        let tokens = match text {
            None if adds_special.is_none() && fields.has("messages") => {
                self.conversation(&mut fields, None)?
            }
            None => return Err(fields.missing("prompt", "a string (or `messages`, those of a chat)")),
            Some(text) => {
                let bos = adds_special.unwrap_or(true) && self.tokenizer.special().add_bos;
                let tokens = self.tokenizer.encode(&text, Specials::Parse, bos);
                tokens.map_err(|error| unreadable("prompt", &error.into()))?
            }
        };
        fields.end()?;
        Ok(tokens)
    }

    /// The text of `tokens`, special ones included.
    pub(crate) fn detokenize(&self, mut fields: Fields) -> Result<String, ApiError> {
        const EXPECTED: &str = "a list of token ids";
        let tokens = fields.read("tokens", EXPECTED, token_ids)?;
        let tokens = tokens.ok_or_else(|| fields.missing("tokens", EXPECTED))?;
        fields.end()?;
        let n_known = self.tokenizer.vocab_size();
        match tokens.iter().find(|id| id.0 as usize >= n_known) {
            None => Ok(self.tokenizer.decode(&tokens, false)),
            Some(id) => {
                let message = format!("`tokens` has {}, ids go from 0 to {}", id.0, n_known - 1);
                Err(ApiError::invalid(Some("tokens"), message))
            }
        }
    }

    /// What each text of an answer to prompt `i` begins with.
    pub(super) fn echo(&self, ask: &Ask, i: usize) -> String {
        if ask.echoes { self.tokenizer.decode(&ask.requests[i].prompt, true) } else { String::new() }
    }

    /// One or several, each a string or token ids.
    fn prompts(&self, fields: &mut Fields, most: Option<usize>) -> Result<Vec<Vec<TokenId>>, ApiError> {
        const EXPECTED: &str = "a string, a list of token ids, or a list of some of either,";
        let value = fields.take("prompt").ok_or_else(|| fields.missing("prompt", EXPECTED))?;
        let wrong = |value: &Value| fields.wrong("prompt", value, EXPECTED);
        let several = match &value {
            Value::Array(all) if all.iter().any(|one| one.is_string() || one.is_array()) => &all[..],
            one => std::slice::from_ref(one),
        };
        if several.len() > MAX_PROMPTS {
            let message =
                format!("`prompt` is a list of {} prompts, at most {MAX_PROMPTS} are taken", several.len());
            return Err(ApiError::invalid(Some("prompt"), message));
        }
        let one = |prompt: &Value| match prompt {
            Value::String(text) => {
                encode_raw(text, &self.tokenizer, most).map_err(|error| unreadable("prompt", &error))
            }
            ids => token_ids(ids).ok_or_else(|| wrong(&value)),
        };
        several.iter().map(one).collect()
    }

    fn conversation(&self, fields: &mut Fields, most: Option<usize>) -> Result<Vec<TokenId>, ApiError> {
        let messages = match fields.take("messages") {
            None => return Err(fields.missing("messages", "a list of messages")),
            Some(Value::Array(messages)) => messages,
            Some(other) => return Err(fields.wrong("messages", &other, "a list of messages")),
        };
        if messages.is_empty() {
            return Err(ApiError::invalid(
                Some("messages"),
                "`messages` is empty: one message or more is expected",
            ));
        }
        let messages = messages.into_iter().enumerate().map(message).collect::<Result<Vec<_>, _>>()?;
        let Some(chat) = &self.chat else {
            let message = "the model has no chat template: use /v1/completions";
            return Err(ApiError::invalid(Some("messages"), message));
        };
        let arguments = |value: &Value| Some(value.as_object()?.clone().into_iter().collect());
        let arguments = fields.read("chat_template_kwargs", "an object", arguments)?.unwrap_or_default();
        chat.encode_with(&messages, arguments, &self.tokenizer, most)
            .map_err(|error| unreadable("messages", &error))
    }
}

/// JSON whose numbers are as short as their type allows: 0.6, where an f32 as an f64 is 0.6000000238418579.
fn shortest(value: &impl Serialize) -> Value {
    let text = serde_json::to_string(value).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn unreadable(param: &str, error: &CliError) -> ApiError {
    ApiError::invalid(Some(param), error.to_string())
}

/// Who can speak, in OpenAI's API. Which of them a model knows is its template's to say.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

fn message((i, value): (usize, Value)) -> Result<Message, ApiError> {
    let mut fields = Fields::new(value, &format!("messages[{i}]."))?;
    let roles = ROLES.map(|role| (role, role));
    let role = fields.name("role", &roles)?.ok_or_else(|| fields.missing("role", "a string"))?.to_owned();
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

fn stream(fields: &mut Fields) -> Result<Option<Stream>, ApiError> {
    let is_asked = fields.flag("stream")?.unwrap_or(false);
    let Some(options) = fields.take("stream_options") else {
        return Ok(is_asked.then_some(Stream { includes_usage: false }));
    };
    if !is_asked {
        return Err(ApiError::invalid(Some("stream_options"), "`stream_options` needs `stream`: true"));
    }
    let mut options = Fields::new(options, "stream_options.")?;
    let includes_usage = options.flag("include_usage")?.unwrap_or(false);
    let off = |value: &Value| (value == false).then_some(());
    options.read("include_obfuscation", "false (chunks are not padded)", off)?;
    options.end()?;
    Ok(Some(Stream { includes_usage }))
}

fn time_limit(fields: &mut Fields) -> Result<Option<Duration>, ApiError> {
    let seconds =
        |value: &Value| Duration::try_from_secs_f64(value.as_f64()?).ok().filter(|time| !time.is_zero());
    fields.read("time_limit", "a number of seconds, from 0.000000001 up to 1e19,", seconds)
}

fn max_tokens(fields: &mut Fields, endpoint: Endpoint) -> Result<Option<usize>, ApiError> {
    let older = fields.count("max_tokens", 1)?;
    if endpoint == Endpoint::Completions {
        return Ok(older);
    }
    match (older, fields.count("max_completion_tokens", 1)?) {
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
        Endpoint::Completions => fields.count("logprobs", 0)?,
        Endpoint::ChatCompletions => match (fields.flag("logprobs")?, fields.count("top_logprobs", 0)?) {
            (Some(true), n_top) => Some(n_top.unwrap_or(0)),
            (_, None) => None,
            (_, Some(_)) => {
                let message = "`top_logprobs` needs `logprobs`: true";
                return Err(ApiError::invalid(Some("top_logprobs"), message));
            }
        },
    };
    let prompt = fields.count("prompt_logprobs", 0)?.or(if echoes { output } else { None });
    let logprobs = LogprobParams { output, prompt, mode: logprobs_mode(fields, output.is_some())? };
    logprobs.validate()?;
    let names = [(output_name(endpoint), output), ("prompt_logprobs", prompt)];
    match names.iter().find(|(_, n)| n.is_some_and(|n| n > MAX_ALTERNATIVES)) {
        Some((name, n)) => {
            let message = format!("`{name}` is {}, allowed is from 0 to {MAX_ALTERNATIVES}", n.unwrap_or(0));
            Err(ApiError::invalid(Some(name), message))
        }
        None => Ok(logprobs),
    }
}

/// How an endpoint calls the number of alternatives.
fn output_name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Completions => "logprobs",
        Endpoint::ChatCompletions => "top_logprobs",
    }
}

/// Refuses prompts whose log-probabilities would make an answer of hundreds of megabytes.
fn check_scored(requests: &[Request], echoes: bool) -> Result<(), ApiError> {
    let n_told = |request: &Request| {
        let n_each = request.logprobs.prompt.map_or(0, |n_top| n_top + 1);
        let n_times = if echoes { request.decoding.n_texts() } else { 1 };
        request.prompt.len().saturating_mul(n_each).saturating_mul(n_times)
    };
    let n_all = requests.iter().map(n_told).fold(0, usize::saturating_add);
    if n_all <= MAX_PROMPT_LOGPROBS {
        return Ok(());
    }
    let message = format!(
        "it asks for {n_all} log-probabilities of prompt tokens, alternatives included; at most {MAX_PROMPT_LOGPROBS} \
         are told in one answer: ask for fewer alternatives, prompts or texts"
    );
    Err(ApiError::invalid(Some("prompt_logprobs"), message))
}
