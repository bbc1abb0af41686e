//! `/openapi.json`: what this server takes and gives.

use crate::server::{App, openapi};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/openapi.json", get(document))
}

async fn document(State(app): State<Arc<App>>) -> Json<Value> {
    Json(openapi::document(&app.options.model_names))
}
