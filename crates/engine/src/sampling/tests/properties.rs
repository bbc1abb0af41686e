//! The chain against a plain restatement of the formulas that sorts everything.

use proptest::prelude::*;

use super::restated::restated;
use super::*;
use crate::sampling::{PenaltyScope, SamplerOrder, Stage};
use crate::trace::NoTrace;

/// Logits with many ties, some masked, on a coarse or a fine grid.
fn logits(max_len: usize) -> impl Strategy<Value = Vec<f32>> {
    let step = prop_oneof![Just(0.5f32), Just(0.01f32), Just(3.0f32)];
    (step, 1..=max_len).prop_flat_map(|(step, len)| {
        let logit = prop_oneof![
            9 => (-40i32..40).prop_map(move |i| i as f32 * step),
            1 => Just(f32::NEG_INFINITY),
        ];
        prop::collection::vec(logit, len)
    })
}

/// Off half of the time.
fn or_off(off: f32, on: impl Strategy<Value = f32>) -> impl Strategy<Value = f32> {
    prop_oneof![Just(off), on]
}

/// Temperature and filters; everything else off.
fn filters() -> impl Strategy<Value = SamplingParams> {
    let dynatemp = prop_oneof![3 => Just((0.0, 0.0)), 1 => Just((0.3, 2.5))];
    let heat = (prop_oneof![Just(0.0f32), Just(1.0f32), 0.05f32..5.0], dynatemp, 0.1f32..3.0);
    let common = (or_off(1.0, 0.0f32..1.0), prop_oneof![Just(0u32), 1u32..50], or_off(0.0, 0.0001f32..1.0));
    let rare = (
        or_off(1.0, 0.0f32..1.0),
        or_off(0.0, 0.0001f32..0.5),
        or_off(0.0, 0.0001f32..0.9),
        or_off(0.0, 0.1f32..3.0),
        (or_off(0.0, 0.1f32..1.0), or_off(0.0, 0.0f32..0.5)),
        or_off(0.0, 0.1f32..8.0),
    );
    (heat, common, rare, any::<u64>()).prop_map(|(heat, common, rare, seed)| SamplingParams {
        temperature: heat.0,
        dynatemp_min: if heat.0 > 0.0 { heat.1.0 } else { 0.0 },
        dynatemp_max: if heat.0 > 0.0 { heat.1.1 } else { 0.0 },
        dynatemp_exponent: heat.2,
        top_p: common.0,
        top_k: common.1,
        min_p: common.2,
        typical_p: rare.0,
        epsilon_cutoff: rare.1,
        eta_cutoff: rare.2,
        top_n_sigma: rare.3,
        xtc_probability: rare.4.0,
        xtc_threshold: rare.4.1,
        mirostat_tau: if heat.0 > 0.0 { rare.5 } else { 0.0 },
        seed,
        ..plain()
    })
}

fn few_ids(n: usize) -> impl Strategy<Value = Vec<TokenId>> {
    prop::collection::vec((0u32..20).prop_map(TokenId), 0..=n)
}

/// Bias, bans, penalties; on top of `params`.
fn with_edits(params: impl Strategy<Value = SamplingParams>) -> impl Strategy<Value = SamplingParams> {
    let penalties = (or_off(1.0, 0.5f32..2.0), or_off(0.0, -2.0f32..2.0), or_off(0.0, -2.0f32..2.0));
    let scope = prop_oneof![
        Just(PenaltyScope::Output),
        Just(PenaltyScope::All),
        (1u32..12).prop_map(PenaltyScope::Last),
    ];
    let dry = (or_off(0.0, 0.1f32..3.0), 1.0f32..3.0, 1u32..4, few_ids(2));
    let bans = (
        0u32..5,
        prop::collection::vec(few_ids(3), 0..3),
        few_ids(3),
        prop_oneof![3 => Just(Vec::new()), 1 => few_ids(20)],
        prop::collection::vec((0u32..20, -3.0f32..3.0), 0..3),
    );
    let ignore_eos =
        prop_oneof![Just(IgnoreEos::No), Just(IgnoreEos::Forbid), Just(IgnoreEos::GenerateThrough)];
    (params, penalties, scope, dry, bans, (0u32..6, ignore_eos)).prop_map(
        |(params, penalties, penalty_scope, dry, mut bans, end)| {
            bans.1.retain(|word| !word.is_empty());
            bans.2.retain(|id| !bans.3.contains(id));
            if end.1 == IgnoreEos::Forbid {
                bans.3.retain(|&id| id != TokenId(0));
            }
            bans.4.sort_by_key(|&(id, _)| id);
            bans.4.dedup_by_key(|&mut (id, _)| id);
            let has_penalty = penalties != (1.0, 0.0, 0.0);
            SamplingParams {
                repetition_penalty: penalties.0,
                frequency_penalty: penalties.1,
                presence_penalty: penalties.2,
                penalty_scope: if has_penalty { penalty_scope } else { PenaltyScope::Output },
                dry_multiplier: dry.0,
                dry_base: dry.1,
                dry_allowed_length: dry.2,
                dry_breakers: dry.3,
                no_repeat_ngram_size: bans.0,
                bad_words_ids: bans.1,
                suppress_tokens: bans.2,
                allowed_token_ids: bans.3,
                logit_bias: bans.4.into_iter().map(|(id, bias)| (TokenId(id), bias)).collect(),
                min_tokens: end.0,
                ignore_eos: end.1,
                ..params
            }
        },
    )
}

