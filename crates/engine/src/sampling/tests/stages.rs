//! The formulas of the stages that few requests turn on, on the same six logits, with numbers worked out by hand.

use super::*;
use crate::sampling::order::Stage;
use crate::sampling::{PenaltyScope, SamplerOrder};
use crate::trace::NoTrace;

fn kept(params: SamplingParams) -> Vec<u32> {
    stages(params).kept()
}

/// The logits in the end, -inf for what is not left.
fn logits_after(params: SamplingParams, prompt: &[u32], output: &[u32]) -> [f32; 6] {
    let mut logits = [f32::NEG_INFINITY; 6];
    for c in run(&params, &LOGITS, &history(prompt, output)).0.last() {
        logits[c.id.0 as usize] = c.logit;
    }
    logits
}

const OUT: f32 = f32::NEG_INFINITY;

#[test]
fn typical_p_ranks_by_the_distance_from_the_entropy() {
    // -ln p = 0.5222, 1.5222, 2.5222, 3.0222, 3.0222, 4.5222; H = 0.3098 + 0.3322 + 0.2025 + 2 * 0.1472 + 0.0491 =
    // 1.1880. Distances 0.6658, 0.3342, 1.3342, 1.8342, 1.8342, 3.3342: the order is 1, 0, 2, 3, 4, 5.
    let kept = |typical_p| kept(SamplingParams { typical_p, ..plain() });
    assert_eq!(kept(0.0), [1]);
    assert_eq!(kept(0.21), [1]);
    assert_eq!(kept(0.22), [0, 1]);
    assert_eq!(kept(0.82), [0, 1, 2]);
    assert_eq!(kept(0.9), [0, 1, 2, 3], "equally typical ones by id");
    assert_eq!(kept(0.999), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn cutoffs_compare_with_a_probability() {
    let epsilon = |epsilon_cutoff| kept(SamplingParams { epsilon_cutoff, ..plain() });
    assert_eq!(epsilon(0.08), [0, 1, 2]);
    assert_eq!(epsilon(0.081), [0, 1]);
    assert_eq!(epsilon(1.0), [0], "the most likely one stays");
    // The bound is min(e, sqrt(e) * exp(-1.1880) = sqrt(e) * 0.3048); the second is less from e = 0.0929 on.
    let eta = |eta_cutoff| kept(SamplingParams { eta_cutoff, ..plain() });
    assert_eq!(eta(0.01), [0, 1, 2, 3, 4, 5]);
    assert_eq!(eta(0.05), [0, 1, 2]);
    assert_eq!(eta(0.3), [0, 1], "0.1669");
    assert_eq!(eta(1.0), [0], "0.3048");
}

#[test]
fn top_n_sigma_counts_standard_deviations() {
    // Mean 1, squares 4 + 1 + 0 + 0.25 + 0.25 + 4 = 9.5: sigma = sqrt(9.5 / 6) = 1.2583.
    let kept = |top_n_sigma| kept(SamplingParams { top_n_sigma, ..plain() });
    assert_eq!(kept(0.79), [0]);
    assert_eq!(kept(0.8), [0, 1]);
    assert_eq!(kept(1.58), [0, 1]);
    assert_eq!(kept(1.98), [0, 1, 2]);
    assert_eq!(kept(1.99), [0, 1, 2, 3, 4]);
    assert_eq!(kept(4.0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn xtc_keeps_the_least_likely_of_the_top() {
    let kept =
        |xtc_threshold, xtc_probability| kept(SamplingParams { xtc_threshold, xtc_probability, ..plain() });
    assert_eq!(kept(0.3, 1.0), [0, 1, 2, 3, 4, 5], "one token alone stays");
    assert_eq!(kept(0.2, 1.0), [1, 2, 3, 4, 5]);
    assert_eq!(kept(0.08, 1.0), [2, 3, 4, 5]);
    assert_eq!(kept(0.04, 1.0), [4, 5], "of equal ones the highest id");
    assert_eq!(kept(0.0, 1.0), [5]);
    let banned =
        SamplingParams { xtc_threshold: 0.0, xtc_probability: 1.0, suppress_tokens: ids(&[5]), ..plain() };
    assert_eq!(stages(banned).kept(), [4], "a token that is masked is not the least likely one");
    // A draw of its own decides.
    let params = |seed| SamplingParams { xtc_threshold: 0.2, xtc_probability: 0.3, seed, ..plain() };
    let n = (0..2000).filter(|&seed| stages(params(seed)).kept().len() == 5).count();
    assert!((500..700).contains(&n), "{n} of 2000, 600 expected");
}

#[test]
fn dynamic_temperature_follows_the_entropy() {
    let params = |min, max, exponent| SamplingParams {
        dynatemp_min: min,
        dynatemp_max: max,
        dynatemp_exponent: exponent,
        ..plain()
    };
    // 1.1880 / ln 6 = 0.66303.
    for (exponent, share) in [(1.0, 0.66303f32), (2.0, 0.43961), (0.0, 1.0)] {
        let temperature = 0.5 + share;
        let found = 3.0 / logits_after(params(0.5, 1.5, exponent), &[], &[])[0];
        assert!((found - temperature).abs() < 1e-4, "{exponent}: {found}, expected {temperature}");
    }
    let uniform = run(&params(0.5, 1.5, 1.0), &[1.0; 4], &history(&[], &[])).0.logits();
    assert!((uniform[0] - 1.0 / 1.5).abs() < 1e-6, "the highest temperature where all are alike");
    let single = run(&params(0.5, 1.5, 1.0), &[7.0], &history(&[], &[])).0.logits();
    assert_eq!(single, [14.0], "the lowest where there is one");
    // A model may say do_sample: false, which is temperature 0.
    let in_place_of = |temperature| stages(SamplingParams { temperature, ..params(0.5, 1.5, 1.0) });
    assert_eq!(in_place_of(0.0).logits(), in_place_of(1.0).logits());
}

#[test]
fn a_logit_that_a_temperature_takes_out_of_range_is_masked() {
    // top_n_sigma has looked for masked ones before the temperature makes another.
    let params = SamplingParams {
        temperature: 0.5,
        top_n_sigma: 1000.0,
        typical_p: 0.999,
        sampler_order: "top_n_sigma,temperature,typical_p".parse().expect("an order"),
        ..plain()
    };
    let (stages, token) = run(&params, &[1.0, f32::MIN, 1.5], &history(&[], &[]));
    assert_eq!(stages.kept(), [0, 2]);
    assert!(token.is_ok());
}

#[test]
fn mirostat_bounds_the_surprise_and_follows_it() {
    let params = SamplingParams { mirostat_tau: 1.0, mirostat_eta: 0.5, seed: 2, ..plain() };
    // -log2 p = 0.7534, 2.1960, 3.6387, ...: mu = 2 keeps one token, whose surprise is then 0.
    assert_eq!(kept(params.clone()), [0]);
    let sampler = Sampler::new(&params, &[], &[], 6).expect("valid");
    let mut past = history(&[], &[]);
    let sample = |past: &mut History| sampler.sample(&LOGITS, past, &mut scratch(6), &mut NoTrace);
    assert_eq!(sample(&mut past), Ok(TokenId(0)));
    assert_eq!(past.mirostat_mu, Some(2.5), "2 - 0.5 * (0 - 1)");
    let (stages, _) = run(&params, &LOGITS, &past);
    assert_eq!(stages.kept(), [0, 1]);
    // p = 0.73106 and 0.26894 of what is left: surprises 0.45194 and 1.89465.
    let token = sample(&mut past).expect("a token");
    let surprise = [0.45194, 1.89465][token.0 as usize];
    let mu = past.mirostat_mu.expect("it has drawn");
    assert!((mu - (2.5 - 0.5 * (surprise - 1.0))).abs() < 1e-4, "{mu}");
    let floor = SamplingParams { mirostat_tau: 1e-3, ..params };
    assert_eq!(kept(floor), [0], "one at least");
}

#[test]
fn scopes_say_which_tokens_count() {
    // Prompt 0 1 1, output 2 1.
    let after =
        |penalty_scope, params| logits_after(SamplingParams { penalty_scope, ..params }, &[0, 1, 1], &[2, 1]);
    let frequency = SamplingParams { frequency_penalty: 0.5, ..plain() };
    assert_eq!(after(PenaltyScope::Output, frequency.clone()), [3.0, 1.5, 0.5, 0.5, 0.5, -1.0]);
    assert_eq!(after(PenaltyScope::All, frequency.clone()), [2.5, 0.5, 0.5, 0.5, 0.5, -1.0]);
    assert_eq!(after(PenaltyScope::Last(3), frequency.clone()), [3.0, 1.0, 0.5, 0.5, 0.5, -1.0]);
    assert_eq!(after(PenaltyScope::Last(99), frequency), [2.5, 0.5, 0.5, 0.5, 0.5, -1.0]);
    let presence = SamplingParams { presence_penalty: 0.5, ..plain() };
    assert_eq!(after(PenaltyScope::Last(1), presence), [3.0, 1.5, 1.0, 0.5, 0.5, -1.0]);
    let repetition = SamplingParams { repetition_penalty: 2.0, ..plain() };
    assert_eq!(after(PenaltyScope::Output, repetition.clone()), [1.5, 1.0, 0.5, 0.5, 0.5, -1.0]);
    assert_eq!(after(PenaltyScope::Last(2), repetition), [3.0, 1.0, 0.5, 0.5, 0.5, -1.0]);
}

#[test]
fn dry_grows_with_the_length_of_the_repeat() {
    let dry = SamplingParams { dry_multiplier: 1.0, dry_base: 2.0, dry_allowed_length: 2, ..plain() };
    let after = |params: &SamplingParams, text: &[u32]| logits_after(params.clone(), &text[..2], &text[2..]);
    // 1 2 was followed by 3: a repeat of 2.
    assert_eq!(after(&dry, &[1, 2, 3, 1, 2]), [3.0, 2.0, 1.0, -0.5, 0.5, -1.0]);
    // 0 1 2 was followed by 3: 2^(3 - 2); 1 2 also by 4.
    assert_eq!(after(&dry, &[1, 2, 4, 0, 1, 2, 3, 0, 1, 2]), [3.0, 2.0, 1.0, -1.5, -0.5, -1.0]);
    // Overlapping repeats count: 5 5 5 was preceded by 5 5 5.
    assert_eq!(after(&dry, &[5, 5, 5, 5])[5], -1.0 - 2.0);
    assert_eq!(after(&dry, &[1, 3, 2, 3]), LOGITS, "one token is no repeat");
    let one = SamplingParams { dry_allowed_length: 1, ..dry.clone() };
    assert_eq!(after(&one, &[1, 3, 2, 3])[2], 1.0 - 1.0);
    // 0 as a breaker leaves a repeat of 2; as the token that follows it is spared.
    let broken = SamplingParams { dry_breakers: ids(&[0]), ..dry.clone() };
    assert_eq!(after(&broken, &[1, 2, 4, 0, 1, 2, 3, 0, 1, 2]), [3.0, 2.0, 1.0, -0.5, -0.5, -1.0]);
    assert_eq!(after(&broken, &[1, 2, 0, 1, 2]), LOGITS);
    let long: Vec<u32> = [4; 5000].to_vec();
    assert_eq!(after(&dry, &long)[4], -1e30, "not beyond what later stages can work with");
}

#[test]
fn bans_mask() {
    let after = |params, prompt: &[u32], output: &[u32]| logits_after(params, prompt, output);
    let words = SamplingParams { bad_words_ids: vec![ids(&[5]), ids(&[0, 1]), ids(&[2, 3, 4])], ..plain() };
    assert_eq!(after(words.clone(), &[], &[]), [3.0, 2.0, 1.0, 0.5, 0.5, OUT]);
    assert_eq!(after(words.clone(), &[0], &[]), [3.0, OUT, 1.0, 0.5, 0.5, OUT]);
    assert_eq!(after(words.clone(), &[2], &[3]), [3.0, 2.0, 1.0, 0.5, OUT, OUT], "across the prompt's end");
    assert_eq!(after(words, &[3], &[2]), [3.0, 2.0, 1.0, 0.5, 0.5, OUT]);
    let ngram = |n| SamplingParams { no_repeat_ngram_size: n, ..plain() };
    assert_eq!(after(ngram(2), &[1, 2, 0], &[1]), [3.0, 2.0, OUT, 0.5, 0.5, -1.0]);
    assert_eq!(after(ngram(3), &[1, 2, 0], &[1]), LOGITS);
    assert_eq!(after(ngram(3), &[1, 2, 0], &[1, 2]), [OUT, 2.0, 1.0, 0.5, 0.5, -1.0]);
    assert_eq!(after(ngram(1), &[1], &[2]), [3.0, OUT, OUT, 0.5, 0.5, -1.0]);
    assert_eq!(after(ngram(9), &[1], &[2]), LOGITS);
    let allowed = SamplingParams { allowed_token_ids: ids(&[4, 1, 4]), ..plain() };
    assert_eq!(after(allowed, &[], &[]), [OUT, 2.0, OUT, OUT, 0.5, OUT]);
    let suppressed = SamplingParams { suppress_tokens: ids(&[0, 5]), ..plain() };
    assert_eq!(after(suppressed, &[], &[]), [OUT, 2.0, 1.0, 0.5, 0.5, OUT]);
    let biased = SamplingParams {
        logit_bias: vec![(TokenId(5), 4.0), (TokenId(0), -1.0)],
        repetition_penalty: 2.0,
        ..plain()
    };
    assert_eq!(after(biased, &[0], &[5]), [1.0, 2.0, 1.0, 0.5, 0.5, 1.5], "before the penalties");
}

#[test]
fn orders_decide() {
    let order = |sampler_order: &str| SamplingParams {
        temperature: 0.5,
        top_p: 0.8,
        top_k: 3,
        min_p: 0.2,
        sampler_order: sampler_order.parse().expect("an order"),
        ..plain()
    };
    for (name, expected) in [
        ("notes", ["temperature", "top_p", "top_k", "min_p"]),
        ("vllm", ["temperature", "min_p", "top_k", "top_p"]),
        ("hf", ["temperature", "top_k", "top_p", "min_p"]),
        ("llama.cpp", ["top_k", "top_p", "min_p", "temperature"]),
        ("min_p, temperature,top_p,top_k", ["min_p", "temperature", "top_p", "top_k"]),
    ] {
        assert_eq!(stages(order(name)).names(), expected, "{name}");
    }
    // p of token 0 is 0.5932 before the temperature and 0.8566 after it.
    assert_eq!(kept(order("notes")), [0]);
    assert_eq!(kept(order("llama.cpp")), [0, 1]);
    let all = "repetition_penalty,frequency_penalty,presence_penalty,dry,temperature,top_p,top_k,min_p,typical_p,\
               epsilon_cutoff,eta_cutoff,top_n_sigma,xtc,mirostat";
    let parsed: SamplerOrder = all.parse().expect("all names");
    assert_eq!(parsed.stages(), SamplerOrder::Notes.stages());
    assert_eq!(parsed.to_string(), all);
    let short: SamplerOrder = "penalties,top_k".parse().expect("a group");
    assert_eq!(short.to_string(), "repetition_penalty,frequency_penalty,presence_penalty,top_k");
    // A penalty after a filter reaches what is left.
    let params = SamplingParams {
        presence_penalty: 1.5,
        top_k: 2,
        sampler_order: SamplerOrder::Explicit(vec![Stage::TopK, Stage::PresencePenalty]),
        ..plain()
    };
    assert_eq!(logits_after(params, &[], &[0, 5]), [1.5, 2.0, OUT, OUT, OUT, OUT]);
}

#[test]
fn greedy_needs_no_place_in_an_order_and_no_filter() {
    let params = SamplingParams {
        frequency_penalty: 2.0,
        top_p: 0.5,
        sampler_order: SamplerOrder::Explicit(vec![Stage::TopP, Stage::FrequencyPenalty]),
        ..SamplingParams::greedy()
    };
    let (stages, token) = run(&params, &LOGITS, &history(&[], &[0]));
    assert_eq!((stages.names(), token), (vec!["frequency_penalty"], Ok(TokenId(1))));
}
