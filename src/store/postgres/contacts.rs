//! Reading contacts, each time in one statement, so at one moment: never half an import.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::connection::Context;
use crate::contact::{Contact, ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::store::{ContactPage, ContactQuery, StoreError};
use crate::tenant::ProgramId;

const COLUMNS: &str = "number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times";

/// A page and the total. The total is a row of its own where the page is empty.
pub(super) async fn page(
    client: &Client,
    program: ProgramId,
    tag: ProgramTag,
    query: ContactQuery,
) -> Result<ContactPage, StoreError> {
    let reading = || "reading a page of contacts";
    let ContactQuery { active_only, updated_after_ms, offset, count } = query;
    let condition = condition(active_only, updated_after_ms);
    let total = match (updated_after_ms, active_only) {
        (None, false) => "SELECT contacts FROM stock WHERE program = $1".to_owned(),
        (None, true) => "SELECT active FROM stock WHERE program = $1".to_owned(),
        (Some(_), _) => format!("SELECT count(*) FROM contact WHERE {condition}"),
    };
    let rows = client
        .query_typed(
            &format!(
                "SELECT page.*, total.total FROM ({total}) AS total (total) LEFT JOIN (
                     SELECT {COLUMNS} FROM contact WHERE {condition} ORDER BY number LIMIT $3 OFFSET $4
                 ) AS page ON true ORDER BY page.number"
            ),
            &[
                (&program.0, Type::UUID),
                (&updated_after_ms, Type::INT8),
                (&i64::from(count), Type::INT8),
                (&i64::try_from(offset).unwrap_or(i64::MAX), Type::INT8),
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

/// `$2` is the moment in all of them.
fn condition(active_only: bool, updated_after_ms: Option<i64>) -> &'static str {
    match (active_only, updated_after_ms) {
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

fn read_contact(row: &Row, tag: ProgramTag) -> Result<Contact, StoreError> {
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
