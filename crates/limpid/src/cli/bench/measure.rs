//! The times of forward passes. What they mean is said in `report`.

use super::Cases;
use crate::error::CliError;
use crate::progress::Progress;
use limpid_engine::TokenId;
use limpid_engine::kv::{KvCache, NO_PAGE, SeqId};
use limpid_engine::model::{Batch, BatchRow, Forward, Model, Want};
use limpid_engine::sampling::{Purpose, Stream};
use limpid_engine::trace::NoTrace;
use limpid_kernels::Cpu;
use limpid_kernels::limits::Limits;
use limpid_kernels::ops::vocab;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same tokens in every run.
const SEED: u64 = 1;

/// The times at one depth and for one number of sequences, one a repetition.
pub(super) struct Row {
    pub(super) depth: usize,
    pub(super) sequences: usize,
    /// Of the prompt; the same for all rows of a depth. Empty if it was left out, as the next.
    pub(super) prefill: Vec<Duration>,
    /// Of all steps together.
    pub(super) decode: Vec<Duration>,
    pub(super) limits: Option<Limits>,
}

pub(super) struct Bench {
    model: Model,
    kv: KvCache,
    cpu: Arc<Cpu>,
    batch: Batch,
    tokens: RandomTokens,
    /// Tokens computed, first prompt left out.
    n_done: usize,
}

impl Bench {
    pub(super) fn new(model: Model, kv: KvCache, cpu: Arc<Cpu>) -> Self {
        Self { model, kv, cpu, batch: Batch::default(), tokens: RandomTokens::new(SEED), n_done: 0 }
    }

    /// Computes a prompt and the token after it.
    pub(super) fn first_token(&mut self, n_prompt: usize) -> Result<(), CliError> {
        let seq = self.kv.create(n_prompt);
        while self.kv.len(seq) < n_prompt {
            let n_left = n_prompt - self.kv.len(seq);
            let n_rows = n_left.min(self.model.max_batch_rows());
            self.add_rows(seq, n_rows, n_rows == n_left)?;
            let logits = self.model.forward(&self.batch, &mut self.kv, &mut NoTrace)?;
            if n_rows == n_left {
                std::hint::black_box(vocab::argmax(&self.cpu, logits.row(0)));
            }
            self.batch.rows.clear();
        }
        self.kv.release(seq);
        Ok(())
    }

    /// A row for each depth and each number of sequences.
    pub(super) fn measure(&mut self, cases: &Cases, progress: &Progress) -> Result<Vec<Row>, CliError> {
        let step = Step { progress, n_total: cases.n_tokens() };
        let longest = cases.depths.last().copied().unwrap_or(0);
        let first = self.kv.create(longest);
        let mut rows = Vec::new();
        for &depth in &cases.depths {
            self.prefill(&[first], depth - self.kv.len(first), Want::Nothing, step)?;
            let prefill = self.repeat(&[first], cases.prefill, cases.repetitions, |bench, seqs, n| {
                bench.prefill(seqs, n, Want::Logits, step)
            })?;
            let mut seqs = vec![first];
            for &sequences in &cases.sequences {
                while seqs.len() < sequences {
                    seqs.push(self.copy(first)?);
                }
                let limits = if cases.with_limits { Some(Limits::measure(&self.cpu)?) } else { None };
                let decode = self.repeat(&seqs, cases.decode, cases.repetitions, |bench, seqs, n| {
                    bench.decode(seqs, n, step)
                })?;
                rows.push(Row { depth, sequences, prefill: prefill.clone(), decode, limits });
            }
            seqs[1..].iter().for_each(|&seq| self.kv.release(seq));
        }
        Ok(rows)
    }

    /// A sequence with the same past in pages of its own: many sequences that share pages would read less memory.
    fn copy(&mut self, seq: SeqId) -> Result<SeqId, CliError> {
        let len = self.kv.len(seq);
        let copy = self.kv.create(len);
        while self.kv.len(copy) < len {
            // In steps, so that windows give pages back on the way.
            let n_new = self.model.max_batch_rows().min(len - self.kv.len(copy));
            self.extend(copy, n_new)?;
        }
        for group in 0..self.kv.layout().groups.len() {
            let pages = |seq| self.kv.page_table(seq, group).iter().copied();
            let pairs: Vec<_> = pages(seq).zip(pages(copy)).collect();
            for (from, to) in pairs.into_iter().filter(|&(from, to)| from != NO_PAGE && to != NO_PAGE) {
                self.kv.storage_mut(group).copy_page(from, to);
            }
        }
        Ok(copy)
    }

