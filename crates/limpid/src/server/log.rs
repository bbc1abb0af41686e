//! One line on standard error for each request that the engine had, and for each that was refused. No text of users is
//! in it: not the prompt, not the answer, and not an error's message, which may repeat some of it.

use super::error::HttpError;
use crate::console::Console;
use crate::units;
use limpid_engine::engine::Finished;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Log(pub(crate) Console);

impl Log {
    pub(super) fn refused(&self, path: &str, error: &HttpError) {
        self.line(&format!("{path} {} {}", error.status.as_u16(), error.error.code));
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
        let now = chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%.3f");
        self.0.log(&format!("{now} {line}"));
    }
}
