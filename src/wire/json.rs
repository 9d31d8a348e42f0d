//! Strict reading of JSON: what `serde_json` refuses, and objects that have a key twice.
//!
//! Readers disagree about which of two equal keys counts, so a document that has them means two things, and is refused
//! with every place. `serde_json` does the parsing; this module only listens. It keeps the document's tree, so that all
//! faults of a request can be listed with their pointers; it knows nothing of what the members mean.
//!
//! ```
//! use roster::wire::json::{JsonFault, read};
//!
//! assert_eq!(read(br#"{"mode": "row"}"#).unwrap().get("mode").unwrap().as_str(), Some("row"));
//! let fault = read(br#"{"options": {"mode": "row", "mod\u0065": "tx"}}"#).unwrap_err();
//! assert_eq!(fault, JsonFault::DuplicateKeys(vec!["/options/mode".to_owned()]));
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::unescaping::between_quotes;

/// How many duplicate keys one fault lists; what comes after them is checked, but not listed.
pub const DUPLICATE_KEYS_MAX: usize = 1_000;

/// How many values (of any kind, at any depth) a document may have. A request has some twenty, and the tree of a document of
/// 64 MB that is all `[[],[],…` would take gigabytes.
pub const VALUES_MAX: usize = 1_000_000;

/// A JSON document whose objects have no key twice. Strings are borrowed where the document has no escape in them.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number: exact for integers of 64 bits, otherwise the nearest `f64`.
    Number(Number),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// A string of megabytes, between its quotes as it stands in the document; each of its escapes stands for something. Only
    /// [`read_with_long`] leaves one so.
    Escaped(&'a str),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object's members in the document's order, the keys unescaped.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It is not JSON.
    #[error("{detail} (line {line}, column {column})")]
    Bad {
        /// From 1.
        line: usize,
        /// In bytes from the line's beginning: the last byte that was read, from 1; 0 where the line's first could not be.
        column: usize,
        /// What is wrong there.
        detail: String,
    },
    /// It is JSON, but has objects with a key twice or more: a JSON pointer (RFC 6901) for each such key, once, in the order
    /// in which the repetitions stand; at most [`DUPLICATE_KEYS_MAX`].
    #[error("keys stand twice: {}", .0.join(", "))]
    DuplicateKeys(Vec<String>),
}

impl<'a> Json<'a> {
    /// The kind's word, for messages: `null`, `boolean`, `number`, `string`, `array`, `object`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) | Self::Escaped(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The text, if it is a string that was unescaped.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Escaped(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The member of that name, if it is an object that has it. Looks at every member: for the few names of a request.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Escaped(_) | Self::Array(_) => None,
        }
    }
}

/// Reads a whole body as one JSON document (RFC 8259), nested to at most 127 levels.
///
/// # Errors
///
/// [`JsonFault`]; a document that is no JSON is [`JsonFault::Bad`] even if it has duplicate keys before that place.
pub fn read(body: &[u8]) -> Result<Json<'_>, JsonFault> {
    read_in_way(body, None)
}

/// The same, where the object's member of this name is a string of megabytes: it stays where it is, as [`Json::Escaped`].
///
/// # Errors
///
/// As of [`read`].
pub fn read_with_long<'a>(body: &'a [u8], long: &str) -> Result<Json<'a>, JsonFault> {
    read_in_way(body, Some(long))
}

fn read_in_way<'a>(body: &'a [u8], long: Option<&str>) -> Result<Json<'a>, JsonFault> {
    let text = simdutf8::compat::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    if let Some(detail) = unlikely_beginning(text) {
        return Err(JsonFault::Bad { line: 1, column: 0, detail: detail.to_owned() });
    }
    // Where it cannot be read so, what is wrong is found out anew.
    let (document, found) = long.and_then(|long| parse(text, Some(long)).ok()).map_or_else(|| parse(text, None), Ok)?;
    if found.duplicates.is_empty() { Ok(document) } else { Err(JsonFault::DuplicateKeys(found.duplicates)) }
}

fn parse<'a>(text: &'a str, long: Option<&str>) -> Result<(Json<'a>, Found), JsonFault> {
    let mut found = Found::default();
    let mut source = serde_json::Deserializer::from_str(text);
    let document = Listener { found: &mut found, long }
        .deserialize(&mut source)
        .and_then(|document| source.end().map(|()| document))
        .map_err(|error| bad(&error))?;
    Ok((document, found))
}

