//! What the engine promises, one promise a test.

mod harness;

use harness::{
    A, BOS, EOS, FOX, Log, TickingClock, config, engine, fake, ids, request, run_alone, run_to_end,
};
use limpid_engine::TokenId;
use limpid_engine::engine::{
    ConfigError, ConversationId, Engine, EngineConfig, Events, LengthLimit, Request, RequestError,
    SubmitError,
};
use limpid_engine::kv::KvCache;
use limpid_engine::model::{Batch, BatchRow, Forward, Want};
use limpid_engine::sampling::{FinishReason, IgnoreEos, SampleError};
use limpid_engine::trace::NoTrace;
use std::time::Duration;

/// Prompts have one token, BOS.
fn scripted(script: &[u32], fails_at: Option<usize>) -> Engine {
    scripted_after(1, script, fails_at)
}

/// Whatever the history, the most likely token after n generated ones is `script[n]`. Call `fails_at` fails.
fn scripted_after(n_prompt: u32, script: &[u32], fails_at: Option<usize>) -> Engine {
    let script = ids(script);
    harness::told::engine_told(config(), fails_at, move |row, logits| {
        let next = script[(row.position + 1 - n_prompt) as usize];
        logits[next.0 as usize] = 100.0;
    })
}

fn letters(text: &str) -> Vec<u32> {
    text.bytes().map(|letter| A.0 + u32::from(letter - b'a')).collect()
}

/// The events of each step until the end, texts only.
fn texts_by_step(mut engine: Engine, request: limpid_engine::engine::Request) -> Vec<String> {
    let id = engine.submit(request).unwrap();
    let (mut log, mut events, mut texts, mut n_bytes) = (Log::default(), Events::default(), vec![], 0);
    while !engine.is_idle() {
        engine.step(&mut events, &mut NoTrace);
        log.take(&mut events);
        let text = &log.0[&id].text;
        texts.push(text[n_bytes..].to_owned());
        n_bytes = text.len();
    }
    texts
}

#[test]
fn a_request_is_refused_for_what_it_asks_itself() {
    let mut engine = engine(&EngineConfig { context_length: 100, ..config() }, &[None], None);
    assert_eq!(engine.submit(request(&[], 5)), Err(SubmitError::EmptyPrompt));
    let unknown = SubmitError::UnknownToken { token: TokenId(48), position: 1, vocab_size: 48 };
    assert_eq!(engine.submit(request(&[3, 48], 5)), Err(unknown));
    let error = engine.submit(request(&[3; 96], 5)).unwrap_err();
    let limit = LengthLimit::Model;
    assert_eq!(error, SubmitError::TooLong { n_prompt: 96, max_tokens: 5, limit, max_len: 100 });
    let expected = "the prompt has 96 tokens and max_tokens is 5, but the model's context holds 100. \
                    Lower max_tokens to 4 or shorten the prompt";
    assert_eq!(error.to_string(), expected, "what the model was made for cannot be enlarged");
    engine.submit(request(&[3; 95], 5)).unwrap();
    for (n_prompt, no_room) in [(100, ": no room for an answer"), (101, "")] {
        let error = engine.submit(request(&vec![3; n_prompt], 1)).unwrap_err();
        assert_eq!(error, SubmitError::PromptTooLong { n_prompt, limit, max_len: 100 });
        let expected = format!(
            "the prompt has {n_prompt} tokens, and the model's context holds 100{no_room}. Shorten the prompt"
        );
        assert_eq!(error.to_string(), expected);
    }
    assert!(engine.submit(request(&[3], 0)).unwrap_err().to_string().contains("max_tokens is 0"));
    let mut impatient = request(&[3], 4);
    impatient.sampling.min_tokens = 5;
    assert!(engine.submit(impatient).unwrap_err().to_string().contains("min_tokens is 5"));
}

#[test]
fn the_pool_limits_a_request_where_it_is_smaller_than_the_context() {
    let config = EngineConfig { n_pages: 2, ..config() };
    let mut small = engine(&config, &[None], None);
    let error = small.submit(request(&[3; 100], 29)).unwrap_err();
    let limit = LengthLimit::KvCache;
    assert_eq!(error, SubmitError::TooLong { n_prompt: 100, max_tokens: 29, limit, max_len: 128 });
    assert!(error.to_string().ends_with(", or enlarge the KV cache"), "{error}");
    // Layers that all have a window give back pages as they go: two pages are enough for any length.
    let outcome = run_alone(
        engine(&EngineConfig { prefill_chunk: 1, ..config }, &[Some(50)], None),
        forbid_eos(request(&[3; 100], 300)),
    );
    assert_eq!(outcome.tokens.len(), 300);
}

