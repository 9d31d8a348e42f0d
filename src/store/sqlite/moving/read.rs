//! Rows out of a data directory: what a row of SQL is in a move.

use rusqlite::{Connection, Params, Row as SqlRow, params};

use super::super::accounts::uuid;
use super::super::connection::Context;
use crate::command::CommandId;
use crate::store::StoreError;
use crate::store::moving::{
    ColumnRow, CommandRow, CommandRowState, DayRow, FieldRow, KeyRow, MembershipRow, PayloadRow, Row, SignatureRow,
    TokenRow, UserRow,
};
use crate::store::secrets::MasterKey;
use crate::store::token_row::{ScopeColumns, Unsealed};
use crate::store::user_row::{open_password, parse_name, parse_role};
use crate::tenant::{Account, AccountId, ProgramId, Secret, UserId};

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

pub(super) fn users(
    catalogue: &Connection,
    key: &MasterKey,
    after: i64,
    rows_max: u32,
) -> Result<Vec<Row>, StoreError> {
    let rows = select(
        catalogue,
        "SELECT number, id, name, password, created_ms, last_signed_in_ms, disabled_ms FROM console_user
         WHERE number > ?1 ORDER BY number LIMIT ?2",
        params![after, rows_max],
        |row| {
            let (id, name, sealed) =
                (UserId(uuid(row, 1)?), row.get::<_, String>(2)?, row.get::<_, Option<Vec<u8>>>(3)?);
            Ok((row.get(0)?, id, name, sealed, row.get(4)?, [row.get(5)?, row.get(6)?]))
        },
    )?;
    rows.into_iter()
        .map(|(number, id, name, sealed, created_ms, [last_signed_in_ms, disabled_ms])| {
            Ok(Row::User(UserRow {
                number,
                id,
                name: parse_name(&name)?,
                password: sealed.map(|sealed| open_password(key, id, &sealed)).transpose()?,
                created_ms,
                last_signed_in_ms,
                disabled_ms,
            }))
        })
        .collect()
}

pub(super) fn memberships(
    catalogue: &Connection,
    after: (&[u8], &[u8]),
    rows_max: u32,
) -> Result<Vec<Row>, StoreError> {
    let rows = select(
        catalogue,
        "SELECT person, account, role FROM console_membership
         WHERE (person, account) > (?1, ?2) ORDER BY person, account LIMIT ?3",
        params![after.0, after.1, rows_max],
        |row| Ok((UserId(uuid(row, 0)?), AccountId(uuid(row, 1)?), row.get::<_, String>(2)?)),
    )?;
    rows.into_iter()
        .map(|(user, account, role)| Ok(Row::Membership(MembershipRow { user, account, role: parse_role(&role)? })))
        .collect()
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

pub(super) fn read_day(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Day(DayRow {
        account: AccountId(uuid(row, 0)?),
        day: row.get(1)?,
        program: ProgramId(uuid(row, 2)?),
        imports: row.get(3)?,
        bad_imports: row.get(4)?,
        rows: [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?],
    }))
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
