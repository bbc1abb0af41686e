//! `/v1/completions` and `/v1/chat/completions`.

use crate::cli::sampling::draw_seed;
use crate::openai::{ApiError, Ask, Chunks, Endpoint, Head, Translator, Whole, json};
use crate::server::body::JsonBytes;
use crate::server::client::{Client, left};
use crate::server::error::HttpError;
use crate::server::openapi::{
    ChatCompletion, ChatCompletionRequest, Completion, CompletionRequest, Failures,
};
use crate::server::sse::Streaming;
use crate::server::{App, Ready};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use limpid_engine::engine::{Clock, EventKind};
use limpid_engine::sampling::FinishReason;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Steps of a request that bring no token: its start, its prompt, its end.
const SPARE_STEPS: usize = 16;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat_completions))
}

#[utoipa::path(
    post,
    path = "/v1/completions",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The answer; with `stream` server-sent events", body = Completion),
        Failures
    )
)]
pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    client: Option<Extension<Client>>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, HttpError> {
    answer(&app, Endpoint::Completions, client, body).await
}

#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatCompletionRequest,
    responses(
        (status = 200, description = "The answer; with `stream` server-sent events", body = ChatCompletion),
        Failures
    )
)]
pub(crate) async fn chat_completions(
    State(app): State<Arc<App>>,
    client: Option<Extension<Client>>,
    JsonBytes(body): JsonBytes,
) -> Result<Response, HttpError> {
    answer(&app, Endpoint::ChatCompletions, client, body).await
}

async fn answer(
    app: &Arc<App>,
    endpoint: Endpoint,
    client: Option<Extension<Client>>,
    body: Bytes,
) -> Result<Response, HttpError> {
    let client = client.map(|Extension(client)| client);
    let ready = app.ready()?;
    let accepted_at = ready.clock.now();
    let (asker, translator) = (app.clone(), ready.translator.clone());
    // A long prompt takes its time: the other connections go on meanwhile.
    let place = app.readers.acquire().await;
    let read = tokio::task::spawn_blocking(move || read(&asker, &translator, endpoint, &body)).await;
    drop(place);
    let mut ask = read.map_err(|_| ApiError::failed("the request could not be read"))??;
    let tokenized_at = ready.clock.now();
    for request in &mut ask.requests {
        (request.accepted_at, request.tokenized_at) = (accepted_at, tokenized_at);
    }
    let (n_prompts, most) = (ask.requests.len(), app.options.max_waiting);
    if n_prompts > most {
        let message = format!(
            "`prompt` is a list of {n_prompts}, and at most {most} requests wait here (--max-waiting)"
        );
        return Err(ApiError::invalid(Some("prompt"), message).into());
    }
    // Whole answers are read by ourselves: room for all of their steps.
    let n_steps = ask.requests.len() * (ready.context_length + SPARE_STEPS);
    let buffer_len = if ask.stream.is_some() { app.options.stream_buffer } else { n_steps };
    let submitted = ready.engine.submit(ask.requests.clone(), buffer_len).await;
    let ticket = submitted.map_err(|refusal| HttpError::refused(refusal, endpoint))?;
    let id = answer_id(endpoint);
    let head = Head::new(&ask, id.clone(), now().as_secs());
    let (path, log) = (endpoint.path(), app.options.log.clone());
    if ask.stream.is_some() {
        let chunks = Chunks::new(ask, head, ready.translator.clone());
        return Ok(Streaming { ticket, client, chunks, log, path, id, is_over: false }.response());
    }
    let whole = Whole::new(ask, head, &ready.translator);
    tokio::select! {
        answer = collect(app, ready, whole, ticket, path, &id) => answer,
        // Nobody reads it.
        () = left(client.as_ref()) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// From the body to what the engine takes.
fn read(app: &App, translator: &Translator, endpoint: Endpoint, body: &[u8]) -> Result<Ask, ApiError> {
    let ask = translator.ask(endpoint, json::body(body)?, draw_seed())?;
    app.check_model(&ask.model)?;
    Ok(ask)
}

/// Waits for all of an answer.
async fn collect(
    app: &App,
    ready: &Ready,
    mut whole: Whole,
    mut ticket: crate::driver::Ticket,
    path: &'static str,
    id: &str,
) -> Result<Response, HttpError> {
    while let Some(step) = ticket.next().await? {
        for (i, kind) in ticket.events(&step) {
            // What failed or was cut off is logged as what is answered.
            if let EventKind::Finished(finished) = kind
                && finished.error.is_none()
                && finished.reason != FinishReason::Cancelled
            {
                app.options.log.finished(path, id, finished);
            }
            whole.take(i, kind, &ready.translator);
        }
    }
    // A large one takes long to write down.
    let translator = ready.translator.clone();
    let written =
        tokio::task::spawn_blocking(move || Ok::<_, ApiError>(whole.answer(&translator)?.to_string()));
    let text = written.await.map_err(|_| ApiError::failed("the answer could not be written"))??;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn answer_id(endpoint: Endpoint) -> String {
    let prefix = match endpoint {
        Endpoint::Completions => "cmpl",
        Endpoint::ChatCompletions => "chatcmpl",
    };
    let random = RandomState::new();
    format!("{prefix}-{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
