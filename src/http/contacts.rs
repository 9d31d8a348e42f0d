//! Reading: a program's settings and fields, and its contacts (contract, section 5).

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::HttpState;
use super::answer::Refused;
use super::signed::Signed;
use crate::problem::{Code, Problem};
use crate::store::ContactQuery;
use crate::tenant::{Program, ProgramId};
use crate::wire::{ContactJson, Envelope, FullContactJson, ProgramJson, SchemaJson};

/// Contacts on a page, if the caller names no number.
const COUNT_DEFAULT: u32 = 25;
/// The most contacts on a page.
const COUNT_MAX: u32 = 1_000;

/// The id in a path. What cannot be one is found out only once the signature holds.
pub(super) struct PathId(Option<String>);

impl PathId {
    /// As it stands in the path.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathId, Self::Rejection> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        Ok(PathId(path.ok().map(|Path(id)| id)))
    }
}

/// The program of the path, if it is the token's account's; another account's is not there.
pub(super) async fn program_of(state: &HttpState, signed: &Signed, path: &PathId) -> Result<Program, Refused> {
    let not_found = || Problem::new(Code::NotFound, "There is no such program");
    let id = path.text().and_then(ProgramId::parse).ok_or_else(not_found)?;
    Ok(state.store.program(signed.token.account, id).await?.ok_or_else(not_found)?)
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// `GET /v1/programs/{id}`, with `type=schema` its fields.
pub(super) async fn program(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    parameters: Parameters,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&state, &signed, &path).await?;
    let Query(parameters) = parameters.map_err(bad_query)?;
    match parameter(&parameters, "type") {
        None => Ok(json(&ProgramJson::from(&program))),
        Some("schema") => {
            let schema = state.store.schema(program.account, program.id).await?;
            Ok(json(&SchemaJson::from(&schema)))
        }
        Some(other) => Err(bad_parameter("type", other, "'schema', or leave it out").into()),
    }
}

/// `GET /v1/programs/{id}/participants`, with `type=full` everything about each.
pub(super) async fn of_program(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    uri: Uri,
    parameters: Parameters,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&state, &signed, &path).await?;
    let Query(parameters) = parameters.map_err(bad_query)?;
    let full = match parameter(&parameters, "type") {
        None => false,
        Some("full") => true,
        Some(other) => return Err(bad_parameter("type", other, "'full', or leave it out").into()),
    };
    let query = contact_query(&parameters)?;
    let page = state.store.contacts(program.account, program.id, query).await?;
    let link = |offset: u64| link(uri.path(), &parameters, offset);
    let (total, offset, count) = (page.total, query.offset, u64::from(query.count));
    if full {
        let schema = state.store.schema(program.account, program.id).await?;
        let items: Vec<FullContactJson> =
            page.contacts.iter().map(|contact| FullContactJson::of(contact, &program, &schema)).collect();
        return Ok(json(&Envelope::new(items, total, offset, count, link)));
    }
    let items: Vec<ContactJson> = page.contacts.iter().map(|contact| ContactJson::of(contact, &program)).collect();
    Ok(json(&Envelope::new(items, total, offset, count, link)))
}

fn contact_query(parameters: &[(String, String)]) -> Result<ContactQuery, Problem> {
    let whole = |name: &str, right: &str, least: u64, most: u64| match parameter(parameters, name) {
        None => Ok(None),
        Some(text) => match whole_number(text) {
            Some(number) if number >= least => Ok(Some(number.min(most))),
            _ => Err(bad_parameter(name, text, right)),
        },
    };
    let count = whole("count", "a whole number from 1", 1, u64::from(COUNT_MAX))?;
    let offset = whole("offset", "a whole number from 0", 0, i64::MAX as u64)?;
    let active_only = match parameter(parameters, "active") {
        None => true,
        Some("all") => false,
        Some(other) => return Err(bad_parameter("active", other, "'all', or leave it out")),
    };
    let updated_after_ms = match parameter(parameters, "updated-after") {
        None => None,
        Some(text) => {
            // In a query a + means a blank; nobody writes a blank before an offset.
            let moment: Option<Timestamp> = text.replace(' ', "+").parse().ok();
            let right = "a moment as in 2026-11-22T12:00:00Z";
            Some(moment.ok_or_else(|| bad_parameter("updated-after", text, right))?.as_millisecond())
        }
    };
    let count = count.and_then(|count| u32::try_from(count).ok()).unwrap_or(COUNT_DEFAULT);
    Ok(ContactQuery { active_only, updated_after_ms, offset: offset.unwrap_or(0), count })
}

/// Digits only; what is beyond 64 bits is as good as the highest number.
fn whole_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The last value of a parameter.
fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().rev().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
}

/// The same request at another offset: path and query.
fn link(path: &str, parameters: &[(String, String)], offset: u64) -> String {
    let offset = offset.to_string();
    let mut pairs: Vec<(&str, &str)> = parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| *name != "offset")
        .collect();
    pairs.push(("offset", &offset));
    format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

fn bad_query(_: QueryRejection) -> Problem {
    Problem::new(Code::BadParameter, "The query cannot be read; write it as name=value&name=value, percent-encoded")
}

fn bad_parameter(name: &str, got: &str, right: &str) -> Problem {
    let got: String = got.chars().take(100).collect();
    Problem::new(Code::BadParameter, format!("The parameter '{name}' is '{got}'; send {right}")).with("parameter", name)
}

fn json(value: &impl Serialize) -> Response {
    let mut response = serde_json::to_string(value).unwrap_or_default().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
