//! OpenAI's API as data: from a request's JSON to what the engine takes, and from what came of it to the answer's JSON.
//! No sockets and no files: `limpid batch` and a server both stand on this.
//!
//! - `json`: JSON whose keys are there once.
//! - `fields`: an object whose fields are taken one by one, so that what is left is refused by name.
//! - `request`: /v1/completions and /v1/chat/completions.  `sampling`: their common parameters.
//! - `accepted`: fields that clients send and that change nothing.
//! - `response`: the answers.  `stop`: the exact reason of an ending.

mod accepted;
mod fields;
pub(crate) mod json;
mod request;
mod response;
mod sampling;
mod stop;

pub(crate) use fields::{ApiError, Fields};
pub(crate) use request::{Ask, Endpoint, Translator};
pub(crate) use response::answer;
pub(crate) use stop::StopJson;
