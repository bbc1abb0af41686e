//! Several texts of one prompt, log-probabilities, prompts that are too long, and time limits.

mod harness;
mod support;

use harness::{Outcome, config, engine, request, run_alone};
use limpid_engine::TokenId;
use limpid_engine::decode::{Choices, Decoding, LogprobParams, LogprobsMode};
use limpid_engine::engine::{ContextOverflow, Dropped, Engine, EngineConfig, Events, Request};
use limpid_engine::sampling::{FinishReason, IgnoreEos};
use limpid_engine::trace::NoTrace;
use std::time::Duration;
use support::{Bench, Setup, goldens};

fn fake() -> Engine {
    engine(&EngineConfig { max_sequences: 6, ..config() }, &[None, Some(20)], None)
}

fn choices(n: usize, best_of: usize, request: Request) -> Request {
    Request { decoding: Decoding::Choices(Choices { n, best_of }), ..request }
}

fn endless(prompt: &[u32], max_tokens: usize) -> Request {
    let mut request = request(prompt, max_tokens);
    request.sampling.ignore_eos = IgnoreEos::Forbid;
    request
}

fn mean(logprobs: &[harness::OfToken]) -> f64 {
    logprobs.iter().map(|of| f64::from(of.0)).sum::<f64>() / logprobs.len() as f64
}

#[test]
fn every_choice_draws_its_own_text_and_the_first_is_that_of_one() {
    let prompt: Vec<u32> = (0..100).map(|i| 3 + i % 40).collect();
    let one = run_alone(fake(), endless(&prompt, 30));
    let three = run_alone(fake(), choices(3, 3, endless(&prompt, 30)));
    let five = run_alone(fake(), choices(5, 5, endless(&prompt, 30)));
    assert_eq!(one.tokens, three.tokens);
    assert_eq!(three.all_tokens(), five.all_tokens()[..3]);
    let mut distinct = five.all_tokens();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    let usage = five.finished().usage;
    assert_eq!((usage.completion_tokens, usage.computed_tokens), (5 * 30, 100 + 5 * 29), "the prompt once");
    let timings = &five.finished().timings;
    assert_eq!(timings.n_output, 30, "side by side they take the time of one");
}

#[test]
fn choices_end_one_by_one() {
    let outcome = run_alone(fake(), choices(6, 6, request(&[3, 4], 40)));
    let lens: Vec<usize> = outcome.all_tokens().iter().map(Vec::len).collect();
    assert!(lens.iter().min() < lens.iter().max(), "{lens:?}");
    for text in outcome.texts.values() {
        let ended = matches!(text.reason, Some(FinishReason::Eos { .. }));
        assert!(ended || text.tokens.len() == 40);
        assert_eq!(text.score, None, "nothing was ranked");
    }
}

#[test]
fn the_best_are_those_of_the_largest_mean_log_probability() {
    let logprobs = LogprobParams { output: Some(2), ..LogprobParams::default() };
    let prompt = &[3, 4, 5];
    let all = run_alone(fake(), Request { logprobs, ..choices(6, 6, request(prompt, 12)) });
    let mut expected: Vec<_> = all.texts.values().map(|text| (mean(&text.logprobs), text)).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = run_alone(fake(), Request { logprobs, ..choices(2, 6, request(prompt, 12)) });
    assert_eq!(best.texts.len(), 2);
    for (found, (mean, expected)) in best.texts.values().zip(expected) {
        assert_eq!((&found.tokens, &found.text), (&expected.tokens, &expected.text));
        assert_eq!((&found.logprobs, &found.reason), (&expected.logprobs, &expected.reason));
        assert!((found.score.unwrap() - mean).abs() < 1e-12);
    }
    let usage = best.finished().usage;
    assert_eq!(usage.completion_tokens, all.finished().usage.completion_tokens, "all that was made");
    let silent = run_alone(fake(), choices(2, 6, request(prompt, 12)));
    assert_eq!(silent.all_tokens(), best.all_tokens(), "also where nobody asks for log-probabilities");
    assert!(silent.texts.values().all(|text| text.logprobs.is_empty()));
}

/// ln softmax in f64, by the standard library: the oracle.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |m, &l| m.max(f64::from(l)));
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - max).exp()).sum();
    logits.iter().map(|&l| f64::from(l) - max - sum.ln()).collect()
}

fn stories() -> Engine {
    use limpid_engine::{tokenizer::Tokenizer, weights::WeightsFile};
    let path = goldens().join("stories260k/hf");
    let file = WeightsFile::open(&path).expect("the golden opens");
    let tokenizer = std::sync::Arc::new(Tokenizer::new(file.metadata()).expect("its tokenizer"));
    let model = Box::new(Bench::open(&path, Setup::exact()).model);
    let config = EngineConfig { context_length: 128, prefill_chunk: 7, ..config() };
    Engine::new(model, tokenizer, config, Box::new(harness::TickingClock::default())).expect("valid")
}

