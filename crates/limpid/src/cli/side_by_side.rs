//! An engine for many requests side by side: how much of the memory each may have.

use super::args::{ComputeArgs, check_context};
use super::run::MonotonicClock;
use crate::console::Console;
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine;
use crate::sizing::Sizing;
use limpid_engine::engine::{Engine, EngineConfig};
use limpid_engine::model::{MemoryPlan, ModelOptions};
use limpid_engine::tokenizer::Tokenizer;
use std::sync::Arc;

/// Rows of prompts whose logits one step makes beyond one a sequence, where prompt_logprobs are asked for.
const PROMPT_LOGIT_ROWS: usize = 16;

/// What is asked for.
pub(crate) struct SideBySide<'a> {
    /// Texts that are generated side by side, each as long as the context.
    pub(crate) n_sequences: usize,
    /// The option that says so.
    pub(crate) option: &'static str,
    pub(crate) max_waiting: usize,
    /// The longest text; `None`: the model's own, cut to what memory holds.
    pub(crate) context: Option<usize>,
    pub(crate) compute: &'a ComputeArgs,
}

/// What there is.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) context_length: usize,
}

impl SideBySide<'_> {
    pub(crate) fn engine(
        &self,
        file: &ModelFile,
        tokenizer: Arc<Tokenizer>,
        console: &Console,
        clock: MonotonicClock,
    ) -> Result<Loaded, CliError> {
        let setup = self.compute.setup()?;
        let plan =
            MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
        let sizing = Sizing {
            plan: &plan,
            max_rows: self.compute.prefill_chunk + self.n_sequences - 1,
            max_logit_rows: self.n_sequences + PROMPT_LOGIT_ROWS,
            n_sequences: self.n_sequences,
            n_shared: 0,
            n_texts: 2 * self.n_sequences,
        };
        let context_length = self.context_length(file, &sizing, console)?;
        let limits = sizing.limits(context_length);
        let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
        let model = file.load(setup.cpu(), &options, console)?;
        let config = EngineConfig {
            context_length,
            n_pages: sizing.n_pages(context_length),
            max_sequences: self.n_sequences,
            max_waiting: self.max_waiting,
            prefill_chunk: limits.max_rows - (self.n_sequences - 1),
            kv_cache: true,
        };
        let engine = Engine::new(Box::new(model), tokenizer, config, Box::new(clock))?;
        Ok(Loaded { engine, context_length })
    }

    fn context_length(
        &self,
        file: &ModelFile,
        sizing: &Sizing<'_>,
        console: &Console,
    ) -> Result<usize, CliError> {
        if let Some(asked) = self.context {
            check_context(asked, &file.config, "lower it, or leave it out for all that the model has")?;
        }
        let of_model = file.config.context_length;
        let available = machine::available_memory();
        let remedy = format!("Lower --context or {}, or use a model in a smaller format", self.option);
        match self.context {
            Some(asked) => sizing.check(asked, available, &remedy).map(|()| asked),
            None => sizing.open_ended(of_model, 1, available, &remedy, console),
        }
    }
}
