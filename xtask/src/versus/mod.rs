//! `cargo xtask versus`: Limpid beside llama.cpp, and ik_llama.cpp where its programs are given, on the same files with
//! the same threads.
//!
//! The programs run in turn, several rounds, so that a machine that slows down slows all; its limits are measured
//! beside each run with Limpid's own probes. `rows` has what is compared and what is asked for, `programs` how each is
//! called, `report` what the numbers mean.

mod programs;
mod report;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::process::build_limpid;
use crate::synth::{self, Recipe};
use crate::{Result, llama_cpp, repository};
use programs::{Programs, Sizes, Task};
use report::{Occasion, Series, name};
use rows::{MODELS, Machine, Row};

#[derive(clap::Args)]
#[command(about = "Compare Limpid with llama.cpp: speed, share of the machine's limits, start, memory")]
pub(crate) struct Args {
    /// The folder of llama.cpp's programs [default: built once from its source, which pip brings; ten minutes]
    #[arg(long, value_name = "DIR")]
    llama: Option<PathBuf>,
    /// The folder of ik_llama.cpp's programs; without it its cells stay open
    #[arg(long, value_name = "DIR")]
    ik: Option<PathBuf>,
    /// Limpid alone, with nothing to compare
    #[arg(long, conflicts_with_all = ["llama", "ik"])]
    alone: bool,
    /// Only these models, such as llama-3.2-1b-q4_k_m; those of synthetic weights are made under target/synth when they
    /// are not there [default: all that have a bar]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    models: Vec<String>,
    /// Model files instead, for which there are no bars
    #[arg(long, value_name = "PATH", conflicts_with = "models")]
    file: Vec<PathBuf>,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<Row>,
    /// How often each program runs for each row
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Prompt tokens of the row `prefill`
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    prefill: u32,
    /// Generated tokens of the rows that decode
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    decode: u32,
    /// Where the table and the JSON go, named after the day and the CPU
    #[arg(long, value_name = "DIR", default_value_os_t = repository().join("bench/record"))]
    record: PathBuf,
}

/// A file and its rows.
struct Subject {
    name: String,
    path: PathBuf,
    /// `None`: a file of the user's.
    recipe: Option<Recipe>,
    rows: Vec<Row>,
}

pub(crate) fn run(args: &Args) -> Result {
    let subjects = args.subjects()?;
    let programs = Programs { limpid: build_limpid()?, llama_cpp: args.llama_cpp()?, ik: args.ik.clone() };
    let isa = programs.isa()?;
    let machine = Machine::of_isa(&isa);
    let sizes = Sizes { prefill: args.prefill as usize, decode: args.decode as usize };
    let occasion = Occasion {
        date: date(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
        cpu: cpu_name(),
        isa,
        bars: machine.name(),
        rounds: usize::from(args.rounds),
        prefill: sizes.prefill,
        decode: sizes.decode,
        llama_cpp: args.llama_cpp_name(),
    };
    let mut all = Vec::new();
    for subject in &subjects {
        let prompt = programs.prompt(&subject.path)?;
        for &row in &subject.rows {
            all.push(compare(&programs, subject, row, machine, sizes, &prompt, args.rounds)?);
        }
    }
    let text = report::markdown(&occasion, &all);
    print!("{text}");
    fs::create_dir_all(&args.record)?;
    let path = free_name(&args.record, &format!("{}-{}", occasion.date, slug(&occasion.cpu)));
    fs::write(path.with_extension("md"), text)?;
    fs::write(
        path.with_extension("json"),
        serde_json::to_string_pretty(&report::record(&occasion, &all))? + "\n",
    )?;
    eprintln!("{}.md and .json", path.display());
    Ok(())
}

/// All rounds of one row.
fn compare(
    programs: &Programs,
    subject: &Subject,
    row: Row,
    machine: Machine,
    sizes: Sizes,
    prompt: &str,
    rounds: u16,
) -> Result<Series> {
    let limit = rows::limit(machine, row, subject.recipe);
    let task = Task { model: &subject.path, row, limit, sizes, prompt };
    let mut series = Series {
        model: subject.name.clone(),
        row,
        bar: rows::bar(machine, row, subject.recipe),
        limit,
        limpid: Vec::new(),
        llama_cpp: Vec::new(),
        ik: Vec::new(),
    };
    for _ in 0..rounds {
        series.limpid.push(programs.limpid(task)?);
        series.llama_cpp.extend(programs.llama_cpp(task)?);
        series.ik.extend(programs.ik(task)?);
    }
    Ok(series)
}

impl Args {
    /// The folder of llama.cpp's programs, unless Limpid runs alone.
    fn llama_cpp(&self) -> Result<Option<PathBuf>> {
        if self.alone {
            return Ok(None);
        }
        let folder = match &self.llama {
            Some(folder) => folder.clone(),
            None => llama_cpp::programs()?,
        };
        llama_cpp::check(&folder)?;
        Ok(Some(folder))
    }

    fn llama_cpp_name(&self) -> String {
        let name = match (self.alone, &self.llama) {
            (true, _) => "did not run",
            (false, Some(_)) => "a build of the user's",
            (false, None) => llama_cpp::PACKAGE,
        };
        name.to_string()
    }

    /// The chosen models with the chosen rows; synthetic ones are made.
    fn subjects(&self) -> Result<Vec<Subject>> {
        let is_chosen = |row: &Row| self.rows.is_empty() || self.rows.contains(row);
        let chosen = |rows: &[Row]| rows.iter().copied().filter(is_chosen).collect::<Vec<_>>();
        if !self.file.is_empty() {
            let subject = |path: &PathBuf| Subject {
                name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                path: path.clone(),
                recipe: None,
                rows: chosen(<Row as clap::ValueEnum>::value_variants()),
            };
            return Ok(self.file.iter().map(subject).collect());
        }
        let model_name = |model: &rows::Model| format!("{}-{}", name(model.shape), name(model.recipe));
        if let Some(unknown) =
            self.models.iter().find(|name| !MODELS.iter().any(|model| model_name(model) == **name))
        {
            let known = MODELS.iter().map(model_name).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "--models {unknown}: the models with bars are {known}; others go with --file"
            )
            .into());
        }
        let folder = repository().join("target/synth");
        let mut subjects = Vec::new();
        for model in MODELS {
            let (name, rows) = (model_name(model), chosen(model.rows));
            if rows.is_empty() || !self.models.is_empty() && !self.models.contains(&name) {
                continue;
            }
            fs::create_dir_all(&folder)?;
            let path = folder.join(format!("{name}.gguf"));
            if !path.exists() {
                synth::make(model.shape, &synth::Options::of(model.recipe), &path)?;
            }
            subjects.push(Subject { name, path, recipe: Some(model.recipe), rows });
        }
        Ok(subjects)
    }
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    name.map_or("unknown CPU".to_string(), |(_, name)| name.trim().to_string())
}

