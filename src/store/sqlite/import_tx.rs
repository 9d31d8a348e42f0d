//! An import's one transaction in its program's file. It finds and changes what a plan says, and decides nothing.

use std::io::{Cursor, Read};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::commands::{check_claim, inline_payload};
use super::connection::Context;
use super::directory::ServingLock;
use super::payloads::Payloads;
use super::programs::ProgramFile;
use super::readers::Readers;
use crate::command::Claim;
use crate::contact::{ContactId, ContactNumber, FieldTimes, Phone, Profile};
use crate::import::{Addition, Change, IdentityKeys, Report, RowFound, StoredContact, Update};
use crate::store::stock::Stock;
use crate::store::{Begin, ImportContext, ImportTx, Lookup, StoreError, record};

/// How long a program's file knows what was applied: longer than any command waits to be told.
const APPLIED_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// The page cache of an import. Given back when it ends, because many programs may be open.
const CACHE_KIB: u32 = 64 * 1024;
const CACHE_KIB_IDLE: u32 = 2 * 1024;

/// Bytes of randomness for one contact's salt.
const SALT_BYTES: usize = 8;

pub(super) struct SqliteImport {
    /// `None` once the transaction is over and the connection returned.
    connection: Option<Connection>,
    file: Arc<ProgramFile>,
    catalogue: Arc<Readers>,
    payloads: Payloads,
    claim: Claim,
    context: ImportContext,
    now_ms: i64,
    counts: Stock,
    /// So that no other server starts while this import may still write. Dropped last.
    _lock: Option<Arc<ServingLock>>,
}

/// What of the catalogue an import starts from.
pub(super) struct Start {
    pub(super) file: Arc<ProgramFile>,
    pub(super) catalogue: Arc<Readers>,
    pub(super) payloads: Payloads,
    /// Held as long as the import may write.
    pub(super) lock: Option<Arc<ServingLock>>,
    pub(super) claim: Claim,
    pub(super) schema: crate::contact::Schema,
    pub(super) program: crate::tenant::Program,
}

/// Opens the transaction, or tells that the command was applied already.
pub(super) fn begin(start: Start, now_ms: i64) -> Result<Begin, StoreError> {
    let Start { file, catalogue, payloads, lock, claim, schema, program } = start;
    let beginning = || format!("beginning the import of command {}", claim.command);
    let context = ImportContext { schema, region: program.region, tag: program.tag, next_number: ContactNumber::MAX };
    let counts = Stock { next_number: 1, contacts: 0, active: 0 };
    let connection = file.take_writer()?;
    // From here on, dropping it rolls back and returns the connection.
    let mut import = SqliteImport {
        connection: Some(connection),
        file,
        catalogue,
        payloads,
        claim: claim.clone(),
        context,
        now_ms,
        counts,
        _lock: lock,
    };
    let connection = import.connection()?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}; BEGIN IMMEDIATE")).context(beginning)?;
    // Under the write lock: nobody else can be about to apply it.
    if let Some(report) = applied(connection, &claim)? {
        return Ok(Begin::AlreadyApplied(record::report_from_json(&report)?));
    }
    import.catalogue.read(|catalogue| check_claim(catalogue, &claim))?;
    let counts = connection
        .query_row("SELECT next_number, contacts, active FROM meta", [], |row| {
            Ok(Stock { next_number: row.get(0)?, contacts: row.get(1)?, active: row.get(2)? })
        })
        .context(beginning)?;
    import.counts = counts;
    import.context.next_number = contact_number(counts.next_number)?;
    Ok(Begin::Open(Box::new(import)))
}

fn applied(connection: &Connection, claim: &Claim) -> Result<Option<String>, StoreError> {
    connection
        .query_row("SELECT report FROM applied WHERE command = ?1", [claim.command.0.as_bytes().as_slice()], |row| {
            row.get(0)
        })
        .optional()
        .context(|| format!("asking whether command {} was applied", claim.command))
}

impl ImportTx for SqliteImport {
    fn context(&self) -> &ImportContext {
        &self.context
    }

    fn payload(&mut self) -> Result<Box<dyn Read + Send>, StoreError> {
        match self.catalogue.read(|catalogue| inline_payload(catalogue, &self.claim))? {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => Ok(Box::new(self.payloads.open(self.claim.command)?)),
        }
    }

