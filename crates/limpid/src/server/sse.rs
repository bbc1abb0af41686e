//! An answer that streams out: server-sent events, whose data are the chunks.

use super::client::{Client, left};
use super::error::HttpError;
use super::log::Log;
use crate::driver::Ticket;
use crate::openai::Chunks;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use limpid_engine::engine::{EventKind, Events};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// While nothing is generated, a comment goes out so often, so that nobody between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An answer on its way.
pub(super) struct Streaming {
    pub(super) ticket: Ticket,
    pub(super) client: Option<Client>,
    pub(super) chunks: Chunks,
    pub(super) log: Log,
    pub(super) path: &'static str,
    pub(super) id: String,
    pub(super) is_over: bool,
}

impl Streaming {
    pub(super) fn response(self) -> Response {
        let bytes = stream::unfold(self, |mut streaming| async move {
            let bytes = streaming.next().await?;
            Some((Ok::<_, Infallible>(bytes), streaming))
        });
        let mut response = Body::from_stream(bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would collect what is to come at once.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// What goes out next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            let step = tokio::select! {
                step = tokio::time::timeout(KEEP_ALIVE, self.ticket.next()) => step,
                () = left(self.client.as_ref()) => return None,
            };
            let step = match step {
                Err(_) => return Some(Bytes::from_static(b": still working\n\n")),
                Ok(step) => step,
            };
            let out = match step {
                Ok(Some(step)) => self.chunks_of(&step),
                Ok(None) => self.end("data: [DONE]\n\n".to_owned()),
                Err(lost) => {
                    let error = lost.into();
                    self.log.lost(self.path, &self.id, &error);
                    self.end(data(&error.json()))
                }
            };
            if !out.is_empty() {
                return Some(out.into());
            }
        }
        None
    }

    fn chunks_of(&mut self, step: &Events) -> String {
        let mut chunks = Vec::new();
        for (i, kind) in self.ticket.events(step) {
            if let EventKind::Finished(finished) = kind {
                self.log.finished(self.path, &self.id, finished);
            }
            if let Err(error) = self.chunks.take(i, kind, &mut chunks) {
                chunks.push(HttpError::from(error).json());
                self.is_over = true;
                break;
            }
        }
        chunks.iter().map(data).collect()
    }

    fn end(&mut self, out: String) -> String {
        self.is_over = true;
        out
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}
