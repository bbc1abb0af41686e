//! Whole conversations and single expressions render as in transformers, and give the same ids.
//!
//! The golden files are made by `tools/goldens/chat_goldens.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use limpid_engine::chat::{ChatError, ChatTemplate, DateTime, RenderOptions, TemplateTokens};
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::weights::{Metadata, WeightsFile};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Conversations {
    conversations: BTreeMap<String, Conversation>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Value>,
    tools: Option<Value>,
    documents: Option<Value>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
}

/// What one template, or one list of templates, is rendered with.
#[derive(Deserialize)]
struct Golden {
    template: Option<String>,
    conversation: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    bos_token: Option<String>,
    eos_token: Option<String>,
    now: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: Option<String>,
    conversation: Option<String>,
    checkpoint: Option<String>,
    #[serde(default = "yes")]
    add_generation_prompt: bool,
    expected: Option<String>,
    expected_error: Option<ExpectedError>,
    ids: Option<Vec<u32>>,
    ids_messages_as_text: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct ExpectedError {
    raised_by_template: bool,
    message: String,
}

fn yes() -> bool {
    true
}

/// How the expressions begin that Python's Jinja knows and minijinja does not: `%` for strings, a few methods, filters
/// and tests, `dict(...)` of pairs. None of the templates in `tests/goldens/chat` uses them; a template that does is
/// refused with the line.
const KNOWN_DIFFERENCES: &[&str] = &[
    r#"{{ '%s and %d' % ('x', 3) }} {{ '%.2f' % 1.005 }}"#,
    r#"{{ '3' | int + 1 }} {{ 'x' | int }}"#,
    r#"{{ 'a' is in ['a'] }} {{ 2 is eq 2 }}"#,
    r#"{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3) }}|{{ 'a'.center(3) }}|{{ '7'.zfill(3) }}"#,
    r#"{{ 'abc' | list }} {{ 'a b c' | wordcount }} {{ 'x' | safe }} {{ '<b>&"' | escape }} {{ '<b>' | e }}"#,
    r#"{{ 'abcdefghij' | truncate(6) }} {{ 'a b c' | urlencode }}"#,
    r#"{{ [3, 1, 2].index(1) }} {{ [1, 1, 2].count(1) }}"#,
    r#"{{ c.rfind('l') }} {{ c.index('l') }}"#,
    r#"{{ dict(a=1, b='x') }} {{ dict([('a', 1)]) }}"#,
    r#"{{ namespace(a=1).a }} {{ joiner is defined }} {{ cycler is defined }} {{ lipsum is defined }}"#,
];

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&fs::read(goldens().join("chat").join(path)).unwrap()).unwrap()
}

/// `2026-01-05T09:07:03`
fn date_time(text: &str) -> DateTime {
    let parts: Vec<u16> = text.split(['-', 'T', ':']).map(|part| part.parse().unwrap()).collect();
    let small = |i: usize| u8::try_from(parts[i]).unwrap();
    DateTime {
        year: parts[0],
        month: small(1),
        day: small(2),
        hour: small(3),
        minute: small(4),
        second: small(5),
    }
}

/// The template's variables beside the messages.
fn args(golden: &Golden, conversation: &Conversation) -> BTreeMap<String, Value> {
    let mut args = BTreeMap::new();
    args.extend(golden.bos_token.iter().map(|text| ("bos_token".to_string(), json!(text))));
    args.extend(golden.eos_token.iter().map(|text| ("eos_token".to_string(), json!(text))));
    args.extend(conversation.tools.iter().map(|tools| ("tools".to_string(), tools.clone())));
    args.extend(conversation.documents.iter().map(|documents| ("documents".to_string(), documents.clone())));
    args.extend(golden.variables.clone());
    args.extend(conversation.variables.clone());
    args
}

