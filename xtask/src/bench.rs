//! `cargo xtask bench`: Limpid's speed and memory on models of real shapes, beside llama.cpp's on the same files.
//!
//! The two run in turn, several rounds, so that a machine that slows down slows both; the table has medians. It is
//! worth as much as the machine is quiet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde_json::Value;

use crate::process::{Measured, build_limpid, measure};
use crate::synth::{self, Recipe, ShapeName};
use crate::{Result, repository};

#[derive(clap::Args)]
#[command(about = "Run `limpid bench` on models of real shapes, beside llama-bench with --llama-cpp")]
pub(crate) struct Args {
    /// Shapes of synthetic models, made under target/synth when they are not there
    #[arg(long, value_delimiter = ',', default_value = "llama-3.2-1b")]
    shape: Vec<ShapeName>,
    /// Formats of the synthetic models
    #[arg(long, value_delimiter = ',', default_value = "q4_0,q8_0,q4_k_m")]
    format: Vec<Recipe>,
    /// Model files to run instead of synthetic ones
    #[arg(long, short)]
    model: Vec<PathBuf>,
    /// The folder of llama.cpp's programs, to compare with its llama-bench
    #[arg(long)]
    llama_cpp: Option<PathBuf>,
    /// Threads of both [default: what Limpid chooses]
    #[arg(long, short)]
    threads: Option<u64>,
    /// Prompt tokens
    #[arg(long, default_value_t = 512)]
    prefill: usize,
    /// Generated tokens
    #[arg(long, default_value_t = 64)]
    decode: usize,
    /// How often each program runs on each file
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

const LLAMA_BENCH: &str = "llama-bench";

/// tok/s, tok/s and MB.
#[derive(Clone, Copy)]
struct Figures {
    prefill: f64,
    decode: f64,
    peak_mb: f64,
}

pub(crate) fn run(args: &Args) -> Result {
    if let Some(folder) = &args.llama_cpp
        && !folder.join(LLAMA_BENCH).exists()
    {
        return Err(format!("{} has no {LLAMA_BENCH}", folder.display()).into());
    }
    let limpid = build_limpid()?;
    let mut n_threads = args.threads;
    let mut rows = vec![header(args.llama_cpp.is_some())];
    for model in models(args)? {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let run = measure(&mut limpid_bench(&limpid, &model, n_threads, args))?;
            ours.push(limpid_figures(&run)?);
            n_threads = n_threads.or(run.json["threads"].as_u64());
            if let Some(folder) = &args.llama_cpp {
                theirs.push(llama_figures(&measure(&mut llama_bench(folder, &model, n_threads, args))?)?);
            }
        }
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        rows.push(row(name, median(&ours), (!theirs.is_empty()).then(|| median(&theirs))));
    }
    let (prefill, decode, rounds) = (args.prefill, args.decode, args.rounds);
    let n_threads = n_threads.map_or("unknown".to_string(), |n| n.to_string());
    println!("{}, {n_threads} threads, prefill {prefill}, decode {decode}, median of {rounds}\n", cpu_name());
    print!("{}", table(&rows));
    Ok(())
}

fn models(args: &Args) -> Result<Vec<PathBuf>> {
    if !args.model.is_empty() {
        return Ok(args.model.clone());
    }
    let folder = repository().join("target/synth");
    fs::create_dir_all(&folder)?;
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|v| v.get_name().to_owned()).unwrap_or_default()
    };
    let mut models = Vec::new();
    for shape in &args.shape {
        for format in &args.format {
            let (shape_name, format_name) =
                (name(shape.to_possible_value()), name(format.to_possible_value()));
            let path = folder.join(format!("{shape_name}-{format_name}.gguf"));
            if !path.exists() {
                synth::make(*shape, &synth::Options::of(*format), &path)?;
            }
            models.push(path);
        }
    }
    Ok(models)
}

fn limpid_bench(limpid: &Path, model: &Path, n_threads: Option<u64>, args: &Args) -> Command {
    let mut command = Command::new(limpid);
    // As llama-bench below: once to warm up, once measured.
    command.args(["bench", "--json", "--repetitions", "1"]);
    if let Some(n_threads) = n_threads {
        command.args(["--threads", &n_threads.to_string()]);
    }
    command
        .args(["--prefill", &args.prefill.to_string(), "--decode", &args.decode.to_string(), "-m"])
        .arg(model);
    command
}

fn llama_bench(folder: &Path, model: &Path, n_threads: Option<u64>, args: &Args) -> Command {
    let mut command = Command::new(folder.join(LLAMA_BENCH));
    command.args(["-o", "json", "-r", "1"]);
    if let Some(n_threads) = n_threads {
        command.args(["-t", &n_threads.to_string()]);
    }
    command.args(["-p", &args.prefill.to_string(), "-n", &args.decode.to_string(), "-m"]).arg(model);
    command
}

fn limpid_figures(run: &Measured) -> Result<Figures> {
    let speed = |key: &str| {
        run.json[key].as_f64().ok_or_else(|| format!("limpid bench printed no number `{key}`: {}", run.json))
    };
    Ok(Figures { prefill: speed("prefill")?, decode: speed("decode")?, peak_mb: run.peak_bytes as f64 / 1e6 })
}

