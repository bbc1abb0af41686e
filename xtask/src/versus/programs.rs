//! The programs that are compared: how each is called for a row, and what its output says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::rows::{Limit, Row, Work};
use crate::Result;
use crate::process::{Watched, json_of, watch};

/// Tokens of the prompt of the row `start`, BOS left out.
const START_PROMPT: usize = 16;
/// Of the same row: room for prompt and answer.
const START_CONTEXT: &str = "512";

/// Prompt tokens and generated tokens of the rows that time them.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub prefill: usize,
    pub decode: usize,
}

/// One run: tokens/s, ms or MB.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Figure {
    pub value: f64,
    /// Gop/s or GB/s beside what the machine could do in that moment.
    pub rate_and_limit: Option<(f64, f64)>,
}

/// What is run: a model's file, a row, and a text of [`START_PROMPT`] tokens.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub model: &'a Path,
    pub row: Row,
    pub limit: Option<Limit>,
    pub sizes: Sizes,
    pub prompt: &'a str,
}

pub(super) struct Programs {
    pub limpid: PathBuf,
    /// Folders.
    pub llama_cpp: Option<PathBuf>,
    pub ik: Option<PathBuf>,
}

impl Programs {
    /// The instruction set that Limpid takes.
    pub(super) fn isa(&self) -> Result<String> {
        let version = watch(Command::new(&self.limpid).arg("--version"))?.stdout;
        isa_of_version(&version)
            .ok_or_else(|| format!("limpid --version names no instruction set: {version}").into())
    }

    /// A text that the model's tokenizer makes [`START_PROMPT`] tokens of.
    pub(super) fn prompt(&self, model: &Path) -> Result<String> {
        let words = "a b c d e f g h i j k l m n o p q r s t u v w x y z".repeat(2);
        let mut command = Command::new(&self.limpid);
        command.args(["tokenize", "--no-bos", "--json", "-m"]).arg(model).arg(words);
        let json = json_of(&mut command)?;
        let pieces = json["pieces"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(pieces.iter().take(START_PROMPT).filter_map(Value::as_str).collect())
    }

    pub(super) fn limpid(&self, task: Task<'_>) -> Result<Figure> {
        let mut command = Command::new(&self.limpid);
        let Task { model, row, sizes, .. } = task;
        let n_threads = row.n_threads().to_string();
        let (prefill, decode) = match row.work() {
            Work::Start | Work::Memory => {
                command.args(["run", "--raw", "-n", "1", "--temperature", "0", "--ignore-eos", "--quiet"]);
                command
                    .args(["--context", START_CONTEXT, "--threads", &n_threads, "-m"])
                    .arg(model)
                    .arg(task.prompt);
                return Ok(start_figure(row, &watch(&mut command)?));
            }
            Work::Prefill => (sizes.prefill, 0),
            Work::Decode { .. } => (0, sizes.decode),
        };
        command.args(["bench", "--json", "--quiet", "--repetitions", "1", "--kv-format", "f16"]);
        command.args(["--prefill", &prefill.to_string(), "--decode", &decode.to_string()]);
        if let Work::Decode { depth, sequences } = row.work() {
            command.args(["--depth", &depth.to_string(), "--sequences", &sequences.to_string()]);
        }
        command.args(["--threads", &n_threads, "-m"]).arg(model);
        limpid_figure(&json_of(&mut command)?, row, task.limit)
    }

    /// Nothing if there is nothing to compare with.
    pub(super) fn llama_cpp(&self, task: Task<'_>) -> Result<Option<Figure>> {
        let Some(folder) = &self.llama_cpp else { return Ok(None) };
        let Task { model, row, sizes, .. } = task;
        let n_threads = row.n_threads().to_string();
        let (program, arguments) = match row.work() {
            Work::Prefill => ("llama-bench", bench(sizes.prefill, 0)),
            Work::Decode { depth, sequences: 1 } => {
                let depth = ["-d".to_string(), depth.to_string()];
                ("llama-bench", [bench(0, sizes.decode), depth.to_vec()].concat())
            }
            Work::Decode { sequences, .. } => ("llama-batched-bench", batched_bench(sequences, sizes.decode)),
            Work::Start | Work::Memory => ("llama-completion", completion(task.prompt)),
        };
        let mut command = Command::new(folder.join(program));
        command.args(arguments).args(["-t", &n_threads, "-m"]).arg(model);
        let figure = match row.work() {
            Work::Start | Work::Memory => start_figure(row, &watch(&mut command)?),
            Work::Decode { sequences: sequences @ 2.., .. } => {
                batched_bench_speed(&watch(&mut command)?.stdout, sequences)?
            }
            _ => bench_speed(&json_of(&mut command)?)?,
        };
        Ok(Some(figure))
    }

    /// ik_llama.cpp's llama-bench, the better of with and without repacking at run time. Nothing for other programs.
    pub(super) fn ik(&self, task: Task<'_>) -> Result<Option<Figure>> {
        let Some(folder) = &self.ik else { return Ok(None) };
        let arguments = match task.row.work() {
            Work::Prefill => bench(task.sizes.prefill, 0),
            Work::Decode { depth: 0, sequences: 1 } => bench(0, task.sizes.decode),
            Work::Decode { depth, sequences: 1 } => {
                // Its llama-bench has no -d: generation behind a prompt is a test of its own, timed without the prompt.
                let behind = ["-gp".to_string(), format!("{depth},{}", task.sizes.decode)];
                [bench(0, 0), behind.to_vec()].concat()
            }
            _ => return Ok(None),
        };
        let mut best: Option<Figure> = None;
        for repack in ["0", "1"] {
            let mut command = Command::new(folder.join("llama-bench"));
            command.args(&arguments).args(["-rtr", repack]);
            command.args(["-t", &task.row.n_threads().to_string(), "-m"]).arg(task.model);
            let figure = bench_speed(&json_of(&mut command)?)?;
            best = best.filter(|best| best.value >= figure.value).or(Some(figure));
        }
        Ok(best)
    }
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| argument.to_string()).collect()
}

