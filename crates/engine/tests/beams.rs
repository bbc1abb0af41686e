//! Beam search: transformers' own answers, and what may not change it.

mod harness;
mod support;

use harness::{Outcome, TickingClock, run_alone, run_to_end};
use limpid_engine::TokenId;
use limpid_engine::decode::{BeamParams, Choices, Decoding, EarlyStopping, LogprobParams, LogprobsMode};
use limpid_engine::engine::{Engine, EngineConfig, EventKind, Events, Request, SubmitError};
use limpid_engine::sampling::{FinishReason, IgnoreEos, SamplingParams, StopParams};
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::NoTrace;
use limpid_engine::weights::WeightsFile;
use serde_json::Value;
use std::sync::Arc;
use support::{Bench, Setup, goldens};

fn ids(value: &Value) -> Vec<TokenId> {
    let ids = value.as_array().expect("a list").iter();
    ids.map(|id| TokenId(id.as_u64().expect("an id") as u32)).collect()
}

/// An engine over a checkpoint of the goldens, in f32.
fn engine_of(checkpoint: &str, kv_cache: bool) -> Engine {
    let path = goldens().join(checkpoint).join("hf");
    let file = WeightsFile::open(&path).expect("the golden opens");
    let tokenizer = Arc::new(Tokenizer::new(file.metadata()).expect("its tokenizer"));
    let model = Bench::open(&path, Setup::exact()).model;
    let config = EngineConfig {
        context_length: 128,
        n_pages: 40,
        max_sequences: 17,
        max_waiting: 200,
        prefill_chunk: 50,
        kv_cache,
    };
    Engine::new(Box::new(model), tokenizer, config, Box::new(TickingClock::default()))
        .expect("these go together")
}

fn early_stopping(value: &Value) -> EarlyStopping {
    match value {
        Value::Bool(true) => EarlyStopping::True,
        Value::Bool(false) => EarlyStopping::False,
        other => {
            assert_eq!(other, "never");
            EarlyStopping::Never
        }
    }
}

/// The request of a case.
fn golden_request(golden: &Value, case: &Value, eos: &[TokenId]) -> Request {
    let prompt = ids(&golden["prompt_token_ids"][case["prompt"].as_u64().expect("a number") as usize]);
    let sampling = SamplingParams {
        repetition_penalty: case["repetition_penalty"].as_f64().unwrap_or(1.0) as f32,
        min_tokens: case["min_new_tokens"].as_u64().unwrap_or(0) as u32,
        ..SamplingParams::greedy()
    };
    let beams = BeamParams {
        num_beams: case["num_beams"].as_u64().expect("a number") as usize,
        length_penalty: case["length_penalty"].as_f64().expect("a number"),
        early_stopping: early_stopping(&case["early_stopping"]),
        num_return_sequences: case["texts"].as_array().expect("a list").len(),
    };
    let mut request = Request::new(prompt, sampling);
    let ends = ids(&golden["eos_token_ids"]);
    assert!(eos.iter().all(|id| ends.contains(id)), "the engine has other EOS ids: {eos:?}");
    request.stop.stop_token_ids = ends.into_iter().filter(|id| !eos.contains(id)).collect();
    request.max_tokens = golden["max_new_tokens"].as_u64().map(|n| n as usize);
    request.decoding = Decoding::Beams(beams);
    request.logprobs = LogprobParams { output: Some(0), mode: LogprobsMode::Processed, prompt: None };
    request
}

fn check_case(name: &str, case: &Value, outcome: &Outcome) {
    let expected = case["texts"].as_array().expect("a list");
    assert_eq!(outcome.texts.len(), expected.len());
    let length_penalty = case["length_penalty"].as_f64().expect("a number");
    for (text, expected) in outcome.texts.values().zip(expected) {
        assert_eq!(text.tokens, ids(&expected["token_ids"]), "{name}: {case}");
        let (score, golden) = (text.score.expect("a beam's"), expected["score"].as_f64().expect("a number"));
        assert!((score - golden).abs() <= 1e-3 * golden.abs(), "{name}: {score} in {case}");
        let sum: f64 = text.logprobs.iter().map(|of| f64::from(of.0)).sum();
        assert_eq!(score, sum / libm::pow(text.tokens.len() as f64, length_penalty), "{name}: {case}");
    }
}

