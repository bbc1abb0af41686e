//! `limpid batch`: a file of requests goes in, a file of answers comes out.

use super::folder::{Folder, SMALL};
use super::harness::{expect_error, limpid, limpid_with_stdin};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What the answers to `lines` are, `sequences` at a time.
fn batch(folder: &Path, lines: &[String], sequences: &str) -> Vec<Value> {
    let [input, output] = ["in.jsonl", "out.jsonl"].map(|name| folder.join(name));
    fs::write(&input, lines.join("\n")).expect("a file");
    let [input, output] = [&input, &output].map(|path| path.to_str().expect("UTF-8"));
    let args = ["batch", input, output, "--sequences", sequences, "--context", "200"];
    let outcome = limpid(&args).success();
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("requests/s") || lines.is_empty(), "{}", outcome.stderr);
    let answers = fs::read_to_string(output).expect("the answers");
    answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn line(custom_id: &str, url: &str, body: &Value) -> String {
    json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).to_string()
}

fn completion(custom_id: &str, more: Value) -> String {
    let mut body = json!({"model": "pocket", "prompt": "Once upon a time", "seed": 3, "max_tokens": 12});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    line(custom_id, "/v1/completions", &body)
}

const ORDER: &str =
    "penalties,dry,top_n_sigma,top_k,typical_p,top_p,min_p,epsilon_cutoff,eta_cutoff,xtc,temperature";

fn other_samplers() -> Value {
    json!({"typical_p": 0.95, "epsilon_cutoff": 1e-4, "eta_cutoff": 1e-4, "top_n_sigma": 3, "xtc_threshold": 0.2,
        "xtc_probability": 0.5, "dynatemp_min": 0.5, "dynatemp_max": 1.5, "dynatemp_exponent": 2, "min_p": 0.001,
        "frequency_penalty": 0.1, "presence_penalty": 0.1, "penalty_scope": "last_64", "dry_multiplier": 0.8,
        "dry_base": 2, "dry_allowed_length": 3, "dry_breakers": [21], "no_repeat_ngram_size": 4,
        "bad_words_ids": [[266], [1736, 449]], "suppress_tokens": [7], "logit_bias": {"8": -100, "9": 1.5},
        "sampler_order": ORDER})
}

/// What may not depend on anything but the request.
fn without_time(answer: &Value) -> Value {
    let mut answer = answer.clone();
    let body = &mut answer["response"]["body"];
    if let Some(body) = body.as_object_mut() {
        body.remove("created");
        body.remove("id");
        body["limpid"].as_object_mut().expect("an object").remove("prompts");
    }
    json!([answer["custom_id"], answer["response"]["body"], answer["error"]["message"]])
}

