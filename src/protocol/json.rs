//! Strict JSON, RFC 8259 with the interoperable subset of RFC 7493 (I-JSON): one reading of a text, or none.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Number;
use thiserror::Error;

/// A JSON value of which every member name is unique and every string is free of U+0000.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Self>),
    Object(Object),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(BTreeMap<String, Json>);

/// How many arrays and objects may be nested inside the outermost one.
const MAX_DEPTH: usize = 64;

/// Reads exactly one JSON value: UTF-8 without a byte order mark, no duplicate member names at any depth.
pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let refusal = Cell::new(None);
    let seed = Value {
        depth: 0,
        refusal: &refusal,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        refusal.take().unwrap_or(JsonError::Syntax { line, column })
    })?;
    deserializer.end().map_err(|_| JsonError::TrailingData)?;
    Ok(value)
}

/// Why a text is not read. The sentences are for the developer who wrote it and never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    #[error("the text is not valid UTF-8")]
    NotUtf8,
    #[error("the text begins with a byte order mark; JSON must not have one")]
    ByteOrderMark,
    #[error("the text is not valid JSON, see line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("the text goes on after the end of the JSON value")]
    TrailingData,
    #[error("a JSON object has the same member name twice")]
    DuplicateName,
    #[error("the JSON value is nested more than 64 levels deep")]
    TooDeep,
    #[error("a JSON string or member name contains the character U+0000")]
    NulCharacter,
}

/// A member that is there, but is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be {expected}")]
pub struct WrongType {
    pub expected: &'static str,
}

