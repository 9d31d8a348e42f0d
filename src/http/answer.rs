//! The last hand on every answer: its request id, its problem document, its line in the log.
//!
//! Handlers return a [`Refused`]; it is written out here, where the request's id is known, so that a fault is logged once
//! and a caller sees its id only.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::limits::Tally;
use crate::metrics::{REQUESTS, SIGNATURE_FAILURES};
use crate::problem::{Code, Problem};
use crate::store::StoreError;

/// How long a caller is asked to wait when the store is not available, in seconds.
const RETRY_AFTER_STORE_S: u64 = 5;

/// Lines of the log in a second about requests that nobody has signed. Who sends thousands fills no disk, and drowns no other line;
/// `roster_signature_failures_total` counts all.
const UNSIGNED_LINES_MAX: u32 = 20;

/// How many there were in this second.
static UNSIGNED_LINES: Mutex<UnsignedLines> = Mutex::new(UnsignedLines { since: None, lines: 0, left_out: 0 });

struct UnsignedLines {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl UnsignedLines {
    /// Whether one more is written; and how many were left out before it, where that is to be told.
    fn one_more(&mut self, now: Instant) -> (bool, u64) {
        let mut told = 0;
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            told = std::mem::take(&mut self.left_out);
            (self.since, self.lines) = (Some(now), 0);
        }
        let is_written = self.lines < UNSIGNED_LINES_MAX;
        if is_written {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        (is_written, told)
    }
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// The caller's: it is told.
    Problem(Box<Problem>),
    /// The store cannot now; the sentence is for the log.
    Unavailable(String),
    /// Ours; the sentence is for the log.
    Fault(String),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Problem(Box::new(problem))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        match error {
            StoreError::Unavailable(_) => Refused::Unavailable(error.to_string()),
            StoreError::Refused(_) | StoreError::LostClaim | StoreError::Cancelled(_) | StoreError::Fault(_) => {
                Refused::Fault(error.to_string())
            }
        }
    }
}

impl IntoResponse for Refused {
    /// A place for [`finish`] to fill in.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// 200, with a JSON body.
pub(super) fn json(value: &impl Serialize) -> Response {
    let mut response = serde_json::to_string(value).unwrap_or_default().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The id of a request, for lines of the log about what came of it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(super) String);

impl RequestId {
    /// Itself.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Gives the request an id, and its answer the id, the problem document if it was refused, and a line in the log.
pub(super) async fn finish(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::new_v4().simple().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    // What else came with a body in chunks may be read by others as another request (RFC 9112, section 6.3): it is the connection's last one.
    let is_last = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        let close = response.headers_mut().remove("connection");
        response = write(refused, &id);
        if let Some(close) = close {
            response.headers_mut().insert("connection", close);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.status().as_u16() >= 400 {
        tally.give_back();
    }
    count(route.as_deref(), response.status());
    log(&id, &method, &path, response.status(), started);
    response
}

/// A path is counted by its template: what a stranger makes up is one route.
fn count(route: Option<&str>, status: StatusCode) {
    let class = match status.as_u16() {
        ..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500.. => "5xx",
    };
    REQUESTS.add(&[route.unwrap_or("none"), class], 1);
}

fn write(refused: Refused, id: &str) -> Response {
    let problem = match refused {
        Refused::Problem(problem) => {
            tracing::debug!(request = id, code = problem.code.entry().word, "request refused");
            if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
                SIGNATURE_FAILURES.add(&[problem.code.entry().word], 1);
            }
            *problem
        }
        Refused::Unavailable(why) => {
            tracing::warn!(request = id, why, "request put off");
            let problem = Problem::new(
                Code::Busy,
                "The store is not available at the moment; sent again as it is, the request is taken once",
            );
            Problem { retry_after_s: Some(RETRY_AFTER_STORE_S), ..problem }
        }
        Refused::Fault(why) => {
            tracing::error!(incident = id, why, "request failed");
            Problem::new(Code::Internal, format!("The request failed; incident {id}")).with("incident", id)
        }
    };
    problem_response(&problem, id)
}

fn problem_response(problem: &Problem, id: &str) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, problem.to_json(id).to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("SignalVine"));
    }
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    response
}

/// One line for each request: never its query, its headers or its body. What only looks is logged for who looks closely.
fn log(id: &str, method: &Method, path: &str, status: StatusCode, started: Instant) {
    if status == StatusCode::UNAUTHORIZED {
        let (is_written, left_out) =
            UNSIGNED_LINES.lock().unwrap_or_else(PoisonError::into_inner).one_more(Instant::now());
        if left_out > 0 {
            tracing::warn!(left_out, "many requests that nobody has signed; so many were answered and not logged");
        }
        if !is_written {
            return;
        }
    }
    let (status, duration_ms) = (status.as_u16(), started.elapsed().as_millis() as u64);
    // A path is what a stranger sent: its length is bounded here, its characters by HTTP.
    let path = path.get(..path.len().min(200)).unwrap_or("(not ASCII)");
    if method == Method::GET && status < 400 {
        tracing::debug!(request = id, %method, path, status, duration_ms, "request answered");
    } else {
        tracing::info!(request = id, %method, path, status, duration_ms, "request answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_few_lines() {
        let mut lines = UnsignedLines { since: None, lines: 0, left_out: 0 };
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let written = (0..1_000).filter(|ms| lines.one_more(at(*ms)).0).count();
        assert_eq!(written, 20);
        assert_eq!(lines.one_more(at(1_000)), (true, 980), "what was left out is told once");
        assert_eq!(lines.one_more(at(1_001)), (true, 0));
    }
}
