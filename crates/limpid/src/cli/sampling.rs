//! The options of sampling, for every command that draws tokens. Ranges are checked by the engine, all together.

use super::args::{Ids, ids};
use crate::breakers::Breakers;
use clap::Args;
use limpid_engine::TokenId;
use limpid_engine::sampling::{ParamError, PenaltyScope, SamplerOrder, SamplingParams};
use limpid_engine::tokenizer::Tokenizer;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// From the system's randomness; of 32 bits, so that it is short to type and exact in every JSON reader.
pub(crate) fn draw_seed() -> u64 {
    RandomState::new().hash_one(()) & u64::from(u32::MAX)
}

/// Every sampling option; an option that is left out is `None` or empty.
#[derive(Args)]
pub(crate) struct SamplingArgs {
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    penalties: PenaltyArgs,
    #[command(flatten)]
    bans: BanArgs,
}

/// What changes the whole distribution: l are logits, p their softmax over the tokens in play, H its entropy in nats.
#[derive(Args)]
#[command(next_help_heading = "Sampling")]
struct FilterArgs {
    /// Divides the logits l: l / T. 0 always takes the likeliest token, else from 0.000001 to 1000000 [default: the
    /// model's, else 0.8; without a model 1]
    #[arg(long, value_name = "T", allow_negative_numbers = true,
          value_parser = number("0 or from 0.000001 to 1000000"))]
    temperature: Option<f32>,

    /// Keep the likeliest tokens whose probabilities p sum up to Q, from 0 to 1; 1 is off [default: the model's, else
    /// 0.95; without a model 1]
    #[arg(long, value_name = "Q", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    top_p: Option<f32>,

    /// Keep the K likeliest tokens and all that equal the last of them, from 0 to 4294967295; 0 is off [default: the
    /// model's, else 0]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = top_k)]
    top_k: Option<u32>,

    /// Keep p >= M * (largest p), from 0 to 1; 0 is off [default: the model's, else 0]
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    min_p: Option<f32>,

    /// Keep the tokens with the smallest |-ln p - H|, with H the entropy, whose p sum up to Q, from 0 to 1; 1 is off
    /// [default: the model's, else 1]
    #[arg(long, value_name = "Q", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    typical_p: Option<f32>,

    /// Keep p >= E, from 0 to 1; 0 is off [default: the model's, else 0]
    #[arg(long, value_name = "E", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    epsilon_cutoff: Option<f32>,

    /// Keep p >= min(E, sqrt(E) * exp(-H)), from 0 to 1; 0 is off [default: the model's, else 0]
    #[arg(long, value_name = "E", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    eta_cutoff: Option<f32>,

    /// Keep l >= (largest l) - N * (standard deviation of l), from 0 to 1000; 0 is off [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number("from 0 to 1000"))]
    top_n_sigma: Option<f32>,

    /// XTC: with this probability, of the tokens with p >= --xtc-threshold all but the least likely go, from 0 to 1; 0
    /// is off [default: the model's, else 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number("from 0 to 1"))]
    xtc_probability: Option<f32>,

    /// See --xtc-probability, from 0 to 0.5 [default: the model's, else 0.1]
    #[arg(long, value_name = "P", allow_negative_numbers = true,
          value_parser = number("from 0 to 0.5"), requires = "xtc_probability")]
    xtc_threshold: Option<f32>,

    /// Dynamic temperature, MIN + (MAX - MIN) * (H / ln(number of tokens))^EXPONENT instead of --temperature, from
    /// 0.000001 to 1000000 [default: off]
    #[arg(long, value_name = "MIN", allow_negative_numbers = true, value_parser = number("from 0.000001 to 1000000"),
          requires = "dynatemp_max", conflicts_with = "temperature")]
    dynatemp_min: Option<f32>,

    /// See --dynatemp-min, from that to 1000000 [default: off]
    #[arg(long, value_name = "MAX", allow_negative_numbers = true,
          value_parser = number("from 0.000001 to 1000000"), requires = "dynatemp_min")]
    dynatemp_max: Option<f32>,

    /// See --dynatemp-min, from 0 to 100 [default: 1]
    #[arg(long, value_name = "EXPONENT", allow_negative_numbers = true, value_parser = number("from 0 to 100"),
          requires = "dynatemp_min")]
    dynatemp_exponent: Option<f32>,

    /// Mirostat v2: keep -log2 p <= mu; mu begins at 2 TAU, and after a token is drawn mu -= ETA * (-log2 p - TAU).
    /// From 0 to 100; 0 is off [default: the model's, else 0]
    #[arg(long, value_name = "TAU", allow_negative_numbers = true, value_parser = number("from 0 to 100"))]
    mirostat_tau: Option<f32>,

    /// See --mirostat-tau, from 0 to 1 [default: the model's, else 0.1]
    #[arg(long, value_name = "ETA", allow_negative_numbers = true,
          value_parser = number("from 0 to 1"), requires = "mirostat_tau")]
    mirostat_eta: Option<f32>,

    /// The order of penalties, temperature and filters: notes (Limpid's own), vllm, hf, llama.cpp, or a list such as
    /// penalties,top_k,temperature. A setting that has no place in it is refused
    #[arg(long, value_name = "ORDER", default_value = "notes", value_parser = parse::<SamplerOrder>)]
    sampler_order: SamplerOrder,

    /// The same seed gives the same text, from 0 to 18446744073709551615 [default: drawn, and shown]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    seed: Option<u64>,
}