fn forbid_eos(mut request: limpid_engine::engine::Request) -> limpid_engine::engine::Request {
    request.sampling.ignore_eos = IgnoreEos::Forbid;
    request
}

#[test]
fn a_context_below_the_models_can_be_enlarged() {
    let (model, config) = (fake(&config(), &[None], None), EngineConfig { context_length: 100, ..config() });
    let clock = Box::new(TickingClock::default());
    let mut engine = Engine::new(Box::new(model), harness::tokenizer(), config, clock).unwrap();
    let error = engine.submit(request(&[3; 96], 5)).unwrap_err();
    assert!(error.to_string().ends_with(", or enlarge the context"), "{error}");
}

#[test]
fn the_queue_is_bounded() {
    let mut engine = engine(&EngineConfig { max_waiting: 2, ..config() }, &[None], None);
    engine.submit(request(&[3], 1)).unwrap();
    engine.submit(request(&[3], 1)).unwrap();
    assert_eq!(engine.submit(request(&[3], 1)), Err(SubmitError::QueueFull { max_waiting: 2 }));
}

#[test]
fn limits_that_do_not_go_together_are_refused() {
    let new = |config: EngineConfig| {
        let model = fake(&harness::config(), &[None], None);
        Engine::new(Box::new(model), harness::tokenizer(), config, Box::new(TickingClock::default()))
            .err()
            .unwrap()
    };
    let error = new(EngineConfig { n_pages: 0, ..config() });
    assert_eq!(error, ConfigError::Zero { name: "n_pages" });
    let error = new(EngineConfig { context_length: 513, ..config() });
    assert_eq!(error, ConfigError::ContextTooLong { asked: 513, most: 512 });
    let error = new(EngineConfig { prefill_chunk: 17, ..config() });
    let (max_sequences, prefill_chunk) = (4, 17);
    assert_eq!(error, ConfigError::BatchTooLarge { max_sequences, prefill_chunk, n_rows: 20, most: 19 });
}

#[test]
fn eos_is_a_token_but_no_text() {
    let outcome = run_alone(scripted(&[3, 4, EOS.0, 5], None), request(&[BOS.0], 10));
    assert_eq!((outcome.tokens, outcome.text.as_str()), (ids(&[3, 4, EOS.0]), "ab"));
    assert_eq!(outcome.finished.unwrap().reason, FinishReason::Eos { id: EOS });
}

#[test]
fn eos_can_be_ignored() {
    let mut through = request(&[BOS.0], 4);
    through.sampling.ignore_eos = IgnoreEos::GenerateThrough;
    let outcome = run_alone(scripted(&[3, EOS.0, 4, 5, 6], None), through);
    assert_eq!((outcome.tokens, outcome.text.as_str()), (ids(&[3, EOS.0, 4, 5]), "abc"));
    assert_eq!(outcome.finished.unwrap().reason, FinishReason::MaxTokens);
}

#[test]
fn a_stop_id_ends_the_text_before_or_after_itself() {
    let mut stopping = request(&[BOS.0], 10);
    stopping.stop.stop_token_ids = ids(&[5]);
    // What is held back for "bz" comes before the stop id's own text.
    stopping.stop.stop = vec!["bz".into()];
    let outcome = run_alone(scripted(&[3, 4, 5, 6], None), stopping.clone());
    assert_eq!((outcome.tokens.len(), outcome.text.as_str()), (3, "ab"));
    assert_eq!(outcome.finished.unwrap().reason, FinishReason::StopId { id: TokenId(5) });
    stopping.stop.include_stop = true;
    assert_eq!(run_alone(scripted(&[3, 4, 5, 6], None), stopping).text, "abc");
}

#[test]
fn text_that_may_become_a_stop_string_is_held_back() {
    let mut stopping = request(&[BOS.0], 7);
    stopping.stop.stop = vec!["cat".into()];
    let steps = texts_by_step(scripted(&letters("xcacatz"), None), stopping.clone());
    assert_eq!(steps, ["x", "", "", "ca", "", ""], "the first ca is no cat, the second is");
    let steps = texts_by_step(scripted(&letters("xxxxxca"), None), stopping);
    assert_eq!(steps, ["x", "x", "x", "x", "x", "", "ca"], "and comes free where the text ends");
}

