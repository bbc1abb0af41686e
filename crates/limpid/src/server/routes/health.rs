//! `/health` and `/version`.

use crate::server::App;
use crate::server::error::HttpError;
use crate::server::openapi::{Failures, Health, Version};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/health", get(health)).route("/version", get(version))
}

/// 503 until the model is loaded.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, description = "The model is loaded", body = Health),
        Failures
    )
)]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, HttpError> {
    app.ready().map(|_| Json(json!({"status": "ok"})))
}

#[utoipa::path(
    get,
    path = "/version",
    responses(
        (status = 200, description = "Of the program, and the instruction set that it uses", body = Version),
        Failures
    )
)]
pub(crate) async fn version(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION"), "isa": app.options.isa}))
}
