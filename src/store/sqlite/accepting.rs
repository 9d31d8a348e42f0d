//! Accepting a command: what precedes the transaction, and what comes of it.

use std::sync::Arc;

use rusqlite::Connection;

use super::SqliteStore;
use super::commands::{self, Known, Stored};
use super::lanes::Waiting;
use super::payloads::{Draft, INLINE_BYTES_MAX};
use super::writer::{Durability, Fate};
use crate::command::test_point::test_point;
use crate::command::{Accepted, NewCommand};
use crate::store::StoreError;

/// A request on its way to the accepting transaction.
enum Prepared {
    Answer(Accepted),
    Ready(Box<NewCommand>, Option<Draft>),
}

impl SqliteStore {
    /// What precedes accepting: a large payload is made durable, unless the request is known or the queue full.
    async fn prepare(&self, new: NewCommand) -> Result<Prepared, StoreError> {
        if new.payload.0.len() <= INLINE_BYTES_MAX {
            return Ok(Prepared::Ready(Box::new(new), None));
        }
        let queue_max = self.inner.queue_max;
        self.read(move |inner, catalogue| {
            // Only to spare the disk: the transaction decides.
            match commands::known(catalogue, &new, queue_max)? {
                Some(Known::Signature(accepted)) => Ok(Prepared::Answer(accepted)),
                Some(Known::Full) => Ok(Prepared::Answer(Accepted::QueueFull)),
                // A key's replay is still to be remembered by its signature.
                Some(Known::Key(_)) | None => {
                    let draft = inner.payloads.write(new.id, new.payload.0.as_bytes())?;
                    Ok(Prepared::Ready(Box::new(new), Some(draft)))
                }
            }
        })
        .await
    }

    /// Accepts a command: what `Store::accept` asks for.
    pub(super) async fn accept_command(&self, command: NewCommand) -> Result<Accepted, StoreError> {
        self.serving()?;
        let (new, draft) = match self.prepare(command).await? {
            Prepared::Answer(accepted) => return Ok(accepted),
            Prepared::Ready(new, draft) => (new, draft),
        };
        let stored = if draft.is_some() { Stored::File } else { Stored::Inline };
        test_point("accept.before_commit");
        let queue_max = self.inner.queue_max;
        let queue = Arc::clone(&self.inner.queue);
        let after = move |fate: Fate<'_, (Accepted, Option<Waiting>)>| match fate {
            Fate::Committed((_, Some(waiting))) => {
                draft.into_iter().for_each(Draft::keep);
                queue.push(*waiting);
            }
            Fate::Committed((_, None)) | Fate::Undone => drop(draft),
            // Should the command be there after all when the machine is up again, its file must be, too.
            Fate::Unknown => draft.into_iter().for_each(Draft::keep),
        };
        let work = move |catalogue: &Connection| commands::accept(catalogue, &new, stored, queue_max);
        self.inner.writer.write(Durability::Durable, work, after).await.map(|(accepted, _)| accepted)
    }
}
