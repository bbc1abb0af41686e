//! Messages to a prompt, by the chat template that came with the model.
//!
//! A template is Jinja2 written for Python and transformers; it is rendered as they would. Text from outside stays
//! text: a message that contains `<|im_end|>` cannot end its turn (see [`Rendered`]).

mod clock;
mod environment;
mod error;
mod json;
mod marks;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use minijinja::{Environment, ErrorKind, Value};
use serde_json::Value as Json;

use crate::TokenId;
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weights::Metadata;

pub use clock::DateTime;
pub use error::ChatError;

use environment::{MARK_VARIABLE, MAX_STEPS, Raised};
use marks::SpecialTexts;

/// Variables that a request gives in another way.
const RESERVED: [&str; 2] = ["messages", "add_generation_prompt"];

/// The only template of its environment.
const NAME: &str = "chat";

/// What someone said.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    pub content: String,
}

/// The tokenizer's special tokens, as templates know them.
#[derive(Clone, Debug, Default)]
pub struct TemplateTokens {
    /// Variables such as `bos_token`, with the token's text.
    variables: BTreeMap<&'static str, String>,
    special: SpecialTexts,
}

impl TemplateTokens {
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let special = tokenizer.special();
        let named = [
            ("bos_token", special.bos),
            ("eos_token", special.eos.first().map(|eos| eos.id)),
            ("unk_token", special.unknown),
            ("pad_token", special.pad),
        ];
        let variables = named
            .into_iter()
            .filter_map(|(name, id)| Some((name, tokenizer.piece(id?).into_owned())))
            .collect();
        TemplateTokens { variables, special: SpecialTexts::new(tokenizer.special_texts()) }
    }
}

/// What a template is given besides the messages.
#[derive(Clone, Debug)]
pub struct RenderOptions<'a> {
    pub tokens: &'a TemplateTokens,
    /// End the prompt where the assistant begins to speak.
    pub add_generation_prompt: bool,
    /// Variables of this template (`enable_thinking`).
    pub args: BTreeMap<String, Json>,
    /// For `strftime_now`; without it the function does not exist, and templates that ask for it fall back.
    pub now: Option<DateTime>,
}

impl<'a> RenderOptions<'a> {
    /// The assistant's turn is next, no arguments, no clock.
    pub fn new(tokens: &'a TemplateTokens) -> Self {
        RenderOptions { tokens, add_generation_prompt: true, args: BTreeMap::new(), now: None }
    }
}

/// A compiled template. Immutable: one serves all threads.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// The model's file or folder, for messages.
    path: Option<PathBuf>,
}

/// A rendered prompt that knows which special tokens the template itself wrote. In what came from outside, a mark
/// breaks up whatever looks like one.
#[derive(Clone, Debug)]
pub struct Rendered {
    marked: String,
    mark: Option<char>,
}

impl Rendered {
    /// The prompt as text. Encoding it would read special tokens in messages: use [`Tokenizer::encode_rendered`].
    pub fn text(&self) -> String {
        match self.mark {
            Some(mark) => self.marked.replace(mark, ""),
            None => self.marked.clone(),
        }
    }

    /// What follows `other`, if this begins with it: the same text with the same special tokens in it.
    pub fn strip_prefix(&self, other: &Rendered) -> Option<Rendered> {
        let mut rest = self.marked.chars();
        for wanted in other.marked.chars() {
            let found = rest.next()?;
            let is_same = match (other.mark == Some(wanted), self.mark == Some(found)) {
                (false, false) => wanted == found,
                (in_other, in_this) => in_other == in_this,
            };
            if !is_same {
                return None;
            }
        }
        Some(Rendered { marked: rest.as_str().to_owned(), mark: self.mark })
    }

    /// What follows `text`, if this begins with it, whatever looks like special tokens in it.
    pub fn strip_text(&self, text: &str) -> Option<Rendered> {
        let mut rest = self.marked.chars();
        for wanted in text.chars() {
            let found = rest.find(|&c| self.mark != Some(c))?;
            if wanted != found {
                return None;
            }
        }
        Some(Rendered { marked: rest.as_str().to_owned(), mark: self.mark })
    }

