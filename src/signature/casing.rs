//! Lower-casing in the ways that clients do it, piece by piece into a sink, so that a body of many megabytes is never
//! copied whole.
//!
//! This is for signatures only. It is no case folding, and nothing that decides whether two names are equal.

use memchr::memchr3;
use simdutf8::basic::from_utf8;

/// How much is lower-cased at a time, in bytes.
const CHUNK_BYTES: usize = 8 * 1024;

const CAPITAL_SIGMA: &str = "Σ";

/// Which letters are lower-cased, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Casing {
    /// All of Unicode, where a capital sigma at the end of a word becomes `ς`.
    Full,
    /// All of Unicode, each character by itself: every capital sigma becomes `σ`.
    PlainSigma,
    /// `A` to `Z`.
    Ascii,
}

impl Casing {
    /// Gives the sink the lower-cased text, in pieces. Text that is not UTF-8 has just its ASCII letters lower-cased.
    pub(super) fn lower(self, text: &[u8], sink: &mut impl FnMut(&[u8])) {
        if self == Self::Ascii || text.is_ascii() {
            return ascii(text, sink);
        }
        match (from_utf8(text), self) {
            (Err(_), _) | (_, Self::Ascii) => ascii(text, sink),
            (Ok(text), Self::PlainSigma) => plain_sigma(text, sink),
            (Ok(text), Self::Full) => full(text, sink),
        }
    }
}

/// The casings that can give different results for these lines, in the order in which they are to be tried.
pub(super) fn distinct<const N: usize>(lines: [&[u8]; N]) -> &'static [Casing] {
    if lines.iter().all(|line| line.is_ascii()) {
        return &[Casing::Full];
    }
    // A line that is not UTF-8 has just its ASCII letters lower-cased, in each casing; the others may differ all the same.
    let texts: Vec<&str> = lines.iter().filter_map(|line| from_utf8(line).ok()).collect();
    if texts.iter().any(|text| text.contains(CAPITAL_SIGMA)) {
        &[Casing::Full, Casing::PlainSigma, Casing::Ascii]
    } else if texts.iter().any(|text| has_capital_beyond_ascii(text)) {
        &[Casing::Full, Casing::Ascii]
    } else if texts.len() < N {
        &[Casing::Ascii]
    } else {
        &[Casing::Full]
    }
}

fn has_capital_beyond_ascii(text: &str) -> bool {
    text.chars().any(|letter| !letter.is_ascii() && !letter.to_lowercase().eq([letter]))
}

fn ascii(text: &[u8], sink: &mut impl FnMut(&[u8])) {
    let mut buffer = [0; CHUNK_BYTES];
    for chunk in text.chunks(CHUNK_BYTES) {
        let lowered = &mut buffer[..chunk.len()];
        lowered.copy_from_slice(chunk);
        lowered.make_ascii_lowercase();
        sink(lowered);
    }
}

fn plain_sigma(text: &str, sink: &mut impl FnMut(&[u8])) {
    let mut rest = text;
    let mut lowered = String::new();
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
        rest = tail;
        if chunk.is_ascii() {
            ascii(chunk.as_bytes(), sink);
        } else {
            lowered.clear();
            push_lowered(chunk, &mut lowered);
            sink(lowered.as_bytes());
        }
    }
}

/// `char::to_lowercase` alone would do, but in text with a few accents it takes several times as long.
fn push_lowered(text: &str, lowered: &mut String) {
    let (mut copied, mut at) = (0, 0);
    while let Some((place, letter)) = next_beyond_ascii(text, at) {
        at = place + letter.len_utf8();
        // Most are small letters already, and are copied with what stands around them.
        if !letter.to_lowercase().eq([letter]) {
            push_ascii_lowered(&text[copied..place], lowered);
            lowered.extend(letter.to_lowercase());
            copied = at;
        }
    }
    push_ascii_lowered(&text[copied..], lowered);
}

/// Letters beyond ASCII stay as they are.
fn push_ascii_lowered(text: &str, lowered: &mut String) {
    let start = lowered.len();
    lowered.push_str(text);
    lowered[start..].make_ascii_lowercase();
}