    fn lookup(&mut self, lookup: Lookup<'_>) -> Result<Vec<RowFound>, StoreError> {
        let finder = Finder { connection: self.connection()?, tag: self.context.tag };
        finder.find(lookup).context(|| format!("looking contacts up for command {}", self.claim.command))
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let additions = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
        // In one system call for the whole batch.
        let mut salts = vec![0; additions * SALT_BYTES];
        getrandom::fill(&mut salts)
            .map_err(|error| StoreError::Fault(format!("the system gives no random bytes: {error}")))?;
        let mut counts = self.counts;
        let now_ms = self.now_ms;
        let applying = || format!("applying changes of command {}", self.claim.command);
        let mut changer = Changer::new(self.connection()?, now_ms).context(applying)?;
        let mut salts = salts.as_chunks::<SALT_BYTES>().0.iter();
        for change in &changes {
            match change {
                Change::Add(addition) => {
                    let salt = salts.next().copied().unwrap_or_default();
                    changer.add(addition, u64::from_le_bytes(salt)).context(applying)?;
                    counts.add(addition)?;
                }
                Change::Update(update) => {
                    changer.update(update).context(applying)?;
                    counts.update(update);
                }
            }
        }
        drop(changer);
        self.counts = counts;
        Ok(())
    }

    fn commit(mut self: Box<Self>, report: &Report) -> Result<(), StoreError> {
        let report = record::report_to_json(report)?;
        let committing = || format!("committing the import of command {}", self.claim.command);
        let connection = self.connection()?;
        // The write lock of this file is ours since `applied` was asked; the catalogue knows who holds the claim.
        self.catalogue.read(|catalogue| check_claim(catalogue, &self.claim))?;
        connection
            .execute(
                "INSERT INTO applied (command, attempt, applied_ms, report) VALUES (?1, ?2, ?3, ?4)",
                params![self.claim.command.0.as_bytes().as_slice(), self.claim.attempt, self.now_ms, report],
            )
            .context(committing)?;
        connection
            .execute("DELETE FROM applied WHERE applied_ms < ?1", [self.now_ms.saturating_sub(APPLIED_KEPT_MS)])
            .context(committing)?;
        let Stock { next_number, contacts, active } = self.counts;
        connection
            .execute(
                "UPDATE meta SET next_number = ?1, contacts = ?2, active = ?3",
                params![next_number, contacts, active],
            )
            .context(committing)?;
        connection.execute_batch("COMMIT").context(committing)?;
        self.end();
        Ok(())
    }

    fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        self.connection()?
            .execute_batch("ROLLBACK")
            .context(|| format!("rolling the import of command {} back", self.claim.command))?;
        self.end();
        Ok(())
    }
}

impl SqliteImport {
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or_else(|| StoreError::Fault("the import is over".to_owned()))
    }

    /// Returns the connection, without a transaction and with a small cache; one that cannot be made so is closed.
    fn end(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let undone = if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") };
        let shrink = format!("PRAGMA cache_size = -{CACHE_KIB_IDLE}; PRAGMA shrink_memory");
        match undone.and_then(|()| connection.execute_batch(&shrink)) {
            Ok(()) => self.file.return_writer(connection),
            Err(error) => {
                tracing::warn!(command = %self.claim.command, %error, "the connection of an import is closed, not reused");
            }
        }
    }
}

impl Drop for SqliteImport {
    fn drop(&mut self) {
        self.end();
    }
}

fn contact_number(number: i64) -> Result<ContactNumber, StoreError> {
    u64::try_from(number)
        .ok()
        .and_then(ContactNumber::new)
        .ok_or_else(|| StoreError::Fault(format!("{number} is no number of a contact")))
}

/// Finds contacts for a batch. Keys of one kind are asked for in their order, so that neighbours share pages.
struct Finder<'a> {
    connection: &'a Connection,
    tag: crate::contact::ProgramTag,
}

