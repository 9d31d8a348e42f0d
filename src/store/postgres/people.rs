//! Who signs in to the console, in the database that all nodes share.
//!
//! Whoever changes what a user may do, or begins something in the user's name, locks the user's row first: so what is taken away is not
//! given at the same moment.

use async_trait::async_trait;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::PostgresStore;
use super::accounts::account_exists;
use super::connection::{ANSWERED_WITHIN, Context, Lent, begin, execute, query_opt, within};
use super::moving::{IS_HALF_FILLED, IS_MOVING, not_while_moving, refuse_work};
use crate::store::refusal::{self, new_id};
use crate::store::secrets::MasterKey;
use crate::store::user_row::{FORGOTTEN_AT_ONCE, fold, open_password, parse_name, parse_role, seal_password};
use crate::store::{People, StoreError};
use crate::tenant::{
    Account, AccountId, Membership, NewSession, PasswordHash, Role, Session, TicketDigest, User, UserId, UserName,
};

/// Borrows a connection for a question, and waits for the answer no longer than a request may.
macro_rules! ask {
    ($store:expr, |$client:ident| $question:expr) => {{
        let $client = $store.client().await?;
        let answer = within(ANSWERED_WITHIN, $question).await;
        $client.done(answer)
    }};
    ($store:expr, |mut $client:ident| $question:expr) => {{
        let mut $client = $store.client().await?;
        let answer = within(ANSWERED_WITHIN, $question).await;
        $client.done(answer)
    }};
}

#[async_trait]
impl People for PostgresStore {
    async fn create_user(&self, name: &UserName, now_ms: i64) -> Result<User, StoreError> {
        ask!(self, |mut client| create_user(&mut client, name, now_ms))
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        ask!(self, |client| users(&client, "", &[]))
    }

    async fn user_by_name(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        let found = ask!(self, |client| users(&client, "WHERE who.name = $1", &[(&name.as_str(), Type::TEXT)]))?;
        Ok(found.into_iter().next())
    }

    async fn set_role(&self, user: UserId, account: AccountId, role: Option<Role>) -> Result<(), StoreError> {
        ask!(self, |mut client| set_role(&mut client, user, account, role))
    }

    async fn password(&self, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
        ask!(self, |client| password(&client, &self.shared.key, user))
    }

    async fn set_password(&self, user: UserId, password: Option<&PasswordHash>) -> Result<(), StoreError> {
        let sealed = password.map(|password| seal_password(&self.shared.key, user, password)).transpose()?;
        ask!(self, |mut client| set_password(&mut client, user, sealed))
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, now_ms: i64) -> Result<(), StoreError> {
        ask!(self, |mut client| set_disabled(&mut client, user, disabled, now_ms))
    }

    async fn create_link(&self, link: TicketDigest, user: UserId, until_ms: i64) -> Result<(), StoreError> {
        ask!(self, |mut client| create_link(&mut client, link, user, until_ms))
    }

    async fn link_holds(&self, link: TicketDigest, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM console_link JOIN console_user AS who ON who.id = person
                   WHERE digest = $1 AND $2 < until_ms AND who.disabled_ms IS NULL";
        let found = ask!(self, |client| async {
            client
                .query_typed_opt(sql, &[(&link.0.as_slice(), Type::BYTEA), (&now_ms, Type::INT8)])
                .await
                .context(reading)
        })?;
        Ok(found.is_some())
    }

    async fn use_link(&self, link: TicketDigest, now_ms: i64) -> Result<Option<User>, StoreError> {
        ask!(self, |client| use_link(&client, link, now_ms))
    }

    async fn create_session(&self, session: NewSession, now_ms: i64) -> Result<(), StoreError> {
        ask!(self, |mut client| create_session(&mut client, &session, now_ms))
    }

    async fn session(&self, cookie: TicketDigest, now_ms: i64) -> Result<Option<Session>, StoreError> {
        ask!(self, |client| session(&client, cookie, now_ms))
    }

    async fn prolong_session(&self, cookie: TicketDigest, idle_until_ms: i64) -> Result<(), StoreError> {
        ask!(self, |client| prolong_session(&client, cookie, idle_until_ms))
    }

    async fn set_session_account(&self, cookie: TicketDigest, account: AccountId) -> Result<(), StoreError> {
        ask!(self, |mut client| set_session_account(&mut client, cookie, account))
    }

    async fn end_session(&self, cookie: TicketDigest) -> Result<(), StoreError> {
        let sql = "DELETE FROM console_session WHERE digest = $1";
        ask!(self, |client| execute(&client, sql, &[(&cookie.0.as_slice(), Type::BYTEA)], || changing().to_owned()))?;
        Ok(())
    }
}