fn unlikely_beginning(text: &str) -> Option<&'static str> {
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return Some("the body is empty; a JSON document was expected");
    }
    text.starts_with('\u{FEFF}').then_some("the body begins with a byte order mark, which JSON must not have")
}

fn not_utf8(body: &[u8], offset: usize) -> JsonFault {
    let before = &body[..offset];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    JsonFault::Bad {
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        column: 1 + offset - line_start,
        detail: format!("the byte 0x{:02X} at offset {offset} is not UTF-8", body[offset]),
    }
}

/// `serde_json`'s words where they are too terse to act on, and what to say instead.
const EXPLAINED: [(&str, &str); 7] = [
    ("lone leading surrogate in hex escape", "a \\u escape is half of a surrogate pair"),
    ("unexpected end of hex escape", "a \\u escape is half of a surrogate pair"),
    ("trailing characters", "there is more text after the end of the document"),
    ("recursion limit exceeded", "arrays and objects are nested more than 127 deep"),
    (
        "control character (\\u0000-\\u001F) found while parsing a string",
        "a string has a control character that is not escaped",
    ),
    ("expected value", "a JSON value was expected here"),
    ("number out of range", "the number is too large for a double"),
];

fn bad(error: &serde_json::Error) -> JsonFault {
    let (line, column) = (error.line(), error.column());
    let words = error.to_string();
    let words = words.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&words);
    let explained = EXPLAINED.into_iter().find(|(terse, _)| *terse == words).map_or(words, |(_, better)| better);
    JsonFault::Bad { line, column, detail: explained.to_owned() }
}

/// What was found on the way, and where the way is.
#[derive(Default)]
struct Found {
    /// The pointer of the value that is being read.
    pointer: String,
    duplicates: Vec<String>,
    /// The same as `duplicates`. It catches the third time of a key, and objects that themselves stand under a repeated key.
    listed: HashSet<String>,
    values: usize,
}

impl Found {
    /// Takes a step down, and gives the length to truncate the pointer to on the way back.
    fn enter(&mut self, step: &str) -> usize {
        let back = self.pointer.len();
        self.pointer.push('/');
        for letter in step.chars() {
            match letter {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                other => self.pointer.push(other),
            }
        }
        back
    }

    fn leave(&mut self, back: usize) {
        self.pointer.truncate(back);
    }

    fn list_duplicate(&mut self) {
        if self.duplicates.len() < DUPLICATE_KEYS_MAX && !self.listed.contains(&self.pointer) {
            self.listed.insert(self.pointer.clone());
            self.duplicates.push(self.pointer.clone());
        }
    }
}

/// Builds the tree of one value from the parser's events.
struct Listener<'s> {
    found: &'s mut Found,
    /// The member of this object that may be a long string.
    long: Option<&'s str>,
}

