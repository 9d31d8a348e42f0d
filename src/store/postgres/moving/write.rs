//! Rows into a database, in sets: a batch is one statement, or a few.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::super::connection::{self, Context, Lent};
use crate::contact::Contact;
use crate::store::StoreError;
use crate::store::history::Kept;
use crate::store::moving::{
    ColumnRow, CommandRow, CommandRowState, DayRow, FieldRow, KeyRow, MembershipRow, Part, PayloadRow, Row,
    SignatureRow, TokenRow, UserRow, unwrapped,
};
use crate::store::secrets::MasterKey;
use crate::store::stock::Stock;
use crate::store::token_row::OldColumns;
use crate::store::user_row::seal_password;
use crate::tenant::{Account, Program, ProgramId};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Adds rows, in the caller's transaction.
pub(super) async fn write(client: &Client, key: &MasterKey, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
    match part {
        Part::Accounts => {
            accounts(
                client,
                &unwrapped(rows, |row| if let Row::Account(at, row) = row { Some((at, row)) } else { None })?,
            )
            .await
        }
        Part::Programs => {
            programs(
                client,
                &unwrapped(rows, |row| if let Row::Program(at, row) = row { Some((at, row)) } else { None })?,
            )
            .await
        }
        Part::Fields => {
            fields(client, &unwrapped(rows, |row| if let Row::Field(row) = row { Some(row) } else { None })?).await
        }
        Part::Tokens => {
            tokens(client, key, &unwrapped(rows, |row| if let Row::Token(row) = row { Some(row) } else { None })?).await
        }
        Part::Users => {
            users(client, key, &unwrapped(rows, |row| if let Row::User(row) = row { Some(row) } else { None })?).await
        }
        Part::Memberships => {
            memberships(client, &unwrapped(rows, |row| if let Row::Membership(row) = row { Some(row) } else { None })?)
                .await
        }
        Part::Commands => {
            let commands = unwrapped(rows, |row| if let Row::Command(row) = row { Some(*row) } else { None })?;
            self::commands(client, &commands).await
        }
        Part::Columns => {
            columns(client, &unwrapped(rows, |row| if let Row::Column(row) = row { Some(row) } else { None })?).await
        }
        Part::Days => {
            days(client, &unwrapped(rows, |row| if let Row::Day(row) = row { Some(row) } else { None })?).await
        }
        Part::Signatures => {
            signatures(client, &unwrapped(rows, |row| if let Row::Signature(row) = row { Some(row) } else { None })?)
                .await
        }
        Part::Keys => {
            keys(client, &unwrapped(rows, |row| if let Row::Key(row) = row { Some(row) } else { None })?).await
        }
        Part::Contacts(program) => {
            let contacts = unwrapped(rows, |row| if let Row::Contact(row) = row { Some(row) } else { None })?;
            self::contacts(client, program, &contacts).await
        }
    }
}

async fn execute(client: &Client, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), StoreError> {
    client.execute_typed(sql, parameters).await.context(|| "filling the database")?;
    Ok(())
}

/// The same, in a transaction of its own.
async fn alone(client: &Lent, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), StoreError> {
    connection::execute(client, sql, parameters, || "filling the database".to_owned()).await?;
    Ok(())
}

/// A column of a set of rows.
fn column<'a, R, T>(rows: &'a [R], cell: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(cell).collect()
}