#[test]
fn raw_log_probabilities_are_those_of_the_logits() {
    let prompt = [1, 403, 407, 12, 55, 60, 71, 80, 99];
    let mut asking = endless(&prompt, 8);
    asking.sampling.top_k = 40;
    asking.logprobs = LogprobParams { output: Some(5), prompt: Some(3), mode: LogprobsMode::Raw };
    let outcome = run_alone(stories(), asking.clone());
    let mut bench = Bench::open(&goldens().join("stories260k/hf"), Setup::exact());
    let seq = bench.sequence();
    let tokens: Vec<u32> = prompt.iter().copied().chain(outcome.tokens.iter().map(|id| id.0)).collect();
    let rows = bench.feed(seq, &tokens);
    let of_prompt = outcome.prompt_logprobs.clone().expect("asked for");
    assert_eq!(of_prompt.len(), prompt.len() - 1);
    let of_all =
        of_prompt.iter().map(|of| (of, 3)).chain(outcome.texts[&0].logprobs.iter().map(|of| (of, 5)));
    for (i, ((logprob, top), n_top)) in of_all.enumerate() {
        let expected = log_softmax(&rows[i]);
        assert!((f64::from(*logprob) - expected[tokens[i + 1] as usize]).abs() < 1e-5);
        let mut ranked: Vec<usize> = (0..expected.len()).collect();
        ranked.sort_by(|&a, &b| expected[b].total_cmp(&expected[a]));
        let found: Vec<usize> = top.iter().map(|t| t.id.0 as usize).collect();
        assert_eq!(found, ranked[..n_top]);
        for top in top {
            assert!((f64::from(top.logprob) - expected[top.id.0 as usize]).abs() < 1e-5);
        }
    }
    let plain = run_alone(stories(), Request { logprobs: LogprobParams::default(), ..asking });
    assert_eq!((&plain.tokens, &plain.text), (&outcome.tokens, &outcome.text), "asking changes nothing");
}

#[test]
fn processed_log_probabilities_are_those_of_what_was_drawn_from() {
    let mut asking = endless(&[3, 4, 5], 20);
    (asking.sampling.top_k, asking.sampling.temperature) = (3, 0.5);
    asking.logprobs = LogprobParams { output: Some(9), prompt: None, mode: LogprobsMode::Processed };
    let processed = run_alone(fake(), asking.clone());
    asking.logprobs.mode = LogprobsMode::Raw;
    let raw = run_alone(fake(), asking);
    assert_eq!(processed.tokens, raw.tokens);
    let places = processed.texts[&0].logprobs.iter().zip(&raw.texts[&0].logprobs);
    for ((chosen, top), (_, of_raw)) in places {
        assert_eq!(top.len(), 3, "no more were in play");
        let sum: f64 = top.iter().map(|t| libm::exp(f64::from(t.logprob))).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert!(top.iter().any(|t| t.logprob == *chosen));
        // At half the temperature distances are twice as large.
        let raw = |id| of_raw.iter().find(|t| t.id == id).expect("among the likeliest").logprob;
        let distance = raw(top[0].id) - raw(top[2].id);
        assert!((top[0].logprob - top[2].logprob - 2.0 * distance).abs() < 1e-5);
    }
}

#[test]
fn a_prompts_log_probabilities_do_not_depend_on_room_for_logits() {
    let prompt: Vec<u32> = (0..70).map(|i| 3 + i * 7 % 40).collect();
    let mut asking = request(&prompt, 3);
    asking.logprobs.prompt = Some(1);
    // One sequence leaves room for 16 rows of logits, four for the same 19 in all; alone and beside others.
    let wide =
        run_alone(engine(&EngineConfig { max_sequences: 1, ..config() }, &[None], None), asking.clone());
    let mut shared = engine(&config(), &[None], None);
    let ids = [(); 4].map(|()| shared.submit(asking.clone()).unwrap());
    let log = harness::run_to_end(&mut shared);
    for id in ids {
        assert_eq!(log.0[&id].bytes(), wide.bytes());
    }
    let again = EngineConfig { kv_cache: false, ..config() };
    assert_eq!(run_alone(engine(&again, &[None], None), asking.clone()).bytes(), wide.bytes());
    let short = run_alone(fake(), Request { prompt: harness::ids(&[3]), ..asking });
    assert_eq!(short.prompt_logprobs, Some(vec![]), "before the first token there is nothing");
}

#[test]
fn a_broken_prompt_row_ends_its_request_alone() {
    let poison = Some(TokenId(9));
    let mut asking = request(&[3, 9, 4], 5);
    asking.logprobs.prompt = Some(0);
    let mut shared = engine(&config(), &[None], poison);
    let broken = shared.submit(asking.clone()).unwrap();
    asking.prompt = harness::ids(&[3, 4]);
    let healthy = shared.submit(asking).unwrap();
    let log = harness::run_to_end(&mut shared);
    let error = log.0[&broken].finished().error.clone().expect("broken");
    assert!(
        error.to_string().starts_with("the logits after token 1 of the prompt are not finite"),
        "{error}"
    );
    assert_eq!(log.0[&healthy].finished().error, None);
}

