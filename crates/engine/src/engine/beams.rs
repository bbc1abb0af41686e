//! Beam search inside the engine: it forks, extends and drops the sequences of one request.

use super::chooser::Scratch;
use super::event::Events;
use super::output::Output;
use super::request::RequestId;
use super::running::{LogitRow, Tools};
use super::sequence::Sequence;
use crate::TokenId;
use crate::decode::{
    BeamCandidate, BeamSearch, Hypothesis, LogprobParams, Logprobs, LogprobsMode, TokenLogprobs, log_softmax,
};
use crate::kv::KvCache;
use crate::sampling::{FinishReason, SampleError, Sampler};
use crate::tokenizer::Tokenizer;
use crate::trace::{BeamFate, BeamNode, Recorder, What};

/// The search of one request. Its running beams are the request's sequences, best first.
pub(super) struct Beams {
    id: RequestId,
    search: BeamSearch,
    /// Where the next step's beams are made; what they held before means nothing.
    spare: Vec<Sequence>,
    mode: LogprobsMode,
    /// Whether tokens are reported with their log-probabilities.
    reports: bool,
    /// The text that all beams agree on, and of how many tokens it is.
    agreed: Output,
    n_agreed: usize,
    /// Beams whose continuations are among the candidates.
    n_offered: usize,
    /// By rank, the beams that those of the next step continue.
    parents: Vec<usize>,
    /// What a beam's token releases, which nobody is told yet.
    text: String,
    is_over: bool,
    /// What the beams held when none of them went on.
    held_bytes: usize,
}

