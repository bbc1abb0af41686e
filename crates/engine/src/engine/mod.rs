//! The engine: submit, cancel, step.
//!
//! A synchronous state machine over a [`Forward`]. It does nothing between calls, and its clock is the caller's: time
//! is only reported, never decides anything. So a test can drive it with a fake model and a seed.
//!
//! - `request`: what a caller asks.  `event`: what the engine says.
//! - `running`: a request while it waits and runs.  `sequence`: one token stream of it.

mod event;
mod request;
mod running;
mod sequence;

pub use event::{Event, EventKind, Events, Finished, RequestError, Usage};
pub use request::{LengthLimit, PromptLimits, Request, RequestId, SubmitError};

use crate::TokenId;
use crate::kv::{KvCache, KvStats};
use crate::model::{Batch, Forward, ForwardError, Want};
use crate::sampling::{Candidates, FinishReason, Sampler, StopMatcher};
use crate::scheduler::{Budget, FreePages};
use crate::stats::RequestRecorder;
use crate::tokenizer::Tokenizer;
use crate::trace::{Recorder, What};
use limpid_kernels::buffer::AllocError;
use running::{Running, Waiting};
use sequence::{Sequence, TokenLimit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Where the engine reads the time: monotonic, since any moment.
pub trait Clock: Send {
    fn now(&self) -> Duration;
}

/// The engine's limits.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The longest sequence, prompt and output; at most the model's own.
    pub context_length: usize,
    /// Pages of `PAGE_LEN` positions in each layer group, for all sequences together.
    pub n_pages: usize,
    /// Sequences that run at the same time.
    pub max_sequences: usize,
    /// Requests that may wait.
    pub max_waiting: usize,
    /// Prefill rows of one step.
    pub prefill_chunk: usize,
    /// Off: every token computes the whole text again. The same bytes, to show what the cache saves.
    pub kv_cache: bool,
}

/// Limits that do not go together.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name} is 0, it must be 1 or more")]
    Zero { name: &'static str },
    #[error("a context of {asked} tokens is more than the {most} that the model was made for")]
    ContextTooLong { asked: usize, most: usize },
    #[error(
        "{max_sequences} sequences with a prefill chunk of {prefill_chunk} make batches of {n_rows} rows; \
         the model was loaded for {most}. Lower one of them"
    )]
    BatchTooLarge { max_sequences: usize, prefill_chunk: usize, n_rows: usize, most: usize },
    #[error("{asked} sequences may want logits at once; the model was loaded for {most}")]
    TooManySequences { asked: usize, most: usize },
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

/// See the module.
pub struct Engine {
    model: Box<dyn Forward>,
    tokenizer: Arc<Tokenizer>,
    eos: Vec<TokenId>,
    clock: Box<dyn Clock>,
    config: EngineConfig,
    budget: Budget,
    kv: KvCache,
    free_pages: FreePages,
    waiting: VecDeque<Waiting>,
    /// In the order in which they started.
    running: Vec<Running>,
    next_id: u64,
    // Used again by every step:
    batch: Batch,
    candidates: Candidates,
}

impl Engine {
    pub fn new(
        model: Box<dyn Forward>,
        tokenizer: Arc<Tokenizer>,
        config: EngineConfig,
        clock: Box<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let budget = check_config(&config, &*model)?;
        let kv = KvCache::new(model.kv_layout().clone(), config.n_pages)?;
        Ok(Self {
            eos: tokenizer.special().eos_ids().collect(),
            candidates: Candidates::new(model.vocab_size(), model.cpu().isa),
            batch: Batch::with_capacity(budget.max_rows()),
            running: Vec::with_capacity(config.max_sequences),
            free_pages: FreePages::new(vec![config.n_pages; kv.layout().groups.len()]),
            waiting: VecDeque::new(),
            next_id: 0,
            model,
            tokenizer,
            clock,
            config,
            budget,
            kv,
        })
    }

