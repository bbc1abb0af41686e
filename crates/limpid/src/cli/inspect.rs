//! `limpid inspect`: what a model is, and what it will cost.

mod report;

use super::args::{ComputeArgs, token_count};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine;
use crate::output;
use crate::sizing::Sizing;
use clap::Args;
use limpid_engine::model::MemoryPlan;
use limpid_engine::sampling::Defaults;
use report::{InspectJson, MemoryRow};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what a model is, and what a context costs, from its header alone
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// A GGUF file or a Hugging Face folder [default: the embedded pocket model]
    #[arg(group = "source")]
    path: Option<PathBuf>,

    /// The same, as with the other commands
    #[arg(short, long, value_name = "PATH", group = "source")]
    model: Option<PathBuf>,

    /// Also show what contexts of so many tokens take, such as 2k,8k,32k (k = 1024; from 1 to 262144k), in ascending
    /// order and each once
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true,
          value_parser = token_count)]
    context: Vec<usize>,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, CliError> {
    let setup = args.compute.setup()?;
    let file = ModelFile::open(args.path.as_deref().or(args.model.as_deref()))?;
    // Without a usable one the model cannot run on text, and all else about it is still worth knowing.
    let tokenizer = file.tokenizer();
    let defaults = Defaults::of(file.weights.metadata(), file.config.vocab_size)?;
    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let sizing = Sizing {
        plan: &plan,
        max_rows: args.compute.prefill_chunk,
        max_logit_rows: 1,
        n_sequences: 1,
        n_shared: 0,
        n_texts: 0,
    };
    let runtime = machine::resident_memory().map_or(0, |memory| memory.plus(file.bytes_in_program()).now);
    let contexts = args.context.iter().copied().collect::<BTreeSet<_>>();
    let rows = contexts.into_iter().map(|n| MemoryRow::new(&sizing, &file, n, runtime)).collect();
    let available = machine::available_memory();
    let fits = available.map(|available| (sizing.longest(file.config.context_length, available), available));
    let report =
        InspectJson::new(&file, tokenizer.as_ref(), &defaults, &sizing, setup.kv_format, rows, fits)?;
    if args.json {
        output::write_json(&report)?
    } else {
        output::write(&report.text())?
    }
    Ok(ExitCode::SUCCESS)
}
