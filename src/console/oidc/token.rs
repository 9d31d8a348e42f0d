//! The token that says who somebody is: taken apart, verified, and held against what was asked (OpenID Connect Core 1.0, 3.1.3.7).
//! Without a clock, and without the network.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use subtle::ConstantTimeEq;

use super::LEEWAY_MS;
use super::jwk::{Algorithm, Keys};
use super::refusal::as_word;
use crate::tenant::Secret;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The longest `sub`, as the specification has it.
const SUBJECT_BYTES_MAX: usize = 255;

/// A token that was taken apart. Nothing that it says is known before a key has verified it.
pub(super) struct IdToken<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    /// What is signed.
    message: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a token is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NotVerified {
    /// There is no such key; there may be by now.
    UnknownKey(Algorithm),
    /// Its key did not make the signature.
    Forged,
    /// It is signed, and says something that cannot be read.
    Unreadable,
}

impl fmt::Display for NotVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotVerified::UnknownKey(algorithm) => {
                write!(f, "the provider has no key for the token's signature ({})", algorithm.name())
            }
            NotVerified::Forged => f.write_str("the token's signature does not hold"),
            NotVerified::Unreadable => f.write_str("the token lacks a claim, or one is not of its kind"),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// What a verified token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: Number,
    iat: Number,
    nbf: Option<Number>,
    nonce: Option<String>,
    at_hash: Option<String>,
    email: Option<String>,
    #[serde(default, deserialize_with = "truth")]
    email_verified: Option<bool>,
    preferred_username: Option<String>,
}

/// What a provider tells about a person, in the token or beside it.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) sub: String,
    pub(super) email: Option<String>,
    #[serde(default, deserialize_with = "truth")]
    pub(super) email_verified: Option<bool>,
    pub(super) preferred_username: Option<String>,
}

impl Claims {
    /// Whom it is about.
    pub(super) fn person(self) -> Person {
        let Claims { sub, email, email_verified, preferred_username, .. } = self;
        Person { sub, email, email_verified, preferred_username }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// When the sign-in was begun.
    pub(super) begun_ms: i64,
    pub(super) now_ms: i64,
}

impl<'a> IdToken<'a> {
    /// Takes a token apart; the sentence says why that does not go.
    pub(super) fn parse(text: &'a str) -> Result<IdToken<'a>, String> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(format!("the token has {} bytes; at most {TOKEN_BYTES_MAX}", text.len()));
        }
        let no_token = || "the token is not of three parts in base64url".to_owned();
        let (message, signature) = text.rsplit_once('.').ok_or_else(no_token)?;
        let (header, payload) = message.split_once('.').ok_or_else(no_token)?;
        // An encrypted one has five parts: of those, the next line refuses the dots.
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| no_token());
        let (header, payload, signature) = (decoded(header)?, decoded(payload)?, decoded(signature)?);
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| "the token's header is not JSON with 'alg'".to_owned())?;
        let Header { alg, kid, typ, crit } = header;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == alg).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            format!("the token is signed with '{}'; it must be with one of {known}", as_word(&alg))
        })?;
        // Others that a provider signs, of access or of signing out, are no answer to who somebody is.
        if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
            return Err("the token's 'typ' is not 'JWT'".to_owned());
        }
        if crit.is_some() {
            return Err("the token says that something must be understood ('crit') that is not".to_owned());
        }
        Ok(IdToken { algorithm, key_id: kid, message, payload, signature })
    }

    /// What it says, if one of these keys says so.
    pub(super) fn verify(&self, keys: &Keys) -> Result<Claims, NotVerified> {
        match keys.made(self.algorithm, self.key_id.as_deref(), self.message.as_bytes(), &self.signature) {
            None => Err(NotVerified::UnknownKey(self.algorithm)),
            // Whoever does not name their keys may have changed them without a sign.
            Some(false) if self.key_id.is_none() => Err(NotVerified::UnknownKey(self.algorithm)),
            Some(false) => Err(NotVerified::Forged),
            Some(true) => serde_json::from_slice(&self.payload).map_err(|_| NotVerified::Unreadable),
        }
    }

    /// That the token of access beside it is the one that was made with it, where it says so.
    pub(super) fn check_access_token(&self, claims: &Claims, access: Option<&Secret>) -> Result<(), String> {
        let (Some(told), Some(access)) = (&claims.at_hash, access) else { return Ok(()) };
        let digest = digest::digest(self.algorithm.digest(), access.expose().as_bytes());
        let half = digest.as_ref().split_at(digest.as_ref().len() / 2).0;
        if *told == URL_SAFE_NO_PAD.encode(half) {
            Ok(())
        } else {
            Err("the token of access is another than the one that belongs to the token ('at_hash')".to_owned())
        }
    }
}

