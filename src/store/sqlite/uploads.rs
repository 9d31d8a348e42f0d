//! What was put into the console and is no import yet: a row of the catalogue, and a file of its own beside those of the commands, whatever
//! its size. The file is durable before the row is, and goes after it: so a crash leaves a file too many at most, which the next start removes.

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accounts::{the_program, uuid};
use super::connection::Context;
use super::writer::{Durability, Fate};
use super::{SqliteStore, blocking};
use crate::command::CommandId;
use crate::store::moving::{Standing, moved_away};
use crate::store::uploads::{COLUMNS_KEPT_MAX, columns_to_keep};
use crate::store::{NewUpload, StoreError, Upload, UploadId, Uploads};
use crate::tenant::{AccountId, ProgramId};

const COLUMNS: &str = "upload.id, program, from_name, file_name, bytes, digest, created_ms";

#[async_trait]
impl Uploads for SqliteStore {
    async fn keep_upload(&self, upload: NewUpload) -> Result<UploadId, StoreError> {
        self.serving()?;
        if let Standing::Moved(peer) = &self.inner.standing {
            return Err(moved_away(peer));
        }
        let (draft, payloads) = (Arc::clone(&upload.received.draft), self.inner.payloads.clone());
        let after = move |fate: Fate<'_, UploadId>| match fate {
            Fate::Committed(_) => {
                draft.keep();
                payloads.clear_away();
            }
            Fate::Undone => drop(draft),
            // Should the row be there after all when the machine is up again, its file must be, too.
            Fate::Unknown => payloads.leave(draft),
        };
        let work = move |catalogue: &Connection| keep(catalogue, &upload);
        self.inner.writer.write(Durability::Durable, work, after).await
    }

    async fn upload(&self, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
        self.read(move |_, catalogue| find(catalogue, account, upload)).await
    }

    fn upload_file(&self, account: AccountId, upload: UploadId) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let found = self.inner.readers.read(|catalogue| find(catalogue, account, upload))?;
        let Some(Upload { id, .. }) = found else { return Ok(None) };
        let file = self.inner.payloads.find(CommandId(id.0))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    async fn upload_of(&self, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError> {
        self.read(move |_, catalogue| of_command(catalogue, account, command)).await
    }

    async fn note_upload(&self, account: AccountId, upload: UploadId, command: CommandId) -> Result<(), StoreError> {
        self.write(move |catalogue| note(catalogue, account, (upload, command))).await
    }

    async fn forget_uploads(&self, before_ms: i64, count_max: u32) -> Result<u64, StoreError> {
        let gone = self.write(move |catalogue| forget(catalogue, before_ms, count_max)).await?;
        let (count, payloads) = (gone.len() as u64, self.inner.payloads.clone());
        blocking(move || gone.into_iter().try_for_each(|id| payloads.remove(CommandId(id.0)))).await?;
        Ok(count)
    }

    async fn columns(&self, account: AccountId, program: ProgramId) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |_, catalogue| {
            the_program(catalogue, account, program)?;
            columns(catalogue, program)
        })
        .await
    }

    async fn remember_columns(
        &self,
        account: AccountId,
        program: ProgramId,
        columns: &[(String, String)],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let columns = columns_to_keep(columns);
        self.write(move |catalogue| {
            the_program(catalogue, account, program)?;
            remember(catalogue, program, &columns, now_ms)
        })
        .await
    }
}

/// Whether there is an upload, so that a file of this id belongs to somebody.
pub(super) fn is_kept(catalogue: &Connection, id: CommandId) -> Result<bool, StoreError> {
    catalogue
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM upload WHERE id = ?1)")
        .and_then(|mut select| select.query_row([id.0.as_bytes().as_slice()], |row| row.get(0)))
        .context(|| format!("looking for upload {id}"))
}

fn keep(catalogue: &Connection, new: &NewUpload) -> Result<UploadId, StoreError> {
    let NewUpload { account, program, received, by, file_name: _, digest, created_ms } = new;
    the_program(catalogue, *account, *program)?;
    catalogue
        .prepare_cached(
            "INSERT INTO upload (id, account, program, from_name, file_name, bytes, digest, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                received.command.0.as_bytes().as_slice(),
                account.0.as_bytes().as_slice(),
                program.0.as_bytes().as_slice(),
                by,
                new.file_name_to_keep(),
                received.bytes.cast_signed(),
                digest.as_slice(),
                created_ms
            ])
        })
        .context(|| format!("keeping upload {}", received.command))?;
    Ok(UploadId(received.command.0))
}

