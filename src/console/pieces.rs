//! A file that a script sends in pieces of a megabyte, so that no limit of a proxy on the size of a request limits the file. What has come is held by
//! the node that began: a piece that comes to another one is not found there, and the script sends the file in one request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::OwnedSemaphorePermit;

use super::Console;
use super::answer::Turned;
use super::data::Data;
use super::form::{Asked, Sent};
use super::programs::id_of_program;
use super::taking::Taking;
use super::uploads::{keep, new_id, turn};
use crate::store::UploadId;
use crate::tenant::{ProgramId, UserId};

/// The largest piece: what proxies let through that nobody has set up for files.
const BYTES_MAX: usize = 1 << 20;
/// How long the next piece may take to come; then the file is forsaken.
const NEXT_WITHIN_MS: i64 = 2 * 60 * 1_000;

/// Files that are under way.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<Option<Coming>>>>>);

/// A file of which some has come.
struct Coming {
    user: UserId,
    program: ProgramId,
    file_name: String,
    taking: Taking,
    touched_ms: i64,
    /// Its place among those that come in.
    _turn: OwnedSemaphorePermit,
}

impl UnderWay {
    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<tokio::sync::Mutex<Option<Coming>>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of those whose browsers are gone.
    pub(super) fn forget(&self, now_ms: i64) {
        self.all().retain(|_, coming| {
            // One that is locked is being written.
            let Ok(coming) = coming.try_lock() else { return true };
            coming.as_ref().is_some_and(|coming| now_ms.saturating_sub(coming.touched_ms) < NEXT_WITHIN_MS)
        });
    }

    fn get(&self, id: UploadId) -> Option<Arc<tokio::sync::Mutex<Option<Coming>>>> {
        self.all().get(&id).map(Arc::clone)
    }
}

/// `POST /console/programs/{program}/pieces`: begins a file; the answer is what it is called.
pub(super) async fn begin(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(program): Path<String>,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?.id;
    let bytes_max = console.settings.file_bytes_max;
    if fields.get("bytes").parse::<u64>().is_ok_and(|bytes| bytes > bytes_max) {
        return Err(Turned::TooLarge(bytes_max));
    }
    let turn = turn(&console).await?;
    let id = new_id();
    let receiving = data.clone();
    let begun = tokio::task::spawn_blocking(move || Taking::begin(&receiving, (program, id), bytes_max)).await;
    let coming = Coming {
        user: data.session().user,
        program,
        file_name: fields.get("name").to_owned(),
        taking: begun.map_err(|_| Turned::Fault("beginning a file panicked".to_owned()))??,
        touched_ms: data.now_ms(),
        _turn: turn,
    };
    console.under_way.all().insert(id, Arc::new(tokio::sync::Mutex::new(Some(coming))));
    Ok((StatusCode::CREATED, id.to_string()).into_response())
}

fn find(console: &Console, id: &str) -> Result<Arc<tokio::sync::Mutex<Option<Coming>>>, Turned> {
    UploadId::parse(id).and_then(|id| console.under_way.get(id)).ok_or(Turned::NotFound("file"))
}

/// Whose it is, and nobody else's.
fn own<'a>(coming: &'a mut Option<Coming>, data: &Data) -> Result<&'a mut Coming, Turned> {
    coming.as_mut().filter(|coming| coming.user == data.session().user).ok_or(Turned::NotFound("file"))
}

/// `POST /console/pieces/{upload}?at=N`: the bytes from this one on. A piece that has come already is taken for come.
pub(super) async fn piece(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(upload): Path<String>,
    Asked(asked): Asked,
    body: Body,
) -> Result<Response, Turned> {
    let held = find(&console, &upload)?;
    let mut held = held.lock_owned().await;
    let bytes = read(body, console.settings.pause_max).await?;
    let coming = own(&mut held, &data)?;
    let at: u64 = asked.get("at").parse().map_err(|_| Turned::Wrong("From which byte on was not said.".to_owned()))?;
    let come = coming.taking.bytes();
    if at.checked_add(bytes.len() as u64) == Some(come) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if at != come {
        return Err(Turned::TooLate(format!("The file has come up to byte {come}, and not to byte {at}.")));
    }
    let now_ms = data.now_ms();
    let written = tokio::task::spawn_blocking(move || {
        // Taken out: what fails in the middle is no file any more.
        let mut coming = held.take().ok_or(Turned::NotFound("file"))?;
        coming.taking.take(&bytes)?;
        coming.touched_ms = now_ms;
        *held = Some(coming);
        Ok::<_, Turned>(())
    });
    written.await.map_err(|_| Turned::Fault("writing a piece of a file panicked".to_owned()))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn read(body: Body, within: Duration) -> Result<Bytes, Turned> {
    let collected = tokio::time::timeout(within, Limited::new(body, BYTES_MAX).collect()).await;
    let collected = collected.map_err(|_| Turned::Wrong("The piece did not arrive in time.".to_owned()))?;
    let wrong = |_| Turned::Wrong(format!("A piece has at most {BYTES_MAX} bytes; or it broke off on its way."));
    Ok(collected.map_err(wrong)?.to_bytes())
}

/// `POST /console/pieces/{upload}/end`: that was all. The answer is where the file is looked at.
pub(super) async fn end(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(upload): Path<String>,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let held = find(&console, &upload)?;
    let mut held = held.lock_owned().await;
    let coming = own(&mut held, &data)?;
    let come = coming.taking.bytes();
    if fields.get("bytes").parse() != Ok(come) {
        return Err(Turned::TooLate(format!("The file has come up to byte {come} only.")));
    }
    if come == 0 {
        return Err(Turned::Wrong("The file is empty.".to_owned()));
    }
    let ended = tokio::task::spawn_blocking(move || {
        let Coming { program, file_name, taking, .. } = held.take().ok_or(Turned::NotFound("file"))?;
        Ok::<_, Turned>((program, file_name, taking.finish()?))
    });
    let ended = ended.await.map_err(|_| Turned::Fault("ending a file panicked".to_owned()))?;
    let (program, file_name, received) = ended?;
    console.under_way.forget(data.now_ms());
    let kept = keep(&data, program, &file_name, received).await?;
    Ok((StatusCode::OK, format!("/console/uploads/{kept}")).into_response())
}