/// llama-bench: once to warm up, once measured.
fn bench(n_prompt: usize, n_gen: usize) -> Vec<String> {
    let (n_prompt, n_gen) = (n_prompt.to_string(), n_gen.to_string());
    strings(&[
        "-o", "json", "-r", "1", "-fa", "1", "-ctk", "f16", "-ctv", "f16", "-p", &n_prompt, "-n", &n_gen,
    ])
}

/// Each sequence has a token of its own before it decodes, the fewest that there can be. The run with one sequence is
/// there because llama-batched-bench may end before its last line is written.
fn batched_bench(sequences: usize, n_gen: usize) -> Vec<String> {
    let context = (sequences * (n_gen + 1)).next_multiple_of(256).to_string();
    let (sequences, n_gen) = (format!("{sequences},1"), n_gen.to_string());
    let mut arguments = strings(&["--output-format", "jsonl", "-fa", "on", "-ctk", "f16", "-ctv", "f16"]);
    arguments.extend(strings(&["-c", &context, "-npp", "1", "-ntg", &n_gen, "-npl", &sequences]));
    arguments
}

/// Without its run to warm up, which would come before the first token.
fn completion(prompt: &str) -> Vec<String> {
    let mut arguments =
        strings(&["-no-cnv", "--no-display-prompt", "--no-warmup", "--ignore-eos", "--temp", "0"]);
    arguments.extend(strings(&["-n", "1", "-c", START_CONTEXT, "-fa", "on", "-p", prompt]));
    arguments
}

/// The last word of `limpid 0.1.0 (avx2)`.
fn isa_of_version(version: &str) -> Option<String> {
    Some(version.trim().strip_suffix(')')?.rsplit_once('(')?.1.to_string())
}

fn start_figure(row: Row, run: &Watched) -> Figure {
    let value = match row.work() {
        Work::Memory => run.peak_bytes as f64 / 1e6,
        _ => run.first_output.as_secs_f64() * 1e3,
    };
    Figure { value, rate_and_limit: None }
}

fn limpid_figure(json: &Value, row: Row, limit: Option<Limit>) -> Result<Figure> {
    let number = |value: &Value, key: &str| {
        value[key].as_f64().ok_or_else(|| format!("limpid bench printed no number `{key}`: {json}"))
    };
    let measured = &json["rows"][0];
    let (speed, rate) = match (row.work(), limit) {
        (Work::Prefill, _) => ("prefill_tok_per_s", "prefill_gop_per_s"),
        (_, Some(Limit::Read)) => ("decode_tok_per_s", "decode_gb_per_s"),
        _ => ("decode_tok_per_s", "decode_gop_per_s"),
    };
    let rate_and_limit = match limit {
        Some(limit) => Some((number(measured, rate)?, number(&measured["limits"], limit.key())?)),
        None => None,
    };
    Ok(Figure { value: number(measured, speed)?, rate_and_limit })
}

