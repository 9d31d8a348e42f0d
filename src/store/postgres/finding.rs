//! Finds the contacts of a batch of rows, in sets: the number of statements does not depend on the number of rows.
//!
//! A nightly file nearly always has a program's contacts in the order in which they were added. Where the last batch was so, the next
//! one is expected where that one ended: one piece of the table, read in its order, instead of as many searches as there are rows. Who is
//! not there is looked for as ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use foldhash::fast::RandomState;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::absent::Absent;
use super::connection::Context;
use super::contacts::contact_number;
use crate::contact::{ContactId, ContactNumber, FieldTimes, Phone, Profile, ProgramTag};
use crate::import::{IdentityKeys, RowFound, StoredContact};
use crate::store::{Lookup, StoreError};
use crate::tenant::ProgramId;

/// How much of a contact is asked for.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Number,
    Identity,
    Values,
}

impl Part {
    /// After the row's place, in this order.
    fn columns(self) -> &'static str {
        match self {
            Part::Number => "contact.number",
            Part::Identity => "contact.number, salt, phone",
            Part::Values => "contact.number, salt, phone, active, created_ms, contact.customer_id, profile, times",
        }
    }
}

// In what follows the program is not named by `$1` itself. Of a value that they have not seen, statistics say that hardly a row
// has it, and then the database goes through all contacts of the program for every row of the batch. Of a value that it does not
// know beforehand it expects as many rows as of any other (`0004_statistics.sql`), and uses the whole key.

/// The contacts whose column holds a key.
pub(super) fn lookup_sql(column: &str, of_type: &str, part: Part) -> String {
    format!(
        "SELECT wanted.place, {} FROM unnest($2::int[], $3::{of_type}[]) AS wanted (place, key)
         JOIN contact ON contact.program = (SELECT $1::uuid) AND contact.{column} = wanted.key",
        part.columns()
    )
}

/// The contacts of a range of numbers; each stands at place 0.
pub(super) fn range_sql() -> String {
    format!(
        "SELECT 0, {} FROM contact
         WHERE contact.program = (SELECT $1::uuid) AND contact.number >= $2 AND contact.number < $3",
        Part::Values.columns()
    )
}

/// How many contacts more than there are rows are read of a range: some of them are not in the file.
const STRAYS: usize = 64;

/// Where the next batch of a file in the program's order would begin; 0 while it is not known to be in that order.
#[derive(Default)]
pub(super) struct NextInOrder(AtomicI64);

impl NextInOrder {
    fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|next| *next > 0)
    }

    /// Learns from the contacts of a batch, in the file's order: whether nearly each stands closely behind the one before.
    fn learn(&self, found: &[RowFound]) {
        let numbers = found.iter().filter_map(|found| found.by_customer_id).map(ContactNumber::get);
        let (mut last, mut in_order, mut known) = (0, 0, 0_usize);
        for number in numbers {
            known += 1;
            in_order += usize::from(number > last && number - last <= STRAYS as u64);
            last = number;
        }
        let is_in_order = in_order * 2 > found.len() && known > STRAYS;
        self.0.store(if is_in_order { (last + 1).cast_signed() } else { 0 }, Ordering::Relaxed);
    }
}

/// Finds contacts for a batch.
#[derive(Clone)]
pub(super) struct Finder {
    pub(super) program: ProgramId,
    pub(super) tag: ProgramTag,
    /// Of a program that had no contacts when the import began.
    pub(super) absent: Option<Arc<Absent>>,
    pub(super) next_in_order: Arc<NextInOrder>,
}

/// What is found, and the digits of the contacts that the ids of each row found, as far as they were read.
struct Findings {
    rows: Vec<RowFound>,
    phones: Vec<Option<u64>>,
}

