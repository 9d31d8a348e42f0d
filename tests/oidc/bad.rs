//! What no good provider ever does, and some do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use roster::console::oidc::{OidcRefusal, Reason, UserClaim};
use serde_json::{Value, json};

use crate::hand_made::{Answer, HandMade, NOW_MS};
use crate::real::{client, parameter};

const SECONDS: i64 = NOW_MS / 1_000;

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "1", "typ": "JWT" })
}

fn is_refused(result: Result<impl std::fmt::Debug, OidcRefusal>, reason: Reason, detail: &str) {
    let refusal = result.expect_err(detail);
    assert!(refusal.detail().contains(detail), "'{}' is not '{detail}'", refusal.detail());
    assert_eq!(refusal.reason, reason, "{detail}");
    // Nothing of what was wrong is told to whoever sits there.
    assert!(!refusal.to_string().contains(refusal.detail()));
}

#[test]
fn one_that_is_as_it_should_be_is_believed() {
    let provider = HandMade::new();
    let client = provider.client();
    let identity = provider.sign_in(&client, |nonce| provider.signed(&header(), &provider.claims(nonce))).unwrap();
    assert_eq!((identity.user_name.as_str(), identity.then.as_str()), ("ada@example.edu", "/console"));
    assert_eq!(provider.asked(), ["/.well-known/openid-configuration", "/token", "/jwks"]);
    // What the provider has of a query in its own address stays.
    let (url, _) = client.begin("", NOW_MS).unwrap();
    assert!(
        url.starts_with(&format!("{}/auth?realm=1&response_type=code&client_id=roster&", provider.issuer)),
        "{url}"
    );
    assert_eq!(parameter(&url, "scope"), "openid email");
}

