//! `limpid run`: a prompt goes in, text streams out.

mod args;
mod decoding;
mod explain;
mod generate;
mod report;

pub(crate) use args::RunArgs;
pub(crate) use report::{DefaultsJson, TimingsJson};

use super::chat;
use super::sampling::draw_seed;
use crate::console::Console;
use crate::error::{CliError, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::load::{self, Loading, ModelFile};
use crate::machine::{self, AvailableMemory};
use crate::output;
use crate::sizing::{OPEN_ENDED_REMEDY, SequenceSize, Sizing, context_limits};
use explain::Explain;
pub(crate) use generate::{Generation, MonotonicClock, Watch, generate};
use limpid_engine::TokenId;
use limpid_engine::decode::{Choices, Decoding};
use limpid_engine::engine::{Dropped, PromptLimits, Request};
use limpid_engine::model::MemoryPlan;
use limpid_engine::sampling::{Defaults, FinishReason, SamplingParams};
use limpid_engine::tokenizer::Tokenizer;
use report::{MemoryReport, Report};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of a prompt whose logits one step makes, where all of them are asked for.
const PROMPT_LOGIT_ROWS: usize = 64;

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, CliError> {
    if !args.prompt.is_given() && chat::is_interactive() {
        return chat::run_without_prompt(&args.given);
    }
    run_prompt(args)
}

fn run_prompt(args: &RunArgs) -> Result<ExitCode, CliError> {
    let console = args.console.console();
    args.check()?;
    let setup = args.compute.setup()?;
    let clock = MonotonicClock(Instant::now());
    let file = args.open()?;
    let decoding = args.decoding.decoding()?;
    let defaults = args.defaults(&file)?;
    let sampling = args.sampling(&defaults)?;
    let tokenizer = Arc::new(file.tokenizer()?);
    let sampling = args.with_breakers(sampling, &tokenizer)?;
    args.note_idle(&sampling, &decoding, &console);
    load::warn(&console, &tokenizer, &defaults);

    let ReadPrompt { ids: mut prompt, reading, tokenize } = read_prompt(args, &file, &tokenizer, &clock)?;
    let limits = context_limits(args.context, &file.config)?;
    let dropped = args.fit_prompt(&limits, &mut prompt, &console)?;
    let logprobs = args.logprobs.params(&decoding);
    let request = Request {
        stop: args.length.stop_params(),
        max_tokens: args.length.max_tokens,
        decoding,
        logprobs,
        time_limit: args.time_limit.time_limit(),
        ..Request::new(prompt.clone(), sampling.clone())
    };
    request.validate()?;

    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let sizing = args.sizing(&plan, prompt.len(), decoding.width(), logprobs.prompt.is_some());
    let size = args.size(&limits, &sizing, &prompt, machine::available_memory(), &console)?;
    let runtime = machine::resident_memory().map(|before| before.plus(file.bytes_in_program()));
    let interrupt = Interrupt::while_loading(console)?;
    let loading = Loading { setup: &setup, sizing: &sizing, size, kv_cache: !args.no_kv_cache };
    let mut engine = file.engine(&loading, tokenizer.clone(), &console, Box::new(clock))?;
    let loaded_at = clock.0.elapsed();
    interrupt.work_begins();
    let (load, accepted_at) = (loaded_at - reading - tokenize, loaded_at - tokenize);
    let id = engine.submit(Request { accepted_at, tokenized_at: accepted_at + tokenize, ..request })?;
    let watch = Watch {
        console: &console,
        interrupt: &interrupt,
        prompt: &prompt,
        prefill_chunk: size.prefill_chunk,
        kv_cache: !args.no_kv_cache,
        streams: !args.json && !args.explain && decoding.n_texts() == 1,
        explains: args.explain,
    };
    let echo = if args.logprobs.echo { tokenizer.decode(&prompt, true) } else { String::new() };
    let mut explain = args.explainer(&tokenizer, &prompt, decoding.width());
    let generation = generate(&mut engine, id, &watch, echo, explain.as_mut())?;
    match explain {
        Some(explain) => output::write(&explain.end(&generation))?,
        None => args.write_texts(&generation, watch.streams, &console)?,
    }
    if let Some(error) = generation.finished.error {
        return Err(CliError::Request { model: file.name(), error });
    }
    let memory = MemoryReport::new(&sizing, &generation, runtime, engine.kv_stats(), !args.no_kv_cache);
    let report = Report {
        generation: &generation,
        prompt: &prompt,
        seed: sampling.seed,
        load,
        memory,
        defaults: &defaults,
        dropped,
    };
    tell(&report, args.json, &console)
}

/// Says what there is to say of a run that is over.
fn tell(report: &Report<'_>, as_json: bool, console: &Console) -> Result<ExitCode, CliError> {
    if as_json {
        output::write_json(&report.json())?;
    } else {
        console.summary(&report.summary());
    }
    Ok(match report.generation.finished.reason {
        FinishReason::Cancelled => ExitCode::from(INTERRUPTED),
        _ => ExitCode::SUCCESS,
    })
}

/// The prompt, and how long it took.
struct ReadPrompt {
    ids: Vec<TokenId>,
    /// Waiting for standard input, perhaps: nobody's time.
    reading: Duration,
    tokenize: Duration,
}

/// Reads and tokenizes the prompt. That comes after the model's header, so that a wrong path is told before somebody
/// has typed a prompt, and before its weights, since the prompt's length decides how much is loaded. The time of
/// tokenizing belongs to the request all the same, not to loading.
fn read_prompt(
    args: &RunArgs,
    file: &ModelFile,
    tokenizer: &Tokenizer,
    clock: &MonotonicClock,
) -> Result<ReadPrompt, CliError> {
    let start = clock.0.elapsed();
    let prompt = args.prompt.read()?;
    let is_read = clock.0.elapsed();
    let ids = prompt.encode(file, tokenizer)?;
    Ok(ReadPrompt { ids, reading: is_read - start, tokenize: clock.0.elapsed() - is_read })
}

impl RunArgs {
    /// Says what was asked for and changes nothing.
    fn note_idle(&self, sampling: &SamplingParams, decoding: &Decoding, console: &Console) {
        self.sampling.idle_filters(sampling).iter().for_each(|note| console.note(note));
        if matches!(decoding, Decoding::Choices(Choices { best_of: 2.., .. })) && sampling.is_greedy() {
            console.note("the temperature is 0, so nothing is drawn: all texts are the same");
        }
    }

    /// Reads the model's header; what of the options it shows to be wrong is told before a prompt is read.
    fn open(&self) -> Result<ModelFile, CliError> {
        let file = ModelFile::open(self.model.path())?;
        self.attention.map_or(Ok(()), |attention| attention.check(&file.config))?;
        Ok(file)
    }

    fn defaults(&self, file: &ModelFile) -> Result<Defaults, CliError> {
        Ok(self.decoding.defaults(Defaults::of(file.weights.metadata(), file.config.vocab_size)?))
    }

    /// How tokens are chosen, `--dry-breakers` left out. A default that does not go with the options is not blamed on
    /// them: that is one without which there would be no error.
    fn sampling(&self, defaults: &Defaults) -> Result<SamplingParams, CliError> {
        let over = |silent| self.length.complete(&self.sampling, silent);
        let sampling = over(defaults.params(draw_seed()));
        let without_defaults = over(SamplingParams { temperature: 1.0, ..SamplingParams::greedy() });
        match (sampling.validate(), without_defaults.validate()) {
            (Ok(()), _) => Ok(sampling),
            (Err(error), Err(same)) if error == same => Err(error.into()),
            (Err(error), _) => Err(defaults.blamed(error).into()),
        }
    }

    fn with_breakers(
        &self,
        sampling: SamplingParams,
        tokenizer: &Tokenizer,
    ) -> Result<SamplingParams, CliError> {
        Ok(SamplingParams { dry_breakers: self.sampling.dry_breakers(Some(tokenizer))?, ..sampling })
    }

    fn explainer<'a>(
        &self,
        tokenizer: &'a Tokenizer,
        prompt: &'a [TokenId],
        n_texts: usize,
    ) -> Option<Explain<'a>> {
        self.explain.then(|| Explain::new(tokenizer, prompt, n_texts, self.attention))
    }

    /// Where the result is text: ends the line of a text that was streamed. Several texts are written at the end, an
    /// empty line between them: what is exact about where one ends is the JSON.
    fn write_texts(
        &self,
        generation: &Generation,
        was_streamed: bool,
        console: &Console,
    ) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        if was_streamed {
            output::end_line(&generation.first().text)?;
        }
        let texts = if was_streamed { &[][..] } else { &generation.texts };
        for (i, text) in texts.iter().enumerate() {
            output::write(if i > 0 { "\n" } else { "" })?;
            output::write_text(&text.text)?;
            let is_last = i + 1 == texts.len();
            if is_last { output::end_line(&text.text)? } else { output::write("\n")? }
        }
        console.begin_line(&generation.first().text);
        Ok(())
    }

    /// Drops what `--context-overflow` says of a prompt that is too long, and says so.
    fn fit_prompt(
        &self,
        limits: &PromptLimits,
        prompt: &mut Vec<TokenId>,
        console: &Console,
    ) -> Result<Option<Dropped>, CliError> {
        let dropped = limits.fit_prompt(prompt, self.length.max_tokens, self.overflow.context_overflow())?;
        if let Some(Dropped { start, n_tokens }) = dropped {
            console.note(&format!("{n_tokens} tokens of the prompt dropped, from position {start} on"));
        }
        Ok(dropped)
    }

    fn sizing<'a>(
        &self,
        plan: &'a MemoryPlan<'a>,
        n_prompt: usize,
        width: usize,
        scores_prompt: bool,
    ) -> Sizing<'a> {
        // Without a cache every step is a prefill of all there is.
        let longest_prefill = if self.no_kv_cache { usize::MAX } else { n_prompt };
        let prefill_chunk = self.compute.prefill_chunk.min(longest_prefill);
        let n_scored = if scores_prompt { PROMPT_LOGIT_ROWS } else { 1 };
        Sizing {
            plan,
            max_rows: prefill_chunk.saturating_add(width - 1),
            max_logit_rows: width - 1 + n_scored,
            n_sequences: width,
            n_shared: if self.no_kv_cache { 0 } else { n_prompt },
            n_texts: if self.decoding.has_beams() { 2 * width } else { width },
        }
    }

    /// Decides how much to load, or refuses what cannot be done, with the numbers.
    fn size(
        &self,
        limits: &PromptLimits,
        sizing: &Sizing<'_>,
        prompt: &[TokenId],
        available: Option<AvailableMemory>,
        console: &Console,
    ) -> Result<SequenceSize, CliError> {
        let n_prompt = prompt.len();
        // As the engine will check it, but before loading.
        limits.check_prompt(prompt)?;
        let max_tokens = limits.max_tokens(n_prompt, self.length.max_tokens, self.length.min_tokens)?;
        if self.length.max_tokens.is_some() {
            let remedy = "Lower --max-tokens, shorten the prompt, or use a model in a smaller format";
            sizing.check(n_prompt + max_tokens, available, remedy)?;
            return Ok(sizing.sequence(limits.max_len, n_prompt + max_tokens));
        }
        // Some output is wanted, as much as there is room for.
        let context_length =
            sizing.open_ended(limits.max_len, n_prompt + 1, available, OPEN_ENDED_REMEDY, console)?;
        Ok(sizing.sequence(context_length, context_length))
    }
}
