//! What a client can ask for, and what it gets.

use super::harness::{Server, assembled, chat, completion, exact};
use serde_json::{Value, json};

#[test]
fn what_is_served() {
    let server = Server::start(&["--model-name", "a/b", "--model-name", "c"]);
    let models = server.get("/v1/models").success();
    let ids: Vec<_> = models["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["a/b", "c"]);
    assert_eq!(models["data"][0]["max_model_len"], 1024);
    assert_eq!(models["data"][0]["limpid"]["defaults"]["top_k"]["value"], 40);
    assert_eq!(server.get("/v1/models/a/b").success()["id"], "a/b");
    server.get("/v1/models/pocket").error(404, "model_not_found");
    assert_eq!(server.get("/health").success(), json!({"status": "ok"}));
    assert_eq!(server.get("/version").success()["version"], env!("CARGO_PKG_VERSION"));
    let message = server.post("/v1/completions", &completion(json!({}))).error(404, "model_not_found");
    assert_eq!(message, "there is no model \"pocket\" here; the one that is served is called `a/b` and `c`");
    server.post("/v1/completions", &completion(json!({"model": "c"}))).success();
}

/// Both endpoints, with much that can be asked for.
fn various() -> Vec<(&'static str, Value)> {
    let (completions, chats) = ("/v1/completions", "/v1/chat/completions");
    vec![
        (completions, completion(json!({}))),
        (chats, chat(json!({}))),
        (completions, completion(json!({"n": 3, "logprobs": 2, "echo": true, "return_token_ids": true}))),
        (chats, chat(json!({"n": 2, "logprobs": true, "top_logprobs": 3, "return_token_ids": true}))),
        (completions, completion(json!({"prompt": ["Once", "The fox"], "n": 2, "temperature": 1.4}))),
        (completions, completion(json!({"prompt": [[5, 6, 7], [8]], "stop": ["e"], "logprobs": 0}))),
        (completions, completion(json!({"prompt": [5, 6, 7], "max_tokens": 60, "ignore_eos": true}))),
        (completions, completion(json!({"num_beams": 4, "num_return_sequences": 2, "logprobs": 0}))),
        (completions, completion(json!({"n": 2, "time_limit": 1e-9}))),
        (completions, completion(json!({"best_of": 3, "n": 2, "prompt_logprobs": 1}))),
        (chats, chat(json!({"stop": ["fox", "lamp"], "max_completion_tokens": 60, "max_tokens": null}))),
        (chats, chat(json!({"temperature": 0, "logit_bias": {"266": -100, "21": 5}, "min_tokens": 4}))),
    ]
}

#[test]
fn a_stream_adds_up_to_the_whole_answer() {
    let server = Server::start(&[]);
    for (path, body) in various() {
        let whole = server.post(path, &body).success();
        let mut streamed = body.clone();
        streamed["stream"] = json!(true);
        let chunks = server.post(path, &streamed).chunks();
        assert!(chunks.len() > 1, "{body}");
        let mut expected = exact(&whole);
        expected.as_object_mut().expect("an object").remove("usage");
        assert_eq!(exact(&assembled(&chunks)), expected, "{body}");
        let has_begun = body.get("time_limit").is_none();
        assert!(
            !has_begun || chunks[0]["limpid"]["defaults"].is_object(),
            "the first one says what is in force"
        );
        streamed["stream_options"] = json!({"include_usage": true});
        let chunks = server.post(path, &streamed).chunks();
        let (last, others) = chunks.split_last().expect("chunks");
        assert_eq!((&last["usage"], &last["choices"]), (&whole["usage"], &json!([])), "{body}");
        assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    }
}

#[test]
fn an_answer_has_what_was_asked_for() {
    let server = Server::start(&[]);
    let answer = server.post("/v1/chat/completions", &chat(json!({"logprobs": true}))).success();
    assert_eq!(answer["object"], "chat.completion");
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["message"]["role"], &choice["finish_reason"]),
        (&json!("assistant"), &json!("length"))
    );
    let tokens = choice["logprobs"]["content"].as_array().expect("a list");
    assert_eq!(tokens.len(), 12);
    let text: String = tokens.iter().map(|token| token["token"].as_str().expect("text")).collect();
    assert_eq!(choice["message"]["content"], text);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    let own = &answer["limpid"];
    assert_eq!((&own["seed"], &own["choices"][0]["stop"]["reason"]), (&json!(3), &json!("max_tokens")));
    assert!(own["prompts"][0]["timings"]["ttft_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{own}");
    assert!(own["prompts"][0]["kv_bytes"].as_u64().is_some_and(|n| n >= 96 << 10), "{own}");

    let body = completion(json!({"n": 3, "temperature": 1.5, "echo": true, "return_token_ids": true}));
    let answer = server.post("/v1/completions", &body).success();
    let texts: Vec<_> = answer["choices"].as_array().expect("a list").iter().map(|c| &c["text"]).collect();
    assert!(texts.len() == 3 && texts[0] != texts[1], "{texts:?}");
    assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| text.starts_with("Once upon a time"))));
    assert_eq!(answer["choices"][1]["token_ids"].as_array().expect("ids").len(), 12);
    let beams = server.post("/v1/completions", &completion(json!({"num_beams": 3, "n": 1}))).success();
    assert!(beams["limpid"]["prompts"][0]["kv_bytes"].as_u64().is_some_and(|n| n >= 96 << 10), "{beams}");
    let again = server.post("/v1/completions", &body).success();
    assert_eq!(exact(&again), exact(&answer), "the same seed");
    let mut unseeded = body.clone();
    unseeded["seed"] = Value::Null;
    let first = server.post("/v1/completions", &unseeded).success();
    unseeded["seed"] = first["limpid"]["seed"].clone();
    let again = server.post("/v1/completions", &unseeded).success();
    assert_eq!(exact(&again), exact(&first), "the seed that was drawn is told");
}

