//! What a chat template is given besides the messages: options of every command that renders one.

use crate::prompt::TemplateVariables;
use clap::{Args, ValueEnum};

#[derive(Args)]
#[command(next_help_heading = "Prompt")]
pub(crate) struct TemplateArgs {
    /// What the system says before the user
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,

    /// A variable of the chat template, such as enable_thinking=false; the value is JSON, or else a string. May be
    /// given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = template_arg)]
    template_arg: Vec<(String, serde_json::Value)>,

    /// Whether the model thinks before it answers, where its chat template has a switch for that
    #[arg(long, value_name = "on|off", value_enum)]
    think: Option<Switch>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Switch {
    On,
    Off,
}

impl TemplateArgs {
    pub(crate) fn variables(&self) -> TemplateVariables {
        TemplateVariables {
            args: self.template_arg.iter().cloned().collect(),
            think: self.think.map(|think| think == Switch::On),
        }
    }
}

fn template_arg(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) =
        text.split_once('=').ok_or("NAME=VALUE is expected, such as enable_thinking=false")?;
    let is_name = |c: char| c == '_' || c.is_alphanumeric();
    if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_numeric()) {
        return Err(format!("`{name}` cannot be the name of a variable in a template"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_arguments_are_json_or_else_a_string() {
        let value = |text| template_arg(text).map(|(_, value)| value);
        assert_eq!(value("enable_thinking=false"), Ok(serde_json::json!(false)));
        assert_eq!(value("a=[1, \"b\"]"), Ok(serde_json::json!([1, "b"])));
        assert_eq!(value("a=b=c"), Ok(serde_json::json!("b=c")));
        assert_eq!(value("a="), Ok(serde_json::json!("")));
        assert!(value("a").is_err());
        assert!(value("=1").is_err());
        assert!(value("1a=1").is_err());
    }
}
