//! Reading a request's body: within its limit, within the room that all bodies share, and so that a client that sent too
//! much still sees the answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use super::HttpState;
use super::answer::Refused;
use super::limits::Limit;
use crate::problem::{Code, Problem};

/// The unit in which room for bodies is counted.
pub(super) const ROOM_UNIT_BYTES: u64 = 64 * 1024;
/// How long a body waits for room before the request is put off.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// How long who had none is asked to wait, in seconds.
const ROOM_RETRY_AFTER_S: u64 = 5;
/// How much of a body must have arrived before the rest of its promised length is believed.
const PROMISE_BELIEVED_BYTES: usize = 1024 * 1024;
/// How much of a body that is not held whole is passed on at a time. Also what must arrive of any body within the time that is allowed.
const PORTION_BYTES_ENOUGH: usize = 256 * 1024;
/// How much of a body that is refused is read and thrown away, so that the client comes to see the answer.
const DRAIN_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long the client may pause meanwhile.
const DRAIN_IDLE_MAX: Duration = Duration::from_secs(3);
/// And how long it may take altogether.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Units of room for so many bytes, rounded up.
pub(super) fn room_units(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(usize::MAX >> 4)
}

/// The length that the headers promise.
pub(super) fn promised_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body in memory, with the room that it takes.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Reads a body that is to be kept.
pub(super) async fn read(state: &HttpState, headers: &HeaderMap, body: Body) -> Result<Held, Refused> {
    let limit = state.settings.body_bytes_max;
    let promised = match promised_bytes(headers) {
        Some(promised) => promised,
        None if axum::body::HttpBody::is_end_stream(&body) => 0,
        None => limit,
    };
    let room = match room_for(state, promised).await {
        Ok(room) => room,
        Err(problem) => {
            drain(headers, body).await;
            return Err(problem.into());
        }
    };
    let bytes = collect(body, (limit, promised), state.settings.pause_max).await?;
    Ok(Held { bytes, room })
}

/// Whether a body is, or may be, so large that it gets a share of the room for bodies.
pub(super) fn needs_room(headers: &HeaderMap, body: &Body) -> bool {
    match promised_bytes(headers) {
        Some(promised) => promised > ROOM_UNIT_BYTES,
        None => !axum::body::HttpBody::is_end_stream(body),
    }
}

async fn room_for(state: &HttpState, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    // Small bodies need no place: they are bounded by the number of connections.
    if bytes <= ROOM_UNIT_BYTES {
        return Ok(None);
    }
    // A body within its own limit must fit, whatever the two limits are.
    let units = room_units(bytes).min(room_units(state.settings.body_bytes_in_flight_max)).max(1);
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let permit = tokio::time::timeout(ROOM_WAIT, state.room.clone().acquire_many_owned(units)).await;
    match permit {
        Ok(Ok(permit)) => Ok(Some(permit)),
        Ok(Err(_)) | Err(_) => {
            Err(Limit::Bodies.turns_away(state.settings.body_bytes_in_flight_max, ROOM_RETRY_AFTER_S))
        }
    }
}

async fn collect(mut body: Body, (limit, promised): (u64, u64), pause_max: Duration) -> Result<Bytes, Refused> {
    let mut bytes = BytesMut::new();
    let mut next_look = PORTION_BYTES_ENOUGH;
    let mut within = Box::pin(tokio::time::sleep(pause_max));
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = &mut within => return Err(too_slow(pause_max).into()),
        };
        let frame = match frame {
            None => return Ok(bytes.freeze()),
            Some(Err(fault)) => return Err(cut_off(&fault.to_string()).into()),
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() as u64 + data.len() as u64 > limit {
            drop(bytes);
            drain_rest(body).await;
            return Err(too_large(limit, None).into());
        }
        if bytes.len() + data.len() >= next_look {
            // A byte now and then is no sign of life: it would keep the room for ever.
            next_look = bytes.len() + data.len() + PORTION_BYTES_ENOUGH;
            within = Box::pin(tokio::time::sleep(pause_max));
        }
        if bytes.len() + data.len() > bytes.capacity() {
            // A promise is not yet a byte: only who has sent the first megabyte is given room for all that was promised.
            let whole = if bytes.len() < PROMISE_BELIEVED_BYTES { PROMISE_BELIEVED_BYTES as u64 } else { promised };
            let room = usize::try_from(whole.min(promised)).unwrap_or_default().saturating_sub(bytes.len());
            bytes.reserve(room.max(data.len()));
        }
        bytes.extend_from_slice(&data);
    }
}

