//! The operators' side: accounts, programs, fields, tokens. Each function is a few statements on a connection that the caller
//! chose.

use std::collections::HashMap;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Transaction};

use super::connection::{Context, is_taken};
use super::moving::{IS_HALF_FILLED, IS_MOVING};
use crate::contact::{FieldNumber, FieldType, Phone, ProgramTag, Region, Schema, check_field_name};
use crate::store::StoreError;
use crate::store::refusal::{self, FIELDS_MAX, new_id, no_program, not_blank, parse_type, random};
use crate::store::secrets::MasterKey;
use crate::store::token_row::{OldColumns, RotatedColumns, ScopeColumns, SealedToken, TokenRow};
use crate::tenant::{
    Account, AccountId, NewProgram, Program, ProgramId, ProgramSettings, Programs, Rotated, Secret, Token,
    TokenListing, TokenNumber,
};

/// A tag of 48 random bits that is taken already is as good as impossible; a few tries make it so.
const TAG_TRIES: usize = 4;

pub(super) async fn create_account(client: &Client, name: &str, now_ms: i64) -> Result<Account, StoreError> {
    let name = not_blank("an account's name", name)?;
    let id = AccountId(new_id(now_ms)?);
    client
        .execute_typed(
            "WITH turn AS (INSERT INTO turn (account) VALUES ($1))
             INSERT INTO account (id, name, created_ms) VALUES ($1, $2, $3)",
            &[(&id.0, Type::UUID), (&name, Type::TEXT), (&now_ms, Type::INT8)],
        )
        .await
        .context(|| "adding an account")?;
    Ok(Account { id, name, created_ms: now_ms })
}

pub(super) async fn accounts(client: &Client) -> Result<Vec<Account>, StoreError> {
    let listing = || "listing accounts";
    let rows =
        client.query_typed("SELECT id, name, created_ms FROM account ORDER BY number", &[]).await.context(listing)?;
    let account =
        |row: &Row| Ok(Account { id: AccountId(row.try_get(0)?), name: row.try_get(1)?, created_ms: row.try_get(2)? });
    rows.iter().map(account).collect::<Result<_, _>>().context(listing)
}

pub(super) async fn create_program(
    client: &Client,
    account: AccountId,
    program: NewProgram,
    now_ms: i64,
) -> Result<Program, StoreError> {
    account_exists(client, account).await?;
    let NewProgram { name, region, phone, timezone } = program;
    let name = not_blank("a program's name", &name)?;
    let id = ProgramId(new_id(now_ms)?);
    for _ in 0..TAG_TRIES {
        let tag = ProgramTag::from_bits(u64::from_le_bytes(random()?));
        let program = Program {
            id,
            account,
            name: name.clone(),
            active: true,
            region,
            phone,
            timezone: timezone.clone(),
            tag,
            created_ms: now_ms,
        };
        if insert_program(client, &program).await? {
            return Ok(program);
        }
    }
    Err(StoreError::Fault("no free tag was found for a new program".to_owned()))
}

/// Adds a program with its queue and its stock; says whether its tag was free.
async fn insert_program(client: &Client, program: &Program) -> Result<bool, StoreError> {
    let Program { id, account, name, active, region, phone, timezone, tag, created_ms } = program;
    let inserted = client
        .execute_typed(
            "WITH added AS (
                 INSERT INTO program (id, account, name, active, region, phone, timezone, tag, created_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tag) DO NOTHING RETURNING id, account
             ), lane AS (INSERT INTO lane (program, account) SELECT id, account FROM added)
             INSERT INTO stock (program) SELECT id FROM added",
            &[
                (&id.0, Type::UUID),
                (&account.0, Type::UUID),
                (name, Type::TEXT),
                (active, Type::BOOL),
                (&region.as_str(), Type::TEXT),
                (&phone.map(|phone| phone.digits().cast_signed()), Type::INT8),
                (timezone, Type::TEXT),
                (&tag.bits().cast_signed(), Type::INT8),
                (created_ms, Type::INT8),
            ],
        )
        .await
        .context(|| "adding a program")?;
    Ok(inserted > 0)
}

