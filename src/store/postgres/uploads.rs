//! What was put into the console and is no import yet: a row, and pieces among those of the commands. One statement makes what was received
//! an upload, and one takes both away: so neither is ever without the other.

use std::io::Read;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::accounts::the_program;
use super::commands::digest;
use super::connection::{self, ANSWERED_WITHIN, Context, Lent, READ_WITHIN, execute, within};
use super::moving::{IS_MOVING, refuse_work};
use super::{PostgresStore, blocking, payloads};
use crate::command::CommandId;
use crate::store::uploads::{COLUMNS_KEPT_MAX, columns_to_keep};
use crate::store::{NewUpload, StoreError, Upload, UploadId, Uploads};
use crate::tenant::{AccountId, ProgramId};

const COLUMNS: &str = "upload.id, program, from_name, file_name, bytes, digest, created_ms";

#[async_trait]
impl Uploads for PostgresStore {
    async fn keep_upload(&self, upload: NewUpload) -> Result<UploadId, StoreError> {
        self.serving()?;
        let client = self.client().await?;
        let kept = within(ANSWERED_WITHIN, keep(&client, &upload)).await;
        client.done(kept)
    }

    async fn upload(&self, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
        let client = self.client().await?;
        let found = within(ANSWERED_WITHIN, find(&client, account, upload)).await;
        client.done(found)
    }

    fn upload_file(&self, account: AccountId, upload: UploadId) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let Some(found) = blocking(&self.handle, self.upload(account, upload))? else { return Ok(None) };
        let id = (found.program, CommandId(found.id.0));
        let file = payloads::stored(&self.shared, &self.handle, id, found.bytes)?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    async fn upload_of(&self, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError> {
        let client = self.client().await?;
        let found = within(ANSWERED_WITHIN, of_command(&client, account, command)).await;
        client.done(found)
    }

    async fn note_upload(&self, account: AccountId, upload: UploadId, command: CommandId) -> Result<(), StoreError> {
        let client = self.client().await?;
        let noted = within(ANSWERED_WITHIN, note(&client, account, (upload, command))).await;
        client.done(noted)
    }

    async fn forget_uploads(&self, before_ms: i64, count_max: u32) -> Result<u64, StoreError> {
        let client = self.client().await?;
        let forgotten = within(READ_WITHIN, forget(&client, before_ms, count_max)).await;
        client.done(forgotten)
    }

    async fn columns(&self, account: AccountId, program: ProgramId) -> Result<Vec<(String, String)>, StoreError> {
        let client = self.client().await?;
        let asked = async {
            the_program(&client, account, program).await?;
            columns(&client, program).await
        };
        let found = within(ANSWERED_WITHIN, asked).await;
        client.done(found)
    }

    async fn remember_columns(
        &self,
        account: AccountId,
        program: ProgramId,
        columns: &[(String, String)],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let work = async {
            let remembering = || format!("remembering columns of program {program}");
            let tx = connection::begin(&mut client).await.context(remembering)?;
            the_program(tx.client(), account, program).await?;
            remember(tx.client(), program, &columns_to_keep(columns), now_ms).await.context(remembering)?;
            tx.commit().await.context(remembering)
        };
        let done = within(ANSWERED_WITHIN, work).await;
        client.done(done)
    }
}

/// Makes what was received an upload; the row of `receiving` goes, and the pieces are not forsaken any more.
async fn keep(client: &Lent, new: &NewUpload) -> Result<UploadId, StoreError> {
    let NewUpload { account, program, received, by, file_name: _, digest, created_ms } = new;
    let id = received.command;
    let kept = execute(
        client,
        &format!(
            "WITH taken AS (
               DELETE FROM receiving WHERE program = $1 AND command = $2 AND NOT {IS_MOVING}
                 AND EXISTS (SELECT 1 FROM program WHERE id = $1 AND account = $3)
               RETURNING program, command
             )
             INSERT INTO upload (program, id, account, from_name, file_name, bytes, digest, created_ms)
             SELECT program, command, $3, $4, $5, $6, $7, $8 FROM taken"
        ),
        &[
            (&program.0, Type::UUID),
            (&id.0, Type::UUID),
            (&account.0, Type::UUID),
            (by, Type::TEXT),
            (&new.file_name_to_keep(), Type::TEXT),
            (&received.bytes.cast_signed(), Type::INT8),
            (&digest.as_slice(), Type::BYTEA),
            (created_ms, Type::INT8),
        ],
        || format!("keeping upload {id}"),
    )
    .await?;
    if kept > 0 {
        return Ok(UploadId(id.0));
    }
    the_program(client, *account, *program).await?;
    let asking = || "looking for moves";
    let is_moving = client.query_typed_one(&format!("SELECT {IS_MOVING}"), &[]).await.context(asking)?;
    if is_moving.try_get(0).context(asking)? {
        return Err(refuse_work(client).await?);
    }
    Err(StoreError::Unavailable(format!("the file of upload {id} was cleared away meanwhile")))
}

