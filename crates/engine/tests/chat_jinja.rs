//! Templates render as Jinja2 does with transformers' settings (`chat_jinja/cases.json`, made by `make.py` there).

use std::collections::BTreeMap;

use limpid_engine::chat::{ChatTemplate, DateTime, Message, RenderOptions, TemplateTokens};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    messages: Vec<Turn>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

/// Jinja2 gives a text or an error.
#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    args: BTreeMap<String, serde_json::Value>,
    text: Option<String>,
    error: Option<String>,
}

/// What differs: minijinja has no `%` for strings (its filter `format` does the same) and no filter `wordcount`, and
/// its `int` refuses what is no number.
const KNOWN_DIFFERENCES: &[&str] = &["percent", "wordcount", "int of no number"];

fn render(case: &Case, messages: &[Message]) -> Result<String, String> {
    let tokens = TemplateTokens::default();
    let now = DateTime { year: 2026, month: 3, day: 5, hour: 7, minute: 8, second: 9 };
    let options = RenderOptions { args: case.args.clone(), now: Some(now), ..RenderOptions::new(&tokens) };
    let template = ChatTemplate::new(&case.template).map_err(|error| error.to_string())?;
    template.render(messages, &options).map(|rendered| rendered.text()).map_err(|error| error.to_string())
}

#[test]
fn equals_jinja2() {
    let cases: Cases = serde_json::from_str(include_str!("chat_jinja/cases.json")).unwrap();
    let messages: Vec<Message> =
        cases.messages.into_iter().map(|turn| Message { role: turn.role, content: turn.content }).collect();
    let mut failures = Vec::new();
    for case in &cases.cases {
        let found = render(case, &messages);
        let same = match (&found, &case.text) {
            (Ok(found), Some(expected)) => found == expected,
            (Err(_), None) => true,
            _ => false,
        };
        if same == KNOWN_DIFFERENCES.contains(&case.name.as_str()) {
            let expected = case.text.as_ref().ok_or(&case.error);
            failures.push(format!(
                "{}: {}\n  found    {found:?}\n  expected {expected:?}",
                case.name, case.template
            ));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
