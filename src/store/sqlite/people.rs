//! Who signs in to the console, in the catalogue. A session is asked for with every page and read alone: pages are few, and SQLite answers in
//! microseconds.

use async_trait::async_trait;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::accounts::{account_exists, uuid};
use super::connection::{Context, is_taken};
use super::writer::Durability;
use super::{Inner, SqliteStore};
use crate::store::moving::{Standing, moved_away};
use crate::store::refusal::{self, new_id};
use crate::store::secrets::MasterKey;
use crate::store::user_row::{FORGOTTEN_AT_ONCE, fold, open_password, parse_name, parse_role, seal_password};
use crate::store::{People, StoreError};
use crate::tenant::{
    Account, AccountId, Membership, NewSession, PasswordHash, Role, Session, TicketDigest, User, UserId, UserName,
};

impl SqliteStore {
    /// What is changed after everything was moved away would be lost to the other home. Signing in is not: sessions stay where they are.
    pub(super) fn not_moved_away(&self) -> Result<(), StoreError> {
        match &self.inner.standing {
            Standing::Free => Ok(()),
            Standing::Moved(peer) => Err(moved_away(peer)),
        }
    }
}

#[async_trait]
impl People for SqliteStore {
    async fn create_user(&self, name: &UserName, now_ms: i64) -> Result<User, StoreError> {
        self.not_moved_away()?;
        let name = name.clone();
        self.write(move |catalogue| create_user(catalogue, name, now_ms)).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|_, catalogue| users(catalogue, "", [])).await
    }

    async fn user_by_name(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        let name = name.clone();
        self.read(move |_, catalogue| Ok(users(catalogue, "WHERE who.name = ?1", [name.as_str()])?.pop())).await
    }

    async fn set_role(&self, user: UserId, account: AccountId, role: Option<Role>) -> Result<(), StoreError> {
        self.not_moved_away()?;
        self.write(move |catalogue| set_role(catalogue, user, account, role)).await
    }

    async fn password(&self, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
        self.read(move |inner: &Inner, catalogue| password(catalogue, &inner.key, user)).await
    }

    async fn set_password(&self, user: UserId, password: Option<&PasswordHash>) -> Result<(), StoreError> {
        self.not_moved_away()?;
        let sealed = password.map(|password| seal_password(&self.inner.key, user, password)).transpose()?;
        self.write(move |catalogue| {
            let change = "UPDATE console_user SET password = ?2 WHERE id = ?1";
            change_user(catalogue, user, change, params![id(&user), sealed])?;
            end_all(catalogue, user)
        })
        .await
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, now_ms: i64) -> Result<(), StoreError> {
        self.not_moved_away()?;
        self.write(move |catalogue| {
            // Disabled once more, it stays so since the first time.
            let change =
                "UPDATE console_user SET disabled_ms = CASE WHEN ?2 THEN coalesce(disabled_ms, ?3) END WHERE id = ?1";
            change_user(catalogue, user, change, params![id(&user), disabled, now_ms])?;
            if disabled { end_all(catalogue, user) } else { Ok(()) }
        })
        .await
    }

    async fn create_link(&self, link: TicketDigest, user: UserId, until_ms: i64) -> Result<(), StoreError> {
        self.write(move |catalogue| {
            may_sign_in(catalogue, user)?;
            let insert = "INSERT INTO console_link (digest, person, until_ms) VALUES (?1, ?2, ?3)";
            run(catalogue, insert, params![link.0, id(&user), until_ms])?;
            Ok(())
        })
        .await
    }

    async fn link_holds(&self, link: TicketDigest, now_ms: i64) -> Result<bool, StoreError> {
        self.read(move |_, catalogue| {
            prepare(
                catalogue,
                "SELECT EXISTS (SELECT 1 FROM console_link JOIN console_user AS who ON who.id = person
                   WHERE digest = ?1 AND ?2 < until_ms AND who.disabled_ms IS NULL)",
            )?
            .query_row(params![link.0, now_ms], |row| row.get(0))
            .context(reading)
        })
        .await
    }

    async fn use_link(&self, link: TicketDigest, now_ms: i64) -> Result<Option<User>, StoreError> {
        self.write(move |catalogue| use_link(catalogue, link, now_ms)).await
    }

    async fn create_session(&self, session: NewSession, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |catalogue| create_session(catalogue, &session, now_ms)).await
    }

    async fn session(&self, cookie: TicketDigest, now_ms: i64) -> Result<Option<Session>, StoreError> {
        self.read(move |_, catalogue| session(catalogue, cookie, now_ms)).await
    }

    async fn prolong_session(&self, cookie: TicketDigest, idle_until_ms: i64) -> Result<(), StoreError> {
        let work = move |catalogue: &Connection| {
            let update = "UPDATE console_session SET idle_until_ms = ?2 WHERE digest = ?1 AND idle_until_ms < ?2";
            run(catalogue, update, params![cookie.0, idle_until_ms]).map(|_| ())
        };
        self.inner.writer.write(Durability::Relaxed, work, |_| ()).await
    }

    async fn set_session_account(&self, cookie: TicketDigest, account: AccountId) -> Result<(), StoreError> {
        self.write(move |catalogue| set_session_account(catalogue, cookie, account)).await
    }

    async fn end_session(&self, cookie: TicketDigest) -> Result<(), StoreError> {
        self.write(move |catalogue| {
            run(catalogue, "DELETE FROM console_session WHERE digest = ?1", [cookie.0]).map(|_| ())
        })
        .await
    }
}

