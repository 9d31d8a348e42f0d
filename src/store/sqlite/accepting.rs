//! What precedes the accepting transaction.

use super::SqliteStore;
use super::commands::{self, Known};
use super::payloads::{Draft, INLINE_BYTES_MAX};
use crate::command::{Accepted, NewCommand};
use crate::store::StoreError;

/// A request on its way to the accepting transaction.
pub(super) enum Prepared {
    Answer(Accepted),
    Ready(Box<NewCommand>, Option<Draft>),
}

impl SqliteStore {
    /// What precedes accepting: a large payload is made durable, unless the request is known or the queue full.
    pub(super) async fn prepare(&self, new: NewCommand) -> Result<Prepared, StoreError> {
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
}
