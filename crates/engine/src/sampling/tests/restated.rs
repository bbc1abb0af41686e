//! The whole chain restated: plain loops and full sorts, one stage after the other.
//!
//! Where a stage compares with a sum of real numbers, whose last bit depends on the order, the sum is the chain's own,
//! after a look at it.

use super::*;
use crate::sampling::rng::{Purpose, Stream};
use crate::sampling::{PenaltyScope, Stage};
use limpid_kernels::ops::mass;

/// The tokens in play, most likely first.
type Ranked = Vec<(u32, f32)>;

/// What is left in the end, most likely first, and the token.
pub(super) fn restated(params: &SamplingParams, logits: &[f32], past: &History) -> (Ranked, Option<u32>) {
    let masked = masked(params, logits, past);
    let mut ranked: Ranked = (0..).zip(masked).filter(|&(_, l)| l > f32::NEG_INFINITY).collect();
    let is_greedy = params.temperature == 0.0;
    rank(&mut ranked);
    for &stage in params.sampler_order.stages() {
        if is_greedy && !stage.is_penalty() {
            continue;
        }
        penalize(stage, params, past, &mut ranked);
        rank(&mut ranked);
        if !ranked.is_empty() {
            filter(stage, params, past, &mut ranked);
        }
    }
    if is_greedy {
        return (ranked.clone(), ranked.first().map(|&(id, _)| id));
    }
    let w = masses(&ranked);
    let mut left = Stream::new(params.seed).below(w.iter().sum(), past.n_output(), Purpose::Draw);
    for (&(id, _), &w) in ranked.iter().zip(&w) {
        if left < w {
            return (ranked.clone(), Some(id));
        }
        left -= w;
    }
    (ranked, None)
}

fn rank(ranked: &mut Ranked) {
    ranked.retain(|&(_, l)| l > f32::NEG_INFINITY);
    ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
}

/// In the order given.
fn masses(ranked: &[(u32, f32)]) -> Vec<u64> {
    let logits: Vec<f32> = ranked.iter().map(|&(_, l)| l).collect();
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut p = vec![0.0; logits.len()];
    mass::weigh(Isa::Portable, &logits, max, &mut p);
    p.into_iter().map(mass::of).collect()
}

fn masked(params: &SamplingParams, logits: &[f32], past: &History) -> Vec<f32> {
    let mut logits = logits.to_vec();
    let minus = f32::NEG_INFINITY;
    let tokens = past.tokens();
    for id in (0..logits.len() as u32).map(TokenId) {
        let l = &mut logits[id.0 as usize];
        for &(_, bias) in params.logit_bias.iter().filter(|(biased, _)| *biased == id) {
            *l += bias;
        }
        let allowed = &params.allowed_token_ids;
        let too_early = past.n_output() < params.min_tokens;
        let mut is_banned = params.suppress_tokens.contains(&id);
        is_banned |= !allowed.is_empty() && !allowed.contains(&id);
        is_banned |= id.0 == 0 && params.ignore_eos == IgnoreEos::Forbid;
        is_banned |= id.0 == 0 && too_early && params.ignore_eos != IgnoreEos::GenerateThrough;
        is_banned |= id.0 == 1 && too_early;
        let with_it = [tokens, &[id]].concat();
        is_banned |=
            params.bad_words_ids.iter().any(|word| with_it.ends_with(word) && word.last() == Some(&id));
        let n = params.no_repeat_ngram_size as usize;
        is_banned |= n > 0 && with_it.len() >= n && tokens.windows(n).any(|run| with_it.ends_with(run));
        if is_banned {
            *l = minus;
        }
    }
    logits
}