fn reading() -> &'static str {
    "reading who signs in to the console"
}

fn changing() -> &'static str {
    "changing who signs in to the console"
}

fn id(user: &UserId) -> &[u8] {
    user.0.as_bytes()
}

fn prepare<'a>(catalogue: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, StoreError> {
    catalogue.prepare_cached(sql).context(reading)
}

/// Carries out a statement that changes something; how many rows.
fn run(catalogue: &Connection, sql: &str, parameters: impl Params) -> Result<usize, StoreError> {
    catalogue.prepare_cached(sql).and_then(|mut change| change.execute(parameters)).context(changing)
}

/// The same, for the row of a user.
fn change_user(catalogue: &Connection, user: UserId, sql: &str, parameters: impl Params) -> Result<(), StoreError> {
    if run(catalogue, sql, parameters)? == 0 { Err(refusal::no_user(user)) } else { Ok(()) }
}

fn create_user(catalogue: &Connection, name: UserName, now_ms: i64) -> Result<User, StoreError> {
    let user = UserId(new_id(now_ms)?);
    let inserted = catalogue
        .prepare_cached("INSERT INTO console_user (id, name, created_ms) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![id(&user), name.as_str(), now_ms]));
    match inserted {
        Err(error) if is_taken(&error) => Err(refusal::user_is_there(&name)),
        inserted => {
            inserted.context(changing)?;
            Ok(User {
                id: user,
                name,
                has_password: false,
                created_ms: now_ms,
                last_signed_in_ms: None,
                disabled_ms: None,
                memberships: Vec::new(),
            })
        }
    }
}

fn users(catalogue: &Connection, condition: &str, parameters: impl Params) -> Result<Vec<User>, StoreError> {
    let select = format!(
        "SELECT who.id, who.name, who.password IS NOT NULL, who.created_ms, who.last_signed_in_ms, who.disabled_ms,
           account.id, account.name, account.created_ms, role
         FROM console_user AS who
         LEFT JOIN (console_membership JOIN account ON account.id = console_membership.account)
           ON console_membership.person = who.id
         {condition} ORDER BY who.number, account.number"
    );
    let mut select = prepare(catalogue, &select)?;
    let mut found = select.query(parameters).context(reading)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().context(reading)? {
        rows.push((read_user(row)?, read_membership(row)?));
    }
    Ok(fold(rows))
}

fn read_user(row: &Row<'_>) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(uuid(row, 0).context(reading)?),
        name: parse_name(&row.get::<_, String>(1).context(reading)?)?,
        has_password: row.get(2).context(reading)?,
        created_ms: row.get(3).context(reading)?,
        last_signed_in_ms: row.get(4).context(reading)?,
        disabled_ms: row.get(5).context(reading)?,
        memberships: Vec::new(),
    })
}

