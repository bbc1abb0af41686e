//! `cargo xtask goldens`: asks the official implementations again and writes the golden files.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::process::run as run_process;
use crate::{Result, llama_cpp, repository, venv};

#[derive(clap::Args)]
#[command(about = "Make the golden files again: runs the scripts of tools/goldens, all or one")]
pub(crate) struct Args {
    /// Only this one [default: all, in the order of this list]
    #[arg(value_enum)]
    script: Option<Script>,
    /// make and convert: only the models of these names
    names: Vec<String>,
    /// stories: a folder with stories260K's Hugging Face files and its Q8_0 GGUF; among all scripts it is left out
    /// without that
    #[arg(long, value_name = "DIR")]
    stories: Option<PathBuf>,
    /// convert: llama.cpp's source; without it, fetched with pip and kept under target/
    #[arg(long, value_name = "DIR")]
    llama_cpp_source: Option<PathBuf>,
    /// A Python that has what tools/requirements.txt lists; without it, one is made under target/
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// In an order in which each finds what it reads.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Script {
    /// Random checkpoints, and what transformers answers
    Make,
    /// The same as GGUF, and quantized ones
    Convert,
    /// stories260K, a trained model
    Stories,
    /// Blocks of every quantization format and their values
    Dequant,
    /// Ids of difficult texts for every tokenizer of the above
    Tokenizer,
    /// Rendered chats
    Chat,
    /// What peers make of logits
    Sampling,
    /// Texts and scores of beam search
    Beams,
    /// What the last token of a prompt attends to
    Attention,
}

pub(crate) fn run(args: &Args) -> Result {
    let scripts = args.scripts()?;
    let python = match &args.python {
        Some(python) => python.clone(),
        None => venv::python()?,
    };
    let source = match &args.llama_cpp_source {
        None if scripts.contains(&Script::Convert) => llama_cpp::source()?,
        given => given.clone().unwrap_or_default(),
    };
    for script in scripts {
        let mut command = Command::new(&python);
        run_process(command.args(args.line(script, &source)))?;
    }
    Ok(())
}

impl Args {
    /// What is to be run.
    fn scripts(&self) -> Result<Vec<Script>> {
        let takes_names = matches!(self.script, Some(Script::Make | Script::Convert));
        if !self.names.is_empty() && !takes_names {
            return Err("names are for make and convert only".into());
        }
        match (self.script, &self.stories) {
            (Some(Script::Stories), None) => Err("stories needs --stories DIR".into()),
            (Some(script), _) => Ok(vec![script]),
            (None, stories) => {
                if stories.is_none() {
                    eprintln!("left out: stories, which needs --stories DIR; its committed files stay");
                }
                let is_run = |script: &Script| *script != Script::Stories || stories.is_some();
                Ok(Script::value_variants().iter().copied().filter(is_run).collect())
            }
        }
    }

    /// A script's path and its arguments.
    fn line(&self, script: Script, llama_cpp_source: &Path) -> Vec<PathBuf> {
        let (file, arguments) = match script {
            Script::Make => ("make.py", vec!["checkpoints".into()]),
            Script::Convert => ("convert.py", vec!["--llama-cpp".into(), llama_cpp_source.to_path_buf()]),
            Script::Stories => ("stories.py", self.stories.iter().cloned().collect()),
            Script::Dequant => ("dequant.py", Vec::new()),
            Script::Tokenizer => ("tokenizer_goldens.py", Vec::new()),
            Script::Chat => ("chat_goldens.py", Vec::new()),
            Script::Sampling => ("sampling_goldens.py", Vec::new()),
            Script::Beams => ("beams.py", Vec::new()),
            Script::Attention => ("attention.py", Vec::new()),
        };
        let names = self.names.iter().map(PathBuf::from);
        [repository().join("tools/goldens").join(file)].into_iter().chain(arguments).chain(names).collect()
    }
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

    /// The scripts that a command line runs, each as its file's name and its arguments.
    fn lines(line: &[&str]) -> Result<Vec<String>> {
        let args = Line::try_parse_from([&["goldens"], line].concat())?.args;
        let shown = |script| {
            let line = args.line(script, Path::new("source"));
            assert!(line[0].exists(), "{}", line[0].display());
            let name = line[0].file_name().map(PathBuf::from);
            let words = name.into_iter().chain(line[1..].iter().cloned());
            words.map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        Ok(args.scripts()?.into_iter().map(shown).collect())
    }

    #[test]
    fn all_run_in_order() {
        let mut all = vec![
            "make.py checkpoints",
            "convert.py --llama-cpp source",
            "stories.py folder",
            "dequant.py",
            "tokenizer_goldens.py",
            "chat_goldens.py",
            "sampling_goldens.py",
            "beams.py",
            "attention.py",
        ];
        assert_eq!(lines(&["--stories", "folder"]).unwrap(), all);
        all.remove(2);
        assert_eq!(lines(&[]).unwrap(), all);
    }

    #[test]
    fn each_runs_alone() {
        assert_eq!(lines(&["make", "llama2", "qwen3"]).unwrap(), ["make.py checkpoints llama2 qwen3"]);
        assert_eq!(lines(&["convert", "llama2"]).unwrap(), ["convert.py --llama-cpp source llama2"]);
        assert_eq!(lines(&["stories", "--stories", "a"]).unwrap(), ["stories.py a"]);
        assert_eq!(lines(&["chat"]).unwrap(), ["chat_goldens.py"]);
        assert_eq!(lines(&["sampling"]).unwrap(), ["sampling_goldens.py"]);
        for wrong in [&["stories"][..], &["dequant", "q4_0"], &["all"]] {
            assert!(lines(wrong).is_err(), "{wrong:?}");
        }
    }
}