/// Reading members: `Ok(None)` only where the member is absent. `null` is a value like others, of the wrong type.
impl Object {
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Without the members that this is true of.
    pub fn remove_if(&mut self, mut remove: impl FnMut(&str, &Json) -> bool) {
        self.0.retain(|name, value| !remove(name, value));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub fn string(&self, name: &str) -> Result<Option<&str>, WrongType> {
        self.member(name, "a string", |value| match value {
            Json::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, WrongType> {
        self.member(name, "true or false", |value| match value {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>, WrongType> {
        self.member(name, "an integer", |value| match value {
            Json::Number(number) => number.as_i64(),
            _ => None,
        })
    }

    pub fn object(&self, name: &str) -> Result<Option<&Self>, WrongType> {
        self.member(name, "an object", |value| match value {
            Json::Object(object) => Some(object),
            _ => None,
        })
    }

    pub fn array(&self, name: &str) -> Result<Option<&[Json]>, WrongType> {
        self.member(name, "an array", |value| match value {
            Json::Array(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    pub fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        self.member(name, "an array of strings", |value| match value {
            Json::Array(items) => items.iter().map(Json::as_str).collect(),
            _ => None,
        })
    }

    fn member<'a, T>(
        &'a self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or(WrongType { expected }),
        }
    }
}

impl Json {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The value as JSON without white space, members in the order of their names.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(object) => serializer.collect_map(object.iter()),
        }
    }
}

/// One value at a depth. `refusal` carries our reason around serde's error type.
#[derive(Clone, Copy)]
struct Value<'a> {
    depth: usize,
    refusal: &'a Cell<Option<JsonError>>,
}

impl Value<'_> {
    fn refuse<E: serde::de::Error>(self, error: JsonError) -> E {
        self.refusal.set(Some(error));
        E::custom(error)
    }

    fn text<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        if text.contains('\0') {
            return Err(self.refuse(JsonError::NulCharacter));
        }
        Ok(text)
    }

    /// The seed for what is inside an array or object at this depth.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Json, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Json::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json, E> {
        self.text(text.to_owned()).map(Json::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inside = self.inside()?;
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            match members.entry(self.text(name)?) {
                Entry::Occupied(_) => return Err(self.refuse(JsonError::DuplicateName)),
                Entry::Vacant(free) => free.insert(map.next_value_seed(inside)?),
            };
        }
        Ok(Json::Object(Object(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        match parse(text.as_bytes()) {
            Ok(Json::Object(object)) => object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let read = object(
            r#" {"n":null,"b":true,"i":-7,"f":1.5,"s":"\u00e9\ud83d\ude00","a":[1,"x"],"o":{}} "#,
        );
        assert_eq!(read.len(), 7);
        assert!(!read.is_empty());
        assert_eq!(read.get("n"), Some(&Json::Null));
        assert_eq!(read.boolean("b"), Ok(Some(true)));
        assert_eq!(read.integer("i"), Ok(Some(-7)));
        assert_eq!(
            read.get("f"),
            Number::from_f64(1.5).map(Json::Number).as_ref()
        );
        assert_eq!(read.string("s"), Ok(Some("é😀")));
        assert_eq!(read.array("a").unwrap().unwrap().len(), 2);
        assert_eq!(read.object("o"), Ok(Some(&Object::default())));
        assert_eq!(read.iter().count(), 7);
    }

    #[test]
    fn a_member_of_the_wrong_type_is_not_an_absent_one() {
        let read = object(r#"{"n":null,"b":"false","i":1.5,"l":["a",1],"s":["x"]}"#);
        assert_eq!(
            read.string("n").unwrap_err().to_string(),
            "must be a string"
        );
        assert_eq!(read.string("s").unwrap_err().expected, "a string");
        assert_eq!(read.boolean("b").unwrap_err().expected, "true or false");
        assert_eq!(read.integer("i").unwrap_err().expected, "an integer");
        assert_eq!(
            read.strings("l").unwrap_err().expected,
            "an array of strings"
        );
        assert_eq!(read.strings("s"), Ok(Some(vec!["x"])));
        assert_eq!(read.array("b").unwrap_err().expected, "an array");
        assert_eq!(read.object("s").unwrap_err().expected, "an object");
        assert_eq!(read.string("absent"), Ok(None));
    }

    #[test]
    fn a_text_with_two_readings_is_refused() {
        let table: &[(&str, &[u8], JsonError)] = &[
            (
                "M-02 byte order mark",
                b"\xef\xbb\xbf{}",
                JsonError::ByteOrderMark,
            ),
            (
                "M-02 invalid value",
                b"{\"a\":\"\xff\"}",
                JsonError::NotUtf8,
            ),
            ("M-02 invalid name", b"{\"\xff\":1}", JsonError::NotUtf8),
            ("M-02 overlong", b"\"\xc0\x80\"", JsonError::NotUtf8),
            ("M-02 UTF-16LE", b"\xff\xfe{\0}\0", JsonError::NotUtf8),
            (
                "M-04 in a value",
                br#"{"a":"a\u0000b"}"#,
                JsonError::NulCharacter,
            ),
            (
                "M-04 in a name",
                br#"{"a\u0000b":1}"#,
                JsonError::NulCharacter,
            ),
            ("M-05 twice", br#"{"a":1,"a":1}"#, JsonError::DuplicateName),
            (
                "M-05 alias",
                br#"{"client_id":1,"client\u005fid":2}"#,
                JsonError::DuplicateName,
            ),
            (
                "M-05 deeper",
                br#"{"x":[{"a":1,"b":2,"a":3}]}"#,
                JsonError::DuplicateName,
            ),
            ("M-06 second value", b"{} {}", JsonError::TrailingData),
            ("M-06 NDJSON", b"{}\n{}\n", JsonError::TrailingData),
            ("M-06 NUL behind", b"{}\0", JsonError::TrailingData),
        ];
        for (case, text, expected) in table {
            assert_eq!(parse(text), Err(*expected), "{case}");
        }
    }

    #[test]
    fn a_text_outside_the_grammar_is_refused() {
        let table: &[(&str, &[u8])] = &[
            ("H-39 empty", b""),
            ("H-39 blank", b" \n"),
            ("H-40 JSONP", b"cb({})"),
            ("H-40 prefix", b")]}',\n{}"),
            ("M-02 UTF-16BE without a mark", b"\0{\0}"),
            ("M-02 UTF-32", b"{\0\0\0}\0\0\0"),
            ("M-03 raw NUL", b"\"a\0\""),
            ("M-03 raw newline", b"\"a\nb\""),
            ("M-03 raw tab", b"\"a\tb\""),
            ("M-03 lone lead", br#""\ud800""#),
            ("M-03 lone lead, then text", br#""\ud800a""#),
            ("M-03 lone trail", br#""\udc00""#),
            ("M-03 lone surrogate in a name", br#"{"\ud800":1}"#),
            ("M-06 comma", b"[1,]"),
            ("M-06 comma", br#"{"a":1,}"#),
            ("M-06 comment", b"{} // x"),
            ("M-06 comment", b"/**/{}"),
            ("M-06 quotes", b"{'a':1}"),
            ("M-06 NaN", b"[NaN]"),
            ("M-06 Infinity", b"[-Infinity]"),
            ("M-06 hex", b"[0x10]"),
            ("M-06 leading zero", b"[01]"),
            ("M-06 form feed", b"\x0c{}"),
            ("M-09 too large", b"[1e999]"),
            ("M-09 too large", b"[-1E400]"),
        ];
        for (case, text) in table {
            let error = parse(text).unwrap_err();
            let allowed = matches!(error, JsonError::Syntax { .. } | JsonError::TrailingData);
            assert!(allowed, "{case}: {error}");
        }
    }

    #[test]
    fn strange_numbers_are_numbers() {
        for text in [
            "-0",
            "123456789012345678901234567890",
            "1e-999",
            "18446744073709551615",
            "1E5",
        ] {
            assert!(
                matches!(parse(text.as_bytes()), Ok(Json::Number(_))),
                "M-09: {text}"
            );
        }
        assert!(
            object(r#"{"a":18446744073709551615}"#)
                .integer("a")
                .is_err()
        );
    }

    #[test]
    fn sixty_four_levels_are_read_and_more_are_not() {
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(64).as_bytes()).is_ok(), "M-08");
        for depth in [65, 127, 128, 10_000, 1_000_000] {
            assert_eq!(
                parse(nested(depth).as_bytes()),
                Err(JsonError::TooDeep),
                "M-08: {depth}"
            );
            assert_eq!(
                parse("[".repeat(depth + 1).as_bytes()),
                Err(JsonError::TooDeep),
                "{depth}"
            );
            let objects = "{\"a\":".repeat(depth + 1);
            assert_eq!(
                parse(objects.as_bytes()),
                Err(JsonError::TooDeep),
                "{depth}"
            );
        }
    }

    #[test]
    fn white_space_around_the_value_is_allowed() {
        assert_eq!(
            parse(b"\n\t {} \r\n"),
            Ok(Json::Object(Object::default())),
            "H-40"
        );
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = parse(b"{\n  \"a\": nope }").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the text is not valid JSON, see line 2, column 9"
        );
    }
}
