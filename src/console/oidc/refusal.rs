//! Why nobody was signed in: a sentence for the person in front of the browser, and the detail for who looks into the log.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// How many refusals are written into the log in a minute.
const LINES_OF_MINUTE_MAX: u64 = 60;

/// Why nobody was signed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Too many sign in at this moment.
    Busy,
    /// The provider does not answer.
    Unreachable,
    /// The provider answers, but not as it should; or this service is not set up there as it should be.
    ProviderFailed,
    /// More time has gone by since the sign-in was begun than is given.
    TooLate,
    /// The answer is to no question of this browser.
    NotBegunHere,
    /// The person, or the provider for them, said no.
    Declined,
    /// The provider does not take the code, which it takes once, and not for long.
    CodeRefused,
    /// What the provider says cannot be believed.
    NotVerified,
    /// The provider does not say who it is.
    NoName,
    /// The provider does not say that the address of e-mail is this person's.
    EmailNotVerified,
    /// This service failed.
    Ours,
}

/// Why nobody was signed in. Displayed, it is the sentence for the person; it tells nothing of the provider's or of anybody's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OidcRefusal {
    /// Of which kind it is.
    pub reason: Reason,
    detail: String,
}

impl Reason {
    pub(super) fn with(self, detail: impl Into<String>) -> OidcRefusal {
        OidcRefusal { reason: self, detail: detail.into() }
    }

    /// Nobody who runs the service has anything to do about it.
    fn is_everyday(self) -> bool {
        match self {
            Reason::Busy | Reason::TooLate | Reason::NotBegunHere | Reason::Declined | Reason::CodeRefused => true,
            Reason::Unreachable
            | Reason::ProviderFailed
            | Reason::NotVerified
            | Reason::NoName
            | Reason::EmailNotVerified
            | Reason::Ours => false,
        }
    }
}

impl OidcRefusal {
    /// For the operator: without anything secret, and without who it was.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Writes refusals into the log: so many lines a minute, whoever tries. Anybody can be refused as often as they like.
#[derive(Default)]
pub(super) struct Teller(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    number: i64,
    lines: u64,
}

impl Teller {
    pub(super) fn tell(&self, refusal: &OidcRefusal, now_ms: i64) {
        let (is_told, left_out) = self.one_more(now_ms);
        if left_out > 0 {
            tracing::warn!(left_out, "many sign-ins by OpenID Connect were refused; so many were not logged");
        }
        let OidcRefusal { reason, detail } = refusal;
        if !is_told {
            return;
        }
        if reason.is_everyday() {
            tracing::info!(?reason, detail, "a sign-in by OpenID Connect was refused");
        } else {
            tracing::warn!(?reason, detail, "a sign-in by OpenID Connect was refused");
        }
    }

    /// Whether one more is written; and how many were left out before it, where that is to be told.
    fn one_more(&self, now_ms: i64) -> (bool, u64) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now_ms.div_euclid(60_000);
        let mut left_out = 0;
        if minute.number != number {
            left_out = minute.lines.saturating_sub(LINES_OF_MINUTE_MAX);
            *minute = Minute { number, lines: 0 };
        }
        minute.lines += 1;
        (minute.lines <= LINES_OF_MINUTE_MAX, left_out)
    }
}

impl std::error::Error for OidcRefusal {}

impl fmt::Display for OidcRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Busy => "Too many people are signing in at this moment. Try again in a minute.",
            Reason::Unreachable => {
                "The sign-in service of your organisation does not answer just now. Try again in a minute."
            }
            Reason::ProviderFailed => {
                "The sign-in service of your organisation did not answer as it should. Tell who runs this service: the log says \
                 why."
            }
            Reason::TooLate => "The sign-in took too long. Begin it again.",
            Reason::NotBegunHere => "This answer belongs to no sign-in that was begun in this browser. Begin it again.",
            Reason::Declined => "The sign-in was declined. Begin it again, or use another account.",
            Reason::CodeRefused => "This answer was used already, or is too old. Begin the sign-in again.",
            Reason::NotVerified => {
                "The answer of your organisation's sign-in service could not be verified, so nobody was signed in. Begin it \
                 again; if that does not help, tell who runs this service: the log says why."
            }
            Reason::NoName => {
                "Your organisation's sign-in service does not say who you are in the way that is needed here. Tell who runs \
                 this service: the log says why."
            }
            Reason::EmailNotVerified => {
                "Your organisation's sign-in service does not say that your e-mail address is verified. Have it verified there, \
                 and sign in again."
            }
            Reason::Ours => "Something went wrong here, and nobody was signed in. Try again in a minute.",
        })
    }
}

/// The name of an error as a stranger wrote it, fit for a log line.
pub(super) fn as_word(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || "_-.:/".contains(*character);
    text.chars().take(CHARACTERS_MAX).filter(is_plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_few_lines() {
        let teller = Teller::default();
        let told: Vec<_> = (0..100).map(|_| teller.one_more(61_000)).collect();
        assert!(told[..60].iter().all(|told| *told == (true, 0)) && told[60..].iter().all(|told| *told == (false, 0)));
        assert_eq!(teller.one_more(120_000), (true, 40), "what was left out is told once");
        assert_eq!(teller.one_more(120_000), (true, 0));
        assert_eq!(teller.one_more(0), (true, 0), "a clock that was set back");
    }

    #[test]
    fn what_a_stranger_wrote_is_a_word_in_the_log() {
        assert_eq!(as_word("invalid_grant"), "invalid_grant");
        assert_eq!(as_word("a\nb \u{1b}[0m\"é"), "ab0m");
        assert_eq!(as_word(&"a".repeat(1_000)).len(), 64);
    }
}
