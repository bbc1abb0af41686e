//! `limpid bench`: how fast prefill and decode are on this machine, beside what it can do at best.
//!
//! - here: options, and what they take of the memory.  `measure`: the times.  `report`: JSON and tables.

mod measure;
mod report;

use super::args::{ComputeArgs, ConsoleArgs, ModelArgs, Setup, tokens, whole};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine::{self, AvailableMemory, ProcessClock};
use crate::output;
use crate::progress::{Progress, Unit};
use crate::sizing::{Need, Sizing};
use clap::Args;
use limpid_engine::kv::KvCache;
use limpid_engine::model::{BatchLimits, Forward, MemoryPlan, ModelOptions, Work};
use limpid_kernels::limits;
use measure::Bench;
use report::{BenchJson, Start};
use std::process::ExitCode;

/// Tokens of the prompt whose first token is timed from the start of the process.
const FIRST_PROMPT: usize = 16;

/// Measure prefill and decode: tokens a second, and how close to the machine's limits that is
///
/// The forward pass alone is timed, over random tokens: no sampling, no text. There is a row for each depth and each
/// number of sequences. Each number is the median over the repetitions, after one that is not counted.
///
/// TTFT is the prefill of one prompt of --prefill tokens behind --depth tokens. TPOT is a step that decodes one token
/// of every sequence; tok/s counts the tokens of all sequences, `each` those of one. KV is the pages of all sequences
/// at the end.
///
/// GB/s are the bytes that a step of decode must read, over TPOT: all weights once (of an embedding that is not the
/// head only rows are read: it is left out), and the keys and values of all sequences. Gop/s count two operations for
/// each weight of a layer and each token, and for each weight of the head and each token that wants logits: all in
/// decode, the last of a prompt. Attention's products are left out. Beside them stands their share of what this machine
/// reads and computes at best, measured right before each row: a bandwidth, and the arithmetic of exact 4-bit or 8-bit
/// products, bf16 or f32, by the format of most weights.
///
/// Load time and first token count from the start of the process (Linux knows it to 10 ms; elsewhere from the start of
/// the command) to a model that is ready, and to the first token of a prompt of 16 tokens; a tokenizer is not read.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Prompt tokens; 0 leaves prefill out
    #[arg(long, value_name = "N", default_value = "512", allow_negative_numbers = true, value_parser = tokens::<0>)]
    prefill: usize,

    /// Tokens that each sequence decodes; 0 leaves decode out
    #[arg(long, value_name = "N", default_value = "64", allow_negative_numbers = true, value_parser = tokens::<0>)]
    decode: usize,

    /// Tokens that each sequence has in its KV cache before either, from 0 on, such as 0,2048,8192
    #[arg(long, value_name = "N,...", default_value = "0", value_delimiter = ',', allow_negative_numbers = true,
          value_parser = tokens::<0>)]
    depth: Vec<usize>,

    /// Sequences that decode side by side, from 1 to 4096, such as 1,2,4,8,16
    #[arg(long, value_name = "N,...", default_value = "1", value_delimiter = ',', allow_negative_numbers = true,
          value_parser = whole::<1, 4096>)]
    sequences: Vec<usize>,

    /// How often each is measured, from 1 to 1000
    #[arg(long, value_name = "N", default_value = "3", allow_negative_numbers = true, value_parser = whole::<1, 1000>)]
    repetitions: usize,

    /// Name the most sequences of the list whose TPOT is at most so many ms, for each depth
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = milliseconds)]
    tpot_limit_ms: Option<f64>,

    /// Leave out what the machine can do at best, which takes a second and 300 MiB for each row
    #[arg(long)]
    no_limits: bool,

    /// One JSON object: all rows with all repetitions, and what was measured
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let ms = text.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms > 0.0);
    ms.ok_or_else(|| "a number of milliseconds above 0 is expected".to_owned())
}

/// What is measured: the lists in ascending order, nothing twice.
struct Cases {
    prefill: usize,
    decode: usize,
    depths: Vec<usize>,
    sequences: Vec<usize>,
    repetitions: usize,
    with_limits: bool,
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, CliError> {
    let clock = ProcessClock::new();
    let setup = args.compute.setup()?;
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    let cases = args.cases();
    let longest = cases.longest(file.config.context_length)?;
    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let work = Work::new(&file.weights, &file.config)?;
    let most = cases.most_sequences();
    let max_rows = args.compute.prefill_chunk.max(most);
    let limits =
        Sizing { plan: &plan, max_rows, max_logit_rows: most, n_sequences: most, n_shared: 0, n_texts: 0 }
            .limits(longest);
    cases.check_memory(&plan, limits, machine::available_memory())?;
    let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
    let cpu = setup.cpu();
    let model = file.load(cpu.clone(), &options, &console)?;
    let kv = KvCache::new(model.kv_layout().clone(), cases.n_pages())?;
    let load = clock.elapsed();
    let mut bench = Bench::new(model, kv, cpu);
    bench.first_token(FIRST_PROMPT.min(longest))?;
    let start = Start { load, first_token: clock.elapsed() };
    let progress = Progress::start(&console, "measuring", Unit::Tokens);
    let rows = bench.measure(&cases, &progress)?;
    drop(progress);
    let json = BenchJson::new(args, &cases, &setup, (&file, &plan, work), start, &rows);
    if args.json {
        output::write_json(&json)?
    } else {
        output::write(&json.text())?
    }
    Ok(ExitCode::SUCCESS)
}

impl BenchArgs {
    fn cases(&self) -> Cases {
        let ascending = |list: &[usize]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list.dedup();
            list
        };
        Cases {
            prefill: self.prefill,
            decode: self.decode,
            depths: ascending(&self.depth),
            sequences: ascending(&self.sequences),
            repetitions: self.repetitions,
            with_limits: !self.no_limits,
        }
    }
}

