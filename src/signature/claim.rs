//! The two headers of a signed request: what a client claims, read as leniently as clients are various, and checked against
//! the clock.
//!
//! Nothing here knows whether the claim is true; that is [`verify`](super::verify). Errors never repeat a header's value,
//! because people paste secrets into the wrong place.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// The header that holds the token and the signature.
pub const AUTHORIZATION: &str = "Authorization";
/// The header that holds the signed timestamp.
pub const DATE: &str = "SignalVine-Date";
/// The scheme's word in [`AUTHORIZATION`] (read without regard to case) and in `WWW-Authenticate`.
pub const SCHEME: &str = "SignalVine";

const AUTHORIZATION_SHAPE: &str = "`SignalVine <token>:<signature>`, the signature being base64 of the HMAC-SHA256";
const DATE_SHAPE: &str = "an ISO 8601 date and time such as 2026-11-23T12:00:00Z";

/// Some encoders leave rubbish in the last character's spare bits; the 256 bits that count are the same.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// What the headers of a request claim. Its existence says that they are well formed, not that they are true.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// Opaque text, as spelled in the header, without blanks around it.
    pub token: String,
    /// HMAC-SHA256, decoded. However it was spelled, the same signature is the same bytes.
    pub signature: [u8; 32],
    /// Exactly as the header spells it, without blanks around it: this text is signed.
    pub timestamp: String,
    /// The instant that `timestamp` names.
    pub signed_at: Timestamp,
}

/// Without the signature: an accepted one is a key to its request's answer, so it belongs in no log.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("token", &self.token)
            .field("timestamp", &self.timestamp)
            .field("signed_at", &self.signed_at)
            .finish_non_exhaustive()
    }
}

/// Why the headers hold no [`Claim`]. Made of fixed texts only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A header is not there, or blank.
    #[error("the header {header} is missing; send {right}")]
    Missing {
        /// [`AUTHORIZATION`] or [`DATE`].
        header: &'static str,
        /// What would be right.
        right: &'static str,
    },
    /// A header's value cannot be read.
    #[error("the header {header} {wrong}; send {right}")]
    Malformed {
        /// [`AUTHORIZATION`] or [`DATE`].
        header: &'static str,
        /// What is wrong with its value, to be read after the header's name.
        wrong: &'static str,
        /// What would be right.
        right: &'static str,
    },
}

impl Claim {
    /// Reads the values of the headers [`AUTHORIZATION`] and [`DATE`], where the request has them.
    ///
    /// # Errors
    ///
    /// [`ClaimError`], for the first header that is missing or cannot be read.
    pub fn from_headers(authorization: Option<&[u8]>, date: Option<&[u8]>) -> Result<Self, ClaimError> {
        let (token, signature) = read_authorization(authorization.unwrap_or_default())?;
        let (timestamp, signed_at) = read_date(date.unwrap_or_default())?;
        Ok(Self { token: token.to_owned(), signature, timestamp: timestamp.to_owned(), signed_at })
    }

    /// How far the claim's timestamp lies from `now`, in seconds, if that is more than the window allows; a timestamp
    /// exactly at the window's edge is allowed.
    ///
    /// Positive: the client's clock is ahead. Part of a second counts as a whole one, so that the number is never within
    /// the window that it is outside of.
    #[must_use]
    pub fn clock_off(&self, now: Timestamp, window: SignedDuration) -> Option<i64> {
        let off = self.signed_at.duration_since(now);
        (off.abs() > window).then(|| off.as_secs() + i64::from(off.subsec_nanos().signum()))
    }
}

fn read_authorization(value: &[u8]) -> Result<(&str, [u8; 32]), ClaimError> {
    let malformed = |wrong| ClaimError::Malformed { header: AUTHORIZATION, wrong, right: AUTHORIZATION_SHAPE };
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(ClaimError::Missing { header: AUTHORIZATION, right: AUTHORIZATION_SHAPE });
    }
    let value = str::from_utf8(value).map_err(|_| malformed("is not UTF-8"))?;
    let (scheme, credentials) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(malformed("does not begin with the word SignalVine and a blank"));
    }
    // A token is opaque and may hold a colon; base64 cannot.
    let (token, signature) = credentials.rsplit_once(':').ok_or_else(|| malformed("has no colon after the token"))?;
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err(malformed("has no token before the colon"));
    }
    // A line end in the token would make one canonical form stand for two requests.
    if token.chars().any(char::is_control) {
        return Err(malformed("has a control character in the token"));
    }
    Ok((token, read_signature(signature).map_err(malformed)?))
}

