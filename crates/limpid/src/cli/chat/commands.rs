//! What a line of a chat asks for: a message, or a command that begins with a slash.

use std::path::PathBuf;

/// A line that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Message(String),
    Help,
    Reset,
    Regen,
    ShowSystem,
    System(String),
    ShowSettings,
    Set(Vec<(String, String)>),
    Stats,
    Save { path: PathBuf, overwrites: bool },
    Load(PathBuf),
    Quit,
}

/// How each command is written, and what it does.
const COMMANDS: [(&str, &str); 10] = [
    ("/help", "this list"),
    ("/reset", "forget what was said; the system message and the settings stay"),
    ("/regen", "answer the last message again, with another seed unless one is set"),
    ("/system [TEXT]", "set the system message (\"\" removes it), or show it; the conversation goes on"),
    (
        "/set [NAME VALUE ...]",
        "change how answers are chosen and how long they are: /set temperature 0.2 stop \"\\n\\n\"; alone: show them",
    ),
    ("/stats", "what the conversation took so far"),
    ("/save FILE", "write messages and settings as JSON; /save! overwrites"),
    ("/load FILE", "read them back"),
    ("/quit", "end; so does Ctrl-D on an empty line"),
    ("//...", "a message that begins with one slash"),
];

/// What `/help` says.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().map(|(form, what)| format!("{form:<22} {what}\n"));
    lines.collect::<String>()
        + "A line that ends with a backslash goes on in the next one. Between lines of \"\"\" everything is one \
           message.\nCtrl-C stops an answer, and what was said stays."
}

/// A message or command; `None` for a line with nothing in it.
pub(super) fn parse(line: &str) -> Result<Option<Ask>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    if line.starts_with("//") {
        return Ok(Some(Ask::Message(line[1..].to_owned())));
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Some(Ask::Message(line.to_owned()))) };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    command_of(name, rest).map(Some)
}

fn command_of(name: &str, rest: &str) -> Result<Ask, String> {
    let alone = |ask: Ask| match rest {
        "" => Ok(ask),
        _ => Err(format!("/{name} takes nothing after it, and there is `{rest}`")),
    };
    match name {
        "help" | "?" => alone(Ask::Help),
        "reset" => alone(Ask::Reset),
        "regen" => alone(Ask::Regen),
        "stats" => alone(Ask::Stats),
        "quit" | "exit" => alone(Ask::Quit),
        "system" if rest.is_empty() => Ok(Ask::ShowSystem),
        "system" if rest.starts_with('"') => match words(rest)?.as_slice() {
            [text] => Ok(Ask::System(text.clone())),
            _ => Err(format!(
                "more follows the quoted text: /system TEXT, or a JSON string, {}",
                r#"or "" to remove it"#
            )),
        },
        "system" => Ok(Ask::System(rest.to_owned())),
        "set" if rest.is_empty() => Ok(Ask::ShowSettings),
        "set" => pairs(rest).map(Ask::Set),
        "save" | "save!" | "load" if rest.is_empty() => {
            Err(format!("/{name} needs a file: /{name} conversation.json"))
        }
        "save" | "save!" => Ok(Ask::Save { path: rest.into(), overwrites: name == "save!" }),
        "load" => Ok(Ask::Load(rest.into())),
        _ => {
            let names =
                COMMANDS.iter().filter_map(|(form, _)| form.split(' ').next()).take(COMMANDS.len() - 1);
            Err(format!(
                "there is no command /{name}; they are {}. A message that begins with a slash is written with two",
                names.collect::<Vec<_>>().join(", ")
            ))
        }
    }
}

/// Names and values by turns; a value with spaces or line breaks is written as a JSON string.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    let (pairs, odd) = words.as_chunks();
    match odd {
        [] => Ok(pairs.iter().map(|[name, value]| (name.clone(), value.clone())).collect()),
        [name, ..] => {
            Err(format!("{name} has no value: /set NAME VALUE, where `default` takes a setting back"))
        }
    }
}

/// Words between spaces, where one that begins with a quote is a JSON string, and one with a bracket a JSON list.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let n_bytes = if rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let word = strings.next().transpose().ok().flatten();
            words.push(word.ok_or_else(|| format!("{rest} is no JSON string: it ends with a quote"))?);
            strings.byte_offset()
        } else if rest.starts_with('[') {
            let mut lists = serde_json::Deserializer::from_str(rest).into_iter::<Vec<serde_json::Value>>();
            let list = lists.next().transpose().ok().flatten();
            list.ok_or_else(|| format!("{rest} is no JSON list: it ends with a bracket"))?;
            let end = lists.byte_offset();
            words.push(rest[..end].to_owned());
            end
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            end
        };
        rest = rest[n_bytes..].trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let message = |text: &str| Some(Ask::Message(text.to_owned()));
        for (line, expected) in [
            ("", None),
            ("  ", None),
            (" hello ", message(" hello ")),
            ("//etc/hosts", message("/etc/hosts")),
            (" /help", message(" /help")),
            ("/help", Some(Ask::Help)),
            ("/regen ", Some(Ask::Regen)),
            ("/system", Some(Ask::ShowSystem)),
            ("/system Be  brief. ", Some(Ask::System("Be  brief.".to_owned()))),
            ("/system \"\"", Some(Ask::System(String::new()))),
            ("/system \"a\\nb\"", Some(Ask::System("a\nb".to_owned()))),
            ("/save a b.json", Some(Ask::Save { path: "a b.json".into(), overwrites: false })),
            ("/save! a", Some(Ask::Save { path: "a".into(), overwrites: true })),
            ("/load a", Some(Ask::Load("a".into()))),
            ("/set", Some(Ask::ShowSettings)),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn settings_are_names_and_values() {
        let set = |line: &str| match parse(line) {
            Ok(Some(Ask::Set(pairs))) => Ok(pairs),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(set("/set temperature 0.2"), Ok(vec![pair("temperature", "0.2")]));
        let two = set("/set stop \"a b\\n\" stop ü  seed 1");
        assert_eq!(two, Ok(vec![pair("stop", "a b\n"), pair("stop", "ü"), pair("seed", "1")]));
        let list = set("/set dry_breakers [\"\\n\", \":\"] seed 1");
        assert_eq!(list, Ok(vec![pair("dry_breakers", "[\"\\n\", \":\"]"), pair("seed", "1")]));
        assert!(set("/set dry_breakers [1").unwrap_err().contains("no JSON list"));
        assert!(set("/set temperature").unwrap_err().contains("temperature has no value"));
        assert!(set("/set stop \"a").unwrap_err().contains("no JSON string"));
    }

    #[test]
    fn an_unknown_command_names_the_known_ones() {
        let error = parse("/halt now").unwrap_err();
        assert!(error.contains("no command /halt; they are /help, /reset, /regen, /system, /set"), "{error}");
        assert!(error.contains("/quit. A message that begins with a slash is written with two"), "{error}");
        assert!(parse("/reset all").unwrap_err().contains("takes nothing after it"));
        assert!(parse("/save").unwrap_err().contains("needs a file"));
    }

    #[test]
    fn help_has_every_command() {
        let help = help();
        for name in ["/help", "/reset", "/regen", "/system", "/set", "/stats", "/save", "/load", "/quit"] {
            assert!(help.contains(name), "{name}");
        }
    }
}
