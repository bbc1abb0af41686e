//! The engine: submit, cancel, step.
//!
//! A synchronous state machine over a [`Forward`]. It does nothing between calls, and its clock is the caller's: time
//! is only reported, and decides nothing but when a time limit is up. So a test can drive it with a fake model and a
//! seed.
//!
//! - `request`: what a caller asks.  `event`: what the engine says.
//! - `running`: a request while it waits and runs.  `sequence`: one token stream of it.  `output`: its text.
//! - `chooser`: the tokens of a step, for all sequences at once.  `beams`: a request whose sequences are those of a
//!   search.
//! - `kept`: what of a conversation stays in the cache.

mod beams;
mod chooser;
mod event;
mod kept;
mod output;
mod request;
mod running;
mod sequence;

pub use event::{Event, EventKind, Events, Finished, RequestError, Usage};
pub use request::{
    ContextOverflow, ConversationId, Dropped, LengthLimit, PromptLimits, Request, RequestId, SubmitError,
};
pub use sequence::bytes_of_sequences;

use self::chooser::Chooser;
use crate::TokenId;
use crate::decode::Decoding;
use crate::kv::{KvCache, KvStats};
use crate::model::{Batch, Forward, ForwardError, Want};
use crate::sampling::{FinishReason, ParamError, Sampler, StopMatcher};
use crate::scheduler::{Budget, FreePages};
use crate::stats::RequestRecorder;
use crate::tokenizer::Tokenizer;
use crate::trace::{Recorder, What};
use kept::KeptSequences;
use limpid_kernels::Cpu;
use limpid_kernels::buffer::AllocError;
use output::TokenLimit;
use running::{LogitRow, Running, Tools, Waiting};
use sequence::Sequence;
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
    cpu: Arc<Cpu>,
    tokenizer: Arc<Tokenizer>,
    eos: Vec<TokenId>,
    clock: Box<dyn Clock>,
    config: EngineConfig,
    budget: Budget,
    kv: KvCache,
    free_pages: FreePages,
    kept: KeptSequences,
    waiting: VecDeque<Waiting>,
    /// In the order in which they started.
    running: Vec<Running>,
    next_id: u64,
    // Used again by every step:
    batch: Batch,
    chooser: Chooser,
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
            chooser: Chooser::new(model.vocab_size(), model.cpu(), config.max_sequences),
            cpu: model.cpu().clone(),
            batch: Batch::with_capacity(budget.max_rows()),
            running: Vec::with_capacity(config.max_sequences),
            free_pages: FreePages::new(vec![config.n_pages; kv.layout().groups.len()]),
            waiting: VecDeque::new(),
            kept: KeptSequences::default(),
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
        request.validate()?;
        self.check_width(&request.decoding)?;
        let Request { mut prompt, sampling, stop, max_tokens: asked, decoding, .. } = request;
        let width = decoding.width();
        let limits = self.limits(prompt.len(), width);
        let dropped = limits.fit_prompt(&mut prompt, asked, request.context_overflow)?;
        limits.check_prompt(&prompt)?;
        // A shorter prompt is fewer pages that all share.
        let limits = self.limits(prompt.len(), width);
        let max_tokens = limits.max_tokens(prompt.len(), asked, sampling.min_tokens)?;
        let reason = if asked.is_some() { FinishReason::MaxTokens } else { FinishReason::Context };
        let stops = StopMatcher::new(&stop, &sampling, &self.eos, self.model.vocab_size())?;
        let n_samplers = if matches!(decoding, Decoding::Beams(_)) { 1 } else { width };
        let sampler = Sampler::new(&sampling, &self.eos, &stop.stop_token_ids, self.model.vocab_size())?;
        let waiting = Waiting {
            id: RequestId(self.next_id),
            n_pages: self.claim(prompt.len(), prompt.len() + max_tokens, width),
            prompt,
            dropped,
            decoding,
            samplers: (0..n_samplers).map(|choice| sampler.clone().for_choice(choice as u32)).collect(),
            stops,
            limit: TokenLimit { max_tokens, reason },
            logprobs: request.logprobs,
            conversation: request.conversation,
            deadline: request.time_limit.map(|limit| request.accepted_at.saturating_add(limit)),
            recorder: RequestRecorder::new(request.accepted_at, request.tokenized_at),
        };
        self.next_id += 1;
        let id = waiting.id;
        self.waiting.push_back(waiting);
        Ok(id)
    }

    /// Refuses a request with more sequences than can run at the same time.
    fn check_width(&self, decoding: &Decoding) -> Result<(), ParamError> {
        let (width, most) = (decoding.width(), self.config.max_sequences);
        if width <= most {
            return Ok(());
        }
        let name = match decoding {
            Decoding::Choices(choices) if choices.are_ranked() => "best_of",
            Decoding::Choices(_) => "n",
            Decoding::Beams(_) => "num_beams",
        };
        let allowed = format!("at most {most}, the sequences that run at the same time");
        Err(ParamError::new(name, width, &allowed))
    }

    /// Ends a request at once and gives its pages back. False if it has ended already.
    pub fn cancel(&mut self, id: RequestId, events: &mut Events) -> bool {
        if let Some(i) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.end_waiting(i, FinishReason::Cancelled, events);
            return true;
        }
        let Some(i) = self.running.iter().position(|running| running.id == id) else { return false };
        self.end(i, Some(FinishReason::Cancelled), events);
        true
    }

    /// Gives back what stays in the cache of a conversation that does not go on. Whether there was anything.
    pub fn forget(&mut self, conversation: ConversationId) -> bool {
        self.kept.forget(conversation, &mut self.kv, &mut self.free_pages)
    }

    /// Ends what is out of time, lets requests start, computes one batch, and appends what happened to `events`.
    /// `recorder` is shown what it asks for; `NoTrace` asks for nothing, and then looking costs nothing.
    pub fn step(&mut self, events: &mut Events, recorder: &mut dyn Recorder) {
        self.end_late(events);
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

    /// The longest sequence, prompt and output.
    pub fn context_length(&self) -> usize {
        self.config.context_length
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
        let width: usize = self.running.iter().map(Running::width).sum();
        if width > self.config.max_sequences {
            return Err(format!("{width} sequences may run, the limit is {}", self.config.max_sequences));
        }
        for running in &self.running {
            for (group, &most) in running.n_pages.iter().enumerate() {
                let n_held = self.kv.n_held_together(running.seqs(), group);
                if n_held > most {
                    return Err(format!(
                        "request {} holds {n_held} pages, {most} were reserved",
                        running.id.0
                    ));
                }
            }
        }
        self.kept.check(&self.kv)?;
        for group in 0..self.kv.layout().groups.len() {
            let of_running: usize = self.running.iter().map(|running| running.n_pages[group]).sum();
            let n_claimed = of_running + self.kept.n_pages(group);
            if n_claimed + self.free_pages.n_free(group) != self.config.n_pages {
                return Err(format!("group {group}: {n_claimed} pages are claimed, the others are not free"));
            }
        }
        let n_sequences: usize = self.running.iter().map(|running| running.sequences.len()).sum();
        let n_sequences = n_sequences + self.kept.len();
        if self.kv.n_sequences() != n_sequences {
            return Err(format!(
                "{} sequences in the KV cache, {n_sequences} run or are kept",
                self.kv.n_sequences()
            ));
        }
        Ok(())
    }

    /// How long the sequences of a request may become.
    fn limits(&self, n_prompt: usize, width: usize) -> PromptLimits {
        let in_context = self.config.context_length;
        let in_pool = self.longest_in_pool(n_prompt, width);
        let (limit, max_len) = match in_context {
            _ if in_pool >= in_context && in_context == self.model.context_length() => {
                (LengthLimit::Model, in_context)
            }
            _ if in_pool >= in_context => (LengthLimit::Context, in_context),
            _ if width == 1 => (LengthLimit::KvCache, in_pool),
            _ => (LengthLimit::SharedKvCache { n_sequences: width }, in_pool),
        };
        PromptLimits { vocab_size: self.model.vocab_size(), limit, max_len }
    }

    /// The longest that `width` sequences of one prompt can become, up to the context.
    fn longest_in_pool(&self, n_prompt: usize, width: usize) -> usize {
        let fits =
            |len: usize| self.claim(n_prompt.min(len), len, width).iter().all(|&n| n <= self.config.n_pages);
        // Bisection; invariant: `longest` fits, `too_long` does not, or is beyond the context.
        let (mut longest, mut too_long) = (0, self.config.context_length + 1);
        while too_long - longest > 1 {
            let len = longest + (too_long - longest) / 2;
            if fits(len) { longest = len } else { too_long = len }
        }
        longest
    }

    /// The pages, by layer group, that `width` sequences of up to `max_len` positions need at worst. Whole pages of
    /// their prompt are shared, if they are kept at all.
    fn claim(&self, n_prompt: usize, max_len: usize, width: usize) -> Vec<usize> {
        let (n_shared, n_new) = (if self.config.kv_cache { n_prompt } else { 0 }, self.config.prefill_chunk);
        let groups = &self.kv.layout().groups;
        groups.iter().map(|group| group.pages_needed_by(width, n_shared, max_len, n_new)).collect()
    }

    /// Ends the requests whose time is up.
    fn end_late(&mut self, events: &mut Events) {
        let deadlines = self.waiting.iter().map(|waiting| waiting.deadline);
        let mut deadlines = deadlines.chain(self.running.iter().map(|running| running.deadline));
        if deadlines.all(|deadline| deadline.is_none()) {
            return;
        }
        let now = self.clock.now();
        let is_late = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
        while let Some(i) = self.waiting.iter().position(|waiting| is_late(waiting.deadline)) {
            self.end_waiting(i, FinishReason::TimeLimit, events);
        }
        while let Some(i) = self.running.iter().position(|running| is_late(running.deadline)) {
            self.end(i, Some(FinishReason::TimeLimit), events);
        }
    }

    /// The next ones in the queue start while there is a place and pages for their worst case. Nobody overtakes.
    fn start_waiting(&mut self, events: &mut Events) {
        let mut n_sequences: usize = self.running.iter().map(Running::width).sum();
        while let Some(next) = self.waiting.front()
            && n_sequences + next.decoding.width() <= self.config.max_sequences
            && self.kept.reserve(&next.n_pages, next.conversation, &mut self.kv, &mut self.free_pages)
            && let Some(next) = self.waiting.pop_front()
        {
            n_sequences += next.decoding.width();
            events.started(next.id, next.dropped);
            let now = self.clock.now();
            self.running.push(next.start(&mut self.kept, &mut self.kv, &self.tokenizer, now));
        }
    }

    fn build_batch(&mut self) {
        self.batch.rows.clear();
        let mut step = self.budget.begin_step();
        for sequence in self.running.iter_mut().flat_map(|running| &mut running.sequences) {
            let n_rows = step.take(sequence.n_pending(), sequence.scores_prompt());
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

    /// Runs the model over the batch and lets every request go on with the logits that it wanted.
    fn compute(&mut self, events: &mut Events, recorder: &mut dyn Recorder) {
        let logits = match self.model.forward(&self.batch, &mut self.kv, recorder) {
            Ok(logits) => logits,
            Err(error) => return fail_batch(&mut self.running, &error),
        };
        let computed_at = self.clock.now();
        let wanted = self.batch.rows.iter().enumerate().filter(|(_, row)| row.want == Want::Logits);
        let mut rows = wanted.enumerate().map(|(logit_row, (row, of))| {
            let (position, logits) = (of.position as usize, logits.row(logit_row));
            LogitRow { row, logit_row, position, logits }
        });
        for (i, running) in self.running.iter_mut().enumerate() {
            let mut tools = Tools {
                cpu: &self.cpu,
                tokenizer: &self.tokenizer,
                kv: &mut self.kv,
                keeps_kv: self.config.kv_cache,
                chooser: &mut self.chooser,
                events,
                recorder,
            };
            running.continue_with(i, &mut rows, computed_at, &mut tools);
        }
        self.chooser.choose(&self.cpu, logits, recorder);
        for choosing in self.chooser.take() {
            self.running[choosing.request].take(choosing, &self.tokenizer, events);
        }
        for running in &mut self.running {
            if let Some(has_text) = running.take_told() {
                running.recorder.token(self.clock.now(), has_text);
            }
        }
    }

    fn end_finished(&mut self, events: &mut Events) {
        let mut i = 0;
        while let Some(running) = self.running.get(i) {
            match (&running.error, running.is_over()) {
                (Some(_), _) => self.end(i, Some(FinishReason::Error), events),
                (None, true) => self.end(i, None, events),
                (None, false) => i += 1,
            }
        }
    }

    /// Ends a request that has not begun.
    fn end_waiting(&mut self, i: usize, reason: FinishReason, events: &mut Events) {
        let waiting = self.waiting.remove(i).expect("a position in the queue");
        let (usage, timings) = (waiting.usage(), waiting.recorder.timings());
        events.finished(waiting.id, Finished { reason, error: None, usage, timings });
    }

    /// Tells what is left to tell of a request, gives back what it held and says that it is over. `cut_off`: why, if
    /// its texts have not ended by themselves.
    fn end(&mut self, i: usize, cut_off: Option<FinishReason>, events: &mut Events) {
        let mut running = self.running.remove(i);
        let n_bytes = events.n_bytes();
        let of_text = running.conclude(cut_off.as_ref(), &self.tokenizer, events);
        if events.n_bytes() > n_bytes {
            running.recorder.content(self.clock.now());
        }
        let kv_bytes = running.kv_bytes(&self.kv);
        self.free_pages.give_back(&running.n_pages);
        self.release_sequences(&running);
        let reason = cut_off.unwrap_or(of_text);
        let (usage, timings) = (Usage { kv_bytes, ..running.usage() }, running.recorder.timings());
        events.finished(running.id, Finished { reason, error: running.error, usage, timings });
    }

    /// Gives the sequences of a request back, whose claim on pages is given back already, or keeps one for its
    /// conversation: a text that a failed batch left half written is of no use to anyone.
    fn release_sequences(&mut self, running: &Running) {
        let keeps = self.config.kv_cache && running.error.is_none();
        match (running.conversation.filter(|_| keeps), &running.sequences[..]) {
            (Some(conversation), [sequence]) if !sequence.computed().is_empty() => {
                let (seq, tokens) = (sequence.seq, sequence.computed().to_vec());
                self.kept.keep(conversation, seq, tokens, &mut self.kv, &mut self.free_pages);
            }
            (_, sequences) => sequences.iter().for_each(|sequence| self.kv.release(sequence.seq)),
        }
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
    let extra_logit_rows = model.max_logit_rows().saturating_sub(max_sequences);
    let budget = Budget { max_sequences, prefill_chunk, extra_logit_rows };
    let (n_rows, most) = (budget.max_rows(), model.max_batch_rows());
    if n_rows > most {
        return Err(ConfigError::BatchTooLarge { max_sequences, prefill_chunk, n_rows, most });
    }
    if max_sequences > model.max_logit_rows() {
        return Err(ConfigError::TooManySequences { asked: max_sequences, most: model.max_logit_rows() });
    }
    Ok(budget)
}
