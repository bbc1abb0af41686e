//! The description of the API: types that stand for what requests and answers look like, with their comments.
//!
//! Requests are not read into these types: `openai` takes them apart field by field, to say by name what is wrong. A
//! test holds the two against each other.
#![allow(dead_code, reason = "the types are described, never made")]

use super::routes::{completions, health, metrics, models, tokenize};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::{IntoResponses, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Limpid",
        description = "OpenAI's completions and chat completions, and what Limpid has beside them. With an API key \
                       every request but those for /health, /version and this page needs `Authorization: Bearer KEY`."
    ),
    paths(
        completions::completions,
        completions::chat_completions,
        models::list,
        models::one,
        tokenize::tokenize,
        tokenize::detokenize,
        health::health,
        health::version,
        metrics::metrics
    ),
    components(schemas(Failure))
)]
struct Api;

/// With the names of the model that is served.
pub(super) fn document(model_names: &[String]) -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    document["components"]["schemas"]["Common"]["properties"]["model"]["enum"] = json!(model_names);
    document
}

/// What both kinds of completions take.
#[derive(ToSchema, Serialize)]
pub(super) struct Common {
    /// The model's name, as /v1/models has it.
    model: String,
    /// The most tokens of the answer; left out: what the context has room for.
    #[schema(minimum = 1)]
    max_tokens: Option<u32>,
    /// No EOS and no stop token before so many tokens.
    min_tokens: Option<u32>,
    /// Texts for each prompt.
    #[schema(minimum = 1, maximum = 64)]
    n: Option<u32>,
    /// So many texts are made, and the `n` of the largest mean log-probability told.
    #[schema(minimum = 1, maximum = 64)]
    best_of: Option<u32>,
    /// Server-sent events, one chunk a token.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// The same seed gives the same texts.
    seed: Option<u64>,
    /// Up to 16 texts before which an answer ends.
    stop: Option<Stop>,
    /// Tokens with which an answer ends.
    stop_token_ids: Option<Vec<u32>>,
    /// The stop string or token stays in the text.
    include_stop: Option<bool>,
    ignore_eos: Option<IgnoreEos>,
    context_overflow: Option<ContextOverflow>,
    /// Seconds after which the answer ends as it stands.
    time_limit: Option<f64>,
    /// Each choice has `token_ids` and `prompt_token_ids`.
    return_token_ids: Option<bool>,
    /// So many alternatives for each token of the prompt.
    #[schema(maximum = 20)]
    prompt_logprobs: Option<u32>,
    logprobs_mode: Option<LogprobsMode>,
    #[schema(minimum = 0, maximum = 1_000_000)]
    temperature: Option<f32>,
    dynatemp_min: Option<f32>,
    dynatemp_max: Option<f32>,
    dynatemp_exponent: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    #[schema(minimum = 0)]
    top_k: Option<u32>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    typical_p: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    epsilon_cutoff: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    eta_cutoff: Option<f32>,
    top_n_sigma: Option<f32>,
    xtc_probability: Option<f32>,
    xtc_threshold: Option<f32>,
    mirostat_tau: Option<f32>,
    mirostat_eta: Option<f32>,
    repetition_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f32>,
    /// `output`, `all` or such as `last_64`.
    penalty_scope: Option<String>,
    dry_multiplier: Option<f32>,
    dry_base: Option<f32>,
    dry_allowed_length: Option<u32>,
    dry_breakers: Option<Vec<Value>>,
    no_repeat_ngram_size: Option<u32>,
    bad_words_ids: Option<Vec<Vec<u32>>>,
    suppress_tokens: Option<Vec<u32>>,
    allowed_token_ids: Option<Vec<u32>>,
    /// What is added to the logits of token ids.
    logit_bias: Option<BTreeMap<String, f32>>,
    /// `notes`, `vllm`, `hf`, `llama.cpp` or a list.
    sampler_order: Option<String>,
    /// From 2 on: beam search.
    #[schema(minimum = 1, maximum = 64)]
    num_beams: Option<u32>,
    num_return_sequences: Option<u32>,
    length_penalty: Option<f64>,
    early_stopping: Option<EarlyStopping>,
}

#[derive(ToSchema, Serialize)]
struct StreamOptions {
    /// A last chunk has the usage.
    include_usage: Option<bool>,
    include_obfuscation: Option<bool>,
}

#[derive(ToSchema, Serialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum IgnoreEosMode {
    GenerateThrough,
    Forbid,
}

