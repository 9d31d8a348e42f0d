//! The embedded home: SQLite, one catalogue file and one file per program, in one data directory.
//!
//! ```text
//! DATA/catalogue.db         accounts, programs, fields, tokens, commands, what was accepted
//! DATA/programs/<id>.db     the contacts of one program, and which commands are in them
//! DATA/payloads/<id>.csv    uploads that are not small
//! DATA/master.key           opens the tokens' secrets; not needed if the key comes from elsewhere
//! DATA/lock                 held by the one server
//! DATA/opening.lock         held for the moment of opening, by servers and operators' commands
//! ```
//!
//! The catalogue and a program's file cannot commit together. So the program's file is believed: it says itself which
//! commands it holds, and the catalogue is told afterwards.

mod accepting;
mod accounts;
mod commands;
mod connection;
mod contacts;
mod import_tx;
mod lanes;
mod migration;
mod payloads;
mod programs;
mod queue;
mod readers;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Cursor, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use self::connection::{Access, Context, check_library, open};
use self::payloads::{Payloads, sync_directory};
use self::programs::ProgramFiles;
use self::queue::Queue;
use self::readers::Readers;
use self::writer::{Durability, Fate, Writer};
use super::secrets::{MasterKey, MasterKeySource, Purpose};
use super::token_row::SealedToken;
use super::{
    Begin, Cancellation, CommandPage, CommandQuery, ContactFilter, ContactPage, ContactQuery, ContactSnapshot, OpenAs,
    Store, StoreError, refusal,
};
use crate::command::{Accepted, Claim, Command, CommandId, Completions, NewCommand, Reach, Remembered};
use crate::contact::{Contact, ContactId, FieldType, Schema};
use crate::import::Report;
use crate::tenant::{
    Account, AccountId, NewProgram, NewToken, Program, ProgramId, Rotated, Secret, Token, TokenListing, TokenNumber,
};

/// After how many pages the catalogue's WAL is copied back: 8 MB. The one who commits does it, so little at a time.
const CATALOGUE_CHECKPOINT_PAGES: u32 = 1_000;

/// How many requests read program files at once; more wait. Apart from the catalogue's, so that slow lists do not hold up
/// the checking of tokens.
const PROGRAM_READS_MAX: usize = 8;

/// The context that the key's check value is sealed with, and the value.
const KEY_CHECK: &str = "roster";

/// How an embedded store is opened.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The data directory; made if there is none.
    pub data: PathBuf,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// What the process does with it.
    pub open_as: OpenAs,
    /// How many commands of one program may wait and run; more are turned away.
    pub queue_max: u32,
}

impl SqliteSettings {
    /// The usual: the key in the data directory, and a thousand commands a program.
    pub fn new(data: PathBuf, open_as: OpenAs) -> SqliteSettings {
        let master_key = MasterKeySource::FileOrNew(data.join("master.key"));
        SqliteSettings { data, master_key, open_as, queue_max: 1_000 }
    }
}

/// The embedded store.
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// The order of the fields is the order of dropping: the writer finishes first, the lock goes last.
struct Inner {
    writer: Writer,
    readers: Arc<Readers>,
    programs: ProgramFiles,
    program_reads: Arc<Semaphore>,
    payloads: Payloads,
    queue: Arc<Queue>,
    key: MasterKey,
    open_as: OpenAs,
    queue_max: u32,
    lock: Option<Arc<ServingLock>>,
}

