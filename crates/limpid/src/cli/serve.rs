//! `limpid serve`: an OpenAI-compatible server.

use super::args::{ComputeArgs, ConsoleArgs, MAX_SEQUENCES, ModelArgs, token_count, whole};
use super::run::MonotonicClock;
use super::side_by_side::{Loaded, SideBySide};
use crate::console::{self, Console};
use crate::driver::EngineHandle;
use crate::error::CliError;
use crate::load::ModelFile;
use crate::openai::Translator;
use crate::server::{ApiKey, App, Listen, Log, Options, Ready, bind, listen};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::env::VarError;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serve a model over HTTP, as OpenAI's API does
///
/// Paths: /v1/chat/completions, /v1/completions, /v1/models, /tokenize, /detokenize, /health (503 until the model is
/// loaded), /version, /metrics (Prometheus), /openapi.json (all of it described), and / (a page to talk to the model).
/// Requests decode together, and each gets the bytes that it would get alone. What a request leaves open is as OpenAI's
/// API says, unless the model's files say otherwise. Ctrl-C or SIGTERM lets running answers end, and exits with code 0.
///
/// curl localhost:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{"model": "pocket", "messages":
/// [{"role": "user", "content": "Hello"}]}'
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The address to listen at: by default only this machine's own programs can connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Serving")]
    host: IpAddr,

    /// The port, from 0 to 65535; 0 takes one that is free, and shows it
    #[arg(long, value_name = "N", default_value = "8080", help_heading = "Serving")]
    port: u16,

    /// What requests call the model; may be given more than once [default: the file's or folder's name; pocket]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = "Serving")]
    model_name: Vec<String>,

    /// A file whose first line is a key that requests must send (`Authorization: Bearer KEY`) [default: the variable
    /// LIMPID_API_KEY; without it none is needed]
    #[arg(long, value_name = "PATH", help_heading = "Serving")]
    api_key_file: Option<PathBuf>,

    /// Texts that are generated side by side, from 1 to 64; a request with n or beams takes as many places
    #[arg(long, value_name = "N", default_value = "8", allow_negative_numbers = true,
          value_parser = whole::<1, MAX_SEQUENCES>, help_heading = "Limits")]
    max_sequences: usize,

    /// Requests that may wait for a place, from 1 to 65536; further ones get status 429
    #[arg(long, value_name = "N", default_value = "256", allow_negative_numbers = true,
          value_parser = whole::<1, 65_536>, help_heading = "Limits")]
    max_waiting: usize,

    /// The longest text, prompt and output together, from 1 to the model's own [default: the model's, cut to what
    /// memory holds for --max-sequences of them]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = token_count,
          help_heading = "Limits")]
    context: Option<usize>,

    /// Connections at the same time, from 1 to 65536; further ones wait
    #[arg(long, value_name = "N", default_value = "512", allow_negative_numbers = true,
          value_parser = whole::<1, 65_536>, help_heading = "Limits")]
    max_connections: usize,

    /// The longest body of a request, from 1 to 1024 MiB
    #[arg(long, value_name = "N", default_value = "8", allow_negative_numbers = true,
          value_parser = whole::<1, 1024>, help_heading = "Limits")]
    max_body_mib: usize,

    /// Steps of an answer that wait for a slow reader, from 1 to 1048576; beyond them its request ends with an error
    #[arg(long, value_name = "N", default_value = "4096", allow_negative_numbers = true,
          value_parser = whole::<1, 1_048_576>, help_heading = "Limits")]
    stream_buffer: usize,

    /// How many seconds running answers may go on after Ctrl-C or SIGTERM, from 0 to 86400
    #[arg(long, value_name = "N", default_value = "30", allow_negative_numbers = true,
          value_parser = whole::<0, 86_400>, help_heading = "Limits")]
    grace_seconds: usize,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    console: ConsoleArgs,
}

pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    let console = args.console.console();
    // What can be wrong with the command line is told before anything takes long.
    let setup = args.compute.setup()?;
    let file = ModelFile::open(args.model.path())?;
    let api_key = args.api_key()?;
    if api_key.is_none() && !args.host.is_loopback() {
        console.note(
            "warning: everyone who reaches this address can use the model; --api-key-file asks for a key",
        );
    }
    let cannot_start =
        |error: std::io::Error| CliError::failure(format!("cannot start the server's threads: {error}"));
    let app = App::new(Options {
        model_names: args.model_names(),
        api_key,
        max_body_bytes: args.max_body_mib << 20,
        max_waiting: args.max_waiting,
        stream_buffer: args.stream_buffer,
        is_loopback: args.host.is_loopback(),
        log: Log::new(console).map_err(cannot_start)?,
        isa: setup.isa.to_string(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(cannot_start)?.block_on(serve(args, file, app, &console))
}

async fn serve(
    args: &ServeArgs,
    file: ModelFile,
    app: Arc<App>,
    console: &Console,
) -> Result<ExitCode, CliError> {
    let address = SocketAddr::new(args.host, args.port);
    let cannot = |what: &str, error: std::io::Error| CliError::failure(format!("cannot {what}: {error}"));
    let listener = bind(address).map_err(|error| cannot(&format!("listen at {address}"), error))?;
    let address = listener.local_addr().map_err(|error| cannot("listen", error))?;
    let mut signals = Signals::new().map_err(|error| cannot("listen for signals", error))?;
    let how = Listen {
        max_connections: args.max_connections,
        grace: Duration::from_secs(args.grace_seconds as u64),
    };
    let (stopper, stopped) = tokio::sync::oneshot::channel::<()>();
    let stop = async move { _ = stopped.await };
    let server = tokio::spawn(listen(listener, app.clone(), how, stop));
    // /health says 503 meanwhile. Loading looks at no signal, and nobody waits for an answer: the first one ends it.
    let mut while_loading = Signals::new().map_err(|error| cannot("listen for signals", error))?;
    let notes = *console;
    let impatient = tokio::spawn(async move {
        while_loading.next().await;
        notes.note_over_progress("stopped while loading the model");
        std::process::exit(0);
    });
    let thread = tokio::task::block_in_place(|| args.load(&file, &app, console))?;
    impatient.abort();
    let place = format!("serving {} at http://{address} (Ctrl-C ends)", app.options.model_names[0]);
    match args.port {
        // Nobody could know it else.
        0 => console::print_line(&format!("limpid: {place}")),
        _ => console.note(&place),
    }
    tokio::select! {
        () = signals.next() => {}
        () = is_over(&thread) => return Err(CliError::failure("the engine has failed; see above")),
    }
    console.note("stopping; running answers may end");
    // It waits for nothing else.
    let _ = stopper.send(());
    tokio::select! {
        ended = server => ended.map_err(|error| CliError::failure(format!("the server has failed: {error}")))??,
        () = signals.next() => console.note("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the engine's thread has ended, which it does by itself only when it failed.
async fn is_over(thread: &JoinHandle<()>) {
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl ServeArgs {
    /// Loads the model, and lets requests in.
    fn load(&self, file: &ModelFile, app: &App, console: &Console) -> Result<JoinHandle<()>, CliError> {
        let clock = MonotonicClock(Instant::now());
        let tokenizer = Arc::new(file.tokenizer()?);
        let translator = Translator::new(file, tokenizer.clone())?;
        for warning in tokenizer.warnings() {
            console.note(&format!("warning: {warning}"));
        }
        let side_by_side = SideBySide {
            n_sequences: self.max_sequences,
            option: "--max-sequences",
            max_waiting: self.max_waiting,
            context: self.context,
            compute: &self.compute,
        };
        let Loaded { engine, context_length } = side_by_side.engine(file, tokenizer, console, clock)?;
        let translator =
            Arc::new(translator.with_context(context_length).with_name(&app.options.model_names[0]));
        app.metrics.observe(&engine);
        let started = EngineHandle::start(engine, app.metrics.clone());
        let (engine, thread) = started
            .map_err(|error| CliError::failure(format!("cannot start the engine's thread: {error}")))?;
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let ready = Ready { engine, translator, clock, context_length, created };
        assert!(app.ready.set(ready).is_ok(), "a model is loaded once");
        Ok(thread)
    }

    fn model_names(&self) -> Vec<String> {
        if !self.model_name.is_empty() {
            return self.model_name.clone();
        }
        let of_path = |path: &Path| {
            let path = path.canonicalize().unwrap_or(path.to_owned());
            let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
            name.unwrap_or_default().to_string_lossy().into_owned()
        };
        vec![self.model.path().map_or("pocket".to_owned(), of_path)]
    }

    /// The key, out of a file or the environment: on the command line everyone could see it.
    fn api_key(&self) -> Result<Option<ApiKey>, CliError> {
        let (key, place) = match &self.api_key_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text
                    .map_err(|error| CliError::failure(format!("cannot read {}: {error}", path.display())))?;
                (text.lines().next().unwrap_or_default().trim().to_owned(), path.display().to_string())
            }
            None => match std::env::var("LIMPID_API_KEY") {
                Ok(key) if key.is_empty() => return Ok(None),
                Err(VarError::NotPresent) => return Ok(None),
                // What is no text is no key, and an open server is not what was meant.
                given => (given.unwrap_or_default(), "LIMPID_API_KEY".to_owned()),
            },
        };
        let wrong = || {
            CliError::failure(format!("{place} has no key: one line of visible ASCII characters is expected"))
        };
        ApiKey::new(&key).map(Some).ok_or_else(wrong)
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
