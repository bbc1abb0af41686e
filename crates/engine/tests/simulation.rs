//! The engine under random traffic: what must hold after every step, and what no traffic may change.
//!
//! Everything is drawn from a seed, which a failure prints.

mod harness;
#[path = "support/random.rs"]
mod random;

use harness::{Log, Outcome, Text, VOCAB_SIZE};
use limpid_engine::TokenId;
use limpid_engine::decode::{BeamParams, Choices, Decoding, EarlyStopping, LogprobParams, LogprobsMode};
use limpid_engine::engine::{
    ContextOverflow, ConversationId, Dropped, Engine, EngineConfig, Events, Request, RequestId, SubmitError,
};
use limpid_engine::sampling::{FinishReason, IgnoreEos, SamplingParams, StopParams};
use limpid_engine::tokenizer::Detokenizer;
use limpid_engine::trace::NoTrace;
use random::Random;
use std::collections::BTreeMap;

/// Says which seed it was when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of the failed simulation: {}", self.0);
        }
    }
}

struct Arrival {
    at_step: usize,
    request: Request,
    /// Cancelled so many steps later, if it is not over by then.
    cancelled_after: Option<usize>,
}

struct Scenario {
    config: EngineConfig,
    windows: Vec<Option<u32>>,
    poison: Option<TokenId>,
    /// By step.
    arrivals: Vec<Arrival>,
}

fn scenario(random: &mut Random) -> Scenario {
    let config = EngineConfig {
        context_length: random.range(40, 300),
        n_pages: random.range(1, 9),
        max_sequences: random.range(1, 5),
        max_waiting: random.range(4, 20),
        prefill_chunk: random.pick(&[1, 2, 7, 16, 64, 200]),
        kv_cache: !random.one_in(4),
    };
    let windows =
        random.pick(&[vec![None], vec![None, Some(1)], vec![Some(70), None], vec![None, Some(9), None]]);
    let poison = random.one_in(3).then_some(TokenId(20));
    let mut at_step = 0;
    let arrivals = (0..random.range(1, 14)).map(|_| {
        at_step += if random.one_in(2) { 0 } else { random.range(0, 30) };
        let cancelled_after = random.one_in(4).then(|| random.range(0, 40));
        Arrival { at_step, request: request(random), cancelled_after }
    });
    Scenario { arrivals: arrivals.collect(), config, windows, poison }
}

fn request(random: &mut Random) -> Request {
    let n_prompt = if random.one_in(4) { random.range(1, 200) } else { random.range(1, 20) };
    let max_tokens = if random.one_in(5) { None } else { Some(random.range(1, 90)) };
    let n_stops = random.range(0, 2);
    let decoding = decoding(random);
    let is_alone = decoding.width() == 1;
    // What several sequences have room for depends on what they share: that is not to be told from one.
    let max_tokens = if is_alone { max_tokens } else { max_tokens.or(Some(20)) };
    let is_beams = matches!(decoding, Decoding::Beams(_));
    let conversation = random.one_in(3).then(|| random.range(0, N_CONVERSATIONS - 1));
    let prompt = prompt(random, n_prompt, conversation);
    let sampling = SamplingParams {
        temperature: if is_beams { 0.0 } else { random.pick(&[0.0, 0.7, 1.5]) },
        top_p: random.pick(&[1.0, 0.8]),
        top_k: random.pick(&[0, 10]),
        repetition_penalty: random.pick(&[1.0, 1.3]),
        presence_penalty: random.pick(&[0.0, 0.5]),
        seed: random.next(),
        min_tokens: if max_tokens.is_some() { 0 } else { random.range(0, 10) as u32 },
        ignore_eos: random.pick(&[
            IgnoreEos::No,
            IgnoreEos::No,
            IgnoreEos::GenerateThrough,
            IgnoreEos::Forbid,
        ]),
        ..SamplingParams::greedy()
    };
    let texts = (0..n_stops).map(|_| random.pick(&["ab", "the", "q", "zz", "onon", "🦊"]).to_owned());
    let mut stop = StopParams {
        stop: texts.collect(),
        stop_token_ids: if random.one_in(5) { vec![TokenId(random.range(3, 47) as u32)] } else { vec![] },
        include_stop: random.one_in(2),
    };
    stop.include_stop &= n_stops > 0 || !stop.stop_token_ids.is_empty();
    Request {
        stop,
        max_tokens,
        context_overflow: match random.range(0, 3) {
            0 if is_alone => ContextOverflow::TruncateLeft,
            1 if is_alone => ContextOverflow::TruncateMiddle,
            _ => ContextOverflow::Error,
        },
        logprobs: LogprobParams {
            output: random.one_in(3).then(|| if is_beams { 0 } else { random.range(0, 3) }),
            prompt: random.one_in(4).then(|| random.range(0, 3)),
            mode: random.pick(&[LogprobsMode::Raw, LogprobsMode::Processed]),
        },
        decoding,
        conversation: conversation.map(|conversation| ConversationId(conversation as u64)),
        ..Request::new(prompt, sampling)
    }
}

