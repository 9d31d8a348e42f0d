//! The pool of connections, how long is waited for what, and what PostgreSQL's errors mean to the house. No statement of the
//! schema is here.
//!
//! All statements of this home are unnamed (`query_typed`, `execute_typed`) and nothing is kept in a session, so that a pooler
//! that hands out another server connection for every transaction breaks nothing.

use std::fmt::Display;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::session::Sessions;
use super::target::Target;
use crate::store::StoreError;

/// Connections, shared and bounded.
pub(super) type Pool = deadpool::managed::Pool<Sessions>;

/// How long one waits for a connection, a new one or one that becomes free.
const CONNECTED_WITHIN: Duration = Duration::from_secs(4);

/// How long a request, or a worker's word about a claim, waits for the database. A database that says nothing (its machine is
/// gone, or a commit waits for a standby that is gone) must not hold a client; it comes again, and finds what became of it.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// The same, for what is looked up together with others: a connection, and the answer.
pub(super) const LOOKED_UP_WITHIN: Duration =
    Duration::from_secs(CONNECTED_WITHIN.as_secs() + ANSWERED_WITHIN.as_secs());

/// The same, for contacts, of which a page may be far back.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(30);

/// The same, for one statement of an import, which is about a batch of rows; and for its commit.
pub(super) const IMPORT_ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// An upload is given more time, as if no more came through in a second than these bytes.
const UPLOAD_BYTES_A_SECOND: u64 = 4 << 20;

/// How long accepting may take.
pub(super) fn accepted_within(payload_bytes: usize) -> Duration {
    ANSWERED_WITHIN + Duration::from_secs(payload_bytes as u64 / UPLOAD_BYTES_A_SECOND)
}

/// What connects to the database of a URL.
pub(super) fn sessions(url: &str) -> Result<Sessions, StoreError> {
    Sessions::new(Target::parse(url)?)
}

/// A pool. It is lazy: no connection is made yet.
pub(super) fn pool(sessions: Sessions, connections_max: usize) -> Result<Pool, StoreError> {
    Pool::builder(sessions)
        .max_size(connections_max)
        .wait_timeout(Some(CONNECTED_WITHIN))
        .create_timeout(Some(CONNECTED_WITHIN))
        .recycle_timeout(Some(CONNECTED_WITHIN))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Fault(format!("making the pool of connections: {error}")))
}

/// A connection of the pool, for one piece of work. It goes back only by [`Lent::done`]: where the work was broken off, nobody
/// knows what it is still busy with, so it is closed.
pub(super) struct Lent {
    session: Object<Sessions>,
    is_over: bool,
}

/// A connection, for a store that is being opened: what an operator can mend is told as that.
pub(super) async fn first_connection(pool: &Pool) -> Result<Lent, StoreError> {
    let got = tokio::time::timeout(CONNECTED_WITHIN, pool.get()).await;
    match got {
        Ok(Ok(session)) => Ok(Lent { session, is_over: false }),
        Ok(Err(PoolError::Backend(error))) => Err(error),
        Ok(Err(PoolError::Closed)) => Err(StoreError::Unavailable("it is closed".to_owned())),
        Err(_) | Ok(Err(PoolError::Timeout(_))) => {
            Err(StoreError::Unavailable("there was no connection to the database in time".to_owned()))
        }
        Ok(Err(error @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)))) => {
            Err(StoreError::Fault(format!("the pool of connections: {error}")))
        }
    }
}

/// A connection, for a store that has been open. What it is refused now, it was given at the start: the operator is at it, or it
/// is another server's fault, so it passes.
pub(super) async fn connection(pool: &Pool) -> Result<Lent, StoreError> {
    first_connection(pool).await.map_err(|error| match error {
        StoreError::Refused(sentence) => StoreError::Unavailable(sentence),
        other => other,
    })
}

impl Lent {
    /// The work is over. The connection goes back, unless its server may have become one that nothing can be written to, or
    /// does not answer.
    pub(super) fn done<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.is_over = !matches!(outcome, Err(StoreError::Unavailable(_)));
        outcome
    }

    /// The work is over, and it went well.
    pub(super) fn give_back(mut self) {
        self.is_over = true;
    }

    /// After a commit: whether it holds, whatever becomes of this server. Where that is not known the caller is told to come
    /// again, and it is found out then.
    pub(super) fn confirmed(&self) -> Result<(), StoreError> {
        if self.session.take_unconfirmed() {
            return Err(StoreError::Unavailable("the wait for a standby was cut short at a commit".to_owned()));
        }
        Ok(())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.give_up();
        }
    }
}

/// Waits no longer than this.
pub(super) async fn within<T>(
    most: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(most, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("the database did not answer within {} seconds", most.as_secs())))
    })
}

/// How long a transaction may wait for another's lock; then its client is told to come again. Less than [`ANSWERED_WITHIN`]: a
/// server does not notice that nobody waits for it any more, and whoever came again would pile up there.
pub(super) const LOCK_WITHIN_MS: u64 = 5_000;

