//! The room as a whole: vectors from an independent hand, and properties of signing and verifying.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

const DATE_TEXT: &str = "2026-11-23T12:00:00Z";

/// One entry of `tests/vectors/signatures.json`; the script beside it says what the members mean.
#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    expected: String,
    secret: String,
    method: String,
    path: String,
    body: String,
    date: String,
    authorization: String,
}

fn outcome(result: Result<Form, Mismatch>) -> &'static str {
    result.map_or("mismatch", Form::as_str)
}

fn claim(token: &str, signature: &str) -> Claim {
    Claim::from_headers(Some(format!("{SCHEME} {token}:{signature}").as_bytes()), Some(DATE_TEXT.as_bytes())).unwrap()
}

fn claim_of_bytes(token: &str, secret: &[u8], method: &str, path: &str, body: &[u8]) -> Claim {
    claim(token, &sign(token, secret, method, path, body, DATE_TEXT))
}

#[test]
fn vectors_made_by_python() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let claim = Claim::from_headers(Some(vector.authorization.as_bytes()), Some(vector.date.as_bytes()))
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        let found = verify(&claim, vector.secret.as_bytes(), &vector.method, &vector.path, vector.body.as_bytes());
        assert_eq!(outcome(found), vector.expected, "{}", vector.name);
    }
}

#[test]
fn a_body_that_is_not_utf8_is_lower_cased_as_ascii() {
    let (body, spaced) = (&b"{\"a\":\"B\xFF\xCE\"}"[..], &b"{\"a\": \"B\xFF\xCE\"}"[..]);
    let claim = claim_of_bytes("token", b"secret", "POST", "/", body);
    assert_eq!(outcome(verify(&claim, b"secret", "POST", "/", body)), "as_sent_ascii");
    assert_eq!(outcome(verify(&claim, b"secret", "POST", "/", spaced)), "stripped_ascii");
    assert_eq!(outcome(verify(&claim, b"secret", "POST", "/", &body[1..])), "mismatch");
}

#[test]
fn a_body_that_is_not_utf8_changes_nothing_about_the_other_lines() {
    for (token, expected) in [("ÉÀ", "as_sent"), ("éà", "as_sent_ascii"), ("ΑΣ", "as_sent")] {
        let claim = claim_of_bytes(token, b"secret", "POST", "/", b"\xFF");
        assert_eq!(outcome(verify(&claim, b"secret", "POST", "/", b"\xFF")), expected, "{token}");
        assert_eq!(outcome(verify(&claim, b"secret", "POST", "/", b"\xFE")), "mismatch", "{token}");
    }
}

#[test]
fn no_candidate_is_tried_twice() {
    for (body, expected) in [
        ("", "as_sent"),
        ("PLAIN, words", "as_sent"),
        ("{\"A\":1}", "as_sent"),
        ("{\"A\": 1}", "as_sent stripped"),
        ("{\"a\":\"é b\"}", "as_sent"),
        ("{\"a\": \"É\"}", "as_sent as_sent_ascii stripped stripped_ascii"),
        ("{\"a\":\"Σ\"}", "as_sent as_sent_plain_sigma as_sent_ascii"),
        ("{\"a\": \"Σ\"}", "as_sent as_sent_plain_sigma as_sent_ascii stripped stripped_plain_sigma stripped_ascii"),
    ] {
        let lines = Lines { token: "T", method: "POST", path: "/", body: body.as_bytes(), timestamp: DATE_TEXT };
        let forms: Vec<_> = lines.forms().map(Form::as_str).collect();
        assert_eq!(forms.join(" "), expected, "{body}");
    }
}

#[test]
fn a_mismatch_shows_the_five_lines_as_the_server_saw_them() {
    let claim = claim_of_bytes("TOKEN", b"the secret", "POST", "/Path", b"{ }");
    let mismatch = verify(&claim, b"another secret", "POST", "/Path", b"{ }").unwrap_err();
    assert_eq!(*mismatch.lines, explain("TOKEN", "POST", "/Path", b"{ }", DATE_TEXT));
    let shown: Vec<_> =
        mismatch.lines.iter().map(|line| format!("{} {} {}", line.name, line.bytes, &line.sha256[..8])).collect();
    // As `printf %s token | sha256sum` has them.
    let expected =
        ["token 5 3c469e9d", "method 4 72231043", "path 5 379c9f23", "body 3 257c1be9", "timestamp 20 59fcd2fe"];
    assert_eq!(shown, expected);
    assert_eq!(mismatch.lines[0].sha256.len(), 64);
}

#[test]
fn explained_lines_are_lower_cased_fully() {
    assert_eq!(
        explain("İ", "get", "/ΑΣ", "É".as_bytes(), DATE_TEXT),
        explain("i\u{307}", "GET", "/ας", "é".as_bytes(), DATE_TEXT)
    );
    assert_eq!(explain("İ", "get", "/", b"", DATE_TEXT)[0].bytes, 3);
}

proptest! {
    #[test]
    fn what_is_signed_verifies(
        token in "[^\\s\\p{C}]{1,40}", secret: Vec<u8>, method in "[A-Z]{3,7}", path: String, body: String,
    ) {
        let claim = claim_of_bytes(&token, &secret, &method, &path, body.as_bytes());
        prop_assert_eq!(verify(&claim, &secret, &method, &path, body.as_bytes()), Ok(Form::AsSent));
    }

    #[test]
    fn arbitrary_bodies_verify_too(body: Vec<u8>) {
        let claim = claim_of_bytes("token", b"secret", "POST", "/", &body);
        prop_assert!(verify(&claim, b"secret", "POST", "/", &body).is_ok());
    }

    #[test]
    fn any_flipped_bit_of_the_signature_fails(body: String, bit in 0..256usize) {
        let mut claim = claim_of_bytes("token", b"secret", "POST", "/", body.as_bytes());
        claim.signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&claim, b"secret", "POST", "/", body.as_bytes()).is_err());
    }

    /// But for the case of letters, which the canonical form is blind to.
    #[test]
    fn any_flipped_bit_of_the_body_fails(mut body in prop::collection::vec(any::<u8>(), 1..300), at: prop::sample::Index, bit in 0..8u8) {
        let claim = claim_of_bytes("token", b"secret", "POST", "/", &body);
        let at = at.index(body.len());
        let before = body[at];
        body[at] ^= 1 << bit;
        prop_assume!(!before.eq_ignore_ascii_case(&body[at]));
        prop_assume!(str::from_utf8(&body).is_err() || body.is_ascii());
        prop_assert!(verify(&claim, b"secret", "POST", "/", &body).is_err());
    }
}
