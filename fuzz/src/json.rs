//! JSON as the service reads it, held against `serde_json`.

use roster::signature::{Claim, Form, sign, verify};
use roster::wire::json::{Json, JsonFault, read, read_with_long};
use serde_json::Value;
use serde_json::value::RawValue;

const AT: &str = "1969-07-20T20:17:00+00:00";

/// A body that was signed without its white space is taken, and what was signed means the same; of text that is no JSON only what was sent
/// holds.
pub(crate) fn stripped(data: &[u8]) {
    let compact = strip_slowly(data);
    let before = serde_json::from_slice::<Value>(data).ok();
    if before.is_some() {
        assert_eq!(serde_json::from_slice::<Value>(&compact).ok(), before, "another value without white space");
    }
    let signature = sign("T", b"S", "POST", "/", &compact, AT);
    let header = format!("SignalVine T:{signature}");
    let claim = Claim::from_headers(Some(header.as_bytes()), Some(AT.as_bytes())).expect("well formed");
    let is_taken = verify(&claim, b"S", "POST", "/", data);
    if compact == data {
        assert!(matches!(is_taken, Ok(Form::AsSent | Form::AsSentAscii)), "{is_taken:?}");
    } else if before.is_some() {
        assert_eq!(is_taken, Ok(Form::Stripped));
    } else if str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_err()) {
        // A number beyond a double and half of a surrogate pair are no value, and JSON all the same. Bytes that are no UTF-8 are passed over
        // here, and refused when the body is read.
        is_taken.expect_err("no JSON");
    }
}

/// Without the white space outside of strings: slow, and obvious.
fn strip_slowly(text: &[u8]) -> Vec<u8> {
    let (mut kept, mut in_string, mut escaped) = (Vec::new(), false, false);
    for byte in text {
        if in_string || !b" \t\r\n".contains(byte) {
            kept.push(*byte);
        }
        if escaped {
            escaped = false;
        } else if in_string && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            in_string = !in_string;
        }
    }
    kept
}

/// A document read whole, and one with a member that may be megabytes long, is what `serde_json` says.
pub(crate) fn unescaped(data: &[u8]) {
    let expected = serde_json::from_slice::<Value>(data);
    for found in [read(data), read_with_long(data, "participants")] {
        match (&expected, found) {
            (Ok(expected), Ok(json)) => assert_eq!(&value(&json), expected),
            (Ok(_), Err(JsonFault::DuplicateKeys(places))) => assert!(!places.is_empty()),
            (Err(_), Err(JsonFault::Bad { .. })) => {}
            (expected, found) => panic!("{expected:?} but {found:?}"),
        }
    }
}

fn value(json: &Json<'_>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(number.clone()),
        Json::String(text) => Value::String(text.to_string()),
        Json::Escaped(text) => serde_json::from_str(&format!("\"{text}\"")).expect("each escape stands for something"),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(members) => members.iter().map(|(key, member)| (key.to_string(), value(member))).collect(),
    }
}
