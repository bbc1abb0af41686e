//! `limpid logits`: the forward pass made comparable with any other implementation.

use super::args::{ComputeArgs, ConsoleArgs, Ids, ModelArgs, ids, whole};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine;
use crate::output;
use crate::progress::{Progress, Unit};
use crate::prompt::{TextSource, encode_raw};
use crate::sizing::Sizing;
use clap::Args;
use limpid_engine::TokenId;
use limpid_engine::engine::{LengthLimit, PromptLimits};
use limpid_engine::evaluation::each_logits;
use limpid_engine::kv::KvCache;
use limpid_engine::model::{Forward, MemoryPlan, ModelOptions};
use limpid_engine::tokenizer::Tokenizer;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Rows of logits that are held at once: a large vocabulary takes a megabyte each.
const MAX_LOGIT_ROWS: usize = 32;

/// Show the raw logits after a prompt: what the forward pass says before any sampling
#[derive(Args)]
pub(crate) struct LogitsArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The prompt as it is: special tokens are read, and BOS comes first if the model was trained with it. `-` is
    /// standard input [default: standard input, if it is not a terminal]
    #[arg(group = "source")]
    text: Option<String>,

    /// Read the prompt from a file in UTF-8, or from standard input if it is `-`
    #[arg(short, long, value_name = "PATH", group = "source")]
    file: Option<PathBuf>,

    /// The prompt as token ids, such as 1,2,3; nothing is added
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids, group = "source")]
    prompt_tokens: Option<Ids>,

    /// After which tokens of the prompt: `last`, `all`, or positions from 0 such as 0,5,9. They are shown in
    /// ascending order, each once
    #[arg(long, value_name = "WHICH", default_value = "last", allow_hyphen_values = true, value_parser = positions)]
    positions: Positions,

    /// The so many largest logits, largest first, 1 or more; or `all`, in order of id
    #[arg(long, value_name = "N", default_value = "10", allow_negative_numbers = true, value_parser = top)]
    top: Top,

    /// A JSON array: [{"pos", "logits": [[id, value], ...]}]
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Positions {
    Last,
    All,
    List(Vec<usize>),
}

