//! The options of `limpid run`.

use super::decoding::{DecodingArgs, LimitArgs, LogprobArgs};
use crate::cli::args::{ComputeArgs, ConsoleArgs, Ids, ModelArgs, ids, token_count, tokens};
use crate::cli::sampling::SamplingArgs;
use crate::error::CliError;
use crate::prompt::{Prompt, TextSource};
use clap::{Args, ValueEnum};
use limpid_engine::model::ModelConfig;
use limpid_engine::model::config::{AttentionConfig, MixerConfig};
use limpid_engine::sampling::{IgnoreEos, SamplingParams, StopParams};
use std::path::PathBuf;

/// Generate text from a prompt.
///
/// If the model has a chat template, PROMPT is what a user says; else the model continues it. The text goes to standard
/// output and nothing else does (a line break is added at its end only on a terminal); summary, progress and warnings
/// go to standard error. Ctrl-C ends the generation and still prints the summary, with exit code 130; a second one ends
/// the program.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) prompt: PromptArgs,

    #[command(flatten)]
    pub(crate) length: LengthArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,

    #[command(flatten)]
    pub(crate) logprobs: LogprobArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    /// The longest text, prompt and output together, from 1 to the model's own [default: the model's, cut to what
    /// memory holds]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = token_count)]
    pub(crate) context: Option<usize>,

    /// Compute the whole text again for every token: the same text, to see what the cache saves and costs
    #[arg(long)]
    pub(crate) no_kv_cache: bool,

    /// One JSON object instead of the text: text, token_ids, sequences, prompt_token_ids, seed, finish_reason, stop,
    /// usage, timings, memory, defaults, ...
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Instead of the text alone show how each of its tokens was chosen: the likeliest tokens before and after each
    /// stage that changed something, what a filter removed, the draw; of beams what becomes of each, and their tree;
    /// at the end why the text ended, and how likely EOS was
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    pub(crate) explain: bool,

    /// With --explain: the five tokens that each choice attended to most in a layer, from 0 on, by one head, or by
    /// the mean over its heads
    #[arg(long, value_name = "LAYER[:HEAD]", help_heading = "Output", allow_hyphen_values = true,
          value_parser = AttentionHead::parse, requires = "explain", conflicts_with = "num_beams")]
    pub(crate) attention: Option<AttentionHead>,

    #[command(flatten)]
    pub(crate) console: ConsoleArgs,
}

/// Which attention to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AttentionHead {
    pub(crate) layer: usize,
    /// The mean over all, if it is left open.
    pub(crate) head: Option<usize>,
}

impl AttentionHead {
    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok();
        let found = match text.split_once(':') {
            None => number(text).map(|layer| Self { layer, head: None }),
            Some((layer, head)) => {
                let both = number(layer).zip(number(head));
                both.map(|(layer, head)| Self { layer, head: Some(head) })
            }
        };
        found.ok_or_else(|| "a layer such as 3, or a layer and a head such as 3:1, is expected".to_owned())
    }

    /// Refuses what the model does not have.
    pub(crate) fn check(self, config: &ModelConfig) -> Result<(), CliError> {
        let Self { layer, head } = self;
        let Some(of_layer) = config.layers.get(layer) else {
            let last = config.layers.len() - 1;
            return Err(CliError::usage(format!(
                "--attention: there is no layer {layer}, they are 0 to {last}"
            )));
        };
        let MixerConfig::Attention(AttentionConfig { n_heads, .. }) = of_layer.mixer;
        match head {
            Some(head) if head >= n_heads => {
                let last = n_heads - 1;
                Err(CliError::usage(format!(
                    "--attention: layer {layer} has no head {head}, they are 0 to {last}"
                )))
            }
            _ => Ok(()),
        }
    }
}

impl RunArgs {
    /// `--ignore-eos forbid` would take the mode as the prompt.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let prompt = self.prompt.prompt.as_deref().unwrap_or_default();
        match IgnoreEosMode::from_str(prompt, false) {
            Ok(_) if self.length.ignore_eos.is_some() => Err(CliError::usage(format!(
                "--ignore-eos takes a mode with an equals sign: --ignore-eos={prompt}. If `{prompt}` is the prompt, \
                 give it on standard input"
            ))),
            _ => Ok(()),
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Prompt")]
pub(crate) struct PromptArgs {
    /// The prompt; `-` is standard input [default: standard input, if it is not a terminal]
    #[arg(group = "source")]
    prompt: Option<String>,

    /// The prompt, for those who are used to llama.cpp's flag
    #[arg(short, long = "prompt", value_name = "TEXT", group = "source", hide = true)]
    prompt_flag: Option<String>,

    /// Read the prompt from a file in UTF-8, or from standard input if it is `-`. One line break at its end is dropped
    /// (not with --raw), and so is a byte order mark
    #[arg(short, long, value_name = "PATH", group = "source")]
    file: Option<PathBuf>,

    /// The prompt as token ids, such as 1,2,3; nothing is added
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids, group = "source")]
    prompt_tokens: Option<Ids>,