    /// Lets a request in, or refuses it for what it asks itself. It starts in a later `step`.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, SubmitError> {
        let max_waiting = self.config.max_waiting;
        if self.waiting.len() >= max_waiting {
            return Err(SubmitError::QueueFull { max_waiting });
        }
        let limit = self.token_limit(&request)?;
        let Request { prompt, sampling, stop, accepted_at, tokenized_at, .. } = request;
        let stops = StopMatcher::new(&stop, &sampling, &self.eos, self.model.vocab_size())?;
        let sampler = Sampler::new(&sampling, &self.eos, &stop.stop_token_ids, self.model.vocab_size())?;
        let max_len = prompt.len() + limit.max_tokens;
        let groups = &self.kv.layout().groups;
        let n_pages = groups.iter().map(|g| g.pages_needed(max_len, self.config.prefill_chunk)).collect();
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let recorder = RequestRecorder::new(accepted_at, tokenized_at);
        self.waiting.push_back(Waiting { id, prompt, sampler, stops, limit, n_pages, recorder });
        Ok(id)
    }

    /// Ends a request at once and gives its pages back. False if it has ended already.
    pub fn cancel(&mut self, id: RequestId, events: &mut Events) -> bool {
        if let Some(i) = self.waiting.iter().position(|waiting| waiting.id == id) {
            let waiting = self.waiting.remove(i).expect("its position was just found");
            let (usage, timings) = (waiting.usage(), waiting.recorder.timings());
            events.finished(id, Finished { reason: FinishReason::Cancelled, error: None, usage, timings });
            return true;
        }
        let Some(i) = self.running.iter().position(|running| running.id == id) else { return false };
        let mut running = self.running.remove(i);
        running.release_text(events);
        self.end(running, FinishReason::Cancelled, events);
        true
    }

    /// Lets requests start, computes one batch, and appends what happened to `events`. `recorder` is shown what it asks
    /// for; `NoTrace` asks for nothing, and then looking costs nothing.
    pub fn step(&mut self, events: &mut Events, recorder: &mut dyn Recorder) {
        self.start_waiting(events);
        self.build_batch();
        if self.batch.rows.is_empty() {
            return;
        }
        if recorder.wants(What::Rows) {
            self.name_rows(recorder);
        }
        self.compute(events, recorder);
        self.end_finished(events);
    }

    /// Whether a `step` would do nothing.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn n_running(&self) -> usize {
        self.running.len()
    }

    pub fn kv_stats(&self) -> KvStats {
        self.kv.stats()
    }

    /// For tests: the KV cache's books are right, and no limit is exceeded.
    pub fn check_integrity(&self) -> Result<(), String> {
        self.kv.check_integrity()?;
        if self.running.len() > self.config.max_sequences {
            return Err(format!(
                "{} requests run, the limit is {}",
                self.running.len(),
                self.config.max_sequences
            ));
        }
        for running in &self.running {
            for (group, &most) in running.n_pages.iter().enumerate() {
                let n_held: usize =
                    running.sequences.iter().map(|s| self.kv.n_held_pages(s.seq, group)).sum();
                if n_held > most {
                    return Err(format!(
                        "request {} holds {n_held} pages, {most} were reserved",
                        running.id.0
                    ));
                }
            }
        }
        let n_sequences: usize = self.running.iter().map(|running| running.sequences.len()).sum();
        if self.kv.n_sequences() != n_sequences {
            return Err(format!("{} sequences in the KV cache, {n_sequences} run", self.kv.n_sequences()));
        }
        Ok(())
    }

    /// How much a request may generate: what it asks, if that fits, or else all that fits.
    fn token_limit(&self, request: &Request) -> Result<TokenLimit, SubmitError> {
        let (in_context, in_pool) = (self.config.context_length, self.kv.max_len(self.config.prefill_chunk));
        let (limit, max_len) = match in_context {
            _ if in_pool < in_context => (LengthLimit::KvCache, in_pool),
            _ if in_context == self.model.context_length() => (LengthLimit::Model, in_context),
            _ => (LengthLimit::Context, in_context),
        };
        let limits = PromptLimits { vocab_size: self.model.vocab_size(), limit, max_len };
        limits.check_prompt(&request.prompt)?;
        let max_tokens =
            limits.max_tokens(request.prompt.len(), request.max_tokens, request.sampling.min_tokens)?;
        let reason =
            if request.max_tokens.is_some() { FinishReason::MaxTokens } else { FinishReason::Context };
        Ok(TokenLimit { max_tokens, reason })
    }

    /// The next ones in the queue start while there is a place and pages for their worst case. Nobody overtakes.
    fn start_waiting(&mut self, events: &mut Events) {
        while self.running.len() < self.config.max_sequences
            && let Some(next) = self.waiting.front()
            && self.free_pages.reserve(&next.n_pages)
            && let Some(next) = self.waiting.pop_front()
        {
            events.started(next.id);
            self.running.push(next.start(&mut self.kv, &self.tokenizer, self.clock.now()));
        }
    }

    fn build_batch(&mut self) {
        self.batch.rows.clear();
        let mut step = self.budget.begin_step();
        for sequence in self.running.iter_mut().flat_map(|running| &mut running.sequences) {
            let n_rows = step.take(sequence.n_pending());
            self.kv.extend(sequence.seq, n_rows).expect("the pages of its worst case were reserved");
            sequence.add_rows(n_rows, &mut self.batch);
        }
    }

    /// Tells a recorder whose token each batch row is.
    fn name_rows(&self, recorder: &mut dyn Recorder) {
        let owners = self.running.iter().flat_map(|running| {
            let n_rows = running.sequences.iter().map(Sequence::n_in_batch).sum();
            std::iter::repeat_n(running.id.0, n_rows)
        });
        for (i, (request, row)) in owners.zip(&self.batch.rows).enumerate() {
            recorder.row(i, request, row.position as usize);
        }
    }

    /// Runs the model over the batch and chooses a token for every sequence whose last token was in it.
    fn compute(&mut self, events: &mut Events, recorder: &mut dyn Recorder) {
        let logits = match self.model.forward(&self.batch, &mut self.kv, recorder) {
            Ok(logits) => logits,
            Err(error) => return fail_batch(&mut self.running, &error),
        };
        let computed_at = self.clock.now();
        let wanted = self.batch.rows.iter().enumerate().filter(|(_, row)| row.want == Want::Logits);
        let mut logits = wanted.enumerate().map(|(i, (row, _))| (row, logits.row(i)));
        for running in &mut self.running {
            for i in 0..running.sequences.len() {
                let sequence = &mut running.sequences[i];
                running.computed_tokens += sequence.n_in_batch();
                if !sequence.advance() {
                    continue;
                }
                running.recorder.prefilled(computed_at, sequence.n_prompt());
                if !self.config.kv_cache {
                    self.kv.truncate(sequence.seq, 0);
                    sequence.forget_computed();
                }
                let (row, logits) = logits.next().expect("a row for every one that wanted logits");
                recorder.choice(row);
                match sequence.choose(logits, &mut self.candidates, recorder) {
                    Ok(id) => {
                        let has_text = running.push(i, id, &self.tokenizer, events);
                        running.recorder.token(self.clock.now(), has_text);
                    }
                    Err(error) => running.error = Some(error.into()),
                }
            }
        }
    }

    fn end_finished(&mut self, events: &mut Events) {
        let mut i = 0;
        while i < self.running.len() {
            let Some(reason) = self.running[i].reason().cloned() else {
                i += 1;
                continue;
            };
            let mut running = self.running.remove(i);
            if running.error.is_some() {
                running.release_text(events);
            }
            self.end(running, reason, events);
        }
    }

    /// Gives back what a request held and says that it is over.
    fn end(&mut self, running: Running, reason: FinishReason, events: &mut Events) {
        for sequence in &running.sequences {
            self.kv.release(sequence.seq);
        }
        self.free_pages.give_back(&running.n_pages);
        let (usage, timings) = (running.usage(), running.recorder.timings());
        events.finished(running.id, Finished { reason, error: running.error, usage, timings });
    }
}