#[test]
fn half_a_character_is_never_shown() {
    let fox = [FOX, FOX + 1, FOX + 2, FOX + 3, 3];
    let steps = texts_by_step(scripted(&fox, None), request(&[BOS.0], 5));
    assert_eq!(steps, ["", "", "", "🦊", "a"]);
    let steps = texts_by_step(scripted(&fox, None), request(&[BOS.0], 2));
    assert_eq!(steps, ["", "\u{fffd}"]);
}

#[test]
fn without_max_tokens_the_context_is_the_limit() {
    let config = EngineConfig { context_length: 40, ..config() };
    let mut endless = forbid_eos(request(&[3; 10], 1));
    endless.max_tokens = None;
    let outcome = run_alone(engine(&config, &[None], None), endless.clone());
    assert_eq!((outcome.tokens.len(), &outcome.finished().reason), (30, &FinishReason::Context));
    endless.max_tokens = Some(30);
    let outcome = run_alone(engine(&config, &[None], None), endless);
    assert_eq!((outcome.tokens.len(), &outcome.finished().reason), (30, &FinishReason::MaxTokens));
}

#[test]
fn cancelling_gives_pages_back_at_once() {
    let mut engine = scripted(&letters("abcdefgh"), None);
    let mut held = request(&[BOS.0], 7);
    held.stop.stop = vec!["cx".into()];
    let running = engine.submit(held).unwrap();
    let (mut log, mut events) = (Log::default(), Events::default());
    for _ in 0..3 {
        engine.step(&mut events, &mut NoTrace);
    }
    let waiting = engine.submit(request(&[BOS.0], 7)).unwrap();
    assert_eq!(engine.kv_stats().n_used_pages, 1);
    assert!(engine.cancel(waiting, &mut events) && engine.cancel(running, &mut events));
    assert_eq!((engine.kv_stats().n_used_pages, engine.is_idle()), (0, true));
    assert!(!engine.cancel(running, &mut events), "it is over");
    log.take(&mut events);
    assert_eq!(log.0[&running].text, "abc", "what was held back comes free");
    assert_eq!(log.0[&running].finished().reason, FinishReason::Cancelled);
    let usage = log.0[&waiting].finished().usage;
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.computed_tokens), (1, 0, 0));
}

#[test]
fn broken_logits_end_their_request_alone() {
    let poison = TokenId(9);
    let mut shared = engine(&config(), &[None], Some(poison));
    let broken = shared.submit(request(&[3, 9], 5)).unwrap();
    // The poisoned token is in its prompt, but never the last one: the fake's logits are those of any other.
    let mut cautious = request(&[9, 3], 5);
    cautious.stop.stop_token_ids = ids(&[9]);
    let healthy = shared.submit(cautious.clone()).unwrap();
    let log = run_to_end(&mut shared);
    let finished = log.0[&broken].finished();
    assert_eq!(finished.reason, FinishReason::Error);
    assert!(matches!(finished.error, Some(RequestError::Sample(SampleError::BadLogit { .. }))));
    let alone = run_alone(engine(&config(), &[None], None), cautious);
    assert_eq!(log.0[&healthy].bytes(), alone.bytes());
}

#[test]
fn a_failed_batch_ends_the_requests_in_it_alone() {
    let mut engine = scripted_after(40, &letters("abcdef"), Some(3));
    let mut held = request(&[3; 40], 5);
    held.stop.stop = vec!["ax".into()];
    let first = engine.submit(held).unwrap();
    let (mut log, mut events) = (Log::default(), Events::default());
    // Three chunks, the last of which gives the first token.
    for _ in 0..3 {
        engine.step(&mut events, &mut NoTrace);
    }
    let second = engine.submit(request(&[3; 40], 5)).unwrap();
    let third = engine.submit(request(&[3; 40], 5)).unwrap();
    // The fourth batch fails: a row of the first request and a chunk of the second. The third has to wait.
    engine.step(&mut events, &mut NoTrace);
    log.take(&mut events);
    for failed in [first, second] {
        assert!(matches!(log.0[&failed].finished().error, Some(RequestError::Forward(_))));
    }
    assert_eq!(log.0[&first].text, "a", "what was held back comes free");
    assert_eq!(engine.kv_stats().n_used_pages, 0);
    assert_eq!(harness::go_on_to_end(&mut engine, log).0[&third].text, "abcde");
}

