//! Drives the engine until the request is over.

use crate::console::Console;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Unit};
use limpid_engine::TokenId;
use limpid_engine::engine::{Clock, Engine, EventKind, Events, Finished, RequestId};
use limpid_engine::trace::NoTrace;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time since the command began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonotonicClock(pub(crate) Instant);

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Who looks on while the engine works, and at what.
pub(crate) struct Watch<'a> {
    pub(crate) console: &'a Console,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) n_prompt: usize,
    /// Tokens that one step computes at most.
    pub(crate) prefill_chunk: usize,
    /// Without one every token is preceded by a prefill of all there is.
    pub(crate) kv_cache: bool,
    /// The text goes to standard output as it comes.
    pub(crate) streams: bool,
}

/// What came of a request.
pub(crate) struct Generation {
    pub(crate) text: String,
    pub(crate) token_ids: Vec<TokenId>,
    pub(crate) finished: Finished,
    /// From the first step to the last.
    pub(crate) time: Duration,
}

/// Steps until the only request, `id`, is over, and hands out its text as it comes.
pub(crate) fn generate(
    engine: &mut Engine,
    id: RequestId,
    watch: &Watch<'_>,
    mut write: impl FnMut(&str) -> Result<(), CliError>,
) -> Result<Generation, CliError> {
    let start = Instant::now();
    let (mut text, mut token_ids) = (String::new(), Vec::new());
    let mut prefill = Prefill::start(watch, "prefill", watch.n_prompt);
    let mut events = Events::default();
    loop {
        events.clear();
        if watch.interrupt.is_asked() {
            engine.cancel(id, &mut events);
        } else {
            engine.step(&mut events, &mut NoTrace);
        }
        prefill.step_is_done();
        for event in events.iter() {
            let released = match event.kind {
                EventKind::Started { .. } | EventKind::PromptLogprobs(_) | EventKind::Ended { .. } => {
                    continue;
                }
                EventKind::Token { id, text, .. } => {
                    token_ids.push(id);
                    text
                }
                EventKind::Text { text, .. } => text,
                EventKind::Finished(finished) => {
                    let finished = finished.clone();
                    return Ok(Generation { text, token_ids, finished, time: start.elapsed() });
                }
            };
            // Its line is erased before text comes.
            prefill.end();
            if !released.is_empty() {
                text.push_str(released);
                write(released)?;
            }
            if watch.shows_recomputing() {
                prefill = Prefill::start(watch, "computing again", watch.n_prompt + token_ids.len());
            }
        }
    }
}

impl Watch<'_> {
    /// A line that is rewritten would tear a text that is on the same terminal.
    fn shows_recomputing(&self) -> bool {
        let tears = self.streams && self.console.is_terminal() && std::io::stdout().is_terminal();
        !self.kv_cache && !tears
    }
}

/// The progress of tokens that are computed before the next one can be chosen.
struct Prefill {
    progress: Option<Progress>,
    n_tokens: usize,
    n_done: usize,
    chunk: usize,
}

impl Prefill {
    fn start(watch: &Watch<'_>, what: &'static str, n_tokens: usize) -> Self {
        let progress = Progress::start(watch.console, what, Unit::Tokens);
        progress.set(0, n_tokens as u64);
        Self { progress: Some(progress), n_tokens, n_done: 0, chunk: watch.prefill_chunk }
    }

    fn step_is_done(&mut self) {
        if let Some(progress) = &self.progress {
            self.n_done = (self.n_done + self.chunk).min(self.n_tokens);
            progress.set(self.n_done as u64, self.n_tokens as u64);
        }
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