type Parameters<'a> = [(&'a (dyn ToSql + Sync), Type)];

fn reading() -> &'static str {
    "reading who signs in to the console"
}

fn changing() -> &'static str {
    "changing who signs in to the console"
}

/// Carries out a statement of a transaction; how many rows it was about.
async fn run(tx: &Transaction<'_>, sql: &str, parameters: &Parameters<'_>) -> Result<u64, StoreError> {
    tx.execute_typed(sql, parameters).await.context(changing)
}

/// Locks the row of a user; whether it is disabled.
async fn lock_user(tx: &Transaction<'_>, user: UserId) -> Result<bool, StoreError> {
    let row = tx
        .query_typed_opt(
            "SELECT disabled_ms IS NOT NULL FROM console_user WHERE id = $1 FOR UPDATE",
            &[(&user.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    row.ok_or_else(|| refusal::no_user(user))?.try_get(0).context(reading)
}

/// The same, for a user that must be able to sign in.
async fn lock_enabled_user(tx: &Transaction<'_>, user: UserId) -> Result<(), StoreError> {
    if lock_user(tx, user).await? { Err(refusal::user_is_disabled(user)) } else { Ok(()) }
}

/// Asked after the user's row is locked: nobody takes it away at the same moment.
async fn must_be_member(tx: &Transaction<'_>, user: UserId, account: AccountId) -> Result<(), StoreError> {
    let found = tx
        .query_typed_opt(
            "SELECT 1 FROM console_membership WHERE person = $1 AND account = $2",
            &[(&user.0, Type::UUID), (&account.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    found.map(|_| ()).ok_or_else(|| refusal::no_member(user, account))
}

async fn create_user(client: &mut Lent, name: &UserName, now_ms: i64) -> Result<User, StoreError> {
    let id = UserId(new_id(now_ms)?);
    let tx = begin(client).await.context(changing)?;
    not_while_moving(&tx).await?;
    let inserted = run(
        &tx,
        "INSERT INTO console_user (id, name, created_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        &[(&id.0, Type::UUID), (&name.as_str(), Type::TEXT), (&now_ms, Type::INT8)],
    )
    .await?;
    if inserted == 0 {
        return Err(refusal::user_is_there(name));
    }
    tx.commit().await.context(changing)?;
    client.confirmed()?;
    Ok(User {
        id,
        name: name.clone(),
        has_password: false,
        created_ms: now_ms,
        last_signed_in_ms: None,
        disabled_ms: None,
        memberships: Vec::new(),
    })
}

async fn users(client: &Client, condition: &str, parameters: &Parameters<'_>) -> Result<Vec<User>, StoreError> {
    let select = format!(
        "SELECT who.id, who.name, who.password IS NOT NULL, who.created_ms, who.last_signed_in_ms, who.disabled_ms,
           account.id, account.name, account.created_ms, role
         FROM console_user AS who
         LEFT JOIN (console_membership JOIN account ON account.id = console_membership.account)
           ON console_membership.person = who.id
         {condition} ORDER BY who.number, account.number"
    );
    let rows = client.query_typed(&select, parameters).await.context(reading)?;
    let rows: Vec<_> =
        rows.iter().map(|row| Ok((read_user(row)?, read_membership(row)?))).collect::<Result<_, StoreError>>()?;
    Ok(fold(rows))
}

fn read_user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(row.try_get(0).context(reading)?),
        name: parse_name(row.try_get(1).context(reading)?)?,
        has_password: row.try_get(2).context(reading)?,
        created_ms: row.try_get(3).context(reading)?,
        last_signed_in_ms: row.try_get(4).context(reading)?,
        disabled_ms: row.try_get(5).context(reading)?,
        memberships: Vec::new(),
    })
}

fn read_membership(row: &Row) -> Result<Option<Membership>, StoreError> {
    let Some(role) = row.try_get::<_, Option<&str>>(9).context(reading)? else { return Ok(None) };
    Ok(Some(Membership { account: read_account(row, 6)?, role: parse_role(role)? }))
}

/// `id, name, created_ms`, from this column on.
fn read_account(row: &Row, first: usize) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(row.try_get(first).context(reading)?),
        name: row.try_get(first + 1).context(reading)?,
        created_ms: row.try_get(first + 2).context(reading)?,
    })
}

