//! `limpid batch`: a file of requests goes in, a file of answers comes out.

mod lines;

use super::args::{ComputeArgs, ConsoleArgs, MAX_SEQUENCES, ModelArgs, check_context, token_count, whole};
use crate::cli::run::MonotonicClock;
use crate::cli::sampling::draw_seed;
use crate::console::Console;
use crate::error::{CliError, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::load::ModelFile;
use crate::machine;
use crate::openai::{ApiError, Ask, Translator, answer};
use crate::progress::{Progress, Unit};
use crate::sizing::Sizing;
use crate::texts::Texts;
use crate::units;
use clap::Args;
use limpid_engine::engine::{Dropped, Engine, EngineConfig, EventKind, Events, Finished, RequestId};
use limpid_engine::model::{MemoryPlan, ModelOptions};
use limpid_engine::trace::NoTrace;
use lines::{Answers, Line, Lines};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Answer a file of requests
///
/// IN has OpenAI's batch lines, a JSON object each: custom_id, method, url (/v1/completions or /v1/chat/completions)
/// and body. OUT gets one line for each, in the same order; a request that cannot be answered has an error in its
/// place, and the others go on. Every answer is the one that its request gets alone, whatever runs beside it; a request
/// without a seed is given one, which its answer names. Where a request and the model's files are silent, temperature
/// and top_p are 1, as OpenAI's API says. docs/json.md lists what a body may hold and what an answer does. The exit
/// code is 0 also if requests failed, which the summary counts; Ctrl-C leaves the answers that are complete, with exit
/// code 130. A line of IN:
///
/// {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role":
/// "user", "content": "Hello"}], "max_tokens": 20}}
#[derive(Args)]
pub(crate) struct BatchArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The requests, one a line; `-` is standard input
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Where the answers go; what is there is replaced
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Texts that are generated side by side, from 1 to 64; a request with n or beams takes as many places
    #[arg(long, value_name = "N", default_value = "8", allow_negative_numbers = true,
          value_parser = whole::<1, MAX_SEQUENCES>)]
    sequences: usize,

    /// The longest text, prompt and output together, from 1 to the model's own [default: the model's, cut to what
    /// memory holds for --sequences of them]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = token_count)]
    context: Option<usize>,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

/// Rows of prompts whose logits one step makes beyond one a sequence, where prompt_logprobs are asked for.
const PROMPT_LOGIT_ROWS: usize = 16;