/// What lowers the logits of tokens that occurred.
#[derive(Args)]
#[command(next_help_heading = "Penalties")]
struct PenaltyArgs {
    /// Where a token occurs in the scope: l / R where l > 0, else l * R, from 0.01 to 100; 1 is off [default: the
    /// model's, else 1]
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = number("from 0.01 to 100"))]
    repetition_penalty: Option<f32>,

    /// l - A * c, with c how often a token occurs in the scope, from -2 to 2; 0 is off [default: 0]
    #[arg(long, value_name = "A", allow_negative_numbers = true, value_parser = number("from -2 to 2"))]
    frequency_penalty: Option<f32>,

    /// If c > 0: l - A, from -2 to 2; 0 is off [default: 0]
    #[arg(long, value_name = "A", allow_negative_numbers = true, value_parser = number("from -2 to 2"))]
    presence_penalty: Option<f32>,

    /// Which tokens count: output (for the repetition penalty prompt and output), all (prompt and output), or the last
    /// so many, such as last_64. Any but output needs one of the three penalties above
    #[arg(long, value_name = "SCOPE", default_value = "output", value_parser = parse::<PenaltyScope>)]
    penalty_scope: PenaltyScope,

    /// DRY: l - MULTIPLIER * BASE^(n - LENGTH) where a token would make a repeat of n >= LENGTH tokens longer, from 0
    /// to 100; 0 is off [default: 0]
    #[arg(long, value_name = "MULTIPLIER", allow_negative_numbers = true, value_parser = number("from 0 to 100"))]
    dry_multiplier: Option<f32>,

    /// See --dry-multiplier, from 1 to 100 [default: 1.75]
    #[arg(long, value_name = "BASE", allow_negative_numbers = true, value_parser = number("from 1 to 100"),
          requires = "dry_multiplier")]
    dry_base: Option<f32>,

    /// See --dry-multiplier, from 1 to 4294967295 [default: 2]
    #[arg(long, value_name = "LENGTH", allow_negative_numbers = true, value_parser = count,
          requires = "dry_multiplier")]
    dry_allowed_length: Option<u32>,

    /// What no repeat of DRY reaches across: token ids such as 1,2,3, or a JSON list of texts and ids such as
    /// ["\\n", ":", 13]; a text stands for every token that has it in it [default: none]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, value_parser = breakers,
          requires = "dry_multiplier")]
    dry_breakers: Option<Breakers>,
}

/// What forbids tokens, or pushes them.
#[derive(Args)]
#[command(next_help_heading = "Bans and bias")]
struct BanArgs {
    /// l + BIAS for one token, from -100 to 100. May be given several times [default: none]
    #[arg(long, value_name = "ID=BIAS", allow_hyphen_values = true, value_parser = logit_bias)]
    logit_bias: Vec<(TokenId, f32)>,

    /// Never choose another token than these [default: all are allowed]
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    allowed_token_ids: Option<Ids>,

