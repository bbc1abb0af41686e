//! OpenAI's API as data: from a request's JSON to what the engine takes, and from what came of it to the answer's JSON.
//! No sockets and no files: `limpid batch` and a server both stand on this.
//!
//! - `json`: JSON whose keys are there once.
//! - `fields`: an object whose fields are taken one by one, so that what is left is refused by name.
//! - `request`: /v1/completions and /v1/chat/completions.  `sampling`: their common parameters.
//! - `accepted`: fields that clients send and that change nothing.
//! - `whole`, `chunks`: the two forms of an answer.  `tokens`: log-probabilities.  `own`: what is not in OpenAI's API.
//! - `stop`: the exact reason of an ending.

mod accepted;
mod chunks;
mod fields;
pub(crate) mod json;
mod own;
mod request;
mod sampling;
mod stop;
mod tokens;
mod whole;

pub(crate) use chunks::Chunks;
pub(crate) use fields::{ApiError, Fields, cut};
pub(crate) use request::{Ask, Endpoint, Translator};
pub(crate) use stop::StopJson;
pub(crate) use whole::Whole;

use serde_json::{Value, json};

/// What every object of an answer begins with.
pub(crate) struct Head {
    id: String,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
}

impl Head {
    pub(crate) fn new(ask: &Ask, id: String, created: u64) -> Self {
        let object = match (ask.endpoint, ask.stream.is_some()) {
            (Endpoint::Completions, _) => "text_completion",
            (Endpoint::ChatCompletions, false) => "chat.completion",
            (Endpoint::ChatCompletions, true) => "chat.completion.chunk",
        };
        Self { id, object, created, model: ask.model.clone() }
    }

    fn object(&self, choices: Value) -> Value {
        let Self { id, object, created, model } = self;
        json!({"id": id, "object": object, "created": created, "model": model, "choices": choices})
    }
}
