//! A GGUF file's metadata: typed values by key.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::super::WeightsError;
use super::cursor::Cursor;

/// Key length, a key of one byte, type, a value of one byte.
pub(super) const MIN_KEY_BYTES: usize = 8 + 1 + 4 + 1;

/// The number types that a file has (`enum gguf_metadata_value_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
}

const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

impl NumberType {
    fn of(value_type: u32) -> Option<NumberType> {
        Some(match value_type {
            0 => NumberType::U8,
            1 => NumberType::I8,
            2 => NumberType::U16,
            3 => NumberType::I16,
            4 => NumberType::U32,
            5 => NumberType::I32,
            6 => NumberType::F32,
            7 => NumberType::Bool,
            10 => NumberType::U64,
            11 => NumberType::I64,
            12 => NumberType::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            NumberType::U8 | NumberType::I8 | NumberType::Bool => 1,
            NumberType::U16 | NumberType::I16 => 2,
            NumberType::U32 | NumberType::I32 | NumberType::F32 => 4,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 8,
        }
    }

    /// The value of one number; `bytes` are as many as the type has.
    fn decode(self, bytes: &[u8]) -> Value {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(word);
        match self {
            NumberType::U8 | NumberType::U16 | NumberType::U32 | NumberType::U64 => {
                Value::Int(unsigned.into())
            }
            NumberType::I8 => Value::Int((unsigned as i8).into()),
            NumberType::I16 => Value::Int((unsigned as i16).into()),
            NumberType::I32 => Value::Int((unsigned as i32).into()),
            NumberType::I64 => Value::Int((unsigned as i64).into()),
            NumberType::F32 => Value::Float(f32::from_bits(unsigned as u32).into()),
            NumberType::F64 => Value::Float(f64::from_bits(unsigned)),
            NumberType::Bool => Value::Bool(unsigned != 0),
        }
    }
}

/// A metadata value. Widths are forgotten: a reader asks for what it needs, and any width that fits will do.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Any of the eight integer types.
    Int(i128),
    /// f32 (exactly) or f64.
    Float(f64),
    Bool(bool),
    Str(String),
    Numbers(NumberArray),
    Strs(StrArray),
}

/// As messages call it: type and value, an array by its length.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "integer {value}"),
            Value::Float(value) if f64::from(*value as f32) == *value => {
                write!(f, "number {}", *value as f32)
            }
            Value::Float(value) => write!(f, "number {value}"),
            Value::Bool(value) => write!(f, "boolean {value}"),
            Value::Str(value) if value.chars().count() > 40 => {
                let start: String = value.chars().take(40).collect();
                write!(f, "string \"{}...\"", start.escape_debug())
            }
            Value::Str(value) => write!(f, "string \"{}\"", value.escape_debug()),
            Value::Numbers(array) => write!(f, "array of {} {:?}", array.len(), array.number_type()),
            Value::Strs(array) => write!(f, "array of {} strings", array.len()),
        }
    }
}

/// An array of numbers or booleans, kept as in the file and decoded as it is read.
#[derive(Clone, PartialEq, Debug)]
pub struct NumberArray {
    number_type: NumberType,
    bytes: Vec<u8>,
}

impl NumberArray {
    pub fn number_type(&self) -> NumberType {
        self.number_type
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.number_type.bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as `Value::Int`, `Float` or `Bool`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value> {
        self.bytes.chunks_exact(self.number_type.bytes()).map(|bytes| self.number_type.decode(bytes))
    }
}

/// An array of strings in two allocations; a vocabulary has hundreds of thousands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StrArray {
    text: String,
    /// Where each string ends in `text`.
    ends: Vec<usize>,
}

impl StrArray {
    fn push(&mut self, s: &str) {
        self.text.push_str(s);
        self.ends.push(self.text.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, i: usize) -> Option<&str> {
        let end = *self.ends.get(i)?;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        Some(&self.text[start..end])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            &self.text[start..self.ends[i]]
        })
    }
}

/// Keys and values in file order. Typed readers give `None` for a key that is not there and an error that names key,
/// found and expected for a value of another type.
#[derive(Debug)]
pub struct GgufMetadata {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
}

impl GgufMetadata {
    /// The file that the metadata is from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&i| &self.entries[i].1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// `general.architecture`, which every model has.
    pub fn architecture(&self) -> Result<&str, WeightsError> {
        self.require("general.architecture", "a string", Self::str)
    }

