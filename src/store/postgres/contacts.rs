//! Reading contacts, each time in one statement, so at one moment: never half an import.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::accounts::{PROGRAM_COLUMNS, PROGRAM_COLUMNS_COUNT, read_program};
use super::connection::Context;
use crate::contact::{Contact, ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::store::{ContactFilter, ContactPage, ContactQuery, PageStart, StoreError};
use crate::tenant::{AccountId, Program, ProgramId};

pub(super) const COLUMNS: &str = "number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times";

/// A page and the total. The total is a row of its own where the page is empty.
pub(super) async fn page(
    client: &Client,
    program: ProgramId,
    tag: ProgramTag,
    query: ContactQuery,
) -> Result<ContactPage, StoreError> {
    let reading = || "reading a page of contacts";
    let ContactQuery { filter, start, count } = query;
    let condition = condition(filter);
    let total = match (filter.updated_after_ms, filter.active_only) {
        (None, false) => "SELECT contacts FROM stock WHERE program = $1".to_owned(),
        (None, true) => "SELECT active FROM stock WHERE program = $1".to_owned(),
        (Some(_), _) => format!("SELECT count(*) FROM contact WHERE {condition}"),
    };
    let (after, offset) = place(client, program, filter, start).await?;
    let rows = client
        .query_typed(
            &format!(
                "SELECT page.*, total.total FROM ({total}) AS total (total) LEFT JOIN (
                     SELECT {COLUMNS} FROM contact WHERE {condition} AND number > $5
                     ORDER BY number LIMIT $3 OFFSET $4
                 ) AS page ON true ORDER BY page.number"
            ),
            &[
                (&program.0, Type::UUID),
                (&filter.updated_after_ms, Type::INT8),
                (&i64::from(count), Type::INT8),
                (&offset, Type::INT8),
                (&after, Type::INT8),
            ],
        )
        .await
        .context(reading)?;
    let mut page = ContactPage { total: 0, contacts: Vec::with_capacity(rows.len()) };
    for row in &rows {
        page.total = row.try_get::<_, i64>(9).context(reading)?.cast_unsigned();
        if row.try_get::<_, Option<i64>>(0).context(reading)?.is_some() {
            page.contacts.push(read_contact(row, tag)?);
        }
    }
    Ok(page)
}

/// After which number a page begins, and how many are to be passed over behind it. Where the filter lets every contact through,
/// an offset is a number: none was ever removed, so they are dense. (Should an import add an inactive one between this statement and
/// the page's, the page is that of a moment ago.)
async fn place(
    client: &Client,
    program: ProgramId,
    filter: ContactFilter,
    start: PageStart,
) -> Result<(i64, i64), StoreError> {
    let offset = match start {
        PageStart::After(number) => return Ok((number.get().cast_signed(), 0)),
        PageStart::Offset(0) => return Ok((0, 0)),
        PageStart::Offset(offset) => i64::try_from(offset).unwrap_or(i64::MAX),
    };
    let is_dense: bool = client
        .query_typed_one(
            "SELECT next_number = contacts + 1 AND (NOT $2 OR active = contacts) FROM stock WHERE program = $1",
            &[(&program.0, Type::UUID), (&filter.active_only, Type::BOOL)],
        )
        .await
        .and_then(|row| row.try_get(0))
        .context(|| "reading a page of contacts")?;
    Ok(if is_dense && filter.updated_after_ms.is_none() { (offset, 0) } else { (0, offset) })
}

/// The programs of an account, each with how many contacts the filter lets through.
pub(super) async fn totals(
    client: &Client,
    account: AccountId,
    filter: ContactFilter,
) -> Result<Vec<(Program, u64)>, StoreError> {
    let counting = || "counting an account's contacts";
    let total = match (filter.updated_after_ms, filter.active_only) {
        (None, false) => "stock.contacts",
        (None, true) => "stock.active",
        (Some(_), false) => "(SELECT count(*) FROM contact WHERE contact.program = program.id AND updated_ms > $2)",
        (Some(_), true) => {
            "(SELECT count(*) FROM contact WHERE contact.program = program.id AND contact.active AND updated_ms > $2)"
        }
    };
    let rows = client
        .query_typed(
            &format!(
                "SELECT {PROGRAM_COLUMNS}, {total} FROM program JOIN stock ON stock.program = program.id
                 WHERE program.account = $1 AND ($2::bigint IS NULL OR true) ORDER BY program.number"
            ),
            &[(&account.0, Type::UUID), (&filter.updated_after_ms, Type::INT8)],
        )
        .await
        .context(counting)?;
    let total = |row: &Row| row.try_get::<_, i64>(PROGRAM_COLUMNS_COUNT).map(i64::cast_unsigned).context(counting);
    rows.iter().map(|row| Ok((read_program(row)?, total(row)?))).collect()
}

/// `$2` is the moment in all of them.
fn condition(filter: ContactFilter) -> &'static str {
    match (filter.active_only, filter.updated_after_ms) {
        (true, Some(_)) => "program = $1 AND active AND updated_ms > $2",
        (false, Some(_)) => "program = $1 AND updated_ms > $2",
        (true, None) => "program = $1 AND active AND $2::bigint IS NULL",
        (false, None) => "program = $1 AND $2::bigint IS NULL",
    }
}

/// The contact of this whole id.
pub(super) async fn contact(client: &Client, program: ProgramId, id: ContactId) -> Result<Option<Contact>, StoreError> {
    let found = client
        .query_typed_opt(
            &format!("SELECT {COLUMNS} FROM contact WHERE program = $1 AND number = $2"),
            &[(&program.0, Type::UUID), (&id.number.get().cast_signed(), Type::INT8)],
        )
        .await
        .context(|| "reading a contact")?;
    let contact = found.as_ref().map(|row| read_contact(row, id.tag)).transpose()?;
    Ok(contact.filter(|contact| contact.id == id))
}

pub(super) fn read_contact(row: &Row, tag: ProgramTag) -> Result<Contact, StoreError> {
    let reading = || "reading a contact";
    let number = contact_number(row.try_get(0).context(reading)?)?;
    let salt: i64 = row.try_get(1).context(reading)?;
    Ok(Contact {
        id: ContactId::new(tag, number, salt.cast_unsigned()),
        phone: Phone::from_digits(row.try_get::<_, i64>(2).context(reading)?.cast_unsigned()),
        active: row.try_get(3).context(reading)?,
        created_ms: row.try_get(4).context(reading)?,
        updated_ms: row.try_get(5).context(reading)?,
        customer_id: row.try_get::<_, Option<String>>(6).context(reading)?.unwrap_or_default(),
        profile: Profile::from_bytes(row.try_get(7).context(reading)?),
        times: FieldTimes::from_bytes(row.try_get::<_, Option<Vec<u8>>>(8).context(reading)?.unwrap_or_default()),
    })
}

/// A contact's number as it was kept.
pub(super) fn contact_number(number: i64) -> Result<ContactNumber, StoreError> {
    u64::try_from(number)
        .ok()
        .and_then(ContactNumber::new)
        .ok_or_else(|| StoreError::Fault(format!("{number} is no number of a contact")))
}
