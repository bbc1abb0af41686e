//! The page at `/`, embedded in the program. It talks to the public API only, and may talk to nothing else.

use crate::server::App;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

const HTML: &str = include_str!("../../ui/index.html");
const STYLE: &str = include_str!("../../ui/style.css");
const ICON: &str = include_str!("../../ui/icon.svg");
const SCRIPT: &str = include_str!("../../ui/chat.js");

/// Scripts, styles and connections of this server only; nothing inline, nothing embedded, nowhere embedded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| file(HTML, "text/html; charset=utf-8")))
        .route("/icon.svg", get(|| file(ICON, "image/svg+xml")))
        .route("/style.css", get(|| file(STYLE, "text/css; charset=utf-8")))
        .route("/chat.js", get(|| file(SCRIPT, "text/javascript; charset=utf-8")))
}

async fn file(text: &'static str, media_type: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The next version of the program brings the next version of the page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