/// The batch could not be computed: the requests that have rows in it end, and nobody else.
fn fail_batch(running: &mut [Running], error: &ForwardError) {
    for running in running {
        if running.sequences.iter().any(|sequence| sequence.n_in_batch() > 0) {
            running.error = Some(error.clone().into());
        }
    }
}

fn check_config(config: &EngineConfig, model: &dyn Forward) -> Result<Budget, ConfigError> {
    let &EngineConfig { context_length, n_pages, max_sequences, max_waiting, prefill_chunk, .. } = config;
    let limits = [
        ("context_length", context_length),
        ("n_pages", n_pages),
        ("max_sequences", max_sequences),
        ("max_waiting", max_waiting),
        ("prefill_chunk", prefill_chunk),
    ];
    if let Some(&(name, _)) = limits.iter().find(|(_, value)| *value == 0) {
        return Err(ConfigError::Zero { name });
    }
    if context_length > model.context_length() {
        return Err(ConfigError::ContextTooLong { asked: context_length, most: model.context_length() });
    }
    let budget = Budget { max_sequences, prefill_chunk };
    let (n_rows, most) = (budget.max_rows(), model.max_batch_rows());
    if n_rows > most {
        return Err(ConfigError::BatchTooLarge { max_sequences, prefill_chunk, n_rows, most });
    }
    if max_sequences > model.max_logit_rows() {
        return Err(ConfigError::TooManySequences { asked: max_sequences, most: model.max_logit_rows() });
    }
    Ok(budget)
}
