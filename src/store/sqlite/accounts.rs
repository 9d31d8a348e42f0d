//! The catalogue's operators' side: accounts, programs, fields, tokens. Each function is a few statements on a connection
//! that the caller chose: the writer's, inside its transaction, or a reader's.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::connection::{Context, is_taken};
use crate::contact::{FieldNumber, FieldType, Phone, ProgramTag, Region, Schema, check_field_name};
use crate::store::StoreError;
use crate::store::refusal::{self, FIELDS_MAX, new_id, no_program, not_blank, parse_type, random};
use crate::store::secrets::MasterKey;
use crate::store::token_row::{OldColumns, RotatedColumns, ScopeColumns, SealedToken, TokenRow};
use crate::tenant::{
    Account, AccountId, NewProgram, Program, ProgramId, ProgramSettings, Programs, Scope, Secret, Token, TokenListing,
    TokenNumber,
};

/// A tag of 48 random bits that is taken already is as good as impossible; a few tries make it so.
const TAG_TRIES: usize = 4;

pub(super) fn create_account(catalogue: &Connection, name: &str, now_ms: i64) -> Result<Account, StoreError> {
    let name = not_blank("an account's name", name)?;
    let id = AccountId(new_id(now_ms)?);
    catalogue
        .prepare_cached("INSERT INTO account (id, name, created_ms) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![id.0.as_bytes().as_slice(), name, now_ms]))
        .context(|| "adding an account")?;
    Ok(Account { id, name, created_ms: now_ms })
}

pub(super) fn accounts(catalogue: &Connection) -> Result<Vec<Account>, StoreError> {
    catalogue
        .prepare_cached("SELECT id, name, created_ms FROM account ORDER BY number")
        .and_then(|mut select| {
            let account = |row: &Row<'_>| {
                Ok(Account { id: AccountId(uuid(row, 0)?), name: row.get(1)?, created_ms: row.get(2)? })
            };
            select.query_map([], account)?.collect()
        })
        .context(|| "listing accounts")
}

pub(super) fn create_program(
    catalogue: &Connection,
    account: AccountId,
    program: NewProgram,
    now_ms: i64,
) -> Result<Program, StoreError> {
    account_exists(catalogue, account)?;
    let NewProgram { name, region, phone, timezone } = program;
    let name = not_blank("a program's name", &name)?;
    let id = ProgramId(new_id(now_ms)?);
    let tag = insert_program(catalogue, |insert, tag| {
        insert.execute(params![
            id.0.as_bytes().as_slice(),
            account.0.as_bytes().as_slice(),
            name,
            region.as_str(),
            phone.map(|phone| phone.digits().cast_signed()),
            timezone,
            tag.bits().cast_signed(),
            now_ms
        ])
    })?;
    Ok(Program { id, account, name, active: true, region, phone, timezone, tag, created_ms: now_ms })
}

