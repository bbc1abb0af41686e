//! How the tokens of a tokenizer.json spell bytes: what its `decoder` undoes.

use serde_json::Value;

use super::byte_level;
use super::error::TokenizerError;
use super::spm::{SPACE_MARK, parse_byte_token};

const FIELD: &str = "tokenizer.json: decoder";
const KNOWN: &str = "ByteLevel, or Replace, ByteFallback, Fuse, Strip of one leading space, Metaspace";

#[derive(Debug)]
pub(super) enum Spelling {
    /// GPT-2's alphabet for bytes.
    ByteLevel,
    /// SentencePiece's text.
    Text(TextSpelling),
}

#[derive(Debug, Default)]
pub(super) struct TextSpelling {
    /// Replaced in order (`▁` by a space).
    replacements: Vec<(String, String)>,
    /// `<0xE2>` is one byte.
    byte_fallback: bool,
    /// One space at the beginning of the whole text goes.
    strips_first_space: bool,
}

impl Spelling {
    pub(super) fn read(decoder: Option<&Value>) -> Result<Spelling, TokenizerError> {
        let decoder = decoder.filter(|decoder| !decoder.is_null());
        let decoder =
            decoder.ok_or(TokenizerError::Missing { field: FIELD, why: "ids turn into text by it" })?;
        let one = std::slice::from_ref(decoder);
        let steps = decoder.get("decoders").and_then(Value::as_array).map_or(one, Vec::as_slice);
        if let [step] = steps
            && step["type"] == "ByteLevel"
        {
            return Ok(Spelling::ByteLevel);
        }
        let mut spelling = TextSpelling::default();
        for step in steps {
            spelling.add(step)?;
        }
        Ok(Spelling::Text(spelling))
    }

    pub(super) fn strips_first_space(&self) -> bool {
        matches!(self, Spelling::Text(text) if text.strips_first_space)
    }

    /// Appends the bytes that a token stands for.
    pub(super) fn decode(&self, token: &str, out: &mut Vec<u8>) {
        let spelling = match self {
            Spelling::ByteLevel => return byte_level::decode(token, out),
            Spelling::Text(spelling) => spelling,
        };
        if let Some(byte) = parse_byte_token(token).filter(|_| spelling.byte_fallback) {
            return out.push(byte);
        }
        let mut text = token.to_string();
        for (from, to) in &spelling.replacements {
            text = text.replace(from, to);
        }
        out.extend_from_slice(text.as_bytes());
    }
}

impl TextSpelling {
    fn add(&mut self, step: &Value) -> Result<(), TokenizerError> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        match text("type").unwrap_or("(no type)") {
            "ByteFallback" => self.byte_fallback = true,
            "Fuse" => {}
            "Replace" => {
                let pattern = step.pointer("/pattern/String").and_then(Value::as_str);
                let (Some(from), Some(to)) = (pattern, text("content")) else {
                    return Err(TokenizerError::invalid(FIELD, step.to_string(), "a Replace of one string"));
                };
                self.replacements.push((from.to_string(), to.to_string()));
            }
            "Strip" => {
                if text("content") != Some(" ") || step["start"] != 1 || step["stop"] != 0 {
                    return Err(TokenizerError::invalid(
                        FIELD,
                        step.to_string(),
                        "a Strip of one leading space",
                    ));
                }
                self.strips_first_space = true;
            }
            "Metaspace" => {
                let mark = text("replacement").unwrap_or(SPACE_MARK);
                self.replacements.push((mark.to_string(), " ".to_string()));
                self.strips_first_space = text("prepend_scheme") != Some("never");
            }
            other => {
                let (found, known) = (other.to_string(), KNOWN.to_string());
                return Err(TokenizerError::Unknown { field: FIELD, found, known });
            }
        }
        Ok(())
    }
}
