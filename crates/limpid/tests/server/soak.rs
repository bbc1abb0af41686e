//! A server under fire: clients that leave, that send rubbish, that do not read, and too many of them.

use super::harness::{JSON, Server, completion, exact};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long; `LIMPID_SOAK_SECONDS` makes it longer.
const SECONDS: u64 = 8;

/// What a well-behaved client asks for, and the answer that it must get.
fn asked(i: usize) -> Value {
    completion(json!({"seed": i % 5, "max_tokens": 10 + 20 * (i % 5), "temperature": 1.2, "logprobs": 1}))
}

#[test]
fn no_crash_no_leak_and_every_request_is_answered_once() {
    let seconds =
        std::env::var("LIMPID_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let mut server = Server::start(&["--max-sequences", "4", "--max-waiting", "4", "--stream-buffer", "64"]);
    let expected: Vec<_> =
        (0..5).map(|i| exact(&server.post("/v1/completions", &asked(i)).success())).collect();
    let (end, n_answered, n_refused) =
        (Instant::now() + Duration::from_secs(seconds), AtomicUsize::new(0), AtomicUsize::new(0));
    let memory_before = resident_kib(server.pid());
    std::thread::scope(|scope| {
        let (server, expected) = (&server, &expected);
        for client in 0..12 {
            let (n_answered, n_refused) = (&n_answered, &n_refused);
            scope.spawn(move || {
                for i in (client..).step_by(7) {
                    if Instant::now() > end {
                        break;
                    }
                    let reply = server.post("/v1/completions", &asked(i));
                    if reply.status == 429 {
                        n_refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    assert_eq!(exact(&reply.success()), expected[i % 5]);
                    n_answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for client in 0..4_usize {
            scope.spawn(move || misbehave(server, client, end));
        }
    });
    server.wait_for_metric("limpid_requests_running", 0.0);
    server.wait_for_metric("limpid_requests_waiting", 0.0);
    assert_eq!(server.metric("limpid_kv_used_bytes"), 0.0);
    assert!(n_answered.load(Ordering::Relaxed) > 10 && n_refused.load(Ordering::Relaxed) > 0);
    let grown = resident_kib(server.pid()).saturating_sub(memory_before);
    assert!(grown < 64 << 10, "{grown} KiB more than before");
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
}

fn misbehave(server: &Server, client: usize, end: Instant) {
    let endless = completion(json!({"max_tokens": 900, "ignore_eos": true, "stream": true, "logprobs": 5}));
    for i in 0_usize.. {
        if Instant::now() > end {
            return;
        }
        match (client + i) % 4 {
            // It leaves in the middle of its answer, or before there is any.
            0 => {
                let mut stream = server.begin("/v1/completions", &endless);
                let _ = stream.read(&mut [0; 300][..1 + i % 300]);
            }
            1 => drop(server.begin("/v1/completions", &endless)),
            // Rubbish, whole and half.
            2 => {
                server
                    .request("POST", "/v1/completions", &[JSON], b"{\"model\": ")
                    .error(400, "invalid_request");
                drop(server.send("POST", "/v1/completions", &[JSON, "Content-Length: 5000"], b"{"));
                drop(server.send("\0\u{7f}", "/", &[], b""));
            }
            // It does not read for a while.
            _ => {
                let stream = server.begin("/v1/completions", &endless);
                std::thread::sleep(Duration::from_millis(300));
                drop(stream);
            }
        }
    }
}

/// Memory that a process has, in KiB.
fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