fn find(catalogue: &Connection, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
    catalogue
        .prepare_cached(&format!("SELECT {COLUMNS} FROM upload WHERE id = ?1 AND account = ?2"))
        .and_then(|mut select| {
            let (id, account) = (upload.0.as_bytes().as_slice(), account.0.as_bytes().as_slice());
            select.query_row([id, account], read).optional()
        })
        .context(|| format!("reading upload {upload}"))
}

fn of_command(catalogue: &Connection, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError> {
    catalogue
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM upload_use JOIN upload ON upload.id = upload_use.upload
             WHERE upload_use.command = ?1 AND upload.account = ?2"
        ))
        .and_then(|mut select| {
            let (id, account) = (command.0.as_bytes().as_slice(), account.0.as_bytes().as_slice());
            select.query_row([id, account], read).optional()
        })
        .context(|| format!("reading the upload of command {command}"))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload {
        id: UploadId(uuid(row, 0)?),
        program: ProgramId(uuid(row, 1)?),
        by: row.get(2)?,
        file_name: row.get(3)?,
        bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        digest: row.get(5)?,
        created_ms: row.get(6)?,
    })
}

fn note(
    catalogue: &Connection,
    account: AccountId,
    (upload, command): (UploadId, CommandId),
) -> Result<(), StoreError> {
    catalogue
        .prepare_cached(
            "INSERT INTO upload_use (command, upload)
             SELECT command.id, upload.id FROM upload JOIN command ON command.account = upload.account
             WHERE upload.id = ?1 AND command.id = ?2 AND upload.account = ?3 ON CONFLICT DO NOTHING",
        )
        .and_then(|mut insert| {
            let [upload, command] = [upload.0, command.0];
            let (upload, command) = (upload.as_bytes().as_slice(), command.as_bytes().as_slice());
            insert.execute([upload, command, account.0.as_bytes().as_slice()])
        })
        .context(|| format!("noting the upload of command {command}"))?;
    Ok(())
}

fn forget(catalogue: &Connection, before_ms: i64, count_max: u32) -> Result<Vec<UploadId>, StoreError> {
    let removing = || "removing old uploads of the console";
    let gone: Vec<UploadId> = catalogue
        .prepare_cached("SELECT id FROM upload WHERE created_ms <= ?1 ORDER BY created_ms LIMIT ?2")
        .and_then(|mut select| {
            select.query_map(params![before_ms, count_max], |row| Ok(UploadId(uuid(row, 0)?)))?.collect()
        })
        .context(removing)?;
    for id in &gone {
        for delete in ["DELETE FROM upload_use WHERE upload = ?1", "DELETE FROM upload WHERE id = ?1"] {
            catalogue
                .prepare_cached(delete)
                .and_then(|mut delete| delete.execute([id.0.as_bytes().as_slice()]))
                .context(removing)?;
        }
    }
    Ok(gone)
}

fn columns(catalogue: &Connection, program: ProgramId) -> Result<Vec<(String, String)>, StoreError> {
    catalogue
        .prepare_cached("SELECT name, field FROM mapped_column WHERE program = ?1 ORDER BY name")
        .and_then(|mut select| {
            select.query_map([program.0.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .context(|| format!("reading the columns of program {program}"))
}

fn remember(
    catalogue: &Connection,
    program: ProgramId,
    columns: &[(String, String)],
    now_ms: i64,
) -> Result<(), StoreError> {
    let remembering = || format!("remembering columns of program {program}");
    let id = program.0.as_bytes().as_slice();
    let mut insert = catalogue
        .prepare_cached(
            "INSERT OR REPLACE INTO mapped_column (program, name, field, remembered_ms) VALUES (?1, ?2, ?3, ?4)",
        )
        .context(remembering)?;
    for (name, field) in columns {
        insert.execute(params![id, name, field, now_ms]).context(remembering)?;
    }
    catalogue
        .prepare_cached(
            "DELETE FROM mapped_column WHERE program = ?1 AND name IN
               (SELECT name FROM mapped_column WHERE program = ?1
                ORDER BY remembered_ms DESC, name LIMIT -1 OFFSET ?2)",
        )
        .and_then(|mut delete| delete.execute(params![id, COLUMNS_KEPT_MAX]))
        .context(remembering)?;
    Ok(())
}
