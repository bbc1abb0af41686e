//! A request inside the engine: first it waits, then it runs.

use super::beams::Beams;
use super::chooser::{Chooser, Choosing};
use super::event::{Events, RequestError, Usage};
use super::kept::{KeptSequences, Reused};
use super::output::{Output, TokenLimit};
use super::request::{ConversationId, Dropped, RequestId};
use super::sequence::Sequence;
use crate::TokenId;
use crate::decode::{BeamSearch, Decoding, LogprobParams, Logprobs};
use crate::kv::{KvCache, SeqId};
use crate::sampling::{FinishReason, SampleError, Sampler, StopMatcher};
use crate::stats::RequestRecorder;
use crate::tokenizer::Tokenizer;
use crate::trace::Recorder;
use limpid_kernels::Cpu;
use std::time::Duration;

/// A request that was let in and has not begun.
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) prompt: Vec<TokenId>,
    pub(super) dropped: Option<Dropped>,
    pub(super) decoding: Decoding,
    /// One for each choice, or one for all beams.
    pub(super) samplers: Vec<Sampler>,
    pub(super) stops: StopMatcher,
    pub(super) limit: TokenLimit,
    pub(super) logprobs: LogprobParams,
    /// The pages, by layer group, that it needs at worst.
    pub(super) n_pages: Vec<usize>,
    pub(super) conversation: Option<ConversationId>,
    pub(super) deadline: Option<Duration>,
    pub(super) recorder: RequestRecorder,
}

impl Waiting {
    pub(super) fn start(
        mut self,
        kept: &mut KeptSequences,
        kv: &mut KvCache,
        tokenizer: &Tokenizer,
        now: Duration,
    ) -> Running {
        self.recorder.started(now);
        let max_len = self.prompt.len() + self.limit.max_tokens;
        let prompt_logprobs = self.logprobs.prompt.map(|n_top| Logprobs::new(self.prompt.len() - 1, n_top));
        let n_ends = self.stops.n_ending_ids();
        let fresh = Output::new(self.stops, self.limit, &self.prompt, tokenizer);
        let logprobs = room_for_logprobs(&self.logprobs, &self.decoding, fresh.limit().max_tokens);
        let scores_prompt = prompt_logprobs.is_some();
        let reused = self.conversation.and_then(|c| kept.take(c, &self.prompt, scores_prompt, max_len, kv));
        let Reused { seq, n_tokens: n_cached } =
            reused.unwrap_or_else(|| Reused { seq: kv.create(max_len), n_tokens: 0 });
        let first = Sequence::new(seq, &self.prompt, fresh.clone(), logprobs, scores_prompt, tokenizer);
        let first = first.with_computed(n_cached);
        let beams = match self.decoding {
            Decoding::Choices(_) => None,
            Decoding::Beams(params) => {
                let search = BeamSearch::new(params, n_ends, fresh.limit().max_tokens);
                Some(Box::new(Beams::new(self.id, search, self.logprobs, &first, &fresh, tokenizer)))
            }
        };
        Running {
            id: self.id,
            n_prompt: first.n_prompt(),
            n_cached,
            sequences: vec![first],
            decoding: self.decoding,
            beams,
            samplers: self.samplers,
            logprobs: self.logprobs,
            prompt_logprobs,
            fresh,
            max_len,
            n_pages: self.n_pages,
            conversation: self.conversation,
            deadline: self.deadline,
            recorder: self.recorder,
            computed_tokens: 0,
            completion_tokens: 0,
            told: None,
            error: None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { prompt_tokens: self.prompt.len(), ..Usage::default() }
    }
}

/// Room for what has to be kept of a sequence's log-probabilities: those of a text that is told token by token are not.
pub(super) fn room_for_logprobs(
    logprobs: &LogprobParams,
    decoding: &Decoding,
    max_tokens: usize,
) -> Logprobs {
    let n_top = logprobs.output.unwrap_or(0);
    match decoding {
        Decoding::Beams(_) => Logprobs::new(max_tokens, 0),
        Decoding::Choices(choices) if choices.are_ranked() => Logprobs::new(max_tokens, n_top),
        Decoding::Choices(_) => Logprobs::new(usize::from(logprobs.output.is_some()), n_top),
    }
}

/// What the request's sequences are worked on with.
pub(super) struct Tools<'a> {
    pub(super) cpu: &'a Cpu,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) kv: &'a mut KvCache,
    /// Whether keys and values are kept from one step to the next.
    pub(super) keeps_kv: bool,
    pub(super) chooser: &'a mut Chooser,
    pub(super) events: &'a mut Events,
    pub(super) recorder: &'a mut dyn Recorder,
}