impl Expected<'_> {
    /// The steps of the specification, in its order.
    pub(super) fn check(&self, claims: &Claims) -> Result<(), String> {
        if claims.iss != self.issuer {
            return Err("the token is from another issuer ('iss')".to_owned());
        }
        // It may be for others too only if they are trusted, and here nobody else is.
        let is_ours = match &claims.aud {
            Audience::One(audience) => audience == self.client_id,
            Audience::Many(audiences) => !audiences.is_empty() && audiences.iter().all(|one| one == self.client_id),
        };
        if !is_ours {
            return Err("the token is not for this client, or not for it alone ('aud')".to_owned());
        }
        if claims.azp.as_deref().is_some_and(|party| party != self.client_id) {
            return Err("the token was made for another client ('azp')".to_owned());
        }
        let (expires_ms, issued_ms) = (milliseconds("exp", &claims.exp)?, milliseconds("iat", &claims.iat)?);
        let not_before_ms = claims.nbf.as_ref().map(|time| milliseconds("nbf", time)).transpose()?;
        if self.now_ms.saturating_sub(LEEWAY_MS) >= expires_ms {
            return Err("the token has expired ('exp'); if this happens often, one of the clocks is wrong".to_owned());
        }
        let latest_ms = self.now_ms.saturating_add(LEEWAY_MS);
        if issued_ms > latest_ms || not_before_ms.is_some_and(|time_ms| time_ms > latest_ms) {
            return Err("the token is from the future ('iat', 'nbf'); one of the clocks is wrong".to_owned());
        }
        if issued_ms < self.begun_ms.saturating_sub(LEEWAY_MS) {
            return Err(
                "the token is older than the sign-in ('iat'); if this happens often, one of the clocks is wrong"
                    .to_owned(),
            );
        }
        let is_the_nonce =
            claims.nonce.as_ref().is_some_and(|nonce| nonce.as_bytes().ct_eq(self.nonce.as_bytes()).into());
        if !is_the_nonce {
            return Err("the token was made for another sign-in ('nonce')".to_owned());
        }
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
            return Err("the token names nobody ('sub')".to_owned());
        }
        Ok(())
    }
}

/// Seconds since 1970, perhaps with a fraction.
fn milliseconds(name: &str, seconds: &Number) -> Result<i64, String> {
    /// Far beyond any token; so that nothing overflows.
    const SECONDS_MAX: f64 = 1e12;
    let seconds = seconds.as_f64().filter(|seconds| seconds.abs() <= SECONDS_MAX);
    #[expect(clippy::cast_possible_truncation, reason = "it was bounded in the line above")]
    seconds.map(|seconds| (seconds * 1_000.0) as i64).ok_or_else(|| format!("the token's '{name}' is no time"))
}

