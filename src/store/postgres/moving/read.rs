//! Rows out of a database, page after page, each by its key.

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Row as SqlRow};

use super::super::accounts::{PROGRAM_COLUMNS, read_program};
use super::super::connection::{Context, Lent, begin};
use super::super::{accounts, contacts};
use crate::command::{CommandId, Digest};
use crate::store::StoreError;
use crate::store::moving::{
    ColumnRow, CommandRow, CommandRowState, Cursor, DayRow, FieldRow, KeyRow, MembershipRow, Part, PayloadRow, Row,
    SMALL_BYTES_MAX, SignatureRow, TokenRow, UserRow,
};
use crate::store::secrets::MasterKey;
use crate::store::stock::Stock;
use crate::store::token_row::{OldColumns, ScopeColumns, Unsealed};
use crate::store::user_row::{open_password, parse_name, parse_role};
use crate::tenant::{Account, AccountId, ProgramId, UserId};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The next rows of a part. In a transaction, for the settings: a table that was filled a moment ago has no statistics, and
/// would be sorted whole for every page.
pub(super) async fn page(
    client: &mut Lent,
    key: &MasterKey,
    part: Part,
    after: &Cursor,
    rows_max: u32,
) -> Result<Vec<Row>, StoreError> {
    let tx = begin(client).await.context(reading)?;
    tx.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        .await
        .context(reading)?;
    let rows = match part {
        Part::Commands => commands(tx.client(), after, rows_max).await?,
        Part::Contacts(program) => contacts(tx.client(), program, after, rows_max).await?,
        Part::Accounts
        | Part::Programs
        | Part::Fields
        | Part::Tokens
        | Part::Users
        | Part::Memberships
        | Part::Columns
        | Part::Days
        | Part::Signatures
        | Part::Keys => plain(tx.client(), key, part, after, rows_max).await?,
    };
    tx.rollback().await.context(reading)?;
    Ok(rows)
}

fn reading() -> &'static str {
    "reading what is to be moved"
}

const DAYS: &str = "SELECT account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed
     FROM day_tally WHERE (account, day, program) > ($1, $2, $3) ORDER BY account, day, program LIMIT $4";

const KEYS: &str = "SELECT token, program, key, command, body_digest, created_ms FROM idempotency_key
     WHERE (token, program, key) > ($1, $2, $3) ORDER BY token, program, key LIMIT $4";