impl Tools<'_> {
    /// What follows a sequence is chosen: without a cache its keys and values are not needed any more.
    fn end_computing(&mut self, sequence: &mut Sequence) {
        if !self.keeps_kv {
            self.kv.truncate(sequence.seq, 0);
            sequence.forget_computed();
        }
    }
}

/// The logits of a batch row, and which of the rows of logits they are.
#[derive(Clone, Copy)]
pub(super) struct LogitRow<'a> {
    pub(super) row: usize,
    pub(super) logit_row: usize,
    pub(super) position: usize,
    pub(super) logits: &'a [f32],
}

/// A request that the model works on.
pub(super) struct Running {
    pub(super) id: RequestId,
    n_prompt: usize,
    /// Prompt tokens that were in the cache when it started.
    n_cached: usize,
    /// All of one prompt. One until the prompt is computed.
    pub(super) sequences: Vec<Sequence>,
    decoding: Decoding,
    beams: Option<Box<Beams>>,
    /// One for each choice, or one for all beams.
    samplers: Vec<Sampler>,
    logprobs: LogprobParams,
    /// Until they are told.
    prompt_logprobs: Option<Logprobs>,
    /// The text of nothing generated yet.
    fresh: Output,
    max_len: usize,
    pub(super) n_pages: Vec<usize>,
    pub(super) conversation: Option<ConversationId>,
    pub(super) deadline: Option<Duration>,
    pub(super) recorder: RequestRecorder,
    computed_tokens: usize,
    completion_tokens: usize,
    /// Whether the step brought a token, and text with it.
    told: Option<bool>,
    pub(super) error: Option<RequestError>,
}

impl Running {
    /// The most sequences that it may come to have.
    pub(super) fn width(&self) -> usize {
        self.decoding.width()
    }

    /// Whether all of its texts have ended.
    pub(super) fn is_over(&self) -> bool {
        match &self.beams {
            Some(beams) => beams.is_over(),
            None => self.sequences.iter().all(|sequence| sequence.reason.is_some()),
        }
    }

    pub(super) fn seqs(&self) -> impl Iterator<Item = SeqId> + Clone {
        self.sequences.iter().map(|sequence| sequence.seq)
    }