/// Either alphabet, with or without padding.
fn read_signature(text: &str) -> Result<[u8; 32], &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err("has no signature after the colon");
    }
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("has a signature in hexadecimal");
    }
    let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let bytes = LENIENT_BASE64.decode(standard).map_err(|_| "has a signature that is not base64")?;
    bytes.try_into().map_err(|_| "has a signature that is not 32 bytes long when decoded")
}

fn read_date(value: &[u8]) -> Result<(&str, Timestamp), ClaimError> {
    let malformed = |wrong| ClaimError::Malformed { header: DATE, wrong, right: DATE_SHAPE };
    // Blanks around a value are no part of it (RFC 9110, section 5.5).
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(ClaimError::Missing { header: DATE, right: DATE_SHAPE });
    }
    let text = str::from_utf8(value).map_err(|_| malformed("is not UTF-8"))?;
    Ok((text, read_instant(text).map_err(malformed)?))
}

/// Without an offset the time is UTC. A zone's name in brackets (Java prints one) is taken only beside an offset, which
/// decides; by itself it would name another instant than UTC does.
fn read_instant(text: &str) -> Result<Timestamp, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is only digits, not a date and time");
    }
    let pieces = Pieces::parse(text).map_err(|_| "is not a date and time in ISO 8601")?;
    let time = pieces.time().ok_or("has a date but no time of day")?;
    if pieces.offset().is_none() && pieces.time_zone_annotation().is_some() {
        return Err("names a time zone but no offset");
    }
    pieces
        .to_numeric_offset()
        .unwrap_or(Offset::UTC)
        .to_timestamp(DateTime::from_parts(pieces.date(), time))
        .map_err(|_| "is too far from the present")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    const SIGNATURE: &str = "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=";
    const NOON: &str = "2026-11-23T12:00:00Z";

    fn claim(authorization: &str, date: &str) -> Result<Claim, ClaimError> {
        Claim::from_headers(Some(authorization.as_bytes()), Some(date.as_bytes()))
    }

    fn dated(date: &str) -> Result<Claim, ClaimError> {
        claim(&format!("SignalVine token:{SIGNATURE}"), date)
    }

    fn wrong(result: Result<Claim, ClaimError>) -> (&'static str, &'static str) {
        match result.unwrap_err() {
            ClaimError::Missing { header, .. } => (header, "missing"),
            ClaimError::Malformed { header, wrong, .. } => (header, wrong),
        }
    }

    #[test]
    fn scheme_and_token() {
        for (authorization, token) in [
            ("SignalVine abc:<sig>", "abc"),
            ("signalvine abc:<sig>", "abc"),
            ("SIGNALVINE \t abc:<sig>", "abc"),
            ("  SignalVine abc : <sig> ", "abc"),
            ("SignalVine a:b::c:<sig>", "a:b::c"),
            ("SignalVine two words:<sig>", "two words"),
            ("SignalVine jeton-É:<sig>", "jeton-É"),
        ] {
            let claim = claim(&authorization.replace("<sig>", SIGNATURE), NOON).unwrap();
            assert_eq!(claim.token, token, "{authorization}");
        }
    }

    #[test]
    fn base64_in_every_spelling() {
        let expected = dated(NOON).unwrap().signature;
        assert_eq!(expected[..4], [0x3F, 0x57, 0xF4, 0xBA]);
        for signature in [
            SIGNATURE.trim_end_matches('='),
            "P1f0up2G0I6tJG4D3nRed_IlvvT2tqEQqbqEPXNQXDo=",
            "P1f0up2G0I6tJG4D3nRed_IlvvT2tqEQqbqEPXNQXDo",
            "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=\n",
            " P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo \r\n",
            "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo==",
            "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDr=",
        ] {
            assert_eq!(
                claim(&format!("SignalVine token:{signature}"), NOON).unwrap().signature,
                expected,
                "{signature:?}"
            );
        }
    }

    #[test]
    fn authorization_refused() {
        for (authorization, expected) in [
            ("", "missing"),
            ("  \t", "missing"),
            ("Bearer abc", "does not begin with the word SignalVine and a blank"),
            ("SignalVineabc:SIG", "does not begin with the word SignalVine and a blank"),
            ("abc:SIG", "does not begin with the word SignalVine and a blank"),
            ("SignalVine", "has no colon after the token"),
            ("SignalVine abc", "has no colon after the token"),
            ("SignalVine :SIG", "has no token before the colon"),
            ("SignalVine a\nGET:SIG", "has a control character in the token"),
            ("SignalVine abc:", "has no signature after the colon"),
            ("SignalVine abc: \n", "has no signature after the colon"),
            ("SignalVine abc:!!!!", "has a signature that is not base64"),
            ("SignalVine abc:P1f0 up2G", "has a signature that is not base64"),
            ("SignalVine abc:AAAA", "has a signature that is not 32 bytes long when decoded"),
            ("SignalVine abc:=", "has a signature that is not 32 bytes long when decoded"),
            ("SignalVine abc:SIGAAAA", "has a signature that is not base64"),
        ] {
            let result = claim(&authorization.replace("SIG", SIGNATURE), NOON);
            assert_eq!(wrong(result), (AUTHORIZATION, expected), "{authorization:?}");
        }
        let hexadecimal = format!("SignalVine abc:{}", "3f57f4ba".repeat(8));
        assert_eq!(wrong(claim(&hexadecimal, NOON)), (AUTHORIZATION, "has a signature in hexadecimal"));
        let not_utf8 = Claim::from_headers(Some(b"SignalVine \xFF:AAAA"), Some(NOON.as_bytes()));
        assert_eq!(wrong(not_utf8), (AUTHORIZATION, "is not UTF-8"));
        assert_eq!(wrong(Claim::from_headers(None, None)), (AUTHORIZATION, "missing"));
    }

    #[test]
    fn timestamps_in_every_shape() {
        for (date, expected) in [
            ("2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00.123456+00:00", "2026-11-23T12:00:00.123456Z"),
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00.1234567Z", "2026-11-23T12:00:00.1234567Z"),
            ("2026-11-23T12:00:00.123456789Z", "2026-11-23T12:00:00.123456789Z"),
            ("2026-11-23t12:00:00z", "2026-11-23T12:00:00Z"),
            ("2026-11-23 12:00:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23 12:00:00 ", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00+0000", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00-0500", "2026-11-23T17:00:00Z"),
            ("2026-11-23T12:00:00-05:00", "2026-11-23T17:00:00Z"),
            ("2026-11-23T12:00:00+05", "2026-11-23T07:00:00Z"),
            ("2026-11-23T12:00:00-00:00", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00.5", "2026-11-23T12:00:00.5Z"),
            ("2026-11-23T12:00Z", "2026-11-23T12:00:00Z"),
            ("20261123T120000Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00Z[UTC]", "2026-11-23T12:00:00Z"),
            ("2026-11-23T07:00-05:00[America/New_York]", "2026-11-23T12:00:00Z"),
            ("2026-12-31T23:59:60Z", "2026-12-31T23:59:59Z"),
        ] {
            let claim = dated(date).unwrap_or_else(|error| panic!("{date}: {error}"));
            assert_eq!(claim.signed_at.to_string(), expected, "{date}");
            assert_eq!(claim.timestamp, date.trim(), "spelled as the header spells it");
        }
    }

    #[test]
    fn timestamps_refused() {
        for (date, expected) in [
            ("", "missing"),
            (" ", "missing"),
            ("1763899200", "is only digits, not a date and time"),
            ("2026-11-23", "has a date but no time of day"),
            ("2026-11-23T", "is not a date and time in ISO 8601"),
            ("Mon, 23 Nov 2026 12:00:00 GMT", "is not a date and time in ISO 8601"),
            ("2026-13-01T12:00:00Z", "is not a date and time in ISO 8601"),
            ("2026-02-29T12:00:00Z", "is not a date and time in ISO 8601"),
            ("2026-11-23T24:00:01Z", "is not a date and time in ISO 8601"),
            ("2026-11-23T12:00:00.1234567890Z", "is not a date and time in ISO 8601"),
            ("2026-11-23T12:00:00Zjunk", "is not a date and time in ISO 8601"),
            ("2026-11-23T12:00:00[America/New_York]", "names a time zone but no offset"),
            ("9999-12-31T23:59:59-10:00", "is too far from the present"),
            ("-009999-01-01T00:00:00+20:00", "is too far from the present"),
        ] {
            assert_eq!(wrong(dated(date)), (DATE, expected), "{date:?}");
        }
        let authorization = format!("SignalVine token:{SIGNATURE}");
        assert_eq!(wrong(Claim::from_headers(Some(authorization.as_bytes()), None)), (DATE, "missing"));
        assert_eq!(wrong(Claim::from_headers(Some(authorization.as_bytes()), Some(b"\xFF"))), (DATE, "is not UTF-8"));
    }

    #[test]
    fn the_clock_may_be_off_by_exactly_the_window() {
        let now: Timestamp = NOON.parse().unwrap();
        let window = SignedDuration::from_mins(15);
        for (date, expected) in [
            ("2026-11-23T12:00:00Z", None),
            ("2026-11-23T12:15:00Z", None),
            ("2026-11-23T11:45:00Z", None),
            ("2026-11-23T12:15:00.000000001Z", Some(901)),
            ("2026-11-23T11:44:59.999Z", Some(-901)),
            ("2026-11-23T12:15:01Z", Some(901)),
            ("2026-11-23T11:00:00", Some(-3600)),
            ("9999-12-30T00:00:00Z", Some(251_606_692_800)),
        ] {
            assert_eq!(dated(date).unwrap().clock_off(now, window), expected, "{date}");
        }
    }

    #[test]
    fn absurd_clocks_do_not_overflow() {
        let at = |signed_at| Claim { signed_at, ..dated(NOON).unwrap() };
        let all_of_time = Timestamp::MAX.as_second() - Timestamp::MIN.as_second();
        let (first, last) = (at(Timestamp::MIN), at(Timestamp::MAX));
        assert_eq!(last.clock_off(Timestamp::MIN, SignedDuration::ZERO), Some(all_of_time + 1));
        assert_eq!(first.clock_off(Timestamp::MAX, SignedDuration::ZERO), Some(-all_of_time - 1));
        assert_eq!(first.clock_off(Timestamp::MAX, SignedDuration::MAX), None);
        assert_eq!(first.clock_off(Timestamp::MIN, SignedDuration::ZERO), None);
        assert!(first.clock_off(Timestamp::MIN, SignedDuration::MIN).is_some());
    }

    #[test]
    fn errors_and_logs_repeat_no_secret() {
        let pasted = claim("SignalVine my-secret-in-the-wrong-place", NOON).unwrap_err();
        assert!(!pasted.to_string().contains("my-secret"));
        assert_eq!(
            pasted.to_string(),
            "the header Authorization has no colon after the token; send `SignalVine <token>:<signature>`, the signature \
             being base64 of the HMAC-SHA256"
        );
        let shown = format!("{:?}", dated(NOON).unwrap());
        assert!(shown.contains("token") && !shown.contains("signature"), "{shown}");
    }

    proptest! {
        #[test]
        fn arbitrary_headers_do_no_harm(
            authorization in prop::collection::vec(any::<u8>(), 0..100),
            date in prop::collection::vec(any::<u8>(), 0..60),
            date_like in "[-+]?[0-9]{4,6}-?[0-9]{2}-?[0-9]{2}[tT ]?[0-9:]{0,8}[.,]?[0-9]{0,12}[zZ+-]?[0-9:]{0,8}(\\[[A-Za-z/]{0,9}\\])?",
            credentials in "\\PC{0,60}",
        ) {
            let _ = Claim::from_headers(Some(&authorization), Some(&date));
            let _ = claim(&format!("SignalVine {credentials}"), &date_like);
            if let Ok(claim) = dated(&date_like) {
                let _ = claim.clock_off(Timestamp::MIN, SignedDuration::ZERO);
                let _ = claim.clock_off(Timestamp::MAX, SignedDuration::ZERO);
            }
        }
    }
}