#[test]
fn a_token_must_say_what_was_asked_for() {
    let provider = HandMade::new();
    let client = provider.client();
    let cases: &[(&str, Value, &str)] = &[
        ("iss", json!("https://evil.example"), "another issuer ('iss')"),
        ("aud", json!("another"), "('aud')"),
        ("aud", json!(["another"]), "('aud')"),
        ("aud", json!([]), "('aud')"),
        // For this client, but not for it alone.
        ("aud", json!(["roster", "another"]), "('aud')"),
        ("azp", json!("another"), "('azp')"),
        ("exp", json!(SECONDS - 60), "has expired ('exp')"),
        ("exp", json!(0), "has expired ('exp')"),
        ("exp", json!(-1e300), "the token's 'exp' is no time"),
        ("iat", json!(1e300), "the token's 'iat' is no time"),
        ("iat", json!(SECONDS + 61), "from the future"),
        ("iat", json!(SECONDS - 61), "older than the sign-in"),
        ("nbf", json!(SECONDS + 61), "from the future"),
        ("nonce", json!("another"), "('nonce')"),
        ("nonce", json!(""), "('nonce')"),
        ("nonce", json!(null), "('nonce')"),
        ("sub", json!(""), "('sub')"),
        ("sub", json!("1".repeat(256)), "('sub')"),
        ("sub", json!(1), "one is not of its kind"),
        ("exp", json!("1800000300"), "one is not of its kind"),
        ("at_hash", json!("another"), "('at_hash')"),
    ];
    for (name, value, detail) in cases {
        let signed_in = provider.sign_in(&client, |nonce| {
            let mut claims = provider.claims(nonce);
            claims[name] = value.clone();
            provider.signed(&header(), &claims)
        });
        is_refused(signed_in, Reason::NotVerified, detail);
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
        let signed_in = provider.sign_in(&client, |nonce| {
            let mut claims = provider.claims(nonce);
            claims.as_object_mut().unwrap().remove(name);
            provider.signed(&header(), &claims)
        });
        is_refused(signed_in, Reason::NotVerified, if name == "nonce" { "('nonce')" } else { "lacks a claim" });
    }
    // Said twice, one would have to be chosen.
    let signed_in = provider.sign_in(&client, |nonce| {
        let claims = provider.claims(nonce).to_string().replacen('{', r#"{"email":"eve@example.edu","#, 1);
        provider.signed_text(&header().to_string(), &claims)
    });
    is_refused(signed_in, Reason::NotVerified, "one is not of its kind");
}

#[test]
fn what_is_unusual_and_right_is_taken() {
    let provider = HandMade::new();
    let client = provider.client();
    for (name, value) in [
        ("aud", json!(["roster"])),
        ("azp", json!("roster")),
        ("exp", json!(SECONDS - 59)),
        ("iat", json!(SECONDS as f64 + 59.5)),
        ("nbf", json!(SECONDS + 60)),
        ("email_verified", json!("true")),
    ] {
        let signed_in = provider.sign_in(&client, |nonce| {
            let mut claims = provider.claims(nonce);
            claims[name] = value.clone();
            provider.signed(&header(), &claims)
        });
        assert_eq!(signed_in.unwrap().user_name, "ada@example.edu", "{name} {value}");
    }
    // One key that has no name, for a token that names none; and keys beside it that nobody knows.
    let mut key = provider.jwk();
    key.as_object_mut().unwrap().retain(|name, _| !["kid", "use", "alg"].contains(&name.as_str()));
    let keys = json!({ "keys": [{ "kty": "new" }, 1, { "kty": "RSA", "n": "!", "e": "AQAB" }, { "kty": "EC", "crv": "P-256" }, key] });
    provider.set("/jwks", Answer::Json(200, keys));
    let client = provider.client();
    let token = |nonce: &str| provider.signed(&json!({ "alg": "ES256" }), &provider.claims(nonce));
    assert_eq!(provider.sign_in(&client, token).unwrap().user_name, "ada@example.edu");
}

#[test]
fn a_token_that_is_not_signed_by_the_provider_s_key_is_refused() {
    let (provider, stranger) = (HandMade::new(), HandMade::new());
    let client = provider.client();
    let refused = |token: &dyn Fn(&str) -> String, detail: &str| {
        is_refused(provider.sign_in(&client, token), Reason::NotVerified, detail);
    };
    let with_header = |header: Value| {
        let provider = &provider;
        move |nonce: &str| provider.signed(&header, &provider.claims(nonce))
    };
    refused(&|nonce| stranger.signed(&header(), &provider.claims(nonce)), "signature does not hold");
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "ES256K", "RSA1_5"] {
        refused(&with_header(json!({ "alg": alg, "kid": "1" })), &format!("signed with '{alg}'"));
    }
    refused(
        &|nonce| {
            let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
            format!("{}.{}.", part(json!({ "alg": "none" })), part(provider.claims(nonce)))
        },
        "signed with 'none'",
    );
    // The public key, taken for a secret in every spelling that somebody might have it in.
    let point = URL_SAFE_NO_PAD.decode(provider.jwk()["x"].as_str().unwrap()).unwrap();
    for secret in [provider.jwk().to_string().into_bytes(), point] {
        refused(
            &|nonce| {
                let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
                let message =
                    format!("{}.{}", part(json!({ "alg": "HS256", "kid": "1" })), part(provider.claims(nonce)));
                let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
                format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
            },
            "signed with 'HS256'",
        );
    }
    // A key of another kind, or of another name, or for another algorithm than the token says.
    refused(&with_header(json!({ "alg": "RS256", "kid": "1" })), "no key for the token's signature (RS256)");
    refused(&with_header(json!({ "alg": "ES384", "kid": "1" })), "no key for the token's signature (ES384)");
    refused(&with_header(json!({ "alg": "ES256", "kid": "2" })), "no key for the token's signature (ES256)");
    refused(&with_header(json!({ "alg": "ES256", "kid": "1", "crit": ["b64"], "b64": false })), "('crit')");
    refused(&with_header(json!({ "alg": "ES256", "kid": "1", "typ": "at+jwt" })), "'typ' is not 'JWT'");
    refused(&with_header(json!({ "kid": "1" })), "header is not JSON with 'alg'");
    for broken in ["", ".", "..", "a.b.c", "a.b.c.d.e", "e30.e30", "e30.e30.e30=", "e30.e30.", "ä.ö.ü"] {
        refused(&|_| broken.to_owned(), "the token");
    }
    refused(&|nonce| provider.signed(&header(), &provider.claims(nonce)) + "A", "the token");
    refused(&|_| "A".repeat(64 * 1024 + 1), "the token has 65537 bytes; at most 65536");
}

