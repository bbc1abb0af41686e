//! What the user wrote, to token ids.

use crate::error::CliError;
use crate::load::ModelFile;
use crate::units;
use chrono::{Datelike, Timelike};
use limpid_engine::TokenId;
use limpid_engine::chat::{ChatTemplate, DateTime, Message, RenderOptions, TemplateTokens};
use limpid_engine::tokenizer::{Specials, Tokenizer};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

/// The longest text that is read from a file or from standard input: more than any context holds. Without a limit an
/// endless one (`/dev/zero`) would take all memory.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Windows writes it before a text in UTF-8. It says how the text is written and is no part of it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where a text comes from, as the command line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextSource<'a> {
    pub(crate) argument: Option<&'a str>,
    pub(crate) file: Option<&'a Path>,
}

impl TextSource<'_> {
    /// The argument, the file, or standard input if that is not a terminal; `-` as either is standard input, whatever
    /// it is.
    ///
    /// A file and standard input usually end with a line break that nobody means; `keeps_end` keeps it. A byte order
    /// mark at their beginning is dropped.
    pub(crate) fn read(&self, keeps_end: bool) -> Result<String, CliError> {
        let named_stdin = self.argument == Some("-") || self.file == Some(Path::new("-"));
        let mut text = match (self.argument, self.file) {
            _ if named_stdin => read_stdin()?,
            (Some(text), _) => return Ok(text.to_owned()),
            (None, Some(path)) => {
                let name = path.display().to_string();
                let file = File::open(path)
                    .map_err(|error| CliError::failure(format!("cannot read {name}: {error}")))?;
                read_text(&name, file)?
            }
            (None, None) if std::io::stdin().is_terminal() => {
                let remedy = "give it as an argument, with --file PATH or on standard input; see --help";
                return Err(CliError::usage(format!("there is no text: {remedy}")));
            }
            (None, None) => read_stdin()?,
        };
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        if !keeps_end && text.ends_with('\n') {
            text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
        }
        Ok(text)
    }
}

fn read_stdin() -> Result<String, CliError> {
    read_text("standard input", std::io::stdin().lock())
}

/// All of `from`, which messages call `name`.
fn read_text(name: &str, from: impl Read) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::failure(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(CliError::failure(format!(
            "{name} is longer than {}, the longest text that is read; give a shorter one",
            units::bytes(MAX_TEXT_BYTES as usize)
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CliError::failure(format!("{name} is not UTF-8 at byte {at}; convert it, for example with iconv"))
    })
}

/// A prompt before the tokenizer has seen it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Prompt {
    Ids(Vec<TokenId>),
    /// As it is, special tokens and all.
    Raw(String),
    /// What a user says, for the model's chat template; a model without one takes the text as it is.
    Chat {
        user: String,
        system: Option<String>,
        template_args: BTreeMap<String, serde_json::Value>,
    },
}

impl Prompt {
    pub(crate) fn encode(self, file: &ModelFile, tokenizer: &Tokenizer) -> Result<Vec<TokenId>, CliError> {
        match self {
            Self::Ids(ids) => Ok(ids),
            Self::Raw(text) => encode_raw(&text, tokenizer, None),
            Self::Chat { user, system, template_args } => match ChatTemplate::of(file.weights.metadata())? {
                Some(template) => encode_chat(&template, user, system, template_args, tokenizer),
                None if system.is_some() || !template_args.is_empty() => {
                    let option = if system.is_some() { "--system" } else { "--template-arg" };
                    Err(CliError::usage(format!(
                        "{option} needs a chat template, and {} has none",
                        file.name()
                    )))
                }
                None => encode_raw(&user, tokenizer, None),
            },
        }
    }
}

/// Special tokens are read, and BOS comes first where the model wants it. `most`: a text that must become more tokens
/// is refused before it is cut up.
pub(crate) fn encode_raw(
    text: &str,
    tokenizer: &Tokenizer,
    most: Option<usize>,
) -> Result<Vec<TokenId>, CliError> {
    check_size(text, tokenizer, most)?;
    Ok(tokenizer.encode(text, Specials::Parse, tokenizer.special().add_bos)?)
}

fn encode_chat(
    template: &ChatTemplate,
    user: String,
    system: Option<String>,
    args: BTreeMap<String, serde_json::Value>,
    tokenizer: &Tokenizer,
) -> Result<Vec<TokenId>, CliError> {
    let message = |role: &str, content| Message { role: role.to_owned(), content };
    let messages: Vec<_> =
        system.map(|text| message("system", text)).into_iter().chain([message("user", user)]).collect();
    encode_messages(template, &messages, args, tokenizer, None)
}

/// A conversation, as the model's template writes it, up to where the model is to go on. `most` as for raw texts.
pub(crate) fn encode_messages(
    template: &ChatTemplate,
    messages: &[Message],
    args: BTreeMap<String, serde_json::Value>,
    tokenizer: &Tokenizer,
    most: Option<usize>,
) -> Result<Vec<TokenId>, CliError> {
    let tokens = TemplateTokens::new(tokenizer);
    args.keys().try_for_each(|name| template.check_argument(name, &tokens))?;
    let options = RenderOptions { args, now: Some(local_time()), ..RenderOptions::new(&tokens) };
    let rendered = template.render(messages, &options)?;
    let text = rendered.text();
    check_instructions(messages, &text)?;
    check_size(&text, tokenizer, most)?;
    Ok(tokenizer.encode_rendered(&rendered)?)
}

/// Refuses a text that must become more than `most` tokens, in no time.
fn check_size(text: &str, tokenizer: &Tokenizer, most: Option<usize>) -> Result<(), CliError> {
    let (fewest, Some(most)) = (tokenizer.fewest_ids(text), most) else { return Ok(()) };
    if fewest <= most {
        return Ok(());
    }
    let per_token = tokenizer.most_bytes_per_id().unwrap_or_default();
    Err(CliError::failure(format!(
        "the prompt has {} bytes, which are {} tokens at least, as no token stands for more than {per_token} bytes, \
         and the context holds {}. Shorten the prompt",
        units::count(text.len()),
        units::count(fewest),
        units::count(most),
    )))
}

/// Refuses instructions that a template has no place for: many skip roles that they do not know in silence. (What
/// others say may be cut on purpose, such as earlier reasoning.)
fn check_instructions(messages: &[Message], rendered: &str) -> Result<(), CliError> {
    let is_lost = |message: &Message| {
        matches!(message.role.as_str(), "system" | "developer") && !rendered.contains(message.content.trim())
    };
    match messages.iter().position(is_lost) {
        None => Ok(()),
        Some(i) => Err(CliError::failure(format!(
            "the model's chat template leaves message {i} out, counted from 0: it has no place for the role {}; let \
             the user say it",
            messages[i].role
        ))),
    }
}

/// For templates that tell the model what day it is.
fn local_time() -> DateTime {
    let now = chrono::Local::now();
    DateTime {
        year: now.year().clamp(1, 9999) as u16,
        month: now.month() as u8,
        day: now.day() as u8,
        hour: now.hour() as u8,
        minute: now.minute() as u8,
        second: now.second() as u8,
    }
}