#[test]
fn every_answer_is_the_one_that_the_request_gets_alone() {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Tell me a story."}], "seed": 5,
        "max_completion_tokens": 20, "logprobs": true, "top_logprobs": 2});
    let lines = [
        completion("plain", json!({})),
        line("chat", "/v1/chat/completions", &chat),
        completion("hot", json!({"temperature": 1.5, "top_k": 20, "n": 3})),
        completion("greedy", json!({"temperature": 0, "max_tokens": 60, "logprobs": 2, "echo": true})),
        completion("beams", json!({"num_beams": 4, "num_return_sequences": 2, "length_penalty": 1})),
        completion("best", json!({"best_of": 3, "repetition_penalty": 1.2})),
        completion("ids", json!({"prompt": [5, 6, 7], "stop": ["e", " the"], "min_tokens": 2})),
        completion("other", other_samplers()),
        completion("mirostat", json!({"mirostat_tau": 3, "mirostat_eta": 0.2, "n": 2})),
        completion("wrong", json!({"top_p": 1.5})),
        completion(
            "long",
            json!({"prompt": format!("Hello {}", "a fox ".repeat(100)),
            "context_overflow": "truncate_left", "echo": true, "logprobs": 0}),
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let together = batch(folder.path(), &lines, "6");
    assert_eq!(together.len(), lines.len());
    for (line, answer) in lines.iter().zip(&together) {
        let alone = batch(folder.path(), std::slice::from_ref(line), "4");
        assert_eq!(without_time(&alone[0]), without_time(answer));
    }
    let body = |i: usize| &together[i]["response"]["body"];
    assert_eq!(body(0)["object"], "text_completion");
    assert_eq!(body(0)["usage"]["completion_tokens"], 12);
    assert_eq!(body(0)["limpid"]["seed"], 3);
    let choice = &body(0)["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &body(0)["limpid"]["choices"][0]["stop"]["reason"]),
        (&json!("length"), &json!("max_tokens"))
    );
    assert_eq!(choice["logprobs"], Value::Null);
    assert_eq!(body(1)["object"], "chat.completion");
    assert_eq!(body(1)["choices"][0]["message"]["role"], "assistant");
    let content = body(1)["choices"][0]["logprobs"]["content"].as_array().expect("asked for");
    assert_eq!(content[0]["top_logprobs"].as_array().expect("two").len(), 2);
    assert_eq!(body(2)["choices"].as_array().expect("three").len(), 3);
    let echo = &body(3)["choices"][0];
    assert!(echo["text"].as_str().expect("a text").starts_with("Once upon a time"), "{echo}");
    let n_tokens = body(3)["usage"]["total_tokens"].as_u64().expect("a number") as usize;
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(echo["logprobs"][list].as_array().expect("a list").len(), n_tokens, "{list}");
    }
    assert_eq!(echo["logprobs"]["token_logprobs"][0], Value::Null, "nothing comes before the first");
    assert!(body(4)["limpid"]["choices"][1]["score"].is_number());
    assert_eq!(body(7)["choices"][0]["finish_reason"], "length", "{}", together[7]);
    assert!(body(10)["limpid"]["prompts"][0]["dropped"]["n_tokens"].as_u64().expect("a number") > 0);
    let cut = &body(10)["choices"][0];
    let tokens = cut["logprobs"]["tokens"].as_array().expect("a list");
    let text: String = tokens.iter().map(|token| token.as_str().expect("text")).collect();
    assert_eq!(
        cut["text"].as_str().expect("a text").trim_start(),
        text.trim_start(),
        "what was dropped is no echo"
    );
    assert!(!text.contains("Hello"), "{text}");
}

#[test]
fn an_answer_is_that_of_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = batch(folder.path(), &[completion("a", json!({"temperature": 0.8, "top_p": 0.95}))], "1");
    let args = ["run", "--json", "--raw", "--seed", "3", "--max-tokens", "12", "--temperature", "0.8"];
    let run = limpid(&[&args[..], &["--top-p", "0.95", "Once upon a time"]].concat()).json();
    assert_eq!(answer[0]["response"]["body"]["choices"][0]["text"], run["text"]);
}

