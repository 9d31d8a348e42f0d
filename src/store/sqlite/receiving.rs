//! What precedes accepting: a large upload is made durable as a file of its own, whether it is in memory or still coming in.

use std::sync::Arc;

use super::commands::{self, Known};
use super::payloads::INLINE_BYTES_MAX;
use super::{SqliteStore, accounts};
use crate::command::{Accepted, CommandId, Draft, NewCommand, Payload};
use crate::store::{PayloadWriter, StoreError};
use crate::tenant::{AccountId, ProgramId};

/// A request on its way to the accepting transaction.
pub(super) enum Prepared {
    Answer(Accepted),
    Ready(Box<NewCommand>, Option<Arc<dyn Draft>>),
}

impl SqliteStore {
    /// Makes a large payload durable, unless the request is known or the queue full.
    pub(super) async fn prepare(&self, new: NewCommand) -> Result<Prepared, StoreError> {
        match &new.payload {
            Payload::Held(bytes) if bytes.len() <= INLINE_BYTES_MAX => {
                return Ok(Prepared::Ready(Box::new(new), None));
            }
            Payload::Held(_) => {}
            Payload::Received(received) if received.command == new.id => {
                let draft = Arc::clone(&received.draft);
                return Ok(Prepared::Ready(Box::new(new), Some(draft)));
            }
            Payload::Received(received) => {
                let received = received.command;
                return Err(StoreError::Fault(format!("the file of {received} was to be accepted as {}", new.id)));
            }
        }
        let limits = self.inner.queue_limits;
        self.read(move |inner, catalogue| {
            // Only to spare the disk: the transaction decides.
            match commands::known(catalogue, &new, (&inner.queue.places, limits))? {
                Some(Known::Signature(accepted) | Known::Full(accepted)) => Ok(Prepared::Answer(accepted)),
                // A key's replay is still to be remembered by its signature.
                Some(Known::Key(_)) | None => {
                    let draft = inner.payloads.write(new.id, new.payload.held())?.draft;
                    Ok(Prepared::Ready(Box::new(new), Some(draft)))
                }
            }
        })
        .await
    }

    /// Begins the file of a command that is to be accepted. Blocking.
    pub(super) fn begin_to_receive(
        &self,
        account: AccountId,
        program: ProgramId,
        command: CommandId,
    ) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.serving()?;
        self.inner.readers.read(|catalogue| accounts::the_program(catalogue, account, program))?;
        Ok(Box::new(self.inner.payloads.begin(command)?))
    }
}
