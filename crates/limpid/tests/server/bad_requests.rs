//! What a server refuses, and how it says so.

use super::harness::{JSON, Reply, Server, chat, completion};
use serde_json::{Value, json};

fn check_refused(reply: &Reply, param: &str, part: &str) {
    let message = reply.error(400, "invalid_request");
    assert!(message.contains(part), "{message}, and not: {part}");
    assert_eq!(reply.json()["error"]["param"].as_str().unwrap_or_default(), param, "{message}");
}

#[test]
fn bad_values_are_refused_by_name() {
    let server = Server::start(&[]);
    let completions = [
        (json!({"top_p": 1.5}), "top_p", "from 0 to 1"),
        (json!({"temperature": -1}), "temperature", "0 (greedy) or from"),
        (json!({"temperature": "hot"}), "temperature", "a number is expected"),
        (json!({"temperature": 1e-50}), "temperature", "0, or a number further away from it"),
        (json!({"n": 0}), "n", "a whole number from 1 on is expected"),
        (json!({"n": 2, "num_beams": 3}), "n", "use `num_return_sequences` instead"),
        (json!({"n": 9}), "n", "at most 8, the sequences that run at the same time"),
        (json!({"n": 3, "best_of": 2}), "best_of", "n (3) or more"),
        (json!({"max_tokens": 0}), "max_tokens", "a whole number from 1 on is expected"),
        (json!({"max_tokens": 5000}), "max_tokens", "max_tokens is 5000, but"),
        (json!({"logit_bias": {"5000": 1}}), "logit_bias", "5000"),
        (json!({"logit_bias": {"50": 101}}), "logit_bias", "from -100 to 100"),
        (json!({"logit_bias": {"+50": 1}}), "logit_bias", "an object of token ids"),
        (json!({"include_stop": true}), "include_stop", "only with stop or stop_token_ids"),
        (json!({"penalty_scope": "last_5"}), "penalty_scope", "are off"),
        (json!({"stop": "x".repeat(4097)}), "stop", "at most 4096 bytes"),
        (json!({"stop": [1]}), "stop", "a string or a list of strings"),
        (json!({"stop": vec!["a"; 17]}), "stop", "at most 16"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options", "needs `stream`"),
        (json!({"stream": true, "stream_options": {"x": 1}}), "stream_options.x", "not supported"),
        (json!({"prompt": []}), "prompt", "empty"),
        (json!({"prompt": {}}), "prompt", "a string, a list of token ids"),
        (json!({"prompt": ["a", 1]}), "prompt", "is expected"),
        (json!({"prompt": vec!["a"; 65]}), "prompt", "at most 64"),
        (json!({"prompt": [4096]}), "prompt", "not in the vocabulary"),
        (json!({"prompt": null}), "prompt", "missing"),
        (json!({"model": null}), "model", "missing"),
        (json!({"suffix": "x"}), "suffix", "not supported"),
        (json!({"sampler_order": "top_q"}), "sampler_order", "top_q"),
        (json!({"logprobs": 21}), "logprobs", "from 0 to 20"),
        (json!({"dry_multiplier": 1, "dry_breakers": vec!["e"; 65]}), "dry_breakers", "at most 64 texts"),
        (
            json!({"prompt": vec![vec![5; 900]; 64], "logprobs": 20, "echo": true}),
            "prompt_logprobs",
            "200000",
        ),
        (json!({"allowed_token_ids": []}), "allowed_token_ids", "would allow nothing"),
        (json!({"time_limit": 0}), "time_limit", "from 0.000000001 up"),
        (json!({"x".repeat(100_000): 1}), &format!("{} ...", "x".repeat(80)), "not supported"),
        (json!({"seed": -1}), "seed", "whole number"),
    ];
    for (more, param, part) in completions {
        check_refused(&server.post("/v1/completions", &completion(more.clone())), param, part);
    }
}

#[test]
fn bad_values_of_chats_are_refused_by_name() {
    let server = Server::start(&[]);
    let chats = [
        (json!({"messages": "hello"}), "messages", "a list of messages"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content", "missing"),
        (json!({"messages": [5]}), "messages[0]", "an object is expected"),
        (json!({"messages": [{"role": "user", "content": "a ".repeat(1100)}]}), "messages", "the prompt has"),
        (
            json!({"messages": [{"role": "user", "content": "a", "name": "b"}]}),
            "messages[0].name",
            "not supported",
        ),
        (json!({"top_logprobs": 2}), "top_logprobs", "needs `logprobs`"),
        (json!({"max_completion_tokens": 3}), "max_completion_tokens", "the same"),
        (json!({"chat_template_kwargs": {"no_such": 1}}), "messages", "no_such"),
        (json!({"echo": true}), "echo", "not supported"),
    ];
    for (more, param, part) in chats {
        check_refused(&server.post("/v1/chat/completions", &chat(more.clone())), param, part);
    }
}

#[test]
fn what_is_too_long_is_refused_with_the_numbers() {
    let server = Server::start(&["--context", "100"]);
    let message =
        server.post("/v1/completions", &completion(json!({"max_tokens": 96}))).error(400, "invalid_request");
    assert!(message.contains("5 tokens and max_tokens is 96, but the context holds 100"), "{message}");
    let long = completion(json!({"prompt": vec![5; 100]}));
    let message = server.post("/v1/completions", &long).error(400, "invalid_request");
    assert!(message.contains("the prompt has 100 tokens"), "{message}");
    server.post("/v1/completions", &completion(json!({"max_tokens": 95}))).success();
}

#[test]
fn what_is_no_request() {
    let server = Server::start(&["--max-body-mib", "1"]);
    let path = "/v1/chat/completions";
    let post = |headers: &[&str], body: &[u8]| server.request("POST", path, headers, body);
    for body in [&b"{"[..], b"", b"[1]", b"{\"model\": \"pocket\"", b"\xff\xfe", b"nonsense"] {
        post(&[JSON], body).error(400, "invalid_request");
    }
    let deep = "[".repeat(100_000);
    post(&[JSON], deep.as_bytes()).error(400, "invalid_request");
    let body = chat(json!({})).to_string();
    for headers in
        [&[][..], &["Content-Type: text/plain"], &["Content-Type: application/x-www-form-urlencoded"]]
    {
        let message = post(headers, body.as_bytes()).error(415, "unsupported_media_type");
        assert!(message.contains("Content-Type: application/json"), "{message}");
    }
    post(&["Content-Type: application/json; charset=utf-8"], body.as_bytes()).success();
    let message = post(&[JSON], &vec![b' '; (1 << 20) + 1]).error(413, "body_too_large");
    assert!(message.contains("1048576 bytes"), "{message}");
    let message =
        post(&[JSON, "Content-Encoding: gzip"], body.as_bytes()).error(415, "unsupported_media_type");
    assert!(message.contains("the Content-Encoding is gzip"), "{message}");
    server.get("/v1/nothing").error(404, "no_such_path");
    server.get(path).error(405, "wrong_method");
    let header = format!("X-Long: {}", "x".repeat(70_000));
    server.request("GET", "/health", &[&header], b"").error(431, "headers_too_large");
    let header = format!("X-Long: {}", "x".repeat(1 << 20));
    let reply = server.request("GET", "/health", &[&header], b"");
    assert_eq!(reply.status, 431, "{reply:?}");
    server.get("/health").success();
}

#[test]
fn a_key_is_asked_for() {
    let key = "sk-0123456789";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{key}\n")).expect("a file");
    let servers = [
        Server::start(&["--api-key-file", path.to_str().expect("UTF-8")]),
        Server::start_with(&[], &[("LIMPID_API_KEY", key)]),
    ];
    for server in servers {
        let body = chat(json!({})).to_string();
        let post =
            |headers: &[&str]| server.request("POST", "/v1/chat/completions", headers, body.as_bytes());
        for wrong in [
            "X: y",
            "Authorization: Bearer sk-012345678",
            "Authorization: sk-0123456789",
            "Authorization: Bearer",
        ] {
            let reply = post(&[JSON, wrong]);
            reply.error(401, "invalid_api_key");
            assert!(reply.head.contains("www-authenticate: Bearer"), "{}", reply.head);
        }
        post(&[JSON, &format!("Authorization: Bearer {key}")]).success();
        for path in ["/v1/models", "/metrics"] {
            server.get(path).error(401, "invalid_api_key");
        }
        for path in ["/health", "/version", "/", "/openapi.json"] {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        let log = server.wait_for_line("/metrics 401 invalid_api_key") + &server.said();
        assert!(!log.contains("sk-"), "the key is in no log");
    }
}

#[test]
fn a_browser_that_was_led_here_is_refused() {
    let server = Server::start(&[]);
    let get = |host: &str| server.request("GET", "/v1/models", &[&format!("Host: {host}")], b"");
    get("evil.example").error(403, "forbidden_host");
    get("evil.example:8080").error(403, "forbidden_host");
    for host in ["localhost", "127.0.0.1:80", "[::1]:8080"] {
        get(host).success();
    }
}

#[test]
fn the_log_has_no_text_of_users() {
    let server = Server::start(&[]);
    let secret = "Xyzzyplugh";
    let body = chat(json!({"messages": [{"role": "user", "content": format!("A story of {secret}.")}]}));
    let answer = server.post("/v1/chat/completions", &body).success();
    server.post("/v1/completions", &completion(json!({"temperature": secret}))).error(400, "invalid_request");
    server.post("/v1/completions", &completion(json!({secret: 1}))).error(400, "invalid_request");
    server.post("/v1/completions", &json!({"model": secret, "prompt": "a"})).error(404, "model_not_found");
    let log = server.wait_for_line("/v1/chat/completions 200") + &server.wait_for_line("404");
    let said: &Value = &answer["choices"][0]["message"]["content"];
    assert!(!log.contains(secret) && !log.contains(said.as_str().expect("text")), "{log}");
    assert!(log.contains("tokens, TTFT") && log.contains("model_not_found"), "{log}");
}

#[test]
fn a_command_line_that_cannot_work() {
    let fails = |args: &[&str], code: i32, part: &str| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_limpid")).arg("serve").args(args).output();
        let output = output.expect("it starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    };
    let taken = Server::start(&[]);
    let (_, port) = taken.address.rsplit_once(':').expect("a port");
    fails(&["--port", port], 1, "cannot listen at 127.0.0.1:");
    fails(&["-m", "/no/such.gguf"], 1, "/no/such.gguf");
    fails(&["--max-sequences", "65"], 2, "from 1 to 64");
    fails(&["--api-key-file", "/no/such"], 1, "cannot read /no/such");
    fails(&["--api-key-file", "/dev/null"], 1, "has no key");
    fails(&["--context", "2000"], 2, "the model was made for 1024 tokens");
    fails(&["--host", "nowhere"], 2, "nowhere");
}
