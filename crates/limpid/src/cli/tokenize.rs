//! `limpid tokenize`: the ids of a text, and what each stands for.

use super::args::ModelArgs;
use crate::error::CliError;
use crate::load::ModelFile;
use crate::output;
use crate::prompt::TextSource;
use crate::units;
use clap::Args;
use limpid_engine::tokenizer::Specials;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show the token ids of a text
#[derive(Args)]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The text, or `-` for standard input [default: standard input, if it is not a terminal]
    text: Option<String>,

    /// Read the text from a file in UTF-8, or from standard input if it is `-`
    #[arg(short, long, value_name = "PATH", conflicts_with = "text")]
    file: Option<PathBuf>,

    /// Leave out BOS, which comes first if the model was trained with it
    #[arg(long)]
    no_bos: bool,

    /// Read special tokens such as <|im_end|> as plain text
    #[arg(long)]
    no_parse_special: bool,

    /// One JSON object: {"ids", "pieces", "count"}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TokenizeJson<'a> {
    ids: Vec<u32>,
    /// The text of each token; each byte that is no UTF-8 by itself as `<0xF0>`.
    pieces: Vec<std::borrow::Cow<'a, str>>,
    count: usize,
}

pub(crate) fn run(args: &TokenizeArgs) -> Result<ExitCode, CliError> {
    let tokenizer = ModelFile::open(args.model.path())?.tokenizer()?;
    let text = TextSource { argument: args.text.as_deref(), file: args.file.as_deref() }.read(true)?;
    let specials = if args.no_parse_special { Specials::Text } else { Specials::Parse };
    let ids = tokenizer.encode(&text, specials, tokenizer.special().add_bos && !args.no_bos)?;
    let pieces: Vec<_> = ids.iter().map(|&id| tokenizer.piece(id)).collect();
    if args.json {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        output::write_json(&TokenizeJson { count: ids.len(), ids, pieces })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = String::new();
    for (id, piece) in ids.iter().zip(&pieces) {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{:>7}  {piece:?}", id.0);
    }
    let _ = writeln!(lines, "{}", units::counted(ids.len(), "token"));
    output::write(&lines)?;
    Ok(ExitCode::SUCCESS)
}
