//! The pool of connections, and what PostgreSQL's errors mean to the house. No statement of the schema is here.
//!
//! All statements of this home are unnamed (`query_typed`, `execute_typed`) and nothing is kept in a session, so that a pooler
//! that hands out another server connection for every transaction breaks nothing.

use std::fmt::Display;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket, Transaction};

use crate::store::StoreError;

/// How long making a connection may take; also how long a request waits for one that is free.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// After so much silence the other side is asked whether it is there; a machine that has lost its power says nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// How long sent bytes may stay unacknowledged before a connection counts as lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// How the database of a URL is connected to.
pub(super) fn config(url: &str) -> Result<Config, StoreError> {
    // The parser's own words could repeat a part of the URL, and so of the password.
    let mut config: Config = url.parse().map_err(|_| {
        StoreError::Refused("the database is no URL like postgres://user:password@host:5432/name".to_owned())
    })?;
    config
        .application_name("roster")
        .connect_timeout(CONNECT_WITHIN)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX)
        // Of several hosts, the one that can be written to: after a failover that is another one.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    Ok(config)
}

/// A pool. It is lazy: no connection is made yet.
pub(super) fn pool(config: Config, connections_max: usize) -> Result<Pool, StoreError> {
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(connections_max)
        .wait_timeout(Some(CONNECT_WITHIN))
        .create_timeout(Some(CONNECT_WITHIN))
        .recycle_timeout(Some(CONNECT_WITHIN))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Fault(format!("making the pool of connections: {error}")))
}

/// A connection of the pool.
pub(super) async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => translate("connecting to the database", &error),
        PoolError::Closed => StoreError::Unavailable("it is closed".to_owned()),
        PoolError::Timeout(_) => {
            StoreError::Unavailable("no connection to the database became free in time".to_owned())
        }
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            StoreError::Fault(format!("the pool of connections: {error}"))
        }
    })
}

/// A connection outside of the pool, and what drives it.
pub(super) async fn apart(config: &Config) -> Result<(Client, Connection<Socket, NoTlsStream>), StoreError> {
    config.connect(NoTls).await.context(|| "connecting to the database")
}

/// How long a request's transaction may wait for another's lock; the client is told to come again.
const LOCK_WITHIN_MS: u64 = 10_000;

/// How long the database waits for the next statement of a transaction, before it undoes it: a node that was stopped or cut
/// off in the middle must not hold up the others.
pub(super) const IDLE_MAX_MS: i64 = 10_000;

/// Begins a short transaction.
pub(super) async fn begin(client: &mut Object) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let tx = Client::transaction(client).await?;
    // For this transaction only: what is set for a session would be another client's behind a pooler.
    tx.batch_execute(&format!(
        "SET LOCAL idle_in_transaction_session_timeout = {IDLE_MAX_MS}; SET LOCAL lock_timeout = {LOCK_WITHIN_MS}"
    ))
    .await?;
    Ok(tx)
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

fn translate(what: impl Display, error: &tokio_postgres::Error) -> StoreError {
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
    // Read-only (it is the primary no more), idle for too long in a transaction, a lock that did not come.
    const CODES: [&str; 3] = ["25006", "25P03", "55P03"];
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
    let Some(server) = error.as_db_error() else { return error.to_string() };
    let code = server.code().code();
    let tells_no_value = may_pass(code) || code.starts_with("28") || code.starts_with("3D") || code.starts_with("42");
    match (tells_no_value, server.constraint()) {
        (true, _) => format!("{} (SQLSTATE {code})", server.message()),
        (false, Some(constraint)) => format!("SQLSTATE {code}, constraint {constraint}"),
        (false, None) => format!("SQLSTATE {code}"),
    }
}
