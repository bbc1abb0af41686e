//! Jinja as transformers sets it up for chat templates (`_compile_jinja_template`): the same white space rules,
//! functions and filters, and limits in place of its sandbox.

use std::fmt;

use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter,
};
use minijinja_contrib::pycompat;

use super::clock::DateTime;
use super::error::ChatError;
use super::json;

/// Steps that one rendering may take. A step is one operation or 64 bytes of text, so this also bounds memory, to
/// about 64 MB. A turn takes some fifty operations.
pub(super) const MAX_STEPS: u64 = 1_000_000;

/// minijinja limits nesting, but not the length of a chain (`x.a.a.a`) and not how deep a value gets that a loop
/// wraps again and again; it walks both recursively, at up to 420 bytes a level. A template's length and its steps
/// allow no more than 256,000 levels of either.
const STACK_BYTES: usize = 128 << 20;

/// Runs `f` where no template can overflow the stack.
pub(super) fn on_large_stack<T: Send>(
    f: impl FnOnce() -> Result<T, ChatError> + Send,
) -> Result<T, ChatError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".to_string()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, f).map_err(no_thread)?;
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn no_thread(source: std::io::Error) -> ChatError {
    ChatError::Thread { stack_bytes: STACK_BYTES, source }
}

/// Holds the mark, for `tojson`. Templates cannot name it.
pub(super) const MARK_VARIABLE: &str = " mark";

/// Nesting of the template's loops, macros and values.
const MAX_RECURSION: usize = 200;

pub(super) fn new() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(python_method);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_fuel(Some(MAX_STEPS));
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_function("raise_exception", raise_exception);
    Ok(environment)
}

/// The function `strftime_now`.
pub(super) fn strftime_now(now: DateTime) -> Value {
    Value::from_function(move |format: &str| {
        now.strftime(format).map_err(|directive| {
            let message = format!("strftime_now: {directive} is not supported");
            Error::new(ErrorKind::InvalidOperation, message)
        })
    })
}

/// The message of `raise_exception`, found again in the error that comes out.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// Prints as Python does: minijinja's way, but for floats that Python writes with an exponent.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        return out.write_str(&json::number(value)?).map_err(Error::from);
    }
    escape_formatter(out, state, value)
}

/// `value|default(other, boolean)`, with Jinja2's names for the arguments.
fn default(
    value: &Value,
    other: Option<Value>,
    boolean: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let other = match other {
        Some(other) => other,
        None => kwargs.get::<Option<Value>>("default_value")?.unwrap_or_else(|| Value::from("")),
    };
    let boolean = match boolean {
        Some(boolean) => boolean,
        None => kwargs.get::<Option<bool>>("boolean")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let is_absent = value.is_undefined() || (boolean && !value.is_true());
    Ok(if is_absent { other } else { value.clone() })
}

/// As in Jinja2: not none, which minijinja iterates over.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// As in Jinja2, whatever has a length and items: strings and dicts too.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
}

/// Python's methods of strings, lists and dicts: pycompat's, and those that it lacks and templates use.
fn python_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, method, args);
    };
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            let parts = text.split_once(separator).map_or([text, "", ""], |(a, b)| [a, separator, b]);
            Ok(Value::from(Tuple::from(parts.map(Value::from))))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let parts = text.rsplit_once(separator).map_or(["", "", text], |(a, b)| [a, separator, b]);
            Ok(Value::from(Tuple::from(parts.map(Value::from))))
        }
        "rsplit" => {
            let (separator, max_splits): (&str, Option<usize>) = from_args(args)?;
            let n_parts = max_splits.map_or(usize::MAX, |n| n.saturating_add(1));
            let mut parts: Vec<Value> = text.rsplitn(n_parts, separator).map(Value::from).collect();
            parts.reverse();
            Ok(Value::from(parts))
        }
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}