const N_CONVERSATIONS: usize = 3;

/// The prompts of a conversation have a beginning in common.
fn prompt(random: &mut Random, n_prompt: usize, conversation: Option<usize>) -> Vec<TokenId> {
    let n_common = conversation.map_or(0, |_| random.range(0, n_prompt));
    let mut of_conversation = Random(conversation.unwrap_or(0) as u64);
    let common: Vec<_> = (0..n_common).map(|_| of_conversation.range(0, VOCAB_SIZE - 1)).collect();
    let rest = (n_common..n_prompt).map(|_| random.range(0, VOCAB_SIZE - 1));
    common.into_iter().chain(rest).map(|id| TokenId(id as u32)).collect()
}

fn decoding(random: &mut Random) -> Decoding {
    let n = random.range(1, 3);
    match random.range(0, 4) {
        0 => Decoding::Choices(Choices { n, best_of: n }),
        1 => Decoding::Choices(Choices { n, best_of: n + random.range(0, 2) }),
        2 => Decoding::Beams(BeamParams {
            num_beams: n,
            length_penalty: random.pick(&[-1.0, 0.0, 1.0]),
            early_stopping: random.pick(&[EarlyStopping::True, EarlyStopping::False, EarlyStopping::Never]),
            num_return_sequences: random.range(1, n),
        }),
        _ => Decoding::default(),
    }
}

/// What became of a request that was submitted.
struct Submitted {
    id: RequestId,
    request: Request,
    cancel_at_step: Option<usize>,
}

struct Simulation {
    engine: Engine,
    events: Events,
    log: Log,
    submitted: Vec<Submitted>,
}

impl Simulation {
    fn new(scenario: &Scenario) -> Self {
        let engine = harness::engine(&scenario.config, &scenario.windows, scenario.poison);
        Self { engine, events: Events::default(), log: Log::default(), submitted: Vec::new() }
    }

    fn submit(&mut self, arrival: &Arrival, config: &EngineConfig) {
        let request = &arrival.request;
        let max_len = config.context_length.min(config.n_pages * 64);
        let is_cut = request.context_overflow != ContextOverflow::Error;
        let n_wanted = request.max_tokens.unwrap_or(1);
        let is_too_long = (if is_cut { 1 } else { request.prompt.len() }) + n_wanted > max_len;
        let is_alone = request.decoding.width() == 1;
        match self.engine.submit(request.clone()) {
            Ok(id) => {
                assert!(!is_too_long);
                let cancel_at_step = arrival.cancelled_after.map(|after| arrival.at_step + after);
                self.submitted.push(Submitted { id, request: request.clone(), cancel_at_step });
            }
            Err(SubmitError::QueueFull { .. }) => assert_eq!(self.engine.n_waiting(), config.max_waiting),
            Err(SubmitError::Param(error)) if error.name == "min_tokens" => {}
            Err(SubmitError::Param(error)) => {
                assert!(["n", "best_of", "num_beams"].contains(&&*error.name), "{error}");
                assert!(request.decoding.width() > config.max_sequences);
            }
            Err(error) => assert!(is_too_long || !is_alone, "{error}"),
        }
    }

