//! Each formula on the same six logits, with numbers worked out by hand.

use super::*;
use limpid_kernels::ops::mass;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 5e-5, "found {found}, expected {expected}");
}

#[test]
fn temperature_divides() {
    let half = stages(SamplingParams { temperature: 0.5, ..plain() });
    assert_eq!(half.names(), ["temperature"]);
    assert_eq!(half.logits(), [6.0, 4.0, 2.0, 1.0, 1.0, -2.0]);
    // 1 / (1 + e^-2 + e^-4 + 2 e^-5 + e^-8) = 1 / 1.16747
    close(half.last()[0].p, 0.85656);
    close(half.last()[1].p, 0.11592);
    let double = stages(SamplingParams { temperature: 2.0, ..plain() });
    assert_eq!(double.logits(), [1.5, 1.0, 0.5, 0.25, 0.25, -0.5]);
}

#[test]
fn probabilities_are_the_softmax() {
    let all = stages(SamplingParams { top_k: 6, ..plain() });
    let p: Vec<f64> = all.last().iter().map(|c| c.p).collect();
    for (found, expected) in p.iter().zip([0.59323, 0.21824, 0.08029, 0.04869, 0.04869, 0.01087]) {
        close(*found, expected);
    }
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    let kept = |top_p| stages(SamplingParams { top_p, ..plain() }).kept();
    assert_eq!(kept(0.0), [0]);
    assert_eq!(kept(0.59), [0]);
    assert_eq!(kept(0.60), [0, 1]);
    assert_eq!(kept(0.81), [0, 1]);
    assert_eq!(kept(0.82), [0, 1, 2]);
    // The sum after three is 0.8918; of the two equal ones the lower id comes first.
    assert_eq!(kept(0.9), [0, 1, 2, 3]);
    assert_eq!(kept(0.95), [0, 1, 2, 3, 4]);
    assert_eq!(kept(0.99), [0, 1, 2, 3, 4, 5]);
    assert_eq!(stages(SamplingParams { top_p: 1.0, ..plain() }).names(), [""; 0]);
}

#[test]
fn top_p_is_reached_by_equality() {
    // Four equal logits: two of them are exactly a half.
    let kept = |top_p| run(&SamplingParams { top_p, ..plain() }, &[1.0; 4], &history(&[], &[])).0.kept();
    assert_eq!(kept(0.5), [0, 1]);
    assert_eq!(kept(0.500_001), [0, 1, 2]);
    // One more token that weighs 1 of 2^40, and two of the four are less than a half.
    let almost =
        run(&SamplingParams { top_p: 0.5, ..plain() }, &[0.0, 0.0, 0.0, 0.0, -27.7], &history(&[], &[]));
    assert_eq!(almost.0.kept(), [0, 1, 2]);
    // The same where the selection works by halves.
    let half = run(&SamplingParams { top_p: 0.5, ..plain() }, &[1.0; 128], &history(&[], &[])).0.kept();
    assert_eq!(half, (0..64).collect::<Vec<_>>());
}

#[test]
fn zeros_are_equal_whatever_their_sign() {
    let kept =
        |logits: &[f32]| run(&SamplingParams { top_p: 0.5, ..plain() }, logits, &history(&[], &[])).0.kept();
    assert_eq!(kept(&[-0.0, 0.0]), [0]);
    assert_eq!(kept(&[0.0, -0.0]), [0]);
}

/// In other orders temperature comes after filters: what it changes must be weighed again.
#[test]
fn weights_follow_the_logits() {
    let mut candidates = scratch(2);
    candidates.fill(&[2.0, 1.0]).expect("numbers");
    candidates.keep_mass_from(0);
    candidates.divide(f32::INFINITY);
    assert_eq!(candidates.total_mass(), 2 << 40);
}

#[test]
fn top_k_keeps_ties_at_the_last_place() {
    let kept = |top_k| stages(SamplingParams { top_k, ..plain() }).kept();
    assert_eq!(kept(1), [0]);
    assert_eq!(kept(3), [0, 1, 2]);
    assert_eq!(kept(4), [0, 1, 2, 3, 4]);
    assert_eq!(kept(5), [0, 1, 2, 3, 4]);
    assert_eq!(kept(6), [0, 1, 2, 3, 4, 5]);
    assert_eq!(kept(u32::MAX), [0, 1, 2, 3, 4, 5]);
    assert_eq!(stages(SamplingParams { top_k: 0, ..plain() }).names(), [""; 0]);
}

