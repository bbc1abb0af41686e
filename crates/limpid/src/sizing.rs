//! What a command will take of this machine's memory, known before anything is loaded.

use crate::cli::args::check_context;
use crate::console::Console;
use crate::error::CliError;
use crate::machine::AvailableMemory;
use crate::units;
use limpid_engine::engine::{LengthLimit, PromptLimits, bytes_of_sequences};
use limpid_engine::model::{BatchLimits, MemoryPlan, ModelConfig};

/// What helps where one text has no room.
pub(crate) const OPEN_ENDED_REMEDY: &str = "Use a model in a smaller format, or a shorter prompt";

/// Of the memory that is available, an open-ended run leaves this part to others.
const LEFT_TO_OTHERS: usize = 16;

/// How long one sequence may become, and what is loaded for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceSize {
    /// Prompt and output may not be longer.
    pub(crate) context_length: usize,
    /// Positions that pages are kept for: no more than is asked for.
    pub(crate) n_positions: usize,
    /// Prompt tokens of one step.
    pub(crate) prefill_chunk: usize,
}

/// A model and how it is used: what is needed follows from the number of positions.
pub(crate) struct Sizing<'a> {
    pub(crate) plan: &'a MemoryPlan<'a>,
    /// The most rows of one batch, however long the sequences are.
    pub(crate) max_rows: usize,
    pub(crate) max_logit_rows: usize,
    /// Sequences of the same length, side by side, and how many tokens at their beginning they share.
    pub(crate) n_sequences: usize,
    pub(crate) n_shared: usize,
    /// Texts whose tokens and log-probabilities are kept: none where nothing is generated, two for each beam.
    pub(crate) n_texts: usize,
}

/// Bytes for sequences of a certain length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Need {
    pub(crate) weights: usize,
    pub(crate) kv: usize,
    pub(crate) workspace: usize,
}

impl Need {
    pub(crate) fn total(&self) -> usize {
        self.weights.saturating_add(self.kv).saturating_add(self.workspace)
    }

    /// Refuses what cannot fit, for so many tokens.
    pub(crate) fn check(
        &self,
        n_tokens: usize,
        available: Option<AvailableMemory>,
        remedy: &str,
    ) -> Result<(), CliError> {
        match available {
            Some(available) if self.total() > available.bytes => Err(CliError::failure(format!(
                "{} need {}: weights {}, KV cache {}, workspace {}; {} are available ({}). {remedy}",
                units::counted(n_tokens, "token"),
                units::bytes(self.total()),
                units::bytes(self.weights),
                units::bytes(self.kv),
                units::bytes(self.workspace),
                units::bytes(available.bytes),
                available.limit,
            ))),
            _ => Ok(()),
        }
    }
}

impl Sizing<'_> {
    /// The limits of a model that computes sequences of `n` positions.
    pub(crate) fn limits(&self, n: usize) -> BatchLimits {
        let max_rows = self.max_rows.min(n.saturating_mul(self.n_sequences)).max(1);
        BatchLimits { max_rows, max_logit_rows: self.max_logit_rows.min(max_rows), context_length: n }
    }

    /// Pages that sequences of `n` positions need in the layer group that needs most.
    pub(crate) fn n_pages(&self, n: usize) -> usize {
        let (n_sequences, n_shared, n_new) = (self.n_sequences, self.n_shared, self.limits(n).max_rows);
        let groups = self.plan.kv_layout().groups.iter();
        groups.map(|group| group.pages_needed_by(n_sequences, n_shared, n, n_new)).max().unwrap_or(0)
    }

    /// What sequences of `n` positions take.
    pub(crate) fn need(&self, n: usize) -> Need {
        let limits = self.limits(n);
        let kv = self.plan.kv_of_forks(self.n_sequences, self.n_shared, n, limits.max_rows);
        let texts = bytes_of_sequences(self.n_texts, n, self.plan.vocab_size());
        let workspace = self.plan.workspace(limits).saturating_add(texts);
        Need { weights: self.plan.weights(), kv, workspace }
    }

    /// The most positions up to `most` that fit into what is available, less the part that is left to others; 0 if not
    /// even one does.
    pub(crate) fn longest(&self, most: usize, available: AvailableMemory) -> usize {
        let usable = available.bytes - available.bytes / LEFT_TO_OTHERS;
        let (mut fits, mut too_many) = (0, most.saturating_add(1));
        // `need` grows with n: bisection. Invariant: `fits` fits (or is 0), `too_many` does not (or is beyond `most`).
        while too_many - fits > 1 {
            let n = fits + (too_many - fits) / 2;
            if self.need(n).total() <= usable { fits = n } else { too_many = n }
        }
        fits
    }

    /// Refuses what cannot fit.
    pub(crate) fn check(
        &self,
        n: usize,
        available: Option<AvailableMemory>,
        remedy: &str,
    ) -> Result<(), CliError> {
        self.need(n).check(n.saturating_mul(self.n_sequences), available, remedy)
    }

    /// The context of texts whose end is open: all of `context_length` that memory holds for each, which is said where
    /// it is less. Refuses what has no room for `n_least` tokens.
    pub(crate) fn open_ended(
        &self,
        context_length: usize,
        n_least: usize,
        available: Option<AvailableMemory>,
        remedy: &str,
        console: &Console,
    ) -> Result<usize, CliError> {
        self.check(n_least, available, remedy)?;
        let Some(available) = available else { return Ok(context_length) };
        let fits = self.longest(context_length, available).max(n_least);
        if fits < context_length {
            let n_times = match self.n_sequences {
                1 => String::new(),
                n => format!(" {n} times"),
            };
            console.note(&format!(
                "context cut from {} to {} tokens: that is what {} holds{n_times} ({})",
                units::count(context_length),
                units::count(fits),
                available.limit,
                units::bytes(available.bytes),
            ));
        }
        Ok(fits.min(context_length))
    }

    /// What is loaded for sequences of so many positions, in a context that may be longer.
    pub(crate) fn sequence(&self, context_length: usize, n_positions: usize) -> SequenceSize {
        // As `Budget` adds it up.
        let prefill_chunk = self.limits(n_positions).max_rows - (self.n_sequences - 1);
        SequenceSize { context_length, n_positions, prefill_chunk }
    }
}

/// How long prompt and output may be together: what `--context` asks for, else all that the model has.
pub(crate) fn context_limits(asked: Option<usize>, config: &ModelConfig) -> Result<PromptLimits, CliError> {
    let (of_model, vocab_size) = (config.context_length, config.vocab_size);
    if let Some(asked) = asked {
        check_context(asked, config, "lower it, or leave it out for all that the model has")?;
    }
    let (limit, max_len) = match asked {
        Some(asked) if asked < of_model => (LengthLimit::Context, asked),
        _ => (LengthLimit::Model, of_model),
    };
    Ok(PromptLimits { vocab_size, limit, max_len })
}
