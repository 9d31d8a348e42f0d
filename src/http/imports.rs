//! `POST /v2/programs/{id}/participants`: an import is checked, accepted and answered with its place.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::HttpState;
use super::answer::Refused;
use super::commands::{Wait, status_response};
use super::limits::{Upload, queue_full};
use super::parameters::RawParameters;
use super::path::{PathId, program_of};
use super::signed::{Posted, Signed};
use super::stream;
use crate::command::test_point::test_point;
use crate::command::{Accepted, CommandId, IdempotencyKey, NewCommand, Payload, Sender};
use crate::import::ImportOptions;
use crate::metrics::ACCEPT;
use crate::problem::{Code, Problem};
use crate::tenant::ProgramId;
use crate::wire::{ImportRequest, read_import};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest `Idempotency-Key`, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long an `Idempotency-Key` is remembered (contract, section 1).
const IDEMPOTENCY_KEY_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// A signature is remembered at least so long, and longer than it is fresh.
const SIGNATURE_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

pub(super) async fn accept(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    parameters: RawParameters,
    posted: Posted,
) -> Result<Response, Refused> {
    match posted {
        Posted::Whole(signed) => accept_json(&state, &path, signed).await,
        Posted::Stream(signed, body) => stream::accept(&state, &path, parameters, signed, body).await,
    }
}

async fn accept_json(state: &HttpState, path: &PathId, signed: Signed) -> Result<Response, Refused> {
    let program = program_of(&signed, path).await?;
    let first = signed.data.remembered(&signed.signature).await?;
    if let Some(first) = first
        && first.request_digest == signed.request_digest
    {
        return replay(state, &signed, first.command).await;
    }
    check_media_type(&signed.headers)?;
    let key = idempotency_key(&signed)?;
    let (signed, request) = read_body(signed, program.id).await?;
    if first.is_some() {
        return Err(signature_reused().into());
    }
    let upload = signed.data.admit_upload()?;
    let import = Import {
        id: new_id(),
        program: program.id,
        key,
        options: request.options,
        payload: Payload::Held(request.participants),
        upload,
    };
    take_on(state, &signed, import).await
}

/// An import that is complete but for who sent it.
pub(super) struct Import {
    pub(super) id: CommandId,
    pub(super) program: ProgramId,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) options: ImportOptions,
    pub(super) payload: Payload,
    /// Its place among those that come in; given up when it is accepted.
    pub(super) upload: Upload,
}

/// An id for a new command.
pub(super) fn new_id() -> CommandId {
    CommandId(Uuid::now_v7())
}

/// The problem of a signature that was accepted before, over other bytes.
pub(super) fn signature_reused() -> Problem {
    let detail = "This signature was accepted before, for a request with other bytes (signatures are blind to case)";
    Problem::new(Code::SignatureReused, detail)
}

/// Has the store accept an import, and answers.
pub(super) async fn take_on(state: &HttpState, signed: &Signed, import: Import) -> Result<Response, Refused> {
    let program = import.program;
    let started = Instant::now();
    let (command, upload) = new_command(state, signed, import);
    let accepted = signed.data.accept(command).await?;
    drop(upload);
    ACCEPT.observe(started.elapsed());
    test_point("accept.after_commit");
    if let Accepted::New(command) = accepted {
        tracing::info!(request = signed.request_id, %command, %program, "import accepted");
    }
    match accepted {
        Accepted::New(command) => answer(state, signed, command, false).await,
        Accepted::Replayed(command) => answer(state, signed, command, true).await,
        Accepted::SignatureReused => Err(signature_reused().into()),
        Accepted::IdempotencyKeyReused => {
            Err(Problem::new(Code::IdempotencyKeyReused, "This Idempotency-Key was accepted before, with another body")
                .into())
        }
        Accepted::QueueFull { of, max } => Err(queue_full(of, max).into()),
    }
}

/// The answer to a request that was accepted before, whatever the limits are.
pub(super) async fn replay(state: &HttpState, signed: &Signed, command: CommandId) -> Result<Response, Refused> {
    signed.data.admit_replay();
    answer(state, signed, command, true).await
}

/// 202, with the command's place and its current state.
pub(super) async fn answer(
    state: &HttpState,
    signed: &Signed,
    command: CommandId,
    replayed: bool,
) -> Result<Response, Refused> {
    let wait = Wait::asked(&signed.headers, state.settings.wait_max);
    let command = wait
        .until_complete(state, &signed.data, command)
        .await?
        .ok_or_else(|| Refused::Fault(format!("command {command} was accepted and is not there")))?;
    let mut response = status_response(state, &command, &wait);
    *response.status_mut() = StatusCode::ACCEPTED;
    let location = HeaderValue::from_str(&format!("/v2/commands/{}", command.id));
    if let Ok(location) = location {
        response.headers_mut().insert("location", location);
    }
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response.into_response())
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        let got = content_type.map_or("no Content-Type".to_owned(), |value| format!("Content-Type '{value}'"));
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("The request has {got}; send application/json or text/csv"),
        ));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Problem::new(Code::UnsupportedMediaType, "The body has a Content-Encoding; send it without"))
        }
        _ => Ok(()),
    }
}

pub(super) fn idempotency_key(signed: &Signed) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = signed.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX);
    let Some(key) = key else {
        let detail = format!("The Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters");
        return Err(Problem::new(Code::BadParameter, detail));
    };
    Ok(Some(IdempotencyKey {
        key: key.to_owned(),
        body_digest: signed.body_digest,
        forgotten_before_ms: signed.now_ms.saturating_sub(IDEMPOTENCY_KEY_KEPT_MS),
    }))
}

/// Bodies above this size are parsed on a thread for long work.
const PARSE_APART_BYTES: usize = 64 * 1024;

async fn read_body(mut signed: Signed, program: ProgramId) -> Result<(Signed, ImportRequest), Refused> {
    // Nobody else has it, so it is not copied.
    let body = Vec::from(std::mem::take(&mut signed.body));
    let request = if body.len() <= PARSE_APART_BYTES {
        read_import(body, program)
    } else {
        let read = tokio::task::spawn_blocking(move || read_import(body, program)).await;
        read.map_err(|_| Refused::Fault("reading the body panicked".to_owned()))?
    };
    Ok((signed, request.map_err(Problem::of_faults)?))
}

fn new_command(state: &HttpState, signed: &Signed, import: Import) -> (NewCommand, Upload) {
    let Import { id, program, key: idempotency, options, payload, upload } = import;
    let window_ms = i64::try_from(state.settings.freshness.as_millis()).unwrap_or(i64::MAX);
    // Fresh until then, wherever in the window the clocks were.
    let fresh_until_ms = signed.signed_at.as_millisecond().saturating_add(window_ms.saturating_mul(2));
    let forget_before_ms = (state.steady)();
    let idempotency = idempotency.map(|key| IdempotencyKey {
        forgotten_before_ms: key.forgotten_before_ms.min(forget_before_ms.saturating_sub(IDEMPOTENCY_KEY_KEPT_MS)),
        ..key
    });
    let command = NewCommand {
        id,
        account: signed.data.token().account,
        program,
        sender: Sender::Token(signed.data.token().number),
        created_ms: signed.now_ms,
        options,
        payload,
        signature: signed.signature,
        request_digest: signed.request_digest,
        body_digest: Some(signed.body_digest),
        remember_until_ms: fresh_until_ms.max(signed.now_ms).saturating_add(SIGNATURE_KEPT_MS),
        forget_before_ms,
        idempotency,
    };
    (command, upload)
}