fn read_membership(row: &Row<'_>) -> Result<Option<Membership>, StoreError> {
    let Some(role) = row.get::<_, Option<String>>(9).context(reading)? else { return Ok(None) };
    Ok(Some(Membership { account: read_account(row, 6).context(reading)?, role: parse_role(&role)? }))
}

/// `id, name, created_ms`, from this column on.
fn read_account(row: &Row<'_>, first: usize) -> rusqlite::Result<Account> {
    Ok(Account { id: AccountId(uuid(row, first)?), name: row.get(first + 1)?, created_ms: row.get(first + 2)? })
}

fn set_role(catalogue: &Connection, user: UserId, account: AccountId, role: Option<Role>) -> Result<(), StoreError> {
    is_disabled(catalogue, user)?;
    account_exists(catalogue, account)?;
    let of = account.0.as_bytes().as_slice();
    match role {
        Some(role) => run(
            catalogue,
            "INSERT INTO console_membership (person, account, role) VALUES (?1, ?2, ?3)
             ON CONFLICT (person, account) DO UPDATE SET role = excluded.role",
            params![id(&user), of, role.as_str()],
        )?,
        None => {
            run(catalogue, "DELETE FROM console_session WHERE person = ?1 AND account = ?2", params![id(&user), of])?;
            run(catalogue, "DELETE FROM console_membership WHERE person = ?1 AND account = ?2", params![id(&user), of])?
        }
    };
    Ok(())
}

/// Whether a user is disabled, if there is such a user.
fn is_disabled(catalogue: &Connection, user: UserId) -> Result<bool, StoreError> {
    prepare(catalogue, "SELECT disabled_ms IS NOT NULL FROM console_user WHERE id = ?1")?
        .query_row([id(&user)], |row| row.get(0))
        .optional()
        .context(reading)?
        .ok_or_else(|| refusal::no_user(user))
}

fn may_sign_in(catalogue: &Connection, user: UserId) -> Result<(), StoreError> {
    if is_disabled(catalogue, user)? { Err(refusal::user_is_disabled(user)) } else { Ok(()) }
}

fn must_be_member(catalogue: &Connection, user: UserId, account: AccountId) -> Result<(), StoreError> {
    let is_member: bool =
        prepare(catalogue, "SELECT EXISTS (SELECT 1 FROM console_membership WHERE person = ?1 AND account = ?2)")?
            .query_row(params![id(&user), account.0.as_bytes().as_slice()], |row| row.get(0))
            .context(reading)?;
    if is_member { Ok(()) } else { Err(refusal::no_member(user, account)) }
}

fn password(catalogue: &Connection, key: &MasterKey, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
    let sealed: Option<Option<Vec<u8>>> = prepare(catalogue, "SELECT password FROM console_user WHERE id = ?1")?
        .query_row([id(&user)], |row| row.get(0))
        .optional()
        .context(reading)?;
    sealed.flatten().map(|sealed| open_password(key, user, &sealed)).transpose()
}

/// Ends everything by which somebody is in, or could get in without the password.
fn end_all(catalogue: &Connection, user: UserId) -> Result<(), StoreError> {
    run(catalogue, "DELETE FROM console_session WHERE person = ?1", [id(&user)])?;
    run(catalogue, "DELETE FROM console_link WHERE person = ?1", [id(&user)])?;
    Ok(())
}