    /// Never choose these tokens; `none` where the model's files name some [default: the model's, else none]
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids_or_none)]
    suppress_tokens: Option<Ids>,

    /// Never write these tokens one after the other, the end of the prompt included. May be given several times; `none`
    /// where the model's files name some [default: the model's, else none]
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids_or_none)]
    bad_words_ids: Vec<Ids>,

    /// No N tokens occur twice in the same order, the prompt included, from 0 to 4294967295; 0 is off [default: the
    /// model's, else 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    no_repeat_ngram_size: Option<u32>,
}

impl SamplingArgs {
    /// The tokens that `--dry-breakers` stands for; `tokenizer`: `None` where tokens have no texts.
    pub(crate) fn dry_breakers(&self, tokenizer: Option<&Tokenizer>) -> Result<Vec<TokenId>, ParamError> {
        self.penalties.dry_breakers.as_ref().map_or_else(|| Ok(Vec::new()), |of| of.tokens(tokenizer))
    }

    /// Filters that the options set although nothing is drawn.
    pub(crate) fn idle_filters(&self, params: &SamplingParams) -> Option<String> {
        // What the model's files or Limpid set beside a temperature of 0 is no news.
        let set = self.over(SamplingParams::greedy()).filters();
        let flags = set.iter().map(|name| format!("--{}", name.replace('_', "-"))).collect::<Vec<_>>();
        (params.is_greedy() && !set.is_empty()).then(|| {
            let verb = if set.len() == 1 { "changes" } else { "change" };
            format!(
                "{} {verb} nothing: the temperature is 0, and no filter removes the likeliest token",
                flags.join(", ")
            )
        })
    }

    /// What is in force, `dry_breakers` left out: the options, else what holds where they are silent.
    pub(crate) fn over(&self, silent: SamplingParams) -> SamplingParams {
        let (filters, penalties, bans) = (&self.filters, &self.penalties, &self.bans);
        let tokens = |ids: &Option<Ids>, silent| ids.as_ref().map_or(silent, |ids| ids.0.clone());
        SamplingParams {
            temperature: filters.temperature.unwrap_or(silent.temperature),
            dynatemp_min: filters.dynatemp_min.unwrap_or(silent.dynatemp_min),
            dynatemp_max: filters.dynatemp_max.unwrap_or(silent.dynatemp_max),
            dynatemp_exponent: filters.dynatemp_exponent.unwrap_or(silent.dynatemp_exponent),
            top_p: filters.top_p.unwrap_or(silent.top_p),
            top_k: filters.top_k.unwrap_or(silent.top_k),
            min_p: filters.min_p.unwrap_or(silent.min_p),
            typical_p: filters.typical_p.unwrap_or(silent.typical_p),
            epsilon_cutoff: filters.epsilon_cutoff.unwrap_or(silent.epsilon_cutoff),
            eta_cutoff: filters.eta_cutoff.unwrap_or(silent.eta_cutoff),
            top_n_sigma: filters.top_n_sigma.unwrap_or(silent.top_n_sigma),
            xtc_threshold: filters.xtc_threshold.unwrap_or(silent.xtc_threshold),
            xtc_probability: filters.xtc_probability.unwrap_or(silent.xtc_probability),
            mirostat_tau: filters.mirostat_tau.unwrap_or(match filters.temperature {
                // What the model's files say of draws does not hold where there are none.
                Some(0.0) => 0.0,
                _ => silent.mirostat_tau,
            }),
            mirostat_eta: filters.mirostat_eta.unwrap_or(silent.mirostat_eta),
            sampler_order: filters.sampler_order.clone(),
            seed: filters.seed.unwrap_or(silent.seed),
            repetition_penalty: penalties.repetition_penalty.unwrap_or(silent.repetition_penalty),
            frequency_penalty: penalties.frequency_penalty.unwrap_or(silent.frequency_penalty),
            presence_penalty: penalties.presence_penalty.unwrap_or(silent.presence_penalty),
            penalty_scope: penalties.penalty_scope,
            dry_multiplier: penalties.dry_multiplier.unwrap_or(silent.dry_multiplier),
            dry_base: penalties.dry_base.unwrap_or(silent.dry_base),
            dry_allowed_length: penalties.dry_allowed_length.unwrap_or(silent.dry_allowed_length),
            dry_breakers: silent.dry_breakers,
            logit_bias: bans.logit_bias.clone(),
            allowed_token_ids: tokens(&bans.allowed_token_ids, silent.allowed_token_ids),
            suppress_tokens: tokens(&bans.suppress_tokens, silent.suppress_tokens),
            bad_words_ids: match bans.bad_words_ids.is_empty() {
                true => silent.bad_words_ids,
                false => {
                    bans.bad_words_ids.iter().map(|ids| ids.0.clone()).filter(|ids| !ids.is_empty()).collect()
                }
            },
            no_repeat_ngram_size: bans.no_repeat_ngram_size.unwrap_or(silent.no_repeat_ngram_size),
            min_tokens: silent.min_tokens,
            ignore_eos: silent.ignore_eos,
        }
    }
}

