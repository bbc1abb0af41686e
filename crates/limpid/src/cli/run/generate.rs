//! Drives the engine until the request is over.

use super::RunSize;
use crate::console::Console;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Unit};
use limpid_engine::TokenId;
use limpid_engine::engine::{Clock, Engine, EventKind, Events, Finished, RequestId};
use std::time::{Duration, Instant};

/// Time since the command began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonotonicClock(pub(crate) Instant);

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Who looks on while the engine works.
pub(crate) struct Watch<'a> {
    pub(crate) console: &'a Console,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) n_prompt: usize,
    pub(crate) size: RunSize,
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
    let mut prefill = Some(Progress::start(watch.console, "prefill", Unit::Tokens));
    let mut events = Events::default();
    let mut n_steps = 0;
    loop {
        events.clear();
        if watch.interrupt.is_asked() {
            engine.cancel(id, &mut events);
        } else {
            engine.step(&mut events);
        }
        for event in events.iter() {
            let released = match event.kind {
                EventKind::Started => continue,
                EventKind::Token { id, text } => {
                    token_ids.push(id);
                    text
                }
                EventKind::Text { text } => text,
                EventKind::Finished(finished) => {
                    let finished = finished.clone();
                    return Ok(Generation { text, token_ids, finished, time: start.elapsed() });
                }
            };
            prefill = None;
            if !released.is_empty() {
                text.push_str(released);
                write(released)?;
            }
        }
        if let Some(prefill) = &prefill {
            n_steps += 1;
            let n_done = (n_steps * watch.size.prefill_chunk).min(watch.n_prompt);
            prefill.set(n_done as u64, watch.n_prompt as u64);
        }
    }
}