/// llama-bench prints a list of tests; one has only a prompt, the other only generated tokens.
fn llama_figures(run: &Measured) -> Result<Figures> {
    let tests = run.json.as_array().map(Vec::as_slice).unwrap_or_default();
    let speed = |with: &str, without: &str| {
        let is_wanted = |test: &&Value| test[with].as_u64() > Some(0) && test[without].as_u64() == Some(0);
        let speed = tests.iter().find(is_wanted).and_then(|test| test["avg_ts"].as_f64());
        speed.ok_or_else(|| format!("llama-bench printed no test with `{with}` alone: {}", run.json))
    };
    Ok(Figures {
        prefill: speed("n_prompt", "n_gen")?,
        decode: speed("n_gen", "n_prompt")?,
        peak_mb: run.peak_bytes as f64 / 1e6,
    })
}

/// Of each figure by itself.
fn median(runs: &[Figures]) -> Figures {
    let middle = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    Figures { prefill: middle(|f| f.prefill), decode: middle(|f| f.decode), peak_mb: middle(|f| f.peak_mb) }
}

fn header(with_llama: bool) -> Vec<String> {
    let mut header = vec!["model".to_string()];
    for figure in ["prefill tok/s", "decode tok/s", "peak MB"] {
        header.push(figure.to_string());
        if with_llama {
            header.extend(["llama.cpp", "ratio"].map(String::from));
        }
    }
    header
}

fn row(name: String, ours: Figures, theirs: Option<Figures>) -> Vec<String> {
    let mut row = vec![name];
    let figures: [fn(&Figures) -> f64; 3] = [|f| f.prefill, |f| f.decode, |f| f.peak_mb];
    for figure in figures {
        row.push(format!("{:.1}", figure(&ours)));
        if let Some(theirs) = &theirs {
            row.push(format!("{:.1}", figure(theirs)));
            row.push(format!("{:.2}", figure(&ours) / figure(theirs)));
        }
    }
    row
}

/// A Markdown table; the first row is its head, all but the first column are numbers.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", width(0)),
            _ => format!("{cell:>0$}", width(column)),
        });
        lines.push(format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    let rule = (0..rows[0].len()).map(|column| match column {
        0 => "-".repeat(width(0)),
        _ => format!("{}:", "-".repeat(width(column) - 1)),
    });
    lines.insert(1, format!("| {} |\n", rule.collect::<Vec<_>>().join(" | ")));
    lines.concat()
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    name.map_or("unknown CPU".to_string(), |(_, name)| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(prefill: f64, decode: f64, peak_mb: f64) -> Figures {
        Figures { prefill, decode, peak_mb }
    }

    #[test]
    fn figures_are_read_from_both_programs() {
        let run = |text: &str| Measured { json: serde_json::from_str(text).unwrap(), peak_bytes: 3_000_000 };
        let ours = limpid_figures(&run(r#"{"prefill": 120.5, "decode": 20.25}"#)).unwrap();
        assert_eq!((ours.prefill, ours.decode, ours.peak_mb), (120.5, 20.25, 3.0));
        let tests = r#"[{"n_prompt": 512, "n_gen": 0, "avg_ts": 99.5}, {"n_prompt": 0, "n_gen": 64, "avg_ts": 18.5}]"#;
        let theirs = llama_figures(&run(tests)).unwrap();
        assert_eq!((theirs.prefill, theirs.decode, theirs.peak_mb), (99.5, 18.5, 3.0));
        let error = limpid_figures(&run(r#"{"prefill": 1}"#)).err().unwrap().to_string();
        assert!(error.contains("`decode`"), "{error}");
        assert!(llama_figures(&run("[]")).is_err());
    }

    #[test]
    fn medians_are_taken_of_each_figure() {
        let runs = [figures(1.0, 30.0, 5.0), figures(3.0, 10.0, 5.0), figures(2.0, 20.0, 6.0)];
        let middle = median(&runs);
        assert_eq!((middle.prefill, middle.decode, middle.peak_mb), (2.0, 20.0, 5.0));
        assert_eq!(median(&runs[..2]).prefill, 2.0);
    }

    #[test]
    fn the_table_has_ratios_where_there_are_two_programs() {
        let rows =
            [header(true), row("a".into(), figures(200.0, 30.0, 900.0), Some(figures(100.0, 40.0, 1000.0)))];
        let expected = "\
| model | prefill tok/s | llama.cpp | ratio | decode tok/s | llama.cpp | ratio | peak MB | llama.cpp | ratio |
| ----- | ------------: | --------: | ----: | -----------: | --------: | ----: | ------: | --------: | ----: |
| a     |         200.0 |     100.0 |  2.00 |         30.0 |      40.0 |  0.75 |   900.0 |    1000.0 |  0.90 |
";
        assert_eq!(table(&rows), expected);
        let alone = table(&[header(false), row("a".into(), figures(200.0, 30.0, 900.0), None)]);
        assert!(alone.ends_with("| a     |         200.0 |         30.0 |   900.0 |\n"), "{alone}");
    }
}
