//! What stands between the two legs of a sign-in, and how a browser keeps it: sealed, in a cookie.
//!
//! Anybody may begin a sign-in. Were it noted in the store, a stranger who begins a million of them would write a million rows, and
//! take turns from the imports; so nothing is written, and any node can finish what another began. It is sealed, not only
//! signed, so that the verifier is read by nobody who sees the cookie and the code; and so that nobody can have a person sent to a
//! place of their choice afterwards. That it is used once is the provider's to see to: a code is good for one exchange.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::LEEWAY_MS;
use super::refusal::{OidcRefusal, Reason};
use crate::tenant::Secret;

/// How long a sign-in may take: the life of the cookie.
pub const PENDING_MS_MAX: i64 = 10 * 60_000;

/// The console's first page.
const FIRST_PAGE: &str = "/console";

/// The longest path that is remembered: a cookie has 4096 bytes.
const THEN_BYTES_MAX: usize = 1024;

/// The longest text that is looked at.
const SEALED_BYTES_MAX: usize = 4096;

const NONCE_BYTES: usize = 24;

/// What a sealed text of this form is for; another form would have another word.
const PURPOSE: &[u8] = b"oidc-pending-1";

/// A sign-in that was begun in a browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Comes back with the browser: that it was this one which began.
    pub(super) state: Secret,
    /// Comes back in the token: that it was made for this sign-in.
    pub(super) nonce: Secret,
    /// Of PKCE: that who brings the code is who asked for it.
    pub(super) verifier: Secret,
    /// Where to go afterwards.
    pub(super) then: String,
    pub(super) begun_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    state: T,
    nonce: T,
    verifier: T,
    then: T,
    begun_ms: i64,
}

impl Pending {
    pub(super) fn new(then: &str, now_ms: i64) -> Result<Pending, OidcRefusal> {
        let then = if is_own_path(then) { then } else { FIRST_PAGE };
        Ok(Pending { state: random()?, nonce: random()?, verifier: random()?, then: then.to_owned(), begun_ms: now_ms })
    }

    pub(super) fn check_age(&self, now_ms: i64) -> Result<(), OidcRefusal> {
        let age_ms = now_ms.saturating_sub(self.begun_ms);
        if (-LEEWAY_MS..=PENDING_MS_MAX).contains(&age_ms) {
            Ok(())
        } else {
            Err(Reason::TooLate.with(format!("the sign-in was begun {} s ago", age_ms / 1_000)))
        }
    }
}

/// 256 bits, in the 43 characters that PKCE asks for at least.
fn random() -> Result<Secret, OidcRefusal> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|fault| Reason::Ours.with(format!("the system gives no random bytes: {fault}")))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Browsers read `//host` and `/\host` as another host's.
fn is_own_path(then: &str) -> bool {
    let mut bytes = then.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && then.len() <= THEN_BYTES_MAX
        && then.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// What seals and opens.
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>) -> Sealer {
        Sealer(XChaCha20Poly1305::new((&**key).into()))
    }

    pub(super) fn seal(&self, pending: &Pending) -> Result<String, OidcRefusal> {
        let Pending { state, nonce, verifier, then, begun_ms } = pending;
        let kept = Kept {
            state: state.expose(),
            nonce: nonce.expose(),
            verifier: verifier.expose(),
            then,
            begun_ms: *begun_ms,
        };
        let ours = |what: String| Reason::Ours.with(what);
        let plain = Zeroizing::new(serde_json::to_vec(&kept).map_err(|fault| ours(fault.to_string()))?);
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|fault| ours(format!("the system gives no random bytes: {fault}")))?;
        let payload = Payload { msg: &plain, aad: PURPOSE };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| ours("sealing failed".to_owned()))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    pub(super) fn open(&self, text: &str) -> Option<Pending> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= SEALED_BYTES_MAX)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: PURPOSE };
        let plain = Zeroizing::new(self.0.decrypt(&XNonce::from(*nonce), payload).ok()?);
        let Kept::<String> { state, nonce, verifier, then, begun_ms } = serde_json::from_slice(&plain).ok()?;
        let (state, nonce, verifier) = (Secret::new(state), Secret::new(nonce), Secret::new(verifier));
        Some(Pending { state, nonce, verifier, then, begun_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Zeroizing::new([byte; 32]))
    }

    #[test]
    fn what_was_sealed_opens_under_the_same_key_only_and_as_a_whole() {
        let pending = Pending::new("/console/imports?day=1", 7).expect("random");
        let text = sealer(1).seal(&pending).expect("sealed");
        assert_eq!(sealer(1).open(&text).as_ref(), Some(&pending));
        assert_ne!(sealer(1).seal(&pending).expect("sealed"), text, "no two are alike");
        assert!(sealer(2).open(&text).is_none());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // Of the last character some bits may be none of the text's; such a spelling is refused as well.
            assert!(sealer(1).open(std::str::from_utf8(&changed).expect("ASCII")).is_none(), "{at}");
            assert!(sealer(1).open(&text[..at]).is_none(), "{at}");
        }
        assert!(sealer(1).open(&"A".repeat(5_000)).is_none());
        assert!(!format!("{pending:?}").contains(pending.verifier.expose()));
        for secret in [&pending.state, &pending.nonce, &pending.verifier] {
            assert_eq!(secret.expose().len(), 43);
        }
    }

    #[test]
    fn the_longest_fits_into_a_cookie() {
        let longest = format!("/{}", "a".repeat(THEN_BYTES_MAX - 1));
        let pending = Pending::new(&longest, i64::MAX).expect("random");
        assert_eq!(pending.then, longest);
        assert!(sealer(1).seal(&pending).expect("sealed").len() < 2_500);
    }

    #[test]
    fn nobody_is_sent_to_another_host() {
        for own in ["/", "/console", "/console/imports?state=failed&day=2026-01-01#x"] {
            assert_eq!(Pending::new(own, 0).expect("random").then, own);
        }
        let longer = format!("/{}", "a".repeat(THEN_BYTES_MAX));
        for other in [
            "",
            "console",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "https://evil.example",
            "/a\r\nb",
            "/ä",
            &longer,
        ] {
            assert_eq!(Pending::new(other, 0).expect("random").then, FIRST_PAGE, "{other}");
        }
    }

    #[test]
    fn a_sign_in_is_over_after_a_while() {
        let pending = Pending::new("/", 1_000_000).expect("random");
        for (now_ms, holds) in
            [(1_000_000, true), (1_600_000, true), (1_600_001, false), (940_000, true), (939_999, false)]
        {
            assert_eq!(pending.check_age(now_ms).is_ok(), holds, "{now_ms}");
        }
        assert!(pending.check_age(i64::MAX).is_err() && pending.check_age(i64::MIN).is_err());
    }
}
