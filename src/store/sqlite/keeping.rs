//! Removing what is over and past its time: uploads, then commands. What waits or runs is never looked at.

use rusqlite::{Connection, params};

use super::accounts::uuid;
use super::connection::Context;
use super::payloads::Payloads;
use super::{SqliteStore, blocking};
use crate::command::CommandId;
use crate::store::{Forgotten, Past, StoreError};

/// Removes some of both kinds; the files after it is written down, so that a start finds those that were left.
pub(super) async fn forget(store: &SqliteStore, past: Past, count_max: u32) -> Result<Forgotten, StoreError> {
    let work =
        move |catalogue: &Connection| Ok((uploads(catalogue, past, count_max)?, commands(catalogue, past, count_max)?));
    let (uploads, commands) = store.write(work).await?;
    let forgotten = Forgotten { uploads: uploads.len() as u64, commands };
    let payloads: Payloads = store.inner.payloads.clone();
    blocking(move || uploads.into_iter().try_for_each(|command| payloads.remove(command))).await?;
    Ok(forgotten)
}

fn uploads(catalogue: &Connection, past: Past, count_max: u32) -> Result<Vec<CommandId>, StoreError> {
    let removing = || "removing old uploads";
    let found: Vec<(i64, CommandId)> = catalogue
        .prepare_cached(
            "SELECT seq, id FROM command
             WHERE state = 'complete' AND file_removed = 0 AND finished_ms < ?1 ORDER BY finished_ms LIMIT ?2",
        )
        .and_then(|mut select| {
            let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, CommandId(uuid(row, 1)?)));
            select.query_map(params![past.uploads_before_ms(), count_max], found)?.collect()
        })
        .context(removing)?;
    let mut delete = catalogue.prepare_cached("DELETE FROM payload WHERE seq = ?1").context(removing)?;
    let mut update =
        catalogue.prepare_cached("UPDATE command SET file_removed = 1 WHERE seq = ?1").context(removing)?;
    for (seq, _) in &found {
        delete.execute([seq]).and_then(|_| update.execute([seq])).context(removing)?;
    }
    Ok(found.into_iter().map(|(_, command)| command).collect())
}

fn commands(catalogue: &Connection, past: Past, count_max: u32) -> Result<u64, StoreError> {
    catalogue
        .prepare_cached(
            "DELETE FROM command WHERE seq IN
               (SELECT seq FROM command
                WHERE state = 'complete' AND file_removed = 1 AND finished_ms < ?1 ORDER BY finished_ms LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![past.commands_before_ms, count_max]))
        .context(|| "removing old commands")
        .map(|count| count as u64)
}
