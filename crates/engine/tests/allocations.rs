//! A step in the steady state of decoding allocates nothing (design rule 5).

mod harness;

use limpid_engine::decode::{Choices, Decoding, LogprobsMode};
use limpid_engine::engine::{EngineConfig, Events};
use limpid_engine::sampling::{IgnoreEos, SamplingParams, StopParams};
use limpid_engine::trace::NoTrace;
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
    let mut events = Events::default();
    let mut step = |engine: &mut limpid_engine::engine::Engine| {
        engine.step(&mut events, &mut NoTrace);
        let n_bytes: usize = events.iter().count();
        events.clear();
        n_bytes
    };
    for _ in 0..50 {
        step(&mut engine);
    }
    let before = N_ALLOCATIONS.get();
    let n_tokens: usize = (0..300).map(|_| step(&mut engine)).sum();
    assert_eq!(N_ALLOCATIONS.get() - before, 0);
    assert_eq!((n_tokens, engine.n_running()), (1500, 3));
}