#[test]
fn the_program_and_the_server_say_the_same() {
    let server = Server::start(&[]);
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_limpid"))
        .args([
            "run",
            "--seed",
            "3",
            "--max-tokens",
            "12",
            "--temperature",
            "1",
            "--top-p",
            "0.9",
            "--top-k",
            "40",
        ])
        .args(["--quiet", "Tell me a story about a fox and a lamp."])
        .output();
    let run = String::from_utf8(run.expect("it starts").stdout).expect("UTF-8");
    let body = chat(json!({"temperature": 1, "top_p": 0.9, "top_k": 40}));
    let answer = server.post("/v1/chat/completions", &body).success();
    assert_eq!(answer["choices"][0]["message"]["content"], run.trim_end_matches('\n'));
}

#[test]
fn tokens_and_texts() {
    let server = Server::start(&[]);
    let body = json!({"model": "pocket", "prompt": "The fox saw a lamp.", "return_token_strs": true});
    let found = server.post("/tokenize", &body).success();
    assert_eq!(found["tokens"], json!([1, 393, 1736, 449, 266, 1930, 21]));
    assert_eq!((&found["count"], &found["max_model_len"]), (&json!(7), &json!(1024)));
    assert_eq!(found["token_strs"][2], " fox");
    let bare = server.post("/tokenize", &json!({"prompt": "The fox", "add_special_tokens": false})).success();
    assert_eq!(bare["tokens"], json!([393, 1736]));
    let messages = json!({"messages": [{"role": "user", "content": "Tell me a story."}]});
    assert_eq!(server.post("/tokenize", &messages).success()["count"], 17);
    let text = server.post("/detokenize", &json!({"tokens": [393, 1736]})).success();
    assert_eq!(text, json!({"prompt": "The fox"}));
    server.post("/detokenize", &json!({"tokens": [4096]})).error(400, "invalid_request");
    server.post("/tokenize", &json!({"model": "other", "prompt": "x"})).error(404, "model_not_found");
    let message = server.post("/tokenize", &json!({})).error(400, "invalid_request");
    assert!(message.contains("(or `messages`"), "{message}");
}