    /// A value that must be there: `metadata.require("llama.block_count", "an integer", GgufMetadata::u32)`.
    pub fn require<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Self, &str) -> Result<Option<T>, WeightsError>,
    ) -> Result<T, WeightsError> {
        read(self, key)?.ok_or_else(|| WeightsError::MissingKey {
            path: self.path.clone(),
            key: key.to_owned(),
            expected,
        })
    }

    pub fn u32(&self, key: &str) -> Result<Option<u32>, WeightsError> {
        self.read(key, "an integer from 0 to 4294967295", int)
    }

    pub fn i32(&self, key: &str) -> Result<Option<i32>, WeightsError> {
        self.read(key, "an integer from -2147483648 to 2147483647", int)
    }

    pub fn u64(&self, key: &str) -> Result<Option<u64>, WeightsError> {
        self.read(key, "an integer from 0 to 18446744073709551615", int)
    }

    pub fn usize(&self, key: &str) -> Result<Option<usize>, WeightsError> {
        self.read(key, "an integer of 0 or more", int)
    }

    /// An f32, or an f64 rounded to one.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, WeightsError> {
        self.read(key, "a floating-point number", float)
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, WeightsError> {
        self.read(key, "a boolean", boolean)
    }

    pub fn str(&self, key: &str) -> Result<Option<&str>, WeightsError> {
        self.read(key, "a string", |value| match value {
            Value::Str(s) => Some(s.as_str()),
            _ => None,
        })
    }

    pub fn str_array(&self, key: &str) -> Result<Option<&StrArray>, WeightsError> {
        self.read(key, "an array of strings", |value| match value {
            Value::Strs(array) => Some(array),
            _ => None,
        })
    }

    pub fn u32_array(&self, key: &str) -> Result<Option<Vec<u32>>, WeightsError> {
        self.read(key, "an array of integers from 0 to 4294967295", |value| numbers(value, int))
    }

    pub fn i32_array(&self, key: &str) -> Result<Option<Vec<i32>>, WeightsError> {
        self.read(key, "an array of integers from -2147483648 to 2147483647", |value| numbers(value, int))
    }

    pub fn f32_array(&self, key: &str) -> Result<Option<Vec<f32>>, WeightsError> {
        self.read(key, "an array of floating-point numbers", |value| numbers(value, float))
    }

    pub fn bool_array(&self, key: &str) -> Result<Option<Vec<bool>>, WeightsError> {
        self.read(key, "an array of booleans", |value| numbers(value, boolean))
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WeightsError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(WeightsError::WrongType {
                path: self.path.clone(),
                key: key.to_owned(),
                found: value.to_string(),
                expected,
            }),
        }
    }
}

fn int<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    match value {
        Value::Int(i) => T::try_from(*i).ok(),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f32> {
    match value {
        Value::Float(x) => Some(*x as f32),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        _ => None,
    }
}

fn numbers<T>(value: &Value, convert: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Numbers(array) => array.iter().map(|element| convert(&element)).collect(),
        _ => None,
    }
}

/// Reads `n_keys` keys and their values.
pub(super) fn read(cursor: &mut Cursor, n_keys: u64) -> Result<GgufMetadata, WeightsError> {
    let mut metadata =
        GgufMetadata { path: cursor.path.to_owned(), entries: Vec::new(), by_key: HashMap::new() };
    for i in 0..n_keys {
        let key = cursor.str(format_args!("metadata key {i}"))?;
        if key.is_empty() {
            let field = format!("metadata key {i}");
            return Err(WeightsError::malformed(cursor.path, field, "an empty name", "a name"));
        }
        let field = format!("`{}`", key.escape_debug());
        let value_type = cursor.u32(&field)?;
        let value = read_value(cursor, value_type, &field)?;
        let index = metadata.entries.len();
        if metadata.by_key.insert(key.to_owned(), index).is_some() {
            return Err(WeightsError::malformed(cursor.path, field, "the key twice", "each key once"));
        }
        metadata.entries.push((key.to_owned(), value));
    }
    Ok(metadata)
}

fn read_value(cursor: &mut Cursor, value_type: u32, field: &str) -> Result<Value, WeightsError> {
    match value_type {
        TYPE_STRING => Ok(Value::Str(cursor.str(field)?.to_owned())),
        TYPE_ARRAY => read_array(cursor, field),
        _ => {
            let number = NumberType::of(value_type).ok_or_else(|| unknown_type(cursor, value_type, field))?;
            let bytes = cursor.take(number.bytes() as u64, field)?;
            check_bools(cursor, number, bytes, field)?;
            Ok(number.decode(bytes))
        }
    }
}

fn read_array(cursor: &mut Cursor, field: &str) -> Result<Value, WeightsError> {
    let element_type = cursor.u32(field)?;
    let len = cursor.u64(field)?;
    if element_type == TYPE_STRING {
        cursor.check_count(len, 8, u64::MAX, field)?;
        let mut array = StrArray::default();
        array.ends.reserve_exact(len as usize);
        for _ in 0..len {
            array.push(cursor.str(field)?);
        }
        return Ok(Value::Strs(array));
    }
    if element_type == TYPE_ARRAY {
        return Err(WeightsError::unsupported(
            cursor.path,
            field,
            "an array of arrays",
            "arrays of numbers or strings",
        ));
    }
    let number = NumberType::of(element_type).ok_or_else(|| unknown_type(cursor, element_type, field))?;
    cursor.check_count(len, number.bytes(), u64::MAX, field)?;
    let bytes = cursor.take(len * number.bytes() as u64, field)?;
    check_bools(cursor, number, bytes, field)?;
    Ok(Value::Numbers(NumberArray { number_type: number, bytes: bytes.to_owned() }))
}

fn unknown_type(cursor: &Cursor, value_type: u32, field: &str) -> WeightsError {
    let found = format_args!("value type {value_type}").to_string();
    WeightsError::malformed(cursor.path, field, found, "a type from 0 to 12")
}

/// The format says that a boolean is the byte 0 or 1 and that anything else marks a broken file.
fn check_bools(cursor: &Cursor, number: NumberType, bytes: &[u8], field: &str) -> Result<(), WeightsError> {
    match bytes.iter().find(|&&byte| byte > 1) {
        Some(byte) if number == NumberType::Bool => {
            let found = format_args!("byte {byte} as a boolean").to_string();
            Err(WeightsError::malformed(cursor.path, field, found, "0 or 1"))
        }
        _ => Ok(()),
    }
}
