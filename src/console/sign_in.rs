//! Signing in, with a password or a link that an operator made, and signing out.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::Console;
use super::admission::{begin_session, no_cookie, with_cookie};
use super::answer::{Turned, page as show, page_with, redirect};
use super::data::Data;
use super::form::{Asked, Sent};
use super::frame::Frame;
use crate::tenant::password::{self, PASSWORD_BYTES_MAX};
use crate::tenant::{Membership, PasswordHash, Ticket, TicketDigest, User, UserName};

/// How long somebody waits for the check of others' passwords.
const TURN_WAIT: Duration = Duration::from_secs(5);

#[derive(Template)]
#[template(path = "console/sign_in.html")]
pub(super) struct SignInPage {
    frame: Frame,
    name: String,
    then: String,
    mistake: Option<String>,
    is_plain: bool,
    /// The label of the button for OpenID Connect, if that is set up.
    oidc: Option<String>,
}

/// The page, with what went wrong.
pub(super) fn sign_in_page(console: &Console, (name, then): (&str, &str), mistake: Option<String>) -> SignInPage {
    SignInPage {
        frame: Frame::bare("Sign in", None),
        name: name.to_owned(),
        then: within(then).to_owned(),
        mistake,
        is_plain: !console.settings.is_secure(),
        oidc: console.oidc.as_ref().map(|oidc| oidc.label().to_owned()),
    }
}

/// Where somebody goes after signing in: a page of the console, whatever the address says.
fn within(then: &str) -> &str {
    let is_ours = then == "/console" || then.starts_with("/console/") || then.starts_with("/console?");
    let is_plain = then.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !then.contains("//");
    if is_ours && is_plain { then } else { "/console" }
}

pub(super) async fn page(State(console): State<Arc<Console>>, Asked(asked): Asked) -> Response {
    show(&sign_in_page(&console, ("", asked.get("then")), None))
}

pub(super) async fn submit(State(console): State<Arc<Console>>, Sent(fields): Sent) -> Result<Response, Turned> {
    let then = fields.get("then").to_owned();
    let again = |status, mistake: String| {
        page_with(status, &sign_in_page(&console, (fields.get("name"), &then), Some(mistake)))
    };
    let wrong = || "The name or the password is not right.".to_owned();
    let password = fields.raw("password");
    let Ok(name) = UserName::parse(fields.get("name")) else {
        return Ok(again(StatusCode::UNAUTHORIZED, wrong()));
    };
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Ok(again(StatusCode::UNAUTHORIZED, wrong()));
    }
    if let Err(left_ms) = console.attempts.begin(name.as_str(), (console.clock)()) {
        let minutes = left_ms.unsigned_abs().div_ceil(60_000);
        let mistake = format!(
            "There were too many wrong passwords for this name. Try again in {}, or ask for a sign-in link.",
            super::words::count(minutes, "minute", "minutes")
        );
        let mut response = again(StatusCode::TOO_MANY_REQUESTS, mistake);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(left_ms.unsigned_abs().div_ceil(1_000)));
        return Ok(response);
    }
    match checked(&console, &name, password).await? {
        Some(Checked { user, kept }) => {
            console.attempts.was_right(name.as_str());
            let entered = enter(&console, &user, within(&then)).await?;
            // Who was let in while the password was changed would stay in: what ends sessions has then ended all but this one.
            if console.store.password(user.id).await?.as_ref() == Some(&kept) {
                return Ok(entered.response);
            }
            console.store.end_session(entered.session).await?;
            Ok(again(StatusCode::UNAUTHORIZED, wrong()))
        }
        None => {
            tracing::info!("somebody tried to sign in with a wrong name or password");
            Ok(again(StatusCode::UNAUTHORIZED, wrong()))
        }
    }
}

/// Somebody whose password was right, with the hash that it was checked against.
struct Checked {
    user: User,
    kept: PasswordHash,
}

/// The user of this name, if this is the password. It takes as long where there is no such user, or the user has no password.
async fn checked(console: &Console, name: &UserName, typed: &str) -> Result<Option<Checked>, Turned> {
    let user = console.store.user_by_name(name).await?.filter(|user| user.disabled_ms.is_none());
    let kept = match &user {
        Some(user) => console.store.password(user.id).await?,
        None => None,
    };
    let is_right = is_password(console, typed.to_owned(), kept.clone().unwrap_or_else(password::of_nobody)).await?;
    Ok(user.zip(kept).filter(|_| is_right).map(|(user, kept)| Checked { user, kept }))
}