fn penalize(stage: Stage, params: &SamplingParams, past: &History, ranked: &mut Ranked) {
    let tokens = past.tokens();
    let output = &tokens[tokens.len() - past.n_output() as usize..];
    let scope = match (params.penalty_scope, stage) {
        (PenaltyScope::Output, Stage::FrequencyPenalty | Stage::PresencePenalty) => output,
        (PenaltyScope::Last(n), _) => &tokens[tokens.len().saturating_sub(n as usize)..],
        _ => tokens,
    };
    for (id, l) in ranked.iter_mut() {
        let count = scope.iter().filter(|token| token.0 == *id).count();
        match stage {
            Stage::RepetitionPenalty if count > 0 && *l > 0.0 => *l /= params.repetition_penalty,
            Stage::RepetitionPenalty if count > 0 => *l *= params.repetition_penalty,
            Stage::FrequencyPenalty => *l -= params.frequency_penalty * count as f32,
            Stage::PresencePenalty if count > 0 => *l -= params.presence_penalty,
            Stage::Dry => *l -= dry_penalty(params, tokens, *id),
            _ => {}
        }
    }
}

fn dry_penalty(params: &SamplingParams, tokens: &[TokenId], id: u32) -> f32 {
    let is_breaker = |id: &TokenId| params.dry_breakers.contains(id);
    let followed = (0..tokens.len()).filter(|&at| tokens[at].0 == id);
    let longest = followed.map(|at| {
        let pairs = tokens[..at].iter().rev().zip(tokens.iter().rev());
        pairs.take_while(|(a, b)| a == b && !is_breaker(a)).count() as u32
    });
    let n = longest.max().unwrap_or(0);
    if n < params.dry_allowed_length || is_breaker(&TokenId(id)) {
        return 0.0;
    }
    let power = libm::pow(f64::from(params.dry_base), f64::from(n - params.dry_allowed_length));
    (f64::from(params.dry_multiplier) * power) as f32
}

/// Probabilities in f64, from exact exponentials.
fn softmax(ranked: &Ranked) -> Vec<f64> {
    let p: Vec<f64> = ranked.iter().map(|&(_, l)| f64::from(l - ranked[0].1).exp()).collect();
    let sum: f64 = p.iter().sum();
    p.into_iter().map(|p| p / sum).collect()
}