impl Cases {
    fn most_sequences(&self) -> usize {
        self.sequences.last().copied().unwrap_or(1)
    }

    /// Positions of the longest sequence, with room for the first prompt.
    fn longest(&self, context_length: usize) -> Result<usize, CliError> {
        if self.prefill.max(self.decode) == 0 {
            return Err(CliError::usage("--prefill and --decode are both 0: there is nothing to measure"));
        }
        let depth = self.depths.last().copied().unwrap_or(0);
        let longest = depth.saturating_add(self.prefill.max(self.decode));
        if longest > context_length {
            let message = format!(
                "--depth {depth} and --prefill {} or --decode {} are more than the context of {context_length} \
                 tokens; lower them",
                self.prefill, self.decode
            );
            return Err(CliError::usage(message));
        }
        Ok(longest.max(FIRST_PROMPT.min(context_length)))
    }

    /// Sequences side by side and their length: one in prefill, those of each row in decode.
    fn lengths(&self) -> impl Iterator<Item = (usize, usize)> {
        self.depths.iter().flat_map(move |depth| {
            let decode = self.sequences.iter().map(move |&n| (n, depth + self.decode));
            decode.chain([(1, depth + self.prefill)])
        })
    }

    /// Refuses any row that cannot fit beside the rest.
    fn check_memory(
        &self,
        plan: &MemoryPlan<'_>,
        limits: BatchLimits,
        available: Option<AvailableMemory>,
    ) -> Result<(), CliError> {
        let probe = if self.with_limits { limits::READ_BYTES } else { 0 };
        let workspace = plan.workspace(limits).saturating_add(probe);
        for (n_sequences, len) in self.lengths() {
            let kv = plan.kv(len, limits.max_rows).saturating_mul(n_sequences);
            let need = Need { weights: plan.weights(), kv, workspace };
            let remedy = "Lower --prefill, --depth or --sequences, or try --no-limits";
            need.check(len.saturating_mul(n_sequences), available, remedy)?;
        }
        Ok(())
    }

    /// Pages of the KV cache. A fork copies the page that it writes into first.
    fn n_pages(&self) -> usize {
        let pages =
            |(n, len): (usize, usize)| len.max(FIRST_PROMPT).div_ceil(limpid_kernels::ops::PAGE_LEN) * n + n;
        self.lengths().map(pages).max().unwrap_or(0)
    }

    /// Tokens that are computed in all, for the progress.
    fn n_tokens(&self) -> usize {
        let n_decoded: usize = self.sequences.iter().map(|n| n * self.decode).sum();
        let of_depth = (self.prefill + n_decoded) * (self.repetitions + 1);
        self.depths.last().copied().unwrap_or(0) + of_depth * self.depths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_kernels::ops::{Compute, KvFormat};

    fn cases(depths: &[usize], sequences: &[usize]) -> Cases {
        let (depths, sequences) = (depths.to_vec(), sequences.to_vec());
        Cases { prefill: 100, decode: 10, depths, sequences, repetitions: 3, with_limits: false }
    }

    #[test]
    fn the_cache_has_room_for_the_largest_row() {
        assert_eq!(cases(&[0], &[1]).n_pages(), 2 + 1, "the prompt");
        assert_eq!(cases(&[0, 640], &[1, 8]).n_pages(), 8 * 11 + 8, "the deepest row of most sequences");
        assert!(cases(&[0, 640], &[1]).longest(740).is_ok_and(|longest| longest == 740));
        assert!(cases(&[0, 640], &[1]).longest(739).is_err());
    }

    #[test]
    fn each_row_must_fit() {
        let file = ModelFile::open(None).expect("the embedded model");
        let plan =
            MemoryPlan::new(&file.weights, &file.config, Compute::Fast, KvFormat::F16, 1).expect("a plan");
        let limits = BatchLimits { max_rows: 64, max_logit_rows: 64, context_length: 800 };
        let available = Some(AvailableMemory { bytes: 50 << 20, limit: "a test" });
        // 64 sequences of 650 tokens in pages of 64, 96 KiB each, are 66 MiB; of 10 tokens 6 MiB.
        let check =
            |cases: Cases| cases.check_memory(&plan, limits, available).map_err(|error| error.to_string());
        assert_eq!(check(cases(&[0, 640], &[1])), Ok(()));
        assert_eq!(check(cases(&[0], &[1, 64])), Ok(()));
        let error = check(cases(&[0, 640], &[1, 64])).expect_err("one of four rows is too large");
        assert!(
            error.starts_with("41,600 tokens need") && error.contains("Lower --prefill, --depth"),
            "{error}"
        );
        let with_limits = Cases { with_limits: true, ..cases(&[0], &[1]) };
        assert!(check(with_limits).expect_err("the probe is too large").ends_with("or try --no-limits"));
    }

    #[test]
    fn progress_counts_every_token() {
        assert_eq!(cases(&[0, 50], &[1, 2]).n_tokens(), 50 + 2 * 4 * (100 + 30));
    }

    #[test]
    fn limits_of_time_are_above_0() {
        assert_eq!(milliseconds("12.5"), Ok(12.5));
        assert!(["0", "-1", "nan", "inf", "fast"].iter().all(|text| milliseconds(text).is_err()));
    }
}
