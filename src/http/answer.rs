//! The last hand on every answer: its request id, its problem document, its line in the log.
//!
//! Handlers return a [`Refused`]; it is written out here, where the request's id is known, so that a fault is logged once
//! and a caller sees its id only.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
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
pub(super) struct RequestId(pub(super) String);

/// Gives the request an id, and its answer the id, the problem document if it was refused, and a line in the log.
pub(super) async fn finish(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::new_v4().simple().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
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
    let (status, duration_ms) = (status.as_u16(), started.elapsed().as_millis() as u64);
    // A path is what a stranger sent: its length is bounded here, its characters by HTTP.
    let path = path.get(..path.len().min(200)).unwrap_or("(not ASCII)");
    if method == Method::GET && status < 400 {
        tracing::debug!(request = id, %method, path, status, duration_ms, "request answered");
    } else {
        tracing::info!(request = id, %method, path, status, duration_ms, "request answered");
    }
}
