//! What the user wrote, to token ids.

use crate::error::CliError;
use crate::load::ModelFile;
use crate::units;
use chrono::{Datelike, Timelike};
use limpid_engine::TokenId;
use limpid_engine::chat::{ChatTemplate, DateTime, Message, RenderOptions, Rendered, TemplateTokens};
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
            (None, Some(path)) => read_file(path)?,
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

/// All of a file.
pub(crate) fn read_file(path: &Path) -> Result<String, CliError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| CliError::failure(format!("cannot read {name}: {error}")))?;
    read_text(&name, file)
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
        variables: TemplateVariables,
    },
}

impl Prompt {
    pub(crate) fn encode(self, file: &ModelFile, tokenizer: &Tokenizer) -> Result<Vec<TokenId>, CliError> {
        let (user, system, variables) = match self {
            Self::Ids(ids) => return Ok(ids),
            Self::Raw(text) => return encode_raw(&text, tokenizer, None),
            Self::Chat { user, system, variables } => (user, system, variables),
        };
        let without_template = match (&system, &variables) {
            (Some(_), _) => Some("--system"),
            (None, variables) if !variables.args.is_empty() => Some("--template-arg"),
            (None, variables) => variables.think.map(|_| "--think"),
        };
        match (ChatPrompt::of(file, variables, tokenizer)?, without_template) {
            (Some(prompt), _) => {
                let system = system.map(|text| message("system", text));
                let messages: Vec<_> = system.into_iter().chain([message("user", user)]).collect();
                prompt.encode(&messages, tokenizer)
            }
            (None, Some(option)) => {
                Err(CliError::usage(format!("{option} needs a chat template, and {} has none", file.name())))
            }
            (None, None) => encode_raw(&user, tokenizer, None),
        }
    }
}

pub(crate) fn message(role: &str, content: String) -> Message {
    Message { role: role.to_owned(), content }
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

/// What a user gives a template besides the messages.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct TemplateVariables {
    pub(crate) args: BTreeMap<String, serde_json::Value>,
    /// Whether the model thinks before it answers, by whatever name the template has for that.
    pub(crate) think: Option<bool>,
}

/// The names that templates have for a switch of thinking.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];

/// How a model's conversations become prompts.
pub(crate) struct ChatPrompt {
    template: ChatTemplate,
    tokens: TemplateTokens,
    args: BTreeMap<String, serde_json::Value>,
}

impl ChatPrompt {
    /// By the template that came with a model, if one did; refuses variables that it does not read.
    pub(crate) fn of(
        file: &ModelFile,
        variables: TemplateVariables,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Self>, CliError> {
        let Some(template) = ChatTemplate::of(file.weights.metadata())? else { return Ok(None) };
        let tokens = TemplateTokens::new(tokenizer);
        let TemplateVariables { mut args, think } = variables;
        args.keys().try_for_each(|name| template.check_argument(name, &tokens))?;
        if let Some(think) = think {
            let known = THINKING.iter().find(|name| template.check_argument(name, &tokens).is_ok());
            let Some(&name) = known else {
                let names = THINKING.join(" nor ");
                return Err(CliError::usage(format!(
                    "--think: the chat template of {} has no switch for thinking, neither {names}",
                    file.name()
                )));
            };
            if args.insert(name.to_owned(), think.into()).is_some() {
                return Err(CliError::usage(format!(
                    "--think and --template-arg {name} are the same; give one"
                )));
            }
        }
        Ok(Some(Self { template, tokens, args }))
    }

    /// A conversation as the template writes it, up to where the model is to go on.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<Rendered, CliError> {
        self.render_with(messages, self.args.clone())
    }

    fn render_with(
        &self,
        messages: &[Message],
        args: BTreeMap<String, serde_json::Value>,
    ) -> Result<Rendered, CliError> {
        let options = RenderOptions { args, now: Some(local_time()), ..RenderOptions::new(&self.tokens) };
        let rendered = self.template.render(messages, &options)?;
        check_instructions(messages, &rendered.text())?;
        Ok(rendered)
    }

    pub(crate) fn encode(
        &self,
        messages: &[Message],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<TokenId>, CliError> {
        self.encode_with(messages, BTreeMap::new(), tokenizer, None)
    }

    /// With more variables for the template. `most` as for raw texts.
    pub(crate) fn encode_with(
        &self,
        messages: &[Message],
        more: BTreeMap<String, serde_json::Value>,
        tokenizer: &Tokenizer,
        most: Option<usize>,
    ) -> Result<Vec<TokenId>, CliError> {
        more.keys().try_for_each(|name| self.template.check_argument(name, &self.tokens))?;
        let args = self.args.clone().into_iter().chain(more).collect();
        let rendered = self.render_with(messages, args)?;
        check_size(&rendered.text(), tokenizer, most)?;
        Ok(tokenizer.encode_rendered(&rendered)?)
    }
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