#[test]
fn texts_and_scores_are_those_of_transformers() {
    for name in ["stories260k", "qwen3"] {
        let path = goldens().join("beams").join(format!("{name}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(&path).expect("the golden")).expect("JSON");
        let file = WeightsFile::open(&goldens().join(name).join("hf")).expect("the golden opens");
        let tokenizer = Tokenizer::new(file.metadata()).expect("its tokenizer");
        let eos: Vec<TokenId> = tokenizer.special().eos_ids().collect();
        let cases = golden["cases"].as_array().expect("a list");
        assert!(cases.len() >= 70, "{name}: nearly all of 78");
        // Side by side, so that searches of other widths are each other's neighbours.
        let mut engine = engine_of(name, true);
        let submit = |case| engine.submit(golden_request(&golden, case, &eos)).expect("let in");
        let requests: Vec<_> = cases.iter().map(submit).collect();
        let log = run_to_end(&mut engine);
        for (case, id) in cases.iter().zip(requests) {
            check_case(name, case, &log.0[&id]);
        }
    }
}

fn beams(num_beams: usize) -> Decoding {
    Decoding::Beams(BeamParams { num_return_sequences: num_beams, ..BeamParams::new(num_beams) })
}

fn greedy(prompt: &[u32], max_tokens: usize) -> Request {
    let sampling = SamplingParams { ignore_eos: IgnoreEos::Forbid, ..SamplingParams::greedy() };
    Request { max_tokens: Some(max_tokens), ..Request::new(harness::ids(prompt), sampling) }
}

#[test]
fn one_beam_is_greedy() {
    let logprobs = LogprobParams { output: Some(0), ..LogprobParams::default() };
    for checkpoint in ["stories260k", "qwen3", "llama3"] {
        for prompt in [&[1, 5, 9][..], &[1, 22, 33, 44, 55, 66, 77]] {
            let plain = Request { logprobs, ..greedy(prompt, 60) };
            let one = Request { decoding: beams(1), ..plain.clone() };
            let plain = run_alone(engine_of(checkpoint, true), plain);
            let one = run_alone(engine_of(checkpoint, true), one);
            assert_eq!((&one.tokens, &one.text), (&plain.tokens, &plain.text), "{checkpoint}");
            assert_eq!(one.texts[&0].logprobs, plain.texts[&0].logprobs);
        }
    }
}

#[test]
fn the_kv_cache_changes_no_beam() {
    let request = Request { decoding: beams(5), ..greedy(&[1, 22, 33, 44, 55, 66], 20) };
    let cached = run_alone(engine_of("stories260k", true), request.clone());
    let computed_again = run_alone(engine_of("stories260k", false), request);
    assert_eq!(cached.bytes(), computed_again.bytes());
    assert_eq!(cached.finished().usage.computed_tokens, 6 + 5 * 19, "the prompt once, then a row a beam");
    assert!(computed_again.finished().usage.computed_tokens > 1000);
}

/// Over the fake model, whose logits depend on every token before.
fn fake(config: &EngineConfig) -> Engine {
    harness::engine(config, &[None, Some(20)], None)
}

fn config() -> EngineConfig {
    EngineConfig { max_sequences: 8, ..harness::config() }
}

#[test]
fn what_all_beams_agree_on_is_told_early() {
    let mut request = Request { decoding: beams(4), ..greedy(&[3, 4, 5], 40) };
    request.logprobs.output = Some(0);
    let alone = run_alone(fake(&config()), request.clone());
    let mut engine = fake(&config());
    engine.submit(request).unwrap();
    let (mut events, mut early) = (Events::default(), Vec::new());
    for _ in 0..20 {
        engine.step(&mut events, &mut NoTrace);
    }
    for event in events.iter() {
        if let EventKind::Token { choice, id, .. } = event.kind {
            assert_eq!(choice, 0);
            early.push(id);
        }
    }
    assert!(!early.is_empty() && early.len() < 20, "{} tokens", early.len());
    assert!(alone.all_tokens().iter().all(|tokens| tokens.starts_with(&early)));
}

#[test]
fn texts_are_distinct_and_sorted() {
    let outcome = run_alone(fake(&config()), Request { decoding: beams(8), ..greedy(&[3], 12) });
    let mut tokens = outcome.all_tokens();
    let scores: Vec<f64> = outcome.texts.values().map(|text| text.score.unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 8);
}

#[test]
fn stop_strings_end_a_beam() {
    let plain = run_alone(fake(&config()), Request { decoding: beams(3), ..greedy(&[3], 12) });
    let mut request = Request { decoding: beams(3), ..greedy(&[3], 12) };
    // Two characters of the middle of the best text.
    let stop = plain.text[4..6].to_owned();
    request.stop.stop = vec![stop.clone()];
    let stopped = run_alone(fake(&config()), request);
    let ended: Vec<_> = stopped
        .texts
        .values()
        .filter(|text| matches!(&text.reason, Some(FinishReason::StopString { .. })))
        .collect();
    assert!(!ended.is_empty(), "{stopped:?}");
    for text in ended {
        assert!(!text.text.contains(&stop), "{}", text.text);
    }
}

#[test]
fn cancelled_and_late_searches_give_all_back() {
    let request = Request { decoding: beams(4), ..greedy(&[3, 4, 5], 40) };
    let mut engine = fake(&config());
    let id = engine.submit(request.clone()).unwrap();
    let mut events = Events::default();
    for _ in 0..9 {
        engine.step(&mut events, &mut NoTrace);
    }
    assert!(engine.cancel(id, &mut events));
    engine.check_integrity().unwrap();
    assert_eq!(engine.kv_stats().n_used_pages, 0);
    let mut log = harness::Log::default();
    log.take(&mut events);
    let cancelled = &log.0[&id];
    assert!(!cancelled.tokens.is_empty());
    assert_eq!(cancelled.finished().usage.completion_tokens, cancelled.tokens.len(), "what all agreed on");
    let limited = Request { time_limit: Some(std::time::Duration::from_millis(12)), ..request.clone() };
    let late = run_alone(fake(&config()), limited.clone());
    assert_eq!(late.finished().reason, FinishReason::TimeLimit);
    assert_eq!(late.texts.len(), 4);
    let n = late.tokens.len();
    assert!(n > 0 && n < 40);
    // What was held back, since it could begin a stop string, is released then.
    let last = late.text.chars().last().expect("a text");
    let stop = StopParams { stop: vec![format!("{last}~")], ..StopParams::default() };
    let held = run_alone(fake(&config()), Request { stop, ..limited });
    assert_eq!((held.all_tokens(), &held.text), (late.all_tokens(), &late.text));
    // What ran counts as finished, as at a length limit.
    let short = run_alone(fake(&config()), Request { max_tokens: Some(n), ..request });
    assert_eq!(late.all_tokens(), short.all_tokens());
    assert_eq!(late.text, short.text);
}

#[test]
fn a_search_that_is_late_tells_the_texts_that_it_has() {
    // While the prompt is computed there is one beam, of no tokens: one text, though two are asked for.
    let prompt = [3; 200];
    let limited = |ms| {
        let time_limit = Some(std::time::Duration::from_millis(ms));
        let beams = BeamParams { num_return_sequences: 2, length_penalty: 1.0, ..BeamParams::new(2) };
        let decoding = Decoding::Beams(beams);
        run_alone(fake(&config()), Request { time_limit, decoding, ..greedy(&prompt, 40) })
    };
    let early = limited(6);
    assert_eq!((early.started, early.finished().reason.clone()), (true, FinishReason::TimeLimit));
    assert_eq!(early.all_tokens(), [vec![]]);
    assert_eq!(early.texts[&0].reason, Some(FinishReason::TimeLimit));
    assert_eq!(early.texts[&0].score, Some(0.0), "of no tokens");
    assert_eq!(early.finished().usage.completion_tokens, 0);
    let waiting = limited(1);
    assert_eq!((waiting.started, waiting.texts.len()), (false, 0));
    let late = limited(60);
    assert_eq!((late.finished().reason.clone(), late.texts.len()), (FinishReason::TimeLimit, 2));
}

#[test]
fn pages_are_shared_up_to_the_prompts_last() {
    // 8 sequences of 200 + 8 positions: 3 whole pages shared, and one of each.
    let config = EngineConfig { n_pages: 11, prefill_chunk: 100, ..config() };
    let engine = || harness::engine(&config, &[None], None);
    let prompt: Vec<u32> = (0..200).map(|i| 3 + i % 40).collect();
    for decoding in [beams(8), Decoding::Choices(Choices { n: 8, best_of: 8 })] {
        let request = Request { decoding, ..greedy(&prompt, 56) };
        assert_eq!(run_alone(engine(), request.clone()).texts.len(), 8);
        let error = engine().submit(Request { max_tokens: Some(57), ..request.clone() }).unwrap_err();
        assert!(matches!(error, SubmitError::TooLong { max_len: 256, .. }), "{error}");
        assert!(error.to_string().contains("the KV cache, shared by 8 sequences, holds 256"), "{error}");
        let open = Request { max_tokens: None, ..request };
        assert_eq!(run_alone(engine(), open).tokens.len(), 56);
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let refused = |edit: &dyn Fn(&mut Request)| {
        let mut request = Request { decoding: beams(4), ..greedy(&[3], 5) };
        edit(&mut request);
        fake(&config()).submit(request).unwrap_err().to_string()
    };
    let error = refused(&|r| r.sampling.temperature = 0.5);
    assert_eq!(error, "temperature is 0.5, allowed is 0 with num_beams: beams do not draw");
    let error = refused(&|r| (r.sampling.dynatemp_min, r.sampling.dynatemp_max) = (0.5, 1.0));
    assert_eq!(error, "dynatemp_max is 1, allowed is 0 with num_beams: beams do not draw");
    let error = refused(&|r| r.logprobs.output = Some(2));
    assert_eq!(error, "logprobs is 2, allowed is 0 with num_beams: that of the chosen token");
    let error = refused(&|r| r.decoding = beams(9));
    assert_eq!(error, "num_beams is 9, allowed is at most 8, the sequences that run at the same time");
    let choices = |n, best_of| move |r: &mut Request| r.decoding = Decoding::Choices(Choices { n, best_of });
    let error = refused(&choices(9, 9));
    assert_eq!(error, "n is 9, allowed is at most 8, the sequences that run at the same time");
    let error = refused(&choices(1, 9));
    assert_eq!(error, "best_of is 9, allowed is at most 8, the sequences that run at the same time");
    assert_eq!(refused(&choices(3, 2)), "best_of is 2, allowed is n (3) or more");
    assert_eq!(refused(&choices(0, 2)), "n is 0, allowed is 1 or more");
    let error = refused(&|r| r.logprobs.prompt = Some(101));
    assert_eq!(error, "prompt_logprobs is 101, allowed is from 0 to 100");
}

/// An engine whose model gives these tokens these probabilities, and all others next to none.
fn constant(probabilities: &[(TokenId, f64)], kv_cache: bool) -> Engine {
    let probabilities = probabilities.to_vec();
    harness::told::engine_told(EngineConfig { kv_cache, ..config() }, None, move |_, logits| {
        logits.fill(-30.0);
        probabilities.iter().for_each(|&(id, p)| logits[id.0 as usize] = libm::log(p) as f32);
    })
}

#[test]
fn a_text_that_ends_below_the_first_num_beams_is_forgotten() {
    let (a, b) = (harness::A, TokenId(4));
    let run = |probabilities: &[(TokenId, f64)]| {
        let prompt = harness::ids(&[3]);
        let request = Request::new(prompt, SamplingParams::greedy());
        run_alone(
            constant(probabilities, true),
            Request { max_tokens: Some(3), decoding: beams(2), ..request },
        )
        .all_tokens()
    };
    // EOS at once would score best, but it is the third of the first step.
    let found = run(&[(a, 0.4), (b, 0.35), (harness::EOS, 0.25)]);
    assert_eq!(found, [vec![a, a, a], vec![a, a, b]]);
    // The first ends; of the others the second of those that end is the third again.
    let found = run(&[(harness::EOS, 0.4), (a, 0.3), (harness::END, 0.2), (b, 0.1)]);
    assert_eq!(found, [vec![harness::EOS], vec![a, harness::EOS]]);
}

#[test]
fn candidates_are_enough_where_many_ids_end_a_text() {
    let ends = [10, 11, 12, 13, 14].map(TokenId);
    let others = ends[1..].iter().map(|&id| (id, 0.15));
    let probabilities: Vec<_> = others.chain([(ends[0], 0.21), (harness::A, 0.14)]).collect();
    let mut request = greedy(&[3], 8);
    request.stop.stop_token_ids = ends.to_vec();
    let params =
        BeamParams { length_penalty: 2.0, early_stopping: EarlyStopping::Never, ..BeamParams::new(1) };
    request.decoding = Decoding::Beams(params);
    let outcome = run_alone(constant(&probabilities, true), request);
    assert_eq!(outcome.tokens.len(), 8, "longer texts gain: {:?}", outcome.tokens);
}

#[test]
fn a_scored_prompt_takes_no_more_logits_than_there_is_room_for() {
    for kv_cache in [true, false] {
        let mut request = greedy(&[3; 60], 4);
        request.logprobs.prompt = Some(0);
        let outcome = run_alone(constant(&[(harness::A, 1.0)], kv_cache), request);
        assert_eq!(outcome.finished().error, None);
        assert_eq!(outcome.prompt_logprobs.map(|logprobs| logprobs.len()), Some(59));
    }
}
