//! Signing in with a provider of OpenID Connect: the two pages of ours at which a browser passes by. What is said to the provider and
//! believed of it is in [`super::oidc`].

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::Console;
use super::admission::{cookie_text, cookie_with, with_cookie};
use super::answer::{Turned, page_with, redirect};
use super::form::Asked;
use super::oidc::{OidcClient, OidcRefusal, PENDING_MS_MAX, Reason};
use super::sign_in::{enter, sign_in_page};
use crate::tenant::UserName;

/// What a browser keeps while somebody is at the provider. As with the session's: where browsers speak TLS, nobody but this very host has set it,
/// so nobody can have somebody finish a sign-in of theirs.
fn cookie_name(console: &Console) -> &'static str {
    if console.settings.is_secure() { "__Host-roster-provider" } else { "roster-provider" }
}

fn client(console: &Console) -> Result<&OidcClient, Turned> {
    console.oidc.as_ref().ok_or(Turned::NotFound("page"))
}

pub(super) async fn begin(State(console): State<Arc<Console>>, Asked(asked): Asked) -> Result<Response, Turned> {
    let client = client(&console)?.clone();
    let (then, now_ms) = (asked.get("then").to_owned(), (console.clock)());
    let begun = tokio::task::spawn_blocking(move || {
        let (place, pending) = client.begin(&then, now_ms)?;
        Ok::<_, OidcRefusal>((place, client.seal(&pending, now_ms)?))
    });
    match begun.await.map_err(|_| Turned::Fault("beginning a sign-in panicked".to_owned()))? {
        Ok((place, kept)) => {
            let age = format!("; Max-Age={}", PENDING_MS_MAX / 1_000);
            Ok(with_cookie(redirect(&place), cookie_with(&console, cookie_name(&console), &kept, &age)?))
        }
        Err(refusal) => Ok(refused(&console, &refusal)),
    }
}

pub(super) async fn finish(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Asked(asked): Asked,
) -> Result<Response, Turned> {
    let client = client(&console)?.clone();
    let kept = cookie_text(&headers, cookie_name(&console)).unwrap_or_default().to_owned();
    let (query, now_ms) = (asked.into_pairs(), (console.clock)());
    let finished = tokio::task::spawn_blocking(move || match client.open(&kept) {
        Some(pending) => client.finish(pending, &query, now_ms).map(Some),
        None => Ok(None),
    });
    let answer = match finished.await.map_err(|_| Turned::Fault("finishing a sign-in panicked".to_owned()))? {
        Err(refusal) => refused(&console, &refusal),
        Ok(None) => {
            let what = "This sign-in was not begun in this browser, or it was begun too long ago. Begin it again.";
            told(&console, StatusCode::BAD_REQUEST, what.to_owned())
        }
        Ok(Some(identity)) => {
            let name = UserName::parse(&identity.user_name).ok();
            let user = match &name {
                Some(name) => console.store.user_by_name(name).await?,
                None => None,
            };
            match user.filter(|user| user.disabled_ms.is_none()) {
                Some(user) => enter(&console, &user, &identity.then).await?.response,
                None => {
                    tracing::info!("somebody whom the provider signed in is no user here");
                    let what = "The provider signed you in, but there is no user of your name here. Ask whoever runs this service to make one.";
                    told(&console, StatusCode::FORBIDDEN, what.to_owned())
                }
            }
        }
    };
    Ok(with_cookie(answer, cookie_with(&console, cookie_name(&console), "", "; Max-Age=0")?))
}

fn refused(console: &Console, refusal: &OidcRefusal) -> Response {
    let status = match refusal.reason {
        Reason::Busy | Reason::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::ProviderFailed | Reason::NotVerified | Reason::NoName | Reason::Ours => StatusCode::BAD_GATEWAY,
        Reason::TooLate | Reason::NotBegunHere | Reason::Declined | Reason::CodeRefused => StatusCode::BAD_REQUEST,
        Reason::EmailNotVerified => StatusCode::FORBIDDEN,
    };
    told(console, status, super::answer::sentence(&refusal.to_string()))
}

/// Says it on the page where one may sign in otherwise.
fn told(console: &Console, status: StatusCode, what: String) -> Response {
    page_with(status, &sign_in_page(console, ("", ""), Some(what)))
}
