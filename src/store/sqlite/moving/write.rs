//! Rows into a data directory, in the caller's transaction.

use rusqlite::{Connection, params};

use super::super::history;
use crate::contact::Contact;
use crate::store::history::Kept;
use crate::store::moving::{
    ColumnRow, CommandRow, CommandRowState, DayRow, FieldRow, KeyRow, MembershipRow, PayloadRow, Row, SignatureRow,
    TokenRow, UserRow,
};
use crate::store::token_row::{OldColumns, ScopeColumns};
use crate::tenant::{Account, Program};

pub(super) fn add_plain(tx: &Connection, row: &Row) -> rusqlite::Result<()> {
    match row {
        Row::Account(number, Account { id, name, created_ms }) => tx
            .prepare_cached("INSERT INTO account (number, id, name, created_ms) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![number, id.0.as_bytes().as_slice(), name, created_ms]),
        Row::Program(number, program) => {
            let Program { id, account, name, active, region, phone, timezone, tag, created_ms } = program;
            tx.prepare_cached(
                "INSERT INTO program (number, id, account, name, active, region, phone, timezone, tag, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                number,
                id.0.as_bytes().as_slice(),
                account.0.as_bytes().as_slice(),
                name,
                active,
                region.as_str(),
                phone.map(|phone| phone.digits().cast_signed()),
                timezone,
                tag.bits().cast_signed(),
                created_ms
            ])
        }
        Row::Field(FieldRow { program, number, name, field_type, created_ms, removed_ms }) => tx
            .prepare_cached(
                "INSERT INTO field (program, number, name, type, created_ms, removed_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![program.0.as_bytes().as_slice(), number, name, field_type, created_ms, removed_ms]),
        Row::Signature(SignatureRow { token, signature, command, request_digest, remember_until_ms }) => tx
            .prepare_cached(
                "INSERT INTO signature (token, signature, command, request_digest, remember_until_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![token, signature, command.0.as_bytes().as_slice(), request_digest, remember_until_ms]),
        Row::Key(KeyRow { token, program, key, command, body_digest, created_ms }) => tx
            .prepare_cached(
                "INSERT INTO idempotency_key (token, program, key, command, body_digest, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                token,
                program.0.as_bytes().as_slice(),
                key,
                command.0.as_bytes().as_slice(),
                body_digest,
                created_ms
            ]),
        Row::Membership(MembershipRow { user, account, role }) => tx
            .prepare_cached("INSERT INTO console_membership (person, account, role) VALUES (?1, ?2, ?3)")?
            .execute(params![user.0.as_bytes().as_slice(), account.0.as_bytes().as_slice(), role.as_str()]),
        Row::Column(ColumnRow { program, name, field, remembered_ms }) => tx
            .prepare_cached("INSERT INTO mapped_column (program, name, field, remembered_ms) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![program.0.as_bytes().as_slice(), name, field, remembered_ms]),
        Row::Day(DayRow { account, day, program, imports, bad_imports, rows }) => {
            let [added, updated, unchanged, ignored, failed] = rows;
            let (account, program) = (account.0.as_bytes().as_slice(), program.0.as_bytes().as_slice());
            tx.prepare_cached(
                "INSERT INTO day_tally
                   (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                account,
                day,
                program,
                imports,
                bad_imports,
                added,
                updated,
                unchanged,
                ignored,
                failed
            ])
        }
        Row::Token(_) | Row::User(_) | Row::Command(_) | Row::Contact(_) => Ok(0),
    }?;
    Ok(())
}

pub(super) fn add_token(
    tx: &Connection,
    token: &TokenRow,
    (secret, old): &(Vec<u8>, OldColumns),
) -> rusqlite::Result<()> {
    let TokenRow { number, token, account, name, unsealed, created_ms, revoked_ms, last_used_ms } = token;
    let ScopeColumns { read_only, programs } = &unsealed.columns;
    tx.prepare_cached(
        "INSERT INTO token (number, token, account, name, secret, created_ms, revoked_ms,
                            read_only, programs, old_secret, old_secret_until_ms, last_used_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        number,
        token,
        account.0.as_bytes().as_slice(),
        name,
        secret,
        created_ms,
        revoked_ms,
        read_only,
        programs,
        old.sealed,
        old.until_ms,
        last_used_ms
    ])?;
    Ok(())
}

pub(super) fn add_user(tx: &Connection, user: &UserRow, password: Option<&[u8]>) -> rusqlite::Result<()> {
    let UserRow { number, id, name, password: _, created_ms, last_signed_in_ms, disabled_ms } = user;
    tx.prepare_cached(
        "INSERT INTO console_user (number, id, name, password, created_ms, last_signed_in_ms, disabled_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        number,
        id.0.as_bytes().as_slice(),
        name.as_str(),
        password,
        created_ms,
        last_signed_in_ms,
        disabled_ms
    ])?;
    Ok(())
}

