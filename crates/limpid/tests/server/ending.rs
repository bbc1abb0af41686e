//! How a server ends, and what becomes of answers that are on their way.

use super::harness::{Server, completion};
use serde_json::json;
use std::io::Read;
use std::time::Duration;

#[test]
fn running_answers_may_end() {
    let mut server = Server::start(&[]);
    let mut stream = server.begin(
        "/v1/completions",
        &completion(json!({"max_tokens": 900, "ignore_eos": true, "stream": true})),
    );
    server.wait_for_metric("limpid_requests_running", 1.0);
    server.terminate();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer");
    assert!(text.contains("\"finish_reason\":\"length\"") && text.contains("data: [DONE]"), "{text}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn what_takes_longer_than_the_grace_is_cancelled() {
    let mut server = Server::slow(&["--grace-seconds", "0"]);
    let body = completion(json!({"max_tokens": 1000, "ignore_eos": true, "stream": true, "n": 8}));
    let mut streams: Vec<_> = (0..4).map(|_| server.begin("/v1/completions", &body)).collect();
    server.wait_for_metric("limpid_requests_waiting", 3.0);
    let mut whole = body.clone();
    whole["stream"] = json!(false);
    let mut whole = server.begin("/v1/completions", &whole);
    server.wait_for_metric("limpid_requests_waiting", 4.0);
    server.terminate();
    for stream in &mut streams {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("what there is");
        assert!(text.contains("\"finish_reason\":\"cancelled\"") && text.contains("data: [DONE]"), "{text}");
    }
    let mut text = String::new();
    whole.read_to_string(&mut text).expect("an error");
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("\"code\":\"stopping\""), "{text}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn nobody_is_let_in_any_more() {
    let mut server = Server::start(&[]);
    let _idle = server.connect();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "idle connections do not hold it up");
    std::thread::sleep(Duration::from_millis(1));
    assert!(std::net::TcpStream::connect(&server.address).is_err());
}
