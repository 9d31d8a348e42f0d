//! Accepting a command: the transaction, and what comes of it in the queue and on the disk.

use std::sync::Arc;

use rusqlite::Connection;

use super::SqliteStore;
use super::commands::{self, Stored};
use super::lanes::Waiting;
use super::receiving::Prepared;
use super::writer::{Durability, Fate};
use crate::command::test_point::test_point;
use crate::command::{Accepted, NewCommand};
use crate::store::StoreError;
use crate::store::moving::{Standing, moved_away};

impl SqliteStore {
    /// Accepts a command: what `Store::accept` asks for.
    pub(super) async fn accept_command(&self, command: NewCommand) -> Result<Accepted, StoreError> {
        self.serving()?;
        if let Standing::Moved(peer) = &self.inner.standing {
            return Err(moved_away(peer));
        }
        let (new, draft) = match self.prepare(command).await? {
            Prepared::Answer(accepted) => return Ok(accepted),
            Prepared::Ready(new, draft) => (new, draft),
        };
        let stored = if draft.is_some() { Stored::File } else { Stored::Inline };
        test_point("accept.before_commit");
        let limits = self.inner.queue_limits;
        let (queue, places, id) = (Arc::clone(&self.inner.queue), Arc::clone(&self.inner.queue), new.id);
        let payloads = self.inner.payloads.clone();
        let after = move |fate: Fate<'_, (Accepted, Option<Waiting>)>| match fate {
            Fate::Committed((_, Some(waiting))) => {
                draft.into_iter().for_each(|draft| draft.keep());
                queue.push(*waiting);
                payloads.clear_away();
            }
            Fate::Committed((_, None)) => drop(draft),
            Fate::Undone => {
                queue.places.free(id);
                drop(draft);
            }
            Fate::Unknown => {
                queue.places.free(id);
                // Should the command be there after all when the machine is up again, its file must be, too.
                draft.into_iter().for_each(|draft| payloads.leave(draft));
            }
        };
        let work = move |catalogue: &Connection| {
            let accepted = commands::accept(catalogue, &new, stored, (&places.places, limits))?;
            // At once, not after the commit: those that share it are to be counted.
            accepted.1.iter().for_each(|waiting| places.places.take(waiting));
            Ok(accepted)
        };
        self.inner.writer.write(Durability::Durable, work, after).await.map(|(accepted, _)| accepted)
    }
}
