//! `/openapi.json`: what this server takes and gives.

use crate::server::{App, openapi};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/openapi.json", get(|| async { Json(openapi::document()) }))
}
