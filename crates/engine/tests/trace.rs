//! Looking through the engine: a recorder sees the residual stream and the sampling stages of each request, and changes
//! nothing.

mod support;

use limpid_engine::TokenId;
use limpid_engine::engine::{Clock, Engine, EngineConfig, EventKind, Events, Request, RequestId};
use limpid_engine::sampling::SamplingParams;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::{Candidate, NoTrace, Recorder, What};
use limpid_engine::weights::WeightsFile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Bench, Setup, goldens};

const MODEL: &str = "stories260k_q8_0/model.gguf";
const LAST_LAYER: usize = 4;

struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

fn engine() -> (Engine, usize) {
    let path = goldens().join(MODEL);
    let file = WeightsFile::open(&path).expect("the golden opens");
    let tokenizer = Arc::new(Tokenizer::new(file.metadata()).expect("its tokenizer"));
    let model = Bench::open(&path, Setup::exact()).model;
    let hidden_size = model.config().hidden_size;
    assert_eq!(model.config().layers.len(), LAST_LAYER + 1);
    let config = EngineConfig {
        context_length: 64,
        n_pages: 2,
        max_sequences: 2,
        max_waiting: 2,
        prefill_chunk: 16,
        kv_cache: true,
    };
    let engine =
        Engine::new(Box::new(model), tokenizer, config, Box::new(Midnight)).expect("these go together");
    (engine, hidden_size)
}

fn request(prompt: &[u32]) -> Request {
    let sampling =
        SamplingParams { temperature: 0.9, top_p: 0.9, top_k: 5, seed: 3, ..SamplingParams::greedy() };
    let prompt = prompt.iter().copied().map(TokenId).collect();
    Request { max_tokens: Some(4), ..Request::new(prompt, sampling) }
}

/// A processor's name, and the candidates after it.
type Stage = (&'static str, Vec<Candidate>);

/// Of each request and position: the residual stream after the first and the last layer, and the stages of the choice.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    residual: BTreeMap<(u64, usize, usize), Vec<f32>>,
    stages: BTreeMap<(u64, usize), Vec<Stage>>,
}

#[derive(Default)]
struct Look {
    seen: Seen,
    /// The owner of each row of the step at hand, and the one whose token is chosen.
    rows: Vec<(u64, usize)>,
    choosing: (u64, usize),
}

impl Recorder for Look {
    fn wants(&self, what: What) -> bool {
        match what {
            What::Rows | What::Stages => true,
            What::Residual { layer } => layer == 0 || layer == LAST_LAYER,
        }
    }

    fn row(&mut self, row: usize, request: u64, position: usize) {
        if row == 0 {
            self.rows.clear();
        }
        assert_eq!(row, self.rows.len());
        self.rows.push((request, position));
    }

    fn residual(&mut self, row: usize, layer: usize, values: &[f32]) {
        let (request, position) = self.rows[row];
        let earlier = self.seen.residual.insert((request, position, layer), values.to_vec());
        assert_eq!(earlier, None, "each position is computed once");
    }

    fn choice(&mut self, row: usize) {
        self.choosing = self.rows[row];
    }

    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|candidate| candidate.id);
        self.seen.stages.entry(self.choosing).or_default().push((name, candidates));
    }
}

/// The tokens of each request.
fn run(prompts: &[&[u32]], recorder: &mut dyn Recorder) -> Vec<Vec<TokenId>> {
    let (mut engine, _) = engine();
    let ids: Vec<RequestId> = prompts.iter().map(|prompt| engine.submit(request(prompt)).unwrap()).collect();
    let (mut events, mut tokens) = (Events::default(), vec![Vec::new(); ids.len()]);
    while !engine.is_idle() {
        engine.step(&mut events, recorder);
    }
    for event in events.iter() {
        if let EventKind::Token { id, .. } = event.kind {
            tokens[ids.iter().position(|&id| id == event.request).unwrap()].push(id);
        }
    }
    tokens
}

const PROMPTS: [&[u32]; 2] = [&[1, 403, 407, 261, 378, 5], &[1, 410, 3]];

#[test]
fn a_recorder_sees_residual_rows_and_sampling_stages() {
    let mut look = Look::default();
    let tokens = run(&PROMPTS, &mut look);
    let (_, hidden_size) = engine();
    for (request, (prompt, tokens)) in PROMPTS.iter().zip(&tokens).enumerate() {
        let request = request as u64;
        // The last token never goes through the model.
        let n_computed = prompt.len() + tokens.len() - 1;
        for layer in [0, LAST_LAYER] {
            let positions = look.seen.residual.keys().filter(|key| (key.0, key.2) == (request, layer));
            assert!(positions.map(|key| key.1).eq(0..n_computed));
        }
        assert_ne!(look.seen.residual[&(request, 0, 0)], look.seen.residual[&(request, 0, LAST_LAYER)]);
        for (i, token) in tokens.iter().enumerate() {
            let stages = &look.seen.stages[&(request, prompt.len() + i - 1)];
            assert!(stages.iter().map(|(name, _)| *name).eq(["logits", "temperature", "top_p", "top_k"]));
            assert_eq!(stages[1].1.len(), 512, "temperature removes none");
            assert!(stages.windows(2).all(|pair| pair[0].1.len() >= pair[1].1.len()));
            assert!(stages[3].1.len() <= 5 && stages[3].1.iter().any(|candidate| candidate.id == *token));
            let sum: f64 = stages[3].1.iter().map(|candidate| candidate.p).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
    assert!(look.seen.residual.values().all(|row| row.len() == hidden_size));
}

#[test]
fn looking_changes_nothing_and_shows_the_same_beside_others() {
    let mut together = Look::default();
    let tokens = run(&PROMPTS, &mut together);
    assert_eq!(run(&PROMPTS, &mut NoTrace), tokens);
    let mut alone = Look::default();
    assert_eq!(run(&PROMPTS[..1], &mut alone), tokens[..1]);
    together.seen.residual.retain(|key, _| key.0 == 0);
    together.seen.stages.retain(|key, _| key.0 == 0);
    assert_eq!(alone.seen, together.seen);
}
