//! One line on standard error for each request that the engine had, and for each that was refused. No text of users is
//! in it: not the prompt, not the answer, and not an error's message, which may repeat some of it.

use super::error::{HttpError, Refused};
use super::{App, Arc};
use crate::console::Console;
use crate::units;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use limpid_engine::engine::Finished;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Lines that wait for whoever reads standard error. Beyond them lines are lost: nobody reads, and no request waits.
const MAX_LINES: usize = 1024;

/// See the module. `None`: nothing is said.
#[derive(Clone)]
pub(crate) struct Log(Option<SyncSender<String>>);

impl Log {
    /// Lines are written by a thread of their own: a pipe that is full holds up nothing else.
    pub(crate) fn new(console: Console) -> std::io::Result<Self> {
        if console.is_quiet() {
            return Ok(Self(None));
        }
        let (sender, lines) = sync_channel(MAX_LINES);
        let write = move || lines.iter().for_each(|line: String| console.log(&line));
        std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self(Some(sender)))
    }

    fn refused(&self, path: &str, status: StatusCode, code: &str) {
        self.line(&format!("{path} {} {code}", status.as_u16()));
    }

    pub(super) fn finished(&self, path: &str, id: &str, finished: &Finished) {
        let Finished { reason, usage, timings, .. } = finished;
        let time = |time: Option<std::time::Duration>| time.map_or("-".to_owned(), units::time);
        self.line(&format!(
            "{path} 200 {id} {} + {} tokens, TTFT {}, TPOT {}, {}",
            usage.prompt_tokens,
            usage.completion_tokens,
            time(timings.ttft.map(|ttft| ttft.total())),
            time(timings.tpot()),
            reason.name(),
        ));
    }

    /// A request whose reader was lost, or that stopped with the engine.
    pub(super) fn lost(&self, path: &str, id: &str, error: &HttpError) {
        self.line(&format!("{path} {id} {}", error.error.code));
    }

    fn line(&self, line: &str) {
        let Some(lines) = &self.0 else { return };
        let now = chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%.3f");
        // See MAX_LINES.
        let _ = lines.try_send(format!("{now} {line}"));
    }
}

/// Notes what was refused, with the path as it is written here: what a client made of it may be its own text.
pub(super) async fn log_refusals(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    if let Some(Refused { code }) = response.extensions().get() {
        let path = path.as_ref().map_or("an unknown path", MatchedPath::as_str);
        app.options.log.refused(path, response.status(), code);
    }
    response
}
