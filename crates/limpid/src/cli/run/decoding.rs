//! The options of `limpid run` about several texts, beams, log-probabilities, and what happens at a limit.

use crate::cli::args::{MAX_SEQUENCES, whole};
use crate::error::CliError;
use clap::{Args, ValueEnum};
use limpid_engine::decode::{
    BeamParams, Choices, Decoding, EarlyStopping, LogprobParams, LogprobsMode, MAX_BEAMS, MAX_LOGPROBS,
};
use limpid_engine::engine::ContextOverflow;
use limpid_engine::sampling::Defaults;

#[derive(Args)]
#[command(next_help_heading = "Several texts and beams")]
pub(crate) struct DecodingArgs {
    /// Texts to generate from the prompt, from 1 to 64; each draws its own random numbers, and the first is the one of
    /// --n 1
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true,
          value_parser = whole::<1, MAX_SEQUENCES>, conflicts_with = "num_beams")]
    n: usize,

    /// Texts to make, from --n to 64, of which those of the largest mean log-probability are given [default: --n]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<1, MAX_SEQUENCES>,
          conflicts_with = "num_beams")]
    best_of: Option<usize>,

    /// Beam search with so many beams, from 1 to 64: the likeliest texts as a whole, not token by token. Nothing is
    /// drawn: the temperature is 0. 1 is plain decoding [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<1, MAX_BEAMS>)]
    num_beams: Option<usize>,

    /// A beam's score is the sum of its log-probabilities / tokens^P, from -10 to 10: above 0 longer texts gain
    #[arg(long, value_name = "P", default_value = "0", allow_negative_numbers = true, requires = "num_beams",
          value_parser = length_penalty)]
    length_penalty: f64,

    /// With --num-beams texts finished, stop at once (`true`), when the best beam would be no better than the worst of
    /// them if it ended now (`false`), or at the longest length (`never`, where --length-penalty is above 0)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = EarlyStoppingName::False,
          requires = "num_beams")]
    early_stopping: EarlyStoppingName,

    /// Texts of the beam search to give, the best first, from 1 to --num-beams
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, requires = "num_beams",
          value_parser = whole::<1, MAX_BEAMS>)]
    num_return_sequences: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum EarlyStoppingName {
    True,
    False,
    Never,
}

fn length_penalty(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "a number from -10 to 10 is expected".to_owned())
}

impl DecodingArgs {
    pub(crate) fn decoding(&self) -> Result<Decoding, CliError> {
        let decoding = match self.num_beams {
            Some(num_beams) if num_beams > 1 => Decoding::Beams(BeamParams {
                num_beams,
                length_penalty: self.length_penalty,
                early_stopping: match self.early_stopping {
                    EarlyStoppingName::True => EarlyStopping::True,
                    EarlyStoppingName::False => EarlyStopping::False,
                    EarlyStoppingName::Never => EarlyStopping::Never,
                },
                num_return_sequences: self.num_return_sequences,
            }),
            Some(_) if self.num_return_sequences > 1 => {
                let message = "--num-return-sequences is more than --num-beams, which is 1; use --n for texts that are \
                               drawn one by one";
                return Err(CliError::usage(message));
            }
            Some(_) if self.length_penalty != 0.0 || self.early_stopping != EarlyStoppingName::False => {
                let message = "--length-penalty and --early-stopping need --num-beams 2 or more: 1 is plain decoding, \
                               which has no scores";
                return Err(CliError::usage(message));
            }
            _ => Decoding::Choices(Choices { n: self.n, best_of: self.best_of.unwrap_or(self.n) }),
        };
        decoding.validate()?;
        Ok(decoding)
    }

    pub(crate) fn has_beams(&self) -> bool {
        self.num_beams.is_some_and(|num_beams| num_beams > 1)
    }

    /// The model's defaults, except that beams do not draw.
    pub(crate) fn defaults(&self, defaults: Defaults) -> Defaults {
        if self.has_beams() { defaults.greedy() } else { defaults }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Log-probabilities")]
pub(crate) struct LogprobArgs {
    /// Log-probabilities of the generated tokens, and of so many of the likeliest in place of each, from 0 to 100;
    /// of beams 0 [default: none]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<0, MAX_LOGPROBS>,
          requires = "json", conflicts_with = "explain")]
    logprobs: Option<usize>,

    /// The same for the tokens of the prompt [default: none]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<0, MAX_LOGPROBS>,
          requires = "json", conflicts_with = "explain")]
    prompt_logprobs: Option<usize>,

    /// Of which distribution: the model's own (`raw`: log_softmax of the logits), or the one that the token was drawn
    /// from (`processed`: after masks, penalties, temperature and filters)
    #[arg(long, value_name = "MODE", value_enum, default_value_t = LogprobsModeName::Raw, requires = "logprobs")]
    logprobs_mode: LogprobsModeName,

    /// The text begins with the prompt's. With --logprobs, those of the prompt are given too
    #[arg(long)]
    pub(crate) echo: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum LogprobsModeName {
    Raw,
    Processed,
}

impl LogprobArgs {
    pub(crate) fn params(&self, decoding: &Decoding) -> LogprobParams {
        let of_echo = if self.echo { self.logprobs } else { None };
        // A beam is scored by them: they are there anyway.
        let of_beams = matches!(decoding, Decoding::Beams(_)).then_some(0);
        LogprobParams {
            output: self.logprobs.or(of_beams),
            prompt: self.prompt_logprobs.or(of_echo),
            mode: match self.logprobs_mode {
                LogprobsModeName::Raw => LogprobsMode::Raw,
                LogprobsModeName::Processed => LogprobsMode::Processed,
            },
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Length and stopping")]
pub(crate) struct OverflowArgs {
    /// What to do with a prompt that leaves no room for --max-tokens: refuse it (`error`), keep its last tokens
    /// (`truncate_left`; BOS and the beginning of a chat go, too), or its first and last ones (`truncate_middle`).
    /// Without --max-tokens a quarter of the context is made free
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OverflowName::Error)]
    context_overflow: OverflowName,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
#[value(rename_all = "snake_case")]
enum OverflowName {
    Error,
    TruncateLeft,
    TruncateMiddle,
}

impl OverflowArgs {
    pub(crate) fn context_overflow(&self) -> ContextOverflow {
        match self.context_overflow {
            OverflowName::Error => ContextOverflow::Error,
            OverflowName::TruncateLeft => ContextOverflow::TruncateLeft,
            OverflowName::TruncateMiddle => ContextOverflow::TruncateMiddle,
        }
    }
}
