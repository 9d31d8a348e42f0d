//! The door of the console: who asks, by the session's cookie; whether their role is enough for the page; and what every answer has.
//!
//! A cookie is 32 random bytes in hex, of which the store has the SHA-256. It is kept from scripts, and from other sites' requests as far as
//! browsers do that (`SameSite=Lax`); that forms come from pages of ours is asked of the browser besides, see [`super::routes`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Console;
use super::answer::{Turned, guard, redirect};
use super::data::Data;
use super::frame::Frame;
use crate::http::RequestId;
use crate::store::StoreError;
use crate::tenant::{AccountId, NewSession, Role, Session, TICKET_BYTES, Ticket, TicketDigest, UserId};

/// A session ends after half a day in any case.
const SESSION_MS: i64 = 12 * 60 * 60 * 1_000;
/// And after two hours in which it was not used.
const IDLE_MS: i64 = 2 * 60 * 60 * 1_000;
/// That it was used is written once in so long.
const NOTED_EVERY_MS: i64 = 60 * 1_000;

/// What a page needs of who asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Nothing: it shows nothing of anybody.
    Nobody,
    /// That somebody has this role, or a greater one, in the account that they are in.
    Role(Role),
}

/// What the door asks with.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) console: Arc<Console>,
    pub(super) needs: Needs,
}

/// Lets a request in, or not, and finishes its answer.
pub(super) async fn admit(State(Door { console, needs }): State<Door>, mut request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.text().to_owned()).unwrap_or_default();
    let session = session_of(&console, request.headers()).await;
    let (session, mut response) = match session {
        Err(error) => (None, Turned::Store(error).page(Frame::bare("", None), &id)),
        Ok(found) => {
            let answered = match (needs, &found) {
                (Needs::Nobody, _) => Ok(()),
                (Needs::Role(_), None) => Err(to_sign_in(&request)),
                (Needs::Role(role), Some((_, session))) if session.role < role => {
                    Err(Turned::Forbidden(role).page(Frame::bare("", Some(session)), &id))
                }
                (Needs::Role(_), Some(_)) => Ok(()),
            };
            match answered {
                Err(response) => (found, response),
                Ok(()) => {
                    if let Some((cookie, session)) = &found {
                        let data = Data::new(Arc::clone(&console), session.clone(), *cookie, id.clone());
                        request.extensions_mut().insert(data);
                    }
                    (found, next.run(request).await)
                }
            }
        }
    };
    if let Some(turned) = response.extensions_mut().remove::<Turned>() {
        response = turned.page(Frame::bare("", session.as_ref().map(|(_, session)| session)), &id);
    }
    guard(&mut response);
    response
}

/// To the sign-in page, and from there back to the page that was asked for.
fn to_sign_in(request: &Request) -> Response {
    let place = request.uri().path_and_query().map(|place| place.as_str()).unwrap_or_default();
    if request.method() != Method::GET || place == "/console" {
        return redirect("/console/sign-in");
    }
    let then: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
    redirect(&format!("/console/sign-in?then={then}"))
}

/// The session of a request, if it has one that holds.
async fn session_of(
    console: &Arc<Console>,
    headers: &HeaderMap,
) -> Result<Option<(TicketDigest, Session)>, StoreError> {
    let Some(cookie) = cookie(headers, cookie_name(console)) else { return Ok(None) };
    let now_ms = (console.clock)();
    let Some(session) = console.store.session(cookie, now_ms).await? else { return Ok(None) };
    if session.idle_until_ms.saturating_sub(now_ms) < IDLE_MS - NOTED_EVERY_MS {
        let console = Arc::clone(console);
        // Beside the request, which does not wait for it; what fails here is tried with the next one.
        tokio::spawn(async move {
            if let Err(fault) = console.store.prolong_session(cookie, now_ms.saturating_add(IDLE_MS)).await {
                tracing::debug!(%fault, "the use of a session was not noted");
            }
        });
    }
    Ok(Some((cookie, session)))
}

/// Where browsers speak TLS, the name says that nobody but this very host has set it.
fn cookie_name(console: &Console) -> &'static str {
    if console.settings.is_secure() { "__Host-roster" } else { "roster" }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<TicketDigest> {
    Ticket::parse(cookie_text(headers, name)?).map(|ticket| ticket.digest())
}

/// What the browser has under this name.
pub(super) fn cookie_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Begins a session in an account, and gives the cookie for it, and by what the store knows it.
pub(super) async fn begin_session(
    console: &Console,
    user: UserId,
    account: AccountId,
) -> Result<(HeaderValue, TicketDigest), Turned> {
    let mut bytes = zeroize::Zeroizing::new([0; TICKET_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|fault| Turned::Fault(format!("no randomness: {fault}")))?;
    let ticket = Ticket::of_random(&bytes);
    let now_ms = (console.clock)();
    let session = NewSession {
        digest: ticket.digest(),
        user,
        account,
        until_ms: now_ms.saturating_add(SESSION_MS),
        idle_until_ms: now_ms.saturating_add(IDLE_MS),
    };
    let digest = session.digest;
    console.store.create_session(session, now_ms).await?;
    // Until the browser is closed, or the store says that it is over.
    Ok((set_cookie(console, ticket.expose(), "")?, digest))
}

/// The cookie that takes the cookie away.
pub(super) fn no_cookie(console: &Console) -> Result<HeaderValue, Turned> {
    set_cookie(console, "", "; Max-Age=0")
}

fn set_cookie(console: &Console, ticket: &str, more: &str) -> Result<HeaderValue, Turned> {
    cookie_with(console, cookie_name(console), ticket, more)
}

/// A cookie that scripts do not see, and no other site's forms bring along.
pub(super) fn cookie_with(console: &Console, name: &str, value: &str, more: &str) -> Result<HeaderValue, Turned> {
    let secure = if console.settings.is_secure() { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{more}"))
        .map_err(|_| Turned::Fault("a cookie was no header".to_owned()))
}

/// Gives an answer a cookie.
pub(super) fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let ticket = "ab".repeat(32);
        let found = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(value).expect("a header"));
            cookie(&headers, "roster")
        };
        let expected = Ticket::parse(&ticket).map(|ticket| ticket.digest());
        assert!(expected.is_some());
        assert_eq!(found(&format!("a=b; roster={ticket}; c=d")), expected);
        assert_eq!(found(&format!("roster={}", ticket.to_uppercase())), expected);
        for none in ["", "roster=", "roster=abc", &format!("xroster={ticket}"), &format!("roster={ticket}0")] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
