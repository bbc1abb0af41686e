//! How long a text becomes and where it stops: options of every command that generates one.

use super::args::{Ids, ids, tokens};
use super::sampling::SamplingArgs;
use clap::{Args, ValueEnum};
use limpid_engine::sampling::{IgnoreEos, SamplingParams, StopParams};
use std::time::Duration;

/// Elsewhere -1 means "without a limit".
fn max_tokens(text: &str) -> Result<usize, String> {
    let remedy = "leave the option out for as much as there is room for";
    tokens::<1>(text).map_err(|error| format!("{error}; {remedy}"))
}

fn min_tokens(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {} is expected", u32::MAX))
}

#[derive(Args)]
#[command(next_help_heading = "Length and stopping")]
pub(crate) struct LengthArgs {
    /// The most tokens to generate, from 1 to what is left of the context [default: all of that]
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = max_tokens)]
    pub(crate) max_tokens: Option<usize>,

    /// EOS, stop ids and stop strings count only after so many tokens, from 0 to --max-tokens
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = min_tokens)]
    pub(crate) min_tokens: u32,

    /// End before this text, from 1 to 4096 bytes. May be given up to 16 times [default: none]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,

    /// End at any of these tokens, such as 1,2,3 [default: at EOS only]
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    stop_token_ids: Option<Ids>,

    /// The stop string or stop token is part of the text; needs --stop or --stop-token-ids
    #[arg(long)]
    include_stop: bool,

    /// Do not end at EOS: `generate_through` takes it as text like any other (also without a mode), `forbid` never
    /// chooses it. The mode needs the equals sign [default: end at EOS]
    #[arg(long, value_name = "MODE", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "generate_through")]
    pub(crate) ignore_eos: Option<IgnoreEosMode>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
#[value(rename_all = "snake_case")]
pub(crate) enum IgnoreEosMode {
    GenerateThrough,
    Forbid,
}

impl LengthArgs {
    /// Sampling with what of it stands among these options.
    pub(crate) fn complete(&self, sampling: &SamplingArgs, silent: SamplingParams) -> SamplingParams {
        SamplingParams {
            min_tokens: self.min_tokens,
            ignore_eos: match self.ignore_eos {
                None => IgnoreEos::No,
                Some(IgnoreEosMode::GenerateThrough) => IgnoreEos::GenerateThrough,
                Some(IgnoreEosMode::Forbid) => IgnoreEos::Forbid,
            },
            ..sampling.over(silent)
        }
    }

    pub(crate) fn stop_params(&self) -> StopParams {
        StopParams {
            stop: self.stop.clone(),
            stop_token_ids: self.stop_token_ids.as_ref().map_or_else(Vec::new, |ids| ids.0.clone()),
            include_stop: self.include_stop,
        }
    }
}

/// The one setting of a text's length whose outcome depends on the machine.
#[derive(Args)]
#[command(next_help_heading = "Length and stopping")]
pub(crate) struct TimeLimitArgs {
    /// End after so many seconds, from 0.001 to 1000000, loading the model left out. How far the text comes
    /// depends on the machine [default: no limit]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    time_limit_s: Option<Duration>,
}

impl TimeLimitArgs {
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.time_limit_s
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=1e6).contains(seconds));
    let seconds = seconds.ok_or("a number of seconds from 0.001 to 1000000 is expected")?;
    Ok(Duration::from_secs_f64(seconds))
}