/// Checks a password, when it is its turn.
pub(super) async fn is_password(console: &Console, password: String, kept: PasswordHash) -> Result<bool, Turned> {
    let busy = || Turned::Busy("Too many people are signing in at this moment.".to_owned());
    let turn = tokio::time::timeout(TURN_WAIT, console.hashings.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let password = zeroize::Zeroizing::new(password);
    let checked = tokio::task::spawn_blocking(move || password::verify(&password, &kept)).await;
    checked.map_err(|_| Turned::Fault("checking a password panicked".to_owned()))
}

/// Hashes a password, when it is its turn.
pub(super) async fn hashed(console: &Console, password: &str) -> Result<PasswordHash, Turned> {
    let _turn = console.hashings.acquire().await.map_err(|fault| Turned::Fault(fault.to_string()))?;
    let (password, salt) = (zeroize::Zeroizing::new(password.to_owned()), super::sending::random()?);
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password, salt)).await;
    let hashed = hashed.map_err(|_| Turned::Fault("hashing a password panicked".to_owned()))?;
    hashed.map_err(|fault| Turned::Fault(fault.to_string()))
}

/// A session that has begun.
pub(super) struct Entered {
    pub(super) response: Response,
    session: TicketDigest,
}

/// Begins a session in the user's first account.
pub(super) async fn enter(console: &Console, user: &User, then: &str) -> Result<Entered, Turned> {
    let Some(Membership { account, .. }) = user.memberships.first() else {
        let what =
            "You have signed in, but you have no role in any account yet. Ask whoever runs this service for one.";
        return Err(Turned::Wrong(what.to_owned()));
    };
    let (cookie, session) = begin_session(console, user.id, account.id).await?;
    tracing::info!(user = %user.id, "somebody signed in to the console");
    Ok(Entered { response: with_cookie(redirect(then), cookie), session })
}

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage {
    frame: Frame,
    ticket: String,
    holds: bool,
}

/// Uses nothing up: mail programs and browsers look at links ahead of their readers.
pub(super) async fn link_page(State(console): State<Arc<Console>>, Asked(asked): Asked) -> Result<Response, Turned> {
    let ticket = asked.get("ticket");
    let holds = match Ticket::parse(ticket) {
        Some(link) => console.store.link_holds(link.digest(), (console.clock)()).await?,
        None => false,
    };
    let status = if holds { StatusCode::OK } else { StatusCode::GONE };
    Ok(page_with(status, &LinkPage { frame: Frame::bare("Sign in", None), ticket: ticket.to_owned(), holds }))
}

pub(super) async fn use_link(State(console): State<Arc<Console>>, Sent(fields): Sent) -> Result<Response, Turned> {
    let user = match Ticket::parse(fields.get("ticket")) {
        Some(link) => console.store.use_link(link.digest(), (console.clock)()).await?,
        None => None,
    };
    match user {
        Some(user) => Ok(enter(&console, &user, "/console").await?.response),
        None => {
            let page = LinkPage { frame: Frame::bare("Sign in", None), ticket: String::new(), holds: false };
            Ok(page_with(StatusCode::GONE, &page))
        }
    }
}

#[derive(Template)]
#[template(path = "console/signed_out.html")]
struct SignedOutPage {
    frame: Frame,
}

pub(super) async fn sign_out(
    State(console): State<Arc<Console>>,
    data: Result<Data, Turned>,
    _: Sent,
) -> Result<Response, Turned> {
    if let Ok(data) = data {
        console.store.end_session(data.cookie()).await?;
    }
    let page = show(&SignedOutPage { frame: Frame::bare("Signed out", None) });
    Ok(with_cookie(page, no_cookie(&console)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_the_console_only() {
        for same in ["/console", "/console/imports", "/console/imports?state=bad&from=a%2520b", "/console?x=1"] {
            assert_eq!(within(same), same);
        }
        for elsewhere in [
            "",
            "https://example.com/console/",
            "//example.com",
            "/console/..//example.com",
            "/consoles",
            "/v1/programs",
            "/console/\\example.com",
            "/console/a b",
            "/console/\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(within(elsewhere), "/console", "{elsewhere:?}");
        }
    }
}