/// The range is checked with all others, once the model's defaults are known; a text that is no number has none, and
/// what an f32 would round to 0 is not 0.
fn number(range: &'static str) -> impl Fn(&str) -> Result<f32, String> + Clone {
    move |text| {
        let number = text.parse::<f32>().ok().zip(text.parse::<f64>().ok());
        let number = number.filter(|&(narrow, wide)| narrow != 0.0 || wide == 0.0);
        number.map(|(narrow, _)| narrow).ok_or_else(|| format!("a number is expected, {range}"))
    }
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {} is expected", u32::MAX))
}

/// Elsewhere -1 means "off".
fn top_k(text: &str) -> Result<u32, String> {
    count(text).map_err(|error| format!("{error}; 0 switches it off"))
}

/// Elsewhere -1 means "draw one".
fn seed(text: &str) -> Result<u64, String> {
    let remedy = "leave the option out, and one is drawn";
    text.parse().map_err(|_| format!("a whole number from 0 to {} is expected; {remedy}", u64::MAX))
}

/// What a model's files name can be taken back.
fn ids_or_none(text: &str) -> Result<Ids, String> {
    if text == "none" { Ok(Ids(Vec::new())) } else { ids(text) }
}

fn breakers(text: &str) -> Result<Breakers, String> {
    if !text.trim_start().starts_with('[') {
        return ids(text)
            .map(|ids| Breakers::from_ids(ids.0))
            .map_err(|error| format!("{error}, or {EXPECTED}"));
    }
    let value = serde_json::from_str(text).map_err(|error| format!("{EXPECTED} is expected: {error}"))?;
    Breakers::from_json(&value).ok_or_else(|| format!("{EXPECTED} is expected"))
}

const EXPECTED: &str = Breakers::EXPECTED;

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn logit_bias(text: &str) -> Result<(TokenId, f32), String> {
    let (id, bias) = text.split_once('=').ok_or("ID=BIAS is expected, such as 50256=-100")?;
    let id = id.parse().map_err(|_| format!("`{id}` is no token id"))?;
    Ok((TokenId(id), number("from -100 to 100")(bias)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SamplingArgs,
    }

    #[test]
    fn a_model_with_mirostat_can_be_asked_for_greedy_text() {
        let of_model = SamplingParams { temperature: 0.8, mirostat_tau: 5.0, ..SamplingParams::greedy() };
        let found = |line: &[&str]| {
            let line = Line::try_parse_from([&["limpid"], line].concat()).expect("a command line");
            let params = line.args.over(of_model.clone());
            (params.mirostat_tau, params.validate().is_ok())
        };
        assert_eq!(found(&[]), (5.0, true));
        assert_eq!(found(&["--temperature", "0"]), (0.0, true));
        assert_eq!(found(&["--temperature", "0", "--mirostat-tau", "3"]), (3.0, false));
    }

    #[test]
    fn a_bias_is_a_token_and_a_number() {
        assert_eq!(logit_bias("5=-1.5"), Ok((TokenId(5), -1.5)));
        for wrong in ["5", "=1", "-5=1", "5=", "5=a", "5.0=1"] {
            assert!(logit_bias(wrong).is_err(), "{wrong}");
        }
    }
}