impl SqliteStore {
    /// Opens a data directory, and makes or migrates what is not there yet. Blocking.
    pub fn open(settings: SqliteSettings) -> Result<SqliteStore, StoreError> {
        check_library()?;
        let SqliteSettings { data, master_key, open_as, queue_max } = settings;
        let (programs, payloads) = (data.join("programs"), data.join("payloads"));
        for directory in [&data, &programs, &payloads] {
            make_directory(directory)?;
        }
        let lock = if let OpenAs::Server = open_as { Some(Arc::new(lock_to_serve(&data)?)) } else { None };
        // Two processes that make the same files at once would disturb each other. Given back when this function ends.
        let opening = open_lock_file(&data.join("opening.lock"))?;
        opening.lock().context(|| format!("locking {}", data.join("opening.lock").display()))?;

        let path = data.join("catalogue.db");
        let mut catalogue = open(&path, Access::Write { checkpoint_pages: CATALOGUE_CHECKPOINT_PAGES })?;
        migration::migrate(&mut catalogue, &path, migration::CATALOGUE)?;
        sync_directory(&data)?;
        let key = check_key(&catalogue, master_key)?;
        let (payloads, queue) = (Payloads::new(payloads), Arc::new(Queue::default()));
        if let OpenAs::Server = open_as {
            payloads.remove_orphans(|command| commands::exists(&catalogue, command))?;
            commands::requeue_all(&catalogue)?.into_iter().for_each(|waiting| queue.push(waiting));
        }
        let inner = Inner {
            writer: Writer::start(catalogue)?,
            readers: Arc::new(Readers::new(path)),
            programs: ProgramFiles::new(programs),
            program_reads: Arc::new(Semaphore::new(PROGRAM_READS_MAX)),
            payloads,
            queue,
            key,
            open_as,
            queue_max,
            lock,
        };
        Ok(SqliteStore { inner: Arc::new(inner) })
    }