fn entropy(ranked: &Ranked) -> f64 {
    softmax(ranked).into_iter().filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

/// The chain's own working memory with these tokens in play.
fn own(ranked: &Ranked) -> Candidates {
    let mut by_id = ranked.clone();
    by_id.sort_by_key(|&(id, _)| id);
    let mut own = scratch(by_id.len());
    own.fill(&by_id.iter().map(|&(_, l)| l).collect::<Vec<_>>()).expect("numbers");
    own
}

/// The chain's entropy, held against the definition.
fn own_entropy(ranked: &Ranked) -> f64 {
    let found = own(ranked).moments().entropy();
    assert!((found - entropy(ranked)).abs() < 2e-5, "entropy {found}, expected {}", entropy(ranked));
    found
}

fn keep_sum(ranked: &mut Ranked, share: f32) {
    let w = masses(ranked);
    let target = (f64::from(share) * w.iter().sum::<u64>() as f64).ceil() as u64;
    let mut sum = 0;
    let reached = w.iter().position(|w| {
        sum += w;
        sum >= target
    });
    ranked.truncate(reached.map_or(ranked.len(), |i| i + 1));
}

fn keep_p(ranked: &mut Ranked, least: f64) {
    let w = masses(ranked);
    let least = least * w.iter().sum::<u64>() as f64;
    let mut w = w.into_iter();
    ranked.retain(|_| w.next().is_some_and(|w| w as f64 >= least || w == 1 << 40));
}

fn keep_typical(ranked: &mut Ranked, share: f32) {
    let max = ranked[0].1;
    let centre = own(ranked).moments().mean as f32;
    let p = softmax(ranked);
    let mean: f64 = p.iter().zip(ranked.iter()).map(|(p, (_, l))| p * f64::from(l - max)).sum();
    assert!((f64::from(centre) - mean).abs() < 2e-5, "mean {centre}, expected {mean}");
    let key = |l: f32| ((l - max) - centre).abs();
    let w = masses(ranked);
    let mut by_key: Vec<_> = ranked.iter().copied().zip(w).collect();
    by_key.sort_by(|(a, _), (b, _)| key(a.1).total_cmp(&key(b.1)).then(a.0.cmp(&b.0)));
    let target = (f64::from(share) * by_key.iter().map(|(_, w)| w).sum::<u64>() as f64).ceil();
    let mut sum = 0;
    let reached = by_key.iter().position(|(_, w)| {
        sum += w;
        sum as f64 >= target
    });
    by_key.truncate(reached.map_or(by_key.len(), |i| i + 1));
    *ranked = by_key.into_iter().map(|(token, _)| token).collect();
    rank(ranked);
}

fn filter(stage: Stage, params: &SamplingParams, past: &History, ranked: &mut Ranked) {
    let max = ranked[0].1;
    let divide = |ranked: &mut Ranked, t: f32| ranked.iter_mut().for_each(|(_, l)| *l /= t);
    match stage {
        Stage::Temperature if params.dynatemp_max > 0.0 => {
            let n = ranked.len() as f64;
            let share = if n > 1.0 { (own_entropy(ranked) / libm::log(n)).clamp(0.0, 1.0) } else { 0.0 };
            let (low, high) = (f64::from(params.dynatemp_min), f64::from(params.dynatemp_max));
            let t = low + (high - low) * libm::pow(share, f64::from(params.dynatemp_exponent));
            divide(ranked, t as f32);
        }
        Stage::Temperature => divide(ranked, params.temperature),
        Stage::TopP if params.top_p < 1.0 => keep_sum(ranked, params.top_p),
        Stage::TopK if params.top_k > 0 && ranked.len() > params.top_k as usize => {
            let last = ranked[params.top_k as usize - 1].1;
            ranked.retain(|&(_, l)| l >= last);
        }
        Stage::MinP if params.min_p > 0.0 => {
            let least = (f64::from(params.min_p) * (1u64 << 40) as f64).floor();
            let mut w = masses(ranked).into_iter();
            ranked.retain(|_| w.next().is_some_and(|w| w as f64 >= least));
        }
        Stage::TypicalP if params.typical_p < 1.0 => keep_typical(ranked, params.typical_p),
        Stage::EpsilonCutoff if params.epsilon_cutoff > 0.0 => {
            keep_p(ranked, f64::from(params.epsilon_cutoff));
        }
        Stage::EtaCutoff if params.eta_cutoff > 0.0 => {
            let e = f64::from(params.eta_cutoff);
            keep_p(ranked, e.min(libm::sqrt(e) * libm::exp(-own_entropy(ranked))));
        }
        Stage::TopNSigma if params.top_n_sigma > 0.0 => {
            let n = ranked.len() as f64;
            let mean: f64 = ranked.iter().map(|&(_, l)| f64::from(l)).sum::<f64>() / n;
            let variance = ranked.iter().map(|&(_, l)| (f64::from(l) - mean).powi(2)).sum::<f64>() / n;
            let (_, sigma) = own(ranked).max_and_sigma();
            assert!((sigma - variance.sqrt()).abs() <= 1e-4 * (1.0 + sigma), "sigma {sigma}, {variance}");
            let least = (f64::from(max) - f64::from(params.top_n_sigma) * sigma) as f32;
            ranked.retain(|&(_, l)| l >= least);
        }
        Stage::Xtc if params.xtc_probability > 0.0 => {
            let u = Stream::new(params.seed).bits(past.n_output(), Purpose::Xtc) >> 11;
            if u as f64 / (1u64 << 53) as f64 >= f64::from(params.xtc_probability) {
                return;
            }
            let w = masses(ranked);
            let least = (f64::from(params.xtc_threshold) * w.iter().sum::<u64>() as f64).ceil() as u64;
            let n_above = w.iter().filter(|&&w| w >= least).count();
            ranked.drain(..n_above.saturating_sub(1));
        }
        Stage::Mirostat if params.mirostat_tau > 0.0 => {
            keep_p(ranked, libm::exp2(-2.0 * f64::from(params.mirostat_tau)));
        }
        _ => {}
    }
}
