//! Strings of JSON, unescaped in one go.
//!
//! `serde_json` brings a string with escapes together in room that doubles as it grows, and that is then copied: for a CSV of megabytes this
//! took longer than everything else about the body.

use std::borrow::Cow;

use memchr::memchr;

/// The text of a JSON string that stands here with its quotes, as `serde_json` has checked it; `None` if it is something else, or has
/// half of a surrogate pair.
pub(super) fn unescaped(json: &str) -> Option<Cow<'_, str>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?;
    let Some(mut escape) = memchr(b'\\', rest.as_bytes()) else { return Some(Cow::Borrowed(rest)) };
    // An escape is never shorter than what it stands for.
    let mut text = String::with_capacity(rest.len());
    loop {
        text.push_str(&rest[..escape]);
        let (letter, after) = unescape(&rest[escape + 1..])?;
        text.push(letter);
        rest = after;
        match memchr(b'\\', rest.as_bytes()) {
            Some(next) => escape = next,
            None => {
                text.push_str(rest);
                return Some(Cow::Owned(text));
            }
        }
    }
}

/// What an escape stands for, and what follows it; `rest` begins behind the backslash.
fn unescape(rest: &str) -> Option<(char, &str)> {
    let letter = match rest.as_bytes().first()? {
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
fn unescape_utf_16(rest: &str) -> Option<(char, &str)> {
    let (unit, after) = unit(rest)?;
    if let Some(letter) = char::from_u32(u32::from(unit)) {
        return Some((letter, after));
    }
    let (low, after) = self::unit(after.strip_prefix('\\')?)?;
    let letter = char::decode_utf16([unit, low]).next()?.ok()?;
    Some((letter, after))
}

fn unit(rest: &str) -> Option<(u16, &str)> {
    let (digits, after) = rest.strip_prefix('u')?.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some((u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_what_serde_json_says(body in "(\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d|\\\\ude00|[a-zé😀]|\\PC){0,12}") {
            let json = format!("\"{body}\"");
            // What is no string of JSON never comes here.
            if let Ok(expected) = serde_json::from_str::<String>(&json) {
                prop_assert_eq!(unescaped(&json).map(Cow::into_owned), Some(expected));
            } else if serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok() {
                prop_assert_eq!(unescaped(&json), None);
            }
        }

        #[test]
        fn what_serde_json_writes_is_read(text in "\\PC{0,30}|[\\x00-\\x7f]{0,30}") {
            let json = serde_json::to_string(&text).expect("written");
            prop_assert_eq!(unescaped(&json).map(Cow::into_owned), Some(text));
        }

        #[test]
        fn anything_is_read_without_a_panic(json in "\"?[\"\\\\udD8cé ]{0,16}\"?") {
            let _ = unescaped(&json);
        }
    }
}