#[test]
fn what_is_wrong_with_a_line_is_its_answer_and_others_go_on() {
    let body = json!({"model": "m", "prompt": "a"});
    let chat = |message: Value| json!({"model": "m", "messages": [message]});
    let cases = [
        ("{".to_owned(), "line 1 is no JSON"),
        ("[1]".to_owned(), "the request is [1], an object is expected"),
        (json!({"method": "POST"}).to_string(), "`custom_id` is missing"),
        (line("a", "/v1/embeddings", &body), "/v1/completions or /v1/chat/completions is expected"),
        (json!({"custom_id": "b", "method": "GET"}).to_string(), "`method` is \"GET\", one of POST"),
        (
            json!({"custom_id": "c", "method": "POST", "url": "/v1/completions"}).to_string(),
            "`body` is missing",
        ),
        (line("a", "/v1/completions", &body), "`custom_id` is \"a\", which an earlier line has too"),
        (completion("d", json!({"suffix": "x"})), "`suffix` is not supported; leave it out"),
        (completion("e", json!({"prompt": ["a", "b"]})), "list of 2: give each a line of its own"),
        (completion("f", json!({"temperature": "hot"})), "`temperature` is \"hot\", a number is expected"),
        (completion("g", json!({"top_p": 1.5})), "top_p is 1.5, allowed is from 0 to 1"),
        (completion("s", json!({"logit_bias": [1]})), "`logit_bias` is [1], an object of token ids"),
        (completion("t", json!({"bad_words_ids": [1]})), "`bad_words_ids` is [1], a list of lists"),
        (completion("u", json!({"penalty_scope": "some"})), "`penalty_scope` is \"some\", \"output\""),
        (completion("v", json!({"sampler_order": "top_q"})), "sampler_order is `top_q`, allowed is notes"),
        (completion("w", json!({"suppress_tokens": [99999]})), "suppress_tokens is 99999, allowed is tokens"),
        (
            completion("x", json!({"temperature": 1, "dynatemp_min": 0.5, "dynatemp_max": 1})),
            "give one of them",
        ),
        (completion("h", json!({"max_tokens": 500})), "500"),
        (completion("i", json!({"n": 3})), "it takes 3 texts side by side, and --sequences is 2"),
        (completion("j", json!({"length_penalty": 1})), "`length_penalty` needs `num_beams` of 2 or more"),
        (completion("k", json!({"num_beams": 2, "temperature": 0.5})), "beams do not draw"),
        (completion("l", json!({"stream": true})), "`stream` is true"),
        (completion("m", json!({"prompt": null})), "`prompt` is missing"),
        (completion("n", json!({"stop": [1]})), "a string or a list of strings is expected"),
        (completion("o", json!({"stop_token_ids": [99999]})), "stop_token_ids is 99999"),
        (
            line("p", "/v1/chat/completions", &chat(json!({"role": "user"}))),
            "`messages[0].content` is missing",
        ),
        (
            line("q", "/v1/chat/completions", &chat(json!({"role": "user", "content": "a", "name": "b"}))),
            "`messages[0].name` is not supported",
        ),
        (
            line(
                "r",
                "/v1/chat/completions",
                &json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "top_logprobs": 1}),
            ),
            "`top_logprobs` needs `logprobs`",
        ),
    ];
    let mut lines: Vec<String> = cases.iter().map(|(line, _)| line.clone()).collect();
    lines.push(String::new());
    lines.push(completion("good", json!({})));
    let folder = tempfile::tempdir().expect("a folder");
    let answers = batch(folder.path(), &lines, "2");
    assert_eq!(answers.len(), cases.len() + 1, "an empty line is no request");
    for ((line, expected), answer) in cases.iter().zip(&answers) {
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{line}: {answer}"));
        assert!(message.contains(expected), "{line}: {message}");
        assert_eq!(answer["response"], Value::Null);
    }
    assert_eq!(answers[8 - 1]["error"]["param"], "suffix");
    let good = answers.last().expect("the last one");
    assert_eq!((&good["custom_id"], &good["error"]), (&json!("good"), &Value::Null));
    assert_eq!(batch(folder.path(), &[], "2"), [Value::Null; 0]);
}

/// The message of each line's error.
fn errors(lines: &[String]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = batch(folder.path(), lines, "2");
    let message = |answer: &Value| answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    answers.iter().map(message).collect()
}

