//! The draw: its distribution, and what it does and does not depend on.

use super::*;
use crate::sampling::rng::{Purpose, Stream};
use crate::trace::NoTrace;

fn draws(params: &SamplingParams, n: u32) -> Vec<u32> {
    let sampler = Sampler::new(params, &[], &[], 6).expect("valid parameters");
    let mut scratch = scratch(LOGITS.len());
    let mut past = History::new(&[], n as usize, 6);
    (0..n)
        .map(|_| {
            let token = sampler.sample(&LOGITS, &mut past, &mut scratch, &mut NoTrace).expect("a token");
            past.push(token);
            token.0
        })
        .collect()
}

/// Pearson's statistic of counts against probabilities.
fn chi_square(counts: &[u32], p: &[f64]) -> f64 {
    let n = f64::from(counts.iter().sum::<u32>());
    counts.iter().zip(p).map(|(&count, p)| (f64::from(count) - n * p).powi(2) / (n * p)).sum()
}

fn counts(drawn: &[u32]) -> [u32; 6] {
    let mut counts = [0; 6];
    drawn.iter().for_each(|&id| counts[id as usize] += 1);
    counts
}

#[test]
fn draws_follow_the_softmax() {
    for seed in [1, 2, 3] {
        let counts = counts(&draws(&SamplingParams { seed, ..plain() }, 20_000));
        let chi = chi_square(&counts, &[0.593226, 0.218236, 0.080285, 0.048695, 0.048695, 0.010865]);
        // 5 degrees of freedom: 20.5 is exceeded once in 1,000 seeds.
        assert!(chi < 20.5, "seed {seed}: chi-square {chi}, {counts:?}");
    }
}

#[test]
fn draws_follow_the_filtered_distribution() {
    let counts = counts(&draws(&SamplingParams { seed: 4, top_p: 0.85, ..plain() }, 20_000));
    assert_eq!(counts[3..], [0, 0, 0]);
    // Renormalised over the sum 0.891747; 2 degrees of freedom: 13.8 once in 1,000.
    let chi = chi_square(&counts[..3], &[0.665241, 0.244728, 0.090031]);
    assert!(chi < 13.8, "chi-square {chi}, {counts:?}");
}

#[test]
fn a_seed_means_the_same_tokens_for_ever() {
    // From a restatement of Philox and the softmax in Python.
    let expected = [0, 0, 1, 1, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0];
    assert_eq!(draws(&SamplingParams { seed: 42, ..plain() }, 16), expected);
    let expected = [0, 0, 0, 1, 1, 2, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0];
    assert_eq!(draws(&SamplingParams { seed: u64::MAX, ..plain() }, 16), expected);
}

#[test]
fn every_part_of_the_key_matters() {
    let stream = Stream { seed: 5, choice: 1, beam_rank: 2 };
    let bits = stream.bits(3, Purpose::Draw);
    assert_eq!(bits, stream.bits(3, Purpose::Draw));
    assert_ne!(bits, stream.bits(4, Purpose::Draw));
    assert_ne!(bits, Stream { seed: 6, ..stream }.bits(3, Purpose::Draw));
    assert_ne!(bits, Stream { seed: 5 | 1 << 63, ..stream }.bits(3, Purpose::Draw));
    assert_ne!(bits, Stream { choice: 0, ..stream }.bits(3, Purpose::Draw));
    assert_ne!(bits, Stream { beam_rank: 0, ..stream }.bits(3, Purpose::Draw));
    // From a restatement in Python: philox4x32_10((3, 1, 2, 0), (5, 0)).
    assert_eq!(bits, 0xcc80_dd4d_14b9_3cae);
    assert_eq!(stream.bits(3, Purpose::Xtc), 0x7515_ab06_649c_e5af);
}

#[test]
fn below_is_the_exact_share() {
    let stream = Stream::new(9);
    for position in 0..1000 {
        let bits = stream.bits(position, Purpose::Draw);
        assert_eq!(stream.below(1, position, Purpose::Draw), 0);
        assert_eq!(stream.below(1 << 63, position, Purpose::Draw), bits >> 1);
        assert!(stream.below(7, position, Purpose::Draw) < 7);
    }
}

#[test]
fn the_draw_is_the_inverse_of_the_running_sum() {
    let mut candidates = scratch(3);
    candidates.fill(&[1.0, f32::NEG_INFINITY, 1.0]).expect("numbers");
    let weight = 1 << 40;
    assert_eq!(candidates.total_mass(), 2 * weight);
    assert_eq!(candidates.at_share(0), Some((TokenId(0), weight)));
    assert_eq!(candidates.at_share(weight - 1), Some((TokenId(0), weight)));
    assert_eq!(candidates.at_share(weight), Some((TokenId(2), weight)));
    assert_eq!(candidates.at_share(2 * weight - 1), Some((TokenId(2), weight)));
}
