//! Signed requests: the canonical form, signing it, and verifying it in every spelling that clients use.
//!
//! Server and command line share this room, so that they cannot drift apart. It is pure: no sockets, no store, no clock
//! (`now` is an argument), and it does not know which tokens exist. The rules are section 1 of the wire contract:
//!
//! ```text
//! signature = base64( HMAC-SHA256( secret, lowercase( token \n METHOD \n path \n body \n timestamp ) ) )
//! ```
//!
//! Clients disagree about `lowercase` and about the body's white space, so [`verify`] tries a short, fixed list of
//! [`Form`]s. It never parses a body and prints it again: what is verified is what was sent, less white space at most.
//!
//! ```
//! use roster::signature::sign;
//!
//! let signature = sign("INVENTED_TOKEN", b"INVENTED_SECRET", "GET", "/bogus", b"", "1969-07-20T20:17:00+00:00");
//! assert_eq!(signature, "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=");
//! ```

mod casing;
mod claim;
mod compact;
mod content_digest;

use std::cell::LazyCell;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use simdutf8::basic::from_utf8;

use casing::Casing;
pub use claim::{AUTHORIZATION, Claim, ClaimError, DATE, SCHEME};
pub use content_digest::{CONTENT_DIGEST, print_digest, read_digest};

/// The signature of a request in the canonical form, as padded standard base64 (44 characters).
///
/// `path` is without host and query, `body` the bytes that will be sent (empty for none), and `timestamp` exactly what the
/// header [`DATE`] will say. Lower-casing is the full one of Unicode; a body that is not UTF-8 has no such thing, so there
/// only ASCII letters are lower-cased.
#[must_use]
pub fn sign(token: &str, secret: &[u8], method: &str, path: &str, body: &[u8], timestamp: &str) -> String {
    let lines = Lines { token, method, path, body, timestamp };
    STANDARD.encode(lines.mac(secret, Form::AsSent).finalize().into_bytes())
}

/// Checks a claim's signature against the request that carried it, and says in which [`Form`] the client signed.
///
/// `path` is without host and query. `body_line` is the canonical form's fourth line: the body as sent, or whatever stands
/// in its place. Freshness is another question: [`Claim::clock_off`].
///
/// # Errors
///
/// [`Mismatch`] if no form fits. It tells what the server saw, and nothing that depends on the secret.
pub fn verify(claim: &Claim, secret: &[u8], method: &str, path: &str, body_line: &[u8]) -> Result<Form, Mismatch> {
    let lines = Lines { token: &claim.token, method, path, body: body_line, timestamp: &claim.timestamp };
    // `verify_slice` compares in constant time.
    let fits = |form: &Form| lines.mac(secret, *form).verify_slice(&claim.signature).is_ok();
    let is_text = from_utf8(body_line).is_ok();
    if is_text && fits(&Form::AsSent) {
        // Nearly always: then nobody needs to know in which forms the lines differ.
        return Ok(Form::AsSent);
    }
    lines
        .forms()
        .filter(|form| !is_text || *form != Form::AsSent)
        .find(fits)
        .ok_or_else(|| Mismatch { lines: Box::new(lines.explain()) })
}

/// The five lines of the canonical form, each by digest and length, so that two sides can find the one in which they differ.
///
/// The lines are in their signed order, lower-cased fully, the body as sent. Nothing here depends on a secret.
#[must_use]
pub fn explain(token: &str, method: &str, path: &str, body: &[u8], timestamp: &str) -> [Line; 5] {
    Lines { token, method, path, body, timestamp }.explain()
}

/// The five lines of the canonical form, lower-cased, as text: for people who compare them with what they have signed. Joined by line feeds they
/// are the string that is signed.
#[must_use]
pub fn canonical(token: &str, method: &str, path: &str, body: &str, timestamp: &str) -> [String; 5] {
    [token, method, path, body, timestamp].map(|line| {
        let mut text = String::with_capacity(line.len());
        // What is lower-cased from text is text.
        Casing::Full.lower(line.as_bytes(), &mut |lowered| text.push_str(&String::from_utf8_lossy(lowered)));
        text
    })
}

