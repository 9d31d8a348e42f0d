//! The header `Content-Digest` (RFC 9530): what stands in the place of a body that is too large to be signed itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header that holds the digest of a body's bytes as they are sent.
pub const CONTENT_DIGEST: &str = "Content-Digest";

/// The header's value for a body with this SHA-256.
#[must_use]
pub fn print_digest(sha256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256))
}

/// The SHA-256 in a header's value; other algorithms may stand beside it. `None` if there is none, or none that can be read.
#[must_use]
pub fn read_digest(value: &str) -> Option<[u8; 32]> {
    // A dictionary (RFC 9651): of a key that stands twice the last one counts. Base64 has no comma.
    let last = value.split(',').filter_map(|member| member.trim().split_once('=')).rfind(|(key, _)| *key == "sha-256");
    let (_, item) = last?;
    // Parameters are allowed, and mean nothing here.
    let item = item.split(';').next().unwrap_or_default().trim_end();
    let base64 = item.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(base64).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the RFC's own example.
    const EXAMPLE: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

    #[test]
    fn a_digest_is_read_as_the_rfc_writes_it() {
        let digest = read_digest(EXAMPLE).expect("a digest");
        assert_eq!((digest[0], digest[31]), (0x5f, 0xf1));
        assert_eq!(print_digest(&digest), EXAMPLE);
        for same in [
            format!("  {EXAMPLE} "),
            format!("sha-512=:AAAA:, {EXAMPLE}"),
            format!("{EXAMPLE},md5=:AAAA:"),
            format!("{EXAMPLE};how=ever"),
            format!("sha-256=:AAAA:,\t{EXAMPLE}"),
        ] {
            assert_eq!(read_digest(&same), Some(digest), "{same}");
        }
    }

    /// The example that docs/API.md works out, made by Python.
    #[test]
    fn the_documented_example_holds() {
        let digest = "sha-256=:9tv5PkzvFcluwRH3vIbG8AH0j9clfhgGZ6WIlhKi5D4=:";
        let path = "/v2/programs/x/participants?new=add&existing=a,b&mode=row";
        let at = "1969-07-20T20:17:00+00:00";
        let signature =
            crate::signature::sign("INVENTED_TOKEN", b"INVENTED_SECRET", "POST", path, digest.as_bytes(), at);
        assert_eq!(signature, "UbvucgxXeJ86R6T1SUT7PBSzjRThvUTC4Zeu4xpVJ40=");
        let documented = include_str!("../../docs/API.md");
        assert!([digest, path, at, signature.as_str()].iter().all(|part| documented.contains(part)));
    }

    #[test]
    fn what_is_no_digest_is_none() {
        for wrong in [
            "",
            "sha-256",
            "sha-256=",
            "sha-256=::",
            "sha-256=:AAAA:",
            "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBP_=:",
            "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            "5f8f04f6a3a892aaabbddb6cf273894493773960d4a325b105fee46eef4304f1",
        ] {
            assert_eq!(read_digest(wrong), None, "{wrong}");
        }
    }
}
