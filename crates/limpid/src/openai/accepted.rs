//! Fields that clients send as a matter of course. Each is taken with the values that change nothing here, and refused
//! with any other, by what that would need.

use super::fields::{ApiError, Fields};
use super::request::Endpoint;
use serde_json::{Value, json};

/// Takes them; what is none of them stays.
pub(super) fn accept_usual(fields: &mut Fields, endpoint: Endpoint) -> Result<(), ApiError> {
    // Whose request it is, and what its sender notes about it.
    fields.text("user")?;
    fields.read("metadata", "an object of strings", is_of_strings)?;
    accept(fields, "store", &[json!(false)], "false (answers are not stored)")?;
    accept(fields, "service_tier", &[json!("auto"), json!("default")], "\"auto\" or \"default\"")?;
    if endpoint == Endpoint::ChatCompletions {
        accept(fields, "tools", &[json!([])], "an empty list (tools are not supported)")?;
        accept(fields, "tool_choice", &[json!("none")], "\"none\" (tools are not supported)")?;
        // It is about tools, and there are none.
        fields.flag("parallel_tool_calls")?;
        let text = [json!({"type": "text"})];
        accept(fields, "response_format", &text, "{\"type\":\"text\"} (no other format is supported)")?;
    }
    Ok(())
}

fn is_of_strings(value: &Value) -> Option<()> {
    value.as_object()?.values().all(Value::is_string).then_some(())
}

fn accept(fields: &mut Fields, name: &str, allowed: &[Value], expected: &str) -> Result<(), ApiError> {
    fields.read(name, &format!("{expected},"), |value| allowed.contains(value).then_some(())).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(endpoint: Endpoint, body: Value) -> Result<(), ApiError> {
        let mut fields = Fields::new(body, "").expect("an object");
        accept_usual(&mut fields, endpoint).and_then(|()| fields.end())
    }

    #[test]
    fn what_changes_nothing_is_taken() {
        let of_both = json!({"user": "u", "metadata": {"a": "b"}, "store": false, "service_tier": "auto"});
        let of_chats = json!({"tools": [], "tool_choice": "none", "parallel_tool_calls": true,
            "response_format": {"type": "text"}, "service_tier": "default", "metadata": {}});
        assert_eq!(taken(Endpoint::Completions, of_both.clone()), Ok(()));
        assert_eq!(taken(Endpoint::ChatCompletions, of_both), Ok(()));
        assert_eq!(taken(Endpoint::ChatCompletions, of_chats), Ok(()));
    }

    #[test]
    fn other_values_are_refused_by_name() {
        for (name, value, part) in [
            ("user", json!(5), "a string is expected"),
            ("metadata", json!({"a": 1}), "an object of strings is expected"),
            ("metadata", json!("a"), "an object of strings is expected"),
            ("store", json!(true), "answers are not stored"),
            ("service_tier", json!("flex"), "\"auto\" or \"default\""),
            ("tools", json!([{"type": "function"}]), "tools are not supported"),
            ("tool_choice", json!("auto"), "tools are not supported"),
            ("parallel_tool_calls", json!("yes"), "true or false"),
            ("response_format", json!({"type": "json_object"}), "no other format is supported"),
        ] {
            let error = taken(Endpoint::ChatCompletions, json!({name: value})).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
            assert!(error.message.contains(part), "{}", error.message);
        }
        let error = taken(Endpoint::Completions, json!({"tools": []})).unwrap_err();
        assert_eq!(error.message, "`tools` is not supported; leave it out");
    }
}