/// Some providers write it as a text.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        Some(Value::Bool(truth)) => Some(truth),
        Some(Value::String(text)) if text == "true" => Some(true),
        Some(Value::String(text)) if text == "false" => Some(false),
        Some(_) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const CLAIMS: &str = r#"{"iss":"a","sub":"1","aud":["b"],"exp":2000,"iat":1000,"nonce":"c","email_verified":true}"#;

    const EXPECTED: Expected<'_> =
        Expected { issuer: "a", client_id: "b", nonce: "c", begun_ms: 1_000_000, now_ms: 1_001_000 };

    /// A token that holds, and the keys by which it does.
    fn good() -> (String, String) {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("a key");
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", encoded(br#"{"alg":"EdDSA","kid":"1"}"#), encoded(CLAIMS.as_bytes()));
        let token = format!("{message}.{}", encoded(pair.sign(message.as_bytes()).as_ref()));
        let x = encoded(pair.public_key().as_ref());
        (token, format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{x}"}}]}}"#))
    }

    /// All that is done with a token that came in; the claims, if it is believed.
    fn believed(token: &str, keys: &[u8]) -> Option<Claims> {
        let token = IdToken::parse(token).ok()?;
        let claims = token.verify(&Keys::parse(keys)?).ok()?;
        let access = Secret::new("access".to_owned());
        token.check_access_token(&claims, Some(&access)).ok()?;
        EXPECTED.check(&claims).ok().map(|()| claims)
    }

    /// JSON that is nearly, or not at all, what is expected.
    fn json_like() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "alg", "kid", "typ", "iss", "aud", "exp", "iat", "nbf", "sub", "kty", "keys", "x",
        ]);
        let value = prop_oneof![
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            Just("1e400".to_owned()),
            ".{0,9}".prop_map(|text| Value::String(text).to_string()),
            prop::sample::select(Algorithm::ALL.to_vec()).prop_map(|algorithm| format!("{:?}", algorithm.name())),
            Just(r#"["a",1]"#.to_owned()),
            Just("{}".to_owned()),
            Just("null".to_owned()),
        ];
        let members = prop::collection::vec((name, value).prop_map(|(name, value)| format!("{name:?}:{value}")), 0..6);
        prop_oneof![3 => members.prop_map(|members| format!("{{{}}}", members.join(","))), 1 => any::<String>()]
    }

    #[test]
    fn a_good_token_is_believed() {
        let (token, keys) = good();
        assert_eq!(believed(&token, keys.as_bytes()).expect("believed").person().sub, "1");
    }

    proptest! {
        #[test]
        fn no_token_and_no_keys_are_too_strange(token in any::<String>(), keys in any::<Vec<u8>>()) {
            prop_assert!(believed(&token, &keys).is_none());
        }

        #[test]
        fn nor_are_those_that_nearly_fit(header in json_like(), payload in json_like(), keys in json_like(), signature in any::<Vec<u8>>()) {
            let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let token = format!("{}.{}.{}", encoded(header.as_bytes()), encoded(payload.as_bytes()), encoded(&signature));
            let keys = format!(r#"{{"keys":[{keys}]}}"#);
            prop_assert!(believed(&token, keys.as_bytes()).is_none());
            // What a key did sign is read too, whatever it is.
            if let Ok(claims) = serde_json::from_str::<Claims>(&payload) {
                let _ = EXPECTED.check(&claims);
            }
        }

        #[test]
        fn a_token_is_believed_as_it_is_or_not_at_all(at in any::<prop::sample::Index>(), other in any::<char>()) {
            let (token, keys) = good();
            let at = at.index(token.len());
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            prop_assert_eq!(believed(&changed, keys.as_bytes()).is_some(), changed == token);
            prop_assert!(believed(&token[..at], keys.as_bytes()).is_none());
        }

        #[test]
        fn no_time_overflows(exp in any::<f64>(), iat in any::<i64>(), now_ms in any::<i64>(), begun_ms in any::<i64>()) {
            if let Some(exp) = Number::from_f64(exp) {
                let mut claims: Claims = serde_json::from_str(CLAIMS).expect("claims");
                (claims.exp, claims.iat) = (exp, iat.into());
                let _ = Expected { now_ms, begun_ms, ..EXPECTED }.check(&claims);
            }
        }
    }
}
