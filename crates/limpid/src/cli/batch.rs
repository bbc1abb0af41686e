//! `limpid batch`: a file of requests goes in, a file of answers comes out.

mod lines;

use super::args::{ComputeArgs, ConsoleArgs, MAX_SEQUENCES, ModelArgs, token_count, whole};
use super::side_by_side::SideBySide;
use crate::cli::run::MonotonicClock;
use crate::cli::sampling::draw_seed;
use crate::error::{CliError, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::load::ModelFile;
use crate::openai::{ApiError, Ask, Endpoint, Head, Translator, Whole};
use crate::progress::{Progress, Unit};
use crate::units;
use clap::Args;
use limpid_engine::engine::{Clock, Engine, EventKind, Events, RequestId};
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

pub(crate) fn run(args: &BatchArgs) -> Result<ExitCode, CliError> {
    let console = args.console.console();
    let file = ModelFile::open(args.model.path())?;
    let tokenizer = Arc::new(file.tokenizer()?);
    let translator = Translator::new(&file, tokenizer.clone())?;
    let lines = Lines::open(&args.input)?;
    let interrupt = Interrupt::while_loading(console)?;
    let clock = MonotonicClock(Instant::now());
    let side_by_side = SideBySide {
        n_sequences: args.sequences,
        option: "--sequences",
        max_waiting: args.sequences,
        context: args.context,
        compute: &args.compute,
    };
    let engine = side_by_side.engine(&file, tokenizer, &console, clock)?.engine;
    // Only now: a model that cannot be loaded destroys no earlier answers.
    let answers = Answers::create(&args.output, &lines)?;
    interrupt.work_begins();
    let translator = translator.with_context(engine.context_length());
    let progress = Progress::start(&console, "batch", Unit::Requests);
    let n_sequences = args.sequences;
    let batch = Batch {
        engine,
        clock,
        n_sequences,
        translator,
        lines,
        answers,
        in_flight: BTreeMap::new(),
        n_tokens: 0,
    };
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

/// A request that the engine has.
struct InFlight {
    line: Line,
    whole: Whole,
}

struct Batch {
    engine: Engine,
    clock: MonotonicClock,
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
            progress.set_tokens(self.n_tokens as u64);
        }
    }

    /// Gives a request to the engine, or an error as its answer.
    fn begin(&mut self, mut line: Line) -> Result<(), CliError> {
        let accepted_at = self.clock.now();
        let asked = line.read().and_then(|(endpoint, body)| self.ask(endpoint, body));
        let submitted = asked.and_then(|mut ask| {
            let request = &mut ask.requests[0];
            (request.accepted_at, request.tokenized_at) = (accepted_at, self.clock.now());
            let id = self
                .engine
                .submit(request.clone())
                .map_err(|error| ApiError::from(error).at(ask.endpoint))?;
            Ok((id, ask))
        });
        match submitted {
            Err(error) => self.answers.error(&line, &error),
            Ok((id, ask)) => {
                let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let head = Head::new(&ask, line.answer_id(), created.as_secs());
                let whole = Whole::new(ask, head, &self.translator);
                self.in_flight.insert(id, InFlight { line, whole });
                Ok(())
            }
        }
    }

    /// A line's request, if it is one that a line can have.
    fn ask(&self, endpoint: Endpoint, body: Value) -> Result<Ask, ApiError> {
        let ask = self.translator.ask(endpoint, body, draw_seed())?;
        if ask.stream.is_some() {
            let message = "`stream` is true: an answer here comes as a whole";
            return Err(ApiError::invalid(Some("stream"), message));
        }
        if ask.requests.len() != 1 {
            let message =
                format!("`prompt` is a list of {}: give each a line of its own", ask.requests.len());
            return Err(ApiError::invalid(Some("prompt"), message));
        }
        let width = ask.requests[0].decoding.width();
        if width > self.n_sequences {
            let message = format!(
                "it takes {width} texts side by side, and --sequences is {}: raise it, to at most {MAX_SEQUENCES}",
                self.n_sequences
            );
            return Err(ApiError::invalid(None, message));
        }
        Ok(ask)
    }

    fn take(&mut self, events: &Events) -> Result<(), CliError> {
        for event in events.iter() {
            let request = self.in_flight.get_mut(&event.request).expect("it has not ended");
            request.whole.take(0, event.kind, &self.translator);
            if let EventKind::Finished(finished) = event.kind {
                self.n_tokens += finished.usage.completion_tokens;
                let InFlight { line, whole } = self.in_flight.remove(&event.request).expect("it is there");
                match whole.answer(&self.translator) {
                    Ok(body) => self.answers.body(&line, body)?,
                    Err(error) => self.answers.error(&line, &error)?,
                }
            }
        }
        Ok(())
    }
}