impl Beams {
    /// `first` is the sequence of the prompt, `fresh` the text of nothing generated yet.
    pub(super) fn new(
        id: RequestId,
        search: BeamSearch,
        logprobs: LogprobParams,
        first: &Sequence,
        fresh: &Output,
        tokenizer: &Tokenizer,
    ) -> Self {
        let max_tokens = fresh.limit().max_tokens;
        let spare = || first.fork(first.seq, Logprobs::new(max_tokens, 0), tokenizer);
        Self {
            id,
            // With `first` two for each beam: while the next ones are made, the old ones are still there.
            spare: (1..2 * search.params().num_beams).map(|_| spare()).collect(),
            mode: logprobs.mode,
            reports: logprobs.output.is_some(),
            agreed: fresh.clone(),
            n_agreed: 0,
            n_offered: 0,
            parents: Vec::with_capacity(search.params().num_beams),
            text: String::new(),
            is_over: false,
            held_bytes: 0,
            search,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Beam `i`'s continuations. Whether all beams have made theirs.
    pub(super) fn offer(
        &mut self,
        i: usize,
        beams: &[Sequence],
        sampler: &Sampler,
        LogitRow { row, logits, .. }: LogitRow<'_>,
        tools: &mut Tools<'_>,
    ) -> Result<bool, SampleError> {
        let Tools { cpu, chooser, recorder, .. } = tools;
        let Scratch { candidates, values } = chooser.scratch();
        let (total, history) = (beams[i].total(), beams[i].history());
        if self.n_offered == 0 {
            self.search.begin_step();
        }
        self.n_offered += 1;
        recorder.choice(row, i);
        if !log_softmax(cpu, logits, values) {
            // The sampler says which logit it is.
            sampler.process(logits, history, candidates, *recorder)?;
            return Err(SampleError::NothingLeft { position: history.n_output() });
        }
        sampler.process(values, history, candidates, *recorder)?;
        self.search.offer(i, total, candidates.in_play(), values, logits);
        Ok(self.n_offered == beams.len())
    }

    /// All beams have made their offers: ends some texts and goes on with others. Whether text was released.
    pub(super) fn select(
        &mut self,
        beams: &mut Vec<Sequence>,
        max_len: usize,
        tools: &mut Tools<'_>,
    ) -> Result<bool, SampleError> {
        let Tools { kv, tokenizer, events, recorder, .. } = tools;
        self.n_offered = 0;
        let position = beams[0].history().n_output();
        self.continue_beams(beams, tokenizer, *recorder);
        if self.parents.is_empty() {
            self.held_bytes = kv.held_bytes(beams.iter().map(|beam| beam.seq));
        }
        hand_over(beams, &mut self.spare, &self.parents, kv, max_len);
        std::mem::swap(beams, &mut self.spare);
        self.spare.extend(beams.drain(self.parents.len()..));
        if beams.is_empty() && self.search.finished().is_empty() {
            return Err(SampleError::NothingLeft { position });
        }
        let best = beams.first().map(Sequence::total);
        self.is_over = self.search.is_over(best, position as usize + 1);
        Ok(self.stream(beams, tokenizer, events))
    }

    /// Makes the running beams of the next step in the first spare places.
    fn continue_beams(&mut self, beams: &[Sequence], tokenizer: &Tokenizer, recorder: &mut dyn Recorder) {
        let num_beams = self.search.params().num_beams;
        let is_traced = recorder.wants(What::Beams);
        self.parents.clear();
        for rank in 0..self.search.candidates().len() {
            if self.parents.len() == num_beams {
                break;
            }
            let candidate = self.search.candidates()[rank];
            let logprob = match self.mode {
                LogprobsMode::Raw => candidate.raw,
                LogprobsMode::Processed => candidate.processed,
            };
            let next = &mut self.spare[self.parents.len()];
            self.text.clear();
            next.continue_beam(&beams[candidate.beam], &candidate, logprob, tokenizer, &mut self.text);
            let fate = match next.reason.take() {
                None => {
                    self.parents.push(candidate.beam);
                    BeamFate::RunsAs { rank: self.parents.len() - 1 }
                }
                Some(reason) if rank < num_beams => {
                    let score = self.search.score(next.total(), next.generated().len());
                    let hypothesis = next.hypothesis(score, reason);
                    self.search.finish(hypothesis);
                    BeamFate::Finished { score }
                }
                // It would be finished only among the first.
                Some(_) => BeamFate::Dropped,
            };
            if is_traced {
                let BeamCandidate { beam, id, total, processed: logprob, .. } = candidate;
                recorder.beam(BeamNode { beam, id, logprob, total, fate });
            }
        }
    }

    /// Says which tokens all texts begin with, running and finished.
    fn stream(&mut self, beams: &[Sequence], tokenizer: &Tokenizer, events: &mut Events) -> bool {
        let running = beams.iter().map(Sequence::generated);
        let finished = self.search.finished().iter().map(|text| text.tokens.as_slice());
        let mut texts = running.chain(finished);
        let Some(first) = texts.next() else { return false };
        let n_common =
            |other: &[TokenId]| first.iter().zip(other).take_while(|(token, other)| token == other).count();
        let n_agreed = texts.map(n_common).min().unwrap_or(first.len());
        let Some(beam) = beams.first() else { return false };
        let mut has_text = false;
        // The last token of a text may be what ends it: that is told with the end.
        for i in self.n_agreed..n_agreed {
            let logprobs = self.reports.then(|| beam.logprobs.get(i));
            let (output, token) = (&mut self.agreed, beam.generated()[i]);
            has_text |= events.token(self.id, 0, token, logprobs, |out| {
                output.push(token, tokenizer, out);
            });
        }
        self.n_agreed = self.n_agreed.max(n_agreed);
        has_text
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The time is up: what runs counts as finished.
    pub(super) fn expire(&mut self, beams: &[Sequence]) {
        for beam in beams {
            let score = self.search.score(beam.total(), beam.generated().len().max(1));
            self.search.finish(beam.hypothesis(score, FinishReason::TimeLimit));
        }
    }

    /// Says what was held back of the text that all beams agree on, and gives how many tokens that is.
    pub(super) fn release_text(&mut self, events: &mut Events) -> usize {
        events.text(self.id, 0, |out| self.agreed.release(out));
        self.n_agreed
    }

    /// Says what came of the search. The reason of the best text, and how many tokens all have.
    pub(super) fn conclude(
        &self,
        fresh: &Output,
        tokenizer: &Tokenizer,
        events: &mut Events,
    ) -> (FinishReason, usize) {
        let n_texts = self.search.params().num_return_sequences;
        let mut n_tokens = 0;
        for (choice, text) in self.search.finished().iter().take(n_texts).enumerate() {
            let (mut output, n_told) =
                if choice == 0 { (self.agreed.clone(), self.n_agreed) } else { (fresh.clone(), 0) };
            tell(self.id, choice, text, n_told, &mut output, self.reports, tokenizer, events);
            n_tokens += text.tokens.len();
        }
        let best = self.search.finished().first().expect("a search that is over has found a text");
        (best.reason.clone(), n_tokens)
    }
}

/// Tells a text from token `n_told` on, and that it has ended.
#[expect(clippy::too_many_arguments, reason = "what is told, and how")]
fn tell(
    id: RequestId,
    choice: usize,
    text: &Hypothesis,
    n_told: usize,
    output: &mut Output,
    reports: bool,
    tokenizer: &Tokenizer,
    events: &mut Events,
) {
    for (&token, &logprob) in text.tokens.iter().zip(&text.logprobs).skip(n_told) {
        let logprobs = reports.then_some(TokenLogprobs { logprob, top: &[] });
        events.token(id, choice, token, logprobs, |out| {
            output.push(token, tokenizer, out);
        });
    }
    if text.reason == FinishReason::TimeLimit {
        events.text(id, choice, |out| output.release(out));
    }
    events.ended(id, choice, text.reason.clone(), Some(text.score));
}

/// Gives each new beam the keys and values of its parent: the first child takes them, others fork them. What has no
/// child is released before, so that there are never more sequences than beams.
fn hand_over(old: &[Sequence], new: &mut [Sequence], parents: &[usize], kv: &mut KvCache, max_len: usize) {
    for (i, beam) in old.iter().enumerate() {
        if !parents.contains(&i) {
            kv.release(beam.seq);
        }
    }
    for (i, &parent) in parents.iter().enumerate() {
        let seq = old[parent].seq;
        new[i].seq = if parents[..i].contains(&parent) { kv.fork(seq, max_len) } else { seq };
    }
}
