//! `limpid chat`: a conversation whose sequence stays in the cache, so that a turn costs its new tokens only.
//!
//! - `commands`: what a line asks for.  `conversation`: what was said, and its ids.  `settings`: what `/set` changes.
//! - `session`: answers.  `totals`: their numbers.  `saved`: `/save` and `/load`.
//! - `terminal`: the line editor and the signals.  `input`: messages of several lines.

mod commands;
mod conversation;
mod input;
mod saved;
mod session;
mod settings;
mod terminal;
mod totals;

pub(crate) use terminal::is_interactive;

use super::args::{ComputeArgs, ConsoleArgs, ModelArgs, token_count};
use super::given::{Given, GivenOption};
use super::length::TimeLimitArgs;
use super::run::{MonotonicClock, RunArgs};
use super::template::TemplateArgs;
use crate::console::Console;
use crate::error::{CliError, FAILURE, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::load::{self, Loading, ModelFile};
use crate::machine;
use crate::prompt::ChatPrompt;
use crate::sizing::{OPEN_ENDED_REMEDY, Sizing, context_limits};
use crate::units;
use clap::{Args, Parser};
use commands::Ask;
use conversation::Conversation;
use input::Written;
use limpid_engine::engine::{LengthLimit, PromptLimits};
use limpid_engine::model::MemoryPlan;
use limpid_engine::sampling::Defaults;
use session::Session;
use settings::{KnobArgs, Settings};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use terminal::{Input, Source};
use totals::Totals;

/// Talk with a model.
///
/// Answers go to standard output, everything else to standard error. On a terminal lines are edited, with history
/// (arrow keys, Ctrl-R); else each line of standard input is a message. A line that ends with a backslash goes on in
/// the next one; between lines of """ everything is one message. /help lists the commands: /reset /regen /system /set
/// /stats /save /load /quit. Ctrl-C stops an answer, and the conversation goes on; a second one before it has stopped
/// ends the program.
///
/// The conversation stays in the KV cache: a turn computes only what is new, and the line after each answer says how
/// much that was. When it outgrows the context the oldest turns are dropped, which is said before it happens. Models
/// without a chat template cannot chat.
#[derive(Args)]
pub(crate) struct ChatArgs {
    // The first: those below take what is theirs.
    #[command(flatten)]
    given: Given,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    template: TemplateArgs,

    #[command(flatten)]
    knobs: KnobArgs,

    #[command(flatten)]
    time_limit: TimeLimitArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    /// The longest conversation, answers included, from 1 to the model's own [default: the model's, cut to what memory
    /// holds]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = token_count)]
    context: Option<usize>,

    /// Do not read or write the file of past messages, limpid/history in $XDG_STATE_HOME or else in ~/.local/state
    #[arg(long)]
    no_history: bool,

    #[command(flatten)]
    console: ConsoleArgs,
}

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct ChatLine {
    #[command(flatten)]
    args: ChatArgs,
}

/// `limpid run` without a prompt, where somebody sits at a terminal: a chat with the same options. Those that mean
/// nothing in one are refused by name.
pub(crate) fn run_without_prompt(given: &Given) -> Result<ExitCode, CliError> {
    let known = given.options::<ChatArgs>();
    let is_unknown = |option: &GivenOption| !known.contains(option);
    if let Some(GivenOption { name, .. }) = given.options::<RunArgs>().into_iter().find(is_unknown) {
        return Err(CliError::usage(format!(
            "there is no prompt, and --{name} means nothing in a chat, which `limpid run` begins then; give a prompt, \
             or leave --{name} out"
        )));
    }
    let words = known.iter().flat_map(GivenOption::words);
    let line = ChatLine::try_parse_from(["limpid".to_owned()].into_iter().chain(words));
    run(&line.map_err(|error| CliError::usage(super::one_line(&error)))?.args)
}

pub(crate) fn run(args: &ChatArgs) -> Result<ExitCode, CliError> {
    let console = args.console.console();
    let setup = args.compute.setup()?;
    let clock = MonotonicClock(Instant::now());
    let file = ModelFile::open(args.model.path())?;
    let defaults = Defaults::of(file.weights.metadata(), file.config.vocab_size)?;
    let settings = Settings::of(&args.given).map_err(CliError::usage)?;
    let tokenizer = Arc::new(file.tokenizer()?);
    let limits = context_limits(args.context, &file.config)?;
    settings.check(&defaults, &tokenizer, &limits)?;
    load::warn(&console, &tokenizer, &defaults);
    let Some(template) = ChatPrompt::of(&file, args.template.variables(), &tokenizer)? else {
        return Err(CliError::failure(format!(
            "{} has no chat template, so there is no telling how it expects messages; continue texts with `limpid run \
             --raw`",
            file.name()
        )));
    };
    let conversation = Conversation::new(args.template.system.as_deref());
    let n_least = check_room(&conversation, &template, &tokenizer, &limits, &settings)?;

    let plan = MemoryPlan::new(&file.weights, &file.config, setup.compute, setup.kv_format, setup.n_threads)?;
    let max_rows = args.compute.prefill_chunk;
    let sizing = Sizing { plan: &plan, max_rows, max_logit_rows: 1, n_sequences: 1, n_shared: 0, n_texts: 1 };
    let available = machine::available_memory();
    let max_len = sizing.open_ended(limits.max_len, n_least, available, OPEN_ENDED_REMEDY, &console)?;
    let size = sizing.sequence(max_len, max_len);
    let interrupt = Interrupt::while_loading(console)?;
    let loading = Loading { setup: &setup, sizing: &sizing, size, kv_cache: true };
    let engine = file.engine(&loading, tokenizer.clone(), &console, Box::new(clock))?;
    let source = Source::open(!args.no_history, &console)?;
    interrupt.work_is_done(source.is_editor());
    greet(&console, &file, &limits, max_len);
    let session = Session {
        console,
        interrupt: &interrupt,
        model: file.name(),
        tokenizer,
        template,
        defaults,
        engine,
        clock,
        limits: cut(limits, max_len),
        prefill_chunk: size.prefill_chunk,
        time_limit: args.time_limit.time_limit(),
        has_editor: source.is_editor(),
        settings,
        conversation,
        totals: Totals::default(),
    };
    talk(session, source)
}

/// The limits of an engine that has memory for so many positions.
fn cut(limits: PromptLimits, max_len: usize) -> PromptLimits {
    let limit = if max_len < limits.max_len { LengthLimit::Context } else { limits.limit };
    PromptLimits { max_len, limit, ..limits }
}

/// Refuses, before anything is loaded, a system message that the template does not know and lengths that leave no room.
/// The tokens that the shortest conversation has.
fn check_room(
    conversation: &Conversation,
    template: &ChatPrompt,
    tokenizer: &limpid_engine::tokenizer::Tokenizer,
    limits: &PromptLimits,
    settings: &Settings,
) -> Result<usize, CliError> {
    let mut shortest = conversation.clone();
    shortest.say("?".to_owned());
    let n_prompt = template.encode(shortest.messages(), tokenizer)?.len();
    limits.max_tokens(n_prompt, settings.max_tokens(), settings.min_tokens())?;
    Ok(n_prompt + 1)
}

fn greet(console: &Console, file: &ModelFile, limits: &PromptLimits, max_len: usize) {
    if terminal::is_interactive() {
        let context = units::count(max_len.min(limits.max_len));
        console.summary(&format!("{}, context {context} tokens; /help lists the commands", file.name()));
    }
}

/// Until there is nothing more to answer. Where lines come from a file or a pipe, whose writer cannot look, the exit
/// code says whether something went wrong.
fn talk(mut session: Session<'_>, mut source: Source) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    loop {
        let written = match source.read()? {
            Input::End => return Ok(code),
            Input::Written(written) => written,
            Input::Interrupted { was_empty: false } => continue,
            Input::Interrupted { was_empty: true } => {
                session.say("limpid: nothing to stop; /quit or Ctrl-D ends the chat");
                continue;
            }
        };
        let ask = match written {
            Written::Block(text) if text.trim().is_empty() => Ok(None),
            Written::Block(text) => Ok(Some(Ask::Message(text))),
            Written::Line(line) => commands::parse(&line).map_err(CliError::failure),
        };
        match ask.and_then(|ask| ask.map_or(Ok(Next::Goes), |ask| session.act(ask))) {
            Ok(Next::Goes) => {}
            Ok(Next::Ends) => return Ok(code),
            Ok(Next::WasInterrupted) if session.has_editor => {}
            Ok(Next::WasInterrupted) => return Ok(ExitCode::from(INTERRUPTED)),
            Err(CliError::ClosedPipe) => return Err(CliError::ClosedPipe),
            Err(error) => {
                error.report();
                if !terminal::is_interactive() {
                    code = ExitCode::from(FAILURE);
                }
            }
        }
    }
}

/// What follows a line.
enum Next {
    Goes,
    WasInterrupted,
    Ends,
}

impl Session<'_> {
    fn act(&mut self, ask: Ask) -> Result<Next, CliError> {
        let answered = |was_interrupted| if was_interrupted { Next::WasInterrupted } else { Next::Goes };
        match ask {
            Ask::Message(text) => return self.answer(text).map(answered),
            Ask::Regen => return self.regenerate().map(answered),
            Ask::Quit => return Ok(Next::Ends),
            Ask::Help => self.say(&commands::help()),
            Ask::Reset => self.reset(),
            Ask::ShowSystem => match self.conversation.system() {
                Some(text) => self.say(text),
                None => self.say("there is no system message"),
            },
            Ask::System(text) => self.set_system(&text)?,
            Ask::ShowSettings => {
                let lines = self.settings.in_force(&self.defaults, &self.tokenizer)?;
                self.say(&lines.join("\n"));
            }
            Ask::Set(pairs) => self.set(&pairs)?,
            Ask::Stats => self.say(&self.stats()),
            Ask::Save { path, overwrites } => self.save(&path, overwrites)?,
            Ask::Load(path) => self.load(&path)?,
        }
        Ok(Next::Goes)
    }
}