    /// What the system says before the user
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["raw", "prompt_tokens"])]
    system: Option<String>,

    /// The text as it is, without the chat template; special tokens in it are read, and BOS comes first if the model
    /// was trained with it
    #[arg(long, conflicts_with = "prompt_tokens")]
    raw: bool,

    /// A variable of the chat template, such as enable_thinking=false; the value is JSON, or else a string. May be
    /// given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = template_arg, conflicts_with_all = ["raw", "prompt_tokens"])]
    template_arg: Vec<(String, serde_json::Value)>,
}

impl PromptArgs {
    /// Reads the file or standard input, if that is where the prompt is.
    pub(crate) fn read(&self) -> Result<Prompt, CliError> {
        if let Some(Ids(ids)) = &self.prompt_tokens {
            return Ok(Prompt::Ids(ids.clone()));
        }
        let argument = self.prompt.as_deref().or(self.prompt_flag.as_deref());
        let text = TextSource { argument, file: self.file.as_deref() }.read(self.raw)?;
        if self.raw {
            // An empty text is BOS alone, where the model has one.
            return Ok(Prompt::Raw(text));
        }
        if text.is_empty() {
            return Err(CliError::usage(empty_prompt(argument.is_none() && self.file.is_none())));
        }
        let template_args = self.template_arg.iter().cloned().collect();
        Ok(Prompt::Chat { user: text, system: self.system.clone(), template_args })
    }
}

/// Standard input that is empty was hardly meant: then no prompt was given at all.
fn empty_prompt(is_stdin: bool) -> &'static str {
    if is_stdin {
        "there is no prompt: no argument, and standard input is empty. Give one as the last argument; the word after \
         an option such as --stop is the option's value"
    } else {
        "the prompt is empty; with --raw it may be, if the model has a BOS token"
    }
}

fn template_arg(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) =
        text.split_once('=').ok_or("NAME=VALUE is expected, such as enable_thinking=false")?;
    let is_name = |c: char| c == '_' || c.is_alphanumeric();
    if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_numeric()) {
        return Err(format!("`{name}` cannot be the name of a variable in a template"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value));
    Ok((name.to_owned(), value))
}

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

    /// End before this text, of 1 byte or more. May be given up to 16 times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,

    /// End at any of these tokens, such as 1,2,3 [default: at EOS only]
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    stop_token_ids: Option<Ids>,

    /// The stop string or stop token is part of the text
    #[arg(long)]
    include_stop: bool,

    /// Do not end at EOS: `generate_through` takes it as text like any other (also without a mode), `forbid` never
    /// chooses it. The mode needs the equals sign [default: end at EOS]
    #[arg(long, value_name = "MODE", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "generate_through")]
    ignore_eos: Option<IgnoreEosMode>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
#[value(rename_all = "snake_case")]
enum IgnoreEosMode {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_may_have_a_head() {
        let found = |text| AttentionHead::parse(text).ok().map(|found| (found.layer, found.head));
        assert_eq!((found("3"), found("3:1")), (Some((3, None)), Some((3, Some(1)))));
        for wrong in ["", "-1", "a", "3:", ":1", "3:1:1", "3,1"] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn template_arguments_are_json_or_else_a_string() {
        let value = |text| template_arg(text).map(|(_, value)| value);
        assert_eq!(value("enable_thinking=false"), Ok(serde_json::json!(false)));
        assert_eq!(value("a=[1, \"b\"]"), Ok(serde_json::json!([1, "b"])));
        assert_eq!(value("a=b=c"), Ok(serde_json::json!("b=c")));
        assert_eq!(value("a="), Ok(serde_json::json!("")));
        assert!(value("a").is_err());
        assert!(value("=1").is_err());
        assert!(value("1a=1").is_err());
    }
}
