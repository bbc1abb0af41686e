//! A server of its own for each test, and a client.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longer than any test's server takes for anything, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    stderr: Mutex<mpsc::Receiver<String>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// As `name: value` lines, names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must have come.
    pub(crate) fn success(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The message of an error, which OpenAI's clients can read.
    pub(crate) fn error(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{error}");
        error["message"].as_str().expect("a message").to_owned()
    }

    /// The chunks of a stream that came to its end.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.head.contains("content-type: text/event-stream"), "{}", self.head);
        let mut events: Vec<_> = self.body.split("\n\n").filter(|event| !event.is_empty()).collect();
        assert_eq!(events.pop(), Some("data: [DONE]"), "{}", self.body);
        let data =
            |event: &&str| event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event}")).to_owned();
        events.iter().map(|event| serde_json::from_str(&data(event)).expect("JSON")).collect()
    }
}

impl Server {
    /// Starts one at a free port and waits until it serves.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// One that takes long for an answer, so that something can happen meanwhile.
    pub(crate) fn slow(args: &[&str]) -> Self {
        Self::start_with(args, &[("LIMPID_ISA", "portable")])
    }

    pub(crate) fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limpid"));
        command.args(["serve", "--port", "0", "--threads", "2"]).args(args);
        command.env_remove("LIMPID_API_KEY").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (sender, stderr) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut server = Self { child, address: String::new(), stderr: Mutex::new(stderr) };
        let line = server.wait_for_line("serving ");
        let (_, address) = line.split_once("http://").expect("an address");
        server.address = address.split(' ').next().expect("an address").to_owned();
        server
    }

    /// The next line on standard error that has `part` in it.
    pub(crate) fn wait_for_line(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut seen = String::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.stderr.lock().expect("no panic").recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} after: {seen}"));
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
    }

    /// What was said on standard error since the last look.
    pub(crate) fn said(&self) -> String {
        self.stderr.lock().expect("no panic").try_iter().map(|line| line + "\n").collect()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream
    }

    /// Sends a request; what comes back can be read from the stream.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            request += &format!("Host: {}\r\n", self.address);
        }
        for header in headers {
            request += &format!("{header}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        // A server that refuses a request need not read all of it.
        let _ = stream.write_all(&[request.as_bytes(), body].concat());
        stream
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut bytes = Vec::new();
        let mut stream = self.send(method, path, headers, body);
        // A connection that is reset after the answer has the answer all the same.
        let _ = stream.read_to_end(&mut bytes);
        parse(&String::from_utf8(bytes).expect("UTF-8"))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// Sends a request whose answer nobody has read yet.
    pub(crate) fn begin(&self, path: &str, body: &Value) -> TcpStream {
        self.send("POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in: {text}")).parse().expect("a number")
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for_metric(&self, name: &str, value: f64) {
        let end = Instant::now() + PATIENCE;
        while self.metric(name) != value {
            assert!(Instant::now() < end, "{name} does not become {value}: {}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const JSON: &str = "Content-Type: application/json";

/// Reads an answer that is whole; of a body in pieces the pieces are put together.
fn parse(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let (first, head) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let head = head.lines().map(|line| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
        None => line.to_owned(),
    });
    let head: String = head.collect();
    let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    Reply { status, head, body }
}

fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            break;
        }
        // What was cut off ends where it ends.
        let end = length.min(after.len());
        body += &after[..end];
        rest = after.get(end + 2..).unwrap_or_default();
    }
    body
}

/// A request of which the seed and the length are known.
pub(crate) fn completion(more: Value) -> Value {
    merged(json!({"model": "pocket", "prompt": "Once upon a time", "seed": 3, "max_tokens": 12}), more)
}

pub(crate) fn chat(more: Value) -> Value {
    let messages = json!([{"role": "user", "content": "Tell me a story about a fox and a lamp."}]);
    merged(json!({"model": "pocket", "messages": messages, "seed": 3, "max_tokens": 12}), more)
}

fn merged(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("no object: {more}") };
    body.as_object_mut().expect("an object").extend(more);
    body
}

/// What of an answer may not depend on anything but the request.
pub(crate) fn exact(answer: &Value) -> Value {
    let mut answer = answer.clone();
    let fields = answer.as_object_mut().expect("an object");
    ["id", "created", "object"].iter().for_each(|name| _ = fields.remove(*name));
    if let Some(Value::Object(limpid)) = fields.get_mut("limpid") {
        limpid.remove("prompts");
    }
    answer
}

/// The answer that the chunks of a stream add up to.
pub(crate) fn assembled(chunks: &[Value]) -> Value {
    let mut whole = json!({"model": chunks[0]["model"], "choices": []});
    for chunk in chunks {
        for name in ["limpid", "prompt_logprobs", "usage"] {
            if let Some(value) = chunk.get(name).filter(|value| !value.is_null()) {
                whole[name] = value.clone();
            }
        }
        for choice in chunk["choices"].as_array().expect("a list") {
            let index = choice["index"].as_u64().expect("an index") as usize;
            let choices = whole["choices"].as_array_mut().expect("a list");
            while choices.len() <= index {
                choices.push(json!({"index": choices.len()}));
            }
            add(&mut choices[index], choice);
        }
    }
    whole
}

/// Adds what a chunk brings of a choice.
fn add(whole: &mut Value, piece: &Value) {
    for (name, value) in piece.as_object().expect("an object") {
        let is_said_once = ["index", "prompt_token_ids"].contains(&name.as_str());
        match (name.as_str(), value) {
            (_, _) if is_said_once => whole[name] = value.clone(),
            ("delta", value) => {
                if whole.get("message").is_none() {
                    whole["message"] = json!({});
                }
                add(&mut whole["message"], value);
            }
            ("role", value) => whole[name] = value.clone(),
            (_, Value::String(text)) if whole[name].is_string() => {
                let text = whole[name].as_str().expect("a string").to_owned() + text;
                whole[name] = json!(text);
            }
            (_, Value::Array(more)) if whole[name].is_array() => {
                whole[name].as_array_mut().expect("a list").extend(more.clone());
            }
            (_, Value::Object(_)) if whole[name].is_object() => add(&mut whole[name], value),
            (_, Value::Null) if whole.get(name).is_some() => {}
            _ => whole[name] = value.clone(),
        }
    }
}