    pub fn is_empty(&self) -> bool {
        self.marked.is_empty()
    }
}

impl Tokenizer {
    /// The ids of a prompt. Special tokens are read where the template wrote them and nowhere else; BOS comes first
    /// exactly once if the template writes it or the model wants it.
    pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<TokenId>, TokenizerError> {
        self.encode_marked(&rendered.marked, rendered.mark)
    }

    /// The ids of what follows other ids: no BOS, and `None` unless it begins with a special token. Nothing merges
    /// across one, so these ids are the same whatever comes before; other text might have become others.
    pub fn encode_continuation(&self, rest: &Rendered) -> Result<Option<Vec<TokenId>>, TokenizerError> {
        let ids = self.encode_unframed(&rest.marked, rest.mark)?;
        let begins_with_special = ids.first().is_some_and(|id| self.is_special(*id));
        Ok(begins_with_special.then_some(ids))
    }
}

impl ChatTemplate {
    /// Compiles the template that came with a model, if one did.
    pub fn of(metadata: &Metadata) -> Result<Option<Self>, ChatError> {
        let Some(source) = metadata.chat_template()? else { return Ok(None) };
        let path = metadata.path().to_owned();
        match Self::new(source) {
            Ok(template) => Ok(Some(ChatTemplate { path: Some(path), ..template })),
            Err(error) => Err(error.in_model(Some(&path))),
        }
    }

    /// Compiles a template.
    pub fn new(source: &str) -> Result<Self, ChatError> {
        let source = source::prepare(source)?;
        environment::on_large_stack(|| {
            let mut environment = environment::new().map_err(|error| syntax_error(&error))?;
            environment.add_template_owned(NAME, source.clone()).map_err(|error| syntax_error(&error))?;
            Ok(ChatTemplate { environment, source, path: None })
        })
    }

    /// Renders a conversation.
    pub fn render(&self, messages: &[Message], options: &RenderOptions<'_>) -> Result<Rendered, ChatError> {
        let messages: Vec<Json> = messages
            .iter()
            .map(|message| serde_json::json!({"role": message.role, "content": message.content}))
            .collect();
        self.render_json(&messages, options)
    }

    /// Renders messages with whatever keys the template knows (`tool_calls`, content in parts), each a JSON object.
    /// As in transformers, keys without a value are dropped, and reasoning has all the names that templates use.
    pub fn render_json(&self, messages: &[Json], options: &RenderOptions<'_>) -> Result<Rendered, ChatError> {
        self.try_render(messages, options).map_err(|error| error.in_model(self.path.as_deref()))
    }

    fn try_render(&self, messages: &[Json], options: &RenderOptions<'_>) -> Result<Rendered, ChatError> {
        if let Some(name) = options.args.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(ChatError::ReservedArgument { name: name.clone() });
        }
        let messages = messages
            .iter()
            .enumerate()
            .map(|(index, message)| normalized(message).ok_or(ChatError::NoMessage { index }))
            .collect::<Result<Vec<Json>, ChatError>>()?;
        let mut outside: Vec<&str> = vec![&self.source];
        messages.iter().chain(options.args.values()).for_each(|value| strings(value, &mut outside));
        let mark = marks::choose(outside.into_iter()).ok_or(ChatError::NoMark)?;

        let marked = |text: &str| Value::from(options.tokens.special.mark(text, mark));
        let turns: Vec<Value> = messages.iter().map(|message| from_json(message, &marked)).collect();
        // As in transformers, `tools` and `documents` are always there.
        let mut variables: BTreeMap<String, Value> = BTreeMap::from([
            ("messages".to_string(), Value::from(turns)),
            ("add_generation_prompt".to_string(), Value::from(options.add_generation_prompt)),
            ("tools".to_string(), Value::from(())),
            ("documents".to_string(), Value::from(())),
            (MARK_VARIABLE.to_string(), Value::from(mark.to_string())),
        ]);
        variables.extend(options.tokens.variables.iter().map(|(name, text)| (name.to_string(), text.into())));
        variables.extend(options.now.map(|now| ("strftime_now".to_string(), environment::strftime_now(now))));
        variables.extend(options.args.iter().map(|(name, value)| (name.clone(), from_json(value, &marked))));