/// With what it came to, if it is complete. Its day has it already.
pub(super) fn add_command(tx: &Connection, command: &CommandRow, kept: Option<&Kept>) -> rusqlite::Result<()> {
    let CommandRow {
        id,
        account,
        program,
        token,
        from_name,
        created_ms,
        payload_bytes,
        options,
        body_digest,
        cancelled_by,
        state,
        payload,
        sequence: _,
    } = command;
    let (word, finished_ms, trace, report) = match state {
        // What was applied says so in its program's file.
        CommandRowState::Waiting | CommandRowState::Applied { .. } => ("queued", None, None, None),
        CommandRowState::Complete { finished_ms, trace, report } => {
            ("complete", Some(finished_ms), Some(trace), Some(report))
        }
    };
    tx.prepare_cached(
        "INSERT INTO command (id, account, program, token, from_name, created_ms, payload_bytes, options, state,
           finished_ms, trace, report, cancelled_by, attempt, body_digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        id.0.as_bytes().as_slice(),
        account.0.as_bytes().as_slice(),
        program.0.as_bytes().as_slice(),
        token,
        from_name,
        created_ms,
        payload_bytes,
        options,
        word,
        finished_ms,
        trace,
        report,
        cancelled_by,
        attempts(command),
        body_digest
    ])?;
    let sequence = tx.last_insert_rowid();
    if let Some(kept) = kept {
        history::keep(tx, sequence, kept)?;
    }
    if let PayloadRow::Small(bytes) = payload {
        tx.prepare_cached("INSERT INTO payload (seq, bytes) VALUES (?1, ?2)")?.execute(params![sequence, bytes])?;
    }
    Ok(())
}

/// What was applied must not look as if it had never run: it would be cancelled as that.
fn attempts(command: &CommandRow) -> u32 {
    u32::from(matches!(command.state, CommandRowState::Applied { .. }))
}

/// Again, where a move was cut off before the catalogue was told.
pub(super) fn add_applied(tx: &Connection, command: &CommandRow, report: &str, now_ms: i64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO applied (command, attempt, applied_ms, report) VALUES (?1, 0, ?2, ?3) ON CONFLICT DO NOTHING",
        params![command.id.0.as_bytes().as_slice(), now_ms, report],
    )?;
    Ok(())
}

pub(super) fn add_contacts(tx: &Connection, contacts: &[Box<Contact>]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO contact (number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for contact in contacts {
        let Contact { id, customer_id, phone, active, created_ms, updated_ms, profile, times } = &**contact;
        insert.execute(params![
            id.number.get().cast_signed(),
            id.salt().cast_signed(),
            phone.digits().cast_signed(),
            active,
            created_ms,
            updated_ms,
            Some(customer_id).filter(|customer_id| !customer_id.is_empty()),
            profile.as_bytes(),
            Some(times.as_bytes()).filter(|times| !times.is_empty())
        ])?;
    }
    Ok(())
}
