//! What is one message: a line, lines that end with a backslash, or a block between lines of `"""`.

use std::io::BufRead;

/// Begins and ends a block.
const FENCE: &str = "\"\"\"";

/// The longest line, as of other texts that are read: without a limit an endless one would take all memory.
const MAX_BYTES: u64 = 64 << 20;

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// A message, or a command if it begins with a slash.
    Line(String),
    /// A message, whatever it begins with.
    Block(String),
}

/// Whether a block is begun and not ended: then Enter begins a line of it.
pub(super) fn is_open_block(text: &str) -> bool {
    let mut lines = text.split('\n').map(str::trim_end);
    lines.next() == Some(FENCE) && !lines.any(|line| line == FENCE)
}

/// What a text of one or more lines is.
pub(super) fn written(text: &str) -> Written {
    let lines: Vec<&str> = text.split('\n').collect();
    match lines.as_slice() {
        [first, inner @ .., last] if first.trim_end() == FENCE && last.trim_end() == FENCE => {
            Written::Block(inner.join("\n"))
        }
        _ => Written::Line(text.to_owned()),
    }
}

/// The next thing written in a stream of lines, or `None` at its end.
pub(super) fn read(from: &mut impl BufRead) -> Result<Option<Written>, String> {
    let Some(mut text) = read_line(from)? else { return Ok(None) };
    let is_block = is_open_block(&text);
    while is_open_block(&text) || (!is_block && text.ends_with('\\')) {
        let next = read_line(from)?;
        if is_block && next.is_none() {
            return Err(format!("the block that begins with {FENCE} does not end"));
        }
        if !is_block {
            text.pop();
        }
        let Some(next) = next else { break };
        text.push('\n');
        text.push_str(&next);
    }
    Ok(Some(written(&text)))
}

/// Without its line break.
fn read_line(from: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    let n = std::io::Read::take(&mut *from, MAX_BYTES).read_until(b'\n', &mut bytes);
    if n.map_err(|error| format!("cannot read standard input: {error}"))? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_BYTES && bytes.last() != Some(&b'\n') {
        return Err("a line of standard input is longer than 64 MiB".to_owned());
    }
    let mut line = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("a line of standard input is not UTF-8 at its byte {at}; convert it, for example with iconv")
    })?;
    if line.ends_with('\n') {
        line.truncate(line.len() - if line.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Written>, String> {
        let mut from = text.as_bytes();
        std::iter::from_fn(|| read(&mut from).transpose()).collect()
    }

    fn line(text: &str) -> Written {
        Written::Line(text.to_owned())
    }

    fn block(text: &str) -> Written {
        Written::Block(text.to_owned())
    }

    #[test]
    fn lines_and_blocks() {
        assert_eq!(all("a\r\nb"), Ok(vec![line("a"), line("b")]));
        assert_eq!(all("\n"), Ok(vec![line("")]));
        assert_eq!(all("a\\\nb\\\nc\nd"), Ok(vec![line("a\nb\nc"), line("d")]));
        assert_eq!(all("a\\"), Ok(vec![line("a")]), "nothing follows");
        assert_eq!(all("\"\"\"\n/a\\\n\n\"\"\"\nb"), Ok(vec![block("/a\\\n"), line("b")]));
        assert_eq!(all("\"\"\"\n\"\"\""), Ok(vec![block("")]));
        assert_eq!(all("x\"\"\"\ny"), Ok(vec![line("x\"\"\""), line("y")]));
        assert!(all("\"\"\"\na").unwrap_err().contains("does not end"));
        let error = read(&mut &b"caf\xe9"[..]).unwrap_err();
        assert!(error.contains("not UTF-8 at its byte 3"), "{error}");
    }

    #[test]
    fn what_was_pasted_is_one_message() {
        assert_eq!(written("a\\\nb\n"), line("a\\\nb\n"), "its backslash is its own");
        assert!(is_open_block("\"\"\"\na\n") && !is_open_block("\"\"\"\na\n\"\"\""));
        assert!(!is_open_block("a\n\"\"\"\n"));
    }
}