fn positions(text: &str) -> Result<Positions, String> {
    match text {
        "last" => Ok(Positions::Last),
        "all" => Ok(Positions::All),
        list => {
            let position = |part: &str| {
                part.trim()
                    .parse()
                    .map_err(|_| format!("`{part}` is no position: whole numbers from 0 on are expected"))
            };
            list.split(',').map(position).collect::<Result<_, _>>().map(Positions::List)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Top {
    All,
    Largest(usize),
}

fn top(text: &str) -> Result<Top, String> {
    match text {
        "all" => Ok(Top::All),
        number => match whole::<1, { usize::MAX }>(number) {
            Ok(n) => Ok(Top::Largest(n)),
            Err(_) => Err("a whole number, 1 or more, or `all` is expected".to_owned()),
        },
    }
}

#[derive(Serialize)]
struct LogitsJson {
    pos: usize,
    logits: Vec<(u32, f32)>,
}

pub(crate) fn run(args: &LogitsArgs) -> Result<ExitCode, CliError> {
    let setup = args.compute.setup()?;
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    // Ids in, numbers out: a model without a tokenizer will do.
    let tokenizer = match (&args.prompt_tokens, args.json) {
        (Some(_), true) => None,
        _ => Some(file.tokenizer()?),
    };
    let prompt = match (&args.prompt_tokens, &tokenizer) {
        (None, Some(tokenizer)) => {
            let text = TextSource { argument: args.text.as_deref(), file: args.file.as_deref() };
            encode_raw(&text.read(true)?, tokenizer, None)?
        }
        (ids, _) => ids.as_ref().map_or_else(Vec::new, |ids| ids.0.clone()),
    };
    let (vocab_size, max_len) = (file.config.vocab_size, file.config.context_length);
    PromptLimits { vocab_size, limit: LengthLimit::Model, max_len }.check_prompt(&prompt)?;
    let wanted = args.wanted(prompt.len())?;

    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let max_logit_rows = wanted.iter().filter(|&&wanted| wanted).count().min(MAX_LOGIT_ROWS);
    let sizing = Sizing {
        plan: &plan,
        max_rows: args.compute.prefill_chunk,
        max_logit_rows,
        n_sequences: 1,
        n_shared: 0,
        n_texts: 0,
    };
    sizing.check(prompt.len(), machine::available_memory(), "Shorten the prompt or lower --prefill-chunk")?;
    let limits = sizing.limits(prompt.len());
    let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
    let mut model = file.load(setup.cpu(), &options, &console)?;
    let mut kv = KvCache::new(model.kv_layout().clone(), sizing.n_pages(prompt.len()))?;
    let mut writer = Writer { args, tokenizer: tokenizer.as_ref(), n_written: 0 };
    let progress = Progress::start(&console, "prefill", Unit::Tokens);
    each_logits(
        &mut model,
        &mut kv,
        &prompt,
        &|position| wanted[position],
        &mut |n_done| progress.set(n_done as u64, prompt.len() as u64),
        &mut |pos, logits| writer.position(pos, logits),
    )?;
    drop(progress);
    writer.end()?;
    Ok(ExitCode::SUCCESS)
}

impl LogitsArgs {
    /// For each position of the prompt whether its logits are asked for.
    fn wanted(&self, n_prompt: usize) -> Result<Vec<bool>, CliError> {
        let mut wanted = vec![self.positions == Positions::All; n_prompt];
        match &self.positions {
            Positions::All => {}
            Positions::Last => wanted[n_prompt - 1] = true,
            Positions::List(list) => {
                for &position in list {
                    let Some(wanted) = wanted.get_mut(position) else {
                        return Err(CliError::usage(format!(
                            "--positions has {position}; the prompt of {n_prompt} tokens has positions 0 to {}",
                            n_prompt - 1
                        )));
                    };
                    *wanted = true;
                }
            }
        }
        Ok(wanted)
    }
}

/// Writes each position as it comes: all logits of a long prompt would not fit into memory.
struct Writer<'a> {
    args: &'a LogitsArgs,
    /// For people.
    tokenizer: Option<&'a Tokenizer>,
    n_written: usize,
}

impl Writer<'_> {
    fn position(&mut self, pos: usize, logits: &[f32]) -> Result<(), CliError> {
        let chosen = choose(logits, self.args.top);
        let text = match self.tokenizer.filter(|_| !self.args.json) {
            None => {
                let json = serde_json::to_string(&LogitsJson { pos, logits: chosen }).map_err(|error| {
                    CliError::failure(format!("cannot write the logits as JSON: {error}"))
                })?;
                let before = if self.n_written == 0 { "[" } else { ",\n " };
                format!("{before}{json}")
            }
            Some(tokenizer) => {
                let line = |&(id, logit): &(u32, f32)| {
                    format!("{id:>7}  {logit:>11.6}  {:?}\n", tokenizer.piece(TokenId(id)))
                };
                format!("position {pos}\n{}", chosen.iter().map(line).collect::<String>())
            }
        };
        self.n_written += 1;
        output::write(&text)
    }

    fn end(&self) -> Result<(), CliError> {
        if self.args.json { output::write("]\n") } else { Ok(()) }
    }
}

/// Ids with their logits: the largest first (of equals the lowest id), or all in order of id.
fn choose(logits: &[f32], top: Top) -> Vec<(u32, f32)> {
    let mut pairs: Vec<_> = (0..).zip(logits.iter().copied()).collect();
    if let Top::Largest(n) = top {
        pairs.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        pairs.truncate(n);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_top_are_read() {
        assert_eq!(positions("0, 5"), Ok(Positions::List(vec![0, 5])));
        assert_eq!(positions("all"), Ok(Positions::All));
        assert!(positions("-1").is_err());
        assert_eq!(top("3"), Ok(Top::Largest(3)));
        assert!(top("0").is_err());
    }

    #[test]
    fn the_largest_come_first_and_equals_by_id() {
        let logits = [1.0, 3.0, -2.0, 3.0];
        assert_eq!(choose(&logits, Top::Largest(3)), [(1, 3.0), (3, 3.0), (0, 1.0)]);
        assert_eq!(choose(&logits, Top::All), [(0, 1.0), (1, 3.0), (2, -2.0), (3, 3.0)]);
    }
}