async fn find(client: &Client, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
    let reading = || format!("reading upload {upload}");
    let found = client
        .query_typed_opt(
            &format!("SELECT {COLUMNS} FROM upload WHERE account = $1 AND id = $2"),
            &[(&account.0, Type::UUID), (&upload.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    found.as_ref().map(read).transpose()
}

async fn of_command(client: &Client, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError> {
    let found = client
        .query_typed_opt(
            &format!(
                "SELECT {COLUMNS} FROM upload_use JOIN upload
                   ON upload.account = upload_use.account AND upload.id = upload_use.upload
                 WHERE upload_use.account = $1 AND upload_use.command = $2"
            ),
            &[(&account.0, Type::UUID), (&command.0, Type::UUID)],
        )
        .await
        .context(|| format!("reading the upload of command {command}"))?;
    found.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Upload, StoreError> {
    let reading = || "reading an upload";
    Ok(Upload {
        id: UploadId(row.try_get(0).context(reading)?),
        program: ProgramId(row.try_get(1).context(reading)?),
        by: row.try_get(2).context(reading)?,
        file_name: row.try_get(3).context(reading)?,
        bytes: row.try_get::<_, i64>(4).context(reading)?.cast_unsigned(),
        digest: digest(row, 5)?,
        created_ms: row.try_get(6).context(reading)?,
    })
}

/// The upload is held meanwhile: who forgets it would not see what is noted here.
async fn note(client: &Lent, account: AccountId, (upload, command): (UploadId, CommandId)) -> Result<(), StoreError> {
    execute(
        client,
        "WITH held AS (
           SELECT account, id FROM upload WHERE account = $1 AND id = $2 FOR SHARE
         )
         INSERT INTO upload_use (account, command, upload)
         SELECT held.account, command.id, held.id FROM held
         JOIN command ON command.account = held.account AND command.id = $3
         ON CONFLICT (account, command) DO NOTHING",
        &[(&account.0, Type::UUID), (&upload.0, Type::UUID), (&command.0, Type::UUID)],
        || format!("noting the upload of command {command}"),
    )
    .await?;
    Ok(())
}

/// Any node may, several at once too: each takes rows that no other has in hand.
async fn forget(client: &Lent, before_ms: i64, count_max: u32) -> Result<u64, StoreError> {
    execute(
        client,
        "WITH past AS (
           SELECT program, id, account FROM upload WHERE created_ms <= $1
           ORDER BY created_ms LIMIT $2 FOR UPDATE SKIP LOCKED
         ), pieces AS (
           DELETE FROM payload USING past WHERE payload.program = past.program AND payload.command = past.id
         ), uses AS (
           DELETE FROM upload_use USING past WHERE upload_use.account = past.account AND upload_use.upload = past.id
         )
         DELETE FROM upload USING past WHERE upload.program = past.program AND upload.id = past.id",
        &[(&before_ms, Type::INT8), (&i64::from(count_max), Type::INT8)],
        || "removing old uploads of the console".to_owned(),
    )
    .await
}

async fn columns(client: &Client, program: ProgramId) -> Result<Vec<(String, String)>, StoreError> {
    let reading = || format!("reading the columns of program {program}");
    let rows = client
        .query_typed(
            "SELECT name, field FROM mapped_column WHERE program = $1 ORDER BY name",
            &[(&program.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, _>>().context(reading)
}

/// In the order of the names, whoever does it at the same time.
async fn remember(
    client: &Client,
    program: ProgramId,
    columns: &[(String, String)],
    now_ms: i64,
) -> Result<(), tokio_postgres::Error> {
    let (names, fields): (Vec<&str>, Vec<&str>) = columns.iter().map(|(name, field)| (&**name, &**field)).unzip();
    client
        .execute_typed(
            "INSERT INTO mapped_column (program, name, field, remembered_ms)
             SELECT $1, name, field, $4 FROM unnest($2::text[], $3::text[]) AS new (name, field)
             ON CONFLICT (program, name) DO UPDATE SET field = excluded.field, remembered_ms = excluded.remembered_ms",
            &[(&program.0, Type::UUID), (&names, Type::TEXT_ARRAY), (&fields, Type::TEXT_ARRAY), (&now_ms, Type::INT8)],
        )
        .await?;
    client
        .execute_typed(
            "DELETE FROM mapped_column WHERE program = $1 AND name IN
               (SELECT name FROM mapped_column WHERE program = $1 ORDER BY remembered_ms DESC, name OFFSET $2)",
            &[(&program.0, Type::UUID), (&i64::from(COLUMNS_KEPT_MAX), Type::INT8)],
        )
        .await?;
    Ok(())
}
