//! `tojson` as chat templates expect it: Python's `json.dumps`, not HTML-safe JSON.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::environment::MARK_VARIABLE;

/// Deeper values than any conversation has are refused before they can exhaust the stack.
const MAX_DEPTH: usize = 128;

/// The keyword arguments of `json.dumps` that transformers passes on.
struct Style {
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    ensure_ascii: bool,
    sort_keys: bool,
    /// Written as it is, even in ASCII: it is dropped later.
    mark: Option<char>,
}

/// The filter: `value|tojson(indent=2, ensure_ascii=false, separators=(",", ":"), sort_keys=true)`. As in
/// transformers, `ensure_ascii` is off unless asked for.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    ensure_ascii: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let ensure_ascii = match ensure_ascii {
        Some(given) => given,
        None => kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let indent = kwargs.get::<Option<Value>>("indent")?.filter(|indent| !indent.is_none()).map(indentation);
    let separators = kwargs.get::<Option<Vec<String>>>("separators")?;
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let (item_separator, key_separator) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("separators: expected two strings")),
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    let mark =
        state.lookup(MARK_VARIABLE).and_then(|mark| mark.as_str().and_then(|mark| mark.chars().next()));
    let style =
        Style { indent: indent.transpose()?, item_separator, key_separator, ensure_ascii, sort_keys, mark };
    let mut out = String::new();
    style.write(state, value, 0, &mut out)?;
    Ok(out)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {}", message.into()))
}

/// A number of spaces, or the text itself.
fn indentation(indent: Value) -> Result<String, Error> {
    const MAX_INDENT: i64 = 64;
    match (indent.as_str(), i64::try_from(indent.clone())) {
        (Some(text), _) => Ok(text.to_string()),
        (None, Ok(n)) if n <= MAX_INDENT => Ok(" ".repeat(n.max(0) as usize)),
        _ => Err(invalid(format!("indent is {indent}, expected a number up to {MAX_INDENT} or a string"))),
    }
}

impl Style {
    fn write(&self, state: &State, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("the value is nested more than {MAX_DEPTH} deep")));
        }
        let start = out.len();
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)?),
            ValueKind::String => self.write_string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => return self.write_list(state, value, depth, out),
            ValueKind::Map => return self.write_map(state, value, depth, out),
            other => return Err(invalid(format!("a value of type {other} is not JSON"))),
        }
        charge(state, out.len() - start)
    }

    fn write_list(&self, state: &State, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        out.push('[');
        let mut is_empty = true;
        for item in value.try_iter()?.checked() {
            self.separate(state, is_empty, depth + 1, out)?;
            is_empty = false;
            self.write(state, &item?, depth + 1, out)?;
        }
        self.close(is_empty, depth, ']', out);
        Ok(())
    }

    fn write_map(&self, state: &State, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        let mut keys = value.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
        if self.sort_keys {
            keys.sort();
        }
        out.push('{');
        let mut is_empty = true;
        for key in keys {
            self.separate(state, is_empty, depth + 1, out)?;
            is_empty = false;
            self.write_string(&key_text(&key)?, out);
            out.push_str(&self.key_separator);
            self.write(state, &value.get_item(&key)?, depth + 1, out)?;
        }
        self.close(is_empty, depth, '}', out);
        Ok(())
    }

    fn separate(&self, state: &State, is_first: bool, depth: usize, out: &mut String) -> Result<(), Error> {
        if !is_first {
            out.push_str(&self.item_separator);
        }
        self.new_line(depth, out);
        charge(state, self.item_separator.len() + depth * self.indent.as_ref().map_or(0, String::len))
    }

    fn close(&self, is_empty: bool, depth: usize, bracket: char, out: &mut String) {
        if !is_empty {
            self.new_line(depth, out);
        }
        out.push(bracket);
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            for _ in 0..depth {
                out.push_str(indent);
            }
        }
    }

    fn write_string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            // Writing to a String cannot fail.
            let _ = match c {
                '"' => out.write_str("\\\""),
                '\\' => out.write_str("\\\\"),
                '\n' => out.write_str("\\n"),
                '\r' => out.write_str("\\r"),
                '\t' => out.write_str("\\t"),
                '\u{8}' => out.write_str("\\b"),
                '\u{c}' => out.write_str("\\f"),
                '\0'..='\u{1f}' => write!(out, "\\u{:04x}", c as u32),
                ' '..='~' => out.write_char(c),
                _ if !self.ensure_ascii || Some(c) == self.mark => out.write_char(c),
                _ => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
            };
        }
        out.push('"');
    }
}

/// One step of fuel for every 64 bytes, as the template engine charges for its own strings; one at least.
fn charge(state: &State, n_bytes: usize) -> Result<(), Error> {
    state.consume_fuel(n_bytes as u64 / 64 + 1)
}

/// Python's spelling of a key that is no string.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::None => Ok("null".to_string()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_string()),
        ValueKind::Number => number(key),
        other => Err(invalid(format!("a key of type {other} is not JSON"))),
    }
}

/// Integers as they are, floats as Python's `repr`: the shortest digits that read back, an exponent outside
/// 1e-4 to 1e16.
pub(super) fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let float = f64::try_from(value.clone())?;
    if float.is_nan() {
        return Ok("NaN".to_string());
    }
    if float.is_infinite() {
        return Ok(if float > 0.0 { "Infinity" } else { "-Infinity" }.to_string());
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Ok(format!("{digits}e{sign}{:02}", exponent.abs()));
    }
    Ok(format!("{float:?}"))
}