    fn cancel_due(&mut self, step: usize) {
        for submitted in self.submitted.iter().filter(|s| s.cancel_at_step == Some(step)) {
            let used_before = self.engine.kv_stats().n_used_pages;
            let was_over = self.log.0.get(&submitted.id).is_some_and(|outcome| outcome.finished.is_some());
            assert_eq!(self.engine.cancel(submitted.id, &mut self.events), !was_over);
            assert!(self.engine.kv_stats().n_used_pages <= used_before);
            self.log.take(&mut self.events);
        }
    }

    fn step(&mut self, config: &EngineConfig) {
        self.engine.step(&mut self.events, &mut NoTrace);
        self.log.take(&mut self.events);
        self.engine.check_integrity().unwrap();
        assert!(self.engine.n_running() <= config.max_sequences);
        if self.engine.is_idle() && self.log.0.len().is_multiple_of(3) {
            for conversation in 0..N_CONVERSATIONS {
                self.engine.forget(ConversationId(conversation as u64));
            }
            assert_eq!(self.engine.kv_stats().n_used_pages, 0, "pages leaked");
        }
    }

    fn run(mut self, scenario: &Scenario) -> (Vec<Submitted>, BTreeMap<RequestId, Outcome>) {
        let mut arrivals = scenario.arrivals.iter().peekable();
        for step in 0..200_000 {
            while let Some(arrival) = arrivals.next_if(|arrival| arrival.at_step == step) {
                self.submit(arrival, &scenario.config);
            }
            self.cancel_due(step);
            if arrivals.peek().is_none() && self.engine.is_idle() {
                return (self.submitted, self.log.0);
            }
            self.step(&scenario.config);
        }
        panic!("the engine does not come to an end");
    }
}

fn check_usage(outcome: &Outcome, request: &Request, kv_cache: bool) {
    let usage = outcome.finished().usage;
    let n_dropped = outcome.dropped.map_or(0, |dropped| dropped.n_tokens);
    let n_prompt = request.prompt.len() - n_dropped;
    let is_plain = request.decoding == Decoding::default();
    let was_cut_off = matches!(outcome.finished().reason, FinishReason::Cancelled | FinishReason::Error);
    if !was_cut_off || is_plain && outcome.started {
        assert_eq!(usage.prompt_tokens, n_prompt);
    }
    if is_plain {
        assert_eq!(usage.completion_tokens, outcome.tokens.len());
    }
    let Decoding::Choices(choices) = request.decoding else { return };
    if was_cut_off || choices.are_ranked() {
        return;
    }
    let n_outputs: Vec<usize> = outcome.texts.values().map(|text| text.tokens.len()).collect();
    assert_eq!(usage.completion_tokens, n_outputs.iter().sum::<usize>());
    let n_computed =
        |n_output: usize| if kv_cache { n_output - 1 } else { (1..n_output).map(|i| n_prompt + i).sum() };
    let n_prefilled = n_prompt - usage.cached_tokens;
    assert_eq!(usage.computed_tokens, n_prefilled + n_outputs.into_iter().map(n_computed).sum::<usize>());
}

