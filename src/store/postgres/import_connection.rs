//! The one connection of a running import, in its one transaction, and how to end what a node that was stopped has left.
//!
//! Everything that an import asks goes through it, also its file. So an import never waits for a second connection while it
//! holds one: behind a pooler with few, imports that do would wait for each other.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connection::{Context, IDLE_MAX_MS, IMPORT_LOCK_WITHIN_MS, Lent, connection, guards};
use super::{Shared, queue};
use crate::command::Claim;
use crate::store::StoreError;

/// How long a dropped import's transaction may take to be undone; after it, the connection is given up.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);

/// What a session calls itself while it is in an import's transaction, before the command's id: for operators, for who takes
/// the command over, and for who asks whether it is still at work. (With the id 50 bytes; PostgreSQL cuts names after 63.)
pub(super) const SESSION_NAME: &str = "roster import ";

/// For an import's transaction only: each contact is looked up by its whole key, whatever the statistics say. They are of
/// yesterday, and the table may have grown a hundred times within this very transaction; with a plan that compares every row of a
/// batch with every contact of the program, an import takes hours. So what is paid for each pair of rows is made dear, and what is
/// paid for a page cheap. (The rest is in `import_tx.rs`, and in `0004_statistics.sql`.)
pub(super) const BY_WHOLE_KEYS: &str =
    "SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off; SET LOCAL enable_bitmapscan = off;
    SET LOCAL cpu_tuple_cost = 1; SET LOCAL random_page_cost = 0.1";

/// A connection in an import's transaction. It is shared with who reads the file; whoever lets go of it last has the
/// transaction rolled back, unless it is over.
pub(super) struct ImportConnection {
    /// `None` only while it is dropped.
    client: Option<Lent>,
    is_over: AtomicBool,
    handle: Handle,
}

impl ImportConnection {
    /// Begins the transaction. Who takes a command over ends the sessions of earlier attempts first.
    pub(super) async fn open(shared: &Arc<Shared>, claim: &Claim) -> Result<ImportConnection, StoreError> {
        let client = connection(&shared.pool).await?;
        let opened =
            ImportConnection { client: Some(client), is_over: AtomicBool::new(false), handle: Handle::current() };
        let client = opened.client()?;
        if claim.attempt > 1 {
            end_earlier_attempts(client, claim).await;
        }
        // As long as others leave the command alone anyway.
        let idle_ms = shared.lease_ms.max(IDLE_MAX_MS);
        client
            .batch_execute(&format!(
                "BEGIN; SET LOCAL application_name = '{SESSION_NAME}{}'; {}; {BY_WHOLE_KEYS}",
                claim.command,
                guards(idle_ms, IMPORT_LOCK_WITHIN_MS)
            ))
            .await
            .context(|| format!("beginning the import of command {}", claim.command))?;
        Ok(opened)
    }

    fn lent(&self) -> Result<&Lent, StoreError> {
        self.client.as_ref().ok_or_else(|| StoreError::Fault("the import is over".to_owned()))
    }

    pub(super) fn client(&self) -> Result<&Client, StoreError> {
        self.lent().map(|client| &**client)
    }

    /// Ends the transaction by word; only if that worked it is sure that nothing is left to be undone.
    pub(super) async fn end<D: Display>(&self, word: &str, what: impl FnOnce() -> D) -> Result<(), StoreError> {
        let client = self.lent()?;
        client.batch_execute(word).await.context(what)?;
        // An import that is committed, but not for sure, is tried again, and found applied.
        client.confirmed()?;
        self.is_over.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for ImportConnection {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if self.is_over.load(Ordering::Acquire) {
            client.give_back();
        } else {
            undo(Some(client), &self.handle);
        }
    }
}

/// Rolls back without waiting for it, so that nobody waits for its locks longer than they must. The connection is closed: what is
/// not brought to its end has failed, and its server may be the reason.
pub(super) fn undo(client: Option<Lent>, handle: &Handle) {
    let Some(client) = client else { return };
    handle.spawn(async move {
        let undone = tokio::time::timeout(ROLLBACK_WITHIN, client.batch_execute("ROLLBACK")).await;
        if !matches!(undone, Ok(Ok(()))) {
            tracing::debug!("a connection was closed in a transaction that could not be rolled back");
        }
    });
}

/// Ends the sessions in which earlier attempts at a command may still hold its program's contacts locked. One that merely
/// sleeps in its transaction ends by itself; but where a node is stopped in the middle of a statement or of its answer,
/// the database waits for it without a limit. A database that does not let its sessions be ended costs waiting only.
async fn end_earlier_attempts(client: &Client, claim: &Claim) {
    // Not by an attempt that has been taken over itself: it would end the one that was right.
    let stands = queue::STANDS;
    let ended = client
        .query_typed(
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = $4 AND pid <> pg_backend_pid()
                   AND EXISTS (SELECT FROM lane WHERE {stands})"
            ),
            &[
                (&claim.program.0, Type::UUID),
                (&claim.sequence, Type::INT8),
                (&claim.attempt.cast_signed(), Type::INT4),
                (&format!("{SESSION_NAME}{}", claim.command), Type::TEXT),
            ],
        )
        .await;
    match ended {
        Ok(sessions) if sessions.is_empty() => {}
        Ok(sessions) => {
            tracing::info!(command = %claim.command, sessions = sessions.len(), "sessions of earlier attempts were ended");
        }
        Err(error) => {
            let code = error.code().map(tokio_postgres::error::SqlState::code);
            tracing::warn!(command = %claim.command, code, "sessions of earlier attempts could not be ended");
        }
    }
}