#[test]
fn penalties_see_what_was_generated() {
    let mut penalized = request(&[BOS.0], 2);
    penalized.sampling.temperature = 0.0;
    assert_eq!(run_alone(scripted(&letters("aa"), None), penalized.clone()).text, "aa");
    // The favourite's logit is 100, all others are 0: 100 / 100 - 2 is less.
    penalized.sampling.repetition_penalty = 100.0;
    penalized.sampling.presence_penalty = 2.0;
    let outcome = run_alone(scripted(&letters("aa"), None), penalized);
    assert_eq!(outcome.tokens[0], A);
    assert_ne!(outcome.tokens[1], A);
}

#[test]
fn first_come_first_served() {
    // The second request needs more pages than are left, the third one would fit: it does not overtake.
    let config = EngineConfig { n_pages: 4, ..config() };
    let mut engine = engine(&config, &[None], None);
    let first = engine.submit(forbid_eos(request(&[3; 10], 100))).unwrap();
    let second = engine.submit(forbid_eos(request(&[4; 10], 180))).unwrap();
    let third = engine.submit(forbid_eos(request(&[5; 10], 5))).unwrap();
    let (mut log, mut events) = (Log::default(), Events::default());
    while log.0.get(&first).is_none_or(|outcome| outcome.finished.is_none()) {
        assert!(!log.0.contains_key(&second) && !log.0.contains_key(&third));
        engine.step(&mut events, &mut NoTrace);
        log.take(&mut events);
    }
    engine.step(&mut events, &mut NoTrace);
    log.take(&mut events);
    assert!(log.0[&second].started && log.0[&third].started);
}

#[test]
fn decoding_goes_on_while_a_long_prompt_is_computed() {
    let config = EngineConfig { prefill_chunk: 4, ..config() };
    let mut engine = engine(&config, &[None], None);
    let (mut log, mut events) = (Log::default(), Events::default());
    let decoding = engine.submit(forbid_eos(request(&[3], 100))).unwrap();
    engine.step(&mut events, &mut NoTrace);
    let long = engine.submit(request(&[5; 20], 1)).unwrap();
    for _ in 0..5 {
        engine.step(&mut events, &mut NoTrace);
    }
    log.take(&mut events);
    assert_eq!(log.0[&decoding].tokens.len(), 6, "one token a step");
    assert_eq!(log.0[&long].finished().usage.computed_tokens, 20, "five chunks of four");
}

#[test]
fn without_a_kv_cache_pages_are_given_back_after_every_token() {
    let cached = run_alone(engine(&config(), &[None, Some(3)], None), forbid_eos(request(&[3; 10], 5)));
    let mut uncached = engine(&EngineConfig { kv_cache: false, ..config() }, &[None, Some(3)], None);
    let id = uncached.submit(forbid_eos(request(&[3; 10], 5))).unwrap();
    let (mut log, mut events) = (Log::default(), Events::default());
    while !uncached.is_idle() {
        uncached.step(&mut events, &mut NoTrace);
        assert_eq!(uncached.kv_stats().n_used_pages, 0);
    }
    log.take(&mut events);
    assert_eq!(log.0[&id].bytes(), cached.bytes());
    assert_eq!(log.0[&id].finished().usage.computed_tokens, 10 + 11 + 12 + 13 + 14);
    assert_eq!(cached.finished().usage.computed_tokens, 14);
}

#[test]
fn the_parts_of_ttft_add_up() {
    let mut asked = forbid_eos(request(&[3; 40], 5));
    asked.accepted_at = Duration::ZERO;
    asked.tokenized_at = Duration::from_micros(500);
    let outcome = run_alone(engine(&config(), &[None], None), asked);
    let timings = &outcome.finished().timings;
    let ttft = timings.ttft.unwrap();
    // The clock ticks when the request starts (1 ms), after each of three chunks, and when the token is handed over.
    let ms = Duration::from_millis;
    assert_eq!(ttft.tokenize, Duration::from_micros(500));
    assert_eq!((ttft.queue, ttft.prefill, ttft.first_sample), (Duration::from_micros(500), ms(3), ms(1)));
    assert_eq!(ttft.total(), ms(5));
    assert_eq!((timings.tpot(), timings.n_prefilled), (Some(ms(2)), 40), "two looks at the clock a token");
}