impl Finder {
    pub(super) async fn find<'a>(&self, client: &Client, lookup: Lookup<'a>) -> Result<Vec<RowFound>, StoreError> {
        let Lookup { keys, values, phones_of_existing, phones_of_new: _ } = lookup;
        let mut found = Findings { rows: vec![RowFound::default(); keys.len()], phones: vec![None; keys.len()] };
        let by_id =
            Wanted::of(keys, |key| Some(key.signalvine_id.filter(|id| id.tag == self.tag)?.number.get().cast_signed()));
        // Where a row has an id of ours, the customer's one tells only which contact it is.
        let customer_id = |key: &IdentityKeys<'a>| {
            key.customer_id
                .filter(|customer_id| self.absent.as_ref().is_none_or(|absent| !absent.customer_id(customer_id)))
        };
        if values && let Some(next) = self.next_in_order.get() {
            self.in_order(client, next, lookup, &mut found).await?;
        }
        let beside = Wanted::of(keys, |key| customer_id(key).filter(|_| key.signalvine_id.is_some()));
        let is_found = |at: usize| found.rows[at].by_customer_id.is_some();
        let alone =
            Wanted::of_some(keys, |at, key| customer_id(key).filter(|_| key.signalvine_id.is_none() && !is_found(at)));
        let of_alone = match (values, phones_of_existing) {
            (true, _) => Part::Values,
            (false, true) => Part::Identity,
            (false, false) => Part::Number,
        };
        let of_id = if values { Part::Values } else { Part::Identity };
        let (by_id, beside, alone) = tokio::try_join!(
            self.ask(client, "number", "bigint", Type::INT8_ARRAY, by_id, of_id),
            self.ask(client, "customer_id", "text", Type::TEXT_ARRAY, beside, Part::Number),
            self.ask(client, "customer_id", "text", Type::TEXT_ARRAY, alone, of_alone),
        )?;
        for row in &by_id {
            let at = place(row, keys.len())?;
            if keys[at].signalvine_id == Some(self.id(row)?) {
                found.rows[at].by_signalvine_id = Some(contact_number(cell(row, 1)?)?);
                found.read(row, at, lookup, of_id)?;
            }
        }
        for row in beside.iter().chain(&alone) {
            let at = place(row, keys.len())?;
            found.rows[at].by_customer_id = Some(contact_number(cell(row, 1)?)?);
        }
        for row in &alone {
            found.read(row, place(row, keys.len())?, lookup, of_alone)?;
        }
        self.next_in_order.learn(&found.rows);
        self.by_phone(client, lookup, &mut found).await?;
        Ok(found.rows)
    }

    /// Reads the contacts from the number `next` on, as many as there are rows; and gives each row its own, where it is among them.
    async fn in_order(
        &self,
        client: &Client,
        next: i64,
        lookup: Lookup<'_>,
        found: &mut Findings,
    ) -> Result<(), StoreError> {
        let end = next.saturating_add(i64::try_from(lookup.keys.len() + STRAYS).unwrap_or(i64::MAX));
        let rows = client
            .query_typed(&range_sql(), &[(&self.program.0, Type::UUID), (&next, Type::INT8), (&end, Type::INT8)])
            .await
            .context(|| format!("looking contacts of program {} up", self.program))?;
        let mut by_customer_id: HashMap<&str, &Row, RandomState> =
            HashMap::with_capacity_and_hasher(rows.len(), RandomState::default());
        for row in &rows {
            if let Some(customer_id) = cell::<Option<&str>>(row, 6)? {
                by_customer_id.insert(customer_id, row);
            }
        }
        for (at, key) in lookup.keys.iter().enumerate().filter(|(_, key)| key.signalvine_id.is_none()) {
            if let Some(row) = key.customer_id.and_then(|customer_id| by_customer_id.get(customer_id)) {
                found.rows[at].by_customer_id = Some(contact_number(cell(row, 1)?)?);
                found.read(row, at, lookup, Part::Values)?;
            }
        }
        Ok(())
    }

    async fn by_phone(&self, client: &Client, lookup: Lookup<'_>, found: &mut Findings) -> Result<(), StoreError> {
        let mut wanted = Wanted { places: Vec::new(), keys: Vec::new() };
        for (at, key) in lookup.keys.iter().enumerate() {
            if let Some(phone) = key.phone
                && lookup.wants_phone(key, &found.rows[at], found.phones[at])
                && self.absent.as_ref().is_none_or(|absent| !absent.phone(phone))
            {
                wanted.push(at, phone.digits().cast_signed());
            }
        }
        for row in &self.ask(client, "phone", "bigint", Type::INT8_ARRAY, wanted, Part::Number).await? {
            found.rows[place(row, lookup.keys.len())?].by_phone = Some(contact_number(cell(row, 1)?)?);
        }
        Ok(())
    }

    /// The contacts whose column holds a key, each with the place of the row that asked.
    async fn ask<K: ToSql + Sync>(
        &self,
        client: &Client,
        column: &str,
        of_type: &str,
        array: Type,
        wanted: Wanted<K>,
        part: Part,
    ) -> Result<Vec<Row>, StoreError> {
        if wanted.keys.is_empty() {
            return Ok(Vec::new());
        }
        client
            .query_typed(
                &lookup_sql(column, of_type, part),
                &[(&self.program.0, Type::UUID), (&wanted.places, Type::INT4_ARRAY), (&wanted.keys, array)],
            )
            .await
            .context(|| format!("looking contacts of program {} up", self.program))
    }

    fn id(&self, row: &Row) -> Result<ContactId, StoreError> {
        let salt: i64 = cell(row, 2)?;
        Ok(ContactId::new(self.tag, contact_number(cell(row, 1)?)?, salt.cast_unsigned()))
    }
}

