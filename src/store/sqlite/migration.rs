//! Brings a file to the schema that this program knows, step by step. `PRAGMA user_version` counts the steps done.
//!
//! Every file counts for itself and is migrated when it is opened: there may be thousands of programs, and most sleep.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::connection::Context;
use crate::store::StoreError;

/// The steps of the catalogue.
pub(super) const CATALOGUE: &[&str] = &[
    include_str!("../../../migrations/sqlite/catalogue/0001_catalogue.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0002_moving.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0003_cancelling.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0006_keeping.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0007_tokens.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0010_people.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0011_uploads.sql"),
    include_str!("../../../migrations/sqlite/catalogue/0012_history.sql"),
];

/// The steps of a program's file.
pub(super) const PROGRAM: &[&str] = &[include_str!("../../../migrations/sqlite/program/0001_program.sql")];

/// Does the steps that the file lacks, each in a transaction of its own: a step is done or not begun. A file of a newer
/// program is refused, and not touched.
pub(super) fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    while version(connection, path, steps)? < steps.len() {
        let migrating = || format!("migrating {}", path.display());
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).context(migrating)?;
        // Read again under the write lock: another process may have done the step meanwhile.
        let done = version(&tx, path, steps)?;
        if let Some(step) = steps.get(done) {
            tx.execute_batch(step).context(|| format!("migrating {} to schema {}", path.display(), done + 1))?;
            tx.pragma_update(None, "user_version", (done + 1) as i64).context(migrating)?;
            tx.commit().context(migrating)?;
        }
    }
    Ok(())
}

fn version(connection: &Connection, path: &Path, steps: &[&str]) -> Result<usize, StoreError> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .context(|| format!("reading the schema's version of {}", path.display()))?;
    match usize::try_from(version) {
        Ok(version) if version <= steps.len() => Ok(version),
        _ => Err(StoreError::Refused(format!(
            "{} has schema {version}, but this roster knows schemas up to {} only; use the roster that wrote it, or a newer one",
            path.display(),
            steps.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_done_once_and_in_order() {
        let mut connection = Connection::open_in_memory().expect("a connection");
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)"];
        let path = Path::new("some.db");
        for known in [1, 2, 2] {
            migrate(&mut connection, path, &steps[..known]).expect("migrated");
            assert_eq!(version(&connection, path, &steps).expect("a version"), known);
        }
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).expect("a count");
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = Connection::open_in_memory().expect("a connection");
        let steps = ["CREATE TABLE a (x); CREATE TABLE a (x)"];
        migrate(&mut connection, Path::new("some.db"), &steps).expect_err("a second table of this name");
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("a count");
        assert_eq!(tables, 0);
    }

    /// The table of commands is made anew without its reference; what is in it stays, and so does what refers to it.
    #[test]
    fn commands_keep_their_senders() {
        let mut connection = Connection::open_in_memory().expect("a connection");
        connection.pragma_update(None, "foreign_keys", true).expect("set");
        let path = Path::new("some.db");
        let before = CATALOGUE.iter().position(|step| step.contains("TABLE upload ")).expect("the step");
        migrate(&mut connection, path, &CATALOGUE[..before]).expect("migrated");
        connection
            .execute_batch(
                "INSERT INTO account VALUES (1, zeroblob(16), 'One', 1);
                 INSERT INTO program (number, id, account, name, active, region, tag, created_ms)
                   VALUES (1, zeroblob(16), zeroblob(16), 'P', 1, 'US', 1, 1);
                 INSERT INTO token (number, token, account, name, secret, created_ms)
                   VALUES (7, 'T', zeroblob(16), 'Nightly', x'00', 1);
                 INSERT INTO command (id, account, program, token, from_name, created_ms, payload_bytes, options, state)
                   VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 7, 'Nightly', 1, 1, '{}', 'queued');
                 INSERT INTO payload VALUES (1, x'00');",
            )
            .expect("filled");
        migrate(&mut connection, path, CATALOGUE).expect("migrated");
        let sent: (i64, i64, Option<Vec<u8>>) = connection
            .query_row("SELECT token, payload.seq, body_digest FROM command JOIN payload USING (seq)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .expect("the command");
        assert_eq!(sent, (7, 1, None));
        connection.execute("UPDATE command SET token = 0", []).expect("a user's");
        let wrong: i64 = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
            .expect("counted");
        assert_eq!(wrong, 0);
    }

    #[test]
    fn a_newer_file_is_refused() {
        let mut connection = Connection::open_in_memory().expect("a connection");
        connection.pragma_update(None, "user_version", 7).expect("set");
        let refused = migrate(&mut connection, Path::new("some.db"), &["SELECT 1"]).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "some.db has schema 7, but this roster knows schemas up to 1 only; use the roster that wrote it, or a newer one"
        );
    }
}
