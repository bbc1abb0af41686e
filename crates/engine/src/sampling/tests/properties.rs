//! The chain against a plain restatement of the formulas that sorts everything.

use proptest::prelude::*;

use super::*;
use crate::sampling::rng::{Purpose, Stream};
use crate::sampling::weight::weight;
use crate::trace::NoTrace;

/// What is left after every stage, most likely first, and the token, by full sorts.
fn restated(params: &SamplingParams, logits: &[f32], past: &History) -> (Vec<(u32, f32)>, Option<u32>) {
    let mut logits = logits.to_vec();
    let forbid = params.ignore_eos == IgnoreEos::Forbid;
    let too_early = past.n_output() < params.min_tokens;
    if (forbid || (too_early && params.ignore_eos == IgnoreEos::No)) && !logits.is_empty() {
        logits[0] = f32::NEG_INFINITY;
    }
    if too_early && logits.len() > 1 {
        logits[1] = f32::NEG_INFINITY;
    }
    for count in past.counts() {
        let Some(l) = logits.get_mut(count.id.0 as usize) else { continue };
        *l = if *l > 0.0 { *l / params.repetition_penalty } else { *l * params.repetition_penalty };
        *l -= params.frequency_penalty * count.n_output as f32;
        *l -= if count.n_output > 0 { params.presence_penalty } else { 0.0 };
    }
    if params.temperature > 0.0 {
        logits.iter_mut().for_each(|l| *l /= params.temperature);
    }
    let mut sorted: Vec<(u32, f32)> = (0..).zip(logits).filter(|&(_, l)| l > f32::NEG_INFINITY).collect();
    sorted.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    if params.temperature == 0.0 {
        return (sorted.clone(), sorted.first().map(|&(id, _)| id));
    }
    let weights = |sorted: &[(u32, f32)]| -> Vec<u64> {
        sorted.iter().map(|&(_, l)| weight(l - sorted[0].1)).collect()
    };
    if params.top_p < 1.0 {
        let w = weights(&sorted);
        let target = (f64::from(params.top_p) * w.iter().sum::<u64>() as f64).ceil() as u64;
        let mut sum = 0;
        let reached = w.iter().position(|w| {
            sum += w;
            sum >= target
        });
        sorted.truncate(reached.map_or(sorted.len(), |i| i + 1));
    }
    if params.top_k > 0 && sorted.len() > params.top_k as usize {
        let last = sorted[params.top_k as usize - 1].1;
        sorted.retain(|&(_, l)| l >= last);
    }
    if params.min_p > 0.0 && !sorted.is_empty() {
        let max = sorted[0].1;
        sorted.retain(|&(_, l)| f64::from(libm::expf(l - max)) >= f64::from(params.min_p));
    }
    let w = weights(&sorted);
    let mut left = Stream::new(params.seed).below(w.iter().sum(), past.n_output(), Purpose::Draw);
    for (&(id, _), &w) in sorted.iter().zip(&w) {
        if left < w {
            return (sorted.clone(), Some(id));
        }
        left -= w;
    }
    (sorted, None)
}

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

fn params() -> impl Strategy<Value = SamplingParams> {
    let filters = (
        prop_oneof![Just(0.0f32), Just(1.0f32), 0.05f32..5.0],
        prop_oneof![Just(1.0f32), Just(0.0f32), 0.0f32..1.0],
        prop_oneof![Just(0u32), 1u32..50],
        // Not below 2^-16, where the restatement and the integers may differ in the last of 40 bits.
        prop_oneof![Just(0.0f32), Just(1.0f32), 0.0001f32..1.0],
    );
    let penalties = (
        prop_oneof![Just(1.0f32), 0.5f32..2.0],
        prop_oneof![Just(0.0f32), -2.0f32..2.0],
        prop_oneof![Just(0.0f32), -2.0f32..2.0],
    );
    let ignore_eos =
        prop_oneof![Just(IgnoreEos::No), Just(IgnoreEos::Forbid), Just(IgnoreEos::GenerateThrough)];
    (filters, penalties, any::<u64>(), 0u32..6, ignore_eos).prop_map(
        |(filters, penalties, seed, min_tokens, ignore_eos)| SamplingParams {
            temperature: filters.0,
            top_p: filters.1,
            top_k: filters.2,
            min_p: filters.3,
            repetition_penalty: penalties.0,
            frequency_penalty: penalties.1,
            presence_penalty: penalties.2,
            seed,
            min_tokens,
            ignore_eos,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn partial_selection_equals_full_sorts(
        logits in logits(300),
        params in params(),
        prompt in prop::collection::vec(0u32..20, 0..8),
        output in prop::collection::vec(0u32..20, 0..8),
    ) {
        let past = history(&prompt, &output);
        let (kept, token) = restated(&params, &logits, &past);
        let (stages, found) = run(&params, &logits, &past);
        prop_assert_eq!(found.ok().map(|id| id.0), token);
        if !stages.0.is_empty() {
            let mut kept: Vec<u32> = kept.iter().map(|&(id, _)| id).collect();
            kept.sort_unstable();
            prop_assert_eq!(stages.kept(), kept);
        }
    }

    #[test]
    fn no_filter_removes_everything_and_no_masked_token_is_chosen(logits in logits(60), params in params()) {
        let params = SamplingParams { min_tokens: 0, ignore_eos: IgnoreEos::No, ..params };
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
        second in logits(300),
        params in params(),
        output in prop::collection::vec(0u32..20, 0..8),
    ) {
        let past = history(&[3, 4], &output);
        let (_, traced) = run(&params, &second, &past);
        let sampler = Sampler::new(&params, &ids(&[0]), &ids(&[1])).unwrap();
        let mut scratch = Candidates::new(300);
        let bytes = Candidates::bytes_for(300);
        let _ = sampler.sample(&first, &past, &mut scratch, &mut NoTrace);
        prop_assert_eq!(sampler.sample(&second, &past, &mut scratch, &mut NoTrace), traced);
        prop_assert_eq!(scratch.bytes(), bytes, "the buffer did not grow");
    }

    #[test]
    fn history_counts(
        prompt in prop::collection::vec(0u32..9, 0..30),
        output in prop::collection::vec(0u32..9, 0..30),
    ) {
        let past = history(&prompt, &output);
        prop_assert_eq!(past.n_output() as usize, output.len());
        let expected: Vec<_> = (0..9).map(|id| {
            let n_output = output.iter().filter(|&&o| o == id).count() as u32;
            (id, prompt.contains(&id), n_output)
        }).filter(|&(_, in_prompt, n_output)| in_prompt || n_output > 0).collect();
        let found: Vec<_> = past.counts().iter().map(|c| (c.id.0, c.in_prompt, c.n_output)).collect();
        prop_assert_eq!(found, expected);
    }
}