/// Where each token's text begins in that of the answer: special tokens have none, and some tokens only a part of a
/// character.
#[test]
fn offsets_are_those_of_the_text() {
    let server = Server::start(&[]);
    for more in
        [json!({"echo": true}), json!({"logit_bias": {"300": 3}}), json!({"prompt": "é 火", "echo": true})]
    {
        let mut body = completion(json!({"logprobs": 0}));
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = server.post("/v1/completions", &body).success();
        let choice = &answer["choices"][0];
        let text: Vec<char> = choice["text"].as_str().expect("a text").chars().collect();
        let list = |name: &str| choice["logprobs"][name].as_array().expect("a list").clone();
        let offsets: Vec<_> =
            list("text_offset").iter().map(|at| at.as_u64().expect("a number") as usize).collect();
        assert!(
            offsets.is_sorted() && offsets[0] == 0 && offsets[offsets.len() - 1] < text.len(),
            "{choice}"
        );
        for ((token, &start), &end) in list("tokens").iter().zip(&offsets).zip(&offsets[1..]) {
            let (token, of_text) =
                (token.as_str().expect("text"), text[start..end].iter().collect::<String>());
            assert!(
                of_text == token || of_text.is_empty() || token.starts_with("<0x"),
                "{token:?} {of_text:?}"
            );
        }
        assert!(more.get("echo").is_none() || offsets[1] == 0, "BOS has no text: {choice}");
    }
}

#[test]
fn metrics_count_what_happened() {
    let server = Server::start(&[]);
    for _ in 0..3 {
        server.post("/v1/completions", &completion(json!({}))).success();
    }
    assert_eq!(server.metric("limpid_generation_tokens_total"), 36.0);
    for name in ["limpid_prompt_tokens_total", "vllm:prompt_tokens_total{model_name=\"pocket\"}"] {
        assert_eq!(server.metric(name), 3.0 * 5.0);
    }
    assert!(server.metric("limpid_memory_bytes") > 1e6);
    assert!(server.metric("limpid_generation_tokens_per_second") >= 0.0);
    assert_eq!(server.metric("limpid_ttft_seconds_count"), 3.0);
    assert_eq!(server.metric("vllm:time_to_first_token_seconds_count{model_name=\"pocket\"}"), 3.0);
    assert_eq!(server.metric("limpid_tpot_seconds_count"), 3.0);
    assert_eq!(server.metric("limpid_requests_finished_total{finished_reason=\"length\"}"), 3.0);
    assert_eq!(server.metric("limpid_kv_used_bytes"), 0.0);
    assert!(server.metric("limpid_kv_reserved_bytes") > 1e6);
    assert_eq!(
        (
            server.metric("limpid_requests_running"),
            server.metric("vllm:num_requests_waiting{model_name=\"pocket\"}")
        ),
        (0.0, 0.0)
    );
}

#[test]
fn the_page_comes_with_a_strict_policy() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
        "{}",
        page.head
    );
    assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
    for inline in ["<style", " style=", "onclick", "<script>", "http://", "https://"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    for (path, media_type) in
        [("/chat.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg")]
    {
        let file = server.get(path);
        assert!(file.status == 200 && file.head.contains(media_type), "{file:?}");
        assert!(page.body.contains(&format!("\"{}\"", &path[1..])), "the page uses {path}");
    }
}

#[test]
fn the_description_names_every_path_and_what_requests_have() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json").success();
    let paths = document["paths"].as_object().expect("paths");
    for path in ["/v1/completions", "/v1/chat/completions", "/v1/models", "/tokenize", "/metrics", "/health"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    let of = |name: &str| document["components"]["schemas"][name]["properties"].as_object().cloned();
    let common = of("Common").expect("properties");
    assert!(common.len() > 40);
    // An object is the wrong thing for a field; a field that is not known is told so instead.
    let takes_objects = ["stream_options", "logit_bias"];
    for name in common.keys().filter(|name| !takes_objects.contains(&name.as_str())) {
        let mut body = completion(json!({}));
        if ["num_return_sequences", "length_penalty", "early_stopping"].contains(&name.as_str()) {
            body["num_beams"] = json!(2);
        }
        body[name] = json!({"a": 1});
        let message = server.post("/v1/completions", &body).error(400, "invalid_request");
        assert!(message.contains(name) && !message.contains("not supported"), "{name}: {message}");
    }
}
