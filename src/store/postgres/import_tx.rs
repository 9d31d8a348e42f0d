//! An import's one transaction. It finds and changes what a plan says, and decides nothing. Rows go in sets: the number of
//! statements does not depend on the number of rows of a batch.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::absent::Absent;
use super::connection::{Context, IMPORT_ANSWERED_WITHIN, within};
use super::contacts::contact_number;
use super::import_connection::ImportConnection;
use super::{Shared, accounts, blocking, payloads, queue};
use crate::command::Claim;
use crate::contact::{ContactId, FieldTimes, Phone, Profile, ProgramTag};
use crate::import::{Addition, Change, IdentityKeys, Report, RowFound, StoredContact, Update};
use crate::store::stock::Stock;
use crate::store::{Begin, ImportContext, ImportTx, Lookup, StoreError, record};
use crate::tenant::ProgramId;

/// Bytes of randomness for one contact's salt.
const SALT_BYTES: usize = 8;

pub(super) struct PostgresImport {
    connection: Arc<ImportConnection>,
    handle: Handle,
    claim: Claim,
    context: ImportContext,
    now_ms: i64,
    stock: Stock,
    /// Of a program that had no contacts when the import began.
    absent: Option<Absent>,
}

/// Opens the transaction, or tells that the command was applied already. Blocking.
pub(super) fn begin(shared: &Arc<Shared>, handle: &Handle, claim: &Claim, now_ms: i64) -> Result<Begin, StoreError> {
    let connection = blocking(handle, within(IMPORT_ANSWERED_WITHIN, ImportConnection::open(shared, claim)))?;
    let begun = blocking(handle, within(IMPORT_ANSWERED_WITHIN, start(connection.client()?, claim)))?;
    let Started { context, stock } = match begun {
        Beginning::AlreadyApplied(report) => return Ok(Begin::AlreadyApplied(report)),
        Beginning::Started(started) => *started,
    };
    Ok(Begin::Open(Box::new(PostgresImport {
        connection: Arc::new(connection),
        handle: handle.clone(),
        claim: claim.clone(),
        context,
        now_ms,
        stock,
        absent: (stock.contacts == 0).then(Absent::of_empty_program),
    })))
}

enum Beginning {
    AlreadyApplied(Report),
    Started(Box<Started>),
}

struct Started {
    context: ImportContext,
    stock: Stock,
}

async fn start(client: &Client, claim: &Claim) -> Result<Beginning, StoreError> {
    let beginning = || format!("beginning the import of command {}", claim.command);
    // Held to the end: nobody else can be about to apply it.
    let row = client
        .query_typed_opt(
            "SELECT next_number, contacts, active FROM stock WHERE program = $1 FOR UPDATE",
            &[(&claim.program.0, Type::UUID)],
        )
        .await
        .context(beginning)?
        .ok_or_else(|| StoreError::Fault(format!("program {} has no stock", claim.program)))?;
    let stock = Stock {
        next_number: row.try_get(0).context(beginning)?,
        contacts: row.try_get(1).context(beginning)?,
        active: row.try_get(2).context(beginning)?,
    };
    if let Some(report) = applied(client, claim).await? {
        return Ok(Beginning::AlreadyApplied(record::report_from_json(&report)?));
    }
    queue::check_claim(client, claim).await?;
    not_cancelled(client, claim).await?;
    let program = accounts::the_program(client, claim.account, claim.program).await?;
    let schema = accounts::schema(client, claim.program).await?;
    let next_number = contact_number(stock.next_number)?;
    let context = ImportContext { schema, region: program.region, tag: program.tag, next_number };
    Ok(Beginning::Started(Box::new(Started { context, stock })))
}

/// Refuses a command that somebody asked to be cancelled.
async fn not_cancelled(client: &Client, claim: &Claim) -> Result<(), StoreError> {
    let asking = || format!("asking whether command {} was cancelled", claim.command);
    let row = client
        .query_typed_one(
            "SELECT cancelled_by FROM command WHERE program = $1 AND seq = $2",
            &[(&claim.program.0, Type::UUID), (&claim.sequence, Type::INT8)],
        )
        .await
        .context(asking)?;
    let by: Option<String> = row.try_get(0).context(asking)?;
    by.map_or(Ok(()), |by| Err(StoreError::Cancelled(by)))
}

