//! The body of a request: JSON, whole, in time.

use super::error::HttpError;
use super::{App, Arc};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use std::time::Duration;

/// How long a body may take to come.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Bytes that say of themselves that they are JSON. (A page from elsewhere cannot send that without asking first.)
pub(super) struct JsonBytes(pub(super) Bytes);

impl FromRequest<Arc<App>> for JsonBytes {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, HttpError> {
        check_type(request.headers())?;
        if let Some(coding) =
            request.headers().get(header::CONTENT_ENCODING).filter(|&coding| coding != "identity")
        {
            return Err(HttpError::encoded(&coding.to_str().unwrap_or_default().escape_debug().to_string()));
        }
        let bytes = tokio::time::timeout(MAX_TIME, Bytes::from_request(request, app)).await;
        let bytes = bytes.map_err(|_| HttpError::slow_body())?;
        bytes.map(Self).map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => HttpError::too_large(app.options.max_body_bytes),
            _ => HttpError::invalid("the body could not be read to its end"),
        })
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(found) = headers.get(header::CONTENT_TYPE) else { return Err(HttpError::not_json("not given")) };
    let found = found.to_str().unwrap_or_default();
    let media_type = found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || media_type.starts_with("application/") && media_type.ends_with("+json");
    if is_json { Ok(()) } else { Err(HttpError::not_json(&format!("{found:?}"))) }
}