    /// Reads the catalogue on a thread for blocking work.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.inner.readers.turn().await?;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let result = inner.readers.read(|catalogue| read(&inner, catalogue));
            drop(turn);
            result
        })
        .await
    }

    /// Reads a program's file on a thread for blocking work; `None` if there is none yet.
    async fn read_program<T: Send + 'static>(
        &self,
        program: Program,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let turn = Arc::clone(&self.inner.program_reads).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Unavailable("it is closed".to_owned()))?;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let result = inner.programs.get(&program).read(read);
            drop(turn);
            result
        })
        .await
    }

    /// Changes the catalogue, durably.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.write(Durability::Durable, work, |_| ()).await
    }

    /// What only the one server may do.
    fn serving(&self) -> Result<(), StoreError> {
        match self.inner.open_as {
            OpenAs::Server => Ok(()),
            OpenAs::Operator => Err(refusal::not_serving()),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_account(&self, name: &str, now_ms: i64) -> Result<Account, StoreError> {
        let name = name.to_owned();
        self.write(move |catalogue| accounts::create_account(catalogue, &name, now_ms)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read(|_, catalogue| accounts::accounts(catalogue)).await
    }

    async fn create_program(
        &self,
        account: AccountId,
        program: NewProgram,
        now_ms: i64,
    ) -> Result<Program, StoreError> {
        self.write(move |catalogue| accounts::create_program(catalogue, account, program, now_ms)).await
    }

    async fn programs(&self, account: Option<AccountId>) -> Result<Vec<Program>, StoreError> {
        self.read(move |_, catalogue| accounts::programs(catalogue, account)).await
    }

    async fn find_program(&self, program: ProgramId) -> Result<Option<Program>, StoreError> {
        self.read(move |_, catalogue| accounts::find_program(catalogue, program)).await
    }

    async fn set_program_active(&self, account: AccountId, program: ProgramId, active: bool) -> Result<(), StoreError> {
        self.write(move |catalogue| accounts::set_program_active(catalogue, account, program, active)).await
    }

    async fn add_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        field_type: FieldType,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |catalogue| accounts::add_field(catalogue, (account, program), &name, field_type, now_ms)).await
    }

    async fn remove_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |catalogue| accounts::remove_field(catalogue, (account, program), &name, now_ms)).await
    }

    async fn create_token(&self, account: AccountId, token: NewToken, now_ms: i64) -> Result<(), StoreError> {
        let token = SealedToken::new(&self.inner.key, account, token)?;
        self.write(move |catalogue| accounts::create_token(catalogue, &token, now_ms)).await
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenListing>, StoreError> {
        self.read(move |_, catalogue| accounts::tokens(catalogue, account)).await
    }

    async fn rotate_token(
        &self,
        token: &str,
        secret: &Secret,
        overlap_ms: u64,
        now_ms: i64,
    ) -> Result<Rotated, StoreError> {
        let (text, secret) = (token.to_owned(), secret.clone());
        let read = move |inner: &Inner, catalogue: &Connection| {
            accounts::rotated(catalogue, &inner.key, &text, (&secret, overlap_ms, now_ms))
        };
        let (columns, token) = (self.read(read).await?, token.to_owned());
        self.write(move |catalogue| {
            accounts::rotate_token(catalogue, &token, &columns)?;
            Ok(columns.rotated)
        })
        .await
    }

    async fn revoke_token(&self, token: &str, now_ms: i64) -> Result<(), StoreError> {
        let token = token.to_owned();
        self.write(move |catalogue| accounts::revoke_token(catalogue, &token, now_ms)).await
    }

    async fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        let token = token.to_owned();
        self.read(move |inner, catalogue| accounts::token(catalogue, &inner.key, &token)).await
    }

    async fn note_use(&self, token: TokenNumber, now_ms: i64) -> Result<(), StoreError> {
        let work = move |catalogue: &Connection| accounts::note_use(catalogue, token, now_ms);
        self.inner.writer.write(Durability::Relaxed, work, |_| ()).await
    }

    async fn program(&self, account: AccountId, program: ProgramId) -> Result<Option<Program>, StoreError> {
        self.read(move |_, catalogue| accounts::program(catalogue, account, program)).await
    }

    async fn schema(&self, account: AccountId, program: ProgramId) -> Result<Schema, StoreError> {
        self.read(move |_, catalogue| {
            accounts::the_program(catalogue, account, program)?;
            accounts::schema(catalogue, program)
        })
        .await
    }

    async fn remembered(&self, token: TokenNumber, signature: &[u8; 32]) -> Result<Option<Remembered>, StoreError> {
        let signature = *signature;
        self.read(move |_, catalogue| commands::remembered(catalogue, token, &signature)).await
    }

    async fn accept(&self, command: NewCommand) -> Result<Accepted, StoreError> {
        self.accept_command(command).await
    }

    async fn command(&self, account: AccountId, command: CommandId) -> Result<Option<Command>, StoreError> {
        self.read(move |inner, catalogue| {
            commands::command(catalogue, account, command, |command| inner.queue.progress(command))
        })
        .await
    }

    async fn cancel(
        &self,
        account: AccountId,
        command: CommandId,
        by: &str,
        now_ms: i64,
    ) -> Result<Option<Cancellation>, StoreError> {
        let (queue, asked_by) = (Arc::clone(&self.inner.queue), by.to_owned());
        // A command that is complete now is passed over when its turn comes.
        let after = move |fate: Fate<'_, Option<Cancellation>>| match fate {
            Fate::Committed(Some(Cancellation::Done)) => queue.completions.announce(command),
            Fate::Committed(Some(Cancellation::Asked)) => queue.cancel(command, &asked_by),
            Fate::Committed(Some(Cancellation::TooLate) | None) | Fate::Undone | Fate::Unknown => {}
        };
        let (by, trace) = (by.to_owned(), refusal::new_id(now_ms)?.simple().to_string());
        let work = move |catalogue: &Connection| commands::cancel(catalogue, (account, command), &by, &trace, now_ms);
        self.inner.writer.write(Durability::Durable, work, after).await
    }

    async fn commands(
        &self,
        account: AccountId,
        program: ProgramId,
        query: CommandQuery,
    ) -> Result<CommandPage, StoreError> {
        self.read(move |inner, catalogue| {
            accounts::the_program(catalogue, account, program)?;
            commands::page(catalogue, (account, program), query, |command| inner.queue.progress(command))
        })
        .await
    }

    fn file(&self, account: AccountId, command: &Command) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let inline = self.inner.readers.read(|catalogue| commands::inline_file(catalogue, account, command.id))?;
        if let Some(bytes) = inline {
            return Ok(Some(Box::new(Cursor::new(bytes))));
        }
        if command.account != account {
            return Ok(None);
        }
        Ok(self.inner.payloads.find(command.id)?.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    async fn contacts(
        &self,
        account: AccountId,
        program: ProgramId,
        query: ContactQuery,
    ) -> Result<ContactPage, StoreError> {
        let program = self.read(move |_, catalogue| accounts::the_program(catalogue, account, program)).await?;
        let tag = program.tag;
        let page = self.read_program(program, move |file| contacts::page(file, tag, query)).await?;
        Ok(page.unwrap_or(ContactPage { total: 0, contacts: Vec::new() }))
    }

    async fn contact_totals(
        &self,
        account: AccountId,
        filter: ContactFilter,
    ) -> Result<Vec<(Program, u64)>, StoreError> {
        let mut totals = Vec::new();
        for program in self.programs(Some(account)).await? {
            let total = self.read_program(program.clone(), move |file| contacts::count(file, filter)).await?;
            totals.push((program, total.unwrap_or(0)));
        }
        Ok(totals)
    }

    fn snapshot(&self, account: AccountId, program: ProgramId) -> Result<Box<dyn ContactSnapshot>, StoreError> {
        let Inner { readers, programs, .. } = &*self.inner;
        let program = readers.read(|catalogue| accounts::the_program(catalogue, account, program))?;
        match programs.get(&program).reader_apart()? {
            Some(file) => Ok(Box::new(contacts::Snapshot::begin(file, program.tag)?)),
            None => Ok(Box::new(NoContacts)),
        }
    }

    async fn contact(&self, account: AccountId, contact: ContactId) -> Result<Option<(Program, Contact)>, StoreError> {
        let program = self.read(move |_, catalogue| accounts::program_by_tag(catalogue, account, contact.tag)).await?;
        let Some(program) = program else { return Ok(None) };
        let found = self.read_program(program.clone(), move |file| contacts::contact(file, contact)).await?;
        Ok(found.flatten().map(|contact| (program, contact)))
    }

    async fn claim(&self, reach: Reach, now_ms: i64) -> Result<Option<Claim>, StoreError> {
        self.serving()?;
        while let Some(taken) = self.inner.queue.take(reach) {
            let Some(waiting) = taken.waiting() else { continue };
            let work = move |catalogue: &Connection| commands::claim(catalogue, waiting, now_ms);
            // Not durable: after a power cut there is no worker left who could hold the claim.
            match self.inner.writer.write(Durability::Relaxed, work, |_| ()).await? {
                Some(claim) => {
                    taken.runs();
                    return Ok(Some(claim));
                }
                None => taken.ended(),
            }
        }
        Ok(None)
    }

    async fn work_arrived(&self, reach: Reach) {
        self.inner.queue.arrived(reach).await;
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        let (queue, given_back) = (Arc::clone(&self.inner.queue), claim.clone());
        // Where the catalogue could not be told, the lane is still right: the next claim counts one more attempt.
        let after = move |fate: Fate<'_, bool>| match fate {
            Fate::Committed(false) => {}
            Fate::Committed(true) | Fate::Undone | Fate::Unknown => queue.give_back(&given_back),
        };
        let claim = claim.clone();
        let work = move |catalogue: &Connection| commands::give_back(catalogue, &claim);
        let held = self.inner.writer.write(Durability::Relaxed, work, after).await?;
        if held { Ok(()) } else { Err(StoreError::LostClaim) }
    }

    async fn finish(&self, claim: &Claim, report: &Report, trace: &str, now_ms: i64) -> Result<(), StoreError> {
        let (queue, finished) = (Arc::clone(&self.inner.queue), claim.clone());
        let after = move |fate: Fate<'_, ()>| {
            if let Fate::Committed(()) = fate {
                queue.finish(&finished);
            }
        };
        // What was applied is told by the program's file again, should this be lost.
        let durability = if report.applied() { Durability::Relaxed } else { Durability::Durable };
        let (claim, report, trace) = (claim.clone(), report.clone(), trace.to_owned());
        let work = move |catalogue: &Connection| commands::finish(catalogue, &claim, &report, &trace, now_ms);
        self.inner.writer.write(durability, work, after).await
    }

    fn cancelled(&self, claim: &Claim) -> Option<String> {
        self.inner.queue.cancelled(claim.command)
    }

    fn completions(&self) -> &Completions {
        &self.inner.queue.completions
    }

    fn progress(&self, claim: &Claim, rows: u64) {
        self.inner.queue.set_progress(claim.command, rows);
    }

    fn begin_import(&self, claim: &Claim, now_ms: i64) -> Result<Begin, StoreError> {
        let Inner { readers, programs, payloads, lock, .. } = &*self.inner;
        let (program, schema) = readers.read(|catalogue| {
            let program = accounts::the_program(catalogue, claim.account, claim.program)?;
            Ok((program, accounts::schema(catalogue, claim.program)?))
        })?;
        let start = import_tx::Start {
            file: programs.get(&program),
            catalogue: Arc::clone(readers),
            payloads: payloads.clone(),
            lock: lock.clone(),
            claim: claim.clone(),
            schema,
            program,
        };
        import_tx::begin(start, now_ms)
    }

    async fn close(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            inner.readers.close();
            inner.writer.close();
            inner.programs.close();
            Ok(())
        })
        .await
    }
}

