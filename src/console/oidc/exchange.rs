//! A code for tokens, and a token of access for what the provider tells about a person.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Shared;
use super::calls::{Answered, Calls, not_as_it_should_be};
use super::pending::Pending;
use super::provider::{ClientAuth, Provider};
use super::refusal::{OidcRefusal, Reason, as_word};
use super::token::Person;
use crate::tenant::Secret;

/// What a code was exchanged for.
pub(super) struct Tokens {
    pub(super) id_token: Secret,
    /// If it is one of those that whoever has them may use.
    pub(super) access_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Granted {
    id_token: String,
    access_token: Option<String>,
    token_type: Option<String>,
}

#[derive(Deserialize)]
struct NotGranted {
    error: String,
}

/// Exchanges the code, and proves to be who asked for it.
pub(super) fn exchange(
    shared: &Shared,
    provider: &Provider,
    code: &str,
    pending: &Pending,
) -> Result<Tokens, OidcRefusal> {
    const WHAT: &str = "answer to the code";
    let settings = &shared.settings;
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", &shared.redirect_uri)
        .append_pair("code_verifier", pending.verifier.expose());
    let mut basic = None;
    match (provider.client_auth, &settings.client_secret) {
        (ClientAuth::Basic, Some(secret)) => basic = Some(basic_header(&settings.client_id, secret)),
        (ClientAuth::Post, Some(secret)) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose());
        }
        (ClientAuth::Public, _) | (_, None) => {
            form.append_pair("client_id", &settings.client_id);
        }
    }
    let form = Zeroizing::new(form.finish());
    let basic = basic.as_ref().map(|basic| basic.as_str());
    let Answered { status, body } = shared.calls.post(WHAT, &provider.token_endpoint, &form, basic)?;
    if status != 200 {
        return Err(not_granted(status, &body));
    }
    let granted: Granted = serde_json::from_slice(&body).map_err(|fault| not_as_it_should_be(WHAT, &fault))?;
    let Granted { id_token, access_token, token_type } = granted;
    let (id_token, access_token) = (Secret::new(id_token), access_token.map(Secret::new));
    let is_bearer = token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    Ok(Tokens { id_token, access_token: access_token.filter(|_| is_bearer) })
}

/// Both are written as in a form first (RFC 6749, 2.3.1), so that a colon in the id parts nothing.
fn basic_header(client_id: &str, secret: &Secret) -> Zeroizing<String> {
    let encoded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", *encoded(client_id), *encoded(secret.expose())));
    Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))))
}

fn not_granted(status: u16, body: &[u8]) -> OidcRefusal {
    let error = serde_json::from_slice::<NotGranted>(body).map(|answer| as_word(&answer.error)).unwrap_or_default();
    let detail = match error.as_str() {
        "" => format!("the provider answers the code with {status}"),
        "invalid_client" | "unauthorized_client" => format!(
            "the provider answers the code with {status} '{error}': it does not take oidc_client_id with oidc_client_secret"
        ),
        _ => format!("the provider answers the code with {status} '{error}'"),
    };
    match (error.as_str(), status) {
        ("invalid_grant", _) => Reason::CodeRefused.with(detail),
        (_, 500..) => Reason::Unreachable.with(detail),
        _ => Reason::ProviderFailed.with(detail),
    }
}

/// What the provider tells of the person whom the token is about, and of nobody else.
pub(super) fn user_info(calls: &Calls, endpoint: &str, access: &Secret, subject: &str) -> Result<Person, OidcRefusal> {
    let person: Person = calls.get_with("answer about the person (userinfo_endpoint)", endpoint, access)?;
    if person.sub == subject {
        Ok(person)
    } else {
        Err(Reason::NotVerified.with("the provider's userinfo_endpoint tells of another person"))
    }
}