/// How a client spelled what it signed: the closed list of what is accepted, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The canonical form: full lower-casing, with Unicode's final-sigma rule (Python, Java).
    AsSent,
    /// Full lower-casing that takes each character by itself, so that every capital sigma becomes `σ` (Ruby, .NET).
    AsSentPlainSigma,
    /// Only `A` to `Z` lower-cased (`tr`).
    AsSentAscii,
    /// As [`Form::AsSent`], over the JSON without its insignificant white space.
    Stripped,
    /// As [`Form::AsSentPlainSigma`], over the JSON without its insignificant white space.
    StrippedPlainSigma,
    /// As [`Form::AsSentAscii`], over the JSON without its insignificant white space.
    StrippedAscii,
}

impl Form {
    /// Cheapest and most usual first.
    const ALL: [Self; 6] = [
        Self::AsSent,
        Self::AsSentPlainSigma,
        Self::AsSentAscii,
        Self::Stripped,
        Self::StrippedPlainSigma,
        Self::StrippedAscii,
    ];

    /// A stable word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsSent => "as_sent",
            Self::AsSentPlainSigma => "as_sent_plain_sigma",
            Self::AsSentAscii => "as_sent_ascii",
            Self::Stripped => "stripped",
            Self::StrippedPlainSigma => "stripped_plain_sigma",
            Self::StrippedAscii => "stripped_ascii",
        }
    }

    fn casing(self) -> Casing {
        match self {
            Self::AsSent | Self::Stripped => Casing::Full,
            Self::AsSentPlainSigma | Self::StrippedPlainSigma => Casing::PlainSigma,
            Self::AsSentAscii | Self::StrippedAscii => Casing::Ascii,
        }
    }

    fn is_stripped(self) -> bool {
        match self {
            Self::AsSent | Self::AsSentPlainSigma | Self::AsSentAscii => false,
            Self::Stripped | Self::StrippedPlainSigma | Self::StrippedAscii => true,
        }
    }
}

/// No accepted form of the request fits the signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the request; compare the five signed lines to find the one that differs")]
pub struct Mismatch {
    /// The five lines as the server saw them (see [`explain`]).
    pub lines: Box<[Line; 5]>,
}

/// One line of the canonical form, as evidence: its digest and length, not its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `token`, `method`, `path`, `body` or `timestamp`.
    pub name: &'static str,
    /// SHA-256 of the lower-cased line, as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Length of the lower-cased line in bytes (lower-casing can change it).
    pub bytes: usize,
}

/// What is signed, before it is lower-cased.
struct Lines<'a> {
    token: &'a str,
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
    timestamp: &'a str,
}

impl<'a> Lines<'a> {
    fn named(&self) -> [(&'static str, &'a [u8]); 5] {
        [
            ("token", self.token.as_bytes()),
            ("method", self.method.as_bytes()),
            ("path", self.path.as_bytes()),
            ("body", self.body),
            ("timestamp", self.timestamp.as_bytes()),
        ]
    }

    /// The forms that differ from each other for these lines.
    fn forms(&self) -> impl Iterator<Item = Form> {
        let casings = casing::distinct(self.named().map(|(_, line)| line));
        let strips = LazyCell::new(|| compact::changes(self.body));
        Form::ALL.into_iter().filter(move |form| casings.contains(&form.casing()) && (!form.is_stripped() || *strips))
    }

    /// The lines are lower-cased one by one, which is the same as all together: a line end is neither a letter nor ignored
    /// by the final-sigma rule.
    fn mac(&self, secret: &[u8], form: Form) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        for (name, line) in self.named() {
            if name != "token" {
                mac.update(b"\n");
            }
            let mut sink = |lowered: &[u8]| mac.update(lowered);
            if name == "body" && form.is_stripped() {
                compact::runs(line).for_each(|run| form.casing().lower(run, &mut sink));
            } else {
                form.casing().lower(line, &mut sink);
            }
        }
        mac
    }

    fn explain(&self) -> [Line; 5] {
        self.named().map(|(name, line)| {
            let mut digest = Sha256::new();
            let mut bytes = 0;
            Casing::Full.lower(line, &mut |lowered| {
                digest.update(lowered);
                bytes += lowered.len();
            });
            Line { name, sha256: hex(&digest.finalize()), bytes }
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