pub(crate) fn run(args: &BatchArgs) -> Result<ExitCode, CliError> {
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    let tokenizer = Arc::new(file.tokenizer()?);
    let translator = Translator::new(&file, tokenizer.clone())?;
    let lines = Lines::open(&args.input)?;
    let interrupt = Interrupt::while_loading(console)?;
    let clock = MonotonicClock(Instant::now());
    let engine = args.engine(&file, tokenizer, &console, clock)?;
    // Only now: a model that cannot be loaded destroys no earlier answers.
    let answers = Answers::create(&args.output, &lines)?;
    interrupt.work_begins();
    let progress = Progress::start(&console, "batch", Unit::Requests);
    let n_sequences = args.sequences;
    let batch =
        Batch { engine, n_sequences, translator, lines, answers, in_flight: BTreeMap::new(), n_tokens: 0 };
    let start = Instant::now();
    let done = batch.run(&interrupt, &progress)?;
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();
    console.summary(&format!(
        "{} ({} failed) | {} generated | {} | {:.2} requests/s",
        units::counted(done.n_lines, "request"),
        done.n_failed,
        units::counted(done.n_tokens, "token"),
        units::rate(done.n_tokens as f64 / seconds),
        done.n_lines as f64 / seconds,
    ));
    Ok(if done.was_interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

impl BatchArgs {
    fn engine(
        &self,
        file: &ModelFile,
        tokenizer: Arc<limpid_engine::tokenizer::Tokenizer>,
        console: &Console,
        clock: MonotonicClock,
    ) -> Result<Engine, CliError> {
        let setup = self.compute.setup()?;
        let plan =
            MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
        let sizing = Sizing {
            plan: &plan,
            max_rows: self.compute.prefill_chunk + self.sequences - 1,
            max_logit_rows: self.sequences + PROMPT_LOGIT_ROWS,
            n_sequences: self.sequences,
            n_shared: 0,
        };
        let context_length = self.context_length(file, &sizing)?;
        let limits = sizing.limits(context_length);
        let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
        let model = file.load(setup.cpu(), &options, console)?;
        let config = EngineConfig {
            context_length,
            n_pages: sizing.n_pages(context_length),
            max_sequences: self.sequences,
            max_waiting: self.sequences,
            prefill_chunk: limits.max_rows - (self.sequences - 1),
            kv_cache: true,
        };
        Ok(Engine::new(Box::new(model), tokenizer, config, Box::new(clock))?)
    }

    fn context_length(&self, file: &ModelFile, sizing: &Sizing<'_>) -> Result<usize, CliError> {
        if let Some(asked) = self.context {
            let remedy = "lower it, or leave it out for all that the model has";
            check_context(asked, &file.config, remedy)?;
        }
        let of_model = file.config.context_length;
        let available = machine::available_memory();
        let remedy = "Lower --context or --sequences, or use a model in a smaller format";
        match (self.context, available) {
            (Some(asked), _) => sizing.check(asked, available, remedy).map(|()| asked),
            (None, None) => Ok(of_model),
            (None, Some(memory)) => {
                sizing.check(1, available, remedy)?;
                Ok(sizing.longest(of_model, memory).max(1))
            }
        }
    }
}

/// A request that the engine has.
struct InFlight {
    line: Line,
    ask: Ask,
    dropped: Option<Dropped>,
    texts: Texts,
}

struct Batch {
    engine: Engine,
    /// Texts side by side.
    n_sequences: usize,
    translator: Translator,
    lines: Lines,
    answers: Answers,
    in_flight: BTreeMap<RequestId, InFlight>,
    n_tokens: usize,
}

/// What came of it.
struct Done {
    n_lines: usize,
    n_failed: usize,
    n_tokens: usize,
    was_interrupted: bool,
}

impl Batch {
    fn run(mut self, interrupt: &Interrupt, progress: &Progress) -> Result<Done, CliError> {
        let mut events = Events::default();
        loop {
            while self.in_flight.len() < self.n_sequences
                && let Some(line) = self.lines.next()?
            {
                self.begin(line)?;
            }
            let was_interrupted = interrupt.is_asked();
            if self.engine.is_idle() || was_interrupted {
                let (n_lines, n_failed) = self.answers.finish()?;
                return Ok(Done { n_lines, n_failed, n_tokens: self.n_tokens, was_interrupted });
            }
            events.clear();
            self.engine.step(&mut events, &mut NoTrace);
            self.take(&events)?;
            progress.set(self.answers.n_done() as u64, self.lines.n_lines() as u64);
        }
    }

    /// Gives a request to the engine, or an error as its answer.
    fn begin(&mut self, mut line: Line) -> Result<(), CliError> {
        let asked = line.read().and_then(|(endpoint, body)| self.translator.ask(endpoint, body, draw_seed()));
        let submitted = asked.and_then(|ask| {
            let width = ask.request.decoding.width();
            if width > self.n_sequences {
                let message = format!(
                    "it takes {width} texts side by side, and --sequences is {}: raise it, to at most {MAX_SEQUENCES}",
                    self.n_sequences
                );
                return Err(ApiError::invalid(None, message));
            }
            Ok((self.engine.submit(ask.request.clone())?, ask))
        });
        match submitted {
            Err(error) => self.answers.error(&line, &error),
            Ok((id, ask)) => {
                let texts = Texts::new(self.translator.echo(&ask));
                self.in_flight.insert(id, InFlight { line, ask, dropped: None, texts });
                Ok(())
            }
        }
    }

    fn take(&mut self, events: &Events) -> Result<(), CliError> {
        for event in events.iter() {
            match event.kind {
                EventKind::Finished(finished) => {
                    let request = self.in_flight.remove(&event.request);
                    self.end(&request.expect("a request ends once"), finished)?;
                }
                kind => {
                    let request = self.in_flight.get_mut(&event.request).expect("it has not ended");
                    if let EventKind::Started { dropped: Some(dropped) } = kind {
                        request.dropped = Some(dropped);
                        let Dropped { start, n_tokens } = dropped;
                        request.ask.request.prompt.drain(start..start + n_tokens);
                        // Nothing was told before.
                        request.texts = Texts::new(self.translator.echo(&request.ask));
                    }
                    request.texts.take(kind, &request.ask.request.prompt);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, request: &InFlight, finished: &Finished) -> Result<(), CliError> {
        self.n_tokens += finished.usage.completion_tokens;
        let InFlight { line, ask, dropped, texts, .. } = request;
        if let Some(error) = &finished.error {
            let error = ApiError { code: "failed", message: error.to_string(), param: None };
            return self.answers.error(line, &error);
        }
        let id = line.answer_id();
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let created = created.map_or(0, |time| time.as_secs());
        let body: Value = answer(ask, texts, finished, *dropped, self.translator.tokenizer(), &id, created);
        self.answers.body(line, body)
    }
}