/// The columns of [`read_program`], in its order.
pub(super) const PROGRAM_COLUMNS: &str = "program.id, program.account, program.name, program.active, program.region, \
     program.phone, program.timezone, program.tag, program.created_ms";

/// How many these are: what stands behind them in a row begins here.
pub(super) const PROGRAM_COLUMNS_COUNT: usize = 9;

pub(super) async fn programs(client: &Client, account: Option<AccountId>) -> Result<Vec<Program>, StoreError> {
    let condition = if account.is_some() { "account = $1" } else { "$1::uuid IS NULL" };
    let sql = format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE {condition} ORDER BY number");
    let account = account.map(|account| account.0);
    let rows = client.query_typed(&sql, &[(&account, Type::UUID)]).await.context(|| "listing programs")?;
    rows.iter().map(read_program).collect()
}

pub(super) async fn find_program(client: &Client, program: ProgramId) -> Result<Option<Program>, StoreError> {
    let found = client
        .query_typed_opt(&format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE id = $1"), &[(&program.0, Type::UUID)])
        .await
        .context(|| format!("reading program {program}"))?;
    found.as_ref().map(read_program).transpose()
}

pub(super) async fn program(
    client: &Client,
    account: AccountId,
    program: ProgramId,
) -> Result<Option<Program>, StoreError> {
    Ok(find_program(client, program).await?.filter(|found| found.account == account))
}

/// The same, for callers who cannot go on without it.
pub(super) async fn the_program(
    client: &Client,
    account: AccountId,
    program: ProgramId,
) -> Result<Program, StoreError> {
    self::program(client, account, program).await?.ok_or_else(|| no_program(account, program))
}

pub(super) async fn program_by_tag(
    client: &Client,
    account: AccountId,
    tag: ProgramTag,
) -> Result<Option<Program>, StoreError> {
    let found = client
        .query_typed_opt(
            &format!("SELECT {PROGRAM_COLUMNS} FROM program WHERE account = $1 AND tag = $2"),
            &[(&account.0, Type::UUID), (&tag.bits().cast_signed(), Type::INT8)],
        )
        .await
        .context(|| "finding a contact's program")?;
    found.as_ref().map(read_program).transpose()
}

pub(super) async fn set_program_active(
    client: &Client,
    account: AccountId,
    program: ProgramId,
    active: bool,
) -> Result<(), StoreError> {
    let changed = client
        .execute_typed(
            "UPDATE program SET active = $3 WHERE account = $1 AND id = $2",
            &[(&account.0, Type::UUID), (&program.0, Type::UUID), (&active, Type::BOOL)],
        )
        .await
        .context(|| format!("changing program {program}"))?;
    if changed == 0 { Err(no_program(account, program)) } else { Ok(()) }
}

pub(super) async fn schema(client: &Client, program: ProgramId) -> Result<Schema, StoreError> {
    let reading = || format!("reading the fields of program {program}");
    let rows = client
        .query_typed(
            "SELECT number, name, type FROM field WHERE program = $1 AND removed_ms IS NULL ORDER BY number",
            &[(&program.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    let mut variables = Vec::with_capacity(rows.len());
    for row in rows {
        let number: i64 = row.try_get(0).context(reading)?;
        let number = u32::try_from(number)
            .map_err(|_| StoreError::Fault(format!("program {program} has a field of number {number}")))?;
        let printed: String = row.try_get(2).context(reading)?;
        variables.push((FieldNumber(number), row.try_get(1).context(reading)?, parse_type(&printed)?));
    }
    Ok(Schema::new(variables))
}

pub(super) async fn update_program(
    client: &Client,
    account: AccountId,
    program: ProgramId,
    settings: &ProgramSettings,
) -> Result<(), StoreError> {
    let ProgramSettings { name, region, phone, timezone, active } = settings;
    let changed = client
        .execute_typed(
            "UPDATE program SET name = $3, region = $4, phone = $5, timezone = $6, active = $7
             WHERE account = $1 AND id = $2",
            &[
                (&account.0, Type::UUID),
                (&program.0, Type::UUID),
                (&not_blank("a program's name", name)?, Type::TEXT),
                (&region.as_str(), Type::TEXT),
                (&phone.map(|phone| phone.digits().cast_signed()), Type::INT8),
                (timezone, Type::TEXT),
                (active, Type::BOOL),
            ],
        )
        .await
        .context(|| format!("changing program {program}"))?;
    if changed == 0 { Err(no_program(account, program)) } else { Ok(()) }
}

pub(super) async fn add_field(
    tx: &Transaction<'_>,
    (account, program): (AccountId, ProgramId),
    name: &str,
    field_type: FieldType,
    now_ms: i64,
) -> Result<(), StoreError> {
    lock_program(tx, account, program).await?;
    check_field_name(name).map_err(|fault| StoreError::Refused(fault.to_string()))?;
    let reading = || format!("reading the fields of program {program}");
    let known = tx
        .query_typed_opt(
            "SELECT type, removed_ms IS NOT NULL FROM field WHERE program = $1 AND name = $2",
            &[(&program.0, Type::UUID), (&name, Type::TEXT)],
        )
        .await
        .context(reading)?;
    let Some(known) = known else { return insert_field(tx, program, name, field_type, now_ms).await };
    let printed: String = known.try_get(0).context(reading)?;
    match known.try_get(1).context(reading)? {
        false => Err(refusal::field_is_there(program, name)),
        true if parse_type(&printed)? == field_type => set_removed(tx, program, name, None).await,
        true => Err(refusal::field_had_another_type(program, name, &printed, field_type)),
    }
}

async fn insert_field(
    tx: &Transaction<'_>,
    program: ProgramId,
    name: &str,
    field_type: FieldType,
    now_ms: i64,
) -> Result<(), StoreError> {
    let adding = || format!("adding a field to program {program}");
    let first = i64::from(FieldNumber::FIRST_VARIABLE.0);
    let next: i64 = tx
        .query_typed_one(
            "SELECT coalesce(max(number) + 1, $2) FROM field WHERE program = $1",
            &[(&program.0, Type::UUID), (&first, Type::INT8)],
        )
        .await
        .and_then(|row| row.try_get(0))
        .context(adding)?;
    if next >= first + FIELDS_MAX {
        return Err(refusal::too_many_fields(program));
    }
    tx.execute_typed(
        "INSERT INTO field (program, number, name, type, created_ms) VALUES ($1, $2, $3, $4, $5)",
        &[
            (&program.0, Type::UUID),
            (&next, Type::INT8),
            (&name, Type::TEXT),
            (&field_type.to_string(), Type::TEXT),
            (&now_ms, Type::INT8),
        ],
    )
    .await
    .context(adding)?;
    Ok(())
}

pub(super) async fn remove_field(
    tx: &Transaction<'_>,
    (account, program): (AccountId, ProgramId),
    name: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    lock_program(tx, account, program).await?;
    if schema(tx.client(), program).await?.variables().all(|field| field.name != name) {
        return Err(refusal::no_field(program, name));
    }
    set_removed(tx, program, name, Some(now_ms)).await
}

async fn set_removed(
    tx: &Transaction<'_>,
    program: ProgramId,
    name: &str,
    removed_ms: Option<i64>,
) -> Result<(), StoreError> {
    tx.execute_typed(
        "UPDATE field SET removed_ms = $3 WHERE program = $1 AND name = $2",
        &[(&program.0, Type::UUID), (&name, Type::TEXT), (&removed_ms, Type::INT8)],
    )
    .await
    .context(|| format!("changing a field of program {program}"))?;
    Ok(())
}

/// Two operators who change the fields of one program do so one after the other.
async fn lock_program(tx: &Transaction<'_>, account: AccountId, program: ProgramId) -> Result<(), StoreError> {
    let locked = tx
        .query_typed_opt(
            "SELECT 1 FROM program WHERE account = $1 AND id = $2 FOR UPDATE",
            &[(&account.0, Type::UUID), (&program.0, Type::UUID)],
        )
        .await
        .context(|| format!("reading program {program}"))?;
    locked.map(|_| ()).ok_or_else(|| no_program(account, program))
}

pub(super) async fn create_token(client: &Client, token: &SealedToken, now_ms: i64) -> Result<(), StoreError> {
    let SealedToken { account, name, token, columns, programs, sealed } = token;
    account_exists(client, *account).await?;
    if let Programs::Only(programs) = programs {
        // They are never deleted, and never change their account.
        for program in programs {
            the_program(client, *account, *program).await?;
        }
    }
    let inserted = client
        .execute_typed(
            "INSERT INTO token (token, account, name, secret, read_only, programs, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                (token, Type::TEXT),
                (&account.0, Type::UUID),
                (name, Type::TEXT),
                (sealed, Type::BYTEA),
                (&columns.read_only, Type::BOOL),
                (&columns.programs, Type::TEXT),
                (&now_ms, Type::INT8),
            ],
        )
        .await;
    match inserted {
        Err(error) if is_taken(&error) => Err(refusal::token_is_taken()),
        inserted => inserted.map(|_| ()).context(|| "adding a token"),
    }
}

pub(super) async fn tokens(client: &Client, account: Option<AccountId>) -> Result<Vec<TokenListing>, StoreError> {
    let listing = || "listing tokens";
    let account = account.map(|account| account.0);
    let rows = client
        .query_typed(
            "SELECT token, account, name, created_ms, revoked_ms, read_only, programs, old_secret_until_ms, last_used_ms FROM token
             WHERE $1::uuid IS NULL OR account = $1 ORDER BY number",
            &[(&account, Type::UUID)],
        )
        .await
        .context(listing)?;
    let token = |row: &Row| {
        Ok(TokenListing {
            token: row.try_get(0).context(listing)?,
            account: AccountId(row.try_get(1).context(listing)?),
            name: row.try_get(2).context(listing)?,
            scope: scope_columns(row, 5).context(listing)?.scope()?,
            created_ms: row.try_get(3).context(listing)?,
            last_used_ms: row.try_get(8).context(listing)?,
            old_secret_until_ms: row.try_get(7).context(listing)?,
            revoked_ms: row.try_get(4).context(listing)?,
        })
    };
    rows.iter().map(token).collect()
}

/// `read_only, programs`, from this column on.
fn scope_columns(row: &Row, first: usize) -> Result<ScopeColumns, tokio_postgres::Error> {
    Ok(ScopeColumns { read_only: row.try_get(first)?, programs: row.try_get(first + 1)? })
}

pub(super) async fn revoke_token(client: &Client, token: &str, now_ms: i64) -> Result<(), StoreError> {
    let revoked = client
        .execute_typed(
            "UPDATE token SET revoked_ms = $2 WHERE token = $1 AND revoked_ms IS NULL",
            &[(&token, Type::TEXT), (&now_ms, Type::INT8)],
        )
        .await
        .context(|| "revoking a token")?;
    if revoked == 0 { Err(refusal::no_such_token()) } else { Ok(()) }
}

/// The tokens of these texts, unless they are revoked, each opened for itself.
pub(super) async fn tokens_of(
    client: &Client,
    key: &MasterKey,
    tokens: &[String],
) -> Result<HashMap<String, Result<Token, StoreError>>, StoreError> {
    let rows = read_tokens(client, tokens).await?;
    Ok(rows.into_iter().map(|(token, row)| (token.clone(), row.open(key, &token))).collect())
}

pub(super) async fn rotate_token(
    client: &Client,
    key: &MasterKey,
    token: &str,
    (secret, overlap_ms, now_ms): (&Secret, u64, i64),
) -> Result<Rotated, StoreError> {
    let row = read_token(client, token).await?.ok_or_else(refusal::no_such_token)?;
    let RotatedColumns { before, sealed, old, rotated } = row.rotated(key, token, secret, (overlap_ms, now_ms))?;
    let changed = client
        .execute_typed(
            "UPDATE token SET secret = $3, old_secret = $4, old_secret_until_ms = $5
             WHERE token = $1 AND secret = $2 AND revoked_ms IS NULL",
            &[
                (&token, Type::TEXT),
                (&before, Type::BYTEA),
                (&sealed, Type::BYTEA),
                (&old.sealed, Type::BYTEA),
                (&old.until_ms, Type::INT8),
            ],
        )
        .await
        .context(|| "rotating a token")?;
    if changed == 0 { Err(refusal::token_was_changed()) } else { Ok(rotated) }
}

pub(super) async fn note_use(client: &Client, token: TokenNumber, now_ms: i64) -> Result<(), StoreError> {
    client
        .execute_typed(
            &format!(
                // Not worth waiting for a disk, or for a standby that may be away.
                "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true) AS word)
                 UPDATE token SET last_used_ms = $2 FROM relaxed
                 WHERE number = $1 AND (last_used_ms IS NULL OR last_used_ms < $2) AND NOT {IS_MOVING}
                   AND relaxed.word = 'off'"
            ),
            &[(&token.0, Type::INT8), (&now_ms, Type::INT8)],
        )
        .await
        .context(|| "noting the use of a token")?;
    Ok(())
}

async fn read_token(client: &Client, token: &str) -> Result<Option<TokenRow>, StoreError> {
    let found = read_tokens(client, &[token.to_owned()]).await?;
    Ok(found.into_iter().next().map(|(_, row)| row))
}

async fn read_tokens(client: &Client, tokens: &[String]) -> Result<Vec<(String, TokenRow)>, StoreError> {
    let reading = || "reading tokens";
    // PostgreSQL refuses a NUL in a text, even in a question; no token has one.
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).filter(|token| !token.contains('\0')).collect();
    let rows = client
        .query_typed(
            // Nobody gets in before everything is there.
            &format!(
                "SELECT number, account, name, secret, read_only, programs, old_secret, old_secret_until_ms, token
                 FROM token WHERE token = ANY($1) AND revoked_ms IS NULL AND NOT {IS_HALF_FILLED}"
            ),
            &[(&tokens, Type::TEXT_ARRAY)],
        )
        .await
        .context(reading)?;
    rows.iter().map(|row| Ok((row.try_get(8)?, token_row(row)?))).collect::<Result<_, _>>().context(reading)
}

fn token_row(row: &Row) -> Result<TokenRow, tokio_postgres::Error> {
    Ok(TokenRow {
        number: row.try_get(0)?,
        account: AccountId(row.try_get(1)?),
        name: row.try_get(2)?,
        sealed: row.try_get(3)?,
        columns: scope_columns(row, 4)?,
        old: OldColumns { sealed: row.try_get(6)?, until_ms: row.try_get(7)? },
    })
}

pub(super) async fn account_exists(client: &Client, account: AccountId) -> Result<(), StoreError> {
    let found = client
        .query_typed_opt("SELECT 1 FROM account WHERE id = $1", &[(&account.0, Type::UUID)])
        .await
        .context(|| format!("reading account {account}"))?;
    found.map(|_| ()).ok_or_else(|| refusal::no_account(account))
}

pub(super) fn read_program(row: &Row) -> Result<Program, StoreError> {
    let reading = || "reading a program";
    let region: String = row.try_get(4).context(reading)?;
    let region = Region::parse(&region)
        .ok_or_else(|| StoreError::Fault(format!("a program has the region '{region}', which is none")))?;
    let phone: Option<i64> = row.try_get(5).context(reading)?;
    Ok(Program {
        id: ProgramId(row.try_get(0).context(reading)?),
        account: AccountId(row.try_get(1).context(reading)?),
        name: row.try_get(2).context(reading)?,
        active: row.try_get(3).context(reading)?,
        region,
        phone: phone.map(|digits| Phone::from_digits(digits.cast_unsigned())),
        timezone: row.try_get(6).context(reading)?,
        tag: ProgramTag::from_bits(row.try_get::<_, i64>(7).context(reading)?.cast_unsigned()),
        created_ms: row.try_get(8).context(reading)?,
    })
}