impl<'de> DeserializeSeed<'de> for Listener<'_> {
    type Value = Json<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Json<'de>, D::Error> {
        self.found.values += 1;
        if self.found.values > VALUES_MAX {
            return Err(D::Error::custom(format_args!("the document has more than {VALUES_MAX} values")));
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Listener<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Json<'de>, A::Error> {
        let Listener { found, long: _ } = self;
        let mut items = Vec::new();
        loop {
            let back = found.enter(&items.len().to_string());
            let item = source.next_element_seed(Listener { found, long: None })?;
            found.leave(back);
            match item {
                Some(item) => items.push(item),
                None => return Ok(Json::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Json<'de>, A::Error> {
        let Listener { found, long } = self;
        let mut members = Vec::new();
        let mut keys: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = source.next_key_seed(Key)? {
            let back = found.enter(&key);
            if !keys.insert(key.clone()) {
                found.list_duplicate();
            }
            let value = if long == Some(&*key) {
                let raw: &'de RawValue = source.next_value()?;
                let inside =
                    between_quotes(raw.get()).ok_or_else(|| A::Error::custom("the member is no whole string"))?;
                Json::Escaped(inside)
            } else {
                source.next_value_seed(Listener { found, long: None })?
            };
            found.leave(back);
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// A key: borrowed if it has no escape (`Cow`'s own `Deserialize` never borrows).
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn value(json: &Json<'_>) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.clone()),
            Json::String(text) => Value::String(text.to_string()),
            Json::Escaped(text) => serde_json::from_str(&format!("\"{text}\"")).unwrap(),
            Json::Array(items) => items.iter().map(value).collect(),
            Json::Object(members) => members.iter().map(|(key, member)| (key.to_string(), value(member))).collect(),
        }
    }

    fn duplicates(body: &str) -> Vec<String> {
        match read(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(JsonFault::DuplicateKeys(pointers)) => pointers,
            Err(fault) => panic!("{body}: {fault}"),
        }
    }

    #[test]
    fn duplicate_keys_at_any_depth() {
        for (body, expected) in [
            (r#"{"a":1,"b":2}"#, &[][..]),
            (r#"{"a":1,"a":1}"#, &["/a"]),
            (r#"{"a":1,"a":2,"b":3,"a":4}"#, &["/a"]),
            (r#"{"a":1,"\u0061":2}"#, &["/a"]),
            (r#"{"a":1,"A":2,"a ":3,"":4}"#, &[]),
            (r#"{"é":1,"\u00e9":2,"e\u0301":3}"#, &["/é"]),
            (r#"{"":1,"":2}"#, &["/"]),
            (r#"{"a/b":1,"a~b":2,"a/b":3,"a~b":4}"#, &["/a~1b", "/a~0b"]),
            (r#"[[{}],{"x":[0,{"k":1,"k":1}]}]"#, &["/1/x/1/k"]),
            (r#"{"a":{"k":1},"b":{"k":1}}"#, &[]),
            (r#"[{"k":1},{"k":1}]"#, &[]),
            (r#"{"a":{"x":1,"x":2},"b":{"y":1},"a":3,"b":4}"#, &["/a/x", "/a", "/b"]),
            (r#"{"a":{"x":1,"x":2},"a":{"x":1,"x":2}}"#, &["/a/x", "/a"]),
            (r#"{"a":0,"a":{"x":1,"x":2}}"#, &["/a", "/a/x"]),
        ] {
            assert_eq!(duplicates(body), expected, "{body}");
        }
    }

    #[test]
    fn many_keys_and_many_duplicates() {
        let object = |keys: &mut dyn Iterator<Item = usize>| {
            let members: Vec<_> = keys.map(|key| format!("\"key{key}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(duplicates(&object(&mut (0..100_000))), [""; 0]);
        let doubled = duplicates(&object(&mut (0..100_000).chain(0..100_000)));
        assert_eq!(doubled.len(), DUPLICATE_KEYS_MAX);
        assert_eq!((doubled[0].as_str(), doubled[999].as_str()), ("/key0", "/key999"));
        let same_object_often = vec![r#""a":{"x":1,"x":1}"#; 100_000].join(",");
        assert_eq!(duplicates(&format!("{{{same_object_often}}}")), ["/a/x", "/a"]);
    }

    #[test]
    fn no_json_says_what_and_where() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(127).as_bytes()).is_ok());
        for (body, expected) in [
            (&b""[..], "1:0 the body is empty; a JSON document was expected"),
            (b" \n\t", "1:0 the body is empty; a JSON document was expected"),
            (b"\xEF\xBB\xBF{}", "1:0 the body begins with a byte order mark, which JSON must not have"),
            (b"{\n \"a\": \"\xFF\"}", "2:8 the byte 0xFF at offset 9 is not UTF-8"),
            (b"\xE9", "1:1 the byte 0xE9 at offset 0 is not UTF-8"),
            (b"{} x", "1:4 there is more text after the end of the document"),
            (b"{}{}", "1:3 there is more text after the end of the document"),
            (br#"{"a":"\ud800"}"#, "1:13 a \\u escape is half of a surrogate pair"),
            (br#"{"a":"\udc00"}"#, "1:12 a \\u escape is half of a surrogate pair"),
            (br#"{"a":"\ud800\u0041"}"#, "1:18 a \\u escape is half of a surrogate pair"),
            (br#"{"\ud800":1}"#, "1:9 a \\u escape is half of a surrogate pair"),
            (b"{\"a\":\n,}", "2:1 a JSON value was expected here"),
            (b"{\"a\":1,}", "1:8 trailing comma"),
            (b"{'a':1}", "1:2 key must be a string"),
            (b"{\"a\":1", "1:6 EOF while parsing an object"),
            (b"\"a\nb\"", "2:0 a string has a control character that is not escaped"),
            (b"[NaN]", "1:2 a JSON value was expected here"),
            (b"1e999", "1:5 the number is too large for a double"),
            (b"01", "1:2 invalid number"),
            (br#"{"a":1,"a":2"#, "1:12 EOF while parsing an object"),
            (nested(128).as_bytes(), "1:128 arrays and objects are nested more than 127 deep"),
            (nested(100_000).as_bytes(), "1:128 arrays and objects are nested more than 127 deep"),
        ] {
            let Err(JsonFault::Bad { line, column, detail }) = read(body) else {
                panic!("{} was read", String::from_utf8_lossy(body));
            };
            assert_eq!(format!("{line}:{column} {detail}"), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let array = |items: usize| format!("[{}]", vec!["0"; items].join(","));
        assert!(read(array(VALUES_MAX - 1).as_bytes()).is_ok());
        let Err(JsonFault::Bad { detail, .. }) = read(array(VALUES_MAX).as_bytes()) else { panic!("it was read") };
        assert_eq!(detail, "the document has more than 1000000 values");
    }

    #[test]
    fn strings_are_borrowed_where_they_can_be() {
        let body = r#"{"plain":"text é","esc\u0061ped":"a\nb"}"#;
        let Json::Object(members) = read(body.as_bytes()).unwrap() else { panic!("it is an object") };
        let [(plain, Json::String(text)), (escaped, Json::String(lines))] = members.as_slice() else {
            panic!("it has two strings")
        };
        assert!(matches!((plain, text), (Cow::Borrowed("plain"), Cow::Borrowed("text é"))));
        assert!(matches!((escaped, lines), (Cow::Owned(_), Cow::Owned(_))));
        assert_eq!((&**escaped, &**lines), ("escaped", "a\nb"));
    }

    #[test]
    fn looking_at_a_document() {
        let json = read(br#" {"s":"x","n":1.50,"b":true,"z":null,"a":[1],"o":{}} "#).unwrap();
        let kinds: Vec<_> = ["s", "n", "b", "z", "a", "o"].map(|name| json.get(name).unwrap().kind()).into();
        assert_eq!(kinds, ["string", "number", "boolean", "null", "array", "object"]);
        assert_eq!(json.get("s").unwrap().as_str(), Some("x"));
        assert_eq!(json.get("n").unwrap().as_str(), None);
        assert_eq!(json.get("none"), None);
        assert_eq!(json.get("a").unwrap().get("s"), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// The first object of the document gets its last member a second time.
    fn repeat_a_member(text: &str) -> Option<String> {
        let Value::Object(members) = serde_json::from_str(text).unwrap() else { return None };
        let (key, member) = members.into_iter().next_back()?;
        let body = text.trim_end().strip_suffix('}')?.to_owned();
        Some(format!("{body}, {}: {member}}}", Value::String(key)))
    }

    proptest! {
        #[test]
        fn without_duplicates_it_reads_what_serde_json_reads(document in any_value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            let read_by_serde: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value(&read(text.as_bytes()).unwrap()), read_by_serde);
            for long in ["a", "b", "participants"] {
                prop_assert_eq!(value(&read_with_long(text.as_bytes(), long).unwrap()), value(&read(text.as_bytes()).unwrap()));
            }
            if let Some(doubled) = repeat_a_member(&text) {
                prop_assert_eq!(duplicates(&doubled).len(), 1);
            }
        }

        #[test]
        fn what_serde_json_refuses_is_refused(body in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\u0a1.eE-+ \ntruefalsn"[..])], 0..40,
        )) {
            let long = [b"{\"a\":".as_slice(), &body, b",\"b\":1}"].concat();
            match (read_with_long(&long, "a"), read(&long)) {
                (Ok(json), Ok(expected)) => prop_assert_eq!(value(&json), value(&expected)),
                (json, expected) => prop_assert_eq!(json, expected),
            }
            match (serde_json::from_slice::<Value>(&body), read(&body)) {
                (Ok(expected), Ok(json)) => prop_assert_eq!(value(&json), expected),
                (Ok(_), Err(JsonFault::DuplicateKeys(_))) | (Err(_), Err(JsonFault::Bad { .. })) => {}
                (expected, found) => prop_assert!(false, "{expected:?} but {found:?}"),
            }
        }
    }
}