impl Finder<'_> {
    fn find(&self, lookup: Lookup<'_>) -> rusqlite::Result<Vec<RowFound>> {
        let Lookup { keys, values, phones_of_existing, phones_of_new: _ } = lookup;
        let mut found = vec![RowFound::default(); keys.len()];
        self.by_customer_id(keys, &mut found)?;
        let phones = self.by_number(keys, &mut found, values, phones_of_existing)?;
        let asked = |row: &(usize, u64)| lookup.wants_phone(&keys[row.0], &found[row.0], phones[row.0]);
        let mut wanted: Vec<(usize, u64)> =
            keys.iter().enumerate().filter_map(|(at, key)| Some((at, key.phone?.digits()))).filter(asked).collect();
        wanted.sort_unstable_by_key(|(_, digits)| *digits);
        let mut select = self.connection.prepare_cached("SELECT number FROM contact WHERE phone = ?1")?;
        for (at, digits) in wanted {
            found[at].by_phone = select.query_row([digits.cast_signed()], number).optional()?;
        }
        Ok(found)
    }

    fn by_customer_id(&self, keys: &[IdentityKeys<'_>], found: &mut [RowFound]) -> rusqlite::Result<()> {
        let mut wanted: Vec<(usize, &str)> =
            keys.iter().enumerate().filter_map(|(at, key)| Some((at, key.customer_id?))).collect();
        wanted.sort_unstable_by_key(|(_, customer_id)| *customer_id);
        let mut select = self.connection.prepare_cached("SELECT number FROM contact WHERE customer_id = ?1")?;
        for (at, customer_id) in wanted {
            found[at].by_customer_id = select.query_row([customer_id], number).optional()?;
        }
        Ok(())
    }

    /// Reads the contacts that the ids name, as far as anything of them is wanted; answers with their phones.
    fn by_number(
        &self,
        keys: &[IdentityKeys<'_>],
        found: &mut [RowFound],
        values: bool,
        phones_of_existing: bool,
    ) -> rusqlite::Result<Vec<Option<u64>>> {
        let mut phones = vec![None; keys.len()];
        let mut wanted: Vec<(usize, ContactNumber)> = keys
            .iter()
            .enumerate()
            .filter_map(|(at, key)| match key.signalvine_id {
                Some(id) => (id.tag == self.tag).then_some((at, id.number)),
                None => Some((at, found[at].by_customer_id?)).filter(|_| values || phones_of_existing),
            })
            .collect();
        wanted.sort_unstable_by_key(|(_, number)| *number);
        let mut select = self.connection.prepare_cached(
            "SELECT salt, phone, active, created_ms, customer_id, profile, times FROM contact WHERE number = ?1",
        )?;
        for (at, number) in wanted {
            let mut rows = select.query([number.get().cast_signed()])?;
            let Some(row) = rows.next()? else { continue };
            if let Some(id) = keys[at].signalvine_id {
                if ContactId::new(self.tag, number, row.get::<_, i64>(0)?.cast_unsigned()) != id {
                    continue;
                }
                found[at].by_signalvine_id = Some(number);
            }
            let digits = row.get::<_, i64>(1)?.cast_unsigned();
            phones[at] = Some(digits);
            if phones_of_existing && keys[at].phone.is_some_and(|phone| phone.digits() == digits) {
                found[at].by_phone = Some(number);
            }
            if values {
                found[at].contact = Some(stored_contact(row, number, digits)?);
            }
        }
        Ok(phones)
    }
}

fn number(row: &Row<'_>) -> rusqlite::Result<ContactNumber> {
    let number: i64 = row.get(0)?;
    ContactNumber::new(number.cast_unsigned()).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

fn stored_contact(row: &Row<'_>, number: ContactNumber, digits: u64) -> rusqlite::Result<StoredContact> {
    Ok(StoredContact {
        number,
        created_ms: row.get(3)?,
        customer_id: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        phone: Phone::from_digits(digits),
        active: row.get(2)?,
        profile: Profile::from_bytes(row.get(5)?),
        times: FieldTimes::from_bytes(row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default()),
    })
}

/// Makes changes. A unique column is touched only where it changes: SQLite would renew its index entry all the same.
struct Changer<'a> {
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    set_customer_id: CachedStatement<'a>,
    set_phone: CachedStatement<'a>,
    now_ms: i64,
}

impl<'a> Changer<'a> {
    fn new(connection: &'a Connection, now_ms: i64) -> rusqlite::Result<Changer<'a>> {
        Ok(Changer {
            insert: connection.prepare_cached(
                "INSERT INTO contact
                   (number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, NULL)",
            )?,
            update: connection.prepare_cached(
                "UPDATE contact SET active = coalesce(?2, active), profile = coalesce(?3, profile), times = ?4,
                   updated_ms = ?5
                 WHERE number = ?1",
            )?,
            set_customer_id: connection.prepare_cached("UPDATE contact SET customer_id = ?2 WHERE number = ?1")?,
            set_phone: connection.prepare_cached("UPDATE contact SET phone = ?2 WHERE number = ?1")?,
            now_ms,
        })
    }

    fn add(&mut self, addition: &Addition, random: u64) -> rusqlite::Result<()> {
        let Addition { number, customer_id, phone, active, profile } = addition;
        // The id type knows how many bits a salt has.
        let salt = ContactId::new(crate::contact::ProgramTag::from_bits(0), *number, random).salt();
        self.insert.execute(params![
            number.get().cast_signed(),
            salt.cast_signed(),
            phone.digits().cast_signed(),
            active,
            self.now_ms,
            not_blank(customer_id),
            profile.as_bytes(),
        ])?;
        Ok(())
    }

    fn update(&mut self, update: &Update) -> rusqlite::Result<()> {
        let Update { number, customer_id, phone, active, profile, times } = update;
        let number = number.get().cast_signed();
        let times = Some(times.as_bytes()).filter(|times| !times.is_empty());
        let profile = profile.as_ref().map(Profile::as_bytes);
        let changed = self.update.execute(params![number, active, profile, times, self.now_ms])?;
        if changed == 0 {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        if let Some(customer_id) = customer_id {
            self.set_customer_id.execute(params![number, not_blank(customer_id)])?;
        }
        if let Some(phone) = phone {
            self.set_phone.execute(params![number, phone.digits().cast_signed()])?;
        }
        Ok(())
    }
}

fn not_blank(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
