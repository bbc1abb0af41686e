//! `limpid bench`: how fast prefill and decode are on this machine.

use super::args::{ComputeArgs, ConsoleArgs, ModelArgs, Setup, tokens, whole};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::machine;
use crate::output;
use crate::progress::{Progress, Unit};
use crate::sizing::Sizing;
use crate::units;
use clap::Args;
use limpid_engine::TokenId;
use limpid_engine::kv::{KvCache, SeqId};
use limpid_engine::model::{Batch, BatchRow, Forward, MemoryPlan, Model, ModelOptions, Want};
use limpid_engine::sampling::{Purpose, Stream};
use limpid_engine::trace::NoTrace;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure prefill and decode in tokens a second.
///
/// The forward pass alone is timed, over random tokens: no sampling, no text. Each number is the median over the
/// repetitions, after one that is not counted.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Prompt tokens of each sequence; 0 leaves prefill out
    #[arg(long, value_name = "N", default_value = "512", allow_negative_numbers = true, value_parser = tokens::<0>)]
    prefill: usize,

    /// Tokens that each sequence decodes; 0 leaves decode out
    #[arg(long, value_name = "N", default_value = "64", allow_negative_numbers = true, value_parser = tokens::<0>)]
    decode: usize,

    /// Tokens that each sequence has in its KV cache before either, from 0 on
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, value_parser = tokens::<0>)]
    depth: usize,

    /// Sequences side by side, from 1 to 4096
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = whole::<1, 4096>)]
    sequences: usize,

    /// How often each is measured, from 1 to 1000
    #[arg(long, value_name = "N", default_value = "3", allow_negative_numbers = true, value_parser = whole::<1, 1000>)]
    repetitions: usize,

    /// One JSON object: prefill and decode in tok/s, all repetitions, and what was measured
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Serialize)]
struct BenchJson {
    /// Medians in tok/s over all sequences together; null if left out.
    prefill: Option<f64>,
    decode: Option<f64>,
    prefill_repetitions: Vec<f64>,
    decode_repetitions: Vec<f64>,
    model: String,
    architecture: String,
    parameters: u64,
    weights_bytes: usize,
    prefill_tokens: usize,
    decode_tokens: usize,
    depth: usize,
    sequences: usize,
    threads: usize,
    isa: String,
    compute: String,
    kv_format: String,
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, CliError> {
    let setup = args.compute.setup()?;
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    let longest = args.longest(file.config.context_length)?;
    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let sizing = Sizing {
        plan: &plan,
        max_rows: args.compute.prefill_chunk.max(args.sequences),
        max_logit_rows: args.sequences,
        n_sequences: args.sequences,
    };
    sizing.check(longest, machine::available_memory(), "Lower --prefill, --depth or --sequences")?;
    let options =
        ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits: sizing.limits(longest) };
    let model = file.load(setup.cpu(), &options, &console)?;
    // A fork copies the page that it writes into first.
    let n_pages = sizing.n_pages(longest) + args.sequences;
    let kv = KvCache::new(model.kv_layout().clone(), n_pages)?;
    // On a terminal only: where nobody looks on, nothing runs beside what is timed.
    let progress = console.is_terminal().then(|| Progress::start(&console, "measuring", Unit::Tokens));
    let (tokens, batch) = (RandomTokens::new(SEED), Batch::default());
    let mut bench = Bench { tokens, batch, model, kv, progress, n_done: 0, n_total: args.n_tokens() };
    let (prefill, decode) = bench.measure(args)?;
    bench.progress = None;
    let json = BenchJson::new(args, &setup, &file, &plan, prefill, decode);
    if args.json {
        output::write_json(&json)?
    } else {
        output::write(&json.table())?
    }
    Ok(ExitCode::SUCCESS)
}

impl BenchArgs {
    /// Tokens that all repetitions compute, the one that is not counted too.
    fn n_tokens(&self) -> usize {
        let per_repetition = self.prefill + self.decode;
        self.sequences.saturating_mul(self.depth + (self.repetitions + 1) * per_repetition)
    }

    /// Positions of the longest sequence.
    fn longest(&self, context_length: usize) -> Result<usize, CliError> {
        let longest = self.depth.saturating_add(self.prefill.max(self.decode));
        if self.prefill.max(self.decode) == 0 {
            return Err(CliError::usage("--prefill and --decode are both 0: there is nothing to measure"));
        }
        if longest > context_length {
            let message = format!(
                "--depth {} and --prefill {} or --decode {} are more than the context of {context_length} tokens; \
                 lower them",
                self.depth, self.prefill, self.decode
            );
            return Err(CliError::usage(message));
        }
        Ok(longest)
    }
}

/// The same tokens in every run.
const SEED: u64 = 1;

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

struct Bench {
    model: Model,
    kv: KvCache,
    batch: Batch,
    tokens: RandomTokens,
    progress: Option<Progress>,
    /// Tokens that were computed, and that will be.
    n_done: usize,
    n_total: usize,
}

impl Bench {
    /// Tokens a second of prefill and of decode, one number a repetition.
    fn measure(&mut self, args: &BenchArgs) -> Result<(Vec<f64>, Vec<f64>), CliError> {
        let longest = args.depth + args.prefill.max(args.decode);
        let bases: Vec<_> = (0..args.sequences).map(|_| self.kv.create(longest)).collect();
        self.prefill(&bases, args.depth)?;
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for repetition in 0..=args.repetitions {
            let rates = [
                self.repetition(&bases, args.prefill, Self::prefill)?,
                self.repetition(&bases, args.decode, Self::decode)?,
            ];
            if repetition > 0 {
                prefill.extend(rates[0]);
                decode.extend(rates[1]);
            }
        }
        Ok((prefill, decode))
    }

