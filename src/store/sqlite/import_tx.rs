//! An import's one transaction in its program's file. It finds and changes what a plan says, and decides nothing.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::changing::Changer;
use super::commands::{check_claim, inline_payload, payload_bytes};
use super::connection::{BUSY_TIMEOUT, Context, WAL_KEPT_BYTES};
use super::directory::ServingLock;
use super::finding::Finder;
use super::loading::{CACHE_KIB, CACHE_KIB_IN_ORDER, Loading};
use super::payloads::Payloads;
use super::programs::ProgramFile;
use super::readers::Readers;
use crate::command::Claim;
use crate::command::test_point::test_point;
use crate::contact::ContactNumber;
use crate::import::{Change, Report, RowFound};
use crate::store::stock::Stock;
use crate::store::{Begin, ImportContext, ImportTx, Lookup, StoreError, record};

/// How long a program's file knows what was applied: longer than any command waits to be told.
const APPLIED_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// The page cache of a connection between imports: many programs may be open.
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
    loading: Loading,
    /// The contact that a file in the program's own order would be about next.
    next_in_order: Option<ContactNumber>,
    /// A batch was in another order, so pages are read again.
    is_in_no_order: bool,
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
        loading: Loading::Over,
        next_in_order: None,
        is_in_no_order: false,
        _lock: lock,
    };
    let connection = import.connection()?;
    connection.execute_batch(&format!("{}; BEGIN IMMEDIATE", room(CACHE_KIB_IN_ORDER, "FILE"))).context(beginning)?;
    // Under the write lock: nobody else can be about to apply it.
    if let Some(report) = applied(connection, &claim)? {
        return Ok(Begin::AlreadyApplied(record::report_from_json(&report)?));
    }
    let file_bytes = import.catalogue.read(|catalogue| {
        check_claim(catalogue, &claim)?;
        payload_bytes(catalogue, &claim)
    })?;
    let counts = connection
        .query_row("SELECT next_number, contacts, active FROM meta", [], |row| {
            Ok(Stock { next_number: row.get(0)?, contacts: row.get(1)?, active: row.get(2)? })
        })
        .context(beginning)?;
    import.counts = counts;
    import.loading = Loading::of_program(counts.contacts, file_bytes);
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
        let finding = || format!("looking contacts up for command {}", self.claim.command);
        let connection = self.connection.as_ref().ok_or_else(is_over)?;
        let finder = Finder { connection, tag: self.context.tag, added: self.loading.keys() };
        let (found, next_in_order) = finder.find(lookup, self.next_in_order).context(finding)?;
        self.next_in_order = next_in_order;
        if !self.is_in_no_order && next_in_order.is_none() && self.loading.keys().is_none() {
            connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}")).context(finding)?;
            self.is_in_no_order = true;
        }
        Ok(found)
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
        let connection = self.connection.as_ref().ok_or_else(is_over)?;
        self.loading.before(connection, &changes).context(applying)?;
        let mut changer = Changer::new(connection, now_ms).context(applying)?;
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
        let connection = self.connection.as_ref().ok_or_else(is_over)?;
        self.loading.end(connection).context(committing)?;
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
        test_point("import.recorded");
        connection.execute_batch("COMMIT").context(committing)?;
        self.end();
        Ok(())
    }

    fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        self.connection()?
            .execute_batch("ROLLBACK")
            .context(|| format!("rolling the import of command {} back", self.claim.command))?;
        if self.file.log_bytes() > u64::from(WAL_KEPT_BYTES) {
            self.cut_log();
        }
        self.end();
        Ok(())
    }
}

impl SqliteImport {
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or_else(is_over)
    }

    /// Gives the room back that an import has taken in the WAL and that was undone. It would stay until the next import commits, and on a
    /// disk that is full by it nobody could do anything. As far as nobody reads: nobody waits for it.
    fn cut_log(&self) {
        let Some(connection) = &self.connection else { return };
        let cut = connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        // Also where the disk has no room for the copy: the next import is to wait for others again.
        if let Err(error) = connection.busy_timeout(BUSY_TIMEOUT).and(cut) {
            tracing::warn!(command = %self.claim.command, %error, "the room that an import took in the WAL could not be given back");
        }
    }

    /// Returns the connection, without a transaction and with a small cache; one that cannot be made so is closed.
    fn end(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let undone = if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") };
        let shrink = format!("{}; PRAGMA shrink_memory", room(CACHE_KIB_IDLE, "MEMORY"));
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
        if let Some(connection) = &self.connection {
            // It was broken off. (Where the disk is full, SQLite has undone it already.) What fails here fails once more below.
            let _ = if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") };
            self.cut_log();
        }
        self.end();
    }
}

/// How much memory a connection takes, and where it sorts what needs more.
fn room(cache_kib: u32, sorts_in: &str) -> String {
    format!("PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = {sorts_in}")
}

fn is_over() -> StoreError {
    StoreError::Fault("the import is over".to_owned())
}

fn contact_number(number: i64) -> Result<ContactNumber, StoreError> {
    u64::try_from(number)
        .ok()
        .and_then(ContactNumber::new)
        .ok_or_else(|| StoreError::Fault(format!("{number} is no number of a contact")))
}
