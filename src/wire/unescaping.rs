//! Strings of JSON, unescaped where they stand.
//!
//! `serde_json` brings a string with escapes together in room that doubles as it grows, and that is then copied: for a CSV of megabytes this
//! took longer than everything else about the body, and twice its memory.

use std::ops::Range;

use memchr::memchr;

/// What is between the quotes of a JSON string that stands here with them, as `serde_json` has checked it; `None` if it is something else,
/// or has half of a surrogate pair.
pub(super) fn between_quotes(json: &str) -> Option<&str> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut rest = inside.as_bytes();
    while let Some(escape) = memchr(b'\\', rest) {
        rest = unescape(&rest[escape + 1..])?.1;
    }
    Some(inside)
}

/// Leaves of a document the text of one string: of what is between its quotes. `None`, and nothing of use is left, where
/// [`between_quotes`] has not been asked.
pub(super) fn keep_unescaped(document: &mut Vec<u8>, inside: Range<usize>) -> Option<()> {
    let Range { start: mut from, end } = inside;
    let mut kept = 0;
    // An escape is never shorter than what it stands for, so nothing is overwritten that is still to be read.
    while let Some(plain) = memchr(b'\\', document.get(from..end)?) {
        document.copy_within(from..from + plain, kept);
        kept += plain;
        let (letter, after) = unescape(&document[from + plain + 1..end])?;
        from = end - after.len();
        kept += letter.encode_utf8(&mut document[kept..]).len();
    }
    document.copy_within(from..end, kept);
    document.truncate(kept + end - from);
    Some(())
}

/// What an escape stands for, and what follows it; `rest` begins behind the backslash.
fn unescape(rest: &[u8]) -> Option<(char, &[u8])> {
    let letter = match rest.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_utf_16(rest),
        _ => return None,
    };
    Some((letter, &rest[1..]))
}

/// `uXXXX`, and the other half where it is one of two.
fn unescape_utf_16(rest: &[u8]) -> Option<(char, &[u8])> {
    let (unit, after) = unit(rest)?;
    if let Some(letter) = char::from_u32(u32::from(unit)) {
        return Some((letter, after));
    }
    let (low, after) = self::unit(after.strip_prefix(b"\\")?)?;
    let letter = char::decode_utf16([unit, low]).next()?.ok()?;
    Some((letter, after))
}

fn unit(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, after) = rest.strip_prefix(b"u")?.split_at_checked(4)?;
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
    let unit = digits.iter().try_fold(0, |unit: u16, next| Some(unit << 4 | digit(next)?))?;
    Some((unit, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a string that stands in a document.
    fn unescaped(json: &str) -> Option<String> {
        let inside = between_quotes(json)?;
        let mut document = format!("{{\"é\":{json},\"\":\"\\n\"}}").into_bytes();
        let start = "{\"é\":\"".len();
        keep_unescaped(&mut document, start..start + inside.len()).expect("it was asked");
        Some(String::from_utf8(document).expect("UTF-8"))
    }

    proptest! {
        #[test]
        fn a_string_is_what_serde_json_says(body in "(\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d|\\\\ude00|[a-zé😀]|\\PC){0,12}") {
            let json = format!("\"{body}\"");
            // What is no string of JSON never comes here.
            if let Ok(expected) = serde_json::from_str::<String>(&json) {
                prop_assert_eq!(unescaped(&json), Some(expected));
            } else if serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok() {
                prop_assert_eq!(unescaped(&json), None);
            }
        }

        #[test]
        fn what_serde_json_writes_is_read(text in "\\PC{0,30}|[\\x00-\\x7f]{0,30}") {
            let json = serde_json::to_string(&text).expect("written");
            prop_assert_eq!(unescaped(&json), Some(text));
        }

        #[test]
        fn anything_is_read_without_a_panic(json in "\"?[\"\\\\udD8cé ]{0,16}\"?", from in 0..20usize, to in 0..20usize) {
            let _ = unescaped(&json);
            let _ = keep_unescaped(&mut json.into_bytes(), from..to);
        }
    }
}
