//! `limpid perplexity`: how surprised a model is by a text, as llama.cpp's llama-perplexity measures it.

use super::args::{ComputeArgs, ConsoleArgs, ModelArgs, Setup, check_context, token_count};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine;
use crate::output;
use crate::progress::{Progress, Unit};
use crate::prompt::TextSource;
use crate::sizing::Sizing;
use crate::units;
use clap::Args;
use limpid_engine::evaluation::{MIN_WINDOW, Perplexity, Windows, perplexity};
use limpid_engine::kv::KvCache;
use limpid_engine::model::{Forward, MemoryPlan, ModelOptions};
use limpid_engine::tokenizer::{Specials, Tokenizer};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Memory for the rows of logits that are held at once.
const LOGIT_BYTES: usize = 64 << 20;

/// Measure how well a model predicts a text: its perplexity
///
/// PPL = exp(mean of -ln p), where p is the probability of each scored token after those before it, computed in f64
/// from the raw logits. 1 is perfect; a model that knows nothing has the size of its vocabulary.
///
/// The text is cut as llama.cpp's llama-perplexity does it, so the numbers can be compared: it is tokenized as plain
/// text (special tokens are not read), with BOS first if the model was trained with it, and cut into windows of
/// --context N tokens without overlap; what is left at the end is dropped. Where the model wants BOS it takes the place
/// of each window's first token. Tokens N/2 + 1 to N - 1 of each window are scored, counted from 0; those before them
/// are context. The standard error, PPL * sqrt(variance of -ln p / (n - 1)), takes tokens for independent.
#[derive(Args)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The text, UTF-8, up to 64 MiB; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Tokens of a window, from 3 to the model's context
    #[arg(short, long, value_name = "N", default_value = "512", allow_negative_numbers = true, value_parser = window)]
    context: usize,

    /// One JSON object: perplexity, standard error, tokens scored, tokens a second, and what was measured
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

fn window(text: &str) -> Result<usize, String> {
    match token_count(text)? {
        n if n < MIN_WINDOW => Err(format!("a window of fewer than {MIN_WINDOW} tokens scores none")),
        n => Ok(n),
    }
}

#[derive(Serialize)]
struct PerplexityJson {
    perplexity: f64,
    standard_error: Option<f64>,
    mean_nll: f64,
    scored_tokens: usize,
    text_tokens: usize,
    windows: usize,
    context: usize,
    computed_tokens: usize,
    compute_ms: f64,
    tok_per_s: f64,
    model: String,
    architecture: String,
    threads: usize,
    isa: String,
    compute: String,
    kv_format: String,
}

pub(crate) fn run(args: &PerplexityArgs) -> Result<ExitCode, CliError> {
    let setup = args.compute.setup()?;
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    check_context(args.context, &file.config, "lower it")?;
    let text = TextSource { argument: None, file: Some(&args.file) }.read(true)?;
    let tokenizer = file.tokenizer()?;
    let tokens = tokenizer.encode(&text, Specials::Text, tokenizer.special().add_bos)?;
    let windows = Windows { tokens: &tokens, len: args.context, bos: bos(&tokenizer) };
    if windows.n_windows() == 0 {
        return Err(CliError::failure(format!(
            "the text has {} tokens, less than one window of {}; give a longer text or lower --context",
            tokens.len(),
            args.context
        )));
    }
    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let row_bytes = file.config.vocab_size.saturating_mul(size_of::<f32>());
    let sizing = Sizing {
        plan: &plan,
        max_rows: args.compute.prefill_chunk,
        max_logit_rows: (LOGIT_BYTES / row_bytes.max(1)).max(1),
        n_sequences: 1,
        n_shared: 0,
        n_texts: 0,
    };
    sizing.check(args.context, machine::available_memory(), "Lower --context or --prefill-chunk")?;
    let limits = sizing.limits(args.context);
    let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
    let cpu = setup.cpu();
    let mut model = file.load(cpu.clone(), &options, &console)?;
    let mut kv = KvCache::new(model.kv_layout().clone(), sizing.n_pages(args.context))?;
    let progress = Progress::start(&console, "scoring", Unit::Tokens);
    let n_computed = windows.n_computed() as u64;
    let start = Instant::now();
    let found = perplexity(&mut model, &mut kv, &cpu, windows, &mut |n| progress.set(n as u64, n_computed))?;
    let time = start.elapsed();
    drop(progress);
    let json = PerplexityJson::new(&found, windows, time, &setup, &file);
    if args.json {
        output::write_json(&json)?
    } else {
        output::write(&json.table())?
    }
    Ok(ExitCode::SUCCESS)
}

/// What begins each window.
fn bos(tokenizer: &Tokenizer) -> Option<limpid_engine::TokenId> {
    let special = tokenizer.special();
    special.bos.filter(|_| special.add_bos)
}

impl PerplexityJson {
    fn new(found: &Perplexity, text: Windows<'_>, time: Duration, setup: &Setup, file: &ModelFile) -> Self {
        Self {
            perplexity: found.value(),
            standard_error: found.standard_error(),
            mean_nll: found.mean(),
            scored_tokens: found.n_scored,
            text_tokens: text.tokens.len(),
            windows: text.n_windows(),
            context: text.len,
            computed_tokens: text.n_computed(),
            compute_ms: units::json_ms(time),
            tok_per_s: units::json_rate(text.n_computed() as f64 / time.as_secs_f64()),
            model: file.name(),
            architecture: file.config.architecture.clone(),
            threads: setup.n_threads,
            isa: setup.isa.to_string(),
            compute: setup.compute_name(),
            kv_format: setup.kv_format_name(),
        }
    }

    fn table(&self) -> String {
        let error = self.standard_error.map(|error| format!(" +- {error:.5}")).unwrap_or_default();
        format!(
            "perplexity  {:.4}{error}\nscored      {} of {} tokens ({} windows of {})\nspeed       {}\n",
            self.perplexity,
            units::count(self.scored_tokens),
            units::count(self.text_tokens),
            units::count(self.windows),
            units::count(self.context),
            units::rate(self.tok_per_s),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_token_to_score() {
        assert_eq!(window("3"), Ok(3));
        assert_eq!(window("2k"), Ok(2048));
        assert!(window("2").is_err() && window("0").is_err());
    }
}
