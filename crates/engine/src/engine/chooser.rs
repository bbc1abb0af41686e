//! The tokens of a step, chosen for all sequences at once: each on whichever thread is free.
//!
//! A sequence lends what its choice needs and changes ([`Choosing`]) and takes it back with the token. So a thread has
//! all of one sequence and nothing of another, and a choice is the same on any thread and beside any others.

use crate::TokenId;
use crate::decode::{Logprobs, LogprobsMode};
use crate::sampling::{Candidates, History, SampleError, Sampler};
use crate::trace::{NoTrace, Recorder, What};
use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// A token that is to be chosen, and then is.
pub(super) struct Choosing {
    /// The request, by its place among those that run, and which of its texts.
    pub(super) request: usize,
    pub(super) choice: usize,
    /// The batch row that the token follows, and its row of logits.
    pub(super) row: usize,
    pub(super) logit_row: usize,
    pub(super) sampler: Sampler,
    pub(super) history: History,
    /// Where the token's log-probabilities go, and of which distribution they are; `None`: nobody asks for them.
    pub(super) mode: Option<LogprobsMode>,
    pub(super) logprobs: Logprobs,
    pub(super) chosen: Result<TokenId, SampleError>,
}

/// What a thread chooses with. It holds nothing between two choices.
pub(super) struct Scratch {
    pub(super) candidates: Candidates,
    /// One number a token of the vocabulary.
    pub(super) values: Vec<f32>,
}

/// See the module.
pub(super) struct Chooser {
    choosings: Vec<Choosing>,
    /// One for each thread that can choose at the same time.
    scratches: Vec<Mutex<Scratch>>,
    /// For work inside that of another thread of the pool.
    alone: Cpu,
}

impl Chooser {
    pub(super) fn new(vocab_size: usize, cpu: &Cpu, max_sequences: usize) -> Self {
        let n_scratches = cpu.pool.n_threads().min(max_sequences).max(1);
        Self {
            choosings: Vec::with_capacity(max_sequences),
            scratches: (0..n_scratches).map(|_| Mutex::new(Scratch::new(vocab_size, cpu.isa))).collect(),
            alone: Cpu::new(cpu.isa, 1),
        }
    }

    pub(super) fn add(&mut self, choosing: Choosing) {
        self.choosings.push(choosing);
    }

    /// For choices that are made elsewhere.
    pub(super) fn scratch(&mut self) -> &mut Scratch {
        self.scratches[0].get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Chooses all that were added. A recorder that looks at the stages sees one choice after the other.
    pub(super) fn choose(&mut self, cpu: &Cpu, logits: &Rows, recorder: &mut dyn Recorder) {
        let Self { choosings, scratches, alone } = self;
        if choosings.len() > 1 && !recorder.wants(What::Stages) {
            let scratches = &*scratches;
            return cpu.for_each_mut(choosings, &|choosing| {
                choosing.choose(alone, logits, &mut free(scratches), &mut NoTrace);
            });
        }
        for choosing in choosings {
            recorder.choice(choosing.row, choosing.choice);
            choosing.choose(cpu, logits, &mut free(scratches), recorder);
        }
    }

    /// Gives back what was added, with the tokens.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Choosing> {
        self.choosings.drain(..)
    }
}

/// A scratch that no thread has: there is one for each.
fn free(scratches: &[Mutex<Scratch>]) -> MutexGuard<'_, Scratch> {
    loop {
        for scratch in scratches {
            match scratch.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        std::hint::spin_loop();
    }
}

impl Scratch {
    fn new(vocab_size: usize, isa: Isa) -> Self {
        Self { candidates: Candidates::new(vocab_size, isa), values: Vec::new() }
    }

    /// The logits of the tokens in play, -inf for all others.
    fn in_play(&mut self, vocab_size: usize) -> &[f32] {
        let Self { candidates, values } = self;
        values.clear();
        values.resize(vocab_size, f32::NEG_INFINITY);
        candidates.in_play().for_each(|(id, logit)| values[id.0 as usize] = logit);
        values
    }
}

impl Choosing {
    fn choose(&mut self, cpu: &Cpu, logits: &Rows, scratch: &mut Scratch, recorder: &mut dyn Recorder) {
        let logits = logits.row(self.logit_row);
        self.chosen = self.sampler.sample(logits, &mut self.history, &mut scratch.candidates, recorder);
        let (Ok(id), Some(mode)) = (&self.chosen, self.mode) else { return };
        let logits = match mode {
            LogprobsMode::Raw => logits,
            LogprobsMode::Processed => scratch.in_play(logits.len()),
        };
        assert!(self.logprobs.push(cpu, logits, *id), "the sampler has looked at the logits");
    }
}