    /// What its sequences hold, or what its beams held before their last step.
    pub(super) fn kv_bytes(&self, kv: &KvCache) -> usize {
        kv.held_bytes(self.seqs()).max(self.beams.as_ref().map_or(0, |beams| beams.held_bytes()))
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.n_prompt,
            completion_tokens: self.completion_tokens,
            cached_tokens: self.n_cached,
            // The cache's owner knows.
            kv_bytes: 0,
            computed_tokens: self.computed_tokens,
        }
    }

    /// The model has computed a batch; `rows` are the logits that this request wanted of it, and more. What is to be
    /// chosen goes to the chooser, from where `take` has it back; beams are continued at once.
    pub(super) fn continue_with<'a>(
        &mut self,
        i_request: usize,
        rows: &mut impl Iterator<Item = LogitRow<'a>>,
        computed_at: Duration,
        tools: &mut Tools<'_>,
    ) {
        for i in 0..self.sequences.len() {
            self.computed_tokens += self.sequences[i].n_in_batch();
            let mut last = None;
            for row in rows.take(self.sequences[i].n_wanted()) {
                self.score_prompt(i, row, tools.cpu);
                last = Some(row);
            }
            let sequence = &mut self.sequences[i];
            if !sequence.advance() || self.error.is_some() {
                continue;
            }
            let row = last.expect("the last token of a sequence wants logits");
            self.recorder.prefilled(computed_at, self.n_prompt - self.n_cached);
            if let Some(logprobs) = self.prompt_logprobs.take() {
                tools.events.prompt_logprobs(self.id, logprobs);
            }
            if self.beams.is_none() {
                self.lend(i_request, i, row, tools);
            } else if let Err(error) = self.continue_beams(i, row, tools) {
                self.error = Some(error.into());
            }
        }
    }

    /// Whether there was a new token since the last time, and whether text was released.
    pub(super) fn take_told(&mut self) -> Option<bool> {
        self.told.take()
    }

    fn tell(&mut self, has_text: bool) {
        self.told = Some(self.told.unwrap_or(false) | has_text);
    }

    /// The log-probability of the prompt token that follows a row.
    fn score_prompt(&mut self, i: usize, row: LogitRow<'_>, cpu: &Cpu) {
        let (Some(token), Some(logprobs)) =
            (self.sequences[i].scored_token(row.position), &mut self.prompt_logprobs)
        else {
            return;
        };
        if !logprobs.push(cpu, row.logits, token) {
            self.error.get_or_insert(RequestError::PromptLogits { position: row.position });
        }
    }

    /// Beam `i` offers its continuations; with those of the last one the search goes on.
    fn continue_beams(
        &mut self,
        i: usize,
        row: LogitRow<'_>,
        tools: &mut Tools<'_>,
    ) -> Result<(), SampleError> {
        let beams = self.beams.as_mut().expect("it is a search");
        if beams.offer(i, &self.sequences, &self.samplers[0], row, tools)? {
            let has_text = beams.select(&mut self.sequences, self.max_len, tools)?;
            self.sequences.iter_mut().for_each(|beam| tools.end_computing(beam));
            self.tell(has_text);
        }
        Ok(())
    }

    /// Hands to the chooser what follows sequence `i`: at the prompt's end, what follows all of them.
    fn lend(&mut self, i_request: usize, i: usize, row: LogitRow<'_>, tools: &mut Tools<'_>) {
        tools.end_computing(&mut self.sequences[i]);
        let mut choices = i..i + 1;
        if self.sequences[i].generated().is_empty() {
            self.fork_choices(tools);
            choices = 0..self.sequences.len();
        }
        let reports = self.logprobs.output.is_some() || self.is_ranked();
        for choice in choices {
            let sequence = &mut self.sequences[choice];
            tools.chooser.add(Choosing {
                request: i_request,
                choice,
                row: row.row,
                logit_row: row.logit_row,
                sampler: self.samplers[choice].clone(),
                history: sequence.lend_history(),
                mode: reports.then_some(self.logprobs.mode),
                logprobs: std::mem::take(&mut sequence.logprobs),
                chosen: Err(SampleError::NothingLeft { position: 0 }),
            });
        }
    }

    /// The prompt is computed: all choices share its pages.
    fn fork_choices(&mut self, tools: &mut Tools<'_>) {
        for _ in 1..self.width() {
            let seq = tools.kv.fork(self.sequences[0].seq, self.max_len);
            let first = &self.sequences[0];
            let max_tokens = self.fresh.limit().max_tokens;
            let logprobs = room_for_logprobs(&self.logprobs, &self.decoding, max_tokens);
            let fork = first.fork(seq, logprobs, tools.tokenizer);
            self.sequences.push(fork);
        }
    }

    /// Takes back what was lent, and the token that was chosen, unless another of its texts has failed.
    pub(super) fn take(&mut self, choosing: Choosing, tokenizer: &Tokenizer, events: &mut Events) {
        let Choosing { choice, history, logprobs, chosen, .. } = choosing;
        let (is_ranked, reports) = (self.is_ranked(), self.logprobs.output.is_some());
        let sequence = &mut self.sequences[choice];
        sequence.return_history(history);
        sequence.logprobs = logprobs;
        if self.error.is_some() {
            return;
        }
        let id = match chosen {
            Ok(id) => id,
            Err(error) => return self.error = Some(error.into()),
        };
        self.completion_tokens += 1;
        if is_ranked {
            events.silent(|out| sequence.push(id, tokenizer, out));
            return self.tell(false);
        }
        let logprobs = std::mem::take(&mut sequence.logprobs);
        let told = reports.then(|| logprobs.get(logprobs.len() - 1));
        let has_text = events.token(self.id, choice, id, told, |out| sequence.push(id, tokenizer, out));
        sequence.logprobs = logprobs;
        sequence.logprobs.clear();
        if let Some(reason) = &sequence.reason {
            events.ended(self.id, choice, reason.clone(), None);
        }
        self.tell(has_text);
    }

    fn is_ranked(&self) -> bool {
        matches!(&self.decoding, Decoding::Choices(choices) if choices.are_ranked())
    }

    /// Tells what is not told yet: of texts that are compared all of it, of others what was held back. `cut_off`: why
    /// texts end that have not ended by themselves. The reason of the first text.
    pub(super) fn conclude(
        &mut self,
        cut_off: Option<&FinishReason>,
        tokenizer: &Tokenizer,
        events: &mut Events,
    ) -> FinishReason {
        let is_void = matches!(cut_off, Some(FinishReason::Cancelled | FinishReason::Error));
        let is_ranked = self.is_ranked();
        match (&mut self.beams, is_ranked) {
            (Some(beams), _) if is_void => {
                self.completion_tokens = beams.release_text(events);
                self.end_all(cut_off, events)
            }
            (Some(beams), _) => {
                if cut_off.is_some() {
                    beams.expire(&self.sequences);
                }
                let (reason, n_tokens) = beams.conclude(&self.fresh, tokenizer, events);
                self.completion_tokens = n_tokens;
                reason
            }
            (None, true) if cut_off == Some(&FinishReason::Error) => self.end_all(cut_off, events),
            (None, true) => self.tell_best(cut_off, tokenizer, events),
            (None, false) => self.end_all(cut_off, events),
        }
    }

    /// Ends all texts that have not ended, with what was held back of them.
    fn end_all(&mut self, cut_off: Option<&FinishReason>, events: &mut Events) -> FinishReason {
        let tells = self.beams.is_none() && !self.is_ranked();
        for choice in 0..self.decoding.n_texts() {
            if tells && let Some(sequence) = self.sequences.get_mut(choice) {
                if sequence.reason.is_some() {
                    continue;
                }
                events.text(self.id, choice, |out| sequence.release_text(out));
            }
            events.ended(self.id, choice, cut_off.expect(HAS_ENDED).clone(), None);
        }
        let first = self.sequences.first().filter(|_| tells);
        let reason = first.and_then(|first| first.reason.as_ref());
        reason.or(cut_off).expect(HAS_ENDED).clone()
    }

    /// The texts of the largest mean log-probability, ties to the lower choice index.
    fn tell_best(
        &mut self,
        cut_off: Option<&FinishReason>,
        tokenizer: &Tokenizer,
        events: &mut Events,
    ) -> FinishReason {
        let reports = self.logprobs.output.is_some();
        self.sequences.sort_by(|a, b| b.logprobs.mean().total_cmp(&a.logprobs.mean()));
        for choice in 0..self.decoding.n_texts() {
            let Some(sequence) = self.sequences.get(choice) else {
                events.ended(self.id, choice, cut_off.expect(HAS_ENDED).clone(), None);
                continue;
            };
            let mut output = self.fresh.clone();
            for (i, &token) in sequence.generated().iter().enumerate() {
                let logprobs = reports.then(|| sequence.logprobs.get(i));
                events.token(self.id, choice, token, logprobs, |out| {
                    output.push(token, tokenizer, out);
                });
            }
            if sequence.reason.is_none() {
                events.text(self.id, choice, |out| output.release(out));
            }
            let reason = sequence.reason.as_ref().or(cut_off).expect(HAS_ENDED).clone();
            events.ended(self.id, choice, reason, Some(sequence.logprobs.mean()));
        }
        let first = self.sequences.first().and_then(|first| first.reason.as_ref());
        first.or(cut_off).expect(HAS_ENDED).clone()
    }
}

/// A request is concluded when all of its texts have ended, or with a reason for those that have not.
const HAS_ENDED: &str = "a text that goes on is not concluded";
