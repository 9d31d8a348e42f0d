//! A real provider signs people in, and refuses what it should.

use std::sync::LazyLock;

use roster::console::oidc::{CALLBACK_PATH, Identity, Reason, UserClaim};

use crate::real::{Browser, CONSOLE_URL, Kind, Provider, client, now_ms, parameter};

const BASIC: Kind = Kind { methods: &["client_secret_basic", "client_secret_post"], conform: true };

/// The one that most tests share; it ends with this process, whose end of the pipe it reads.
static PROVIDER: LazyLock<Provider> = LazyLock::new(|| Provider::start(&BASIC));

const ADA: &str = "ada@example.edu";

fn identity(user_name: &str, then: &str) -> Identity {
    Identity { user_name: user_name.to_owned(), then: then.to_owned() }
}

#[test]
fn a_person_signs_in_and_is_who_they_are_there() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let (url, pending) = client.begin("/console/imports", now_ms()).unwrap();
    assert!(url.starts_with(&format!("{}/auth?", PROVIDER.issuer)), "{url}");
    assert_eq!(parameter(&url, "redirect_uri"), format!("{CONSOLE_URL}{CALLBACK_PATH}"));
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    // What the browser keeps goes through a cookie, and may come back to another node.
    let cookie = client.seal(&pending, now_ms()).unwrap();
    let query = Browser::new().sign_in(&url, ADA);
    let another_node = PROVIDER.client("roster:1", UserClaim::Email);
    let pending = another_node.open(&cookie).unwrap();
    assert_eq!(another_node.finish(pending, &query, now_ms()), Ok(identity(ADA, "/console/imports")));
}

#[test]
fn whatever_names_the_user_and_wherever_it_is_told() {
    let plain = Provider::start(&Kind { methods: &["client_secret_post"], conform: false });
    for (provider, id) in [(&*PROVIDER, "roster:1"), (&*PROVIDER, "public"), (&plain, "roster:1"), (&plain, "public")] {
        for (claim, name) in [(UserClaim::Email, ADA), (UserClaim::PreferredUsername, "ada"), (UserClaim::Subject, ADA)]
        {
            let client = provider.client(id, claim);
            let (url, pending) = client.begin("", now_ms()).unwrap();
            let query = Browser::new().sign_in(&url, ADA);
            assert_eq!(client.finish(pending, &query, now_ms()), Ok(identity(name, "/console")), "{id} {claim:?}");
        }
    }
    // Where the token has it all, nothing else is asked for.
    assert_eq!(plain.count("/me"), 0);
    assert!(PROVIDER.count("/me") > 0);
}

#[test]
fn every_way_to_sign_a_token_that_is_known_is_verified() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"] {
        let client = PROVIDER.client(&format!("signed-{algorithm}"), UserClaim::Email);
        let (url, pending) = client.begin("", now_ms()).unwrap();
        let query = Browser::new().sign_in(&url, ADA);
        assert_eq!(client.finish(pending, &query, now_ms()), Ok(identity(ADA, "/console")), "{algorithm}");
    }
}

#[test]
fn an_address_that_is_not_verified_names_nobody() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    for (person, reason) in [("unverified@example.edu", Reason::EmailNotVerified), ("nobody", Reason::NoName)] {
        let (url, pending) = client.begin("", now_ms()).unwrap();
        let query = Browser::new().sign_in(&url, person);
        let refusal = client.finish(pending, &query, now_ms()).unwrap_err();
        assert_eq!(refusal.reason, reason, "{}", refusal.detail());
        assert!(!format!("{refusal}{refusal:?}").contains(person));
    }
}

#[test]
fn a_code_is_good_once_and_for_its_own_sign_in() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    let query = Browser::new().sign_in(&url, ADA);
    client.finish(pending.clone(), &query, now_ms()).unwrap();
    let refusal = client.finish(pending, &query, now_ms()).unwrap_err();
    assert_eq!(refusal.reason, Reason::CodeRefused, "{}", refusal.detail());

    // A code that was taken from another browser: the state is right, the verifier is not.
    let (theirs, _) = client.begin("", now_ms()).unwrap();
    let mut stolen = Browser::new().sign_in(&theirs, ADA);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    for (name, value) in &mut stolen {
        if name == "state" {
            *value = parameter(&url, "state");
        }
    }
    let refusal = client.finish(pending, &stolen, now_ms()).unwrap_err();
    assert_eq!(refusal.reason, Reason::CodeRefused, "{}", refusal.detail());
}

