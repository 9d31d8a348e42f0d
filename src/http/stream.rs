//! The stream form of an import: `Content-Type: text/csv`, the options in the query, the body signed by its digest. Here is what the
//! headers and the query say, and how the body is passed on; what becomes of its bytes is in `spool`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::Refused;
use super::imports::{Import, idempotency_key, new_id, replay, signature_reused, take_on};
use super::limits::Limit;
use super::parameters::{Parameters, RawParameters};
use super::path::{PathId, program_of};
use super::signed::Signed;
use super::spool::{Coding, Spool};
use super::{HttpSettings, HttpState, body};
use crate::command::{CommandId, Digest, IdempotencyKey, Payload};
use crate::import::{Charset, Form, ImportOptions};
use crate::problem::{Code, Problem};
use crate::tenant::ProgramId;
use crate::wire::{read_options, write_options};

/// How long one more waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// How long who had none is asked to wait, in seconds.
const RETRY_AFTER_S: u64 = 5;
/// Portions of a body that wait for the spooling thread, at most.
const PORTIONS_AHEAD_MAX: usize = 2;

/// What is known before the body is read.
enum Asked {
    /// A request that was accepted before.
    Again(CommandId),
    /// One that may be accepted.
    Import { program: ProgramId, options: ImportOptions, key: Option<IdempotencyKey>, coding: Coding },
}

pub(super) async fn accept(
    state: &HttpState,
    path: &PathId,
    parameters: RawParameters,
    signed: Signed,
    body: Body,
) -> Result<Response, Refused> {
    let asked = match look_at(path, parameters, &signed).await {
        Ok(asked) => asked,
        Err(refused) => {
            body::drain(&signed.headers, body).await;
            return Err(refused);
        }
    };
    match asked {
        Asked::Again(command) => {
            let HttpSettings { stream_bytes_max, pause_max, .. } = state.settings;
            body::read_away(&signed.headers, body, stream_bytes_max, pause_max).await;
            replay(state, &signed, command).await
        }
        Asked::Import { program, options, key, coding } => {
            let upload = match signed.data.admit_upload() {
                Ok(upload) => upload,
                Err(problem) => {
                    body::drain(&signed.headers, body).await;
                    return Err(problem.into());
                }
            };
            let id = new_id();
            let payload = receive(state, &signed, (program, id), coding, body).await?;
            take_on(state, &signed, Import { id, program, key, options, payload, upload }).await
        }
    }
}

/// In the contract's order: the program, the request sent before, media type, query, signature.
async fn look_at(path: &PathId, parameters: RawParameters, signed: &Signed) -> Result<Asked, Refused> {
    let program = program_of(signed, path).await?;
    let first = signed.data.remembered(&signed.signature).await?;
    if let Some(first) = first
        && first.request_digest == signed.request_digest
    {
        return Ok(Asked::Again(first.command));
    }
    let coding = coding(&signed.headers)?;
    let form = Form::File { charset: charset(&signed.headers)? };
    let key = idempotency_key(signed)?;
    let parameters = Parameters::read(parameters)?;
    let options = read_options(parameters.pairs(), form).map_err(Problem::of_faults)?;
    if first.is_some() {
        return Err(signature_reused().into());
    }
    let key = key.map(|key| IdempotencyKey { body_digest: with_options(&options, key.body_digest), ..key });
    Ok(Asked::Import { program: program.id, options, key, coding })
}

/// What a key is for: the same file with other options is another import, as it is in JSON, where the options are in the body.
fn with_options(options: &ImportOptions, body: Digest) -> Digest {
    let charset = match options.form {
        Form::Json | Form::File { charset: None } => "",
        Form::File { charset: Some(charset) } => charset.as_str(),
    };
    let options = write_options(options);
    let parts = [options.as_bytes(), b"\n", charset.as_bytes(), b"\n", &body];
    parts.into_iter().fold(Sha256::new(), |digest, part| digest.chain_update(part)).finalize().into()
}

fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = codings.next().map(|value| value.to_str().unwrap_or_default().trim().to_ascii_lowercase());
    match coding.as_deref() {
        _ if codings.next().is_some() => Err(unsupported("more than one Content-Encoding; send gzip, zstd or none")),
        None | Some("identity") => Ok(Coding::Identity),
        Some("gzip" | "x-gzip") => Ok(Coding::Gzip),
        Some("zstd") => Ok(Coding::Zstd),
        Some(other) => Err(unsupported(&format!("the Content-Encoding '{other}'; send gzip, zstd or none"))),
    }
}

/// As `Content-Type` names it; the last one counts.
fn charset(headers: &HeaderMap) -> Result<Option<Charset>, Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let Some((_, value)) = named.last() else { return Ok(None) };
    let name = value.trim().trim_matches('"');
    match Charset::parse(name) {
        Some(charset) => Ok(Some(charset)),
        None => Err(unsupported(&format!("the charset '{name}'; send utf-8, utf-16, utf-16be or windows-1252"))),
    }
}

fn unsupported(what: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("The body has {what}"))
}

/// Reads the body, and has a thread for blocking work put it into the store.
async fn receive(
    state: &HttpState,
    signed: &Signed,
    (program, command): (ProgramId, CommandId),
    coding: Coding,
    body: Body,
) -> Result<Payload, Refused> {
    let turn = match turn(state).await {
        Ok(turn) => turn,
        Err(problem) => {
            body::drain(&signed.headers, body).await;
            return Err(problem.into());
        }
    };
    let bytes_max = state.settings.stream_bytes_max;
    let (data, digest, turns) = (signed.data.clone(), signed.body_digest, Arc::clone(&state.unpacking));
    let spool = Spool { data, program, command, coding, digest, bytes_max, turns };
    let (portions, coming) = mpsc::channel(PORTIONS_AHEAD_MAX);
    let spooling = tokio::task::spawn_blocking(move || {
        let payload = spool.run(coming);
        drop(turn);
        payload
    });
    let passed_on = pass_on(body, bytes_max, state.settings.pause_max, portions).await;
    let spooled = spooling.await.map_err(|_| Refused::Fault("receiving a file panicked".to_owned()))?;
    // What was wrong with the coming in goes before what became of its beginning.
    passed_on?;
    spooled
}

async fn turn(state: &HttpState) -> Result<OwnedSemaphorePermit, Problem> {
    match tokio::time::timeout(TURN_WAIT, Arc::clone(&state.streams).acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Limit::Streams.turns_away(state.settings.streams_max as u64, RETRY_AFTER_S)),
    }
}

/// Hands the body to the spooling thread, and says where it ends. Without that word the thread takes it for broken off.
async fn pass_on(
    mut body: Body,
    bytes_max: u64,
    pause_max: Duration,
    portions: mpsc::Sender<Option<Bytes>>,
) -> Result<(), Problem> {
    let mut bytes = 0;
    loop {
        let portion = body::next_portion(&mut body, pause_max).await?;
        let is_last = portion.is_none();
        bytes += portion.as_ref().map_or(0, Bytes::len) as u64;
        if bytes > bytes_max {
            drop(portions);
            body::drain_rest(body).await;
            return Err(body::too_large(bytes_max, None));
        }
        if portions.send(portion).await.is_err() {
            // It has ended for a reason of its own, and tells it.
            body::drain_rest(body).await;
            return Ok(());
        }
        if is_last {
            return Ok(());
        }
    }
}
