//! Finds the contacts of a batch in a program's file.
//!
//! A nightly file nearly always has a program's contacts in the order in which they were added, so each row is first looked for where
//! the last one was found, one further on: a step in a table costs a fifth of a search in an index and another one in the table. Rows
//! that are elsewhere are searched for; where they are too many, the rest of the batch is looked up in the order of its keys, so that
//! neighbours share pages.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::added::AddedKeys;
use crate::contact::{ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::import::{IdentityKeys, RowFound, StoredContact};
use crate::store::Lookup;

/// So many rows of a batch may be elsewhere before it counts as one in another order.
const STRAYS_ENOUGH: usize = 32;

const BY_CUSTOMER_ID: &str = "SELECT number FROM contact WHERE customer_id = ?1";

pub(super) struct Finder<'a> {
    pub(super) connection: &'a Connection,
    pub(super) tag: ProgramTag,
    /// What leads from keys to contacts where the program has no indexes at the moment.
    pub(super) added: Option<&'a AddedKeys>,
}

impl Finder<'_> {
    /// One answer for each of the keys; and who would come next, in the program's order.
    pub(super) fn find(
        &self,
        lookup: Lookup<'_>,
        next_in_order: Option<ContactNumber>,
    ) -> rusqlite::Result<(Vec<RowFound>, Option<ContactNumber>)> {
        let rows = lookup.keys.len();
        let mut finding =
            Finding { lookup, tag: self.tag, found: vec![RowFound::default(); rows], phones: vec![None; rows] };
        // Where there are no indexes, the file is hardly about contacts that there are.
        let (scanned, next_in_order) =
            if self.added.is_some() { (0, None) } else { self.in_order(&mut finding, next_in_order)? };
        self.by_customer_id(&mut finding, scanned)?;
        self.by_number(&mut finding, scanned)?;
        self.by_phone(&mut finding)?;
        Ok((finding.found, next_in_order))
    }

    /// Goes through the table from `next` on, as long as the batch goes with it: says how many of its rows are done.
    fn in_order(
        &self,
        finding: &mut Finding<'_>,
        mut next: Option<ContactNumber>,
    ) -> rusqlite::Result<(usize, Option<ContactNumber>)> {
        let mut select = self.connection.prepare_cached(&format!("{} WHERE number >= ?1 ORDER BY number", select()))?;
        let mut by_customer_id = self.connection.prepare_cached(BY_CUSTOMER_ID)?;
        let (mut at, mut strays, mut sought) = (0, 0, None);
        loop {
            let mut rows = select.query([next.map_or(i64::MAX, |next| next.get().cast_signed())])?;
            let mut row = rows.next()?;
            next = loop {
                let Some(key) = finding.lookup.keys.get(at) else { return Ok((at, next)) };
                if strays > STRAYS_ENOUGH && strays * 2 > at {
                    return Ok((at, None));
                }
                if let Some(here) = row
                    && self.is_meant(key, here)?
                {
                    let number = finding.take(at, here)?;
                    next = ContactNumber::new(number.get() + 1);
                    at += 1;
                    row = rows.next()?;
                    continue;
                }
                let elsewhere = match (key.signalvine_id, key.customer_id) {
                    // It is not where it was said to be.
                    _ if sought == Some(at) => None,
                    (Some(id), _) if id.tag == self.tag => Some(id.number),
                    (None, Some(customer_id)) => {
                        strays += 1;
                        by_customer_id.query_row([customer_id], number).optional()?
                    }
                    (Some(_), _) | (None, None) => None,
                };
                let Some(number) = elsewhere else {
                    at += 1;
                    continue;
                };
                strays += usize::from(key.signalvine_id.is_some());
                sought = Some(at);
                break Some(number);
            };
        }
    }

    /// Whether a row of the table is the one that the row of the file names.
    fn is_meant(&self, key: &IdentityKeys<'_>, row: &Row<'_>) -> rusqlite::Result<bool> {
        Ok(match (key.signalvine_id, key.customer_id) {
            (Some(id), _) => id.tag == self.tag && number(row)? == id.number,
            (None, Some(customer_id)) => has_customer_id(row, customer_id)?,
            (None, None) => false,
        })
    }

    /// For rows from `from` on, and for those before whose contact was found by its own id.
    fn by_customer_id(&self, finding: &mut Finding<'_>, from: usize) -> rusqlite::Result<()> {
        let asked = |(at, key): (usize, &IdentityKeys<'_>)| at >= from || key.signalvine_id.is_some();
        let Finding { lookup, found, .. } = finding;
        let mut wanted: Vec<(usize, &str)> = lookup
            .keys
            .iter()
            .enumerate()
            .filter(|row| asked(*row) && found[row.0].by_customer_id.is_none())
            .filter_map(|(at, key)| Some((at, key.customer_id?)))
            .collect();
        if let Some(added) = self.added {
            let mut has_it =
                self.connection.prepare_cached("SELECT customer_id = ?2 FROM contact WHERE number = ?1")?;
            added.expect_customer_ids(wanted.iter().map(|(_, customer_id)| *customer_id));
            for (at, customer_id) in wanted {
                found[at].by_customer_id = added.find_customer_id(customer_id, |number| {
                    has_it.query_row(params![number.get().cast_signed(), customer_id], is_so)
                })?;
            }
            return Ok(());
        }
        wanted.sort_unstable_by_key(|(_, customer_id)| *customer_id);
        let mut select = self.connection.prepare_cached(BY_CUSTOMER_ID)?;
        for (at, customer_id) in wanted {
            found[at].by_customer_id = select.query_row([customer_id], number).optional()?;
        }
        Ok(())
    }

    /// Reads the contacts that the ids name, from row `from` on, as far as anything of them is wanted.
    fn by_number(&self, finding: &mut Finding<'_>, from: usize) -> rusqlite::Result<()> {
        let Lookup { keys, values, phones_of_existing, .. } = finding.lookup;
        let mut wanted: Vec<(usize, ContactNumber)> = keys
            .iter()
            .enumerate()
            .skip(from)
            .filter_map(|(at, key)| match key.signalvine_id {
                Some(id) => (id.tag == self.tag).then_some((at, id.number)),
                None => Some((at, finding.found[at].by_customer_id?)).filter(|_| values || phones_of_existing),
            })
            .collect();
        wanted.sort_unstable_by_key(|(_, number)| *number);
        let mut select = self.connection.prepare_cached(&format!("{} WHERE number = ?1", select()))?;
        for (at, number) in wanted {
            let mut rows = select.query([number.get().cast_signed()])?;
            if let Some(row) = rows.next()? {
                finding.take(at, row)?;
            }
        }
        Ok(())
    }

    fn by_phone(&self, finding: &mut Finding<'_>) -> rusqlite::Result<()> {
        let Finding { lookup, found, phones, .. } = finding;
        let asked = |row: &(usize, Phone)| lookup.wants_phone(&lookup.keys[row.0], &found[row.0], phones[row.0]);
        let mut wanted: Vec<(usize, Phone)> =
            lookup.keys.iter().enumerate().filter_map(|(at, key)| Some((at, key.phone?))).filter(asked).collect();
        if let Some(added) = self.added {
            let mut has_it = self.connection.prepare_cached("SELECT phone = ?2 FROM contact WHERE number = ?1")?;
            added.expect_phones(wanted.iter().map(|(_, phone)| *phone));
            for (at, phone) in wanted {
                found[at].by_phone = added.find_phone(phone, |number| {
                    has_it.query_row([number.get().cast_signed(), phone.digits().cast_signed()], is_so)
                })?;
            }
            return Ok(());
        }
        wanted.sort_unstable_by_key(|(_, phone)| *phone);
        let mut select = self.connection.prepare_cached("SELECT number FROM contact WHERE phone = ?1")?;
        for (at, phone) in wanted {
            found[at].by_phone = select.query_row([phone.digits().cast_signed()], number).optional()?;
        }
        Ok(())
    }
}

