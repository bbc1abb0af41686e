//! The HTTP server. [`app`] makes the router, which tests call without a socket; `listen` has the sockets.
//!
//! - `routes`: one file an endpoint, or a few that belong together.
//! - `error`: from what went wrong to a status and OpenAI's error object.
//! - `body`: what comes in.  `sse`: what streams out.  `openapi`: what both look like.
//! - `client`: the stream to a client, and whether it has left.
//! - `guard`: who may ask.  `listen`: connections, their limits, and the end.  `log`: one line a request.

mod body;
mod client;
mod error;
mod guard;
mod listen;
mod log;
mod openapi;
mod routes;
mod sse;

pub(crate) use guard::ApiKey;
pub(crate) use listen::{Listen, bind, listen};
pub(crate) use log::Log;

use crate::cli::run::MonotonicClock;
use crate::driver::EngineHandle;
use crate::metrics::Metrics;
use crate::openai::{ApiError, Translator, cut};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use error::HttpError;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// See [`App`].
const MAX_READERS: usize = 4;

/// What is fixed before the model is loaded.
pub(crate) struct Options {
    /// What the model is called in requests; the first one is shown.
    pub(crate) model_names: Vec<String>,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) max_body_bytes: usize,
    /// Requests that may wait for the engine.
    pub(crate) max_waiting: usize,
    /// Steps of an answer that wait for a slow reader.
    pub(crate) stream_buffer: usize,
    /// Requests are taken only under the names of this machine's loopback: a page from elsewhere that has its own name
    /// resolve to 127.0.0.1 is refused.
    pub(crate) is_loopback: bool,
    pub(crate) log: Log,
    /// For `/version`.
    pub(crate) isa: String,
}

/// What is there once the model is loaded.
pub(crate) struct Ready {
    pub(crate) engine: EngineHandle,
    pub(crate) translator: Arc<Translator>,
    pub(crate) clock: MonotonicClock,
    pub(crate) context_length: usize,
    /// When it was loaded, in seconds since 1970.
    pub(crate) created: u64,
}

/// What every handler can see.
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ready: OnceLock<Ready>,
    /// Bodies that are read and tokenized at the same time: each may take many times its size.
    readers: Semaphore,
}

impl App {
    pub(crate) fn new(options: Options) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new(&options.model_names[0]));
        Arc::new(Self { options, metrics, ready: OnceLock::new(), readers: Semaphore::new(MAX_READERS) })
    }

    fn ready(&self) -> Result<&Ready, HttpError> {
        self.ready.get().ok_or_else(HttpError::loading)
    }

    /// Refuses the name of a model that is not here.
    fn check_model(&self, name: &str) -> Result<(), ApiError> {
        let names = &self.options.model_names;
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        let known = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
        let message = format!(
            "there is no model {:?} here; the one that is served is called {known}",
            cut(name.to_owned())
        );
        Err(ApiError { code: "model_not_found", message, param: Some("model".to_owned()) })
    }
}

/// All routes.
pub(crate) fn app(app: Arc<App>) -> Router {
    let api = Router::new()
        .merge(routes::completions::routes())
        .merge(routes::models::routes())
        .merge(routes::tokenize::routes())
        .merge(routes::metrics::routes())
        .route_layer(from_fn_with_state(app.clone(), guard::check_key));
    Router::new()
        .merge(api)
        .merge(routes::health::routes())
        .merge(routes::openapi::routes())
        .merge(routes::page::routes())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(app.options.max_body_bytes))
        .layer(from_fn_with_state(app.clone(), guard::check_host))
        .layer(from_fn(guard::check_headers))
        .layer(from_fn_with_state(app.clone(), log::log_refusals))
        .layer(from_fn(guard::add_headers))
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Console;
    use axum::body::Body;
    use axum::http::{Request, StatusCode, header};
    use tower::ServiceExt;

    fn app_without_model() -> Router {
        let options = Options {
            model_names: vec!["m".to_owned()],
            api_key: None,
            max_body_bytes: 1 << 20,
            max_waiting: 16,
            stream_buffer: 16,
            is_loopback: true,
            log: Log::new(Console::new(true)).expect("no thread is needed"),
            isa: "portable".to_owned(),
        };
        app(App::new(options))
    }

    #[tokio::test]
    async fn until_the_model_is_loaded_there_is_503() {
        let requests = [
            ("GET", "/health", StatusCode::SERVICE_UNAVAILABLE),
            ("GET", "/v1/models", StatusCode::SERVICE_UNAVAILABLE),
            ("POST", "/v1/completions", StatusCode::SERVICE_UNAVAILABLE),
            ("POST", "/v1/chat/completions", StatusCode::SERVICE_UNAVAILABLE),
            ("POST", "/tokenize", StatusCode::SERVICE_UNAVAILABLE),
            ("GET", "/version", StatusCode::OK),
            ("GET", "/metrics", StatusCode::OK),
            ("GET", "/", StatusCode::OK),
            ("GET", "/nothing", StatusCode::NOT_FOUND),
        ];
        for (method, path, status) in requests {
            let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
            let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from("{}"));
            let response = app_without_model().oneshot(request.expect("a request")).await.expect("no error");
            assert_eq!(response.status(), status, "{method} {path}");
            let is_told = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(is_told, status == StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        }
    }
}