#[test]
fn min_p_compares_with_the_most_likely() {
    // p / p_max = 1, 0.3679, 0.1353, 0.0821, 0.0821, 0.0183
    let kept = |min_p| stages(SamplingParams { min_p, ..plain() }).kept();
    assert_eq!(kept(1.0), [0]);
    assert_eq!(kept(0.37), [0]);
    assert_eq!(kept(0.36), [0, 1]);
    assert_eq!(kept(0.1), [0, 1, 2]);
    assert_eq!(kept(0.08), [0, 1, 2, 3, 4]);
    assert_eq!(kept(0.018), [0, 1, 2, 3, 4, 5]);
    assert_eq!(kept(libm::expf(-2.0)), [0, 1, 2], "equality keeps");
    assert_eq!(stages(SamplingParams { min_p: 0.0, ..plain() }).names(), [""; 0]);
}

#[test]
fn repetition_penalty_covers_prompt_and_output() {
    let params = SamplingParams { repetition_penalty: 2.0, ..plain() };
    let (stages, _) = run(&params, &LOGITS, &history(&[0, 0, 4], &[5, 1, 5]));
    assert_eq!(stages.names(), ["repetition_penalty"]);
    // Once, however often a token occurred: 3/2, 2/2, -, -, 0.5/2, -1*2.
    assert_eq!(stages.logits(), [1.5, 1.0, 1.0, 0.5, 0.25, -2.0]);
}

#[test]
fn frequency_and_presence_cover_the_output() {
    let past = history(&[0, 0, 4], &[5, 1, 5]);
    let (frequency, _) = run(&SamplingParams { frequency_penalty: 0.5, ..plain() }, &LOGITS, &past);
    assert_eq!(frequency.names(), ["frequency_penalty"]);
    assert_eq!(frequency.logits(), [3.0, 1.5, 1.0, 0.5, 0.5, -2.0]);
    let (presence, _) = run(&SamplingParams { presence_penalty: 0.25, ..plain() }, &LOGITS, &past);
    assert_eq!(presence.names(), ["presence_penalty"]);
    assert_eq!(presence.logits(), [3.0, 1.75, 1.0, 0.5, 0.5, -1.25]);
}

#[test]
fn negative_penalties_reward() {
    let params = SamplingParams { frequency_penalty: -1.0, presence_penalty: -0.5, ..plain() };
    let (stages, _) = run(&params, &LOGITS, &history(&[], &[5, 5]));
    assert_eq!(stages.logits(), [3.0, 2.0, 1.0, 0.5, 0.5, 1.5]);
}

#[test]
fn the_order_is_masks_penalties_temperature_top_p_top_k_min_p() {
    let params = SamplingParams {
        temperature: 0.5,
        top_p: 0.99,
        top_k: 3,
        min_p: 0.1,
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        seed: 1,
        min_tokens: 4,
        ignore_eos: IgnoreEos::Forbid,
        ..plain()
    };
    let (stages, _) = run(&params, &LOGITS, &history(&[2], &[5, 5]));
    let order = [
        "ignore_eos",
        "min_tokens",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
    ];
    assert_eq!(stages.names(), order);
    // Tokens 0 (EOS) and 1 (stop id) are masked. Token 2: 1/2. Token 5: -1*2 - 0.5*2 - 0.25 = -3.25. Then all
    // are doubled.
    let after_temperature = &stages.0[6].1;
    let pairs: Vec<_> = after_temperature.iter().map(|c| (c.id.0, c.logit)).collect();
    assert_eq!(pairs, [(2, 1.0), (3, 1.0), (4, 1.0), (5, -6.5)]);
}

#[test]
fn temperature_comes_before_top_p() {
    // p of token 0 is 0.8566 at T = 0.5, and 0.5932 at T = 1.
    assert_eq!(stages(SamplingParams { temperature: 0.5, top_p: 0.8, ..plain() }).kept(), [0]);
}

#[test]
fn top_p_comes_before_top_k() {
    // After top_k = 2 token 0 alone would have 0.7311.
    assert_eq!(stages(SamplingParams { top_p: 0.7, top_k: 2, ..plain() }).kept(), [0, 1]);
}

#[test]
fn min_tokens_masks_until_they_are_there() {
    let params = SamplingParams { min_tokens: 2, ..SamplingParams::greedy() };
    let token = |output: &[u32]| run(&params, &LOGITS, &history(&[2, 2, 2], output)).1;
    assert_eq!(token(&[]), Ok(TokenId(2)), "EOS 0 and stop id 1 are masked");
    assert_eq!(token(&[2]), Ok(TokenId(2)));
    assert_eq!(token(&[2, 2]), Ok(TokenId(0)));
}

