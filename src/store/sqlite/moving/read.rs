//! Rows out of a data directory: what a row of SQL is in a move.

use rusqlite::{Connection, Params, Row as SqlRow};

use super::super::accounts::uuid;
use super::super::connection::Context;
use crate::command::CommandId;
use crate::store::StoreError;
use crate::store::moving::{
    ColumnRow, CommandRow, CommandRowState, FieldRow, KeyRow, PayloadRow, Row, SignatureRow, TokenRow,
};
use crate::store::token_row::{ScopeColumns, Unsealed};
use crate::tenant::{Account, AccountId, ProgramId, Secret};

pub(super) fn select<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut select| select.query_map(params, read)?.collect())
        .context(|| "reading what is to be moved")
}

pub(super) fn read_account(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let account = Account { id: AccountId(uuid(row, 1)?), name: row.get(2)?, created_ms: row.get(3)? };
    Ok(Row::Account(row.get(0)?, account))
}

pub(super) fn read_field(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Field(FieldRow {
        program: ProgramId(uuid(row, 0)?),
        number: row.get(1)?,
        name: row.get(2)?,
        field_type: row.get(3)?,
        created_ms: row.get(4)?,
        removed_ms: row.get(5)?,
    }))
}

/// Without its secrets, which are sealed.
pub(super) fn read_token(row: &SqlRow<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        number: row.get(0)?,
        token: row.get(1)?,
        account: AccountId(uuid(row, 2)?),
        name: row.get(3)?,
        unsealed: Unsealed {
            columns: ScopeColumns { read_only: row.get(7)?, programs: row.get(8)? },
            secret: Secret::new(String::new()),
            old_secret: None,
        },
        created_ms: row.get(5)?,
        revoked_ms: row.get(6)?,
        last_used_ms: row.get(11)?,
    })
}

/// As far as the catalogue knows: `Waiting` may turn out to be applied, and `Gone` to be a file.
pub(super) fn read_command(row: &SqlRow<'_>) -> rusqlite::Result<CommandRow> {
    let state = match (row.get(9)?, row.get(10)?, row.get(11)?) {
        (Some(finished_ms), Some(trace), Some(report)) => CommandRowState::Complete { finished_ms, trace, report },
        _ => CommandRowState::Waiting,
    };
    Ok(CommandRow {
        sequence: row.get(0)?,
        id: CommandId(uuid(row, 1)?),
        account: AccountId(uuid(row, 2)?),
        program: ProgramId(uuid(row, 3)?),
        token: row.get(4)?,
        from_name: row.get(5)?,
        created_ms: row.get(6)?,
        payload_bytes: row.get(7)?,
        options: row.get(8)?,
        cancelled_by: row.get(13)?,
        body_digest: row.get(14)?,
        state,
        payload: row.get::<_, Option<Vec<u8>>>(12)?.map_or(PayloadRow::Gone, PayloadRow::Small),
    })
}

pub(super) fn read_column(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let program = ProgramId(uuid(row, 0)?);
    Ok(Row::Column(ColumnRow { program, name: row.get(1)?, field: row.get(2)?, remembered_ms: row.get(3)? }))
}

pub(super) fn read_signature(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Signature(SignatureRow {
        token: row.get(0)?,
        signature: row.get(1)?,
        command: CommandId(uuid(row, 2)?),
        request_digest: row.get(3)?,
        remember_until_ms: row.get(4)?,
    }))
}

pub(super) fn read_key(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Key(KeyRow {
        token: row.get(0)?,
        program: ProgramId(uuid(row, 1)?),
        key: row.get(2)?,
        command: CommandId(uuid(row, 3)?),
        body_digest: row.get(4)?,
        created_ms: row.get(5)?,
    }))
}
