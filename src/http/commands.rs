//! `GET /v2/commands/{id}`: where a command stands, at once or when it is complete (`Prefer: wait=N`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::HttpState;
use super::answer::{Refused, json};
use super::data::Data;
use super::parameters::{Parameters, RawParameters, bad_parameter};
use super::path::{PathId, program_of};
use super::signed::Signed;
use crate::command::test_point::test_point;
use crate::command::{Command, CommandId, CommandState};
use crate::import::NotApplied;
use crate::metrics::IMPORTS;
use crate::problem::{Code, Problem};
use crate::store::{Cancellation, CommandQuery, StateFilter};
use crate::wire::{CommandItem, Envelope, Status};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// While a request waits, the store is asked this often even if nothing is announced: another node may have done it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the answer to a cancellation waits for an import that runs; it ends with its next batch.
const CANCEL_WAIT: Duration = Duration::from_secs(10);
/// The most commands on a page: each is read with its report.
const LIST_COUNT_MAX: u32 = 100;
/// What an import gets through in a second, cautiously, in bytes: only for the `Retry-After` of a client that waits.
const BYTES_A_SECOND: u64 = 10_000_000;
/// The longest `Retry-After` of an import that is not complete, in seconds.
const RETRY_AFTER_S_MAX: u64 = 30;

pub(super) async fn status(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    signed: Signed,
) -> Result<Response, Refused> {
    let not_found = || Problem::new(Code::NotFound, "There is no such command");
    let id = path.text().and_then(CommandId::parse).ok_or_else(not_found)?;
    let wait = Wait::asked(&signed.headers, state.settings.wait_max);
    let command = wait.until_complete(&state, &signed.data, id).await?.ok_or_else(not_found)?;
    Ok(status_response(&state, &command, &wait))
}

/// `DELETE <Location>`: cancels. Waits a little for an import that runs to end, so that the answer says how it ended.
pub(super) async fn cancel(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    signed: Signed,
) -> Result<Response, Refused> {
    let not_found = || Problem::new(Code::NotFound, "There is no such command");
    let too_late = || Problem::new(Code::AlreadyComplete, "The command is complete, and cannot be cancelled any more");
    let id = path.text().and_then(CommandId::parse).ok_or_else(not_found)?;
    let cancelled = signed.data.cancel(id, signed.now_ms).await?.ok_or_else(not_found)?;
    test_point("cancel.after_commit");
    match cancelled {
        Cancellation::TooLate => return Err(too_late().into()),
        // No worker comes to it.
        Cancellation::Done => IMPORTS.add(&[NotApplied::Cancelled.as_str()], 1),
        Cancellation::Asked => {}
    }
    tracing::info!(request = signed.request_id, command = %id, "cancelling was asked for");
    let wait = Wait::asked(&signed.headers, state.settings.wait_max).at_least(CANCEL_WAIT);
    let command = wait.until_complete(&state, &signed.data, id).await?.ok_or_else(not_found)?;
    match &command.state {
        // It was just being committed.
        CommandState::Complete { report, .. } if report.not_applied != Some(NotApplied::Cancelled) => {
            Err(too_late().into())
        }
        CommandState::Complete { .. } | CommandState::Queued { .. } | CommandState::Running { .. } => {
            Ok(status_response(&state, &command, &Wait(None)))
        }
    }
}

/// `GET /v2/programs/{id}/commands`: newest first.
pub(super) async fn of_program(
    path: PathId,
    uri: Uri,
    parameters: RawParameters,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&signed, &path).await?;
    let parameters = Parameters::read(parameters)?;
    let page = parameters.page()?;
    let filter = match parameters.get("state") {
        None => None,
        Some("queued") => Some(StateFilter::Queued),
        Some("running") => Some(StateFilter::Running),
        Some("complete") => Some(StateFilter::Complete),
        Some(other) => {
            return Err(bad_parameter("state", other, "'queued', 'running' or 'complete', or leave it out").into());
        }
    };
    let count = page.count().min(LIST_COUNT_MAX);
    let query = CommandQuery { state: filter, offset: page.offset, count };
    let found = signed.data.commands(program.id, query).await?;
    let items: Vec<CommandItem> = found.commands.iter().map(CommandItem::from).collect();
    let link = |place| parameters.link(uri.path(), place, None);
    Ok(json(&Envelope::new(items, (found.total, page.offset, u64::from(count)), false, link)))
}

/// 200, with the status.
pub(super) fn status_response(state: &HttpState, command: &Command, wait: &Wait) -> Response {
    let status = Status::of(command, &state.processor);
    let mut response = serde_json::to_string(&status).unwrap_or_default().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after_s(command) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(applied) = wait.applied() {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// When to look again: by the size of the file and of the queue before it.
fn retry_after_s(command: &Command) -> Option<u64> {
    let before = match &command.state {
        CommandState::Queued { position } => position.saturating_sub(1),
        CommandState::Running { rows: _ } => 0,
        CommandState::Complete { .. } => return None,
    };
    Some((1 + before + command.payload_bytes / BYTES_A_SECOND).min(RETRY_AFTER_S_MAX))
}

/// How long a client prefers to wait for its answer (RFC 7240).
pub(super) struct Wait(Option<Duration>);

impl Wait {
    /// What the headers ask for, cut to `most`.
    pub(super) fn asked(headers: &HeaderMap, most: Duration) -> Wait {
        let preferences = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        let seconds = preferences.flat_map(|value| value.split(',')).find_map(wait_seconds);
        Wait(seconds.map(|seconds| Duration::from_secs(seconds).min(most)))
    }

    /// The same, but not shorter than this.
    fn at_least(self, least: Duration) -> Wait {
        Wait(Some(self.0.unwrap_or_default().max(least)))
    }

    fn applied(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("wait={}", self.0?.as_secs())).ok()
    }

    /// The command, when it is complete or the time is over, or the service is to stop.
    pub(super) async fn until_complete(
        &self,
        state: &HttpState,
        data: &Data,
        id: CommandId,
    ) -> Result<Option<Command>, Refused> {
        let found = async || {
            let command = data.command(id).await?;
            // Before it is waited for.
            command.is_some().then(|| data.admit()).transpose()?;
            Ok::<_, Refused>(command)
        };
        let Some(wait) = self.0 else { return found().await };
        let deadline = Instant::now() + wait;
        let mut stopping = state.stopping.clone();
        loop {
            let watch = data.completions().watch(id);
            let announced = watch.announced();
            let command = found().await?;
            let is_over = command.as_ref().is_none_or(|command| matches!(command.state, CommandState::Complete { .. }));
            if is_over || Instant::now() >= deadline || *stopping.borrow() {
                return Ok(command);
            }
            tokio::select! {
                () = announced => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_EVERY)) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// `wait=10` or `wait="10"`, with parameters or without.
fn wait_seconds(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    value.trim().trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_to_wait_is_read_as_rfc_7240_spells_it() {
        let seconds = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_str(value).expect("a header"));
            Wait::asked(&headers, Duration::from_secs(60)).0.map(|wait| wait.as_secs())
        };
        assert_eq!(seconds("wait=10"), Some(10));
        assert_eq!(seconds("respond-async, Wait = \"7\"; x=y"), Some(7));
        assert_eq!(seconds("wait=600"), Some(60));
        assert_eq!(seconds("wait=0"), Some(0));
        for none in ["wait", "wait=", "wait=-1", "wait=soon", "awaiting=3", ""] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }
}