async fn plain(
    client: &Client,
    key: &MasterKey,
    part: Part,
    after: &Cursor,
    rows_max: u32,
) -> Result<Vec<Row>, StoreError> {
    let Cursor { is_open: _, number, program, bytes } = after;
    let rows_max = i64::from(rows_max);
    let text = String::from_utf8_lossy(bytes);
    // Before the first page it is that of nobody.
    let account = uuid::Uuid::from_slice(bytes).unwrap_or_default();
    let (number, program, rows_max) =
        ((number as _, Type::INT8), (program as _, Type::UUID), (&rows_max as _, Type::INT8));
    let programs = format!("SELECT {PROGRAM_COLUMNS}, number FROM program WHERE number > $1 ORDER BY number LIMIT $2");
    let (sql, parameters): (&str, Vec<Parameter<'_>>) = match part {
        Part::Programs => (&programs, vec![number, rows_max]),
        Part::Fields => (
            "SELECT program, number, name, type, created_ms, removed_ms FROM field
             WHERE (program, number) > ($1, $2) ORDER BY program, number LIMIT $3",
            vec![program, number, rows_max],
        ),
        Part::Tokens => (
            "SELECT number, token, account, name, secret, created_ms, revoked_ms,
                read_only, programs, old_secret, old_secret_until_ms, last_used_ms
             FROM token
             WHERE number > $1 ORDER BY number LIMIT $2",
            vec![number, rows_max],
        ),
        Part::Users => (
            "SELECT number, id, name, password, created_ms, last_signed_in_ms, disabled_ms FROM console_user
             WHERE number > $1 ORDER BY number LIMIT $2",
            vec![number, rows_max],
        ),
        Part::Memberships => (
            "SELECT person, account, role FROM console_membership
             WHERE (person, account) > ($1, $2) ORDER BY person, account LIMIT $3",
            vec![program, (&account as _, Type::UUID), rows_max],
        ),
        Part::Signatures => (
            "SELECT token, signature, command, request_digest, remember_until_ms FROM signature
             WHERE (token, signature) > ($1, $2) ORDER BY token, signature LIMIT $3",
            vec![number, (bytes as _, Type::BYTEA), rows_max],
        ),
        Part::Keys => (KEYS, vec![number, program, (&text as _, Type::TEXT), rows_max]),
        Part::Columns => (
            "SELECT program, name, field, remembered_ms FROM mapped_column
             WHERE (program, name) > ($1, $2) ORDER BY program, name LIMIT $3",
            vec![program, (&text as _, Type::TEXT), rows_max],
        ),
        Part::Days => (DAYS, vec![(&account as _, Type::UUID), number, program, rows_max]),
        Part::Accounts | Part::Commands | Part::Contacts(_) => (
            "SELECT number, id, name, created_ms FROM account WHERE number > $1 ORDER BY number LIMIT $2",
            vec![number, rows_max],
        ),
    };
    let rows = client.query_typed(sql, &parameters).await.context(reading)?;
    rows.iter()
        .map(|row| match part {
            Part::Programs => Ok(Row::Program(cell(row, 9)?, read_program(row)?)),
            Part::Fields => read_field(row),
            Part::Tokens => read_token(row, key),
            Part::Users => read_user(row, key),
            Part::Memberships => read_membership(row),
            Part::Signatures => read_signature(row),
            Part::Keys => read_key(row),
            Part::Columns => read_column(row),
            Part::Days => read_day(row),
            Part::Accounts | Part::Commands | Part::Contacts(_) => {
                let account = Account { id: AccountId(cell(row, 1)?), name: cell(row, 2)?, created_ms: cell(row, 3)? };
                Ok(Row::Account(cell(row, 0)?, account))
            }
        })
        .collect()
}

/// First all complete ones, then all others, each by program and number.
async fn commands(client: &Client, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
    let start = Cursor::default();
    let mut rows = Vec::new();
    if !after.is_open {
        rows = commands_that(client, "IS NOT NULL", after, rows_max).await?;
    }
    if rows.is_empty() {
        rows = commands_that(client, "IS NULL", if after.is_open { after } else { &start }, rows_max).await?;
    }
    rows.iter().map(read_command).collect()
}

async fn commands_that(
    client: &Client,
    finished: &str,
    after: &Cursor,
    rows_max: u32,
) -> Result<Vec<SqlRow>, StoreError> {
    client
        .query_typed(
            &format!(
                "SELECT seq, id, account, command.program, token, from_name, created_ms, payload_bytes, options,
                   finished_ms, trace, report, payload.command IS NOT NULL,
                   CASE WHEN payload_bytes <= $4 THEN payload.bytes END, cancelled_by, body_digest
                 FROM command LEFT JOIN payload
                   ON payload.program = command.program AND payload.command = command.id AND payload.piece = 0
                 WHERE finished_ms {finished} AND (command.program, seq) > ($1, $2)
                 ORDER BY command.program, seq LIMIT $3"
            ),
            &[
                (&after.program, Type::UUID),
                (&after.number, Type::INT8),
                (&i64::from(rows_max), Type::INT8),
                (&SMALL_BYTES_MAX.cast_signed(), Type::INT8),
            ],
        )
        .await
        .context(reading)
}