#[test]
fn ignore_eos_has_two_meanings() {
    let token = |ignore_eos, min_tokens| {
        let params = SamplingParams { ignore_eos, min_tokens, ..SamplingParams::greedy() };
        run(&params, &LOGITS, &history(&[], &[])).1
    };
    assert_eq!(token(IgnoreEos::No, 0), Ok(TokenId(0)));
    assert_eq!(token(IgnoreEos::Forbid, 0), Ok(TokenId(1)));
    assert_eq!(token(IgnoreEos::GenerateThrough, 0), Ok(TokenId(0)));
    // Generated through, EOS ends nothing, so min_tokens masks the stop id only.
    let params = SamplingParams { ignore_eos: IgnoreEos::GenerateThrough, min_tokens: 1, ..plain() };
    assert_eq!(run(&params, &LOGITS, &history(&[], &[])).0.kept(), [0, 2, 3, 4, 5]);
}

#[test]
fn greedy_takes_the_largest_after_penalties() {
    let greedy = SamplingParams::greedy();
    assert_eq!(run(&greedy, &LOGITS, &history(&[], &[])).1, Ok(TokenId(0)));
    assert_eq!(
        run(&greedy, &[1.0, 7.0, 7.0, 7.0], &history(&[], &[])).1,
        Ok(TokenId(1)),
        "ties to the lowest id"
    );
    assert_eq!(run(&greedy, &[-0.0, 0.0], &history(&[], &[])).1, Ok(TokenId(0)), "zeros are equal");
    let params = SamplingParams { presence_penalty: 1.5, top_k: 1, ..greedy };
    let (stages, token) = run(&params, &LOGITS, &history(&[], &[0]));
    assert_eq!(token, Ok(TokenId(1)));
    assert_eq!(stages.names(), ["presence_penalty"], "no filter removes the largest, so none runs");
}

#[test]
fn broken_logits_are_errors() {
    for params in [plain(), SamplingParams::greedy(), SamplingParams { top_k: 1, ..plain() }] {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, 2e30] {
            let error = run(&params, &[1.0, 2.0, value, value], &history(&[], &[7, 7])).1.unwrap_err();
            assert!(matches!(error, SampleError::BadLogit { id: TokenId(2), position: 2, .. }), "{error}");
        }
    }
}

#[test]
fn the_largest_quotients_do_not_overflow() {
    let params = SamplingParams { temperature: 1e-6, repetition_penalty: 0.01, ..plain() };
    let (stages, token) = run(&params, &[-1e30, 1e30, 0.9e30], &history(&[0, 1, 2], &[]));
    assert_eq!(token, Ok(TokenId(1)));
    assert!(stages.logits().iter().all(|l| l.is_finite()));
}

#[test]
fn where_everything_is_masked_nothing_is_left() {
    let minus = f32::NEG_INFINITY;
    for params in
        [plain(), SamplingParams { top_p: 0.5, top_k: 1, min_p: 0.5, ..plain() }, SamplingParams::greedy()]
    {
        assert_eq!(
            run(&params, &[minus; 3], &history(&[], &[])).1,
            Err(SampleError::NothingLeft { position: 0 })
        );
        assert_eq!(run(&params, &[], &history(&[], &[])).1, Err(SampleError::NothingLeft { position: 0 }));
        // A vocabulary of one, and one token left.
        assert_eq!(run(&params, &[-5.0], &history(&[], &[])).1, Ok(TokenId(0)));
        assert_eq!(run(&params, &[minus, minus, -5.0, minus], &history(&[], &[])).1, Ok(TokenId(2)));
        let forbid = SamplingParams { ignore_eos: IgnoreEos::Forbid, ..params };
        assert_eq!(
            run(&forbid, &[-5.0, minus], &history(&[], &[])).1,
            Err(SampleError::NothingLeft { position: 0 })
        );
    }
}

#[test]
fn ids_beyond_the_vocabulary_change_nothing() {
    let params = SamplingParams { ignore_eos: IgnoreEos::Forbid, repetition_penalty: 2.0, ..plain() };
    let sampler = Sampler::new(&params, &ids(&[900]), &[], 2).expect("valid");
    let mut scratch = scratch(2);
    let token = sampler.sample(&[5.0, -5.0], &mut history(&[901], &[]), &mut scratch, &mut Stages::default());
    assert_eq!(token, Ok(TokenId(0)));
}

#[test]
fn masses_are_pinned() {
    let of = |below: f32| {
        let mut p = [0.0];
        mass::weigh(Isa::Portable, &[below], 0.0, &mut p)
    };
    assert_eq!(of(0.0), 1 << 40);
    assert_eq!(of(f32::NEG_INFINITY), 0);
    assert_eq!(of(-27.8), 0);
    assert_eq!(of(-27.7), 1);
    // Half: ln 2 rounded to f32.
    assert_eq!(of(-std::f32::consts::LN_2), 1 << 39);
    // Any change of the exponential would change texts: 28,000 of its values. In exact arithmetic the sum
    // ends in 423,065,034.
    let sum: u64 = (0..28_000).map(|i| of(i as f32 * -0.001)).sum();
    assert_eq!(sum, 1_100_061_423_248_447);
}
