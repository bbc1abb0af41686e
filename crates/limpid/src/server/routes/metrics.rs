//! `/metrics`, for Prometheus.

use crate::openai::ApiError;
use crate::server::App;
use crate::server::error::HttpError;
use crate::server::openapi::Failures;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics))
}

#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "The metrics in Prometheus' text format", body = String,
         content_type = "application/openmetrics-text"),
        Failures
    )
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, HttpError> {
    let text = app.metrics.text().map_err(|error| ApiError::failed(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