async fn applied(client: &Client, claim: &Claim) -> Result<Option<String>, StoreError> {
    let asking = || format!("asking whether command {} was applied", claim.command);
    let found = client
        .query_typed_opt(
            "SELECT report FROM command WHERE program = $1 AND seq = $2 AND finished_ms IS NULL",
            &[(&claim.program.0, Type::UUID), (&claim.sequence, Type::INT8)],
        )
        .await
        .context(asking)?;
    found.map_or(Ok(None), |row| row.try_get(0)).context(asking)
}

impl ImportTx for PostgresImport {
    fn context(&self) -> &ImportContext {
        &self.context
    }

    fn payload(&mut self) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(payloads::open(&self.connection, &self.handle, &self.claim)?))
    }

    fn lookup(&mut self, lookup: Lookup<'_>) -> Result<Vec<RowFound>, StoreError> {
        let finder = Finder {
            client: self.connection.client()?,
            program: self.claim.program,
            tag: self.context.tag,
            absent: self.absent.as_ref(),
        };
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, finder.find(lookup)))
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut stock = self.stock;
        for change in changes {
            match change {
                Change::Add(addition) => stock.add(addition)?,
                Change::Update(update) => stock.update(update),
            }
        }
        let changer = Changer { client: self.connection.client()?, program: self.claim.program, now_ms: self.now_ms };
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, changer.change(changes)))?;
        self.stock = stock;
        if let Some(absent) = &mut self.absent {
            absent.learn(changes);
        }
        Ok(())
    }

    fn commit(self: Box<Self>, report: &Report) -> Result<(), StoreError> {
        let report = record::report_to_json(report)?;
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, self.commit_with(&report)))
    }

    fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        let undoing = || format!("rolling the import of command {} back", self.claim.command);
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, self.connection.end("ROLLBACK", undoing)))
    }
}

impl PostgresImport {
    async fn commit_with(&self, report: &str) -> Result<(), StoreError> {
        let committing = || format!("committing the import of command {}", self.claim.command);
        let client = self.connection.client()?;
        queue::fence(client, &self.claim).await?;
        let Stock { next_number, contacts, active } = self.stock;
        // Who cancels it locks the lane as well: it is cancelled by now, or cannot be before this is committed.
        let reported = client
            .execute_typed(
                "WITH stock AS (
                     UPDATE stock SET next_number = $3, contacts = $4, active = $5 WHERE program = $1
                 )
                 UPDATE command SET report = $6 WHERE program = $1 AND seq = $2 AND cancelled_by IS NULL",
                &[
                    (&self.claim.program.0, Type::UUID),
                    (&self.claim.sequence, Type::INT8),
                    (&next_number, Type::INT8),
                    (&contacts, Type::INT8),
                    (&active, Type::INT8),
                    (&report, Type::TEXT),
                ],
            )
            .await
            .context(committing)?;
        if reported == 0 {
            not_cancelled(client, &self.claim).await?;
            return Err(StoreError::Fault(format!("{}: the command is not there", committing())));
        }
        self.connection.end("COMMIT", committing).await
    }
}

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

/// See [`Changer::free_keys`].
pub(super) const FREE_KEYS: &str =
    "UPDATE contact SET customer_id = CASE WHEN freed.customer_id THEN NULL ELSE contact.customer_id END,
                   phone = CASE WHEN freed.phone THEN -contact.number ELSE contact.phone END
                 FROM unnest($2::bigint[], $3::bool[], $4::bool[]) AS freed (number, customer_id, phone)
                 WHERE contact.program = (SELECT $1::uuid) AND contact.number = freed.number";

/// What is NULL stays as it is.
pub(super) const UPDATE: &str = "UPDATE contact SET active = coalesce(new.active, contact.active),
                   profile = coalesce(new.profile, contact.profile), times = new.times, updated_ms = $8,
                   customer_id = coalesce(new.customer_id, contact.customer_id),
                   phone = coalesce(new.phone, contact.phone)
                 FROM unnest($2::bigint[], $3::bool[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[])
                   AS new (number, active, profile, times, customer_id, phone)
                 WHERE contact.program = (SELECT $1::uuid) AND contact.number = new.number";

/// Finds contacts for a batch.
struct Finder<'a> {
    client: &'a Client,
    program: ProgramId,
    tag: ProgramTag,
    absent: Option<&'a Absent>,
}

/// What is found, and the digits of the contacts that the ids of each row found, as far as they were read.
struct Findings {
    rows: Vec<RowFound>,
    phones: Vec<Option<u64>>,
}

