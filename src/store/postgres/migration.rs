//! Brings the database to the schema that this program knows, step by step.
//!
//! Nodes of two versions run side by side while a new one is rolled out. So a step only adds what the old nodes do not mind,
//! and what they no longer need is taken away by a later version's step. Each step says with which version of the schema a
//! program must at least be acquainted to go on beside it; a program that is older than that is refused.
//!
//! A step that changes several tables takes them in the order in which an import comes to them (`stock`, `command`, `lane`,
//! `program`, `field`, `payload`, `contact`); in another one it and an import may each wait for the other's, and one of the two is
//! undone by the database and tried again.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connection::{Context, Pool, first_connection};
use crate::store::StoreError;

/// A step of the schema. It is never changed once it is released: its digest is kept.
pub(super) struct Step {
    pub(super) sql: &'static str,
    /// Programs that know this many steps, or more, work with the schema that it makes.
    pub(super) works_with: i32,
}

/// All steps.
pub(super) const STEPS: &[Step] = &[
    Step { sql: include_str!("../../../migrations/postgres/0001_all.sql"), works_with: 1 },
    // Who knows only the first step does not heed a move; so a move is made when no such node runs any more.
    Step { sql: include_str!("../../../migrations/postgres/0002_moving.sql"), works_with: 1 },
    // Who does not know of cancelled commands would carry one out that is complete.
    Step { sql: include_str!("../../../migrations/postgres/0003_cancelling.sql"), works_with: 3 },
    Step { sql: include_str!("../../../migrations/postgres/0004_statistics.sql"), works_with: 3 },
    // Another table, which older nodes do not look at.
    Step { sql: include_str!("../../../migrations/postgres/0005_streaming.sql"), works_with: 3 },
    Step { sql: include_str!("../../../migrations/postgres/0006_keeping.sql"), works_with: 3 },
    // Who does not know of limited tokens would take none of them, and no old secret. (That an older node which runs on lets nobody in
    // with a limited token does not hang on this: see the step.)
    Step { sql: include_str!("../../../migrations/postgres/0007_tokens.sql"), works_with: 7 },
    Step { sql: include_str!("../../../migrations/postgres/0008_limits.sql"), works_with: 7 },
    // What is compressed there, is so behind the statements of any node.
    Step { sql: include_str!("../../../migrations/postgres/0009_compressing.sql"), works_with: 7 },
    // Tables of their own, which older nodes do not look at.
    Step { sql: include_str!("../../../migrations/postgres/0010_people.sql"), works_with: 7 },
    // Who does not know of uploads does not come upon them, and carries out what a user sent as what a token did.
    Step { sql: include_str!("../../../migrations/postgres/0011_uploads.sql"), works_with: 7 },
    // What an older node completes lacks its outcome, which is then read from the report, and is not among the day's imports.
    Step { sql: include_str!("../../../migrations/postgres/0012_history.sql"), works_with: 7 },
];

/// What this program knows.
pub(super) fn steps() -> Result<Vec<Step>, StoreError> {
    let known = STEPS.iter().map(|step| Step { sql: step.sql, works_with: step.works_with });
    Ok(known.chain(test_step()?).collect())
}

/// One step more, from the file that `ROSTER_TEST_SCHEMA_STEP` names: how a test starts a node of a newer version. Its first
/// line is `-- works with: ` and a number. In builds without debug assertions there is none.
#[cfg(debug_assertions)]
fn test_step() -> Result<Option<Step>, StoreError> {
    let Some(path) = std::env::var_os("ROSTER_TEST_SCHEMA_STEP") else { return Ok(None) };
    let wrong = || StoreError::Refused("ROSTER_TEST_SCHEMA_STEP names no file of a step".to_owned());
    let sql: &'static str = std::fs::read_to_string(path).map_err(|_| wrong())?.leak();
    let first = sql.lines().next().and_then(|line| line.strip_prefix("-- works with: "));
    let works_with = first.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    Ok(Some(Step { sql, works_with }))
}

#[cfg(not(debug_assertions))]
fn test_step() -> Result<Option<Step>, StoreError> {
    Ok(None)
}

