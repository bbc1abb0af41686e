//! What the `post_processor` of a tokenizer.json puts around a text: BOS, EOS or nothing.

use serde_json::Value;

use super::error::TokenizerError;
use crate::TokenId;

const FIELD: &str = "tokenizer.json: post_processor";

#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) before: Option<TokenId>,
    pub(super) after: Option<TokenId>,
    /// There is a template, so it has a say.
    is_template: bool,
}

impl Frame {
    pub(super) fn read(post_processor: Option<&Value>) -> Result<Frame, TokenizerError> {
        let mut frame = Frame::default();
        if let Some(step) = post_processor.filter(|step| !step.is_null()) {
            frame.add(step)?;
        }
        Ok(frame)
    }

    fn add(&mut self, step: &Value) -> Result<(), TokenizerError> {
        match step.get("type").and_then(Value::as_str).unwrap_or("(no type)") {
            // It moves offsets into the text, which nobody asks for here.
            "ByteLevel" => Ok(()),
            "Sequence" => {
                let parts = step.get("processors").and_then(Value::as_array);
                parts.into_iter().flatten().try_for_each(|part| self.add(part))
            }
            "TemplateProcessing" => self.read_template(step),
            other => {
                let known = "Sequence, ByteLevel, TemplateProcessing".to_string();
                Err(TokenizerError::Unknown { field: FIELD, found: other.to_string(), known })
            }
        }
    }

    /// `single` lists the text (`Sequence`) and the tokens around it; `special_tokens` has their ids.
    fn read_template(&mut self, step: &Value) -> Result<(), TokenizerError> {
        let expected = "a list of the text and at most one token before and one after it";
        let invalid = |found: &Value| TokenizerError::invalid(FIELD, format!("`single` = {found}"), expected);
        let single = &step["single"];
        self.is_template = true;
        let mut seen_text = false;
        for piece in single.as_array().ok_or_else(|| invalid(single))? {
            if piece.get("Sequence").is_some() && !seen_text {
                seen_text = true;
                continue;
            }
            let name =
                piece.pointer("/SpecialToken/id").and_then(Value::as_str).ok_or_else(|| invalid(single))?;
            let place = if seen_text { &mut self.after } else { &mut self.before };
            if place.is_some() {
                return Err(invalid(single));
            }
            let ids = step["special_tokens"][name]["ids"].as_array();
            let id = ids.filter(|ids| ids.len() == 1).and_then(|ids| u32::try_from(ids[0].as_u64()?).ok());
            let unnamed =
                || TokenizerError::invalid(FIELD, format!("`{name}`"), "its one id in `special_tokens`");
            *place = Some(TokenId(id.ok_or_else(unnamed)?));
        }
        if seen_text { Ok(()) } else { Err(invalid(single)) }
    }

    /// Whether BOS or EOS is added: the template decides, as in llama.cpp's converter; without one,
    /// tokenizer_config.json.
    pub(super) fn decides(
        &self,
        key: &str,
        framed: bool,
        flag: Option<bool>,
        warnings: &mut Vec<String>,
    ) -> bool {
        if !self.is_template {
            return flag.unwrap_or(false);
        }
        if flag.is_some_and(|flag| flag != framed) {
            warnings.push(format!(
                "tokenizer_config.json says {key} = {}, {FIELD} the opposite: the latter decides",
                !framed
            ));
        }
        framed
    }
}
