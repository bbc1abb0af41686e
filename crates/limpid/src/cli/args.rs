//! Options that several subcommands share, and how their values are read.

use crate::error::CliError;
use crate::machine;
use clap::{Args, ValueEnum};
use limpid_engine::TokenId;
use limpid_kernels::Cpu;
use limpid_kernels::isa::Isa;
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

/// How the model computes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Computing")]
pub(crate) struct ComputeArgs {
    /// Threads, from 1 to 512 [default: the physical cores that the process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    threads: Option<u16>,

    /// `f32`: weights as stored, all else in f32. `fast`: activations may be rounded to 8 bit
    #[arg(long, value_name = "MODE", value_enum, default_value_t = ComputeMode::Fast)]
    compute: ComputeMode,

    /// How keys and values are stored [default: f16; f32 with --compute f32]
    #[arg(long, value_name = "FORMAT", value_enum)]
    kv_format: Option<KvFormatName>,

    /// Prompt tokens that one step computes, 1 or more: more is faster and takes more workspace
    #[arg(long, value_name = "N", default_value = "512", value_parser = one_or_more)]
    pub(crate) prefill_chunk: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum ComputeMode {
    F32,
    Fast,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum KvFormatName {
    F16,
    F32,
}

impl From<KvFormatName> for KvFormat {
    fn from(name: KvFormatName) -> Self {
        match name {
            KvFormatName::F16 => KvFormat::F16,
            KvFormatName::F32 => KvFormat::F32,
        }
    }
}

/// How to compute, every choice made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) compute: Compute,
    pub(crate) kv_format: KvFormat,
    pub(crate) isa: Isa,
    pub(crate) n_threads: usize,
}

impl ComputeArgs {
    pub(crate) fn setup(&self) -> Result<Setup, CliError> {
        let (compute, kv_default) = match self.compute {
            ComputeMode::F32 => (Compute::F32, KvFormat::F32),
            ComputeMode::Fast => (Compute::Fast, KvFormat::F16),
        };
        let forced = std::env::var_os("LIMPID_ISA").map(|value| value.to_string_lossy().into_owned());
        Ok(Setup {
            compute,
            kv_format: self.kv_format.map_or(kv_default, KvFormat::from),
            isa: Isa::choose(forced.as_deref())?,
            n_threads: self.threads.map_or_else(machine::n_cores, usize::from),
        })
    }
}

impl Setup {
    pub(crate) fn cpu(&self) -> Arc<Cpu> {
        Arc::new(Cpu::new(self.isa, self.n_threads))
    }
}

/// Token ids as the user wrote them: `1,2,3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ids(pub(crate) Vec<TokenId>);

pub(crate) fn ids(text: &str) -> Result<Ids, String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    let id = |part: &str| part.parse().map(TokenId).map_err(|_| format!("`{part}` is no token id"));
    let ids = parts.map(id).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() { Err("there is no token id".to_owned()) } else { Ok(Ids(ids)) }
}

pub(crate) fn one_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number, 1 or more, is expected".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// A number of tokens: `2048`, or `2k` for the same.
pub(crate) fn token_count(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024_usize),
        None => (text, 1),
    };
    match digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)) {
        None | Some(0) => Err("a number of tokens is expected, such as 2048 or 2k".to_owned()),
        Some(n) => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_and_counts() {
        assert_eq!(ids("1,2, 3"), Ok(Ids(vec![TokenId(1), TokenId(2), TokenId(3)])));
        assert_eq!(ids("1,-2"), Err("`-2` is no token id".to_owned()));
        assert!(ids(" ,").is_err());
        assert_eq!(token_count("2k"), Ok(2048));
        assert_eq!(token_count("300"), Ok(300));
        assert!(token_count("0").is_err());
        assert!(token_count("99999999999999999k").is_err());
    }
}