/// llama-bench prints a list of tests, here of one.
fn bench_speed(json: &Value) -> Result<Figure> {
    match json.as_array().map(Vec::as_slice) {
        Some([test]) => speed(&test["avg_ts"]),
        _ => Err(format!("llama-bench printed no list of one test: {json}").into()),
    }
}

/// llama-batched-bench prints an object a line, one for each number of sequences.
fn batched_bench_speed(lines: &str, sequences: usize) -> Result<Figure> {
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    match lines.find(|line| line["pl"] == sequences) {
        Some(line) => speed(&line["speed_tg"]),
        None => Err(format!("llama-batched-bench printed no line of {sequences} sequences").into()),
    }
}

fn speed(value: &Value) -> Result<Figure> {
    let value = value.as_f64().filter(|speed| *speed > 0.0);
    let value = value.ok_or("a program of llama.cpp printed no speed where one is expected")?;
    Ok(Figure { value, rate_and_limit: None })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn limpid_bench_is_read() {
        let output = json(
            r#"{"rows": [{"prefill_tok_per_s": 400.5, "prefill_gop_per_s": 800, "decode_tok_per_s": 30.5,
                "decode_gb_per_s": 24, "decode_gop_per_s": 60,
                "limits": {"read_gb_per_s": 30, "int8_gop_per_s": 1000, "int4_gop_per_s": 1100}}]}"#,
        );
        let figure = |row, limit| limpid_figure(&output, row, limit).unwrap();
        let expected = |value, rate, limit| Figure { value, rate_and_limit: Some((rate, limit)) };
        assert_eq!(figure(Row::Prefill, Some(Limit::Int8)), expected(400.5, 800.0, 1000.0));
        assert_eq!(figure(Row::Decode2, Some(Limit::Read)), expected(30.5, 24.0, 30.0));
        assert_eq!(figure(Row::Sequences16, Some(Limit::Int4)), expected(30.5, 60.0, 1100.0));
        assert_eq!(figure(Row::Decode1, None), Figure { value: 30.5, rate_and_limit: None });
        let error = limpid_figure(&json(r#"{"rows": [{}]}"#), Row::Decode1, None).unwrap_err().to_string();
        assert!(error.contains("`decode_tok_per_s`"), "{error}");
        assert_eq!(isa_of_version("limpid 0.1.0 (avx512vnni)\n").as_deref(), Some("avx512vnni"));
        assert_eq!(isa_of_version("limpid 0.1.0\n"), None);
    }

    #[test]
    fn llama_bench_and_batched_bench_are_read() {
        let tests =
            json(r#"[{"n_prompt": 0, "n_gen": 8, "n_depth": 64, "avg_ts": 59.5, "samples_ts": [59.5]}]"#);
        assert_eq!(bench_speed(&tests).unwrap().value, 59.5);
        let line = r#"{"pp": 1, "tg": 8, "pl": 8, "speed_pp": 280.5, "speed_tg": 163.5, "speed": 226.5}"#;
        assert_eq!(batched_bench_speed(&format!("{line}\n\n"), 8).unwrap().value, 163.5);
        assert!(batched_bench_speed(line, 1).is_err() && batched_bench_speed("", 8).is_err());
        assert!(bench_speed(&json("[]")).is_err() && bench_speed(&json(r#"[{"avg_ts": 0}]"#)).is_err());
    }

    #[test]
    fn start_and_memory_are_of_one_run() {
        let run = Watched {
            stdout: String::new(),
            first_output: Duration::from_millis(1500),
            peak_bytes: 3_000_000,
        };
        assert_eq!(start_figure(Row::Start, &run).value, 1500.0);
        assert_eq!(start_figure(Row::Memory, &run).value, 3.0);
    }

    #[test]
    fn both_sides_are_asked_for_the_same() {
        assert!(bench(512, 0).ends_with(&strings(&["-p", "512", "-n", "0"])));
        assert!(bench(0, 64).windows(2).any(|pair| pair == strings(&["-fa", "1"])));
        let batched = batched_bench(16, 32);
        assert!(
            batched.ends_with(&strings(&["-c", "768", "-npp", "1", "-ntg", "32", "-npl", "16,1"])),
            "{batched:?}"
        );
    }
}