#[test]
fn an_answer_belongs_to_the_browser_that_asked() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    let query = Browser::new().sign_in(&url, ADA);
    let (_, other) = client.begin("", now_ms()).unwrap();
    let without = |name: &str| query.iter().filter(|(key, _)| key != name).cloned().collect::<Vec<_>>();
    let twice =
        |name: &str| query.iter().chain(query.iter().filter(|(key, _)| key == name)).cloned().collect::<Vec<_>>();
    let refused = |pending, query: &[(String, String)], reason| {
        let refusal = client.finish(pending, query, now_ms()).unwrap_err();
        assert_eq!(refusal.reason, reason, "{}", refusal.detail());
    };
    refused(other, &query, Reason::NotBegunHere);
    refused(pending.clone(), &without("state"), Reason::NotBegunHere);
    refused(pending.clone(), &without("code"), Reason::NotBegunHere);
    refused(pending.clone(), &twice("state"), Reason::NotBegunHere);
    refused(pending.clone(), &twice("code"), Reason::NotBegunHere);
    refused(pending.clone(), &[], Reason::NotBegunHere);
    // This provider says that it always tells its issuer.
    refused(pending.clone(), &without("iss"), Reason::NotVerified);
    let mut from_another = without("iss");
    from_another.push(("iss".to_owned(), "https://evil.example".to_owned()));
    refused(pending.clone(), &from_another, Reason::NotVerified);
    // Of all that the provider has seen nothing: the code is still good.
    client.finish(pending, &query, now_ms()).unwrap();
}

#[test]
fn a_token_for_another_nonce_is_refused() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    let url = url.replace(&parameter(&url, "nonce"), "another");
    let query = Browser::new().sign_in(&url, ADA);
    let refusal = client.finish(pending, &query, now_ms()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail()),
        (Reason::NotVerified, "the token was made for another sign-in ('nonce')")
    );
}

#[test]
fn a_token_is_good_for_its_time_only() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let refused = |begun_after_ms: i64, finished_after_ms: i64| {
        let (url, pending) = client.begin("", now_ms() + begun_after_ms).unwrap();
        let query = Browser::new().sign_in(&url, ADA);
        client.finish(pending, &query, now_ms() + finished_after_ms).map_err(|refusal| refusal.detail().to_owned())
    };
    const MINUTE_MS: i64 = 60_000;
    // It is good for two minutes, and the clocks may be one apart.
    assert_eq!(refused(0, 2 * MINUTE_MS), Ok(identity(ADA, "/console")));
    assert!(refused(0, 4 * MINUTE_MS).unwrap_err().contains("has expired ('exp')"));
    assert!(refused(0, 11 * MINUTE_MS).unwrap_err().starts_with("the sign-in was begun "));
    assert!(refused(-3 * MINUTE_MS, -2 * MINUTE_MS).unwrap_err().contains("from the future ('iat', 'nbf')"));
    assert!(refused(2 * MINUTE_MS, 2 * MINUTE_MS).unwrap_err().contains("older than the sign-in ('iat')"));
}

#[test]
fn who_turns_round_is_not_signed_in() {
    let client = PROVIDER.client("roster:1", UserClaim::Email);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    let query = Browser::new().abort(&url);
    let refusal = client.finish(pending, &query, now_ms()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail()),
        (Reason::Declined, "the provider answered the browser with 'access_denied'")
    );
}

#[test]
fn a_client_that_the_provider_does_not_know_is_told_in_the_log() {
    let mut settings = PROVIDER.settings("roster:1", UserClaim::Email);
    settings.client_secret = Some(roster::tenant::Secret::new("another".to_owned()));
    let client = client(settings);
    let (url, pending) = client.begin("", now_ms()).unwrap();
    let query = Browser::new().sign_in(&url, ADA);
    let refusal = client.finish(pending, &query, now_ms()).unwrap_err();
    assert_eq!(refusal.reason, Reason::ProviderFailed);
    assert_eq!(
        refusal.detail(),
        "the provider answers the code with 401 'invalid_client': it does not take oidc_client_id with oidc_client_secret"
    );
}

#[test]
fn new_keys_are_asked_for_when_they_are_met_and_not_before() {
    let provider = Provider::start(&BASIC);
    let client = provider.client("roster:1", UserClaim::Email);
    let begun_ms = now_ms();
    let sign_in = |after_ms: i64| {
        let (url, pending) = client.begin("", begun_ms + after_ms).unwrap();
        let query = Browser::new().sign_in(&url, ADA);
        client.finish(pending, &query, begun_ms + after_ms).map_err(|refusal| refusal.reason)
    };
    let asked = || (provider.count("/.well-known/openid-configuration"), provider.count("/jwks"));
    let ada = Ok(identity(ADA, "/console"));
    for _ in 0..3 {
        assert_eq!((sign_in(0), asked()), (ada.clone(), (1, 1)));
    }
    provider.rotate();
    assert_eq!((sign_in(10_000), asked()), (ada.clone(), (1, 2)));
    assert_eq!((sign_in(10_000), asked()), (ada.clone(), (1, 2)));
    // So soon after the last time nobody is asked again, whatever keys tokens name.
    provider.rotate();
    assert_eq!((sign_in(19_999), asked()), (Err(Reason::NotVerified), (1, 2)));
    assert_eq!((sign_in(20_000), asked()), (ada, (1, 3)));
}
