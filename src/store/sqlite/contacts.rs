//! Reading contacts from a program's file, at one moment: never half an import.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::connection::Context;
use crate::contact::{Contact, ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::store::{ContactPage, ContactQuery, StoreError};

const COLUMNS: &str = "number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times";

/// A page and the total, in one read transaction.
pub(super) fn page(program: &mut Connection, tag: ProgramTag, query: ContactQuery) -> Result<ContactPage, StoreError> {
    read_page(program, tag, query).context(|| "reading a page of contacts")
}

fn read_page(program: &mut Connection, tag: ProgramTag, query: ContactQuery) -> rusqlite::Result<ContactPage> {
    let tx = program.transaction()?;
    let total = total(&tx, query)?;
    let ContactQuery { active_only, updated_after_ms, offset, count } = query;
    let contacts = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM contact {} ORDER BY number LIMIT ?2 OFFSET ?3",
            condition(active_only, updated_after_ms)
        ))?
        .query_map(params![updated_after_ms, count, i64::try_from(offset).unwrap_or(i64::MAX)], |row| {
            read_contact(row, tag)
        })?
        .collect::<rusqlite::Result<_>>()?;
    tx.commit()?;
    Ok(ContactPage { total, contacts })
}

fn total(tx: &Connection, query: ContactQuery) -> rusqlite::Result<u64> {
    let ContactQuery { active_only, updated_after_ms, offset: _, count: _ } = query;
    let total: i64 = match updated_after_ms {
        None => {
            let column = if active_only { "active" } else { "contacts" };
            tx.prepare_cached(&format!("SELECT {column} FROM meta"))?.query_row([], |row| row.get(0))?
        }
        Some(_) => tx
            .prepare_cached(&format!("SELECT count(*) FROM contact {}", condition(active_only, updated_after_ms)))?
            .query_row([updated_after_ms], |row| row.get(0))?,
    };
    Ok(total.cast_unsigned())
}

/// `?1` is the moment in all of them.
fn condition(active_only: bool, updated_after_ms: Option<i64>) -> &'static str {
    match (active_only, updated_after_ms) {
        (true, Some(_)) => "WHERE active AND updated_ms > ?1",
        (false, Some(_)) => "WHERE updated_ms > ?1",
        (true, None) => "WHERE active AND ?1 IS NULL",
        (false, None) => "WHERE ?1 IS NULL",
    }
}

/// The contact of this whole id.
pub(super) fn contact(program: &mut Connection, id: ContactId) -> Result<Option<Contact>, StoreError> {
    let found = program
        .prepare_cached(&format!("SELECT {COLUMNS} FROM contact WHERE number = ?1"))
        .and_then(|mut select| {
            select.query_row([id.number.get().cast_signed()], |row| read_contact(row, id.tag)).optional()
        })
        .context(|| "reading a contact")?;
    Ok(found.filter(|contact| contact.id == id))
}

fn read_contact(row: &Row<'_>, tag: ProgramTag) -> rusqlite::Result<Contact> {
    let number: i64 = row.get(0)?;
    let salt: i64 = row.get(1)?;
    let contact_number =
        ContactNumber::new(number.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))?;
    Ok(Contact {
        id: ContactId::new(tag, contact_number, salt.cast_unsigned()),
        customer_id: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
        phone: Phone::from_digits(row.get::<_, i64>(2)?.cast_unsigned()),
        active: row.get(3)?,
        created_ms: row.get(4)?,
        updated_ms: row.get(5)?,
        profile: Profile::from_bytes(row.get(7)?),
        times: FieldTimes::from_bytes(row.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default()),
    })
}