fn use_link(catalogue: &Connection, link: TicketDigest, now_ms: i64) -> Result<Option<User>, StoreError> {
    let person = catalogue
        .prepare_cached("DELETE FROM console_link WHERE digest = ?1 AND ?2 < until_ms RETURNING person")
        .and_then(|mut delete| delete.query_row(params![link.0, now_ms], |row| uuid(row, 0)).optional())
        .context(changing)?;
    let Some(person) = person else { return Ok(None) };
    let user = users(catalogue, "WHERE who.id = ?1", [person.as_bytes().as_slice()])?.pop();
    Ok(user.filter(|user| user.disabled_ms.is_none()))
}

fn create_session(catalogue: &Connection, session: &NewSession, now_ms: i64) -> Result<(), StoreError> {
    let NewSession { digest, user, account, until_ms, idle_until_ms } = session;
    may_sign_in(catalogue, *user)?;
    must_be_member(catalogue, *user, *account)?;
    run(
        catalogue,
        "INSERT INTO console_session (digest, person, account, until_ms, idle_until_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![digest.0, id(user), account.0.as_bytes().as_slice(), until_ms, idle_until_ms],
    )?;
    run(
        catalogue,
        "UPDATE console_user SET last_signed_in_ms = max(coalesce(last_signed_in_ms, ?2), ?2) WHERE id = ?1",
        params![id(user), now_ms],
    )?;
    for (table, end) in [("console_session", "min(until_ms, idle_until_ms)"), ("console_link", "until_ms")] {
        let delete = format!(
            "DELETE FROM {table} WHERE digest IN (SELECT digest FROM {table} WHERE {end} <= ?1 ORDER BY {end} LIMIT ?2)"
        );
        run(catalogue, &delete, params![now_ms, FORGOTTEN_AT_ONCE])?;
    }
    Ok(())
}

fn session(catalogue: &Connection, cookie: TicketDigest, now_ms: i64) -> Result<Option<Session>, StoreError> {
    let mut select = prepare(
        catalogue,
        "SELECT who.id, who.name, account.id, account.name, account.created_ms, role,
           (SELECT count(*) FROM console_membership AS any_of WHERE any_of.person = who.id), until_ms, idle_until_ms
         FROM console_session AS session
         JOIN console_user AS who ON who.id = session.person
         JOIN console_membership AS membership
           ON membership.person = session.person AND membership.account = session.account
         JOIN account ON account.id = session.account
         WHERE digest = ?1 AND ?2 < until_ms AND ?2 < idle_until_ms AND who.disabled_ms IS NULL",
    )?;
    let mut rows = select.query(params![cookie.0, now_ms]).context(reading)?;
    let Some(row) = rows.next().context(reading)? else { return Ok(None) };
    Ok(Some(Session {
        user: UserId(uuid(row, 0).context(reading)?),
        name: parse_name(&row.get::<_, String>(1).context(reading)?)?,
        account: read_account(row, 2).context(reading)?,
        role: parse_role(&row.get::<_, String>(5).context(reading)?)?,
        accounts: row.get::<_, i64>(6).context(reading)?.cast_unsigned(),
        until_ms: row.get(7).context(reading)?,
        idle_until_ms: row.get(8).context(reading)?,
    }))
}

fn set_session_account(catalogue: &Connection, cookie: TicketDigest, account: AccountId) -> Result<(), StoreError> {
    let user = prepare(catalogue, "SELECT person FROM console_session WHERE digest = ?1")?
        .query_row([cookie.0], |row| uuid(row, 0).map(UserId))
        .optional()
        .context(reading)?
        .ok_or_else(refusal::session_is_gone)?;
    must_be_member(catalogue, user, account)?;
    let update = "UPDATE console_session SET account = ?2 WHERE digest = ?1";
    run(catalogue, update, params![cookie.0, account.0.as_bytes().as_slice()])?;
    Ok(())
}
