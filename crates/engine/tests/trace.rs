//! Looking through the engine: a recorder sees the residual stream and the sampling stages of each request, and changes
//! nothing.

mod support;

use limpid_engine::TokenId;
use limpid_engine::decode::{BeamParams, Decoding};
use limpid_engine::engine::{Clock, Engine, EngineConfig, EventKind, Events, Request, RequestId};
use limpid_engine::sampling::SamplingParams;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::{BeamFate, BeamNode, Candidate, NoTrace, Recorder, What};
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
    chosen: BTreeMap<(u64, usize), (TokenId, Option<f64>)>,
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
            What::Beams | What::Attention { .. } => false,
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

    fn choice(&mut self, row: usize, choice: usize) {
        assert_eq!(choice, 0);
        self.choosing = self.rows[row];
    }

    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|candidate| candidate.id);
        self.seen.stages.entry(self.choosing).or_default().push((name, candidates));
    }

    fn chosen(&mut self, id: TokenId, u: Option<f64>) {
        assert_eq!(self.seen.chosen.insert(self.choosing, (id, u)), None);
    }
}

impl Look {
    fn stage_names(&self, key: (u64, usize)) -> Vec<&'static str> {
        self.seen.stages[&key].iter().map(|(name, _)| *name).collect()
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
            let key = (request, prompt.len() + i - 1);
            let stages = &look.seen.stages[&key];
            assert_eq!(look.stage_names(key), ["logits", "temperature", "top_p", "top_k"]);
            let (chosen, u) = look.seen.chosen[&key];
            assert_eq!((chosen, drawn(&stages[3].1, u.expect("it was drawn"))), (*token, *token));
            assert_eq!(stages[1].1.len(), 512, "temperature removes none");
            assert!(stages.windows(2).all(|pair| pair[0].1.len() >= pair[1].1.len()));
            assert!(stages[3].1.len() <= 5 && stages[3].1.iter().any(|candidate| candidate.id == *token));
            let sum: f64 = stages[3].1.iter().map(|candidate| candidate.p).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
    assert!(look.seen.residual.values().all(|row| row.len() == hidden_size));
}

/// The token at which the running sum of probabilities, likeliest first, exceeds `u`.
fn drawn(candidates: &[Candidate], u: f64) -> TokenId {
    let mut candidates = candidates.to_vec();
    candidates.sort_by(|a, b| b.p.total_cmp(&a.p));
    let mut sum = 0.0;
    let is_it = |candidate: &&Candidate| {
        sum += candidate.p;
        sum > u
    };
    candidates.iter().find(is_it).expect("they sum to 1").id
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
    together.seen.chosen.retain(|key, _| key.0 == 0);
    assert_eq!(alone.seen, together.seen);
}

/// What a search tells of its beams, and which texts and beams the stages are for.
#[derive(Default)]
struct Tree {
    /// Ranks whose stages were shown, of each step.
    offered: Vec<Vec<usize>>,
    /// The texts of the running beams, by rank.
    running: Vec<Vec<TokenId>>,
    nodes: Vec<BeamNode>,
    finished: Vec<(Vec<TokenId>, f64)>,
}

impl Recorder for Tree {
    fn wants(&self, what: What) -> bool {
        matches!(what, What::Beams | What::Stages)
    }

    fn choice(&mut self, _row: usize, choice: usize) {
        if choice == 0 {
            self.end_step();
            self.offered.push(Vec::new());
        }
        self.offered.last_mut().expect("rank 0 comes first").push(choice);
    }

    fn chosen(&mut self, _id: TokenId, _u: Option<f64>) {
        panic!("a beam chooses no token");
    }

    fn beam(&mut self, node: BeamNode) {
        self.nodes.push(node);
    }
}

impl Tree {
    /// The running beams become those that the nodes of a step say.
    fn end_step(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        let totals: Vec<f64> = nodes.iter().map(|node| node.total).collect();
        assert!(totals.is_sorted_by(|a, b| a >= b), "{totals:?}");
        let mut running = Vec::new();
        for node in nodes {
            let mut text = self.running.get(node.beam).cloned().unwrap_or_default();
            text.push(node.id);
            match node.fate {
                BeamFate::RunsAs { rank } => {
                    assert_eq!(rank, running.len());
                    running.push(text);
                }
                BeamFate::Finished { score } => self.finished.push((text, score)),
                BeamFate::Dropped => {}
            }
        }
        self.running = running;
    }
}

#[test]
fn a_recorder_sees_the_tree_of_a_beam_search() {
    let (mut engine, _) = engine();
    let beams = BeamParams { num_return_sequences: 2, ..BeamParams::new(2) };
    let sampling = SamplingParams::greedy();
    let request = Request { sampling, decoding: Decoding::Beams(beams), ..request(PROMPTS[0]) };
    engine.submit(request).unwrap();
    let (mut events, mut tree) = (Events::default(), Tree::default());
    while !engine.is_idle() {
        engine.step(&mut events, &mut tree);
    }
    tree.end_step();
    assert_eq!(tree.offered, [vec![0], vec![0, 1], vec![0, 1], vec![0, 1]]);
    let mut texts = vec![(Vec::new(), 0.0); 2];
    for event in events.iter() {
        match event.kind {
            EventKind::Token { choice, id, .. } => texts[choice].0.push(id),
            EventKind::Ended { choice, score, .. } => texts[choice].1 = score.expect("beams have one"),
            _ => {}
        }
    }
    tree.finished.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(tree.finished[..2], texts);
}
