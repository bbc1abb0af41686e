//! The settings of a chat that change between two answers: those options of `limpid run`, in the same words.

use crate::cli::given::{Given, GivenOption};
use crate::cli::length::LengthArgs;
use crate::cli::one_line;
use crate::cli::sampling::{SamplingArgs, draw_seed};
use clap::{Args, CommandFactory, Parser};
use limpid_engine::engine::PromptLimits;
use limpid_engine::sampling::{Defaults, IgnoreEos, ParamError, Sampler, SamplingParams, StopParams};
use limpid_engine::tokenizer::Tokenizer;
use std::fmt::Display;

/// What `/set NAME` takes back to what holds without it.
const DEFAULT: &str = "default";

/// The options that `/set` knows.
#[derive(Args)]
pub(super) struct KnobArgs {
    #[command(flatten)]
    pub(super) length: LengthArgs,
    #[command(flatten)]
    pub(super) sampling: SamplingArgs,
}

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct KnobLine {
    #[command(flatten)]
    knobs: KnobArgs,
}

/// See the module.
pub(super) struct Settings {
    options: Vec<GivenOption>,
    knobs: KnobArgs,
}

impl Settings {
    /// Those of a command line.
    pub(super) fn of(given: &Given) -> Result<Self, String> {
        Self::parse(given.options::<KnobArgs>())
    }

    pub(super) fn parse(options: Vec<GivenOption>) -> Result<Self, String> {
        let words = options.iter().flat_map(GivenOption::words);
        let line = KnobLine::try_parse_from(["limpid".to_owned()].into_iter().chain(words));
        let line = line.map_err(|error| one_line(&error).trim_end_matches("; see --help").to_owned())?;
        Ok(Self { options, knobs: line.knobs })
    }

    pub(super) fn options(&self) -> &[GivenOption] {
        &self.options
    }

    /// With other values. A name that comes several times has several values (of which not every setting takes more
    /// than one); `default` takes a setting back.
    pub(super) fn with(&self, pairs: &[(String, String)]) -> Result<Self, String> {
        let mut options = self.options.clone();
        let mut changed: Vec<GivenOption> = Vec::new();
        for (name, value) in pairs {
            let name = name.trim_start_matches("--").replace('_', "-");
            options.retain(|option| option.name != name);
            let is_flag = is_flag(&name)?;
            match (value.as_str(), is_flag) {
                (DEFAULT, _) | ("off" | "false", true) => {}
                ("on" | "true", true) => changed.push(GivenOption { name, values: Vec::new() }),
                (_, true) => return Err(format!("{} is on or off, not `{value}`", spelled(&name))),
                (_, false) => match changed.iter_mut().find(|option| option.name == name) {
                    Some(option) => option.values.push(value.clone()),
                    None => changed.push(GivenOption { name, values: vec![value.clone()] }),
                },
            }
        }
        options.extend(changed);
        Self::parse(options)
    }

    /// Where no seed is given, each answer draws one.
    pub(super) fn has_seed(&self) -> bool {
        self.options.iter().any(|option| option.name == "seed")
    }

    pub(super) fn max_tokens(&self) -> Option<usize> {
        self.knobs.length.max_tokens
    }

    pub(super) fn min_tokens(&self) -> u32 {
        self.knobs.length.min_tokens
    }

    pub(super) fn stop_params(&self) -> StopParams {
        self.knobs.length.stop_params()
    }

    /// What the next answer is drawn with.
    pub(super) fn sampling(
        &self,
        defaults: &Defaults,
        tokenizer: &Tokenizer,
    ) -> Result<SamplingParams, ParamError> {
        let knobs = &self.knobs;
        let params = knobs.length.complete(&knobs.sampling, defaults.params(draw_seed()));
        let params = SamplingParams { dry_breakers: knobs.sampling.dry_breakers(Some(tokenizer))?, ..params };
        params.validate()?;
        Ok(params)
    }

