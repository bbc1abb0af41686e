//! `limpid detokenize`: the text of token ids.

use super::args::{ConsoleArgs, Ids, ModelArgs, ids};
use crate::error::CliError;
use crate::load::ModelFile;
use crate::output;
use crate::units;
use clap::Args;
use limpid_engine::TokenId;
use limpid_engine::tokenizer::Tokenizer;
use serde::Serialize;
use std::process::ExitCode;

/// Show the text of token ids
#[derive(Args)]
pub(crate) struct DetokenizeArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Token ids, such as 1,2,3, from 0 to the last of the vocabulary
    #[arg(allow_negative_numbers = true, value_parser = ids)]
    ids: Ids,

    /// Leave out special tokens such as <|im_end|>
    #[arg(long)]
    skip_special: bool,

    /// One JSON object: {"text", "count"}
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Serialize)]
struct DetokenizeJson {
    text: String,
    count: usize,
}

pub(crate) fn run(args: &DetokenizeArgs) -> Result<ExitCode, CliError> {
    let tokenizer = ModelFile::open(args.model.path())?.tokenizer()?;
    let ids = &args.ids.0;
    let vocab_size = tokenizer.vocab_size();
    if let Some(id) = ids.iter().find(|id| id.0 as usize >= vocab_size) {
        let message = format!("token id {} is not in the vocabulary of {vocab_size}", id.0);
        return Err(CliError::usage(message));
    }
    let text = tokenizer.decode(ids, args.skip_special);
    let n_lost = n_bytes_lost(&tokenizer, ids, args.skip_special);
    if n_lost > 0 {
        let bytes = units::counted(n_lost, "byte");
        let message =
            format!("warning: {bytes} of these tokens belong to no whole character; U+FFFD stands for them");
        args.console.console().note(&message);
    }
    if args.json {
        output::write_json(&DetokenizeJson { text, count: ids.len() })?;
    } else {
        output::write(&text)?;
        output::end_line(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes that the text cannot have: those of a character of which some are not there.
fn n_bytes_lost(tokenizer: &Tokenizer, ids: &[TokenId], skip_special: bool) -> usize {
    let shown = ids.iter().filter(|&&id| !(skip_special && tokenizer.is_special(id)));
    let bytes = shown.flat_map(|&id| tokenizer.piece_bytes(id)).copied().collect::<Vec<_>>();
    bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum()
}
