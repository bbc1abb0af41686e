//! The options of `limpid run`.

use super::decoding::{DecodingArgs, LogprobArgs, OverflowArgs};
use crate::cli::args::{ComputeArgs, ConsoleArgs, Ids, ModelArgs, ids, token_count};
use crate::cli::given::Given;
use crate::cli::length::{IgnoreEosMode, LengthArgs, TimeLimitArgs};
use crate::cli::sampling::SamplingArgs;
use crate::cli::template::TemplateArgs;
use crate::error::CliError;
use crate::prompt::{Prompt, TextSource};
use clap::{Args, ValueEnum};
use limpid_engine::model::ModelConfig;
use limpid_engine::model::config::{AttentionConfig, MixerConfig};
use std::path::PathBuf;

/// Generate text from a prompt.
///
/// If the model has a chat template, PROMPT is what a user says; else the model continues it. The text goes to standard
/// output and nothing else does (a line break is added at its end only on a terminal); summary, progress and warnings
/// go to standard error. Ctrl-C ends the generation and still prints the summary, with exit code 130; a second one ends
/// the program.
#[derive(Args)]
pub(crate) struct RunArgs {
    // The first: those below take what is theirs.
    #[command(flatten)]
    pub(crate) given: Given,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) prompt: PromptArgs,

    #[command(flatten)]
    pub(crate) length: LengthArgs,

    #[command(flatten)]
    pub(crate) overflow: OverflowArgs,

    #[command(flatten)]
    pub(crate) time_limit: TimeLimitArgs,

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
    /// The prompt; `-` is standard input [default: standard input, if it is not a terminal; else a chat begins, see
    /// `limpid chat`]
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
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids, group = "source",
          conflicts_with_all = ["system", "template_arg", "think"])]
    prompt_tokens: Option<Ids>,

    /// The text as it is, without the chat template; special tokens in it are read, and BOS comes first if the model
    /// was trained with it
    #[arg(long, conflicts_with_all = ["prompt_tokens", "system", "template_arg", "think"])]
    raw: bool,

    #[command(flatten)]
    template: TemplateArgs,
}

impl PromptArgs {
    /// Whether the command line says where the prompt is.
    pub(crate) fn is_given(&self) -> bool {
        let Self { prompt, prompt_flag, file, prompt_tokens, .. } = self;
        prompt.is_some() || prompt_flag.is_some() || file.is_some() || prompt_tokens.is_some()
    }

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
        let TemplateArgs { system, .. } = &self.template;
        Ok(Prompt::Chat { user: text, system: system.clone(), variables: self.template.variables() })
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
}
