//! The subcommands, one a file, and what the parser says.

pub(crate) mod args;
pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod detokenize;
pub(crate) mod given;
pub(crate) mod inspect;
pub(crate) mod length;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod sampling;
pub(crate) mod serve;
mod side_by_side;
mod stages;
pub(crate) mod template;
pub(crate) mod tokenize;

use crate::error::CliError;
use crate::output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// An LLM inference engine that you can see through: a model file and a prompt go in, text streams out.
#[derive(Parser)]
#[command(
    name = "limpid",
    version,
    about,
    after_help = "Examples:
  limpid run \"Tell me a story about a fox and a lamp.\"     the embedded pocket model, offline
  limpid chat -m model.gguf                                a conversation
  limpid run -m model.gguf -n 200 \"Why is the sky blue?\"   a GGUF file
  limpid run -m folder/ --file question.txt --json         a Hugging Face folder; one JSON object
  limpid inspect model.gguf --context 2k,8k,32k            what a model is, and what a context costs

Exit codes: 0 done; 1 it could not be done: a file, the memory, a prompt too long for the context; 2 the command line
makes no sense or an option asks for more than is allowed; 130 interrupted by Ctrl-C.
The variable LIMPID_ISA forces an instruction set: portable, avx2, avx512, avx512vnni or avx512bf16. The output is the
same with each; not set or empty is the best that the processor has. NO_COLOR, if not empty, switches colours off.

What --json prints is described in docs/json.md. Linux on x86-64 is what is tested.",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(Box<run::RunArgs>),
    Chat(Box<chat::ChatArgs>),
    Inspect(inspect::InspectArgs),
    Tokenize(tokenize::TokenizeArgs),
    Detokenize(detokenize::DetokenizeArgs),
    Logits(logits::LogitsArgs),
    Sample(Box<sample::SampleArgs>),
    Perplexity(perplexity::PerplexityArgs),
    Bench(bench::BenchArgs),
    Batch(batch::BatchArgs),
    Serve(serve::ServeArgs),
}

/// What the parser has to say instead of a command: help and version go to standard output, all else is an error in one
/// line.
pub(crate) fn help_or_usage_error(error: &clap::Error) -> Result<ExitCode, CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            output::write(&error.render().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        // With the instruction set that this machine would use.
        ErrorKind::DisplayVersion => {
            output::write(&format!("{} ({})\n", error.render().to_string().trim_end(), args::isa()?))?;
            Ok(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(CliError::usage("no command was given; see `limpid --help`"))
        }
        ErrorKind::InvalidSubcommand => {
            let name = invalid(error, ContextKind::InvalidSubcommand);
            let command = Cli::command();
            let names = command.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>().join(", ");
            Err(CliError::usage(format!(
                "there is no command `{name}`; the commands are {names}; see --help"
            )))
        }
        _ => Err(CliError::usage(one_line(error))),
    }
}

/// What was written that the parser does not take.
fn invalid(error: &clap::Error, kind: ContextKind) -> &str {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        _ => "",
    }
}

/// The parser's message without its usage lines (that is what `--help` is for) and without its advice to take an
/// unknown option as a text, which is never what was meant.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let message = error.render().to_string();
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let lines = lines.filter(|line| !line.starts_with("tip: to pass "));
    let text = lines.collect::<Vec<_>>().join(" ").replace(" tip: ", "; tip: ");
    let hint = match (error.kind(), invalid(error, ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, "") => "",
        (ErrorKind::UnknownArgument, "forbid" | "generate_through") => {
            "; tip: a mode is written with an equals sign, --ignore-eos=forbid"
        }
        (ErrorKind::UnknownArgument, word) if !word.starts_with('-') && takes_text(&message) => {
            "; tip: a text of several words needs quotes"
        }
        _ => "",
    };
    format!("{}{hint}; see --help", text.strip_prefix("error: ").unwrap_or(&text))
}

/// Whether the usage in the parser's message has a text.
fn takes_text(message: &str) -> bool {
    message.contains("[PROMPT]") || message.contains("[TEXT]")
}