fn too_slow(pause_max: Duration) -> Problem {
    let detail =
        format!("Less than {PORTION_BYTES_ENOUGH} bytes of the body arrived in {} seconds", pause_max.as_secs());
    Problem::new(Code::TooSlow, detail)
}

fn cut_off(why: &str) -> Problem {
    Problem::new(Code::BadJson, format!("The body ended before its end: {why}"))
}

/// The problem of a body over the limit.
pub(super) fn too_large(limit: u64, promised: Option<u64>) -> Problem {
    let got = promised.map(|bytes| format!("The body has {bytes} bytes; ")).unwrap_or_default();
    Problem::new(Code::TooLarge, format!("{got}the limit is {limit} bytes")).with("limitBytes", limit)
}

/// Whether the headers promise more than the limit.
pub(super) fn promises_too_much(limit: u64, headers: &HeaderMap) -> Option<Problem> {
    let promised = promised_bytes(headers).filter(|promised| *promised > limit)?;
    Some(too_large(limit, Some(promised)))
}

/// The next portion of a body that is not held whole: [`PORTION_BYTES_ENOUGH`] or a bit more, the last one less; `None` at the end. A
/// client that sends less than that within the pause is too slow.
pub(super) async fn next_portion(body: &mut Body, pause_max: Duration) -> Result<Option<Bytes>, Problem> {
    let mut portion = BytesMut::new();
    let all = async {
        while portion.len() < PORTION_BYTES_ENOUGH {
            match body.frame().await {
                None => break,
                Some(Err(fault)) => return Err(ended_early(&fault.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        portion.extend_from_slice(&data);
                    }
                }
            }
        }
        Ok(())
    };
    match tokio::time::timeout(pause_max, all).await {
        Err(_) => Err(too_slow(pause_max)),
        Ok(Err(problem)) => Err(problem),
        Ok(Ok(())) if portion.is_empty() => Ok(None),
        Ok(Ok(())) => Ok(Some(portion.freeze())),
    }
}

fn ended_early(why: &str) -> Problem {
    Problem::new(Code::DigestMismatch, format!("The body ended before its end: {why}"))
}

/// Reads away a body of up to this size whose answer is known already. Who sends it has proved who they are, so it may be as long as one
/// that is kept; but who asked before sending is answered at once.
pub(super) async fn read_away(headers: &HeaderMap, mut body: Body, limit: u64, pause_max: Duration) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let mut left = limit;
    while let Ok(Some(portion)) = next_portion(&mut body, pause_max).await {
        left = left.saturating_sub(portion.len() as u64);
        if left == 0 {
            return;
        }
    }
}

/// Reads a refused body away: many clients look for the answer only after they have sent everything, and would see a
/// broken connection instead. Also after `Expect: 100-continue`, because some send it and do not wait; but nobody is
/// asked to go on who has promised more than would be read.
pub(super) async fn drain(headers: &HeaderMap, body: Body) {
    let promised = promised_bytes(headers);
    if !headers.contains_key(EXPECT) || promised.is_some_and(|promised| promised <= DRAIN_BYTES_MAX) {
        drain_rest(body).await;
    }
}

pub(super) async fn drain_rest(mut body: Body) {
    let all = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(DRAIN_IDLE_MAX, body.frame()).await {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            left = left.saturating_sub(bytes);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_MAX, all).await;
}
