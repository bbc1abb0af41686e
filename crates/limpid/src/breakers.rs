//! What no repeat of DRY reaches across: tokens, or texts, of which each stands for the tokens that have it in them.

use limpid_engine::TokenId;
use limpid_engine::sampling::ParamError;
use limpid_engine::tokenizer::Tokenizer;
use serde_json::Value;
use std::collections::BTreeSet;

/// Texts of one list.
const MAX_TEXTS: usize = 64;

/// `dry_breakers` as a request writes them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Breakers(Vec<Breaker>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Breaker {
    Token(TokenId),
    Text(String),
}

impl Breakers {
    /// What the value of a request's field must be.
    pub(crate) const EXPECTED: &'static str = "a list of texts and token ids, such as [\"\\n\", \":\", 13],";

    /// From a list of strings and numbers.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(Breaker::from_json).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn from_ids(ids: Vec<TokenId>) -> Self {
        Self(ids.into_iter().map(Breaker::Token).collect())
    }

    /// The tokens that they are, in ascending order. Refuses a text that would break nothing: an empty one, or one that
    /// no token has in it. `tokenizer`: `None` where tokens have no texts.
    pub(crate) fn tokens(&self, tokenizer: Option<&Tokenizer>) -> Result<Vec<TokenId>, ParamError> {
        // A text is looked for in the whole vocabulary.
        let n_texts = self.0.iter().filter(|breaker| matches!(breaker, Breaker::Text(_))).count();
        if n_texts > MAX_TEXTS {
            let allowed = format!("at most {MAX_TEXTS} texts, and any number of token ids");
            return Err(ParamError::new("dry_breakers", format!("a list with {n_texts} texts"), &allowed));
        }
        let mut ids = BTreeSet::new();
        for breaker in &self.0 {
            let of_text = match (breaker, tokenizer) {
                (Breaker::Token(id), _) => vec![*id],
                (Breaker::Text(text), Some(tokenizer)) => tokenizer.tokens_with(text),
                (Breaker::Text(text), None) => {
                    let allowed = "token ids: there is no model here whose tokens have texts";
                    return Err(ParamError::new("dry_breakers", format!("{text:?}"), allowed));
                }
            };
            if let (Breaker::Text(text), true) = (breaker, of_text.is_empty()) {
                let allowed = "texts that a token of the model has in it";
                return Err(ParamError::new("dry_breakers", format!("{text:?}"), allowed));
            }
            ids.extend(of_text);
        }
        Ok(ids.into_iter().collect())
    }
}

impl Breaker {
    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            value => Some(Self::Token(TokenId(u32::try_from(value.as_u64()?).ok()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ModelFile;
    use serde_json::json;

    fn breakers(value: &Value) -> Breakers {
        Breakers::from_json(value).expect("a list of breakers")
    }

    #[test]
    fn a_text_is_all_tokens_that_have_it_in_them() {
        let file = ModelFile::open(None).expect("the embedded model opens");
        let tokenizer = file.tokenizer().expect("its tokenizer");
        let found = breakers(&json!([".", 7, 7])).tokens(Some(&tokenizer)).expect("tokens");
        let has_point = |id: &TokenId| !tokenizer.is_special(*id) && tokenizer.piece(*id).contains('.');
        let all = (0..tokenizer.vocab_size() as u32).map(TokenId);
        let expected: Vec<_> = all.filter(|id| has_point(id) || id.0 == 7).collect();
        assert!(expected.len() > 1, "{expected:?}");
        assert_eq!(found, expected);
        for broken in ["", "a text that no token has in it"] {
            let error = breakers(&json!([1, broken])).tokens(Some(&tokenizer)).unwrap_err().to_string();
            let expected = "allowed is texts that a token of the model has in it";
            assert_eq!(error, format!("dry_breakers is {broken:?}, {expected}"));
        }
    }

    #[test]
    fn ids_need_no_tokenizer() {
        assert_eq!(breakers(&json!([3, 1])).tokens(None), Ok(vec![TokenId(1), TokenId(3)]));
        assert_eq!(breakers(&json!(["a"])).tokens(None).unwrap_err().value, "\"a\"");
        for wrong in [json!("a"), json!([-1]), json!([1.5]), json!([["a"]]), json!([4_294_967_296u64])] {
            assert_eq!(Breakers::from_json(&wrong), None, "{wrong}");
        }
    }
}