fn insert_program(
    catalogue: &Connection,
    execute: impl Fn(&mut rusqlite::CachedStatement<'_>, ProgramTag) -> rusqlite::Result<usize>,
) -> Result<ProgramTag, StoreError> {
    let adding = || "adding a program";
    let mut insert = catalogue
        .prepare_cached(
            "INSERT INTO program (id, account, name, active, region, phone, timezone, tag, created_ms)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)",
        )
        .context(adding)?;
    for _ in 0..TAG_TRIES {
        let tag = ProgramTag::from_bits(u64::from_le_bytes(random()?));
        match execute(&mut insert, tag) {
            Err(error) if is_taken(&error) => {}
            result => return result.map(|_| tag).context(adding),
        }
    }
    Err(StoreError::Fault("no free tag was found for a new program".to_owned()))
}

pub(super) const PROGRAM_COLUMNS: &str = "id, account, name, active, region, phone, timezone, tag, created_ms";

pub(super) fn programs(catalogue: &Connection, account: Option<AccountId>) -> Result<Vec<Program>, StoreError> {
    let account = account.map(|account| account.0.into_bytes());
    let sql = match account {
        Some(_) => format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE account = ?1 ORDER BY number"),
        None => format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE ?1 IS NULL ORDER BY number"),
    };
    catalogue
        .prepare_cached(&sql)
        .and_then(|mut select| select.query_map([account.as_ref().map(<[u8; 16]>::as_slice)], read_program)?.collect())
        .context(|| "listing programs")
}

pub(super) fn find_program(catalogue: &Connection, program: ProgramId) -> Result<Option<Program>, StoreError> {
    catalogue
        .prepare_cached(&format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE id = ?1"))
        .and_then(|mut select| select.query_row([program.0.as_bytes().as_slice()], read_program).optional())
        .context(|| format!("reading program {program}"))
}

pub(super) fn program(
    catalogue: &Connection,
    account: AccountId,
    program: ProgramId,
) -> Result<Option<Program>, StoreError> {
    Ok(find_program(catalogue, program)?.filter(|found| found.account == account))
}

/// The same, for callers who cannot go on without it.
pub(super) fn the_program(
    catalogue: &Connection,
    account: AccountId,
    program: ProgramId,
) -> Result<Program, StoreError> {
    self::program(catalogue, account, program)?.ok_or_else(|| no_program(account, program))
}

pub(super) fn program_by_tag(
    catalogue: &Connection,
    account: AccountId,
    tag: ProgramTag,
) -> Result<Option<Program>, StoreError> {
    catalogue
        .prepare_cached(&format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE tag = ?1 AND account = ?2"))
        .and_then(|mut select| {
            select
                .query_row(params![tag.bits().cast_signed(), account.0.as_bytes().as_slice()], read_program)
                .optional()
        })
        .context(|| "finding a contact's program")
}

pub(super) fn set_program_active(
    catalogue: &Connection,
    account: AccountId,
    program: ProgramId,
    active: bool,
) -> Result<(), StoreError> {
    the_program(catalogue, account, program)?;
    catalogue
        .execute("UPDATE program SET active = ?2 WHERE id = ?1", params![program.0.as_bytes().as_slice(), active])
        .context(|| format!("changing program {program}"))?;
    Ok(())
}

pub(super) fn schema(catalogue: &Connection, program: ProgramId) -> Result<Schema, StoreError> {
    let reading = || format!("reading the fields of program {program}");
    let mut select = catalogue
        .prepare_cached(
            "SELECT number, name, type FROM field WHERE program = ?1 AND removed_ms IS NULL ORDER BY number",
        )
        .context(reading)?;
    let rows = select
        .query_map([program.0.as_bytes().as_slice()], |row| {
            Ok((FieldNumber(row.get(0)?), row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .context(reading)?;
    let mut variables = Vec::new();
    for row in rows {
        let (number, name, printed) = row.context(reading)?;
        variables.push((number, name, parse_type(&printed)?));
    }
    Ok(Schema::new(variables))
}

pub(super) fn update_program(
    catalogue: &Connection,
    account: AccountId,
    program: ProgramId,
    settings: &ProgramSettings,
) -> Result<(), StoreError> {
    the_program(catalogue, account, program)?;
    let ProgramSettings { name, region, phone, timezone, active } = settings;
    catalogue
        .execute(
            "UPDATE program SET name = ?2, region = ?3, phone = ?4, timezone = ?5, active = ?6 WHERE id = ?1",
            params![
                program.0.as_bytes().as_slice(),
                not_blank("a program's name", name)?,
                region.as_str(),
                phone.map(|phone| phone.digits().cast_signed()),
                timezone,
                active
            ],
        )
        .context(|| format!("changing program {program}"))?;
    Ok(())
}

pub(super) fn add_field(
    catalogue: &Connection,
    (account, program): (AccountId, ProgramId),
    name: &str,
    field_type: FieldType,
    now_ms: i64,
) -> Result<(), StoreError> {
    the_program(catalogue, account, program)?;
    check_field_name(name).map_err(|fault| StoreError::Refused(fault.to_string()))?;
    let known = catalogue
        .query_row(
            "SELECT type, removed_ms IS NOT NULL FROM field WHERE program = ?1 AND name = ?2",
            params![program.0.as_bytes().as_slice(), name],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)),
        )
        .optional()
        .context(|| format!("reading the fields of program {program}"))?;
    match known {
        None => insert_field(catalogue, program, name, field_type, now_ms),
        Some((_, false)) => Err(refusal::field_is_there(program, name)),
        Some((printed, true)) if parse_type(&printed)? == field_type => set_removed(catalogue, program, name, None),
        Some((printed, true)) => Err(refusal::field_had_another_type(program, name, &printed, field_type)),
    }
}

fn insert_field(
    catalogue: &Connection,
    program: ProgramId,
    name: &str,
    field_type: FieldType,
    now_ms: i64,
) -> Result<(), StoreError> {
    let adding = || format!("adding a field to program {program}");
    let first = i64::from(FieldNumber::FIRST_VARIABLE.0);
    let next: i64 = catalogue
        .query_row(
            "SELECT coalesce(max(number) + 1, ?2) FROM field WHERE program = ?1",
            params![program.0.as_bytes().as_slice(), first],
            |row| row.get(0),
        )
        .context(adding)?;
    if next >= first + FIELDS_MAX {
        return Err(refusal::too_many_fields(program));
    }
    catalogue
        .execute(
            "INSERT INTO field (program, number, name, type, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![program.0.as_bytes().as_slice(), next, name, field_type.to_string(), now_ms],
        )
        .context(adding)?;
    Ok(())
}

pub(super) fn remove_field(
    catalogue: &Connection,
    (account, program): (AccountId, ProgramId),
    name: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    the_program(catalogue, account, program)?;
    if schema(catalogue, program)?.variables().all(|field| field.name != name) {
        return Err(refusal::no_field(program, name));
    }
    set_removed(catalogue, program, name, Some(now_ms))
}

fn set_removed(
    catalogue: &Connection,
    program: ProgramId,
    name: &str,
    removed_ms: Option<i64>,
) -> Result<(), StoreError> {
    catalogue
        .execute(
            "UPDATE field SET removed_ms = ?3 WHERE program = ?1 AND name = ?2",
            params![program.0.as_bytes().as_slice(), name, removed_ms],
        )
        .context(|| format!("changing a field of program {program}"))?;
    Ok(())
}

pub(super) fn create_token(catalogue: &Connection, token: &SealedToken, now_ms: i64) -> Result<(), StoreError> {
    let SealedToken { account, name, token, columns, programs, sealed } = token;
    account_exists(catalogue, *account)?;
    if let Programs::Only(programs) = programs {
        programs.iter().try_for_each(|program| the_program(catalogue, *account, *program).map(|_| ()))?;
    }
    let inserted = catalogue.execute(
        "INSERT INTO token (token, account, name, secret, read_only, programs, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![token, account.0.as_bytes().as_slice(), name, sealed, columns.read_only, columns.programs, now_ms],
    );
    match inserted {
        Err(error) if is_taken(&error) => Err(refusal::token_is_taken()),
        inserted => inserted.map(|_| ()).context(|| "adding a token"),
    }
}

pub(super) fn tokens(catalogue: &Connection, account: Option<AccountId>) -> Result<Vec<TokenListing>, StoreError> {
    let listing = || "listing tokens";
    let account = account.map(|account| account.0.into_bytes());
    let mut select = catalogue
        .prepare_cached(
            "SELECT token, account, name, created_ms, revoked_ms, read_only, programs, old_secret_until_ms, last_used_ms FROM token
             WHERE ?1 IS NULL OR account = ?1 ORDER BY number",
        )
        .context(listing)?;
    let mut rows = select.query([account.as_ref().map(<[u8; 16]>::as_slice)]).context(listing)?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next().context(listing)? {
        tokens.push(TokenListing {
            scope: scope_columns(row, 5).context(listing)?.scope()?,
            ..listed(row).context(listing)?
        });
    }
    Ok(tokens)
}

fn listed(row: &Row<'_>) -> rusqlite::Result<TokenListing> {
    Ok(TokenListing {
        token: row.get(0)?,
        account: AccountId(uuid(row, 1)?),
        name: row.get(2)?,
        scope: Scope::FULL,
        created_ms: row.get(3)?,
        last_used_ms: row.get(8)?,
        old_secret_until_ms: row.get(7)?,
        revoked_ms: row.get(4)?,
    })
}

/// `read_only, programs`, from this column on.
fn scope_columns(row: &Row<'_>, first: usize) -> rusqlite::Result<ScopeColumns> {
    Ok(ScopeColumns { read_only: row.get(first)?, programs: row.get(first + 1)? })
}

pub(super) fn revoke_token(catalogue: &Connection, token: &str, now_ms: i64) -> Result<(), StoreError> {
    let revoked = catalogue
        .execute("UPDATE token SET revoked_ms = ?2 WHERE token = ?1 AND revoked_ms IS NULL", params![token, now_ms])
        .context(|| "revoking a token")?;
    if revoked == 0 {
        return Err(refusal::no_such_token());
    }
    Ok(())
}

pub(super) fn token(catalogue: &Connection, key: &MasterKey, token: &str) -> Result<Option<Token>, StoreError> {
    read_token(catalogue, token)?.map(|row| row.open(key, token)).transpose()
}

/// What a token's row is to become by a rotation.
pub(super) fn rotated(
    catalogue: &Connection,
    key: &MasterKey,
    token: &str,
    (secret, overlap_ms, now_ms): (&Secret, u64, i64),
) -> Result<RotatedColumns, StoreError> {
    let row = read_token(catalogue, token)?.ok_or_else(refusal::no_such_token)?;
    row.rotated(key, token, secret, (overlap_ms, now_ms))
}

pub(super) fn rotate_token(catalogue: &Connection, token: &str, new: &RotatedColumns) -> Result<(), StoreError> {
    let RotatedColumns { before, sealed, old, rotated: _ } = new;
    let rotated = catalogue
        .execute(
            "UPDATE token SET secret = ?3, old_secret = ?4, old_secret_until_ms = ?5
             WHERE token = ?1 AND secret = ?2 AND revoked_ms IS NULL",
            params![token, before, sealed, old.sealed, old.until_ms],
        )
        .context(|| "rotating a token")?;
    if rotated == 0 { Err(refusal::token_was_changed()) } else { Ok(()) }
}

pub(super) fn note_use(catalogue: &Connection, token: TokenNumber, now_ms: i64) -> Result<(), StoreError> {
    catalogue
        .prepare_cached(
            "UPDATE token SET last_used_ms = ?2 WHERE number = ?1 AND (last_used_ms IS NULL OR last_used_ms < ?2)",
        )
        .and_then(|mut update| update.execute(params![token.0, now_ms]))
        .context(|| "noting the use of a token")?;
    Ok(())
}

fn read_token(catalogue: &Connection, token: &str) -> Result<Option<TokenRow>, StoreError> {
    catalogue
        .prepare_cached(
            "SELECT number, account, name, secret, read_only, programs, old_secret, old_secret_until_ms FROM token
             WHERE token = ?1 AND revoked_ms IS NULL",
        )
        .and_then(|mut select| select.query_row([token], token_row).optional())
        .context(|| "reading a token")
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        number: row.get(0)?,
        account: AccountId(uuid(row, 1)?),
        name: row.get(2)?,
        sealed: row.get(3)?,
        columns: scope_columns(row, 4)?,
        old: OldColumns { sealed: row.get(6)?, until_ms: row.get(7)? },
    })
}

/// A column of 16 bytes.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

pub(super) fn account_exists(catalogue: &Connection, account: AccountId) -> Result<(), StoreError> {
    let exists: bool = catalogue
        .query_row("SELECT EXISTS (SELECT 1 FROM account WHERE id = ?1)", [account.0.as_bytes().as_slice()], |row| {
            row.get(0)
        })
        .context(|| format!("reading account {account}"))?;
    if exists { Ok(()) } else { Err(refusal::no_account(account)) }
}

pub(super) fn read_program(row: &Row<'_>) -> rusqlite::Result<Program> {
    let region: String = row.get(4)?;
    let region = Region::parse(&region).ok_or_else(|| {
        let reason = format!("'{region}' is no region");
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, reason.into())
    })?;
    Ok(Program {
        id: ProgramId(uuid(row, 0)?),
        account: AccountId(uuid(row, 1)?),
        name: row.get(2)?,
        active: row.get(3)?,
        region,
        phone: row.get::<_, Option<i64>>(5)?.map(|digits| Phone::from_digits(digits.cast_unsigned())),
        timezone: row.get(6)?,
        tag: ProgramTag::from_bits(row.get::<_, i64>(7)?.cast_unsigned()),
        created_ms: row.get(8)?,
    })
}