async fn contacts(client: &Client, program: ProgramId, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
    let Some(found) = accounts::find_program(client, program).await? else { return Ok(Vec::new()) };
    let rows = client
        .query_typed(
            &format!(
                "SELECT {} FROM contact WHERE program = $1 AND number > $2 ORDER BY number LIMIT $3",
                contacts::COLUMNS
            ),
            &[(&program.0, Type::UUID), (&after.number, Type::INT8), (&i64::from(rows_max), Type::INT8)],
        )
        .await
        .context(reading)?;
    rows.iter().map(|row| Ok(Row::Contact(Box::new(contacts::read_contact(row, found.tag)?)))).collect()
}

pub(super) async fn piece(client: &Client, command: &CommandRow, piece: u32) -> Result<Vec<u8>, StoreError> {
    let found = client
        .query_typed_opt(
            "SELECT bytes FROM payload WHERE program = $1 AND command = $2 AND piece = $3",
            &[(&command.program.0, Type::UUID), (&command.id.0, Type::UUID), (&piece.cast_signed(), Type::INT4)],
        )
        .await
        .context(reading)?;
    found.map_or(Ok(Vec::new()), |row| cell(&row, 0))
}

pub(super) async fn stock(client: &Client, program: ProgramId) -> Result<Stock, StoreError> {
    let found = client
        .query_typed_opt(
            "SELECT next_number, contacts, active FROM stock WHERE program = $1",
            &[(&program.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    let Some(row) = found else { return Ok(Stock::EMPTY) };
    Ok(Stock { next_number: cell(&row, 0)?, contacts: cell(&row, 1)?, active: cell(&row, 2)? })
}

pub(super) async fn reached(client: &Client, part: Part) -> Result<u64, StoreError> {
    let (sql, program) = match part {
        Part::Accounts => ("SELECT count(*) FROM account", None),
        Part::Programs => ("SELECT count(*) FROM program", None),
        Part::Fields => ("SELECT count(*) FROM field", None),
        Part::Tokens => ("SELECT count(*) FROM token", None),
        Part::Users => ("SELECT count(*) FROM console_user", None),
        Part::Memberships => ("SELECT count(*) FROM console_membership", None),
        Part::Commands => ("SELECT count(*) FROM command", None),
        Part::Signatures => ("SELECT count(*) FROM signature", None),
        Part::Keys => ("SELECT count(*) FROM idempotency_key", None),
        Part::Columns => ("SELECT count(*) FROM mapped_column", None),
        Part::Days => ("SELECT count(*) FROM day_tally", None),
        Part::Contacts(program) => ("SELECT coalesce(max(number), 0) FROM contact WHERE program = $1", Some(program.0)),
    };
    let parameter: Vec<Parameter<'_>> = program.iter().map(|program| (program as _, Type::UUID)).collect();
    let row = client.query_typed_one(sql, &parameter).await.context(|| "counting what is there")?;
    cell::<i64>(&row, 0).map(i64::cast_unsigned)
}

fn cell<'a, T: FromSql<'a>>(row: &'a SqlRow, column: usize) -> Result<T, StoreError> {
    row.try_get(column).context(reading)
}

fn bytes_32(row: &SqlRow, column: usize) -> Result<Digest, StoreError> {
    let bytes: Vec<u8> = cell(row, column)?;
    Digest::try_from(bytes).map_err(|_| StoreError::Fault("a digest in the database has a wrong length".to_owned()))
}

fn read_field(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Field(FieldRow {
        program: ProgramId(cell(row, 0)?),
        number: cell(row, 1)?,
        name: cell(row, 2)?,
        field_type: cell(row, 3)?,
        created_ms: cell(row, 4)?,
        removed_ms: cell(row, 5)?,
    }))
}

fn read_token(row: &SqlRow, key: &MasterKey) -> Result<Row, StoreError> {
    let (number, token, sealed): (i64, String, Vec<u8>) = (cell(row, 0)?, cell(row, 1)?, cell(row, 4)?);
    let columns = ScopeColumns { read_only: cell(row, 7)?, programs: cell(row, 8)? };
    let old = OldColumns { sealed: cell(row, 9)?, until_ms: cell(row, 10)? };
    let unsealed = Unsealed::open(key, &token, (&sealed, columns, old))
        .ok_or_else(|| StoreError::Fault(format!("the secret of token number {number} cannot be opened")))?;
    Ok(Row::Token(TokenRow {
        number,
        token,
        account: AccountId(cell(row, 2)?),
        name: cell(row, 3)?,
        unsealed,
        created_ms: cell(row, 5)?,
        revoked_ms: cell(row, 6)?,
        last_used_ms: cell(row, 11)?,
    }))
}

fn read_user(row: &SqlRow, key: &MasterKey) -> Result<Row, StoreError> {
    let (id, sealed) = (UserId(cell(row, 1)?), cell::<Option<&[u8]>>(row, 3)?);
    Ok(Row::User(UserRow {
        number: cell(row, 0)?,
        id,
        name: parse_name(cell(row, 2)?)?,
        password: sealed.map(|sealed| open_password(key, id, sealed)).transpose()?,
        created_ms: cell(row, 4)?,
        last_signed_in_ms: cell(row, 5)?,
        disabled_ms: cell(row, 6)?,
    }))
}

fn read_membership(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Membership(MembershipRow {
        user: UserId(cell(row, 0)?),
        account: AccountId(cell(row, 1)?),
        role: parse_role(cell(row, 2)?)?,
    }))
}

fn read_command(row: &SqlRow) -> Result<Row, StoreError> {
    let state = match (cell(row, 9)?, cell(row, 10)?, cell(row, 11)?) {
        (Some(finished_ms), Some(trace), Some(report)) => CommandRowState::Complete { finished_ms, trace, report },
        (_, _, Some(report)) => CommandRowState::Applied { report },
        (_, _, None) => CommandRowState::Waiting,
    };
    let payload = match (cell(row, 12)?, cell(row, 13)?) {
        (true, Some(bytes)) => PayloadRow::Small(bytes),
        (true, None) => PayloadRow::Large,
        (false, _) if cell::<i64>(row, 7)? == 0 => PayloadRow::Small(Vec::new()),
        (false, _) => PayloadRow::Gone,
    };
    Ok(Row::Command(Box::new(CommandRow {
        sequence: cell(row, 0)?,
        id: CommandId(cell(row, 1)?),
        account: AccountId(cell(row, 2)?),
        program: ProgramId(cell(row, 3)?),
        token: cell(row, 4)?,
        from_name: cell(row, 5)?,
        created_ms: cell(row, 6)?,
        payload_bytes: cell(row, 7)?,
        options: cell(row, 8)?,
        cancelled_by: cell(row, 14)?,
        body_digest: cell(row, 15)?,
        state,
        payload,
    })))
}

fn read_column(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Column(ColumnRow {
        program: ProgramId(cell(row, 0)?),
        name: cell(row, 1)?,
        field: cell(row, 2)?,
        remembered_ms: cell(row, 3)?,
    }))
}

fn read_day(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Day(DayRow {
        account: AccountId(cell(row, 0)?),
        day: cell(row, 1)?,
        program: ProgramId(cell(row, 2)?),
        imports: cell(row, 3)?,
        bad_imports: cell(row, 4)?,
        rows: [cell(row, 5)?, cell(row, 6)?, cell(row, 7)?, cell(row, 8)?, cell(row, 9)?],
    }))
}

fn read_signature(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Signature(SignatureRow {
        token: cell(row, 0)?,
        signature: bytes_32(row, 1)?,
        command: CommandId(cell(row, 2)?),
        request_digest: bytes_32(row, 3)?,
        remember_until_ms: cell(row, 4)?,
    }))
}

fn read_key(row: &SqlRow) -> Result<Row, StoreError> {
    Ok(Row::Key(KeyRow {
        token: cell(row, 0)?,
        program: ProgramId(cell(row, 1)?),
        key: cell(row, 2)?,
        command: CommandId(cell(row, 3)?),
        body_digest: bytes_32(row, 4)?,
        created_ms: cell(row, 5)?,
    }))
}