async fn accounts(client: &Client, rows: &[(i64, Account)]) -> Result<(), StoreError> {
    execute(
        client,
        "WITH new AS (
             SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[]) AS new (number, id, name, created_ms)
         ), turn AS (INSERT INTO turn (account) SELECT id FROM new)
         INSERT INTO account (number, id, name, created_ms) OVERRIDING SYSTEM VALUE
         SELECT number, id, name, created_ms FROM new",
        &[
            (&column(rows, |(number, _)| *number), Type::INT8_ARRAY),
            (&column(rows, |(_, account)| account.id.0), Type::UUID_ARRAY),
            (&column(rows, |(_, account)| &*account.name), Type::TEXT_ARRAY),
            (&column(rows, |(_, account)| account.created_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn programs(client: &Client, rows: &[(i64, Program)]) -> Result<(), StoreError> {
    let phone = |program: &Program| program.phone.map(|phone| phone.digits().cast_signed());
    execute(
        client,
        "WITH new AS (
             SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::bool[], $6::text[], $7::bigint[],
               $8::text[], $9::bigint[], $10::bigint[])
               AS new (number, id, account, name, active, region, phone, timezone, tag, created_ms)
         ), lane AS (INSERT INTO lane (program, account) SELECT id, account FROM new
         ), stock AS (INSERT INTO stock (program) SELECT id FROM new)
         INSERT INTO program (number, id, account, name, active, region, phone, timezone, tag, created_ms)
           OVERRIDING SYSTEM VALUE
         SELECT number, id, account, name, active, region, phone, timezone, tag, created_ms FROM new",
        &[
            (&column(rows, |(number, _)| *number), Type::INT8_ARRAY),
            (&column(rows, |(_, program)| program.id.0), Type::UUID_ARRAY),
            (&column(rows, |(_, program)| program.account.0), Type::UUID_ARRAY),
            (&column(rows, |(_, program)| &*program.name), Type::TEXT_ARRAY),
            (&column(rows, |(_, program)| program.active), Type::BOOL_ARRAY),
            (&column(rows, |(_, program)| program.region.as_str()), Type::TEXT_ARRAY),
            (&column(rows, |(_, program)| phone(program)), Type::INT8_ARRAY),
            (&column(rows, |(_, program)| program.timezone.as_deref()), Type::TEXT_ARRAY),
            (&column(rows, |(_, program)| program.tag.bits().cast_signed()), Type::INT8_ARRAY),
            (&column(rows, |(_, program)| program.created_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn fields(client: &Client, rows: &[FieldRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO field (program, number, name, type, created_ms, removed_ms)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])",
        &[
            (&column(rows, |row| row.program.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.number), Type::INT8_ARRAY),
            (&column(rows, |row| &*row.name), Type::TEXT_ARRAY),
            (&column(rows, |row| &*row.field_type), Type::TEXT_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.removed_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn tokens(client: &Client, key: &MasterKey, rows: &[TokenRow]) -> Result<(), StoreError> {
    let seal = |row: &TokenRow| row.unsealed.seal(key, &row.token);
    let (sealed, old): (Vec<Vec<u8>>, Vec<OldColumns>) =
        rows.iter().map(seal).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    execute(
        client,
        "INSERT INTO token (number, token, account, name, secret, created_ms, revoked_ms,
                            read_only, programs, old_secret, old_secret_until_ms, last_used_ms) OVERRIDING SYSTEM VALUE
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[],
                              $8::boolean[], $9::text[], $10::bytea[], $11::bigint[], $12::bigint[])",
        &[
            (&column(rows, |row| row.number), Type::INT8_ARRAY),
            (&column(rows, |row| &*row.token), Type::TEXT_ARRAY),
            (&column(rows, |row| row.account.0), Type::UUID_ARRAY),
            (&column(rows, |row| &*row.name), Type::TEXT_ARRAY),
            (&sealed, Type::BYTEA_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.revoked_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.unsealed.columns.read_only), Type::BOOL_ARRAY),
            (&column(rows, |row| row.unsealed.columns.programs.as_deref()), Type::TEXT_ARRAY),
            (&column(&old, |old| old.sealed.as_deref()), Type::BYTEA_ARRAY),
            (&column(&old, |old| old.until_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.last_used_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn users(client: &Client, key: &MasterKey, rows: &[UserRow]) -> Result<(), StoreError> {
    let seal = |row: &UserRow| row.password.as_ref().map(|password| seal_password(key, row.id, password)).transpose();
    let sealed: Vec<Option<Vec<u8>>> = rows.iter().map(seal).collect::<Result<_, _>>()?;
    execute(
        client,
        "INSERT INTO console_user (number, id, name, password, created_ms, last_signed_in_ms, disabled_ms)
           OVERRIDING SYSTEM VALUE
         SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[])",
        &[
            (&column(rows, |row| row.number), Type::INT8_ARRAY),
            (&column(rows, |row| row.id.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.name.as_str()), Type::TEXT_ARRAY),
            (&sealed, Type::BYTEA_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.last_signed_in_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.disabled_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn memberships(client: &Client, rows: &[MembershipRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO console_membership (person, account, role)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])",
        &[
            (&column(rows, |row| row.user.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.account.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.role.as_str()), Type::TEXT_ARRAY),
        ],
    )
    .await
}

/// With what complete ones came to; their days have it already. Complete ones come before all others, so a lane's head is behind those that it has.
async fn commands(client: &Client, rows: &[CommandRow]) -> Result<(), StoreError> {
    let (sequences, lanes) = number(client, rows).await?;
    let finished = |row: &CommandRow| match &row.state {
        CommandRowState::Complete { finished_ms, trace, report: _ } => (Some(*finished_ms), Some(trace.clone())),
        CommandRowState::Waiting | CommandRowState::Applied { .. } => (None, None),
    };
    let report = |row: &CommandRow| match &row.state {
        CommandRowState::Complete { report, .. } | CommandRowState::Applied { report } => Some(report.clone()),
        CommandRowState::Waiting => None,
    };
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        kept.push(match &row.state {
            CommandRowState::Complete { report, .. } => Some(Kept::of_stored(report)?),
            CommandRowState::Waiting | CommandRowState::Applied { .. } => None,
        });
    }
    execute(
        client,
        "INSERT INTO command (program, seq, id, account, token, from_name, created_ms, payload_bytes, options,
           finished_ms, trace, report, cancelled_by, body_digest, outcome, bad, applied)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::bigint[],
           $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::bytea[],
           $15::text[], $16::bool[], $17::bool[])",
        &[
            (&column(rows, |row| row.program.0), Type::UUID_ARRAY),
            (&sequences, Type::INT8_ARRAY),
            (&column(rows, |row| row.id.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.account.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.token), Type::INT8_ARRAY),
            (&column(rows, |row| &*row.from_name), Type::TEXT_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.payload_bytes), Type::INT8_ARRAY),
            (&column(rows, |row| &*row.options), Type::TEXT_ARRAY),
            (&column(rows, |row| finished(row).0), Type::INT8_ARRAY),
            (&column(rows, |row| finished(row).1), Type::TEXT_ARRAY),
            (&column(rows, report), Type::TEXT_ARRAY),
            (&column(rows, |row| row.cancelled_by.as_deref()), Type::TEXT_ARRAY),
            (&column(rows, |row| row.body_digest.as_deref()), Type::BYTEA_ARRAY),
            (&column(&kept, |kept| kept.as_ref().map(|kept| &*kept.summary)), Type::TEXT_ARRAY),
            (&column(&kept, |kept| kept.as_ref().map(|kept| kept.is_bad)), Type::BOOL_ARRAY),
            (&column(&kept, |kept| kept.as_ref().map(|kept| kept.is_applied)), Type::BOOL_ARRAY),
        ],
    )
    .await?;
    let (programs, ends): (Vec<Uuid>, Vec<(i64, i64)>) = lanes.into_iter().unzip();
    execute(
        client,
        // What was applied must not look as if it had never been claimed: it would be cancelled as that.
        "UPDATE lane SET head = new.head, next_seq = new.next_seq, attempt = (
           SELECT count(*) FROM command
           WHERE command.program = new.program AND seq = new.head AND finished_ms IS NULL AND report IS NOT NULL)
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS new (program, head, next_seq)
         WHERE lane.program = new.program",
        &[
            (&programs, Type::UUID_ARRAY),
            (&column(&ends, |(head, _)| *head), Type::INT8_ARRAY),
            (&column(&ends, |(_, next)| *next), Type::INT8_ARRAY),
        ],
    )
    .await?;
    small_payloads(client, rows).await
}

/// Gives commands their numbers without gaps, and the ends of the lanes that they then have.
async fn number(client: &Client, rows: &[CommandRow]) -> Result<(Vec<i64>, BTreeMap<Uuid, (i64, i64)>), StoreError> {
    let reading = || "reading the ends of queues";
    let found = client
        .query_typed(
            "SELECT program, head, next_seq FROM lane WHERE program = ANY($1)",
            &[(&column(rows, |row| row.program.0), Type::UUID_ARRAY)],
        )
        .await
        .context(reading)?;
    let mut lanes = BTreeMap::new();
    for row in &found {
        let ends: (i64, i64) = (row.try_get(1).context(reading)?, row.try_get(2).context(reading)?);
        lanes.insert(row.try_get(0).context(reading)?, ends);
    }
    let mut sequences = Vec::with_capacity(rows.len());
    for row in rows {
        let (head, next) = lanes
            .get_mut(&row.program.0)
            .ok_or_else(|| StoreError::Fault(format!("program {} has no queue", row.program)))?;
        sequences.push(*next);
        if let CommandRowState::Complete { .. } = row.state {
            if head != next {
                return Err(StoreError::Fault(format!("command {} is complete behind one that waits", row.id)));
            }
            *head += 1;
        }
        *next += 1;
    }
    Ok((sequences, lanes))
}

async fn small_payloads(client: &Client, rows: &[CommandRow]) -> Result<(), StoreError> {
    let (mut programs, mut commands, mut payloads) = (Vec::<Uuid>::new(), Vec::<Uuid>::new(), Vec::<&[u8]>::new());
    for row in rows {
        // An empty one has no piece.
        if let PayloadRow::Small(bytes) = &row.payload
            && !bytes.is_empty()
        {
            programs.push(row.program.0);
            commands.push(row.id.0);
            payloads.push(bytes);
        }
    }
    execute(
        client,
        "INSERT INTO payload (program, command, piece, bytes)
         SELECT program, command, 0, bytes FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS new (program, command, bytes)",
        &[(&programs, Type::UUID_ARRAY), (&commands, Type::UUID_ARRAY), (&payloads, Type::BYTEA_ARRAY)],
    )
    .await
}

pub(super) async fn piece(client: &Lent, command: &CommandRow, piece: u32, bytes: &[u8]) -> Result<(), StoreError> {
    alone(
        client,
        "INSERT INTO payload (program, command, piece, bytes) VALUES ($1, $2, $3, $4)
         ON CONFLICT (program, command, piece) DO UPDATE SET bytes = excluded.bytes",
        &[
            (&command.program.0, Type::UUID),
            (&command.id.0, Type::UUID),
            (&piece.cast_signed(), Type::INT4),
            (&bytes, Type::BYTEA),
        ],
    )
    .await
}

async fn signatures(client: &Client, rows: &[SignatureRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO signature (token, signature, command, request_digest, remember_until_ms)
         SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::uuid[], $4::bytea[], $5::bigint[])",
        &[
            (&column(rows, |row| row.token), Type::INT8_ARRAY),
            (&column(rows, |row| row.signature.as_slice()), Type::BYTEA_ARRAY),
            (&column(rows, |row| row.command.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.request_digest.as_slice()), Type::BYTEA_ARRAY),
            (&column(rows, |row| row.remember_until_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn columns(client: &Client, rows: &[ColumnRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO mapped_column (program, name, field, remembered_ms)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])",
        &[
            (&column(rows, |row| row.program.0), Type::UUID_ARRAY),
            (&column(rows, |row| &*row.name), Type::TEXT_ARRAY),
            (&column(rows, |row| &*row.field), Type::TEXT_ARRAY),
            (&column(rows, |row| row.remembered_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn days(client: &Client, rows: &[DayRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO day_tally
           (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[],
           $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])",
        &[
            (&column(rows, |row| row.account.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.day), Type::INT8_ARRAY),
            (&column(rows, |row| row.program.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.imports), Type::INT8_ARRAY),
            (&column(rows, |row| row.bad_imports), Type::INT8_ARRAY),
            (&column(rows, |row| row.rows[0]), Type::INT8_ARRAY),
            (&column(rows, |row| row.rows[1]), Type::INT8_ARRAY),
            (&column(rows, |row| row.rows[2]), Type::INT8_ARRAY),
            (&column(rows, |row| row.rows[3]), Type::INT8_ARRAY),
            (&column(rows, |row| row.rows[4]), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn keys(client: &Client, rows: &[KeyRow]) -> Result<(), StoreError> {
    execute(
        client,
        "INSERT INTO idempotency_key (token, program, key, command, body_digest, created_ms)
         SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::bytea[], $6::bigint[])",
        &[
            (&column(rows, |row| row.token), Type::INT8_ARRAY),
            (&column(rows, |row| row.program.0), Type::UUID_ARRAY),
            (&column(rows, |row| &*row.key), Type::TEXT_ARRAY),
            (&column(rows, |row| row.command.0), Type::UUID_ARRAY),
            (&column(rows, |row| row.body_digest.as_slice()), Type::BYTEA_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
        ],
    )
    .await
}

async fn contacts(client: &Client, program: ProgramId, rows: &[Box<Contact>]) -> Result<(), StoreError> {
    let customer_id = |row: &'_ Contact| Some(row.customer_id.clone()).filter(|text| !text.is_empty());
    execute(
        client,
        "INSERT INTO contact
           (program, number, salt, phone, created_ms, updated_ms, active, customer_id, profile, times)
         SELECT $1, new.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bool[],
           $8::text[], $9::bytea[], $10::bytea[]) AS new",
        &[
            (&program.0, Type::UUID),
            (&column(rows, |row| row.id.number.get().cast_signed()), Type::INT8_ARRAY),
            (&column(rows, |row| row.id.salt().cast_signed()), Type::INT8_ARRAY),
            (&column(rows, |row| row.phone.digits().cast_signed()), Type::INT8_ARRAY),
            (&column(rows, |row| row.created_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.updated_ms), Type::INT8_ARRAY),
            (&column(rows, |row| row.active), Type::BOOL_ARRAY),
            (&column(rows, |row| customer_id(row)), Type::TEXT_ARRAY),
            (&column(rows, |row| row.profile.as_bytes()), Type::BYTEA_ARRAY),
            (&column(rows, |row| Some(row.times.as_bytes()).filter(|times| !times.is_empty())), Type::BYTEA_ARRAY),
        ],
    )
    .await
}

pub(super) async fn stock(client: &Lent, program: ProgramId, stock: Stock) -> Result<(), StoreError> {
    let Stock { next_number, contacts, active } = stock;
    alone(
        client,
        "UPDATE stock SET next_number = $2, contacts = $3, active = $4 WHERE program = $1",
        &[(&program.0, Type::UUID), (&next_number, Type::INT8), (&contacts, Type::INT8), (&active, Type::INT8)],
    )
    .await
}

/// What is made from now on gets numbers that nobody has; and the planner learns what is there.
pub(super) async fn settle(client: &Client) -> Result<(), StoreError> {
    for table in ["account", "program", "token", "console_user"] {
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'number'), coalesce(max(number), 1), max(number) IS NOT NULL)
             FROM {table}"
        );
        client.query_typed_one(&sql, &[]).await.context(|| "setting what is numbered next")?;
    }
    client
        .batch_execute(
            "ANALYZE account, program, field, token, console_user, console_membership, lane, command, signature,
               idempotency_key, mapped_column, day_tally, stock, contact",
        )
        .await
        .context(|| "measuring the tables")
}
