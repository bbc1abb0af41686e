//! The lines of a batch: requests as they are read, answers in the order of the requests.

use crate::error::CliError;
use crate::openai::json::{self, Json};
use crate::openai::{ApiError, Endpoint, Fields};
use crate::units;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The longest line: more than any context holds.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// A request's line.
pub(super) struct Line {
    /// Among the requests, from 0.
    index: usize,
    /// In the file, from 1.
    number: usize,
    custom_id: Option<String>,
    /// An id that an earlier line has.
    is_duplicate: bool,
    content: Result<Json, String>,
}

impl Line {
    /// What it asks for.
    pub(super) fn read(&mut self) -> Result<(Endpoint, Value), ApiError> {
        let nothing = Json { value: Value::Null, duplicate: None };
        let content = std::mem::replace(&mut self.content, Ok(nothing));
        let content =
            content.map_err(|error| ApiError::invalid(None, format!("line {} is {error}", self.number)))?;
        let mut fields = Fields::new(content.checked()?, "")?;
        match fields.text("custom_id")? {
            None => return Err(fields.missing("custom_id", "a string")),
            Some(id) if self.is_duplicate => {
                let message = format!("`custom_id` is {id:?}, which an earlier line has too");
                return Err(ApiError::invalid(Some("custom_id"), message));
            }
            Some(_) => {}
        }
        fields.name("method", &[("POST", ())])?.ok_or_else(|| fields.missing("method", "POST"))?;
        let expected = "/v1/completions or /v1/chat/completions";
        let endpoint = fields.read("url", expected, |url| Endpoint::from_path(url.as_str()?))?;
        let endpoint = endpoint.ok_or_else(|| fields.missing("url", expected))?;
        let body = fields.take("body").ok_or_else(|| fields.missing("body", "the request"))?;
        fields.end()?;
        Ok((endpoint, body))
    }

    pub(super) fn answer_id(&self) -> String {
        format!("batch_req_{}", self.number)
    }
}

/// The requests of a file; empty lines are none.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    metadata: Metadata,
    /// Requests in all; 0 if they come out of a pipe, which is read once.
    n_lines: usize,
    n_read: usize,
    number: usize,
    ids: BTreeSet<String>,
}

impl Lines {
    /// `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let cannot_read = |error| cannot("read", path, &error);
        let file = match path.as_os_str() == "-" {
            true => stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = file.map_err(cannot_read)?;
        let metadata = file.metadata().map_err(cannot_read)?;
        let (path, reader, is_file) = (path.to_owned(), BufReader::new(file), metadata.is_file());
        let mut lines =
            Self { path, reader, metadata, n_lines: 0, n_read: 0, number: 0, ids: BTreeSet::new() };
        if is_file {
            let start = lines.reader.stream_position().map_err(cannot_read)?;
            let mut bytes = Vec::new();
            while lines.next_bytes(&mut bytes)? {
                lines.n_lines += 1;
            }
            lines.reader.seek(std::io::SeekFrom::Start(start)).map_err(cannot_read)?;
            lines.number = 0;
        }
        Ok(lines)
    }

    pub(super) fn n_lines(&self) -> usize {
        self.n_lines.max(self.n_read)
    }

    /// Whether they are read from the file at `path`, whatever its name.
    fn are_of(&self, path: &Path) -> bool {
        let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        self.metadata.is_file()
            && path.metadata().is_ok_and(|metadata| place(&metadata) == place(&self.metadata))
    }

    pub(super) fn next(&mut self) -> Result<Option<Line>, CliError> {
        let mut bytes = Vec::new();
        if !self.next_bytes(&mut bytes)? {
            return Ok(None);
        }
        let content = parse(&bytes);
        let line = content.as_ref().ok();
        let custom_id = line.and_then(|line| line.value["custom_id"].as_str()).map(str::to_owned);
        let is_duplicate = custom_id.clone().is_some_and(|id| !self.ids.insert(id));
        self.n_read += 1;
        Ok(Some(Line { index: self.n_read - 1, number: self.number, custom_id, is_duplicate, content }))
    }

