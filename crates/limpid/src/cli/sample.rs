//! `limpid sample`: what the sampling options make of given logits, stage by stage, without a model.

mod file;

use super::args::{Ids, ids};
use super::sampling::{SamplingArgs, draw_seed};
use super::stages::{Stage, Style};
use crate::cli::args;
use crate::error::CliError;
use crate::output;
use clap::Args;
use limpid_engine::TokenId;
use limpid_engine::sampling::{Candidates, History, ParamError, SampleError, Sampler, SamplingParams};
use limpid_engine::trace::{Candidate, NoTrace, Recorder, What};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what the sampling options make of given logits, stage by stage, without a model
///
/// There is no model here whose defaults could hold: what no option sets is off (temperature 1, top_p 1, top_k 0).
#[derive(Args)]
pub(crate) struct SampleArgs {
    /// One logit a token, in order of id: a JSON array ([3, 2.5, -inf]) or a NumPy file (.npy, f4 or f8); `-` is
    /// standard input
    #[arg(long, value_name = "PATH")]
    logits: PathBuf,

    /// What came before, for penalties and bans: the prompt's tokens, such as 1,2,3
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    prompt_tokens: Option<Ids>,

    /// What was generated so far, such as 1,2,3; its length is also the position that a draw is for
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    output_tokens: Option<Ids>,

    /// These tokens are masked before so many are generated, see --stop-token-ids
    #[arg(long, value_name = "N", default_value_t = 0, requires = "stop_token_ids")]
    min_tokens: u32,

    /// Tokens that would end the text, EOS among them, such as 1,2,3
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    stop_token_ids: Option<Ids>,

    #[command(flatten)]
    sampling: SamplingArgs,

    /// Draw so many tokens, from 0 to 1000000: the first is what a text of this seed gets here, the others are those of
    /// a request's other texts
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true,
          value_parser = args::whole::<0, 1_000_000>)]
    draws: usize,

    /// One JSON object: stages (name, kept, removed, probs), final, seed, draws
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    console: args::ConsoleArgs,
}

#[derive(Serialize)]
struct SampleJson {
    stages: Vec<StageJson>,
    /// Id and probability, likeliest first.
    #[serde(rename = "final")]
    last: Vec<(u32, f64)>,
    seed: u64,
    draws: Vec<u32>,
}

#[derive(Serialize)]
struct StageJson {
    name: &'static str,
    kept: usize,
    /// What the stage before kept and this one did not, by ascending id.
    removed: Vec<u32>,
    probs: Vec<(u32, f64)>,
}

pub(crate) fn run(args: &SampleArgs) -> Result<ExitCode, CliError> {
    let isa = args::isa()?;
    let logits = file::read(&args.logits)?;
    let silent = SamplingParams {
        temperature: 1.0,
        min_tokens: args.min_tokens,
        seed: draw_seed(),
        ..SamplingParams::greedy()
    };
    let dry_breakers = args.sampling.dry_breakers(None)?;
    let params = SamplingParams { dry_breakers, ..args.sampling.over(silent) };
    let idle = args.sampling.idle_filters(&params);
    let mut scratch = Candidates::new(logits.len(), isa);
    let stop_ids = known("stop_token_ids", &args.stop_token_ids, logits.len())?;
    let sampler = Sampler::new(&params, &[], &stop_ids, logits.len())?;
    idle.iter().for_each(|note| args.console.console().note(note));
    let past = args.history(logits.len())?;

    let mut stages = Stages::default();
    let failed = |error| CliError::failure(format!("{}: {}", args.logits.display(), what_is_wrong(&error)));
    let chosen = sampler.sample(&logits, &mut past.clone(), &mut scratch, &mut stages).map_err(failed)?;
    let mut draw = |choice| {
        sampler.clone().for_choice(choice).sample(&logits, &mut past.clone(), &mut scratch, &mut NoTrace)
    };
    let draws = (0..args.draws as u32).map(|choice| draw(choice).map(|id| id.0));
    let draws = draws.collect::<Result<_, _>>().map_err(failed)?;
    let last = match params.is_greedy() {
        true => vec![(chosen.0, 1.0)],
        false => stages.0.last().map_or_else(Vec::new, |stage| stage.probs.clone()),
    };
    let in_json = stages.0.iter().map(StageJson::new).collect();
    let result = SampleJson { stages: in_json, last, seed: params.seed, draws };
    if args.json {
        output::write_json(&result)?
    } else {
        output::write(&result.text(&stages.0))?
    }
    Ok(ExitCode::SUCCESS)
}

/// There is no model to blame.
fn what_is_wrong(error: &SampleError) -> String {
    match error {
        SampleError::BadLogit { id, value, .. } => {
            format!("token {} has the logit {value}; give numbers up to 1e30 in size, and -inf to mask", id.0)
        }
        SampleError::NothingLeft { .. } => {
            "no token is left to choose from; give a logit above -inf to one that no option bans".to_owned()
        }
    }
}

impl SampleArgs {
    fn history(&self, vocab_size: usize) -> Result<History, CliError> {
        let prompt = known("prompt_tokens", &self.prompt_tokens, vocab_size)?;
        let output = known("output_tokens", &self.output_tokens, vocab_size)?;
        let mut history = History::new(&prompt, output.len(), vocab_size);
        output.iter().for_each(|&id| history.push(id));
        Ok(history)
    }
}

/// The tokens of an option, all of which there must be a logit for.
fn known(name: &str, ids: &Option<Ids>, vocab_size: usize) -> Result<Vec<TokenId>, ParamError> {
    let ids = ids.as_ref().map_or_else(Vec::new, |ids| ids.0.clone());
    match ids.iter().find(|id| id.0 as usize >= vocab_size) {
        Some(id) => {
            let allowed = format!("tokens from 0 to {}", vocab_size.saturating_sub(1));
            Err(ParamError::new(name, id.0, &allowed))
        }
        None => Ok(ids),
    }
}

/// What the sampler tells of its stages.
#[derive(Default)]
struct Stages(Vec<Stage>);

impl Recorder for Stages {
    fn wants(&self, what: What) -> bool {
        what == What::Stages
    }

    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let stage = Stage::new(name, candidates, self.0.last());
        self.0.push(stage);
    }
}

impl StageJson {
    fn new(stage: &Stage) -> Self {
        let mut removed = stage.removed.clone();
        removed.sort_unstable();
        Self { name: stage.name, kept: stage.probs.len(), removed, probs: stage.probs.clone() }
    }
}

impl SampleJson {
    /// For people: the likeliest tokens after each stage.
    fn text(&self, stages: &[Stage]) -> String {
        let style = Style { tokenizer: None, most: 10 };
        let mut text: String = stages.iter().map(|stage| style.stage(stage)).collect();
        // A greedy choice is no stage.
        if stages.last().is_some_and(|stage| stage.probs != self.last) {
            text += "greedy: 1 left\n";
            text += &style.probs(&self.last);
        }
        if !self.draws.is_empty() {
            let draws = self.draws.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            text += &format!("draws with seed {}: {draws}\n", self.seed);
        }
        text
    }
}