#[derive(ToSchema, Serialize)]
#[serde(untagged)]
enum IgnoreEos {
    Flag(bool),
    Mode(IgnoreEosMode),
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum ContextOverflow {
    Error,
    TruncateLeft,
    TruncateMiddle,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum LogprobsMode {
    Raw,
    Processed,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Never {
    Never,
}

#[derive(ToSchema, Serialize)]
#[serde(untagged)]
enum EarlyStopping {
    Flag(bool),
    Never(Never),
}

/// One prompt or several, as text or token ids.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    IdLists(Vec<Vec<u32>>),
}

#[derive(ToSchema, Serialize)]
pub(super) struct CompletionRequest {
    prompt: Prompt,
    /// The texts begin with the prompt.
    echo: Option<bool>,
    /// Log-probabilities of the tokens, and of so many alternatives.
    #[schema(maximum = 20)]
    logprobs: Option<u32>,
    #[serde(flatten)]
    common: Common,
}

#[derive(ToSchema, Serialize)]
pub(super) struct ChatCompletionRequest {
    messages: Vec<Message>,
    /// As `max_tokens`.
    #[schema(minimum = 1)]
    max_completion_tokens: Option<u32>,
    /// Log-probabilities of the tokens.
    logprobs: Option<bool>,
    /// And of so many alternatives.
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// Variables of the chat template, such as `enable_thinking`.
    chat_template_kwargs: Option<BTreeMap<String, Value>>,
    #[serde(flatten)]
    common: Common,
}

#[derive(ToSchema, Serialize)]
struct Message {
    /// `system`, `user` or `assistant`, or what else the template knows.
    role: String,
    content: Content,
}

#[derive(ToSchema, Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<TextPart>),
}

#[derive(ToSchema, Serialize)]
struct TextPart {
    #[schema(pattern = "^text$")]
    r#type: String,
    text: String,
}

#[derive(ToSchema, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Completion {
    id: String,
    object: String,
    created: u64,
    model: String,
    choices: Vec<CompletionChoice>,
    usage: Usage,
    limpid: Own,
}

#[derive(ToSchema, Serialize)]
struct CompletionChoice {
    index: u32,
    text: String,
    /// Lists side by side, one entry a token.
    logprobs: Option<Value>,
    finish_reason: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct ChatCompletion {
    id: String,
    object: String,
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    usage: Usage,
    limpid: Own,
}

#[derive(ToSchema, Serialize)]
struct ChatChoice {
    index: u32,
    message: Answer,
    /// An object a token.
    logprobs: Option<Value>,
    finish_reason: String,
}

#[derive(ToSchema, Serialize)]
struct Answer {
    role: String,
    content: String,
}

/// What OpenAI's API has no place for.
#[derive(ToSchema, Serialize)]
struct Own {
    /// The one that was drawn if the request had none.
    seed: u64,
    /// The sampling that holds where a request is silent, and where each value comes from.
    defaults: Value,
    /// Of each prompt: cached and computed tokens, bytes of keys and values, what was dropped, and the times.
    prompts: Vec<Value>,
    /// Of each choice: the exact reason of its end, and its score if choices were ranked.
    choices: Vec<Value>,
}

/// What any path may answer instead.
#[derive(IntoResponses)]
pub(super) enum Failures {
    /// What is wrong with the request
    #[response(status = "4XX")]
    OfRequest(Failure),
    /// The server could not
    #[response(status = "5XX")]
    OfServer(Failure),
}

#[derive(ToSchema, Serialize)]
pub(super) struct Failure {
    error: FailureBody,
}

#[derive(ToSchema, Serialize)]
struct FailureBody {
    message: String,
    r#type: String,
    /// The field to blame.
    param: Option<String>,
    code: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct ModelList {
    object: String,
    data: Vec<Model>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Model {
    id: String,
    object: String,
    created: u64,
    owned_by: String,
    /// The longest text, prompt and answer together.
    max_model_len: u64,
    /// `defaults`: the sampling that holds where a request is silent.
    limpid: Value,
}

#[derive(ToSchema, Serialize)]
pub(super) struct TokenizeRequest {
    model: Option<String>,
    /// Either this, or `messages`.
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    /// BOS, where the model wants it; of a `prompt` only.
    add_special_tokens: Option<bool>,
    return_token_strs: Option<bool>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Tokenized {
    count: u64,
    max_model_len: u64,
    tokens: Vec<u32>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<u32>,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Detokenized {
    prompt: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Health {
    status: String,
}

#[derive(ToSchema, Serialize)]
pub(super) struct Version {
    version: String,
    isa: String,
}
