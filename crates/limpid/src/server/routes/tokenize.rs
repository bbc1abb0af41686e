//! `/tokenize` and `/detokenize`, as vLLM has them.

use crate::openai::{ApiError, Fields, json};
use crate::server::App;
use crate::server::body::JsonBytes;
use crate::server::error::HttpError;
use crate::server::openapi::{DetokenizeRequest, Detokenized, Failures, TokenizeRequest, Tokenized};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json as value};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/tokenize", post(tokenize)).route("/detokenize", post(detokenize))
}

#[utoipa::path(
    post,
    path = "/tokenize",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "The token ids", body = Tokenized),
        Failures
    )
)]
pub(crate) async fn tokenize(State(app): State<Arc<App>>, body: JsonBytes) -> Result<Json<Value>, HttpError> {
    let ready = app.ready()?;
    let (translator, max_model_len) = (ready.translator.clone(), ready.context_length);
    on_thread(app.clone(), body, move |mut fields| {
        let wants_strings = fields.flag("return_token_strs")?.unwrap_or(false);
        let tokens = translator.tokenize(fields)?;
        let mut answer = value!({"count": tokens.len(), "max_model_len": max_model_len});
        answer["tokens"] = tokens.iter().map(|id| id.0).collect();
        if wants_strings {
            answer["token_strs"] = tokens.iter().map(|&id| translator.tokenizer().piece(id)).collect();
        }
        Ok(answer)
    })
    .await
}

#[utoipa::path(
    post,
    path = "/detokenize",
    request_body = DetokenizeRequest,
    responses(
        (status = 200, description = "The text", body = Detokenized),
        Failures
    )
)]
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    body: JsonBytes,
) -> Result<Json<Value>, HttpError> {
    let translator = app.ready()?.translator.clone();
    on_thread(app.clone(), body, move |fields| Ok(value!({"prompt": translator.detokenize(fields)?}))).await
}

/// Reads the body and works on it where it holds up nobody.
async fn on_thread(
    app: Arc<App>,
    JsonBytes(body): JsonBytes,
    work: impl FnOnce(Fields) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Json<Value>, HttpError> {
    let shared = app.clone();
    let place = shared.readers.acquire().await;
    let done = tokio::task::spawn_blocking(move || {
        let mut fields = Fields::new(json::body(&body)?, "")?;
        // There is one model; a name, if given, must be its.
        fields.text("model")?.map_or(Ok(()), |name| app.check_model(&name))?;
        work(fields)
    });
    let done = done.await;
    drop(place);
    let done = done.map_err(|_| ApiError::failed("the request could not be read"))?;
    Ok(Json(done?))
}
