//! The command line of Limpid.
//!
//! - `cli`: one subcommand a file, and the options that they share.
//! - `load`: from a path to an opened model.  `sizing`: what a run will take, before it is loaded.
//! - `prompt`: what the user wrote, to token ids.
//! - `machine`: cores and memory.  `console`, `progress`: standard error.  `output`: standard output.
//! - `openai`: OpenAI's API as data.  `driver`: the bridge to the engine's thread.  `metrics`, `server`: HTTP.
//! - `interrupt`: Ctrl-C.  `units`: how numbers are written.  `line`: how messages are.  `error`: exit codes.

mod breakers;
mod cli;
mod console;
mod driver;
mod error;
mod interrupt;
mod line;
mod load;
mod machine;
mod metrics;
mod openai;
mod output;
mod progress;
mod prompt;
mod server;
mod sizing;
mod texts;
mod units;

use clap::Parser;
use cli::{Cli, Command};
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(args) => cli::run::run(&args),
            Command::Chat(args) => cli::chat::run(&args),
            Command::Batch(args) => cli::batch::run(&args),
            Command::Serve(args) => cli::serve::run(&args),
            Command::Inspect(args) => cli::inspect::run(&args),
            Command::Tokenize(args) => cli::tokenize::run(&args),
            Command::Detokenize(args) => cli::detokenize::run(&args),
            Command::Logits(args) => cli::logits::run(&args),
            Command::Sample(args) => cli::sample::run(&args),
            Command::Perplexity(args) => cli::perplexity::run(&args),
            Command::Bench(args) => cli::bench::run(&args),
        },
        Err(error) => cli::help_or_usage_error(&error),
    };
    result.unwrap_or_else(|error: CliError| error.report())
}