    /// Times `work` with `n` tokens on forks of `seqs`, after once that does not count; nothing if `n` is 0.
    fn repeat(
        &mut self,
        seqs: &[SeqId],
        n: usize,
        repetitions: usize,
        work: impl Fn(&mut Self, &[SeqId], usize) -> Result<Duration, CliError>,
    ) -> Result<Vec<Duration>, CliError> {
        let mut times = Vec::new();
        let n_times = if n == 0 { 0 } else { repetitions + 1 };
        for _ in 0..n_times {
            let max_len = |kv: &KvCache, seq| kv.len(seq) + n;
            let forks: Vec<_> = seqs.iter().map(|&seq| self.kv.fork(seq, max_len(&self.kv, seq))).collect();
            times.push(work(self, &forks, n)?);
            forks.into_iter().for_each(|seq| self.kv.release(seq));
        }
        times.drain(..times.len().min(1));
        Ok(times)
    }

    /// `n` more tokens for each sequence, in full batches; the last of each may want logits, as in a real prompt.
    fn prefill(
        &mut self,
        seqs: &[SeqId],
        n: usize,
        last: Want,
        step: Step<'_>,
    ) -> Result<Duration, CliError> {
        let max_rows = self.model.max_batch_rows();
        let mut time = Duration::ZERO;
        for &seq in seqs {
            let mut n_left = n;
            while n_left > 0 {
                let n_rows = n_left.min(max_rows);
                n_left -= n_rows;
                self.add_rows(seq, n_rows, n_left == 0 && last == Want::Logits)?;
                time += self.forward(step)?;
            }
        }
        Ok(time)
    }

    /// `n` steps, each with one token of every sequence.
    fn decode(&mut self, seqs: &[SeqId], n: usize, step: Step<'_>) -> Result<Duration, CliError> {
        let mut time = Duration::ZERO;
        for _ in 0..n {
            for &seq in seqs {
                self.add_rows(seq, 1, true)?;
            }
            time += self.forward(step)?;
        }
        Ok(time)
    }

    fn add_rows(&mut self, seq: SeqId, n_rows: usize, last_wants_logits: bool) -> Result<(), CliError> {
        let first = self.kv.len(seq);
        self.extend(seq, n_rows)?;
        let vocab_size = self.model.vocab_size();
        for position in first..first + n_rows {
            let is_last = position + 1 == first + n_rows;
            let want = if is_last && last_wants_logits { Want::Logits } else { Want::Nothing };
            let token = self.tokens.next(vocab_size);
            self.batch.rows.push(BatchRow { token, position: position as u32, seq, want });
        }
        Ok(())
    }

    fn extend(&mut self, seq: SeqId, n_new: usize) -> Result<(), CliError> {
        self.kv.extend(seq, n_new).map_err(|error| CliError::failure(error.to_string()))
    }

    /// Computes the batch and empties it.
    fn forward(&mut self, step: Step<'_>) -> Result<Duration, CliError> {
        let start = Instant::now();
        self.model.forward(&self.batch, &mut self.kv, &mut NoTrace)?;
        let time = start.elapsed();
        self.n_done += self.batch.rows.len();
        step.progress.set(self.n_done as u64, step.n_total as u64);
        self.batch.rows.clear();
        Ok(time)
    }
}

/// Where a step is reported.
#[derive(Clone, Copy)]
struct Step<'a> {
    progress: &'a Progress,
    n_total: usize,
}

/// Tokens that look random: those that a request with this seed would draw if all were equally likely.
struct RandomTokens {
    stream: Stream,
    n_drawn: u32,
}

impl RandomTokens {
    fn new(seed: u64) -> Self {
        Self { stream: Stream::new(seed), n_drawn: 0 }
    }

    fn next(&mut self, vocab_size: usize) -> TokenId {
        let token = self.stream.below(vocab_size as u64, self.n_drawn, Purpose::Draw);
        self.n_drawn = self.n_drawn.wrapping_add(1);
        TokenId(token as u32)
    }
}
