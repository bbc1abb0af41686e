//! Many clients, clients that leave, and clients that do not read.

use super::harness::{Server, chat, completion};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// As long as the context allows.
fn endless(more: Value) -> Value {
    let mut body = completion(json!({"max_tokens": 1000, "ignore_eos": true, "stream": true}));
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[test]
fn beyond_the_queue_there_is_429() {
    let server = Server::slow(&["--max-sequences", "1", "--max-waiting", "2"]);
    let clients: Vec<_> = (0..3)
        .map(|i| {
            let client = server.begin("/v1/completions", &endless(json!({})));
            server.wait_for_metric("limpid_requests_running", 1.0);
            server.wait_for_metric("limpid_requests_waiting", f64::from(i));
            client
        })
        .collect();
    let reply = server.post("/v1/completions", &completion(json!({})));
    let message = reply.error(429, "queue_full");
    assert!(message.contains("2 requests are waiting already"), "{message}");
    assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    // Of several prompts none is begun where not all can be.
    server.post("/v1/completions", &completion(json!({"prompt": ["a", "b"]}))).error(429, "queue_full");
    assert_eq!(server.metric("limpid_requests_waiting"), 2.0);
    // More than could ever wait: no reason to come again.
    let many = completion(json!({"prompt": ["a", "b", "c"]}));
    let message = server.post("/v1/completions", &many).error(400, "invalid_request");
    assert!(message.contains("a list of 3, and at most 2"), "{message}");
    drop(clients);
    server.wait_for_metric("limpid_requests_running", 0.0);
    server.post("/v1/completions", &completion(json!({}))).success();
}

#[test]
fn a_client_that_leaves_frees_its_pages() {
    let server = Server::slow(&[]);
    let n_cancelled = "limpid_requests_finished_total{finished_reason=\"cancelled\"}";
    for is_streamed in [true, false] {
        let mut client = server.begin("/v1/completions", &endless(json!({"stream": is_streamed, "n": 4})));
        server.wait_for_metric("limpid_requests_running", 1.0);
        if is_streamed {
            client.read_exact(&mut [0; 500]).expect("the beginning");
        }
        assert!(server.metric("limpid_kv_used_bytes") > 0.0);
        drop(client);
        server.wait_for_metric("limpid_requests_running", 0.0);
        assert_eq!(server.metric("limpid_kv_used_bytes"), 0.0);
        assert_eq!(server.metric(n_cancelled), if is_streamed { 1.0 } else { 2.0 });
    }
    // One that has sent more behind its request, too.
    let mut eager = server.begin("/v1/completions", &endless(json!({"stream": false})));
    eager.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
    server.wait_for_metric("limpid_requests_running", 1.0);
    drop(eager);
    server.wait_for_metric("limpid_requests_running", 0.0);
    assert_eq!(server.metric(n_cancelled), 3.0, "it was not answered to the end");
    // One that never began, too.
    let running = server.begin("/v1/completions", &endless(json!({"n": 8})));
    server.wait_for_metric("limpid_requests_running", 1.0);
    let waiting = server.begin("/v1/completions", &endless(json!({})));
    server.wait_for_metric("limpid_requests_waiting", 1.0);
    drop(waiting);
    server.wait_for_metric("limpid_requests_waiting", 0.0);
    drop(running);
    server.wait_for_metric("limpid_requests_running", 0.0);
}

#[test]
fn a_reader_that_is_too_slow_is_ended_and_nobody_waits_for_it() {
    let server = Server::start(&["--stream-buffer", "64"]);
    // Six texts with all about each token: more than the sockets' buffers hold.
    let body = endless(json!({"n": 6, "logprobs": 20, "return_token_ids": true}));
    let mut slow = server.begin("/v1/completions", &body);
    // The system would let it grow to the whole answer.
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 32 << 10).expect("an option");
    let start = Instant::now();
    let answer = server.post("/v1/chat/completions", &chat(json!({"max_tokens": 5}))).success();
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    assert!(start.elapsed() < Duration::from_secs(20));
    server.wait_for_metric("limpid_requests_finished_total{finished_reason=\"cancelled\"}", 1.0);
    assert_eq!(server.metric("limpid_kv_used_bytes"), 0.0);
    let mut text = String::new();
    slow.read_to_string(&mut text).expect("what there is");
    assert!(
        text.contains("\"code\":\"reader_too_slow\"") && !text.contains("[DONE]"),
        "{}",
        &text[text.len() - 500..]
    );
    server.wait_for_line("reader_too_slow");
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(&["--max-connections", "2"]);
    let held = [server.connect(), server.connect()];
    let mut third = server.send("GET", "/health", &[], b"");
    third.set_read_timeout(Some(Duration::from_millis(300))).expect("an option");
    assert!(third.read(&mut [0; 10]).is_err(), "no place");
    drop(held);
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
    let mut text = String::new();
    third.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[test]
fn requests_decode_together() {
    let server = Server::slow(&["--max-sequences", "4"]);
    let clients: Vec<_> = (0..4).map(|_| server.begin("/v1/completions", &endless(json!({})))).collect();
    server.wait_for_metric("limpid_requests_running", 4.0);
    drop(clients);
    server.wait_for_metric("limpid_requests_running", 0.0);
}
