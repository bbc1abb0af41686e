//! Reads JSON and notices a key that stands twice in an object: serde_json keeps the last value in silence.

use super::ApiError;
use super::fields::cut;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// What a text says.
pub(crate) struct Json {
    /// Of a key that is there twice, the last value.
    pub(crate) value: Value,
    /// Where the first such key lies: `seed`, or such as `messages[1].content`.
    pub(crate) duplicate: Option<String>,
}

pub(crate) fn parse(text: &str) -> Result<Json, serde_json::Error> {
    let mut duplicate = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Reader { place: Place::Root, duplicate: &mut duplicate }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Json { value, duplicate })
}

/// The body of a request.
pub(crate) fn body(bytes: &[u8]) -> Result<Value, ApiError> {
    let no_json = |error: &dyn fmt::Display| ApiError::invalid(None, format!("the body is no JSON: {error}"));
    let text = std::str::from_utf8(bytes).map_err(|error| no_json(&error))?;
    parse(text).map_err(|error| no_json(&error))?.checked()
}

impl Json {
    /// The value, unless a key is there twice.
    pub(crate) fn checked(self) -> Result<Value, ApiError> {
        match self.duplicate {
            None => Ok(self.value),
            Some(path) => {
                let path = cut(path);
                Err(ApiError::invalid(Some(&path), format!("`{path}` is there twice: give it once")))
            }
        }
    }
}

/// Where a value lies. Spelled out only for an error: a prompt may be a million ids.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Key(Place::Root, key) => f.write_str(key),
            Place::Key(above, key) => write!(f, "{above}.{key}"),
            Place::Index(above, i) => write!(f, "{above}[{i}]"),
        }
    }
}

/// Reads the value of a place.
struct Reader<'a> {
    place: Place<'a>,
    duplicate: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Index(&self.place, list.len());
            match values.next_element_seed(Reader { place, duplicate: self.duplicate })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place::Key(&self.place, &key);
            if object.contains_key(&key) {
                self.duplicate.get_or_insert_with(|| place.to_string());
            }
            let value = entries.next_value_seed(Reader { place, duplicate: self.duplicate })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_one_that_serde_json_reads() {
        for text in [
            r#"{"a": [1, -2, 0.5, 1e300, true, null, "x\n\u00e9"], "b": {"c": {}}, "d": []}"#,
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "\"a\"",
            " null ",
        ] {
            let read = parse(text).unwrap();
            assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap(), "{text}");
            assert_eq!(read.duplicate, None, "{text}");
        }
        for text in ["", "{", "[1,]", "1 2", "{\"a\" 1}", "nul", "1e999"] {
            let error = parse(text).map(|read| read.value).unwrap_err().to_string();
            assert_eq!(error, serde_json::from_str::<Value>(text).unwrap_err().to_string(), "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_named_at_any_depth() {
        for (text, expected) in [
            (r#"{"a": 1, "b": 2, "a": 3}"#, Some("a")),
            (r#"{"a": null, "a": null}"#, Some("a")),
            (r#"{"a": {"b": [{}, {"c": 1, "c": 1}]}}"#, Some("a.b[1].c")),
            (r#"[{"x": 1}, {"x": 2}]"#, None),
            (r#"{"x": {"x": 1}}"#, None),
        ] {
            assert_eq!(parse(text).unwrap().duplicate.as_deref(), expected, "{text}");
        }
        assert_eq!(parse(r#"{"a": 1, "a": 2}"#).unwrap().value["a"], 2);
    }
}