#[test]
fn a_field_that_means_nothing_without_another_is_refused() {
    for (i, (body, expected)) in [
        (json!({"dry_base": 2}), "`dry_base` needs `dry_multiplier`, which is off: give both, or neither"),
        (json!({"dry_allowed_length": 2}), "`dry_allowed_length` needs `dry_multiplier`"),
        (json!({"dry_breakers": [1]}), "`dry_breakers` needs `dry_multiplier`"),
        (json!({"xtc_threshold": 0.2}), "`xtc_threshold` needs `xtc_probability`"),
        (json!({"mirostat_eta": 0.2}), "`mirostat_eta` needs `mirostat_tau`"),
        (json!({"dynatemp_exponent": 2}), "`dynatemp_exponent` needs `dynatemp_max`"),
        (json!({"dynatemp_min": 0.5}), "`dynatemp_min` needs `dynatemp_max`"),
        (json!({"dynatemp_max": 0.5}), "`dynatemp_max` needs `dynatemp_min`"),
        (json!({"logprobs_mode": "processed"}), "`logprobs_mode` needs `logprobs`"),
        (json!({"logprobs_mode": "raw", "prompt_logprobs": 1}), "`logprobs_mode` needs `logprobs`"),
        (json!({"num_beams": 1, "early_stopping": true}), "`early_stopping` needs `num_beams` of 2 or more"),
        (json!({"num_return_sequences": 2}), "`num_return_sequences` needs `num_beams` of 2 or more"),
        // Said to be off, together with how it would work.
        (json!({"dry_multiplier": 0, "dry_base": 2, "xtc_probability": 0, "xtc_threshold": 0.1}), ""),
        (json!({"dry_base": null, "logprobs": 0, "logprobs_mode": "processed"}), ""),
        (json!({"suffix": null, "user": "me", "metadata": {}, "store": false, "service_tier": "auto"}), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let found = &errors(&[completion(&i.to_string(), body.clone())])[0];
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{body}: {found}");
    }
}

#[test]
fn a_key_is_there_once_and_numbers_are_shown_as_they_are() {
    let twice = |body: &str| {
        format!(r#"{{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {body}}}"#)
    };
    let found = errors(&[twice(r#"{"model": "m", "prompt": "a", "logit_bias": {"5": 1, "5": 2}}"#)]);
    assert_eq!(found, ["`body.logit_bias.5` is there twice: give it once"]);
    let found = errors(&[twice(r#"{"model": "m", "prompt": "a", "seed": 18446744073709551616}"#)]);
    let range = "a whole number from 0 to 18446744073709551615 is expected";
    assert_eq!(found, [format!("`seed` is more than 18446744073709551615, {range}")]);
    let found =
        errors(&[twice(r#"{"model": "m", "prompt": "a", "max_tokens": 1, "seed": 18446744073709551615}"#)]);
    assert_eq!(found, [""]);
}

#[test]
fn a_prompt_far_beyond_the_context_is_refused_before_it_is_tokenized() {
    let long = "a fox ".repeat(1_000_000);
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": long}]});
    let found = errors(&[completion("a", json!({"prompt": long})), line("b", "/v1/chat/completions", &chat)]);
    for message in &found {
        let is_told = message.contains(" tokens at least, as no token stands for more than ")
            && message.ends_with(" bytes, and the context holds 200. Shorten the prompt");
        assert!(is_told, "{message}");
    }
    assert!(found[0].starts_with("the prompt has 6,000,000 bytes"), "{}", found[0]);
    // One that may fit is tokenized, and told to the token.
    let found = errors(&[completion("a", json!({"prompt": "a fox ".repeat(150)}))]);
    assert!(found[0].starts_with("the prompt has ") && found[0].contains(" tokens"), "{}", found[0]);
}

#[test]
fn texts_break_repeats() {
    let one = |breakers: Value| {
        let more = json!({"max_tokens": 40, "temperature": 0, "dry_multiplier": 5, "dry_allowed_length": 1,
            "dry_breakers": breakers});
        completion(&breakers.to_string(), more)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let lines =
        [one(json!([])), one(json!([" "])), one(json!(["no token has all of this"])), one(json!([["a"]]))];
    let answers = batch(folder.path(), &lines, "1");
    let text = |i: usize| &answers[i]["response"]["body"]["choices"][0]["text"];
    assert!(text(0).is_string() && text(0) != text(1), "{}", text(0));
    let message = |i: usize| answers[i]["error"]["message"].as_str().expect("an error");
    assert!(message(2).contains("allowed is texts that a token of the model has in it"), "{}", message(2));
    assert!(message(3).contains("a list of texts and token ids"), "{}", message(3));
}

#[test]
fn a_default_is_not_blamed_on_the_request() {
    let folder = Folder::new(SMALL);
    folder.write("generation_config.json", &json!({"typical_p": 0.9, "suppress_tokens": [0, 1]}));
    let [input, output] = ["in.jsonl", "out.jsonl"].map(|name| folder.file(name));
    let ids = json!({"prompt": [5], "temperature": 0, "max_tokens": 2});
    let lines = [
        completion("a", json!({"prompt": [5], "sampler_order": "vllm"})),
        completion("b", json!({"prompt": [5], "sampler_order": "vllm", "typical_p": 0.9})),
        completion("c", json!({"prompt": [5], "sampler_order": "vllm", "typical_p": 1, "max_tokens": 1})),
        completion("d", ids.clone()),
    ];
    fs::write(&input, lines.join("\n")).expect("a file");
    let [input, output] = [&input, &output].map(|path| path.to_str().expect("UTF-8"));
    limpid(&["batch", "-m", folder.as_str(), input, output]).success();
    let answers = fs::read_to_string(output).expect("the answers");
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let message = |i: usize| answers[i]["error"]["message"].as_str().unwrap_or_default();
    let has_no_place = "allowed is 1 (off): sampler_order vllm has no place for typical_p";
    let by_default = "typical_p is 0.9 by default (generation_config.json)";
    assert_eq!(message(0), format!("{by_default}, {has_no_place}; set it yourself"));
    assert_eq!(message(1), format!("typical_p is 0.9, {has_no_place}"));
    assert_eq!((message(2), message(3)), ("", ""));
}

#[test]
fn a_chat_has_messages_of_known_roles() {
    let chat = |messages: Value| {
        line("a", "/v1/chat/completions", &json!({"model": "m", "messages": messages, "max_tokens": 1}))
    };
    let roles = "one of system, developer, user, assistant, tool is expected";
    assert_eq!(errors(&[chat(json!([]))]), ["`messages` is empty: one message or more is expected"]);
    let found = errors(&[chat(json!([{"role": "wizard", "content": "a"}]))]);
    assert_eq!(found, [format!("`messages[0].role` is \"wizard\", {roles}")]);
    let all = ["system", "developer", "user", "assistant", "tool"]
        .map(|role| json!({"role": role, "content": "a"}));
    assert_eq!(errors(&[chat(json!(all))]), [""]);
    assert_eq!(
        errors(&[chat(json!([{"role": "tool", "content": "a", "tool_call_id": "x"}]))]),
        ["`messages[0].tool_call_id` is not supported; leave it out"]
    );
}

#[test]
fn files_that_do_not_work_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.jsonl");
    fs::write(&path, "").expect("a file");
    let path = path.to_str().expect("UTF-8");
    expect_error(&["batch", "/nowhere.jsonl", "out.jsonl"], 1, &["cannot read /nowhere.jsonl"]);
    expect_error(&["batch", path, "/nowhere/out.jsonl"], 1, &["cannot write /nowhere/out.jsonl"]);
    expect_error(&["batch", path, "a", "--sequences", "0"], 2, &["a whole number from 1 to 64"]);
    expect_error(
        &["batch", path, "a", "--context", "100k"],
        2,
        &["--context is", "the model was made for", "lower it"],
    );
}

#[test]
fn requests_come_out_of_a_pipe_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out.jsonl");
    let output = output.to_str().expect("UTF-8");
    let lines = format!("\u{feff}{}\n\n{}", completion("a", json!({})), completion("b", json!({"n": 2})));
    for input in ["-", "/dev/stdin"] {
        let args = ["batch", input, output, "--sequences", "1", "--context", "200"];
        limpid_with_stdin(&args, lines.as_bytes()).success();
        let answers = fs::read_to_string(output).expect("the answers");
        let answers: Vec<Value> =
            answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(answers[0]["response"]["body"]["usage"]["completion_tokens"], 12);
        let message = answers[1]["error"]["message"].as_str().expect("a message");
        assert_eq!(message, "it takes 2 texts side by side, and --sequences is 1: raise it, to at most 64");
    }
}

#[test]
fn a_file_is_not_replaced_by_its_own_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let [input, link] = ["in.jsonl", "link.jsonl"].map(|name| folder.path().join(name));
    fs::write(&input, completion("a", json!({}))).expect("a file");
    fs::hard_link(&input, &link).expect("a link");
    let before = fs::read(&input).expect("the file");
    let [name, link] = [&input, &link].map(|path| path.to_str().expect("UTF-8"));
    for output in [name, link] {
        expect_error(&["batch", name, output], 2, &["is both IN and OUT; name another file"]);
        assert_eq!(fs::read(&input).expect("the file"), before);
    }
    expect_error(&["batch", name, "-"], 2, &["answers go to a file"]);
}