/// A program of which nothing was ever imported.
struct NoContacts;

impl ContactSnapshot for NoContacts {
    fn next(&mut self) -> Result<Vec<Contact>, StoreError> {
        Ok(Vec::new())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(StoreError::Fault(format!("a reader of the store ended early: {error}"))))
}

/// For the owner only: contacts are in it.
fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let making = || format!("making the directory {}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).context(making)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).context(making)?;
        return sync_directory(parent);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).context(making)
}

fn open_lock_file(path: &Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .context(|| format!("opening {}", path.display()))
}

/// The lock of the one server. It is given back by word, not by closing the file: a child process that was forked at this
/// very moment holds the file open until it runs its own program.
pub(super) struct ServingLock(File);

impl Drop for ServingLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data directory's lock could not be given back");
        }
    }
}

fn lock_to_serve(data: &Path) -> Result<ServingLock, StoreError> {
    let path = data.join("lock");
    let lock = open_lock_file(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(ServingLock(lock)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Refused(format!(
            "another roster is serving the data directory {}; only one can at a time",
            data.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).context(|| format!("locking {}", path.display())),
    }
}

/// Loads the master key, and makes sure that it is the one that this catalogue's secrets were sealed with.
fn check_key(catalogue: &Connection, source: MasterKeySource) -> Result<MasterKey, StoreError> {
    let checking = || "checking the master key";
    let known: Option<Vec<u8>> = catalogue
        .query_row("SELECT sealed FROM master_key_check", [], |row| row.get(0))
        .optional()
        .context(checking)?;
    let Some(known) = known else {
        let key = MasterKey::load(&source)?;
        let sealed = key.seal(Purpose::KeyCheck, KEY_CHECK, KEY_CHECK.as_bytes())?;
        catalogue.execute("INSERT INTO master_key_check (one, sealed) VALUES (1, ?1)", [sealed]).context(checking)?;
        return Ok(key);
    };
    let key = MasterKey::load(&source.of_existing())?;
    match key.open(Purpose::KeyCheck, KEY_CHECK, &known) {
        Some(_) => Ok(key),
        None => Err(StoreError::Refused(
            "the master key is not the one that the tokens' secrets in this data directory were sealed with; \
             start with the key that belongs to it"
                .to_owned(),
        )),
    }
}