    /// Refuses what the next message would be refused for.
    pub(super) fn check(
        &self,
        defaults: &Defaults,
        tokenizer: &Tokenizer,
        limits: &PromptLimits,
    ) -> Result<(), ParamError> {
        let &PromptLimits { vocab_size, max_len, .. } = limits;
        let (params, stop) = (self.sampling(defaults, tokenizer)?, self.stop_params());
        let eos: Vec<_> = tokenizer.special().eos_ids().collect();
        Sampler::new(&params, &eos, &stop.stop_token_ids, vocab_size)?;
        stop.validate(vocab_size)?;
        match self.max_tokens() {
            Some(n) if (self.min_tokens() as usize) > n => Err(ParamError::new(
                "min_tokens",
                self.min_tokens(),
                &format!("from 0 to max_tokens, which is {n}"),
            )),
            Some(n) if n >= max_len => {
                let allowed =
                    format!("from 1 to {}: {} holds {max_len}", max_len.saturating_sub(1), limits.limit);
                Err(ParamError::new("max_tokens", n, &allowed))
            }
            _ => Ok(()),
        }
    }

    /// What is in force, for people: everything that is not off.
    pub(super) fn in_force(
        &self,
        defaults: &Defaults,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<String>, ParamError> {
        let params = self.sampling(defaults, tokenizer)?;
        let seed = if self.has_seed() { params.seed.to_string() } else { "drawn for each answer".to_owned() };
        let max_tokens =
            self.max_tokens().map_or("all that is left of the context".to_owned(), |n| n.to_string());
        let mut lines = vec![
            format!("temperature {}", params.temperature),
            format!("seed {seed}"),
            format!("max_tokens {max_tokens}"),
        ];
        lines.extend(distribution(&params).into_iter().chain(penalties(&params)).chain(bans(&params)));
        lines.extend(stopping(&params, &self.stop_params()));
        Ok(lines)
    }
}

/// As `/set` and JSON spell it.
pub(super) fn spelled(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a setting is on or off; an error for what is none.
fn is_flag(name: &str) -> Result<bool, String> {
    let command = KnobLine::command();
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let Some(arg) = arg else {
        let names: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).map(spelled).collect();
        return Err(format!("there is no setting {}; they are {}", spelled(name), names.join(", ")));
    };
    Ok(!arg.get_action().takes_values())
}

/// A setting that is not off.
fn on<T: PartialEq + Display>(name: &str, value: T, off: T) -> Option<String> {
    (value != off).then(|| format!("{name} {value}"))
}

fn distribution(params: &SamplingParams) -> Vec<String> {
    let off = SamplingParams::greedy();
    let has_xtc = params.xtc_probability > 0.0;
    let has_mirostat = params.mirostat_tau > 0.0;
    let has_dynatemp = params.dynatemp_max > 0.0;
    let values = [
        on("top_p", params.top_p, off.top_p),
        on("top_k", params.top_k, off.top_k),
        on("min_p", params.min_p, off.min_p),
        on("typical_p", params.typical_p, off.typical_p),
        on("epsilon_cutoff", params.epsilon_cutoff, off.epsilon_cutoff),
        on("eta_cutoff", params.eta_cutoff, off.eta_cutoff),
        on("top_n_sigma", params.top_n_sigma, off.top_n_sigma),
        on("xtc_probability", params.xtc_probability, 0.0),
        has_xtc.then(|| format!("xtc_threshold {}", params.xtc_threshold)),
        on("mirostat_tau", params.mirostat_tau, 0.0),
        has_mirostat.then(|| format!("mirostat_eta {}", params.mirostat_eta)),
        on("dynatemp_min", params.dynatemp_min, 0.0),
        on("dynatemp_max", params.dynatemp_max, 0.0),
        has_dynatemp.then(|| format!("dynatemp_exponent {}", params.dynatemp_exponent)),
        on("sampler_order", params.sampler_order.to_string(), off.sampler_order.to_string()),
    ];
    values.into_iter().flatten().collect()
}

fn penalties(params: &SamplingParams) -> Vec<String> {
    let off = SamplingParams::greedy();
    let has_dry = params.dry_multiplier > 0.0;
    let values = [
        on("repetition_penalty", params.repetition_penalty, off.repetition_penalty),
        on("frequency_penalty", params.frequency_penalty, off.frequency_penalty),
        on("presence_penalty", params.presence_penalty, off.presence_penalty),
        on("penalty_scope", params.penalty_scope.to_string(), off.penalty_scope.to_string()),
        on("dry_multiplier", params.dry_multiplier, 0.0),
        has_dry.then(|| format!("dry_base {}", params.dry_base)),
        has_dry.then(|| format!("dry_allowed_length {}", params.dry_allowed_length)),
        listed("dry_breakers", params.dry_breakers.iter().map(|id| id.0)),
    ];
    values.into_iter().flatten().collect()
}

fn bans(params: &SamplingParams) -> Vec<String> {
    let bad_words =
        params.bad_words_ids.iter().filter_map(|ids| listed("bad_words_ids", ids.iter().map(|id| id.0)));
    let values = [
        listed("logit_bias", params.logit_bias.iter().map(|(id, bias)| format!("{}={bias}", id.0))),
        listed("allowed_token_ids", params.allowed_token_ids.iter().map(|id| id.0)),
        listed("suppress_tokens", params.suppress_tokens.iter().map(|id| id.0)),
        on("no_repeat_ngram_size", params.no_repeat_ngram_size, 0),
    ];
    values.into_iter().flatten().chain(bad_words).collect()
}

fn stopping(params: &SamplingParams, stop: &StopParams) -> Vec<String> {
    let strings = stop.stop.iter().map(|text| format!("stop {text:?}"));
    let ignore_eos = match params.ignore_eos {
        IgnoreEos::No => None,
        IgnoreEos::GenerateThrough => Some("ignore_eos generate_through".to_owned()),
        IgnoreEos::Forbid => Some("ignore_eos forbid".to_owned()),
    };
    let values = [
        on("min_tokens", params.min_tokens, 0),
        listed("stop_token_ids", stop.stop_token_ids.iter().map(|id| id.0)),
        stop.include_stop.then(|| "include_stop on".to_owned()),
        ignore_eos,
    ];
    strings.chain(values.into_iter().flatten()).collect()
}

/// `name 1,2,3`, if there is any.
fn listed<T: Display>(name: &str, values: impl Iterator<Item = T>) -> Option<String> {
    let values: Vec<_> = values.map(|value| value.to_string()).collect();
    (!values.is_empty()).then(|| format!("{name} {}", values.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn set(settings: &Settings, of: &[(&str, &str)]) -> Settings {
        settings.with(&pairs(of)).unwrap_or_else(|error| panic!("{of:?}: {error}"))
    }

    fn none() -> Settings {
        Settings::parse(Vec::new()).expect("no settings")
    }

    #[test]
    fn a_setting_takes_the_place_of_the_last_one_or_goes() {
        let one = set(&none(), &[("temperature", "0.2"), ("--top-p", "0.5")]);
        let two = set(&one, &[("temperature", "0.7")]);
        let words: Vec<_> = two.options().iter().flat_map(GivenOption::words).collect();
        assert_eq!(words, ["--top-p=0.5", "--temperature=0.7"]);
        let three = set(&two, &[("top_p", "default"), ("temperature", "default")]);
        assert!(three.options().is_empty());
    }

    #[test]
    fn lists_and_flags() {
        let settings =
            set(&none(), &[("stop", "a"), ("stop", "-b"), ("include_stop", "on"), ("ignore_eos", "forbid")]);
        let stop = settings.stop_params();
        assert_eq!((stop.stop, stop.include_stop), (vec!["a".to_owned(), "-b".to_owned()], true));
        let off = set(&settings, &[("include_stop", "off"), ("stop", "c")]);
        assert_eq!((off.stop_params().stop, off.stop_params().include_stop), (vec!["c".to_owned()], false));
    }

    #[test]
    fn what_belongs_together_is_looked_at_together() {
        let one = set(&none(), &[("xtc_probability", "0.5")]);
        set(&one, &[("xtc_threshold", "0.2")]);
        let wrong = none().with(&pairs(&[("dynatemp_min", "0.5")])).err().unwrap_or_default();
        assert!(wrong.contains("--dynatemp-max") && !wrong.contains("--help"), "{wrong}");
        set(&none(), &[("dynatemp_min", "0.5"), ("dynatemp_max", "1")]);
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (name, value, part) in [
            ("temprature", "1", "there is no setting temprature; they are max_tokens, "),
            ("temperature", "hot", "0 or from 0.000001 to 1000000"),
            ("temperature", "", "a number is expected"),
            ("include_stop", "maybe", "include_stop is on or off"),
            ("max_tokens", "0", "from 1 to"),
            ("seed", "-1", "from 0 to"),
        ] {
            let error = none().with(&pairs(&[(name, value)])).err().unwrap_or_default();
            assert!(error.contains(part), "{name} {value}: {error}");
        }
    }
}
