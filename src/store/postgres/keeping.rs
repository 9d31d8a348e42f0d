//! Removing what is over and past its time: uploads, then commands. Any node may, several at once too: each takes rows that
//! no other has in hand.

use tokio_postgres::types::Type;

use super::connection::{Lent, execute};
use super::moving::IS_MOVING;
use crate::store::{Forgotten, Past, StoreError};

/// Removes some of both kinds; nothing while everything is being moved, as both sides are to be the same at the end.
pub(super) async fn forget(client: &Lent, past: Past, count_max: u32) -> Result<Forgotten, StoreError> {
    let uploads = execute(
        client,
        &format!(
            "WITH past AS (
           SELECT program, seq, id FROM command WHERE NOT file_removed AND finished_ms < $1 AND NOT {IS_MOVING}
           ORDER BY finished_ms LIMIT $2 FOR UPDATE SKIP LOCKED
         ), removed AS (
           DELETE FROM payload USING past WHERE payload.program = past.program AND payload.command = past.id
         )
         UPDATE command SET file_removed = true FROM past
         WHERE command.program = past.program AND command.seq = past.seq"
        ),
        &[(&past.uploads_before_ms(), Type::INT8), (&i64::from(count_max), Type::INT8)],
        || "removing old uploads".to_owned(),
    )
    .await?;
    // One that was cancelled behind a command that still waits belongs to its queue.
    let commands = execute(
        client,
        &format!(
            "WITH past AS (
           SELECT program, seq FROM command WHERE file_removed AND finished_ms < $1 AND NOT {IS_MOVING}
             AND seq < (SELECT head FROM lane WHERE lane.program = command.program)
           ORDER BY finished_ms LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM command USING past WHERE command.program = past.program AND command.seq = past.seq"
        ),
        &[(&past.commands_before_ms, Type::INT8), (&i64::from(count_max), Type::INT8)],
        || "removing old commands".to_owned(),
    )
    .await?;
    Ok(Forgotten { uploads, commands })
}
