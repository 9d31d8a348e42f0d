//! The last hand on every answer of the console: its headers, and the page for what is not shown or not done.
//!
//! Handlers return [`Turned`]; it becomes a page at the door ([`super::admission`]), where it is known who looks and what the request is called.

use askama::Template;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::frame::Frame;
use super::words;
use crate::store::StoreError;
use crate::tenant::Role;

/// Nothing from elsewhere, nothing written into a page itself, forms only to here, and in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// How long somebody is asked to wait when there is no room, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// Why a page is not shown, or a form not carried out.
#[derive(Clone, Debug)]
pub(super) enum Turned {
    /// There is nothing, or it is another account's: what there is not.
    NotFound(&'static str),
    /// Nobody is signed in (any more).
    SignIn,
    /// Whoever looks has a lesser role than this one.
    Forbidden(Role),
    /// It was sent by a page that is not ours.
    Elsewhere,
    /// What was sent is not what a form of ours sends, or does not go.
    Wrong(String),
    /// It is too late for it.
    TooLate(String),
    /// The file is larger than this, in bytes.
    TooLarge(u64),
    /// There is no room now.
    Busy(String),
    /// The store did not do it.
    Store(StoreError),
    /// Ours; the sentence is for the log.
    Fault(String),
}

impl From<StoreError> for Turned {
    fn from(error: StoreError) -> Turned {
        Turned::Store(error)
    }
}

impl IntoResponse for Turned {
    /// A place for the door to fill in.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "console/turned.html")]
struct TurnedPage {
    frame: Frame,
    heading: &'static str,
    what: String,
    /// What would help.
    remedy: &'static str,
    incident: Option<String>,
}

impl Turned {
    /// The page that tells it; `request` names the request in the log.
    pub(super) fn page(self, frame: Frame, request: &str) -> Response {
        let plain = |status, heading, what: String, remedy| (status, heading, what, remedy, None);
        let (status, heading, what, remedy, incident) = match self {
            Turned::SignIn => return redirect("/console/sign-in"),
            Turned::NotFound(what) => plain(
                StatusCode::NOT_FOUND,
                "Not found",
                format!("There is no such {what} in this account."),
                "Follow a link from the overview, or look whether you are in the right account.",
            ),
            Turned::Forbidden(role) => plain(
                StatusCode::FORBIDDEN,
                "Not allowed",
                format!("This needs the role {} in this account.", role.as_str()),
                "Ask whoever runs this service to change your role, or to do it for you.",
            ),
            Turned::Elsewhere => plain(
                StatusCode::FORBIDDEN,
                "Not from here",
                "The form was not sent by a page of this console, or the proxy before it does not pass on the headers Host and Origin."
                    .to_owned(),
                "Nothing was changed. Open the page anew, and send its form.",
            ),
            Turned::Wrong(what) => plain(
                StatusCode::BAD_REQUEST,
                "That does not work",
                what,
                "Nothing was changed. Go back and try again.",
            ),
            Turned::TooLate(what) => plain(StatusCode::CONFLICT, "Too late", what, "Nothing was changed."),
            Turned::TooLarge(most) => plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                format!("The file is larger than {}, the most that this service takes.", words::bytes(most)),
                "Split it, or ask whoever runs this service to raise stream_bytes_max.",
            ),
            Turned::Busy(what) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "Busy", what, "Nothing was changed. Try again in a moment.")
            }
            Turned::Store(StoreError::Unavailable(why)) => {
                tracing::warn!(request, why, "page put off");
                plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Not available",
                    "The data cannot be reached at the moment.".to_owned(),
                    "Nothing was changed. Try again in a moment.",
                )
            }
            Turned::Store(StoreError::Refused(what)) => {
                plain(StatusCode::BAD_REQUEST, "That does not work", sentence(&what), "Nothing was changed.")
            }
            Turned::Store(fault @ (StoreError::LostClaim | StoreError::Cancelled(_) | StoreError::Fault(_))) => {
                failed(&fault.to_string(), request)
            }
            Turned::Fault(why) => failed(&why, request),
        };
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE;
        let frame = Frame { title: heading.to_owned(), ..frame };
        let mut response = page_with(status, &TurnedPage { frame, heading, what, remedy, incident });
        if is_busy {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

type Told = (StatusCode, &'static str, String, &'static str, Option<String>);

fn failed(why: &str, request: &str) -> Told {
    tracing::error!(incident = request, why, "page failed");
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something failed",
        "This is a fault of the service, not yours.".to_owned(),
        "Tell whoever runs the service the incident's number.",
        Some(request.to_owned()),
    )
}

/// With a capital letter and a full stop.
pub(super) fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

/// 200, with a page.
pub(super) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page with another status.
pub(super) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let content_type = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(CONTENT_TYPE, content_type)], html).into_response()
        }
        Err(fault) => Turned::Fault(format!("a page could not be written: {fault}")).into_response(),
    }
}

/// 303: go and look there.
pub(super) fn redirect(place: &str) -> Response {
    match HeaderValue::from_str(place) {
        Ok(place) => (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response(),
        Err(_) => Turned::Fault("a place to go to was no header".to_owned()).into_response(),
    }
}

/// What every answer of the console says to the browser.
pub(super) fn guard(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: with it a form of ours would not say where it comes from, where the browser says it by `Origin` alone.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=()"));
    // Contacts stay in no cache, also not for who presses "back" after signing out.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