/// A text by its tokens and its ending, without hold-back.
fn expected_text(told: &Text, prompt: &[TokenId], include_stop: bool) -> String {
    let tokenizer = harness::tokenizer();
    let reason = told.reason.as_ref().expect("it has ended");
    let drops_last = match reason {
        FinishReason::Eos { .. } => true,
        FinishReason::StopId { .. } => !include_stop,
        _ => false,
    };
    let tokens = &told.tokens[..told.tokens.len() - usize::from(drops_last)];
    let mut detokenizer = Detokenizer::after(&tokenizer, prompt);
    let mut text = String::new();
    tokens.iter().for_each(|&id| detokenizer.push(&tokenizer, id, &mut text));
    match reason {
        FinishReason::StopString { text: stop, at, .. } => {
            assert!(text[*at..].starts_with(stop));
            text.truncate(at + if include_stop { stop.len() } else { 0 });
        }
        _ if told.tokens.is_empty() => {}
        _ => detokenizer.finish(&mut text),
    }
    text
}

fn check_texts(outcome: &Outcome, request: &Request) {
    let mut prompt = request.prompt.clone();
    if let Some(Dropped { start, n_tokens }) = outcome.dropped {
        prompt.drain(start..start + n_tokens);
    }
    assert!(!outcome.started || outcome.texts.len() == request.decoding.n_texts());
    for told in outcome.texts.values() {
        assert_eq!(told.text, expected_text(told, &prompt, request.stop.include_stop));
        let n_logprobs = if request.logprobs.output.is_some() { told.tokens.len() } else { 0 };
        assert_eq!(told.logprobs.len(), n_logprobs);
    }
}

/// Runs one scenario. Returns the reasons for which its requests ended.
fn simulate(seed: u64) -> Vec<FinishReason> {
    let _seed = Seed(seed);
    let mut random = Random(seed);
    let scenario = scenario(&mut random);
    let (submitted, outcomes) = Simulation::new(&scenario).run(&scenario);
    for Submitted { id, request, cancel_at_step } in submitted {
        let outcome = &outcomes[&id];
        check_usage(outcome, &request, scenario.config.kv_cache);
        check_texts(outcome, &request);
        // Alone, in other chunks, and with the other setting of the KV cache.
        let width = request.decoding.width();
        let config = EngineConfig {
            max_sequences: width,
            n_pages: if width == 1 { scenario.config.n_pages } else { 100 },
            prefill_chunk: random.range(1, 100),
            kv_cache: !scenario.config.kv_cache,
            ..scenario.config.clone()
        };
        let alone =
            harness::run_alone(harness::engine(&config, &scenario.windows, scenario.poison), request.clone());
        if outcome.finished().reason == FinishReason::Cancelled {
            assert!(cancel_at_step.is_some());
            // What was best by then need not be in the end.
            let is_ranked =
                matches!(&request.decoding, Decoding::Choices(choices) if choices.best_of > choices.n);
            for (choice, told) in outcome.texts.iter().filter(|_| !is_ranked) {
                let is_beginning = alone.texts[choice].tokens.starts_with(&told.tokens);
                assert!(is_beginning, "request {}", id.0);
            }
        } else if width > 1 && outcome.finished().reason == FinishReason::Error {
            // How far the others came when one of its texts failed depends on the cache.
            assert_eq!(alone.finished().reason, FinishReason::Error, "request {}", id.0);
            for (choice, told) in &outcome.texts {
                let (found, other) = (&told.tokens, &alone.texts[choice].tokens);
                let is_beginning = found.starts_with(other) || other.starts_with(found);
                assert!(is_beginning, "request {}", id.0);
            }
        } else {
            assert_eq!(outcome.bytes(), alone.bytes(), "request {}", id.0);
        }
    }
    outcomes.into_values().map(|outcome| outcome.finished().reason.clone()).collect()
}

#[test]
fn random_traffic() {
    let mut n_endings = BTreeMap::new();
    for seed in 0..300 {
        for reason in simulate(seed) {
            let name = format!("{reason:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            *n_endings.entry(name).or_insert(0) += 1;
        }
    }
    // A simulation that never meets an ending says nothing about it.
    for name in ["Eos", "StopString", "StopId", "MaxTokens", "Context", "Cancelled", "Error"] {
        assert!(n_endings.get(name).is_some_and(|&n| n >= 20), "{name} is rare: {n_endings:?}");
    }
}
