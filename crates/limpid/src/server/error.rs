//! From what went wrong to a status and OpenAI's error object.

use crate::driver::{Lost, Refusal};
use crate::openai::{ApiError, Endpoint};
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// After how many seconds a request that was turned away may come again.
const RETRY_AFTER_S: u16 = 1;

/// What an answer that is an error says of itself to the log.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) code: &'static str,
}

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct HttpError {
    pub(crate) status: StatusCode,
    pub(crate) error: ApiError,
}

impl HttpError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, error: ApiError { code, message: message.into(), param: None } }
    }

    pub(super) fn loading() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "loading",
            "the model is being loaded; try again in a moment",
        )
    }

    pub(super) fn unauthorized() -> Self {
        let message = "the API key is missing or wrong: send it as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(super) fn forbidden_host(host: &str) -> Self {
        let message = format!(
            "the Host header is {host:?}: this server answers to names of the loopback (localhost, 127.0.0.1, [::1]); \
             start it with --host to serve under other names"
        );
        Self::new(StatusCode::FORBIDDEN, "forbidden_host", message)
    }

    pub(super) fn long_headers(max: usize) -> Self {
        let message = format!("the headers are longer than {max} bytes together, the most that is taken");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)
    }

    pub(super) fn too_large(max: usize) -> Self {
        let message =
            format!("the body is longer than {max} bytes, the longest that is taken (--max-body-mib)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(super) fn not_json(found: &str) -> Self {
        let message = format!("the Content-Type is {found}; send JSON with `Content-Type: application/json`");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(super) fn encoded(coding: &str) -> Self {
        let message = format!("the Content-Encoding is {coding}; send JSON as it is, without one");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(super) fn slow_body() -> Self {
        let message = "the body did not come in time; send it faster";
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message)
    }

    pub(super) fn refused(refusal: Refusal, endpoint: Endpoint) -> Self {
        match refusal {
            Refusal::Submit(error) => ApiError::from(error).at(endpoint).into(),
            Refusal::Stopped => Lost::Stopped.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// As OpenAI's API has it.
    pub(super) fn json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let ApiError { code, message, param } = &self.error;
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    }
}

impl From<ApiError> for HttpError {
    fn from(error: ApiError) -> Self {
        let status = match error.code {
            "queue_full" => StatusCode::TOO_MANY_REQUESTS,
            "model_not_found" => StatusCode::NOT_FOUND,
            "failed" => StatusCode::INTERNAL_SERVER_ERROR,
            "stopping" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error }
    }
}

impl From<Lost> for HttpError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::TooSlow => {
                let message =
                    "the answer was read more slowly than it came, and its buffer is full (--stream-buffer)";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "reader_too_slow", message)
            }
            Lost::Stopped => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "stopped",
                "the engine has stopped; restart the server",
            ),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        response.extensions_mut().insert(Refused { code: self.error.code });
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

pub(super) async fn no_such_path(uri: Uri) -> HttpError {
    let message = format!("there is no {}; /openapi.json lists what there is", uri.path());
    HttpError::new(StatusCode::NOT_FOUND, "no_such_path", message)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    let message = format!("{method} is not what {} takes; /openapi.json says what it is", uri.path());
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}
