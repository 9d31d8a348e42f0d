//! The progress of an import, told while it runs: server-sent events. A page without a script asks again when its reader wants it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::Instant;

use super::Console;
use super::answer::Turned;
use super::data::Data;
use super::imports::id_of;
use super::words;
use crate::command::{CommandId, CommandState};

/// How often a running import is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A page that is told for longer asks anew: whether its session still holds is asked then.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// How far an import is, in words.
pub(super) fn judged(rows: u64) -> String {
    if rows == 0 {
        "It has begun.".to_owned()
    } else {
        format!("{} so far.", words::count(rows, "row judged", "rows judged"))
    }
}

struct Telling {
    data: Data,
    id: CommandId,
    until: Instant,
    told: Option<String>,
    is_over: bool,
    stopping: tokio::sync::watch::Receiver<bool>,
    /// The place among those that are told.
    _place: tokio::sync::OwnedSemaphorePermit,
}

pub(super) async fn stream(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(id): Path<String>,
) -> Result<Response, Turned> {
    let id = id_of(&id)?;
    data.import(id).await?;
    let place = Arc::clone(&console.watching).try_acquire_owned();
    let place = place.map_err(|_| Turned::Busy("Too many pages are being told of imports.".to_owned()))?;
    let until = Instant::now() + TOLD_FOR;
    let stopping = console.stopping.clone();
    let telling = Telling { data, id, until, told: None, is_over: false, stopping, _place: place };
    let events = stream::unfold(telling, |telling| async { telling.next().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new()).into_response())
}

impl Telling {
    /// The next thing that is new; none when it is over.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Telling)> {
        while !self.is_over {
            let now = {
                let watch = self.data.watch(self.id);
                let announced = watch.announced();
                let now = self.now().await?;
                if self.told.as_ref() == Some(&now) {
                    let mut stopping = self.stopping.clone();
                    tokio::select! {
                        () = announced => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                        _ = stopping.changed() => return None,
                    }
                    if Instant::now() >= self.until || *self.stopping.borrow() {
                        return None;
                    }
                    continue;
                }
                now
            };
            self.is_over = now.is_empty();
            let event =
                if self.is_over { Event::default().event("complete").data("") } else { Event::default().data(&now) };
            self.told = Some(now);
            return Some((Ok(event), self));
        }
        None
    }

    /// How it stands in words; blank when it is complete.
    async fn now(&self) -> Option<String> {
        let details = self.data.import(self.id).await.ok()?;
        Some(match details.command.state {
            CommandState::Queued { position } => format!("Waiting, number {}.", words::number(position)),
            CommandState::Running { rows } => judged(rows),
            CommandState::Complete { .. } => String::new(),
        })
    }
}