/// What the nodes that start at once line up by, within their transactions: "roster" as a number.
const LOCK: i64 = 0x0000_726f_7374_6572;

/// How often a step is tried again that the database undid for the sake of an import.
const TRIES_MAX: u32 = 20;

/// Does the steps that the database lacks, each in a transaction of its own: a step is done or not begun.
pub(super) async fn migrate(pool: &Pool, steps: &[Step]) -> Result<(), StoreError> {
    let mut client = first_connection(pool).await?;
    let migrated = migrate_with(&mut client, steps).await;
    client.done(migrated)
}

async fn migrate_with(client: &mut Client, steps: &[Step]) -> Result<(), StoreError> {
    let mut tries = 0;
    // Usually there is nothing to do, and then nobody waits for anybody.
    while pending(client, steps).await?.is_some() {
        match migrate_once(client, steps).await {
            Err(StoreError::Unavailable(fault)) if tries < TRIES_MAX => {
                tries += 1;
                tracing::warn!(fault, tries, "the database could not be migrated and is tried again");
            }
            result => result?,
        }
    }
    Ok(())
}

/// Does the first step that the database lacks.
async fn migrate_once(client: &mut Client, steps: &[Step]) -> Result<(), StoreError> {
    let migrating = || "migrating the database";
    let tx = client.transaction().await.context(migrating)?;
    tx.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.context(migrating)?;
    tx.batch_execute(
        "CREATE TABLE IF NOT EXISTS schema_step (
             step       int PRIMARY KEY,
             digest     bytea NOT NULL,
             works_with int NOT NULL,
             done_at    timestamptz NOT NULL DEFAULT now()
         )",
    )
    .await
    .context(migrating)?;
    // Asked again under the lock: another node may have done the step meanwhile.
    if let Some((number, step)) = pending(tx.client(), steps).await? {
        do_step(tx.client(), number, step).await?;
        tx.commit().await.context(migrating)?;
    }
    Ok(())
}

async fn do_step(client: &Client, number: i32, step: &Step) -> Result<(), StoreError> {
    let migrating = || format!("migrating the database to schema {number}");
    client.batch_execute(step.sql).await.context(migrating)?;
    client
        .execute_typed(
            "INSERT INTO schema_step (step, digest, works_with) VALUES ($1, $2, $3)",
            &[(&number, Type::INT4), (&digest(step), Type::BYTEA), (&step.works_with, Type::INT4)],
        )
        .await
        .context(migrating)?;
    tracing::info!(schema = number, "the database was migrated");
    Ok(())
}

/// The first step that is not done, if the done ones are those that this program knows.
async fn pending<'a>(client: &Client, steps: &'a [Step]) -> Result<Option<(i32, &'a Step)>, StoreError> {
    let done = done(client).await?;
    for ((number, known, _), step) in done.iter().zip(steps) {
        if *known != digest(step) {
            return Err(StoreError::Refused(format!(
                "step {number} of this database's schema is not the one that this roster knows; \
                 use the roster that made it"
            )));
        }
    }
    let knows = steps.len();
    if let Some((number, _, _)) = done.iter().skip(knows).find(|(_, _, works_with)| *works_with as usize > knows) {
        return Err(StoreError::Refused(format!(
            "this database has schema {number}, but this roster knows schemas up to {knows} only; \
             use the roster that migrated it, or a newer one"
        )));
    }
    Ok(steps.iter().enumerate().nth(done.len()).map(|(at, step)| (at as i32 + 1, step)))
}

/// Number, digest and `works_with` of the steps done, in their order.
async fn done(client: &Client) -> Result<Vec<(i32, Vec<u8>, i32)>, StoreError> {
    let reading = || "reading the schema's version";
    let is_there = client
        .query_typed_one("SELECT to_regclass('schema_step') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .context(reading)?;
    if !is_there {
        return Ok(Vec::new());
    }
    let rows = client
        .query_typed("SELECT step, digest, works_with FROM schema_step ORDER BY step", &[])
        .await
        .context(reading)?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect::<Result<_, _>>()
        .context(reading)
}

fn digest(step: &Step) -> Vec<u8> {
    Sha256::digest(step.sql).to_vec()
}