    /// Times `n` tokens on copies of `bases`; none if `n` is 0.
    fn repetition(
        &mut self,
        bases: &[SeqId],
        n: usize,
        work: fn(&mut Self, &[SeqId], usize) -> Result<Duration, CliError>,
    ) -> Result<Option<f64>, CliError> {
        if n == 0 {
            return Ok(None);
        }
        let max_len = |kv: &KvCache, base| kv.len(base) + n;
        let seqs: Vec<_> = bases.iter().map(|&base| self.kv.fork(base, max_len(&self.kv, base))).collect();
        let time = work(self, &seqs, n)?;
        for seq in seqs {
            self.kv.release(seq);
        }
        Ok(Some((n * bases.len()) as f64 / time.as_secs_f64()))
    }

    /// `n` more tokens for each sequence, in full batches; the last of each wants logits, as in a real prompt.
    fn prefill(&mut self, seqs: &[SeqId], n: usize) -> Result<Duration, CliError> {
        let max_rows = self.model.max_batch_rows();
        let mut time = Duration::ZERO;
        for &seq in seqs {
            let mut n_left = n;
            while n_left > 0 {
                let n_rows = n_left.min(max_rows);
                n_left -= n_rows;
                self.add_rows(seq, n_rows, n_left == 0)?;
                time += self.forward()?;
            }
        }
        Ok(time)
    }

    /// `n` steps, each with one token of every sequence.
    fn decode(&mut self, seqs: &[SeqId], n: usize) -> Result<Duration, CliError> {
        let mut time = Duration::ZERO;
        for _ in 0..n {
            for &seq in seqs {
                self.add_rows(seq, 1, true)?;
            }
            time += self.forward()?;
        }
        Ok(time)
    }

    fn add_rows(&mut self, seq: SeqId, n_rows: usize, last_wants_logits: bool) -> Result<(), CliError> {
        let first = self.kv.len(seq);
        self.kv.extend(seq, n_rows).map_err(|error| CliError::failure(error.to_string()))?;
        let vocab_size = self.model.vocab_size();
        for position in first..first + n_rows {
            let is_last = position + 1 == first + n_rows;
            let want = if is_last && last_wants_logits { Want::Logits } else { Want::Nothing };
            let token = self.tokens.next(vocab_size);
            self.batch.rows.push(BatchRow { token, position: position as u32, seq, want });
        }
        Ok(())
    }

    /// Computes the batch and empties it.
    fn forward(&mut self) -> Result<Duration, CliError> {
        let start = Instant::now();
        self.model.forward(&self.batch, &mut self.kv, &mut NoTrace)?;
        let time = start.elapsed();
        self.n_done += self.batch.rows.len();
        if let Some(progress) = &self.progress {
            progress.set(self.n_done as u64, self.n_total as u64);
        }
        self.batch.rows.clear();
        Ok(time)
    }
}

impl BenchJson {
    fn new(
        args: &BenchArgs,
        setup: &Setup,
        file: &ModelFile,
        plan: &MemoryPlan<'_>,
        prefill: Vec<f64>,
        decode: Vec<f64>,
    ) -> Self {
        let round = |rates: Vec<f64>| rates.into_iter().map(units::json_rate).collect::<Vec<_>>();
        let (prefill, decode) = (round(prefill), round(decode));
        Self {
            prefill: median(&prefill),
            decode: median(&decode),
            prefill_repetitions: prefill,
            decode_repetitions: decode,
            model: file.name(),
            architecture: file.config.architecture.clone(),
            parameters: file.weights.n_parameters(),
            weights_bytes: plan.weights(),
            prefill_tokens: args.prefill,
            decode_tokens: args.decode,
            depth: args.depth,
            sequences: args.sequences,
            threads: setup.n_threads,
            isa: setup.isa.to_string(),
            compute: format!("{:?}", setup.compute).to_lowercase(),
            kv_format: format!("{:?}", setup.kv_format).to_lowercase(),
        }
    }

    fn table(&self) -> String {
        let line = |name: &str, n_tokens: usize, rates: &[f64], median: Option<f64>| match median {
            None => String::new(),
            Some(median) => {
                let (least, most) = rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), &x| (a.min(x), b.max(x)));
                let (median, least, most) = (units::rate(median), units::rate(least), units::rate(most));
                format!("{name} {n_tokens:>6} tokens  {median:>14}   ({least} to {most})\n")
            }
        };
        format!(
            "{} ({}, {} in memory), {}, {}, compute {}, KV {}, depth {}, {}\n{}{}",
            self.model,
            self.architecture,
            units::bytes(self.weights_bytes),
            units::counted(self.threads, "thread"),
            self.isa,
            self.compute,
            self.kv_format,
            self.depth,
            units::counted(self.sequences, "sequence"),
            line("prefill", self.prefill_tokens, &self.prefill_repetitions, self.prefill),
            line("decode ", self.decode_tokens, &self.decode_repetitions, self.decode),
        )
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(rates: &[f64]) -> Option<f64> {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => None,
        (_, 1) => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