async fn set_role(client: &mut Lent, user: UserId, account: AccountId, role: Option<Role>) -> Result<(), StoreError> {
    let tx = begin(client).await.context(changing)?;
    not_while_moving(&tx).await?;
    lock_user(&tx, user).await?;
    account_exists(tx.client(), account).await?;
    let of = [(&user.0 as &(dyn ToSql + Sync), Type::UUID), (&account.0 as _, Type::UUID)];
    match role {
        Some(role) => {
            let set = "INSERT INTO console_membership (person, account, role) VALUES ($1, $2, $3)
                       ON CONFLICT (person, account) DO UPDATE SET role = excluded.role";
            let [user, account] = of;
            run(&tx, set, &[user, account, (&role.as_str(), Type::TEXT)]).await?;
        }
        None => {
            run(&tx, "DELETE FROM console_membership WHERE person = $1 AND account = $2", &of).await?;
            run(&tx, "DELETE FROM console_session WHERE person = $1 AND account = $2", &of).await?;
        }
    }
    tx.commit().await.context(changing)?;
    client.confirmed()
}

async fn password(client: &Client, key: &MasterKey, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
    let row = client
        .query_typed_opt("SELECT password FROM console_user WHERE id = $1", &[(&user.0, Type::UUID)])
        .await
        .context(reading)?;
    let Some(row) = row else { return Ok(None) };
    let sealed: Option<&[u8]> = row.try_get(0).context(reading)?;
    sealed.map(|sealed| open_password(key, user, sealed)).transpose()
}

/// Ends everything by which somebody is in, or could get in without the password.
async fn end_all(tx: &Transaction<'_>, user: UserId) -> Result<(), StoreError> {
    run(tx, "DELETE FROM console_session WHERE person = $1", &[(&user.0, Type::UUID)]).await?;
    run(tx, "DELETE FROM console_link WHERE person = $1", &[(&user.0, Type::UUID)]).await?;
    Ok(())
}

async fn set_password(client: &mut Lent, user: UserId, sealed: Option<Vec<u8>>) -> Result<(), StoreError> {
    let tx = begin(client).await.context(changing)?;
    not_while_moving(&tx).await?;
    lock_user(&tx, user).await?;
    let update = "UPDATE console_user SET password = $2 WHERE id = $1";
    run(&tx, update, &[(&user.0, Type::UUID), (&sealed, Type::BYTEA)]).await?;
    end_all(&tx, user).await?;
    tx.commit().await.context(changing)?;
    client.confirmed()
}

async fn set_disabled(client: &mut Lent, user: UserId, disabled: bool, now_ms: i64) -> Result<(), StoreError> {
    let tx = begin(client).await.context(changing)?;
    not_while_moving(&tx).await?;
    lock_user(&tx, user).await?;
    // Disabled once more, it stays so since the first time.
    let update = "UPDATE console_user SET disabled_ms = CASE WHEN $2 THEN coalesce(disabled_ms, $3) END WHERE id = $1";
    run(&tx, update, &[(&user.0, Type::UUID), (&disabled, Type::BOOL), (&now_ms, Type::INT8)]).await?;
    if disabled {
        end_all(&tx, user).await?;
    }
    tx.commit().await.context(changing)?;
    client.confirmed()
}

async fn create_link(client: &mut Lent, link: TicketDigest, user: UserId, until_ms: i64) -> Result<(), StoreError> {
    let tx = begin(client).await.context(changing)?;
    lock_enabled_user(&tx, user).await?;
    run(
        &tx,
        "INSERT INTO console_link (digest, person, until_ms) VALUES ($1, $2, $3)",
        &[(&link.0.as_slice(), Type::BYTEA), (&user.0, Type::UUID), (&until_ms, Type::INT8)],
    )
    .await?;
    tx.commit().await.context(changing)?;
    client.confirmed()
}

/// Of two who come at once the second waits for the first one's commit, and finds nothing.
async fn use_link(client: &Lent, link: TicketDigest, now_ms: i64) -> Result<Option<User>, StoreError> {
    let used = query_opt(
        client,
        "DELETE FROM console_link WHERE digest = $1 AND $2 < until_ms RETURNING person",
        &[(&link.0.as_slice(), Type::BYTEA), (&now_ms, Type::INT8)],
        || changing().to_owned(),
    )
    .await?;
    let Some(used) = used else { return Ok(None) };
    let person: uuid::Uuid = used.try_get(0).context(reading)?;
    let found = users(client, "WHERE who.id = $1 AND who.disabled_ms IS NULL", &[(&person, Type::UUID)]).await?;
    Ok(found.into_iter().next())
}