fn outcome_differs(found: &Result<String, ChatError>, case: &Case) -> bool {
    match (found, &case.expected, &case.expected_error) {
        (Ok(found), Some(expected), _) => found != expected,
        (Err(ChatError::Refused { message, .. }), _, Some(expected)) => {
            !expected.raised_by_template || message != &expected.message
        }
        (Err(_), _, Some(expected)) => expected.raised_by_template,
        _ => true,
    }
}

fn check(golden: &Golden, conversations: &Conversations, failures: &mut Vec<String>) {
    let tokens = TemplateTokens::default();
    for case in &golden.cases {
        let source = case.template.as_ref().or(golden.template.as_ref()).unwrap();
        let name = case.conversation.as_ref().or(golden.conversation.as_ref()).unwrap();
        let conversation = &conversations.conversations[name];
        let options = RenderOptions {
            add_generation_prompt: case.add_generation_prompt,
            args: args(golden, conversation),
            now: Some(date_time(&golden.now)),
            ..RenderOptions::new(&tokens)
        };
        let found = ChatTemplate::new(source)
            .and_then(|template| template.render_json(&conversation.messages, &options))
            .map(|rendered| rendered.text());
        let known = KNOWN_DIFFERENCES.iter().any(|beginning| source.starts_with(beginning));
        if outcome_differs(&found, case) != known {
            let expected =
                case.expected.as_ref().ok_or(case.expected_error.as_ref().map(|error| &error.message));
            let source = if case.template.is_some() { source } else { "" };
            failures.push(format!("{name} {source}\n  found    {found:?}\n  expected {expected:?}"));
        }
    }
}

#[test]
fn expressions() {
    let mut failures = Vec::new();
    check(&read("expressions.json"), &read("conversations.json"), &mut failures);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn templates() {
    let conversations: Conversations = read("conversations.json");
    let mut failures = Vec::new();
    let mut n_templates = 0;
    for entry in fs::read_dir(goldens().join("chat/templates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let n_before = failures.len();
        check(&read(&format!("templates/{name}")), &conversations, &mut failures);
        failures[n_before..].iter_mut().for_each(|failure| *failure = format!("{name}: {failure}"));
        n_templates += 1;
    }
    assert!(n_templates > 10, "{n_templates} templates are few");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The checkpoint's own template and tokenizer.
#[test]
fn checkpoints() {
    let conversations: Conversations = read("conversations.json");
    let golden: Golden = read("checkpoints.json");
    for case in &golden.cases {
        let checkpoint = case.checkpoint.as_ref().unwrap();
        let file = WeightsFile::open(&goldens().join(checkpoint).join("hf")).unwrap();
        let Metadata::HuggingFace(metadata) = file.metadata() else { panic!("{checkpoint} is a folder") };
        let tokenizer = Tokenizer::new(file.metadata()).unwrap();
        let template = ChatTemplate::new(metadata.chat_template.as_ref().unwrap()).unwrap();
        let tokens = TemplateTokens::new(&tokenizer);
        let conversation = &conversations.conversations[case.conversation.as_ref().unwrap()];
        let options = RenderOptions {
            add_generation_prompt: case.add_generation_prompt,
            args: args(&golden, conversation),
            now: Some(date_time(&golden.now)),
            ..RenderOptions::new(&tokens)
        };
        let rendered = template.render_json(&conversation.messages, &options);
        let what = format!("{checkpoint}, {:?}", case.conversation);
        assert!(
            !outcome_differs(&rendered.as_ref().map(|r| r.text()).map_err(copy), case),
            "{what}: {rendered:?}"
        );
        let Ok(rendered) = rendered else { continue };
        let found: Vec<u32> = tokenizer.encode_rendered(&rendered).unwrap().iter().map(|id| id.0).collect();
        let expected = case.ids_messages_as_text.as_ref().or(case.ids.as_ref()).unwrap();
        assert_eq!(&found, expected, "{what}");
    }
}

/// The part of an error that is compared.
fn copy(error: &ChatError) -> ChatError {
    match error {
        ChatError::Refused { line, message } => ChatError::Refused { line: *line, message: message.clone() },
        other => ChatError::Render { line: 0, message: other.to_string() },
    }
}