/// For file names: lower case, with dashes for all that is no letter or digit.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// The day of a Unix time, UTC, as 2026-01-31.
fn date(unix_s: u64) -> String {
    let mut days = unix_s / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let year_len = |year| if is_leap(year) { 366 } else { 365 };
    while days >= year_len(year) {
        days -= year_len(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for month_len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < month_len {
            break;
        }
        days -= month_len;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

/// A path without extension that no record has: a second one of the same day gets a number.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let numbered = |n: u32| folder.join(if n == 1 { name.to_string() } else { format!("{name}-{n}") });
    let is_free =
        |path: &PathBuf| ["md", "json"].iter().all(|extension| !path.with_extension(extension).exists());
    (1..).map(numbered).find(is_free).expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn subjects(line: &[&str]) -> Result<Vec<(String, Vec<Row>)>> {
        let args = Line::try_parse_from([&["versus"], line].concat())?.args;
        Ok(args.subjects()?.into_iter().map(|subject| (subject.name, subject.rows)).collect())
    }

    #[test]
    fn rows_and_files_are_chosen() {
        let found = subjects(&["--file", "a/b.gguf", "--rows", "decode-2,prefill"]).unwrap();
        assert_eq!(found, [("b".to_string(), vec![Row::Prefill, Row::Decode2])]);
        let error = subjects(&["--models", "llama-3.2-1b"]).unwrap_err().to_string();
        assert!(error.contains("llama-3.2-1b-q4_k_m"), "{error}");
        assert!(subjects(&["--rows", "decode-3"]).is_err());
        assert!(subjects(&["--models", "qwen3-0.6b-q8_0", "--rows", "depth-2048"]).unwrap().is_empty());
    }

    #[test]
    fn dates_and_names() {
        let dates = [0, 951_782_400, 951_868_800, 1_767_225_599, 1_767_225_600].map(date);
        assert_eq!(dates, ["1970-01-01", "2000-02-29", "2000-03-01", "2025-12-31", "2026-01-01"]);
        assert_eq!(slug("AMD Ryzen 9 (TM) 7950X"), "amd-ryzen-9-tm-7950x");
    }

    #[test]
    fn a_record_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(free_name(folder.path(), "day-cpu"), folder.path().join("day-cpu"));
        fs::write(folder.path().join("day-cpu.json"), "").unwrap();
        assert_eq!(free_name(folder.path(), "day-cpu"), folder.path().join("day-cpu-2"));
    }
}