/// What has been found of a batch so far.
struct Finding<'k> {
    lookup: Lookup<'k>,
    tag: ProgramTag,
    found: Vec<RowFound>,
    /// The phones of the contacts that the ids found.
    phones: Vec<Option<u64>>,
}

impl Finding<'_> {
    /// Takes a row of the table as what a row of the file names, if it is.
    fn take(&mut self, at: usize, row: &Row<'_>) -> rusqlite::Result<ContactNumber> {
        let Lookup { keys, values, phones_of_existing, .. } = self.lookup;
        let (key, number) = (&keys[at], number(row)?);
        let found = &mut self.found[at];
        if let Some(id) = key.signalvine_id {
            // The number is right; the salt proves that the whole id is.
            if ContactId::new(self.tag, number, row.get::<_, i64>(1)?.cast_unsigned()) != id {
                return Ok(number);
            }
            found.by_signalvine_id = Some(number);
        }
        if let Some(customer_id) = key.customer_id
            && has_customer_id(row, customer_id)?
        {
            found.by_customer_id = Some(number);
        }
        let digits = row.get::<_, i64>(2)?.cast_unsigned();
        self.phones[at] = Some(digits);
        if phones_of_existing && key.phone.is_some_and(|phone| phone.digits() == digits) {
            found.by_phone = Some(number);
        }
        if values {
            found.contact = Some(stored_contact(row, number, digits)?);
        }
        Ok(number)
    }
}

fn select() -> &'static str {
    "SELECT number, salt, phone, active, created_ms, customer_id, profile, times FROM contact"
}

/// Whether a contact that may have a key has it: it may have none, too.
fn is_so(row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(row.get::<_, Option<bool>>(0)?.unwrap_or_default())
}

/// The number in the first column.
pub(super) fn number(row: &Row<'_>) -> rusqlite::Result<ContactNumber> {
    let number: i64 = row.get(0)?;
    ContactNumber::new(number.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

fn has_customer_id(row: &Row<'_>, customer_id: &str) -> rusqlite::Result<bool> {
    let held = row
        .get_ref(5)?
        .as_bytes_or_null()
        .map_err(|fault| rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, Box::new(fault)))?;
    Ok(held == Some(customer_id.as_bytes()))
}

fn stored_contact(row: &Row<'_>, number: ContactNumber, digits: u64) -> rusqlite::Result<StoredContact> {
    Ok(StoredContact {
        number,
        created_ms: row.get(4)?,
        customer_id: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        phone: Phone::from_digits(digits),
        active: row.get(3)?,
        profile: Profile::from_bytes(row.get(6)?),
        times: FieldTimes::from_bytes(row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default()),
    })
}
