//! Promise 2 through a socket: an answer is the one that the request gets alone, whatever else the server does,
//! streamed or whole.

use super::harness::{Server, assembled, exact};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

const N_REQUESTS: usize = 32;

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Of mixed length and parameters. Prompts are ids, which every vocabulary has.
fn request(i: u64, model: &str) -> Value {
    let mut random = Random(i);
    let n_prompt = [1, 3, 20, 90][random.below(4) as usize];
    let prompt: Vec<_> = (0..n_prompt).map(|_| 10 + random.below(90)).collect();
    let mut body = json!({"model": model, "prompt": prompt, "seed": i, "max_tokens": 1 + random.below(60),
        "ignore_eos": true, "return_token_ids": true, "logprobs": random.below(3)});
    let more = match i % 8 {
        0 => json!({"temperature": 0}),
        1 => json!({"temperature": 1.3, "top_k": 20, "n": 2}),
        2 => json!({"num_beams": 3, "num_return_sequences": 2, "length_penalty": 1, "logprobs": 0}),
        3 => json!({"repetition_penalty": 1.3, "frequency_penalty": 0.5, "penalty_scope": "all"}),
        4 => json!({"min_p": 0.05, "typical_p": 0.9, "sampler_order": "llama.cpp"}),
        5 => json!({"stop": ["e", "the"], "min_tokens": 2}),
        6 => json!({"best_of": 3, "echo": true}),
        _ => json!({"mirostat_tau": 3, "prompt_logprobs": 1, "logit_bias": {"20": 3}}),
    };
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn check(model: Option<&Path>) {
    let path = model.map(|path| path.to_str().expect("UTF-8").to_owned());
    let mut args = vec!["--max-sequences", "6", "--model-name", "m", "--context", "256"];
    args.extend(path.iter().flat_map(|path| ["-m", path.as_str()]));
    let server = Server::start(&args);
    let bodies: Vec<_> = (0..N_REQUESTS as u64).map(|i| request(i, "m")).collect();
    let alone: Vec<_> =
        bodies.iter().map(|body| exact(&server.post("/v1/completions", body).success())).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let ask = |i: usize| {
            let mut body = bodies[i].clone();
            std::thread::sleep(Duration::from_millis(Random(i as u64 + 99).below(60)));
            if i.is_multiple_of(3) {
                // Somebody who leaves in the middle.
                let mut leaving = body.clone();
                (leaving["stream"], leaving["max_tokens"]) = (json!(true), json!(150));
                let mut client = server.begin("/v1/completions", &leaving);
                client.read_exact(&mut [0; 300]).expect("the beginning");
            }
            if i.is_multiple_of(2) {
                return exact(&server.post("/v1/completions", &body).success());
            }
            (body["stream"], body["stream_options"]) = (json!(true), json!({"include_usage": true}));
            exact(&assembled(&server.post("/v1/completions", &body).chunks()))
        };
        let clients: Vec<_> = (0..N_REQUESTS).map(|i| scope.spawn(move || ask(i))).collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(together, alone, "request {i}");
    }
    server.wait_for_metric("limpid_requests_running", 0.0);
    assert_eq!(server.metric("limpid_kv_used_bytes"), 0.0);
}

/// A model of the engine's goldens.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/goldens").join(name)
}

#[test]
fn the_pocket_model() {
    check(None);
}

#[test]
fn stories260k() {
    check(Some(&golden("stories260k/hf")));
}

#[test]
fn a_model_with_sliding_windows() {
    check(Some(&golden("mistral_window/hf")));
}
