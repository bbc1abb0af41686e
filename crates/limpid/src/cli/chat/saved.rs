//! A conversation as a JSON file: OpenAI's messages, and the settings as `/set` writes them.

use super::conversation::Conversation;
use super::settings::{Settings, spelled};
use crate::cli::given::GivenOption;
use crate::prompt::read_file;
use limpid_engine::chat::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    messages: Vec<SavedMessage>,
    /// Settings that take several values have lists; flags have `on`.
    #[serde(default)]
    settings: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedMessage {
    role: String,
    content: String,
}

/// Writes a file; one that is there only if `overwrites`.
pub(super) fn save(
    path: &Path,
    overwrites: bool,
    conversation: &Conversation,
    settings: &Settings,
) -> Result<(), String> {
    let message =
        |Message { role, content }: &Message| SavedMessage { role: role.clone(), content: content.clone() };
    let setting = |GivenOption { name, values }: &GivenOption| {
        let values = if values.is_empty() { vec!["on".to_owned()] } else { values.clone() };
        (spelled(name), values)
    };
    let saved = Saved {
        messages: conversation.messages().iter().map(message).collect(),
        settings: settings.options().iter().map(setting).collect(),
    };
    let name = path.display();
    let json =
        serde_json::to_string_pretty(&saved).map_err(|error| format!("cannot write {name}: {error}"))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if !overwrites {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all((json + "\n").as_bytes()));
    written.map_err(|error| match error.kind() {
        _ if path.is_dir() => format!("{name} is a folder; name a file"),
        ErrorKind::AlreadyExists => format!("{name} is there already; /save! {name} overwrites it"),
        _ => format!("cannot write {name}: {error}"),
    })
}

/// Reads what `save` wrote, or the messages of any chat. Without settings, `settings` stays as it is.
pub(super) fn load(path: &Path) -> Result<(Conversation, Option<Settings>), String> {
    let name = path.display();
    let text = read_file(path).map_err(|error| error.to_string())?;
    let saved: Saved = serde_json::from_str(&text).map_err(|error| {
        format!("{name}: {error}; {{\"messages\": [{{\"role\": ..., \"content\": ...}}]}} is expected")
    })?;
    let message = |SavedMessage { role, content }| Message { role, content };
    let messages = saved.messages.into_iter().map(message).collect();
    let conversation = Conversation::from_messages(messages).map_err(|error| format!("{name}: {error}"))?;
    if saved.settings.is_empty() {
        return Ok((conversation, None));
    }
    let pairs = saved
        .settings
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    let none = Settings::parse(Vec::new())?;
    let settings =
        none.with(&pairs.collect::<Vec<_>>()).map_err(|error| format!("{name}: settings: {error}"))?;
    Ok((conversation, Some(settings)))
}
