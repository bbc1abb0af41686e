//! A step in the steady state of decoding allocates nothing (design rule 5).

mod harness;

use limpid_engine::TokenId;
use limpid_engine::decode::{BeamParams, Choices, Decoding, LogprobsMode};
use limpid_engine::engine::{Engine, EngineConfig, Events};
use limpid_engine::sampling::{
    Candidates, History, IgnoreEos, PenaltyScope, Sampler, SamplingParams, StopParams,
};
use limpid_engine::trace::NoTrace;
use limpid_kernels::isa::Isa;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Those of this thread: the test harness's own may come at any time. (The fake model has no other threads.)
    static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `alloc` got it from the same allocator; the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    // The default `realloc` and `alloc_zeroed` call `alloc`, so they are counted.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_allocates_nothing() {
    let config = EngineConfig { max_sequences: 5, n_pages: 64, ..harness::config() };
    let mut engine = harness::engine(&config, &[None, Some(20)], None);
    for seed in 0..3 {
        let mut request = harness::request(&[5, 6, 7, 8], 400);
        request.sampling = SamplingParams {
            temperature: 0.9,
            top_p: 0.9,
            top_k: 30,
            min_p: 0.01,
            repetition_penalty: 1.1,
            frequency_penalty: 0.1,
            presence_penalty: 0.1,
            seed,
            ignore_eos: IgnoreEos::Forbid,
            ..SamplingParams::greedy()
        };
        request.stop =
            StopParams { stop: vec!["never said".into(), "zzzzzz".into()], ..StopParams::default() };
        if seed == 2 {
            request.decoding = Decoding::Choices(Choices { n: 3, best_of: 3 });
            request.logprobs.output = Some(3);
            request.logprobs.mode = LogprobsMode::Processed;
        }
        engine.submit(request).unwrap();
    }
    let (n_allocations, n_tokens) = in_steady_state(&mut engine);
    assert_eq!((n_allocations, n_tokens, engine.n_running()), (0, 1500, 3));
}

/// Allocations of 300 steps after the first 50, and what they had to tell.
fn in_steady_state(engine: &mut Engine) -> (usize, usize) {
    let mut events = Events::default();
    let mut step = || {
        engine.step(&mut events, &mut NoTrace);
        let n_events = events.iter().count();
        events.clear();
        n_events
    };
    (0..50).for_each(|_| {
        step();
    });
    let before = N_ALLOCATIONS.get();
    let n_events = (0..300).map(|_| step()).sum();
    (N_ALLOCATIONS.get() - before, n_events)
}

#[test]
fn beams_allocate_nothing() {
    let config = EngineConfig { max_sequences: 7, n_pages: 64, ..harness::config() };
    let mut engine = harness::engine(&config, &[None, Some(20)], None);
    let mut request = harness::request(&[5, 6, 7, 8], 400);
    request.sampling = SamplingParams {
        repetition_penalty: 1.1,
        dry_multiplier: 0.5,
        ignore_eos: IgnoreEos::Forbid,
        ..SamplingParams::greedy()
    };
    // Text is held back now and then, in some beams and not in others.
    request.stop = StopParams { stop: vec!["an".repeat(9), "e".repeat(40)], ..StopParams::default() };
    request.logprobs.output = Some(0);
    request.decoding = Decoding::Beams(BeamParams::new(5));
    engine.submit(request).unwrap();
    // Beams agree on many tokens at once now and then. This one is told as a whole, so that there is room for them.
    let mut ranked = harness::request(&[5, 6], 40);
    ranked.sampling.ignore_eos = IgnoreEos::Forbid;
    ranked.decoding = Decoding::Choices(Choices { n: 1, best_of: 2 });
    engine.submit(ranked).unwrap();
    let (n_allocations, n_tokens) = in_steady_state(&mut engine);
    assert!(n_tokens > 0, "nothing was agreed on");
    assert_eq!((n_allocations, engine.n_running()), (0, 1));
}

#[test]
fn no_sampler_allocates() {
    const VOCAB_SIZE: usize = 5000;
    let plain = SamplingParams { temperature: 0.9, seed: 1, ..SamplingParams::greedy() };
    let all = SamplingParams {
        top_p: 0.99,
        top_k: 3000,
        min_p: 1e-4,
        typical_p: 0.99,
        epsilon_cutoff: 1e-6,
        eta_cutoff: 1e-5,
        top_n_sigma: 4.0,
        xtc_probability: 0.5,
        mirostat_tau: 8.0,
        repetition_penalty: 1.1,
        frequency_penalty: 0.1,
        presence_penalty: 0.1,
        penalty_scope: PenaltyScope::Last(64),
        dry_multiplier: 0.8,
        dry_breakers: vec![TokenId(3)],
        no_repeat_ngram_size: 3,
        bad_words_ids: vec![vec![TokenId(1), TokenId(2)]],
        suppress_tokens: vec![TokenId(4)],
        logit_bias: vec![(TokenId(5), 1.0)],
        ..plain.clone()
    };
    let allowed = (0..4000).map(TokenId).collect();
    let other = SamplingParams { dynatemp_min: 0.5, dynatemp_max: 2.0, allowed_token_ids: allowed, ..plain };
    let logits: Vec<f32> = (0..VOCAB_SIZE).map(|i| (i * 7919 % 1013) as f32 * 0.01).collect();
    for params in [all, other] {
        let sampler = Sampler::new(&params, &[], &[], VOCAB_SIZE).unwrap();
        let mut scratch = Candidates::new(VOCAB_SIZE, Isa::Portable);
        let mut history = History::new(&[TokenId(1), TokenId(1)], 100, VOCAB_SIZE);
        let mut before = 0;
        for i in 0..100 {
            let token = sampler.sample(&logits, &mut history, &mut scratch, &mut NoTrace).unwrap();
            history.push(token);
            if i == 0 {
                before = N_ALLOCATIONS.get();
            }
        }
        assert_eq!(N_ALLOCATIONS.get(), before);
    }
}