impl Findings {
    /// Takes over what was read of the contact that a row's ids found.
    fn read(&mut self, row: &Row, at: usize, lookup: Lookup<'_>, part: Part) -> Result<(), StoreError> {
        if let Part::Number = part {
            return Ok(());
        }
        let number = contact_number(cell(row, 1)?)?;
        let digits = cell::<i64>(row, 3)?.cast_unsigned();
        self.phones[at] = Some(digits);
        if lookup.phones_of_existing && lookup.keys[at].phone.is_some_and(|phone| phone.digits() == digits) {
            self.rows[at].by_phone = Some(number);
        }
        if let Part::Values = part {
            self.rows[at].contact = Some(StoredContact {
                number,
                created_ms: cell(row, 5)?,
                customer_id: cell::<Option<String>>(row, 6)?.unwrap_or_default(),
                phone: Phone::from_digits(digits),
                active: cell(row, 4)?,
                profile: Profile::from_bytes(cell(row, 7)?),
                times: FieldTimes::from_bytes(cell::<Option<Vec<u8>>>(row, 8)?.unwrap_or_default()),
            });
        }
        Ok(())
    }
}

/// Keys of one kind, with the places of their rows.
struct Wanted<K> {
    places: Vec<i32>,
    keys: Vec<K>,
}

impl<K> Wanted<K> {
    fn of<'a>(keys: &'a [IdentityKeys<'a>], key: impl Fn(&'a IdentityKeys<'a>) -> Option<K>) -> Wanted<K> {
        Wanted::of_some(keys, |_, row| key(row))
    }

    /// `key` is told the row's place too.
    fn of_some<'a>(keys: &'a [IdentityKeys<'a>], key: impl Fn(usize, &'a IdentityKeys<'a>) -> Option<K>) -> Wanted<K> {
        let mut wanted = Wanted { places: Vec::new(), keys: Vec::new() };
        for (at, row) in keys.iter().enumerate() {
            if let Some(key) = key(at, row) {
                wanted.push(at, key);
            }
        }
        wanted
    }

    fn push(&mut self, at: usize, key: K) {
        // A batch is some thousand rows.
        self.places.push(i32::try_from(at).unwrap_or(i32::MAX));
        self.keys.push(key);
    }
}

fn place(row: &Row, rows: usize) -> Result<usize, StoreError> {
    let place: i32 = cell(row, 0)?;
    usize::try_from(place)
        .ok()
        .filter(|place| *place < rows)
        .ok_or_else(|| StoreError::Fault(format!("an answer came for row {place} of {rows}")))
}

fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).context(|| "reading a contact")
}
