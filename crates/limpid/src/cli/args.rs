//! Options that several subcommands share, and how their values are read.

use crate::console::Console;
use crate::error::CliError;
use crate::machine;
use clap::{Args, ValueEnum};
use limpid_engine::TokenId;
use limpid_engine::model::ModelConfig;
use limpid_engine::model::arch::MAX_CONTEXT;
use limpid_kernels::Cpu;
use limpid_kernels::isa::{Isa, IsaError};
use limpid_kernels::ops::{Compute, KvFormat};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    /// A GGUF file (of a split model: its first) or a Hugging Face folder [default: the embedded pocket model]
    #[arg(short, long, value_name = "PATH")]
    model: Option<PathBuf>,
}

impl ModelArgs {
    pub(crate) fn path(&self) -> Option<&Path> {
        self.model.as_deref()
    }
}

/// What is said on standard error.
#[derive(Args, Debug)]
pub(crate) struct ConsoleArgs {
    /// Nothing on standard error but errors: no summary, progress or warnings
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
}

impl ConsoleArgs {
    pub(crate) fn console(&self) -> Console {
        Console::new(self.quiet)
    }
}

/// How the model computes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Computing")]
pub(crate) struct ComputeArgs {
    /// Threads, from 1 to 512 [default: the physical cores that the process may use]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<1, 512>)]
    threads: Option<usize>,

    /// `f32`: weights as stored, all else in f32. `fast`: activations may be rounded to 8 bit
    #[arg(long, value_name = "MODE", value_enum, default_value_t = ComputeMode::Fast)]
    compute: ComputeMode,

    /// How keys and values are stored; `q8_0` takes about half of `f16` and rounds to 8 bits [default: f16; f32 with
    /// --compute f32]
    #[arg(long, value_name = "FORMAT", value_enum)]
    kv_format: Option<KvFormatName>,

    /// Prompt tokens that one step computes, from 1 to 65536: more is faster and takes more workspace
    #[arg(long, value_name = "N", default_value = "512", allow_negative_numbers = true,
          value_parser = whole::<1, 65_536>)]
    pub(crate) prefill_chunk: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum ComputeMode {
    F32,
    Fast,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
#[allow(non_camel_case_types, reason = "the field's spelling")]
pub(crate) enum KvFormatName {
    F16,
    F32,
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<KvFormatName> for KvFormat {
    fn from(name: KvFormatName) -> Self {
        match name {
            KvFormatName::F16 => KvFormat::F16,
            KvFormatName::F32 => KvFormat::F32,
            KvFormatName::Q8_0 => KvFormat::Q8_0,
        }
    }
}

/// How to compute, every choice made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) compute: Compute,
    pub(crate) kv_format: KvFormat,
    pub(crate) isa: Isa,
    /// `LIMPID_ISA` asks for that level, also where another would be faster.
    is_forced: bool,
    pub(crate) n_threads: usize,
}

impl ComputeArgs {
    pub(crate) fn setup(&self) -> Result<Setup, CliError> {
        let (compute, kv_default) = match self.compute {
            ComputeMode::F32 => (Compute::F32, KvFormat::F32),
            ComputeMode::Fast => (Compute::Fast, KvFormat::F16),
        };
        Ok(Setup {
            compute,
            kv_format: self.kv_format.map_or(kv_default, KvFormat::from),
            isa: isa()?,
            is_forced: forced_isa().is_some(),
            n_threads: self.threads.unwrap_or_else(machine::n_cores),
        })
    }
}

/// The instruction set: what the environment asks for (empty is as if it were not set), or else the best that the
/// processor has.
pub(crate) fn isa() -> Result<Isa, IsaError> {
    Isa::choose(forced_isa().as_deref())
}

fn forced_isa() -> Option<String> {
    let forced = std::env::var_os("LIMPID_ISA").filter(|value| !value.is_empty());
    forced.map(|value| value.to_string_lossy().into_owned())
}

impl Setup {
    pub(crate) fn cpu(&self) -> Arc<Cpu> {
        let cpu = Cpu::new(self.isa, self.n_threads);
        Arc::new(if self.is_forced { cpu } else { cpu.tuned() })
    }

    /// As `--compute` spells it.
    pub(crate) fn compute_name(&self) -> String {
        format!("{:?}", self.compute).to_lowercase()
    }

    /// As `--kv-format` spells it.
    pub(crate) fn kv_format_name(&self) -> String {
        format!("{:?}", self.kv_format).to_lowercase()
    }
}

/// The most texts of one prompt, or requests of a batch, that are generated side by side.
pub(crate) const MAX_SEQUENCES: usize = 64;

/// Token ids as the user wrote them: `1,2,3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ids(pub(crate) Vec<TokenId>);

pub(crate) fn ids(text: &str) -> Result<Ids, String> {
    let id = |(index, part): (usize, &str)| match part.trim() {
        "" => {
            Err(format!("number {} of the list is empty: token ids are expected, such as 1,2,3", index + 1))
        }
        part => part.parse().map(TokenId).map_err(|_| {
            format!("`{part}` is no token id: whole numbers from 0 to {} are expected", u32::MAX)
        }),
    };
    text.split(',').enumerate().map(id).collect::<Result<_, _>>().map(Ids)
}

/// A whole number in a range that an option's help names.
pub(crate) fn whole<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(format!("a whole number from {MIN} to {MAX} is expected")),
    }
}

/// Tokens to generate, or to compute: no model has a longer context.
pub(crate) fn tokens<const MIN: usize>(text: &str) -> Result<usize, String> {
    whole::<MIN, MAX_CONTEXT>(text)
}

/// A number of tokens: `2048`, or `2k` for the same.
pub(crate) fn token_count(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024_usize),
        None => (text, 1),
    };
    match digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(n) if (1..=MAX_CONTEXT).contains(&n) => Ok(n),
        _ => Err(format!("a number of tokens from 1 to {MAX_CONTEXT} is expected, such as 2048 or 2k")),
    }
}

/// Refuses a `--context` beyond the model's own.
pub(crate) fn check_context(asked: usize, config: &ModelConfig, remedy: &str) -> Result<(), CliError> {
    let (most, source) = (config.context_length, &config.context_length_source);
    if asked <= most {
        return Ok(());
    }
    let message = format!("--context is {asked}, the model was made for {most} tokens ({source}); {remedy}");
    Err(CliError::usage(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_and_counts() {
        assert_eq!(ids("1,2, 3"), Ok(Ids(vec![TokenId(1), TokenId(2), TokenId(3)])));
        assert!(ids("1,-2").unwrap_err().starts_with("`-2` is no token id"));
        for (text, number) in [("", 1), ("1,,2", 2), ("1,", 2), (",1", 1)] {
            let error = ids(text).unwrap_err();
            assert!(error.starts_with(&format!("number {number} of the list is empty")), "{text}: {error}");
        }
        assert_eq!(token_count("2k"), Ok(2048));
        assert_eq!(token_count("300"), Ok(300));
        assert!(token_count("0").is_err());
        assert_eq!(token_count("256m").map_err(|_| ()), Err(()));
        assert_eq!(token_count("262144k"), Ok(1 << 28));
        assert!(token_count("262145k").is_err());
        assert!(token_count("99999999999999999k").is_err());
    }
}
