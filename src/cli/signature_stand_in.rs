//! Stands in for `crate::signature` until that is merged; then this file goes, and `signing` names the real one.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// One line of what is signed.
pub(super) struct Line {
    /// `token`, `method`, `path`, `body` or `timestamp`.
    pub(super) name: &'static str,
    /// 64 hexadecimal digits.
    pub(super) sha256: String,
    /// Its length, lower-cased.
    pub(super) bytes: usize,
}

/// The signature.
pub(super) fn sign(token: &str, secret: &str, method: &str, path: &str, body: &[u8], timestamp: &str) -> String {
    let text = [token, method, path, &String::from_utf8_lossy(body), timestamp].join("\n").to_lowercase();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// The five lines.
pub(super) fn explain(token: &str, method: &str, path: &str, body: &[u8], timestamp: &str) -> [Line; 5] {
    let body = String::from_utf8_lossy(body);
    [("token", token), ("method", method), ("path", path), ("body", &body), ("timestamp", timestamp)].map(
        |(name, text)| {
            let lowered = text.to_lowercase();
            let sha256 = Sha256::digest(lowered.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            Line { name, sha256, bytes: lowered.len() }
        },
    )
}