#[test]
fn a_key_that_is_not_for_signatures_verifies_none() {
    for (name, value) in
        [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("ES384")), ("kty", json!("oct"))]
    {
        let provider = HandMade::new();
        let mut other = provider.jwk();
        other["kid"] = "other".into();
        let mut key = provider.jwk();
        key[name] = value;
        provider.set("/jwks", Answer::Json(200, json!({ "keys": [key, other] })));
        let signed_in =
            provider.sign_in(&provider.client(), |nonce| provider.signed(&header(), &provider.claims(nonce)));
        is_refused(signed_in, Reason::NotVerified, "no key for the token's signature");
    }
    let provider = HandMade::new();
    provider.set("/jwks", Answer::Json(200, json!({ "keys": [] })));
    let signed_in = provider.sign_in(&provider.client(), |nonce| provider.signed(&header(), &provider.claims(nonce)));
    is_refused(signed_in, Reason::ProviderFailed, "none that is of use here");
}

#[test]
fn keys_without_names_may_change_too() {
    let (provider, before) = (HandMade::new(), HandMade::new());
    let client = provider.client();
    let nameless = |of: &HandMade| {
        let mut key = of.jwk();
        key.as_object_mut().unwrap().remove("kid");
        provider.set("/jwks", Answer::Json(200, json!({ "keys": [key] })));
    };
    let sign_in = |after_ms: i64| {
        let token = |nonce: &str| provider.signed(&json!({ "alg": "ES256" }), &provider.claims(nonce));
        provider.sign_in_at(&client, NOW_MS + after_ms, token)
    };
    nameless(&before);
    is_refused(sign_in(0), Reason::NotVerified, "no key for the token's signature (ES256)");
    nameless(&provider);
    is_refused(sign_in(9_999), Reason::NotVerified, "no key for the token's signature (ES256)");
    assert_eq!(sign_in(10_000).unwrap().user_name, "ada@example.edu");
}

#[test]
fn what_is_told_beside_the_token_is_about_the_same_person() {
    let provider = HandMade::new();
    let token = |nonce: &str| {
        let mut claims = provider.claims(nonce);
        claims.as_object_mut().unwrap().remove("email");
        provider.signed(&header(), &claims)
    };
    let told = |person: Value| {
        provider.set("/me", Answer::Json(200, person));
        provider.sign_in(&provider.client(), token)
    };
    let ada = told(json!({ "sub": "1", "email": "ada@example.edu", "email_verified": true })).unwrap();
    assert_eq!(ada.user_name, "ada@example.edu");
    let eve = json!({ "sub": "2", "email": "eve@example.edu", "email_verified": true });
    is_refused(told(eve), Reason::NotVerified, "tells of another person");
    let old = json!({ "sub": "1", "email": "ada@example.edu" });
    is_refused(told(old), Reason::EmailNotVerified, "does not tell 'email_verified'");
    is_refused(told(json!({ "sub": "1" })), Reason::NoName, "does not tell 'email'");
    is_refused(told(json!({ "email": "ada@example.edu" })), Reason::ProviderFailed, "lacks something");
    for name in ["", " ada@example.edu", "a\nb", &"a".repeat(255)] {
        let strange = json!({ "sub": "1", "email": name, "email_verified": true });
        is_refused(told(strange), Reason::NoName, "can be no user's name");
    }
    provider.set("/me", Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\neyJ.e30.".to_vec()));
    is_refused(provider.sign_in(&provider.client(), token), Reason::ProviderFailed, "is not JSON");
}

#[test]
fn a_description_of_another_issuer_is_refused() {
    let provider = HandMade::new();
    let mut description = provider.description();
    description["issuer"] = "https://login.example.edu".into();
    provider.set("/.well-known/openid-configuration", Answer::Json(200, description));
    is_refused(provider.client().begin("", NOW_MS), Reason::ProviderFailed, "is of another issuer");
}

#[test]
fn what_is_huge_slow_sent_on_or_nonsense_is_refused_in_time() {
    let documents: &[(Answer, Reason, &str)] = &[
        (Answer::Endless, Reason::ProviderFailed, "has more than 262144 bytes"),
        (Answer::Stuck(Vec::new()), Reason::Unreachable, "timeout"),
        (Answer::Stuck(b"HTTP/1.1 200 OK\r\n".to_vec()), Reason::Unreachable, "timeout"),
        (Answer::Stuck(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()), Reason::Unreachable, "timeout"),
        (
            Answer::Raw(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Reason::ProviderFailed,
            "answered with 302; redirections are not followed",
        ),
        (Answer::Raw(b"no HTTP at all\r\n\r\n".to_vec()), Reason::Unreachable, ""),
        (Answer::Json(200, json!([1])), Reason::ProviderFailed, "lacks something"),
        (Answer::Json(404, json!({})), Reason::ProviderFailed, "answered with 404"),
        (Answer::Json(503, json!({})), Reason::Unreachable, "answered with 503"),
    ];
    for (answer, reason, detail) in documents {
        for path in ["/.well-known/openid-configuration", "/jwks", "/token"] {
            let provider = HandMade::new();
            let mut settings = provider.settings(UserClaim::Email);
            if matches!(answer, Answer::Stuck(_)) {
                settings.answer_within = Duration::from_millis(300);
            }
            if path != "/token" {
                provider.set(path, answer.clone());
            }
            let signed_in = provider.sign_in_by(&client(settings), NOW_MS, |nonce| {
                let token = provider.signed(&header(), &provider.claims(nonce));
                if path == "/token" { answer.clone() } else { Answer::Json(200, json!({ "id_token": token })) }
            });
            // What answers a code is refused by its status, whatever it is.
            let detail =
                if path == "/token" && detail.contains("answered with") { "answers the code with" } else { detail };
            is_refused(signed_in, *reason, detail);
        }
    }
}

#[test]
fn one_that_is_away_is_not_asked_by_everybody() {
    let provider = HandMade::new();
    provider.set("/.well-known/openid-configuration", Answer::Json(503, json!({})));
    let client = provider.client();
    std::thread::scope(|scope| {
        let begun: Vec<_> = (0..8).map(|_| scope.spawn(|| client.begin("", NOW_MS))).collect();
        for begun in begun {
            is_refused(begun.join().unwrap(), Reason::Unreachable, "answered with 503");
        }
    });
    assert_eq!(provider.asked().len(), 1);
    provider.set("/.well-known/openid-configuration", Answer::Json(200, provider.description()));
    is_refused(client.begin("", NOW_MS + 14_999), Reason::Unreachable, "answered with 503");
    client.begin("", NOW_MS + 15_000).unwrap();
}

#[test]
fn only_so_many_wait_for_one_that_hangs() {
    let provider = HandMade::new();
    provider.set("/.well-known/openid-configuration", Answer::Stuck(Vec::new()));
    let client = provider.client();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let (tell, client) = (tell.clone(), &client);
            scope.spawn(move || tell.send(client.begin("", NOW_MS).unwrap_err().reason).unwrap());
        }
        // Sixteen wait; the others hear it at once.
        let next = || told.recv().unwrap();
        assert_eq!((0..24).map(|_| next()).collect::<Vec<_>>(), [Reason::Busy; 24]);
        provider.release();
        assert_eq!((0..16).map(|_| next()).collect::<Vec<_>>(), [Reason::Unreachable; 16]);
    });
    assert_eq!(provider.asked().len(), 1);
}