    /// The next line that is not empty; false at the end.
    fn next_bytes(&mut self, bytes: &mut Vec<u8>) -> Result<bool, CliError> {
        loop {
            bytes.clear();
            let mut limited = self.reader.by_ref().take(MAX_LINE_BYTES + 1);
            limited.read_until(b'\n', bytes).map_err(|error| cannot("read", &self.path, &error))?;
            self.number += 1;
            if bytes.len() as u64 > MAX_LINE_BYTES {
                return Err(CliError::failure(format!(
                    "line {} of {} is longer than {}, the longest that is read",
                    self.number,
                    self.path.display(),
                    units::bytes(MAX_LINE_BYTES as usize),
                )));
            }
            if bytes.is_empty() {
                return Ok(false);
            }
            if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

/// A line's JSON, or what it is instead.
fn parse(line: &[u8]) -> Result<Json, String> {
    let text =
        str::from_utf8(line).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to()))?;
    // Of a value of one line, so that its line says nothing.
    let no_json = |error: serde_json::Error| {
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        format!("no JSON: {what} at column {}", error.column())
    };
    json::parse(text).map_err(no_json)
}

/// Writes answers in the order of their requests.
pub(super) struct Answers {
    path: PathBuf,
    writer: BufWriter<File>,
    /// The next to be written, and those that came before it was there.
    next: usize,
    early: BTreeMap<usize, String>,
    n_done: usize,
    n_failed: usize,
}

impl Answers {
    /// Replaces what is at `path`, from where `requests` must not come.
    pub(super) fn create(path: &Path, requests: &Lines) -> Result<Self, CliError> {
        if requests.are_of(path) {
            let message = format!("{} is both IN and OUT; name another file for the answers", path.display());
            return Err(CliError::usage(message));
        }
        if path.as_os_str() == "-" {
            return Err(CliError::usage("OUT is -, but answers go to a file; name one, such as /dev/stdout"));
        }
        let file = File::create(path).map_err(|error| cannot("write", path, &error))?;
        let (path, writer) = (path.to_owned(), BufWriter::new(file));
        Ok(Self { path, writer, next: 0, early: BTreeMap::new(), n_done: 0, n_failed: 0 })
    }

    pub(super) fn n_done(&self) -> usize {
        self.n_done
    }

    pub(super) fn body(&mut self, line: &Line, body: Value) -> Result<(), CliError> {
        let id = line.answer_id();
        let response = json!({"status_code": 200, "request_id": id, "body": body});
        self.put(line, &json!({"id": id, "custom_id": line.custom_id, "response": response, "error": null}))
    }

    pub(super) fn error(&mut self, line: &Line, error: &ApiError) -> Result<(), CliError> {
        self.n_failed += 1;
        let id = line.answer_id();
        let error = error.json();
        self.put(line, &json!({"id": id, "custom_id": line.custom_id, "response": null, "error": error}))
    }

    fn put(&mut self, line: &Line, answer: &Value) -> Result<(), CliError> {
        self.n_done += 1;
        self.early.insert(line.index, format!("{answer}\n"));
        while let Some(text) = self.early.remove(&self.next) {
            self.next += 1;
            let written = self.writer.write_all(text.as_bytes());
            written.map_err(|error| cannot("write", &self.path, &error))?;
        }
        self.writer.flush().map_err(|error| cannot("write", &self.path, &error))
    }

    /// Writes what is there, also where an earlier answer is missing. How many answers there are, and how many of them
    /// are errors.
    pub(super) fn finish(&mut self) -> Result<(usize, usize), CliError> {
        let mut write = || {
            for text in std::mem::take(&mut self.early).into_values() {
                self.writer.write_all(text.as_bytes())?;
            }
            self.writer.flush()
        };
        write().map_err(|error| cannot("write", &self.path, &error))?;
        Ok((self.n_done, self.n_failed))
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::failure(format!("cannot {what} {}: {error}", path.display()))
}
