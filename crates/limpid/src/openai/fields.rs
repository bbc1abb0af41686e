//! An object whose fields are taken one by one; what is left at the end is refused by name.

use super::request::Endpoint;
use limpid_engine::engine::SubmitError;
use limpid_engine::sampling::ParamError;
use serde_json::{Map, Value, json};

/// Longer values are not repeated in a message.
const MAX_SHOWN: usize = 80;

/// What is wrong with a request.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The field, where one is to blame.
    pub(crate) param: Option<String>,
}

impl ApiError {
    pub(crate) fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        Self { code: "invalid_request", message: message.into(), param: param.map(str::to_owned) }
    }

    /// The engine could not do what it had begun.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: "failed", message: message.into(), param: None }
    }

    /// Cut off in the middle: half an answer is none.
    pub(crate) fn stopping() -> Self {
        let message = "the answer was cut off, since the server is being stopped; ask again later";
        Self { code: "stopping", message: message.to_owned(), param: None }
    }

    /// As an endpoint has it: of a chat the prompt is `messages`.
    pub(crate) fn at(mut self, endpoint: Endpoint) -> Self {
        if endpoint == Endpoint::ChatCompletions && self.param.as_deref() == Some("prompt") {
            self.param = Some("messages".to_owned());
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        json!({"code": self.code, "message": self.message, "param": self.param})
    }
}

impl From<ParamError> for ApiError {
    fn from(error: ParamError) -> Self {
        // Of lists the name goes on: `logit_bias of token 5`.
        let field = error.name.split(' ').next();
        Self::invalid(field, error.to_string())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let param = match error {
            SubmitError::Param(error) => return error.into(),
            SubmitError::QueueFull { .. } => {
                return Self { code: "queue_full", ..Self::invalid(None, error.to_string()) };
            }
            SubmitError::EmptyPrompt
            | SubmitError::UnknownToken { .. }
            | SubmitError::PromptTooLong { .. } => "prompt",
            SubmitError::TooLong { .. } | SubmitError::NoRoomForPrompt { .. } => "max_tokens",
        };
        Self::invalid(Some(param), error.to_string())
    }
}

/// See the module. A field that is null is as one that is not there.
pub(crate) struct Fields {
    fields: Map<String, Value>,
    /// Where the object lies, for messages: empty, or such as `messages[2].`.
    path: String,
    /// The names of what was taken.
    taken: Vec<String>,
}

impl Fields {
    pub(crate) fn new(value: Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self { fields, path: path.to_owned(), taken: Vec::new() }),
            other => {
                let field = Some(path.trim_end_matches('.')).filter(|field| !field.is_empty());
                let name = field.unwrap_or("the request");
                Err(ApiError::invalid(field, format!("{name} is {}, an object is expected", shown(&other))))
            }
        }
    }

    /// Whether a field is there that nobody has taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether a field was there, taken or not.
    pub(crate) fn gave(&self, name: &str) -> bool {
        self.has(name) || self.taken.iter().any(|taken| taken == name)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        self.taken.push(name.to_owned());
        Some(value)
    }

    /// A field that `read` makes something of.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match read(&value) {
            Some(found) => Ok(Some(found)),
            None => Err(self.wrong(name, &value, expected)),
        }
    }

    pub(crate) fn wrong(&self, name: &str, value: &Value, expected: &str) -> ApiError {
        let path = format!("{}{name}", self.path);
        ApiError::invalid(Some(&path), format!("`{path}` is {}, {expected} is expected", shown(value)))
    }

    pub(crate) fn missing(&self, name: &str, expected: &str) -> ApiError {
        let path = format!("{}{name}", self.path);
        ApiError::invalid(Some(&path), format!("`{path}` is missing: {expected} is expected"))
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        self.read(name, "a number", Value::as_f64)
    }

    /// A number as an f32, which is 0 only where the request says 0.
    pub(crate) fn float(&mut self, name: &str) -> Result<Option<f32>, ApiError> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        if number as f32 == 0.0 && number != 0.0 {
            return Err(self.wrong(name, &number.into(), "0, or a number further away from it,"));
        }
        Ok(Some(number as f32))
    }

    /// A whole number from `least` on.
    pub(crate) fn count(&mut self, name: &str, least: u64) -> Result<Option<usize>, ApiError> {
        let expected = format!("a whole number from {least} on");
        let count = |value: &Value| usize::try_from(value.as_u64().filter(|&n| n >= least)?).ok();
        self.read(name, &expected, count)
    }

    /// A whole number up to `most`.
    pub(crate) fn whole(&mut self, name: &str, most: u64) -> Result<Option<u64>, ApiError> {
        let expected = format!("a whole number from 0 to {most}");
        self.read(name, &expected, |value| value.as_u64().filter(|&number| number <= most))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// One of several names, with what each stands for.
    pub(crate) fn name<T: Copy>(&mut self, name: &str, names: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let all = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let find = |value: &Value| names.iter().find(|(name, _)| value == name).map(|(_, of)| *of);
        self.read(name, &format!("one of {all}"), find)
    }

    /// Nothing else may be there.
    pub(crate) fn end(self) -> Result<(), ApiError> {
        match self.fields.into_iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let path = cut(format!("{}{name}", self.path));
                Err(ApiError::invalid(Some(&path), format!("`{path}` is not supported; leave it out")))
            }
        }
    }
}

fn shown(value: &Value) -> String {
    // JSON's reader has only the nearest f64 of it: those digits are not the request's.
    if value.as_u64().is_none() && value.as_f64().is_some_and(|x| x.fract() == 0.0 && x >= u64::MAX as f64) {
        return format!("more than {}", u64::MAX);
    }
    cut(value.to_string())
}

/// What of a text of any length is repeated in a message.
pub(crate) fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text,
        Some((end, _)) => format!("{} ...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_refused_by_name() {
        let mut fields = Fields::new(json!({"a": 1, "b": null, "c": "x"}), "m[1].").unwrap();
        assert_eq!(fields.count("a", 0), Ok(Some(1)));
        assert_eq!(fields.number("b"), Ok(None));
        let error = fields.end().unwrap_err();
        assert_eq!(error.message, "`m[1].c` is not supported; leave it out");
        assert_eq!(error.param.as_deref(), Some("m[1].c"));
    }

    #[test]
    fn a_value_of_another_kind_is_shown() {
        let mut fields = Fields::new(json!({"a": -1, "b": "x".repeat(500), "c": "maybe"}), "").unwrap();
        let message = fields.count("a", 0).unwrap_err().message;
        assert_eq!(message, "`a` is -1, a whole number from 0 on is expected");
        assert!(fields.number("b").unwrap_err().message.len() < 150);
        let mut large = Fields::new(json!({"seed": 18446744073709551616.0, "k": 1u64 << 32}), "").unwrap();
        let message = large.whole("seed", u64::MAX).unwrap_err().message;
        let range = "a whole number from 0 to 18446744073709551615 is expected";
        assert_eq!(message, format!("`seed` is more than 18446744073709551615, {range}"));
        let message = large.whole("k", u64::from(u32::MAX)).unwrap_err().message;
        assert_eq!(message, "`k` is 4294967296, a whole number from 0 to 4294967295 is expected");
        let message = fields.name("c", &[("yes", 1), ("no", 0)]).unwrap_err().message;
        assert_eq!(message, "`c` is \"maybe\", one of yes, no is expected");
        assert!(Fields::new(json!([1]), "").is_err());
    }
}
