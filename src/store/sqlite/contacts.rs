//! Reading contacts from a program's file, at one moment: never half an import.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::connection::Context;
use crate::contact::{Contact, ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::store::{ContactFilter, ContactPage, ContactQuery, ContactSnapshot, PageStart, StoreError};

pub(super) const COLUMNS: &str = "number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times";

/// A page and the total, in one read transaction.
pub(super) fn page(program: &mut Connection, tag: ProgramTag, query: ContactQuery) -> Result<ContactPage, StoreError> {
    read_page(program, tag, query).context(|| "reading a page of contacts")
}

fn read_page(program: &mut Connection, tag: ProgramTag, query: ContactQuery) -> rusqlite::Result<ContactPage> {
    let tx = program.transaction()?;
    let ContactQuery { filter, start, count } = query;
    let total = total(&tx, filter)?;
    let (after, offset) = place(&tx, filter, start)?;
    let contacts = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM contact {} AND number > ?2 ORDER BY number LIMIT ?3 OFFSET ?4",
            condition(filter)
        ))?
        .query_map(params![filter.updated_after_ms, after, count, offset], |row| read_contact(row, tag))?
        .collect::<rusqlite::Result<_>>()?;
    tx.commit()?;
    Ok(ContactPage { total, contacts })
}

/// How many contacts the filter lets through.
pub(super) fn count(program: &Connection, filter: ContactFilter) -> Result<u64, StoreError> {
    total(program, filter).context(|| "counting contacts")
}

fn total(tx: &Connection, filter: ContactFilter) -> rusqlite::Result<u64> {
    let total: i64 = match filter.updated_after_ms {
        None => {
            let column = if filter.active_only { "active" } else { "contacts" };
            tx.prepare_cached(&format!("SELECT {column} FROM meta"))?.query_row([], |row| row.get(0))?
        }
        Some(_) => tx
            .prepare_cached(&format!("SELECT count(*) FROM contact {}", condition(filter)))?
            .query_row([filter.updated_after_ms], |row| row.get(0))?,
    };
    Ok(total.cast_unsigned())
}

/// After which number a page begins, and how many are to be passed over behind it. Where the filter lets every contact through,
/// an offset is a number: none was ever removed, so they are dense.
fn place(tx: &Connection, filter: ContactFilter, start: PageStart) -> rusqlite::Result<(i64, i64)> {
    let offset = match start {
        PageStart::After(number) => return Ok((number.get().cast_signed(), 0)),
        PageStart::Offset(offset) => i64::try_from(offset).unwrap_or(i64::MAX),
    };
    let is_dense: bool = tx
        .prepare_cached("SELECT next_number = contacts + 1 AND (NOT ?1 OR active = contacts) FROM meta")?
        .query_row([filter.active_only], |row| row.get(0))?;
    Ok(if is_dense && filter.updated_after_ms.is_none() { (offset, 0) } else { (0, offset) })
}

/// `?1` is the moment in all of them.
fn condition(filter: ContactFilter) -> &'static str {
    match (filter.active_only, filter.updated_after_ms) {
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

pub(super) fn read_contact(row: &Row<'_>, tag: ProgramTag) -> rusqlite::Result<Contact> {
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

/// How many contacts a snapshot gives at a time.
const SNAPSHOT_BATCH: u32 = 2_000;

/// All contacts of a file, in a read transaction of a connection of its own. While it is open, the WAL keeps what it reads.
pub(super) struct Snapshot {
    program: Connection,
    tag: ProgramTag,
    after: i64,
}

impl Snapshot {
    pub(super) fn begin(program: Connection, tag: ProgramTag) -> Result<Snapshot, StoreError> {
        // The transaction begins with its first read; ends with the connection.
        program
            .execute_batch("BEGIN")
            .and_then(|()| program.query_row("SELECT contacts FROM meta", [], |_| Ok(())))
            .context(|| "beginning to read all contacts")?;
        Ok(Snapshot { program, tag, after: 0 })
    }
}

impl ContactSnapshot for Snapshot {
    fn next(&mut self) -> Result<Vec<Contact>, StoreError> {
        let contacts: Vec<Contact> = self
            .program
            .prepare_cached(&format!("SELECT {COLUMNS} FROM contact WHERE number > ?1 ORDER BY number LIMIT ?2"))
            .and_then(|mut select| {
                select.query_map(params![self.after, SNAPSHOT_BATCH], |row| read_contact(row, self.tag))?.collect()
            })
            .context(|| "reading all contacts")?;
        if let Some(last) = contacts.last() {
            self.after = last.id.number.get().cast_signed();
        }
        Ok(contacts)
    }
}