/// The next letter beyond ASCII from a place on, and where it is.
fn next_beyond_ascii(text: &str, from: usize) -> Option<(usize, char)> {
    const STEP: usize = 32;
    let bytes = &text.as_bytes()[from..];
    // In steps, because a whole one is looked at in one go.
    let steps = bytes.as_chunks::<STEP>().0.iter().take_while(|step| step.is_ascii()).count() * STEP;
    let place = from + steps + bytes[steps..].iter().position(|byte| !byte.is_ascii())?;
    Some((place, text[place..].chars().next()?))
}

/// Only a sigma is lower-cased by what stands around it, so all other text takes the way that is blind to context.
fn full(text: &str, sink: &mut impl FnMut(&[u8])) {
    if !text.contains(CAPITAL_SIGMA) {
        return plain_sigma(text, sink);
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(word_boundary(rest));
        rest = tail;
        if piece.contains(CAPITAL_SIGMA) {
            sink(piece.to_lowercase().as_bytes());
        } else {
            plain_sigma(piece, sink);
        }
    }
}

/// A place, past the first chunk if there is one, where the final-sigma rule does not look across. A blank, a comma and a
/// double quote are neither Cased nor `Case_Ignorable` (Unicode 3.13, `Final_Sigma`), while `.`, `:` and `'` are ignorable.
fn word_boundary(text: &str) -> usize {
    text.as_bytes()
        .get(CHUNK_BYTES..)
        .and_then(|beyond| memchr3(b' ', b',', b'"', beyond))
        .map_or(text.len(), |place| CHUNK_BYTES + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lowered(casing: Casing, text: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        casing.lower(text, &mut |piece| all.extend_from_slice(piece));
        all
    }

    #[test]
    fn each_casing_by_example() {
        for (casing, text, expected) in [
            (Casing::Full, "JOSÉ ΟΔΥΣΣΕΥΣ İZMIR", "josé οδυσσευς i\u{307}zmir"),
            (Casing::PlainSigma, "JOSÉ ΟΔΥΣΣΕΥΣ İZMIR", "josé οδυσσευσ i\u{307}zmir"),
            (Casing::Ascii, "JOSÉ ΟΔΥΣΣΕΥΣ İZMIR", "josÉ ΟΔΥΣΣΕΥΣ İzmir"),
            (Casing::Full, "", ""),
        ] {
            assert_eq!(lowered(casing, text.as_bytes()), expected.as_bytes(), "{casing:?} of {text}");
        }
        for casing in [Casing::Full, Casing::PlainSigma, Casing::Ascii] {
            assert_eq!(lowered(casing, b"A\xFF\xC3"), b"a\xFF\xC3", "not UTF-8, {casing:?}");
        }
    }

    #[test]
    fn only_casings_that_differ_are_tried() {
        use Casing::{Ascii, Full, PlainSigma};
        for (text, expected) in [
            (&b"PLAIN"[..], &[Full][..]),
            ("josé".as_bytes(), &[Full]),
            ("JOSÉ".as_bytes(), &[Full, Ascii]),
            ("ΑΣ".as_bytes(), &[Full, PlainSigma, Ascii]),
            (b"\xFF\xC3\x89", &[Ascii]),
        ] {
            assert_eq!(distinct([b"", text, b"X"]), expected, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(distinct(["JOSÉ".as_bytes(), b"\xFF"]), [Full, Ascii], "beside a line that is not UTF-8");
    }

    /// Text with what the final-sigma rule looks at, long enough to be cut many times.
    fn long_text() -> impl Strategy<Value = String> {
        let snippet = prop_oneof![
            prop::sample::select(vec![
                "Σ", "ΑΣ", "Σα", " ", ",", "\"", "'", ".", ":", "\u{301}", "\u{AD}", "İ", "ẞ", "𐐀", "\n", "Aé"
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
            (prop::sample::select(vec!["x", "É", "Σ", " "]), 0..9_000usize)
                .prop_map(|(text, count)| text.repeat(count)),
        ];
        prop::collection::vec(snippet, 0..60).prop_map(|snippets| snippets.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn piecewise_is_the_same_as_whole(text in long_text()) {
            prop_assert_eq!(lowered(Casing::Full, text.as_bytes()), text.to_lowercase().into_bytes());
            let by_character: String = text.chars().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(lowered(Casing::PlainSigma, text.as_bytes()), by_character.into_bytes());
            prop_assert_eq!(lowered(Casing::Ascii, text.as_bytes()), text.to_ascii_lowercase().into_bytes());
        }
    }
}