        environment::on_large_stack(|| {
            let template = self.environment.get_template(NAME).map_err(|error| render_error(&error))?;
            let marked =
                template.render(Value::from_pairs(variables)).map_err(|error| render_error(&error))?;
            Ok(Rendered { marked, mark: Some(mark) })
        })
    }
}

impl ChatTemplate {
    /// Refuses an argument that the template does not have in it. As in transformers, rendering ignores it.
    pub fn check_argument(&self, name: &str, tokens: &TemplateTokens) -> Result<(), ChatError> {
        if RESERVED.contains(&name) {
            return Ok(());
        }
        // minijinja's list of what is read lacks `{% set x = x | default(1) %}`: any mention will do.
        let mut words = self.source.split(|c: char| c != '_' && !c.is_alphanumeric());
        if words.any(|word| word == name) {
            return Ok(());
        }
        let known = match self.free_variables(tokens)?.as_slice() {
            [] => "it reads none".to_owned(),
            names => format!("it reads {}", names.join(", ")),
        };
        Err(ChatError::UnknownArgument { name: name.to_owned(), known })
    }

    /// Variables that the template reads and that nobody sets but an argument, by name.
    fn free_variables(&self, tokens: &TemplateTokens) -> Result<Vec<String>, ChatError> {
        environment::on_large_stack(|| {
            let template = self.environment.get_template(NAME).map_err(|error| render_error(&error))?;
            let is_given = |name: &str| {
                let is_function =
                    name == "strftime_now" || self.environment.globals().any(|(known, _)| known == name);
                is_function || RESERVED.contains(&name) || tokens.variables.contains_key(name)
            };
            let reads: BTreeSet<_> = template.undeclared_variables(false).into_iter().collect();
            Ok(reads.into_iter().filter(|name| !is_given(name)).collect())
        })
    }
}

/// A message as templates expect it; `None` for what is no JSON object.
fn normalized(message: &Json) -> Option<Json> {
    const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
    let given = message.as_object()?.iter().filter(|(_, value)| !value.is_null());
    let mut message: serde_json::Map<String, Json> =
        given.map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(reasoning) = REASONING.iter().find_map(|name| message.get(*name)).cloned() {
        message.entry("thinking").or_insert_with(|| reasoning.clone());
        message.insert("reasoning_content".to_string(), reasoning);
    }
    Some(Json::Object(message))
}

/// All strings in a JSON value, but not its keys: those come from the program.
fn strings<'a>(value: &'a Json, out: &mut Vec<&'a str>) {
    match value {
        Json::String(text) => out.push(text),
        Json::Array(values) => values.iter().for_each(|value| strings(value, out)),
        Json::Object(map) => map.values().for_each(|value| strings(value, out)),
        _ => {}
    }
}

fn from_json(value: &Json, marked: &impl Fn(&str) -> Value) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(bool) => Value::from(*bool),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::from(int),
            (None, Some(int)) => Value::from(int),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => marked(text),
        Json::Array(values) => values.iter().map(|value| from_json(value, marked)).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.clone(), from_json(value, marked))))
        }
    }
}

fn syntax_error(error: &minijinja::Error) -> ChatError {
    ChatError::Syntax { line: error.line().unwrap_or(0), message: message(error) }
}

fn render_error(error: &minijinja::Error) -> ChatError {
    let line = error.line().unwrap_or(0);
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(Raised(message)) = source.downcast_ref() {
            return ChatError::Refused { line, message: message.clone() };
        }
        cause = source.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => ChatError::TooManySteps { line, limit: MAX_STEPS },
        _ => ChatError::Render { line, message: message(error) },
    }
}

fn message(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
