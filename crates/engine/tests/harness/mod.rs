//! An engine over the fake model, a tokenizer of 48 tokens, and a log that checks the order of events.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod told;

use limpid_engine::TokenId;
use limpid_engine::decode::{TokenLogprobs, TopLogprob};
use limpid_engine::engine::{
    Clock, Dropped, Engine, EngineConfig, EventKind, Events, Finished, Request, RequestId,
};
use limpid_engine::model::fake::{FakeConfig, FakeModel};
use limpid_engine::sampling::{FinishReason, SamplingParams};
use limpid_engine::tokenizer::{HfTokenizer, Tokenizer};
use limpid_engine::trace::NoTrace;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const VOCAB_SIZE: usize = 48;
pub const BOS: TokenId = TokenId(0);
pub const EOS: TokenId = TokenId(1);
/// Ends a turn: a second EOS.
pub const END: TokenId = TokenId(2);
/// `a`; the other letters follow.
pub const A: TokenId = TokenId(3);
/// First token of the four bytes of a fox (U+1F98A).
pub const FOX: u32 = 35;

/// Special tokens, the letters, six pairs of letters, the bytes of a four-byte character, and more pairs.
pub fn tokenizer() -> Arc<Tokenizer> {
    let specials = ["<s>", "</s>", "<end>"];
    let mut words: Vec<String> = specials.map(String::from).to_vec();
    words.extend(('a'..='z').map(String::from));
    words.extend(["ab", "ba", "th", "he", "in", "er"].map(String::from));
    // F0 9F A6 8A in the spelling of byte-level BPE.
    words.extend(["ð", "Ł", "¦", "Ĭ"].map(String::from));
    words.extend(["an", "on", "at", "or", "Ġ", "is", "it", "ou", "ea"].map(String::from));
    assert_eq!(words.len(), VOCAB_SIZE);
    let vocab: BTreeMap<&String, usize> = words.iter().zip(0..).collect();
    let added = |(id, content): (usize, &str)| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    let file = json!({
        "added_tokens": specials.into_iter().enumerate().map(added).collect::<Vec<_>>(),
        "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    let file = file.to_string();
    let tokenizer_config = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let generation_config = json!({"eos_token_id": [1, 2]});
    let tokenizer = HfTokenizer {
        tokenizer_json: Some(file.as_bytes()),
        tokenizer_config: Some(&tokenizer_config),
        special_tokens_map: None,
        generation_config: Some(&generation_config),
        config: None,
    };
    Arc::new(tokenizer.build().expect("a valid tokenizer"))
}

/// Every look at it takes a millisecond.
#[derive(Default)]
pub struct TickingClock(Cell<u64>);

impl Clock for TickingClock {
    fn now(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_millis(self.0.get())
    }
}

pub fn config() -> EngineConfig {
    EngineConfig {
        context_length: 512,
        n_pages: 32,
        max_sequences: 4,
        max_waiting: 64,
        prefill_chunk: 16,
        kv_cache: true,
    }
}

/// A model that takes exactly the rows that the configuration may need.
pub fn fake(config: &EngineConfig, windows: &[Option<u32>], poison: Option<TokenId>) -> FakeModel {
    let config = FakeConfig {
        vocab_size: VOCAB_SIZE,
        context_length: config.context_length,
        max_batch_rows: config.prefill_chunk + config.max_sequences - 1,
        windows: windows.to_vec(),
        poison,
        // Tokens of several sequences are chosen at the same time.
        n_threads: if config.max_sequences > 1 { 3 } else { 1 },
    };
    FakeModel::new(config).expect("memory")
}

pub fn engine(config: &EngineConfig, windows: &[Option<u32>], poison: Option<TokenId>) -> Engine {
    let model = fake(config, windows, poison);
    let clock = TickingClock::default();
    Engine::new(Box::new(model), tokenizer(), config.clone(), Box::new(clock)).expect("a valid configuration")
}

pub fn ids(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

pub fn request(prompt: &[u32], max_tokens: usize) -> Request {
    let sampling = SamplingParams { temperature: 1.0, seed: 7, ..SamplingParams::greedy() };
    Request { max_tokens: Some(max_tokens), ..Request::new(ids(prompt), sampling) }
}

/// A token's log-probability and those of the likeliest in its place.
pub type OfToken = (f32, Vec<TopLogprob>);

/// One of a request's texts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Text {
    pub tokens: Vec<TokenId>,
    pub text: String,
    pub logprobs: Vec<OfToken>,
    pub reason: Option<FinishReason>,
    pub score: Option<f64>,
}

/// What came of one request so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    pub started: bool,
    pub dropped: Option<Dropped>,
    pub prompt_logprobs: Option<Vec<OfToken>>,
    /// Of the first text.
    pub tokens: Vec<TokenId>,
    pub text: String,
    /// All of them, by choice.
    pub texts: BTreeMap<usize, Text>,
    pub finished: Option<Finished>,
}

impl Outcome {
    pub fn finished(&self) -> &Finished {
        self.finished.as_ref().expect("the request has ended")
    }

    /// What may not depend on anything but the request.
    pub fn bytes(&self) -> (&[TokenId], &str, String) {
        let finished = self.finished();
        let others = format!("{:?} {:?} {:?}", self.dropped, self.prompt_logprobs, self.texts);
        (&self.tokens, &self.text, format!("{:?} {:?} {others}", finished.reason, finished.error))
    }

    /// The tokens of each text.
    pub fn all_tokens(&self) -> Vec<Vec<TokenId>> {
        self.texts.values().map(|text| text.tokens.clone()).collect()
    }

    fn take(&mut self, kind: EventKind<'_>) {
        let of = |logprobs: TokenLogprobs<'_>| (logprobs.logprob, logprobs.top.to_vec());
        match kind {
            EventKind::Started { dropped } => {
                assert!(!self.started, "started twice");
                (self.started, self.dropped) = (true, dropped);
            }
            EventKind::PromptLogprobs(logprobs) => {
                assert!(self.started && self.texts.is_empty());
                let found = logprobs.iter().map(of).collect();
                assert!(self.prompt_logprobs.replace(found).is_none());
            }
            EventKind::Token { choice, id, text, logprobs } => {
                let told = self.going_on(choice);
                told.tokens.push(id);
                told.text.push_str(text);
                told.logprobs.extend(logprobs.map(of));
                if choice == 0 {
                    self.tokens.push(id);
                    self.text.push_str(text);
                }
            }
            EventKind::Text { choice, text } => {
                assert!(!text.is_empty());
                self.going_on(choice).text.push_str(text);
                if choice == 0 {
                    self.text.push_str(text);
                }
            }
            EventKind::Ended { choice, reason, score } => {
                let told = self.going_on(choice);
                (told.reason, told.score) = (Some(reason.clone()), score);
            }
            EventKind::Finished(finished) => {
                assert!(self.texts.values().all(|text| text.reason.is_some()), "a text has no end");
                self.finished = Some(finished.clone());
            }
        }
    }

    fn going_on(&mut self, choice: usize) -> &mut Text {
        assert!(self.started);
        let text = self.texts.entry(choice).or_default();
        assert!(text.reason.is_none(), "a text goes on after its end");
        text
    }
}

/// The outcomes of all requests. Panics where events come in a wrong order.
#[derive(Default)]
pub struct Log(pub BTreeMap<RequestId, Outcome>);

impl Log {
    /// Takes and clears the events.
    pub fn take(&mut self, events: &mut Events) {
        for event in events.iter() {
            let outcome = self.0.entry(event.request).or_default();
            assert!(outcome.finished.is_none(), "{:?} goes on after its end: {event:?}", event.request);
            outcome.take(event.kind);
        }
        events.clear();
    }
}

/// Steps until nothing is left to do.
pub fn run_to_end(engine: &mut Engine) -> Log {
    go_on_to_end(engine, Log::default())
}

/// The same, for requests whose first events are in `log` already.
pub fn go_on_to_end(engine: &mut Engine, mut log: Log) -> Log {
    let mut events = Events::default();
    for _ in 0..100_000 {
        if engine.is_idle() {
            return log;
        }
        engine.step(&mut events, &mut NoTrace);
        engine.check_integrity().unwrap();
        log.take(&mut events);
    }
    panic!("the engine does not come to an end");
}

/// The outcome of one request alone in an engine.
pub fn run_alone(mut engine: Engine, request: Request) -> Outcome {
    let id = engine.submit(request).unwrap();
    run_to_end(&mut engine).0.remove(&id).expect("its events")
}