/// The same for an import, which has more to lose; less than [`IMPORT_ANSWERED_WITHIN`].
pub(super) const IMPORT_LOCK_WITHIN_MS: u64 = 30_000;

/// How long the database waits for the next statement of a transaction, before it undoes it: a node that was stopped or cut
/// off in the middle must not hold up the others.
pub(super) const IDLE_MAX_MS: i64 = 10_000;

/// What every transaction that writes is told, whatever the role, the database or the server is set to. For this transaction
/// only: what is set for a session would be another client's behind a pooler.
///
/// - No `statement_timeout`. Where it strikes while a commit waits for the standby, the commit is acknowledged with no more than a
///   warning, and is lost if the primary is lost: what a 202 stands for must not hang on that. Nobody waits for ever all the same,
///   because this side does not: see [`within`].
/// - A commit is flushed, and waits for the synchronous standby if there is one.
pub(super) fn guards(idle_ms: i64, lock_ms: u64) -> String {
    format!(
        "SET LOCAL idle_in_transaction_session_timeout = {idle_ms}; SET LOCAL lock_timeout = {lock_ms};
         SET LOCAL statement_timeout = 0;
         SELECT set_config('synchronous_commit', 'on', true)
         WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )
}

/// Begins a short transaction.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.batch_execute(&guards(IDLE_MAX_MS, LOCK_WITHIN_MS)).await?;
    Ok(tx)
}

/// Carries out one statement in a transaction of its own, in one round trip; how many rows it was about.
pub(super) async fn execute(
    client: &Lent,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    what: impl Fn() -> String,
) -> Result<u64, StoreError> {
    alone(client, client.execute_typed(statement, parameters), what).await
}

/// The same; the row that it gives, if it gives one.
pub(super) async fn query_opt(
    client: &Lent,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    what: impl Fn() -> String,
) -> Result<Option<Row>, StoreError> {
    alone(client, client.query_typed_opt(statement, parameters), what).await
}

async fn alone<T>(
    client: &Lent,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    what: impl Fn() -> String,
) -> Result<T, StoreError> {
    let begin = format!("BEGIN; {}", guards(IDLE_MAX_MS, LOCK_WITHIN_MS));
    // Sent in this order, and carried out in it. Where one fails the rest fails too, and the last one undoes it all.
    let (begun, done, ended) = tokio::join!(
        biased;
        client.batch_execute(&begin),
        statement,
        client.batch_execute("COMMIT"),
    );
    begun.context(&what)?;
    let done = done.context(&what)?;
    ended.context(&what)?;
    client.confirmed()?;
    Ok(done)
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.session
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.session
    }
}

/// Says what was being done when something failed, and decides whether it may work later.
pub(super) trait Context<T> {
    /// Turns the error into the store's own; `what` is a phrase like `listing accounts`, never with contact data.
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, StoreError>;
}

impl<T> Context<T> for Result<T, tokio_postgres::Error> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, StoreError> {
        self.map_err(|error| translate(what(), &error))
    }
}

/// Whether a statement was turned away by a unique index.
pub(super) fn is_taken(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

pub(super) fn translate(what: impl Display, error: &tokio_postgres::Error) -> StoreError {
    let sentence = format!("{what}: {}", words(error));
    match error.code().map(SqlState::code) {
        // Who it is, or which database: nobody but the operator can mend that.
        Some(code) if code.starts_with("28") || code == "3D000" => StoreError::Refused(sentence),
        Some(code) if may_pass(code) => StoreError::Unavailable(sentence),
        Some(_) => StoreError::Fault(sentence),
        None if is_lost(error) => StoreError::Unavailable(sentence),
        None => StoreError::Fault(sentence),
    }
}

/// Whether the server, its load or another transaction is at fault, and not the statement.
fn may_pass(code: &str) -> bool {
    // Connection, rolled back for another's sake, resources, operator's intervention, the system below it.
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    // Read-only (it is the primary no more), idle for too long in a transaction, closed to connections for a while by its operator, a
    // lock that did not come.
    const CODES: [&str; 4] = ["25006", "25P03", "55000", "55P03"];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

/// Whether there was no answer at all.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    use std::error::Error;
    error.is_closed()
        || error.source().is_some_and(|source| source.is::<std::io::Error>())
        || error.to_string().starts_with("timeout")
}

/// The server's detail is never told, and its message only where it cannot hold a value of a row.
fn words(error: &tokio_postgres::Error) -> String {
    use std::error::Error;
    let Some(server) = error.as_db_error() else {
        // The driver does not say why by itself.
        return match error.source().filter(|source| source.is::<std::io::Error>()) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let code = server.code().code();
    let tells_no_value = may_pass(code) || code.starts_with("28") || code.starts_with("3D") || code.starts_with("42");
    match (tells_no_value, server.constraint()) {
        (true, _) => format!("{} (SQLSTATE {code})", server.message()),
        (false, Some(constraint)) => format!("SQLSTATE {code}, constraint {constraint}"),
        (false, None) => format!("SQLSTATE {code}"),
    }
}
