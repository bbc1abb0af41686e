//! The template's source before it is compiled: what minijinja lacks, and what would take it too long.

use std::ops::Range;

use super::error::ChatError;

/// Longest template; the longest in use have some 20 KB.
const MAX_BYTES: usize = 256 << 10;

/// Longest `{{ }}` or `{% %}`, strings in it not counted; the longest in use have some 300 bytes. Compiling a chain of
/// operators takes time that grows with the cube of its length.
const MAX_TAG_BYTES: usize = 4 << 10;

/// Checks the lengths, and turns `{% generation %}` (transformers' own tag, which only marks the assistant's tokens
/// for training) into a plain scope, so that its white space control and line numbers stay.
pub(super) fn prepare(source: &str) -> Result<String, ChatError> {
    if source.len() > MAX_BYTES {
        return Err(ChatError::TooLong { what: "template", n_bytes: source.len(), limit: MAX_BYTES });
    }
    let mut out = String::with_capacity(source.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(tag) = next_tag(source, at) {
        at = tag.end;
        if tag.n_code_bytes > MAX_TAG_BYTES {
            return Err(ChatError::TooLong {
                what: "expression",
                n_bytes: tag.n_code_bytes,
                limit: MAX_TAG_BYTES,
            });
        }
        let with = match &source[tag.name.clone()] {
            "generation" => "with",
            "endgeneration" => "endwith",
            "raw" => {
                at = end_of_raw(source, at);
                continue;
            }
            _ => continue,
        };
        out.push_str(&source[copied..tag.name.start]);
        out.push_str(with);
        copied = tag.name.end;
    }
    out.push_str(&source[copied..]);
    Ok(out)
}

/// `{{ ... }}` or `{% name ... %}`.
struct Tag {
    /// The first word of a statement; empty for an expression.
    name: Range<usize>,
    /// Bytes between the delimiters, without strings.
    n_code_bytes: usize,
    /// After the closing delimiter.
    end: usize,
}

/// The first tag at or after `at`, comments skipped.
fn next_tag(source: &str, mut at: usize) -> Option<Tag> {
    loop {
        let open = at + source[at..].find('{')?;
        let inside = open + 2;
        match source.as_bytes().get(open + 1) {
            Some(b'#') => at = inside + source[inside..].find("#}")? + 2,
            Some(b'{') => return Some(read_tag(source, inside, "}}", false)),
            Some(b'%') => return Some(read_tag(source, inside, "%}", true)),
            _ => at = open + 1,
        }
    }
}

fn read_tag(source: &str, inside: usize, close: &str, is_statement: bool) -> Tag {
    let bytes = source.as_bytes();
    let name_start = inside + bytes[inside..].iter().take_while(|b| b" \t\r\n-+".contains(b)).count();
    let name_len =
        bytes[name_start..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let name = name_start..name_start + if is_statement { name_len } else { 0 };
    let mut n_code_bytes = 0;
    let mut at = inside;
    while at < bytes.len() && !source[at..].starts_with(close) {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = end_of_string(bytes, at + 1, quote),
            _ => {
                n_code_bytes += 1;
                at += 1;
            }
        }
        while !source.is_char_boundary(at) {
            at += 1;
        }
    }
    Tag { name, n_code_bytes, end: (at + close.len()).min(bytes.len()) }
}

/// After the closing quote of a string whose text begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The `{% endraw %}` after `at`, which is itself a tag.
fn end_of_raw(source: &str, at: usize) -> usize {
    let mut from = at;
    while let Some(open) = source[from..].find("{%").map(|open| from + open) {
        let tag = read_tag(source, open + 2, "%}", true);
        if &source[tag.name] == "endraw" {
            return open;
        }
        from = open + 2;
    }
    source.len()
}
