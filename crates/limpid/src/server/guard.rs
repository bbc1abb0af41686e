//! Who may ask.

use super::error::HttpError;
use super::{App, Arc};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

/// A secret that requests must know.
#[derive(Clone)]
pub(crate) struct ApiKey(String);

impl ApiKey {
    /// `None` for what cannot be sent in a header.
    pub(crate) fn new(key: &str) -> Option<Self> {
        let is_visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_visible.then(|| Self(key.to_owned()))
    }

    /// In a time that depends on the lengths only.
    fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

pub(super) async fn check_key(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let Some(key) = &app.options.api_key else { return Ok(next.run(request).await) };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    if !given.is_some_and(|given| key.is(given)) {
        return Err(HttpError::unauthorized());
    }
    Ok(next.run(request).await)
}

/// Names and values of headers together.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// What of headers lies between this limit and that of the connection's buffer gets an answer that says so.
pub(super) async fn check_headers(request: Request, next: Next) -> Result<Response, HttpError> {
    let headers = request.headers().iter();
    let n_bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if n_bytes > MAX_HEADER_BYTES {
        Err(HttpError::long_headers(MAX_HEADER_BYTES))
    } else {
        Ok(next.run(request).await)
    }
}

/// Where a server listens to the loopback only, its users are on this machine: a browser that was led here by another
/// name is not one of them.
pub(super) async fn check_host(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    if app.options.is_loopback {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().host()).unwrap_or_default();
        if !is_loopback_name(host) {
            return Err(HttpError::forbidden_host(host));
        }
    }
    Ok(next.run(request).await)
}

/// `host` with or without a port. Without a name at all it is no browser.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || is_address.is_ok_and(|address| address.is_loopback())
}

/// What keeps a browser from guessing, telling and embedding.
pub(super) async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_loopback() {
        for name in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080", "[::1]", "a.localhost", ""]
        {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["example.org", "example.org:80", "localhost.example.org", "10.0.0.1:80", "127.0.0.1.org"]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn keys() {
        assert!(ApiKey::new("").is_none() && ApiKey::new("a b").is_none() && ApiKey::new("ü").is_none());
        let key = ApiKey::new("sk-1").expect("a key");
        assert!(key.is("sk-1") && !key.is("sk-2") && !key.is("sk-11") && !key.is(""));
    }
}