impl Finder<'_> {
    async fn find<'a>(&self, lookup: Lookup<'a>) -> Result<Vec<RowFound>, StoreError> {
        let Lookup { keys, values, phones_of_existing, phones_of_new: _ } = lookup;
        let mut found = Findings { rows: vec![RowFound::default(); keys.len()], phones: vec![None; keys.len()] };
        let by_id =
            Wanted::of(keys, |key| Some(key.signalvine_id.filter(|id| id.tag == self.tag)?.number.get().cast_signed()));
        // Where a row has an id of ours, the customer's one tells only which contact it is.
        let customer_id = |key: &IdentityKeys<'a>| {
            key.customer_id.filter(|customer_id| self.absent.is_none_or(|absent| !absent.customer_id(customer_id)))
        };
        let beside = Wanted::of(keys, |key| customer_id(key).filter(|_| key.signalvine_id.is_some()));
        let alone = Wanted::of(keys, |key| customer_id(key).filter(|_| key.signalvine_id.is_none()));
        let of_alone = match (values, phones_of_existing) {
            (true, _) => Part::Values,
            (false, true) => Part::Identity,
            (false, false) => Part::Number,
        };
        let of_id = if values { Part::Values } else { Part::Identity };
        let (by_id, beside, alone) = tokio::try_join!(
            self.ask("number", "bigint", Type::INT8_ARRAY, by_id, of_id),
            self.ask("customer_id", "text", Type::TEXT_ARRAY, beside, Part::Number),
            self.ask("customer_id", "text", Type::TEXT_ARRAY, alone, of_alone),
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
        self.by_phone(lookup, &mut found).await?;
        Ok(found.rows)
    }

    async fn by_phone(&self, lookup: Lookup<'_>, found: &mut Findings) -> Result<(), StoreError> {
        let mut wanted = Wanted { places: Vec::new(), keys: Vec::new() };
        for (at, key) in lookup.keys.iter().enumerate() {
            if let Some(phone) = key.phone
                && lookup.wants_phone(key, &found.rows[at], found.phones[at])
                && self.absent.is_none_or(|absent| !absent.phone(phone))
            {
                wanted.push(at, phone.digits().cast_signed());
            }
        }
        for row in &self.ask("phone", "bigint", Type::INT8_ARRAY, wanted, Part::Number).await? {
            found.rows[place(row, lookup.keys.len())?].by_phone = Some(contact_number(cell(row, 1)?)?);
        }
        Ok(())
    }

    /// The contacts whose column holds a key, each with the place of the row that asked.
    async fn ask<K: ToSql + Sync>(
        &self,
        column: &str,
        of_type: &str,
        array: Type,
        wanted: Wanted<K>,
        part: Part,
    ) -> Result<Vec<Row>, StoreError> {
        if wanted.keys.is_empty() {
            return Ok(Vec::new());
        }
        self.client
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
        let mut wanted = Wanted { places: Vec::new(), keys: Vec::new() };
        for (at, row) in keys.iter().enumerate() {
            if let Some(key) = key(row) {
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

/// Makes changes.
struct Changer<'a> {
    client: &'a Client,
    program: ProgramId,
    now_ms: i64,
}

impl Changer<'_> {
    /// In sets of which none changes a contact twice; usually that is one set.
    async fn change(&self, changes: &[Change]) -> Result<(), StoreError> {
        let (mut additions, mut updates, mut touched) = (Vec::new(), Vec::new(), HashSet::new());
        for change in changes {
            let number = match change {
                Change::Add(addition) => addition.number,
                Change::Update(update) => update.number,
            };
            if !touched.insert(number) {
                self.change_set(&additions, &updates).await?;
                (additions, updates) = (Vec::new(), Vec::new());
                touched = HashSet::from([number]);
            }
            match change {
                Change::Add(addition) => additions.push(addition),
                Change::Update(update) => updates.push(update),
            }
        }
        self.change_set(&additions, &updates).await
    }

    /// Updates first: what a contact gives up may be an added one's.
    async fn change_set(&self, additions: &[&Addition], updates: &[&Update]) -> Result<(), StoreError> {
        if !updates.is_empty() {
            self.free_keys(updates).await?;
            self.update(updates).await?;
        }
        if !additions.is_empty() {
            self.add(additions).await?;
        }
        Ok(())
    }

    /// Takes the keys away that are to change, so that no unique index ever sees two holders while they pass from one
    /// contact to another. A phone cannot be nobody's: it becomes a number that is no phone, and that no other contact has.
    async fn free_keys(&self, updates: &[&Update]) -> Result<(), StoreError> {
        let changed = |update: &&&Update| update.customer_id.is_some() || update.phone.is_some();
        let freed: Vec<&&Update> = updates.iter().filter(changed).collect();
        if freed.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = freed.iter().map(|update| update.number.get().cast_signed()).collect();
        let customer_ids: Vec<bool> = freed.iter().map(|update| update.customer_id.is_some()).collect();
        let phones: Vec<bool> = freed.iter().map(|update| update.phone.is_some()).collect();
        self.client
            .execute_typed(
                FREE_KEYS,
                &[
                    (&self.program.0, Type::UUID),
                    (&numbers, Type::INT8_ARRAY),
                    (&customer_ids, Type::BOOL_ARRAY),
                    (&phones, Type::BOOL_ARRAY),
                ],
            )
            .await
            .context(|| self.changing())?;
        Ok(())
    }

    async fn update(&self, updates: &[&Update]) -> Result<(), StoreError> {
        let numbers: Vec<i64> = updates.iter().map(|update| update.number.get().cast_signed()).collect();
        let actives: Vec<Option<bool>> = updates.iter().map(|update| update.active).collect();
        let profiles: Vec<Option<&[u8]>> =
            updates.iter().map(|update| update.profile.as_ref().map(Profile::as_bytes)).collect();
        let times: Vec<Option<&[u8]>> =
            updates.iter().map(|update| Some(update.times.as_bytes()).filter(|times| !times.is_empty())).collect();
        // Blank clears it; it was cleared when it was freed.
        let customer_ids: Vec<Option<&str>> =
            updates.iter().map(|update| update.customer_id.as_deref().and_then(not_blank)).collect();
        let phones: Vec<Option<i64>> =
            updates.iter().map(|update| update.phone.map(|phone| phone.digits().cast_signed())).collect();
        let changed = self
            .client
            .execute_typed(
                UPDATE,
                &[
                    (&self.program.0, Type::UUID),
                    (&numbers, Type::INT8_ARRAY),
                    (&actives, Type::BOOL_ARRAY),
                    (&profiles, Type::BYTEA_ARRAY),
                    (&times, Type::BYTEA_ARRAY),
                    (&customer_ids, Type::TEXT_ARRAY),
                    (&phones, Type::INT8_ARRAY),
                    (&self.now_ms, Type::INT8),
                ],
            )
            .await
            .context(|| self.changing())?;
        if changed != updates.len() as u64 {
            return Err(StoreError::Fault(format!("{}: a contact to be updated is not there", self.changing())));
        }
        Ok(())
    }

    async fn add(&self, additions: &[&Addition]) -> Result<(), StoreError> {
        let numbers: Vec<i64> = additions.iter().map(|addition| addition.number.get().cast_signed()).collect();
        let phones: Vec<i64> = additions.iter().map(|addition| addition.phone.digits().cast_signed()).collect();
        let actives: Vec<bool> = additions.iter().map(|addition| addition.active).collect();
        let customer_ids: Vec<Option<&str>> =
            additions.iter().map(|addition| not_blank(&addition.customer_id)).collect();
        let profiles: Vec<&[u8]> = additions.iter().map(|addition| addition.profile.as_bytes()).collect();
        let salts = salts(additions)?;
        self.client
            .execute_typed(
                "INSERT INTO contact
                   (program, number, salt, phone, created_ms, updated_ms, active, customer_id, profile)
                 SELECT $1, number, salt, phone, $8, $8, active, customer_id, profile
                 FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bool[], $6::text[], $7::bytea[])
                   AS new (number, salt, phone, active, customer_id, profile)",
                &[
                    (&self.program.0, Type::UUID),
                    (&numbers, Type::INT8_ARRAY),
                    (&salts, Type::INT8_ARRAY),
                    (&phones, Type::INT8_ARRAY),
                    (&actives, Type::BOOL_ARRAY),
                    (&customer_ids, Type::TEXT_ARRAY),
                    (&profiles, Type::BYTEA_ARRAY),
                    (&self.now_ms, Type::INT8),
                ],
            )
            .await
            .context(|| self.changing())?;
        Ok(())
    }

    fn changing(&self) -> String {
        format!("changing contacts of program {}", self.program)
    }
}

/// A salt for each; the randomness comes in one system call.
fn salts(additions: &[&Addition]) -> Result<Vec<i64>, StoreError> {
    let mut random = vec![0; additions.len() * SALT_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Fault(format!("the system gives no random bytes: {error}")))?;
    let salt = |(addition, random): (&&Addition, &[u8; SALT_BYTES])| {
        ContactId::new(ProgramTag::from_bits(0), addition.number, u64::from_le_bytes(*random)).salt().cast_signed()
    };
    Ok(additions.iter().zip(random.as_chunks::<SALT_BYTES>().0).map(salt).collect())
}

fn not_blank(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
