//! `/v1/models`: the one model, under each of its names.

use crate::server::error::HttpError;
use crate::server::openapi::{Failures, Model, ModelList};
use crate::server::{App, Ready};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/models", get(list)).route("/v1/models/{*name}", get(one))
}

#[utoipa::path(
    get,
    path = "/v1/models",
    responses(
        (status = 200, description = "The model, under each of its names", body = ModelList),
        Failures
    )
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, HttpError> {
    let ready = app.ready()?;
    let models: Vec<_> = app.options.model_names.iter().map(|name| model(name, ready)).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

#[utoipa::path(
    get,
    path = "/v1/models/{name}",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The model of that name", body = Model),
        Failures
    )
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let ready = app.ready()?;
    app.check_model(&name)?;
    Ok(Json(model(&name, ready)))
}

fn model(name: &str, ready: &Ready) -> Value {
    json!({"id": name, "object": "model", "created": ready.created, "owned_by": "limpid",
        "max_model_len": ready.context_length, "limpid": {"defaults": ready.translator.defaults()}})
}
