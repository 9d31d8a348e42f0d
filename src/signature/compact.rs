//! JSON without its insignificant white space, as a stream of slices of the original.
//!
//! A widely used client signs compact JSON and sends it spaced. Only white space between tokens is left out; key order,
//! numbers, escapes and everything inside strings stay as sent. This is neither a parser nor a printer.

use memchr::memchr2;
use serde::de::IgnoredAny;

/// Whether the text is JSON, and stripping it would change it.
///
/// It is asked only after the body as sent did not fit. The quick question comes first, because for compact bodies, empty
/// bodies and plain words it settles the matter.
pub(super) fn changes(text: &[u8]) -> bool {
    let whole_in_one_run = runs(text).next().is_none_or(|first| first.len() == text.len());
    !whole_in_one_run && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The stretches of the text between white space that is outside of strings; for JSON their concatenation is the same JSON,
/// compact.
pub(super) fn runs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !is_blank(*byte))?;
        let (run, tail) = rest[start..].split_at(run_length(&rest[start..]));
        rest = tail;
        Some(run)
    })
}

/// RFC 8259, section 2: the only white space of JSON.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn run_length(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(byte) = text.get(length) {
        match byte {
            b'"' => length += string_length(&text[length..]),
            byte if is_blank(*byte) => break,
            _ => length += 1,
        }
    }
    length
}

/// Length of the string that opens the text, with its quotes; all of the text if it is never closed.
fn string_length(text: &[u8]) -> usize {
    let mut length = 1;
    while let Some(place) = text.get(length..).and_then(|inside| memchr2(b'"', b'\\', inside)) {
        length += place;
        if text[length] == b'"' {
            return length + 1;
        }
        length += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    fn strip(text: &[u8]) -> Vec<u8> {
        runs(text).collect::<Vec<_>>().concat()
    }

    /// Slow, and obvious.
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

    #[test]
    fn only_white_space_between_tokens_goes() {
        for (text, expected) in [
            (r#"{ "b" : 1.50, "a" : [ true , null ] }"#, r#"{"b":1.50,"a":[true,null]}"#),
            ("\t{\r\n\"a b\" :\"c , \\\" d\"\n}\n", r#"{"a b":"c , \" d"}"#),
            (
                r#"{"a": "ends in a backslash \\" , "b": "\u00C9 x"}"#,
                r#"{"a":"ends in a backslash \\","b":"\u00C9 x"}"#,
            ),
            ("{\"a\":\"\u{A0}\u{2003}\"} ", "{\"a\":\"\u{A0}\u{2003}\"}"),
        ] {
            assert_eq!(strip(text.as_bytes()), expected.as_bytes());
            assert!(changes(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_candidate_only_where_it_is_json_and_differs() {
        for text in [
            "",
            "   ",
            "{}",
            r#"{"a":"b c"}"#,
            "a,b\n1,2",
            "{} {}",
            "{ \"a\" ",
            "\"never closed \\",
            "[1 2]",
            "\\",
            "\" \\",
        ] {
            assert!(!changes(text.as_bytes()), "{text}");
        }
    }

    fn spaced_json() -> impl Strategy<Value = String> {
        let blank = prop::sample::select(vec!["", "", " ", "\n", "\t", "\r\n  "]);
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "1.50",
                "-0",
                "1e3",
                "true",
                "null",
                r#""\u00e9 \\\" x""#,
                r#""\\""#,
                r#"" { , } ""#
            ])
            .prop_map(str::to_owned),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        let value = leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|members| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(key, value)| format!("{} :\n{value}", serde_json::to_string(key).unwrap()))
                        .collect();
                    format!("{{ {} }}", members.join("\t,"))
                }),
            ]
        });
        (blank.clone(), value, blank).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
    }

    proptest! {
        #[test]
        fn stripped_json_means_the_same(text in spaced_json()) {
            let stripped = strip(text.as_bytes());
            prop_assert_eq!(&stripped, &strip_slowly(text.as_bytes()));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&stripped).unwrap(), value);
            prop_assert_eq!(changes(text.as_bytes()), stripped.len() != text.len());
            prop_assert!(!changes(&stripped));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\ {}\n"[..])], 0..200)) {
            prop_assert_eq!(strip(&text), strip_slowly(&text));
            let _ = changes(&text);
        }
    }
}