#[test]
fn a_prompt_that_is_too_long_is_cut_as_asked() {
    let small = || engine(&EngineConfig { context_length: 40, ..config() }, &[None], None);
    let prompt: Vec<u32> = (0..45).map(|i| 3 + i % 43).collect();
    let run = |context_overflow, max_tokens: Option<usize>| {
        let asked = Request { context_overflow, max_tokens, ..endless(&prompt, 1) };
        run_alone(small(), asked)
    };
    let alone = |kept: Vec<u32>, max_tokens| run_alone(small(), endless(&kept, max_tokens));
    let dropped = |outcome: &Outcome| outcome.dropped.map(|Dropped { start, n_tokens }| (start, n_tokens));

    let left = run(ContextOverflow::TruncateLeft, Some(11));
    assert_eq!(dropped(&left), Some((0, 16)));
    assert_eq!((left.tokens.len(), left.finished().usage.prompt_tokens), (11, 29));
    assert_eq!(left.tokens, alone(prompt[16..].to_vec(), 11).tokens);

    let middle = run(ContextOverflow::TruncateMiddle, Some(11));
    assert_eq!(dropped(&middle), Some((15, 16)));
    let kept = [&prompt[..15], &prompt[31..]].concat();
    assert_eq!(middle.tokens, alone(kept, 11).tokens);

    let open = run(ContextOverflow::TruncateLeft, None);
    assert_eq!((dropped(&open), open.tokens.len()), (Some((0, 15)), 10), "a quarter is made free");
    let fits = Request { context_overflow: ContextOverflow::TruncateLeft, ..endless(&[3; 20], 20) };
    assert_eq!(run_alone(small(), fits).dropped, None);
    let refused = |context_overflow, max_tokens| {
        let asked = Request { context_overflow, ..endless(&prompt, max_tokens) };
        small().submit(asked).unwrap_err().to_string()
    };
    assert!(refused(ContextOverflow::Error, 1).contains("45 tokens"));
    for max_tokens in [40, 41] {
        let error = refused(ContextOverflow::TruncateLeft, max_tokens);
        assert!(error.contains("holds 40, prompt included: nothing of the prompt could stay"), "{error}");
        assert!(error.contains("Lower max_tokens below 40"), "{error}");
    }
    let longest = Request { context_overflow: ContextOverflow::TruncateLeft, ..endless(&prompt, 39) };
    assert_eq!(dropped(&run_alone(small(), longest)), Some((0, prompt.len() - 1)), "one token stays");
}

#[test]
fn a_request_ends_when_its_time_is_up() {
    // The clock goes on by a millisecond at every look.
    let limited = |ms| Request { time_limit: Some(Duration::from_millis(ms)), ..endless(&[3, 4], 200) };
    let late = run_alone(fake(), limited(30));
    let unlimited = run_alone(fake(), endless(&[3, 4], 200));
    assert_eq!(late.finished().reason, FinishReason::TimeLimit);
    assert!(!late.tokens.is_empty() && unlimited.tokens.starts_with(&late.tokens));
    assert!(unlimited.text.starts_with(&late.text));
    let patient = run_alone(fake(), Request { max_tokens: Some(5), ..limited(100_000) });
    assert_eq!(patient.finished().reason, FinishReason::MaxTokens);
    // In the queue, and while the prompt is computed.
    let none = run_alone(fake(), limited(1));
    assert_eq!((none.started, &none.finished().reason), (false, &FinishReason::TimeLimit));
    let early = Request { prompt: harness::ids(&[3; 200]), ..limited(6) };
    for decoding in [1, 2].map(|best_of| Decoding::Choices(Choices { n: 1, best_of })) {
        let outcome = run_alone(fake(), Request { decoding, ..early.clone() });
        assert_eq!((outcome.started, outcome.tokens.len()), (true, 0));
        assert_eq!(outcome.texts[&0].reason, Some(FinishReason::TimeLimit));
    }
    let ranked = run_alone(fake(), choices(1, 3, limited(30)));
    assert_eq!(ranked.finished().reason, FinishReason::TimeLimit);
    assert!(ranked.tokens.len() > 3, "the best so far");
}

#[test]
fn cancelling_ends_every_choice_once() {
    for (n, best_of) in [(3, 3), (2, 4)] {
        let mut engine = fake();
        let id = engine.submit(choices(n, best_of, endless(&[3, 4], 50))).unwrap();
        let (mut log, mut events) = (harness::Log::default(), Events::default());
        for _ in 0..5 {
            engine.step(&mut events, &mut NoTrace);
        }
        assert!(engine.cancel(id, &mut events));
        log.take(&mut events);
        assert_eq!(engine.kv_stats().n_used_pages, 0);
        let reasons: Vec<_> = log.0[&id].texts.values().map(|text| text.reason.clone()).collect();
        assert_eq!(reasons, vec![Some(FinishReason::Cancelled); n]);
        assert!(log.0[&id].texts.values().all(|text| !text.tokens.is_empty()), "the best so far");
    }
}