#[test]
fn the_first_content_ends_ttft() {
    // Four tokens make one character. After the start at 1 ms each token takes two looks at the clock.
    let outcome = run_alone(scripted(&[FOX, FOX + 1, FOX + 2, FOX + 3, 3], None), request(&[BOS.0], 5));
    let timings = &outcome.finished().timings;
    let ttft = timings.ttft.unwrap();
    assert_eq!((ttft.prefill, ttft.first_sample), (Duration::from_millis(1), Duration::from_millis(7)));
    assert_eq!(timings.decode, Duration::from_millis(8), "from the first token, with text or without");
}

#[test]
fn a_fork_has_its_own_future() {
    let mut model = fake(&config(), &[None], None);
    let mut kv = KvCache::new(model.kv_layout().clone(), 8).unwrap();
    let mut next_logits = |kv: &mut KvCache, seq, tokens: &[u32]| {
        let first = kv.len(seq) as u32;
        kv.extend(seq, tokens.len()).unwrap();
        let mut batch = Batch::default();
        for (position, &token) in (first..).zip(tokens) {
            batch.rows.push(BatchRow { token: TokenId(token), position, seq, want: Want::Nothing });
        }
        batch.rows.last_mut().unwrap().want = Want::Logits;
        model.forward(&batch, kv, &mut NoTrace).unwrap().row(0).to_vec()
    };
    let first = kv.create(100);
    next_logits(&mut kv, first, &[3, 4, 5]);
    let second = kv.fork(first, 100);
    let after_7 = next_logits(&mut kv, first, &[7]);
    let after_8 = next_logits(&mut kv, second, &[8]);
    let fresh = kv.create(100);
    assert_eq!(next_logits(&mut kv, fresh, &[3, 4, 5, 7]), after_7);
    kv.truncate(fresh, 3);
    assert_eq!(next_logits(&mut kv, fresh, &[8]), after_8);
    assert_ne!(after_7, after_8);
}

#[test]
fn a_conversation_computes_only_what_is_new() {
    let conversation = Some(ConversationId(5));
    let mut engine = engine(&config(), &[None, Some(200)], None);
    let mut ask = |prompt: &[u32], conversation| {
        let id = engine.submit(Request { conversation, ..forbid_eos(request(prompt, 8)) }).unwrap();
        let outcome = run_to_end(&mut engine).0.remove(&id).unwrap();
        let usage = outcome.finished().usage;
        (outcome.tokens.iter().map(|id| id.0).collect::<Vec<_>>(), usage.cached_tokens, usage.computed_tokens)
    };
    let first = letters("abcdefghij");
    let (answer, cached, computed) = ask(&first, conversation);
    assert_eq!((cached, computed), (0, 10 + 7));
    let second = [&first[..], &answer, &letters("xyz")].concat();
    let (said, cached, computed) = ask(&second, conversation);
    assert_eq!((cached, computed), (10 + 7, 1 + 3 + 7), "the last token of the answer was not computed");
    let alone = ask(&second, None);
    assert_eq!(alone, (said.clone(), 0, 21 + 7), "the same without what was kept");
    assert_eq!(ask(&second, conversation), (said, 20, 1 + 7), "once more: the last token wants logits");
    assert!(engine.kv_stats().n_used_pages > 0);
    assert!(engine.forget(ConversationId(5)));
    assert!(!engine.forget(ConversationId(5)));
    assert_eq!(engine.kv_stats().n_used_pages, 0);
}

#[test]
fn what_is_kept_makes_room_for_who_needs_it() {
    let mut engine = engine(&EngineConfig { n_pages: 3, ..config() }, &[None], None);
    let mut ask = |n_prompt: usize, conversation: Option<u64>| {
        let conversation = conversation.map(ConversationId);
        let prompt = vec![5; n_prompt];
        let id = engine.submit(Request { conversation, ..forbid_eos(request(&prompt, 2)) }).unwrap();
        run_to_end(&mut engine).0[&id].finished().usage.cached_tokens
    };
    // Of three pages each conversation keeps one.
    assert_eq!([ask(50, Some(1)), ask(50, Some(2)), ask(50, Some(3))], [0; 3]);
    assert_eq!(ask(50, Some(1)), 49);
    // Two pages: the oldest goes, which is 2 now.
    assert_eq!(ask(100, Some(1)), 50);
    assert_eq!(ask(50, Some(3)), 49);
    assert_eq!(ask(150, None), 0, "all go");
    assert_eq!([ask(50, Some(1)), ask(50, Some(3))], [0; 2]);
}