/// A setting whose stage the order does not have, switched off.
fn without(params: SamplingParams, stage: Stage) -> SamplingParams {
    match stage {
        Stage::Dry => SamplingParams { dry_multiplier: 0.0, ..params },
        Stage::TypicalP => SamplingParams { typical_p: 1.0, ..params },
        Stage::EpsilonCutoff => SamplingParams { epsilon_cutoff: 0.0, ..params },
        Stage::EtaCutoff => SamplingParams { eta_cutoff: 0.0, ..params },
        Stage::TopNSigma => SamplingParams { top_n_sigma: 0.0, ..params },
        Stage::Xtc => SamplingParams { xtc_probability: 0.0, ..params },
        Stage::Mirostat => SamplingParams { mirostat_tau: 0.0, ..params },
        other => panic!("every order has {}", other.name()),
    }
}

/// In Limpid's order, in a peer's, or in any other.
fn in_any_order(params: impl Strategy<Value = SamplingParams>) -> impl Strategy<Value = SamplingParams> {
    let all: Vec<_> = SamplerOrder::Notes.stages().to_vec();
    let explicit = Just(all).prop_shuffle().prop_map(|mut stages| {
        stages.retain(|&stage| stage != Stage::Mirostat);
        stages.push(Stage::Mirostat);
        SamplerOrder::Explicit(stages)
    });
    let of_peer = prop_oneof![Just(SamplerOrder::Vllm), Just(SamplerOrder::Hf), Just(SamplerOrder::LlamaCpp)];
    let order = prop_oneof![Just(SamplerOrder::Notes), of_peer, explicit];
    (params, order).prop_map(|(params, sampler_order)| {
        let all = SamplerOrder::Notes.stages().iter();
        let homeless = all.filter(|stage| !sampler_order.stages().contains(stage));
        let params = homeless.fold(params, |params, &stage| without(params, stage));
        SamplingParams { sampler_order, ..params }
    })
}

/// Any at all.
fn params() -> impl Strategy<Value = SamplingParams> {
    in_any_order(with_edits(filters()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn partial_selection_equals_full_sorts(
        logits in logits(300).prop_filter("ids up to 20", |logits| logits.len() > 20),
        params in params(),
        prompt in prop::collection::vec(0u32..6, 0..12),
        output in prop::collection::vec(0u32..6, 0..12),
    ) {
        let past = history(&prompt, &output);
        let (kept, token) = restated(&params, &logits, &past);
        let (stages, found) = run(&params, &logits, &past);
        prop_assert_eq!(found.ok().map(|id| id.0), token);
        let mut kept = kept;
        kept.sort_unstable_by_key(|&(id, _)| id);
        let found: Vec<_> = stages.last().iter().map(|c| (c.id.0, c.logit)).collect();
        prop_assert_eq!(found, kept);
    }

    #[test]
    fn no_filter_removes_everything_and_no_masked_token_is_chosen(
        logits in logits(60),
        params in in_any_order(filters()),
    ) {
        let any_left = logits.iter().any(|&l| l > f32::NEG_INFINITY);
        let (stages, token) = run(&params, &logits, &history(&[], &[]));
        for (name, kept) in &stages.0 {
            prop_assert_eq!(kept.is_empty(), !any_left, "after {}", name);
            let sum: f64 = kept.iter().map(|c| c.p).sum();
            prop_assert!(!any_left || (sum - 1.0).abs() < 1e-9);
        }
        match token {
            Ok(id) => prop_assert!(logits[id.0 as usize] > f32::NEG_INFINITY),
            Err(error) => prop_assert!(!any_left, "{}", error),
        }
    }

    #[test]
    fn looking_changes_nothing_and_scratch_holds_nothing(
        first in logits(300),
        second in logits(300).prop_filter("ids up to 20", |logits| logits.len() > 20),
        params in params(),
        output in prop::collection::vec(0u32..6, 0..8),
    ) {
        let past = history(&[3, 4], &output);
        let (_, traced) = run(&params, &second, &past);
        let sampler = Sampler::new(&params, &ids(&[0]), &ids(&[1]), 300).unwrap();
        let bytes = Candidates::bytes_for(300);
        for isa in Isa::available() {
            let mut scratch = Candidates::new(300, isa);
            let _ = sampler.sample(&first, &mut past.clone(), &mut scratch, &mut NoTrace);
            let token = sampler.sample(&second, &mut past.clone(), &mut scratch, &mut NoTrace);
            prop_assert_eq!(&token, &traced);
            prop_assert_eq!(scratch.bytes(), bytes, "the buffer did not grow");
        }
    }

    #[test]
    fn history_counts(
        prompt in prop::collection::vec(0u32..9, 0..30),
        output in prop::collection::vec(0u32..9, 0..30),
    ) {
        let past = history(&prompt, &output);
        prop_assert_eq!(past.n_output() as usize, output.len());
        prop_assert_eq!(past.tokens(), ids(&[prompt.clone(), output.clone()].concat()));
        let count = |ids: &[u32], id| ids.iter().filter(|&&other| other == id).count() as u32;
        let expected: Vec<_> = (0..9).map(|id| (id, count(&prompt, id), count(&output, id)))
            .filter(|&(_, n_prompt, n_output)| n_prompt + n_output > 0).collect();
        let found: Vec<_> = past.counts().iter().map(|c| (c.id.0, c.n_prompt, c.n_output)).collect();
        prop_assert_eq!(found, expected);
    }
}
