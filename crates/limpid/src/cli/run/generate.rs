//! Drives the engine until the request is over.

use super::explain::Explain;
use crate::console::Console;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::output;
use crate::progress::{Progress, Unit};
use crate::texts::{Text, TextLogprob, Texts};
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
    pub(crate) prompt: &'a [TokenId],
    /// Tokens that one step computes at most.
    pub(crate) prefill_chunk: usize,
    /// Without one every token is preceded by a prefill of all there is.
    pub(crate) kv_cache: bool,
    /// The text goes to standard output as it comes.
    pub(crate) streams: bool,
    /// Something else goes there.
    pub(crate) explains: bool,
}

/// What came of a request.
pub(crate) struct Generation {
    /// At least one, of which there may be nothing.
    pub(crate) texts: Vec<Text>,
    pub(crate) prompt_logprobs: Option<Vec<TextLogprob>>,
    pub(crate) finished: Finished,
    /// From the first step to the last.
    pub(crate) time: Duration,
}

impl Generation {
    pub(crate) fn first(&self) -> &Text {
        &self.texts[0]
    }
}

/// Steps until the only request, `id`, is over. Writes the text as it comes, if it streams, or what there is to
/// explain; every text begins with `echo`.
pub(crate) fn generate(
    engine: &mut Engine,
    id: RequestId,
    watch: &Watch<'_>,
    echo: String,
    mut explain: Option<&mut Explain<'_>>,
) -> Result<Generation, CliError> {
    let start = Instant::now();
    let mut texts = Texts::new(echo);
    let write =
        |text: &str| if watch.streams && !text.is_empty() { output::write_text(text) } else { Ok(()) };
    write(&texts.echo)?;
    let mut prefill = Prefill::start(watch, "prefill", watch.prompt.len());
    let mut events = Events::default();
    loop {
        events.clear();
        if watch.interrupt.is_asked() {
            engine.cancel(id, &mut events);
        } else if let Some(explain) = &mut explain {
            engine.step(&mut events, *explain);
        } else {
            engine.step(&mut events, &mut NoTrace);
        }
        prefill.step_is_done();
        let explained = explain.as_mut().map_or_else(String::new, |explain| explain.end_step());
        if !explained.is_empty() {
            prefill.end();
            output::write(&explained)?;
        }
        for event in events.iter() {
            match event.kind {
                EventKind::Token { .. } | EventKind::Text { .. } => {
                    // Its line is erased before text comes.
                    prefill.end();
                    write(texts.take(event.kind, watch.prompt))?;
                    if watch.shows_recomputing() {
                        let n_tokens = watch.prompt.len() + texts.texts[0].token_ids.len();
                        prefill = Prefill::start(watch, "computing again", n_tokens);
                    }
                }
                EventKind::Finished(finished) => {
                    let Texts { texts, prompt_logprobs, .. } = texts;
                    let finished = finished.clone();
                    return Ok(Generation { texts, prompt_logprobs, finished, time: start.elapsed() });
                }
                other => {
                    texts.take(other, watch.prompt);
                }
            }
        }
    }
}

impl Watch<'_> {
    /// A line that is rewritten would tear a text that is on the same terminal.
    fn shows_recomputing(&self) -> bool {
        let writes = self.streams || self.explains;
        let tears = writes && self.console.is_terminal() && std::io::stdout().is_terminal();
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
