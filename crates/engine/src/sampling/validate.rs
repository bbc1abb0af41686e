//! The ranges of the knobs, and values that contradict each other.

use super::params::{IgnoreEos, ParamError, PenaltyScope, SamplingParams};
use crate::TokenId;

impl SamplingParams {
    /// Refuses a value that is not a number or out of range, and values that contradict each other, by name.
    ///
    /// Temperature and repetition penalty stay away from 0 because a quotient must not overflow; below 1e-6
    /// no two different logits of a real model are left in play, so nothing is lost by asking for 0. The
    /// range of frequency and presence penalty is that of OpenAI's API and vLLM, as is that of a logit bias.
    pub fn validate(&self) -> Result<(), ParamError> {
        let temperature = |t: f32| t == 0.0 || (1e-6..=1e6).contains(&t);
        check("temperature", self.temperature, "0 (greedy) or from 0.000001 to 1000000", temperature)?;
        for (name, value) in [("dynatemp_min", self.dynatemp_min), ("dynatemp_max", self.dynatemp_max)] {
            check(name, value, "0 (off) or from 0.000001 to 1000000", temperature)?;
        }
        for (name, value, least, most) in [
            ("dynatemp_exponent", self.dynatemp_exponent, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("typical_p", self.typical_p, 0.0, 1.0),
            ("epsilon_cutoff", self.epsilon_cutoff, 0.0, 1.0),
            ("eta_cutoff", self.eta_cutoff, 0.0, 1.0),
            ("top_n_sigma", self.top_n_sigma, 0.0, 1000.0),
            ("xtc_threshold", self.xtc_threshold, 0.0, 0.5),
            ("xtc_probability", self.xtc_probability, 0.0, 1.0),
            ("mirostat_tau", self.mirostat_tau, 0.0, 100.0),
            ("mirostat_eta", self.mirostat_eta, 0.0, 1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("dry_multiplier", self.dry_multiplier, 0.0, 100.0),
            ("dry_base", self.dry_base, 1.0, 100.0),
        ] {
            check(name, value, &format!("from {least} to {most}"), |x| (least..=most).contains(&x))?;
        }
        if self.dry_allowed_length == 0 {
            return Err(ParamError::new("dry_allowed_length", 0, &format!("from 1 to {}", u32::MAX)));
        }
        if self.penalty_scope == PenaltyScope::Last(0) {
            return Err(ParamError::new(
                "penalty_scope",
                self.penalty_scope,
                "output, all or last_1 and more",
            ));
        }
        let has_penalty =
            self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0;
        if self.penalty_scope != PenaltyScope::Output && !has_penalty {
            let allowed = "output where repetition_penalty, frequency_penalty and presence_penalty are off";
            return Err(ParamError::new("penalty_scope", self.penalty_scope, allowed));
        }
        self.check_contradictions()?;
        self.sampler_order.validate(self)
    }

    fn check_contradictions(&self) -> Result<(), ParamError> {
        if self.dynatemp_min > self.dynatemp_max || (self.dynatemp_min == 0.0) != (self.dynatemp_max == 0.0) {
            let allowed = format!("from 0.000001 to dynatemp_max, which is {}", self.dynatemp_max);
            return Err(ParamError::new("dynatemp_min", self.dynatemp_min, &allowed));
        }
        if self.mirostat_tau > 0.0 && self.is_greedy() {
            let allowed = "0 (off) where temperature is 0: greedy does not draw";
            return Err(ParamError::new("mirostat_tau", self.mirostat_tau, allowed));
        }
        let mut ids: Vec<TokenId> = self.logit_bias.iter().map(|&(id, _)| id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ParamError::new("logit_bias", twice[0].0, "each token once"));
        }
        if self.bad_words_ids.iter().any(Vec::is_empty) {
            return Err(ParamError::new("bad_words_ids", "an empty list", "lists of one token or more"));
        }
        for &(id, bias) in &self.logit_bias {
            check(&format!("logit_bias of token {}", id.0), bias, "from -100 to 100", |b| {
                (-100.0..=100.0).contains(&b)
            })?;
        }
        Ok(())
    }

    /// Refuses tokens that the vocabulary does not have.
    pub(super) fn validate_ids(&self, vocab_size: usize) -> Result<(), ParamError> {
        let names: [(&str, Vec<TokenId>); 5] = [
            ("logit_bias", self.logit_bias.iter().map(|&(id, _)| id).collect()),
            ("allowed_token_ids", self.allowed_token_ids.clone()),
            ("suppress_tokens", self.suppress_tokens.clone()),
            ("bad_words_ids", self.bad_words_ids.concat()),
            ("dry_breakers", self.dry_breakers.clone()),
        ];
        for (name, ids) in names {
            if let Some(id) = ids.iter().find(|id| id.0 as usize >= vocab_size) {
                let allowed = format!("tokens from 0 to {}", vocab_size.saturating_sub(1));
                return Err(ParamError::new(name, id.0, &allowed));
            }
        }
        Ok(())
    }

    /// Refuses bans that leave no token.
    pub(super) fn validate_bans(&self, eos: &[TokenId], vocab_size: usize) -> Result<(), ParamError> {
        let (mut banned, mut bans) = (self.suppress_tokens.clone(), "suppress_tokens");
        if self.ignore_eos == IgnoreEos::Forbid {
            banned.extend(eos);
            bans = "suppress_tokens, and that is not EOS, which ignore_eos forbids";
        }
        banned.retain(|id| (id.0 as usize) < vocab_size);
        banned.sort_unstable();
        banned.dedup();
        let allowed = &self.allowed_token_ids;
        if allowed.is_empty() && !banned.is_empty() && banned.len() >= vocab_size {
            let found = format!("{} tokens", self.suppress_tokens.len());
            return Err(ParamError::new("suppress_tokens", found, "fewer tokens than there are"));
        }
        if !allowed.is_empty() && allowed.iter().all(|id| banned.binary_search(id).is_ok()) {
            let found = format!("{} tokens", allowed.len());
            let allowed = format!("one token at least that is not in {bans}");
            return Err(ParamError::new("allowed_token_ids", found, &allowed));
        }
        Ok(())
    }
}

/// `inside` must be false for NaN, as every comparison with it is.
fn check(name: &str, value: f32, allowed: &str, inside: impl Fn(f32) -> bool) -> Result<(), ParamError> {
    if inside(value) { Ok(()) } else { Err(ParamError::new(name, value, allowed)) }
}
