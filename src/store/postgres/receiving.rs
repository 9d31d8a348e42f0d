//! Files that come in before their command is accepted: piece by piece, each in a transaction of its own, so that a slow client holds
//! neither a connection nor a lock. A row of `receiving` says that the pieces are nobody's yet; the accepting transaction takes it away.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::connection::{ANSWERED_WITHIN, Context, READ_WITHIN, connection, execute, within};
use super::queue::NOW_MS;
use super::{Shared, blocking};
use crate::command::test_point::test_point;
use crate::command::{CommandId, Draft, NewCommand, Received};
use crate::store::{PIECE_BYTES, PayloadWriter, StoreError, refusal};
use crate::tenant::{AccountId, ProgramId};

/// After how long without a piece a file is forsaken: much longer than a client may take for a piece.
const FORSAKEN_MS: i64 = 15 * 60 * 1_000;

/// Begins to receive the file of a command; blocking.
pub(super) fn begin(
    shared: &Arc<Shared>,
    handle: &Handle,
    (account, program): (AccountId, ProgramId),
    command: CommandId,
) -> Result<Box<dyn PayloadWriter>, StoreError> {
    let draft = StoredDraft { shared: Arc::clone(shared), handle: handle.clone(), program, command };
    let forsaken = "program = $1 AND ";
    draft.execute(&remove(forsaken), &[(&program.0, Type::UUID), (&FORSAKEN_MS, Type::INT8)])?;
    let begun = draft.execute(
        &format!("INSERT INTO receiving SELECT id, $3, {NOW_MS} FROM program WHERE id = $1 AND account = $2"),
        &[(&program.0, Type::UUID), (&account.0, Type::UUID), (&command.0, Type::UUID)],
    )?;
    if begun == 0 {
        return Err(refusal::no_program(account, program));
    }
    Ok(Box::new(Receiving { draft, pieces: 0, bytes: 0 }))
}

/// Takes files away that are forsaken.
fn remove(of_program: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM receiving WHERE {of_program}touched_ms < {NOW_MS} - ${}
           RETURNING program, command)
         DELETE FROM payload USING gone WHERE payload.program = gone.program AND payload.command = gone.command",
        if of_program.is_empty() { 1 } else { 2 }
    )
}

/// What nodes that are no more have left of any program; once, when a node starts.
pub(super) async fn clear_away(shared: Arc<Shared>) {
    let cleared = async {
        let client = connection(&shared.pool).await?;
        let what = || "clearing forsaken files away".to_owned();
        let removed = within(READ_WITHIN, execute(&client, &remove(""), &[(&FORSAKEN_MS, Type::INT8)], what)).await;
        client.done(removed)
    };
    match cleared.await {
        Ok(0) => {}
        Ok(pieces) => tracing::info!(pieces, "files that were never accepted have been removed"),
        Err(fault) => tracing::warn!(%fault, "forsaken files could not be cleared away; the next start tries again"),
    }
}

/// In the accepting transaction: the file is the command's from now on.
pub(super) async fn take(client: &Client, new: &NewCommand, received: &Received) -> Result<(), StoreError> {
    if received.command != new.id {
        return Err(StoreError::Fault(format!("the file of {} was to be accepted as {}", received.command, new.id)));
    }
    let taken = client
        .execute_typed(
            "DELETE FROM receiving WHERE program = $1 AND command = $2",
            &[(&new.program.0, Type::UUID), (&new.id.0, Type::UUID)],
        )
        .await
        .context(|| format!("taking the file of command {}", new.id))?;
    match taken {
        0 => Err(StoreError::Unavailable(format!("the file of command {} was cleared away meanwhile", new.id))),
        _ => Ok(()),
    }
}

/// A file that is coming in.
struct Receiving {
    draft: StoredDraft,
    pieces: i32,
    bytes: u64,
}

impl PayloadWriter for Receiving {
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        // By its size it is known later how many pieces a file must have.
        if piece.len() > PIECE_BYTES || self.bytes != u64::from(self.pieces.cast_unsigned()) * PIECE_BYTES as u64 {
            return Err(StoreError::Fault("a file was received in pieces of a wrong size".to_owned()));
        }
        let StoredDraft { program, command, .. } = &self.draft;
        let written = self.draft.execute(
            &format!(
                "WITH touched AS (UPDATE receiving SET touched_ms = {NOW_MS} WHERE program = $1 AND command = $2
                   RETURNING program, command)
                 INSERT INTO payload (program, command, piece, bytes) SELECT program, command, $3, $4 FROM touched"
            ),
            &[(&program.0, Type::UUID), (&command.0, Type::UUID), (&self.pieces, Type::INT4), (&piece, Type::BYTEA)],
        )?;
        if written == 0 {
            return Err(StoreError::Unavailable(format!("the file of command {command} was cleared away meanwhile")));
        }
        test_point("payload.piece_written");
        self.pieces += 1;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Received, StoreError> {
        let Receiving { draft, pieces: _, bytes } = *self;
        test_point("payload.durable");
        Ok(Received { command: draft.command, bytes, draft: Arc::new(draft) })
    }
}

/// Pieces without a command.
struct StoredDraft {
    shared: Arc<Shared>,
    handle: Handle,
    program: ProgramId,
    command: CommandId,
}

impl StoredDraft {
    /// One statement, durable; blocking.
    fn execute(&self, statement: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64, StoreError> {
        let what = || format!("receiving the file of command {}", self.command);
        let executing = async {
            let client = connection(&self.shared.pool).await?;
            let executed = within(ANSWERED_WITHIN, execute(&client, statement, parameters, what)).await;
            client.done(executed)
        };
        blocking(&self.handle, executing)
    }
}

impl Draft for StoredDraft {
    /// Nothing to do: the accepting transaction has taken the row away, without which [`Drop`] finds nothing.
    fn keep(&self) {}
}

impl Drop for StoredDraft {
    fn drop(&mut self) {
        let (shared, program, command) = (Arc::clone(&self.shared), self.program, self.command);
        // Where the command was accepted, or may have been, the row decides.
        self.handle.spawn(async move {
            let removed = async {
                let client = connection(&shared.pool).await?;
                let what = || format!("removing the file of command {command}");
                let statement = "WITH gone AS (DELETE FROM receiving WHERE program = $1 AND command = $2
                       RETURNING program, command)
                     DELETE FROM payload USING gone
                     WHERE payload.program = gone.program AND payload.command = gone.command";
                let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&program.0, Type::UUID), (&command.0, Type::UUID)];
                let removed = within(READ_WITHIN, execute(&client, statement, &parameters, what)).await;
                client.done(removed)
            };
            if let Err(fault) = removed.await {
                tracing::warn!(%fault, %command, "a file that was not accepted could not be removed; it goes later");
            }
        });
    }
}
