//! All contacts of a program at one moment, in a read-only transaction of its own.

use tokio::runtime::Handle;
use tokio_postgres::types::Type;

use super::blocking;
use super::connection::{Context, Lent, READ_WITHIN, within};
use super::contacts::{COLUMNS, read_contact};
use crate::contact::{Contact, ProgramTag};
use crate::store::{ContactSnapshot, StoreError};
use crate::tenant::Program;

/// How many contacts are asked for at a time.
const BATCH: i64 = 2_000;

/// How long the database waits for the next question, before it ends the transaction: whoever reads this slowly has gone. (An open
/// snapshot keeps the database from clearing away what was changed since.)
const IDLE_MAX_MS: u32 = 120_000;

pub(super) struct Snapshot {
    /// `None` once it is given back.
    client: Option<Lent>,
    handle: Handle,
    program: Program,
    after: i64,
}

impl Snapshot {
    pub(super) async fn begin(client: Lent, handle: Handle, program: Program) -> Result<Snapshot, StoreError> {
        let snapshot = Snapshot { client: Some(client), handle, program, after: 0 };
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {IDLE_MAX_MS};
             SET LOCAL statement_timeout = 0"
        );
        let beginning =
            async { snapshot.client()?.batch_execute(&begin).await.context(|| "beginning to read all contacts") };
        within(READ_WITHIN, beginning).await?;
        Ok(snapshot)
    }

    fn client(&self) -> Result<&Lent, StoreError> {
        self.client.as_ref().ok_or_else(|| StoreError::Fault("the snapshot is over".to_owned()))
    }

    async fn batch(&self) -> Result<Vec<Contact>, StoreError> {
        let tag: ProgramTag = self.program.tag;
        let rows = self
            .client()?
            .query_typed(
                &format!("SELECT {COLUMNS} FROM contact WHERE program = $1 AND number > $2 ORDER BY number LIMIT $3"),
                &[(&self.program.id.0, Type::UUID), (&self.after, Type::INT8), (&BATCH, Type::INT8)],
            )
            .await
            .context(|| "reading all contacts")?;
        rows.iter().map(|row| read_contact(row, tag)).collect()
    }
}

impl ContactSnapshot for Snapshot {
    fn next(&mut self) -> Result<Vec<Contact>, StoreError> {
        let contacts = blocking(&self.handle, within(READ_WITHIN, self.batch()))?;
        if let Some(last) = contacts.last() {
            self.after = last.id.number.get().cast_signed();
        }
        Ok(contacts)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        super::import_connection::undo(self.client.take(), &self.handle);
    }
}
