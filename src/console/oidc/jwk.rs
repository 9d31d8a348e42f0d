//! The keys that a provider signs with (RFC 7517), and whether one of them made a signature (RFC 7518, RFC 8037, RFC 9864).
//!
//! A key says by what it is which algorithms it is for; what the token says must fit. So no public key is ever taken for a secret of
//! HS256, and 'none' is no algorithm at all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;

use super::calls::Calls;
use super::refusal::{OidcRefusal, Reason};

/// How many keys of a provider are looked at.
const KEYS_MAX: usize = 100;

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Ed25519,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 10] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
        Algorithm::Ed25519,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Ed25519 => "Ed25519",
        }
    }

    /// The kind of key that it is made with; there is one for each.
    fn asks_for(self) -> AsksFor {
        match self {
            Algorithm::Rs256 => AsksFor::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => AsksFor::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => AsksFor::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => AsksFor::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => AsksFor::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => AsksFor::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => AsksFor::P256,
            Algorithm::Es384 => AsksFor::P384,
            Algorithm::EdDsa | Algorithm::Ed25519 => AsksFor::Ed25519,
        }
    }

    /// What a digest beside it is made with: that of the signature itself.
    pub(super) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
            Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &digest::SHA384,
            Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa | Algorithm::Ed25519 => &digest::SHA512,
        }
    }
}

/// A kind of key.
enum AsksFor {
    Rsa(&'static signature::RsaParameters),
    P256,
    P384,
    Ed25519,
}

/// The provider's keys that are of use here.
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    only: Option<String>,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Asks the provider.
    pub(super) fn fetch(jwks_uri: &str, calls: &Calls) -> Result<Keys, OidcRefusal> {
        let set: KeySet = calls.get("keys (jwks_uri)", jwks_uri)?;
        let keys = Keys::of(set.keys);
        if keys.0.is_empty() {
            return Err(Reason::ProviderFailed.with("among the provider's keys is none that is of use here"));
        }
        Ok(keys)
    }

    /// A key of a kind that is not known, or that is not for signatures, is nobody's trouble.
    fn of(keys: Vec<Value>) -> Keys {
        let keys = keys.into_iter().take(KEYS_MAX);
        Keys(keys.filter_map(|key| Key::of(serde_json::from_value(key).ok()?)).collect())
    }

    #[cfg(test)]
    pub(super) fn parse(text: &[u8]) -> Option<Keys> {
        serde_json::from_slice(text).ok().map(|set: KeySet| Keys::of(set.keys))
    }

    /// Whether a signature is one of theirs; `None` where no key is the one that it names.
    pub(super) fn made(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let named = self.0.iter().filter(is_named);
        let mut verdicts = named.filter_map(|key| key.made(algorithm, message, signature)).peekable();
        verdicts.peek()?;
        Some(verdicts.any(|made| made))
    }
}

impl Key {
    fn of(written: Written) -> Option<Key> {
        let Written { kty, kid, r#use, key_ops, alg, crv, n, e, x, y } = written;
        let is_for_signatures = r#use.is_none_or(|purpose| purpose == "sig")
            && key_ops.is_none_or(|purposes| purposes.iter().any(|purpose| purpose == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let number = |text: Option<String>| Some(without_leading_zeros(bytes(text)?));
        let point = |size: usize, x: Option<String>, y: Option<String>| {
            let (x, y) = (bytes(x)?, bytes(y)?);
            // Uncompressed, as ring reads it.
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), &y].concat())
        };
        let material = match (kty.as_str(), crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: number(n)?, e: number(e)? },
            ("EC", Some("P-256")) => Material::P256(point(32, x, y)?),
            ("EC", Some("P-384")) => Material::P384(point(48, x, y)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(x)?),
            _ => return None,
        };
        Some(Key { id: kid, only: alg, material })
    }

    /// Whether it made this signature; `None` where it is no key for this algorithm.
    fn made(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        if self.only.as_deref().is_some_and(|only| only != algorithm.name()) {
            return None;
        }
        let holds = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            Some(UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
        };
        match (&self.material, algorithm.asks_for()) {
            (Material::Rsa { n, e }, AsksFor::Rsa(parameters)) => {
                Some(RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok())
            }
            (Material::P256(key), AsksFor::P256) => holds(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Material::P384(key), AsksFor::P384) => holds(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Material::Ed25519(key), AsksFor::Ed25519) => holds(&signature::ED25519, key),
            (
                Material::Rsa { .. } | Material::P256(_) | Material::P384(_) | Material::Ed25519(_),
                AsksFor::Rsa(_) | AsksFor::P256 | AsksFor::P384 | AsksFor::Ed25519,
            ) => None,
        }
    }
}

/// Some providers write them, though they must not; ring refuses them.
fn without_leading_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}