#[test]
fn an_error_in_place_of_a_code_is_no_more_than_a_word() {
    let provider = HandMade::new();
    let client = provider.client();
    let finish = |error: &str| {
        let (url, pending) = client.begin("", NOW_MS).unwrap();
        let query = [("state".to_owned(), parameter(&url, "state")), ("error".to_owned(), error.to_owned())];
        client.finish(pending, &query, NOW_MS)
    };
    is_refused(finish("access_denied"), Reason::Declined, "'access_denied'");
    is_refused(finish("invalid_scope"), Reason::ProviderFailed, "'invalid_scope'");
    is_refused(finish("a\nline of \u{1b}[31m its own"), Reason::ProviderFailed, "'alineof31mitsown'");
    let refused = provider.sign_in_by(&client, NOW_MS, |_| Answer::Json(400, json!({ "error": "invalid_grant" })));
    is_refused(refused, Reason::CodeRefused, "400 'invalid_grant'");
}

#[test]
fn a_secret_goes_where_it_belongs() {
    let provider = HandMade::new();
    let form = || {
        provider.sign_in(&provider.client(), |nonce| provider.signed(&header(), &provider.claims(nonce))).unwrap();
        provider.body_of("/token")
    };
    // In a header, where the provider does not say.
    let sent = form();
    assert!(sent.starts_with("grant_type=authorization_code&code=c0de&redirect_uri=https%3A%2F%2Ftexting"), "{sent}");
    assert!(sent.contains("&code_verifier=") && !sent.contains("s3cr3t"), "{sent}");
    let mut description = provider.description();
    description["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    provider.set("/.well-known/openid-configuration", Answer::Json(200, description));
    assert!(form().ends_with("&client_id=roster&client_secret=s3cr3t"));
}
