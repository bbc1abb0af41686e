//! `cargo xtask serving`: what serving costs over the engine itself.
//!
//! - TTFT: from a client's first byte to the first text that it reads, less the TTFT that the engine reports for the
//!   same request. That difference is HTTP, JSON and the way between threads.
//! - Streaming: the time of a step with so many clients, all of them streaming or all of them waiting for whole
//!   answers. The two take turns, so that a machine that slows down slows both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::process::build_limpid;

#[derive(clap::Args)]
#[command(about = "Measure what the server adds to the engine: TTFT, and the step when clients stream")]
pub(crate) struct Args {
    /// The model [default: the embedded one]
    #[arg(short, long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Clients that stream at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// Tokens of each answer
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(2..))]
    tokens: u16,
    /// How often the two forms of answers take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

pub(crate) fn run(args: &Args) -> Result {
    let server = Server::start(args)?;
    let overheads = (0..50).map(|i| server.ttft_overhead(i)).collect::<Result<Vec<_>>>()?;
    println!(
        "TTFT of a 10-token prompt at the client, less the engine's own: median {:.3} ms, largest {:.3} ms of {}",
        median(&overheads),
        overheads.iter().fold(0.0, |a: f64, b| a.max(*b)),
        overheads.len()
    );
    // The first round brings memory and caches into their state.
    let (mut whole, mut streamed) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        for (streams, times) in [(false, &mut whole), (true, &mut streamed)] {
            let tpot = server.tpot_of_all(args, streams)?;
            if round > 0 {
                times.push(tpot);
            }
        }
    }
    let (whole, streamed) = (median(&whole), median(&streamed));
    println!(
        "{} clients, {} tokens each: a step takes {whole:.3} ms with whole answers, {streamed:.3} ms streaming \
         ({:+.1} %)",
        args.clients,
        args.tokens,
        (streamed / whole - 1.0) * 100.0
    );
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(args: &Args) -> Result<Self> {
        let n_clients = args.clients.to_string();
        let mut command = Command::new(build_limpid()?);
        command.args(["serve", "--port", "0", "--model-name", "m", "--max-sequences", &n_clients]);
        command.args(["--context", "512"]);
        if let Some(model) = &args.model {
            command.arg("--model").arg(model);
        }
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no pipe")?).lines();
        let mut server = Self { child, address: String::new() };
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving ")));
        let line = line.ok_or("the server did not start")??;
        let (_, address) = line.split_once("http://").ok_or("the server named no address")?;
        server.address = address.split(' ').next().unwrap_or_default().to_string();
        // Its log is read, or a full pipe would stop it.
        thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }

    fn send(&self, body: &Value) -> Result<TcpStream> {
        let (mut stream, body) = (TcpStream::connect(&self.address)?, body.to_string());
        write!(
            stream,
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(stream)
    }

    /// In ms.
    fn ttft_overhead(&self, i: u64) -> Result<f64> {
        let prompt: Vec<_> = (100 + i..110 + i).collect();
        let body = json!({"model": "m", "prompt": prompt, "max_tokens": 4, "stream": true, "seed": i,
            "ignore_eos": true, "return_token_ids": true});
        let start = Instant::now();
        let (mut text, mut first, mut piece) = (String::new(), None, [0; 1 << 14]);
        let mut stream = self.send(&body)?;
        loop {
            let n = stream.read(&mut piece)?;
            text.push_str(&String::from_utf8_lossy(&piece[..n]));
            // The chunk before has an empty list.
            if first.is_none() && text.contains("\"token_ids\":[") && has_token(&text) {
                first = Some(start.elapsed());
            }
            if n == 0 {
                break;
            }
        }
        let own = number_after(&text, "\"ttft_ms\":").ok_or_else(|| format!("no TTFT in: {text}"))?;
        let at_client: Duration = first.ok_or("no token came")?;
        Ok(at_client.as_secs_f64() * 1e3 - own)
    }

    /// The median TPOT, in ms, of clients that come together.
    fn tpot_of_all(&self, args: &Args, streams: bool) -> Result<f64> {
        let body = |i: u16| {
            json!({"model": "m", "prompt": [100 + i, 7, 8, 9], "max_tokens": args.tokens, "stream": streams,
                "seed": i, "ignore_eos": true})
        };
        let clients = (0..args.clients).map(|i| self.send(&body(i))).collect::<Result<Vec<_>>>()?;
        let read = |mut stream: TcpStream| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
            })
        };
        let threads: Vec<_> = clients.into_iter().map(read).collect();
        let mut times = Vec::new();
        for thread in threads {
            let text = thread.join().map_err(|_| "a client failed")??;
            times.push(number_after(&text, "\"tpot_ms\":").ok_or_else(|| format!("no TPOT in: {text}"))?);
        }
        Ok(median(&times))
    }
}

fn has_token(text: &str) -> bool {
    text.split("\"token_ids\":[").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn number_after(text: &str, name: &str) -> Option<f64> {
    let (_, rest) = text.split_once(name)?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}