async fn create_session(client: &mut Lent, session: &NewSession, now_ms: i64) -> Result<(), StoreError> {
    let NewSession { digest, user, account, until_ms, idle_until_ms } = session;
    let tx = begin(client).await.context(changing)?;
    lock_enabled_user(&tx, *user).await?;
    must_be_member(&tx, *user, *account).await?;
    let inserted = run(
        &tx,
        // Nobody gets in before everything is there.
        &format!(
            "INSERT INTO console_session (digest, person, account, until_ms, idle_until_ms)
             SELECT $1, $2, $3, $4, $5 WHERE NOT {IS_HALF_FILLED}"
        ),
        &[
            (&digest.0.as_slice(), Type::BYTEA),
            (&user.0, Type::UUID),
            (&account.0, Type::UUID),
            (until_ms, Type::INT8),
            (idle_until_ms, Type::INT8),
        ],
    )
    .await?;
    if inserted == 0 {
        return Err(refuse_work(tx.client()).await?);
    }
    // Both sides of a move are to be the same at its end.
    let note = format!(
        "UPDATE console_user SET last_signed_in_ms = greatest(last_signed_in_ms, $2) WHERE id = $1 AND NOT {IS_MOVING}"
    );
    run(&tx, &note, &[(&user.0, Type::UUID), (&now_ms, Type::INT8)]).await?;
    for (table, end) in [("console_session", "least(until_ms, idle_until_ms)"), ("console_link", "until_ms")] {
        // What another has in hand is left to it.
        let delete = format!(
            "DELETE FROM {table} WHERE digest = ANY (ARRAY(
               SELECT digest FROM {table} WHERE {end} <= $1 ORDER BY {end} LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        run(&tx, &delete, &[(&now_ms, Type::INT8), (&FORGOTTEN_AT_ONCE, Type::INT8)]).await?;
    }
    tx.commit().await.context(changing)?;
    client.confirmed()
}

async fn session(client: &Client, cookie: TicketDigest, now_ms: i64) -> Result<Option<Session>, StoreError> {
    let select = format!(
        "SELECT who.id, who.name, account.id, account.name, account.created_ms, role,
           (SELECT count(*) FROM console_membership AS any_of WHERE any_of.person = who.id), until_ms, idle_until_ms
         FROM console_session AS session
         JOIN console_user AS who ON who.id = session.person
         JOIN console_membership AS membership
           ON membership.person = session.person AND membership.account = session.account
         JOIN account ON account.id = session.account
         WHERE digest = $1 AND $2 < until_ms AND $2 < idle_until_ms AND who.disabled_ms IS NULL AND NOT {IS_HALF_FILLED}"
    );
    let row = client
        .query_typed_opt(&select, &[(&cookie.0.as_slice(), Type::BYTEA), (&now_ms, Type::INT8)])
        .await
        .context(reading)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        user: UserId(row.try_get(0).context(reading)?),
        name: parse_name(row.try_get(1).context(reading)?)?,
        account: read_account(&row, 2)?,
        role: parse_role(row.try_get(5).context(reading)?)?,
        accounts: row.try_get::<_, i64>(6).context(reading)?.cast_unsigned(),
        until_ms: row.try_get(7).context(reading)?,
        idle_until_ms: row.try_get(8).context(reading)?,
    }))
}

async fn prolong_session(client: &Client, cookie: TicketDigest, idle_until_ms: i64) -> Result<(), StoreError> {
    client
        .execute_typed(
            // Not worth waiting for a disk, or for a standby that may be away.
            "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true) AS word)
             UPDATE console_session SET idle_until_ms = $2 FROM relaxed
             WHERE digest = $1 AND idle_until_ms < $2 AND relaxed.word = 'off'",
            &[(&cookie.0.as_slice(), Type::BYTEA), (&idle_until_ms, Type::INT8)],
        )
        .await
        .context(changing)?;
    Ok(())
}

async fn set_session_account(client: &mut Lent, cookie: TicketDigest, account: AccountId) -> Result<(), StoreError> {
    let tx = begin(client).await.context(changing)?;
    let digest = cookie.0.as_slice();
    let row = tx
        .query_typed_opt("SELECT person FROM console_session WHERE digest = $1", &[(&digest, Type::BYTEA)])
        .await
        .context(reading)?;
    let user = UserId(row.ok_or_else(refusal::session_is_gone)?.try_get(0).context(reading)?);
    lock_enabled_user(&tx, user).await?;
    must_be_member(&tx, user, account).await?;
    // It may have been ended while the user's row was waited for.
    let update = "UPDATE console_session SET account = $2 WHERE digest = $1";
    if run(&tx, update, &[(&digest, Type::BYTEA), (&account.0, Type::UUID)]).await? == 0 {
        return Err(refusal::session_is_gone());
    }
    tx.commit().await.context(changing)?;
    client.confirmed()
}
