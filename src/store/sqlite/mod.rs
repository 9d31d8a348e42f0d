//! The embedded home: SQLite, one catalogue file and one file per program, in one data directory.
//!
//! ```text
//! DATA/catalogue.db         accounts, programs, fields, tokens, commands, what was accepted
//! DATA/programs/<id>.db     the contacts of one program, and which commands are in them
//! DATA/payloads/<id>.csv    uploads that are not small, and those that are no imports yet
//! DATA/master.key           opens the tokens' secrets; not needed if the key comes from elsewhere
//! DATA/lock                 held by the one server, or by a move
//! DATA/opening.lock         held for the moment of opening, by servers and operators' commands
//! ```
//!
//! The catalogue and a program's file cannot commit together. So the program's file is believed: it says itself which
//! commands it holds, and the catalogue is told afterwards.

mod accepting;
mod accounts;
mod added;
mod asking;
pub mod backup;
mod changing;
mod commands;
mod connection;
mod contacts;
mod directory;
mod finding;
mod history;
mod import_tx;
mod keeping;
mod lanes;
mod loading;
mod migration;
mod moving;
mod payloads;
mod people;
mod places;
mod programs;
mod queue;
mod readers;
mod receiving;
#[cfg(test)]
mod tests;
mod uploads;
mod writer;

use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use self::asking::{AskCommands, AskTokens};
use self::connection::check_library;
use self::directory::{CATALOGUE, ServingLock, lock_to_serve, make_directories, open_catalogue};
pub(crate) use self::moving::SqliteMovable;
#[cfg(test)]
pub(crate) use self::moving::columns;
use self::payloads::Payloads;
use self::programs::ProgramFiles;
use self::queue::Queue;
use self::readers::Readers;
use self::writer::{Durability, Fate, Writer};
use super::moving::{Standing, moved_away, standing};
use super::secrets::{MasterKey, MasterKeySource};
use super::together::{Questions, Together};
use super::token_row::SealedToken;
use super::{
    Backlog, Begin, Cancellation, CommandPage, CommandQuery, ContactFilter, ContactPage, ContactQuery, ContactSnapshot,
    Forgotten, OpenAs, Past, PayloadWriter, QueueLimits, Store, StoreError, refusal,
};
use crate::command::test_point::test_point;
use crate::command::{Accepted, Claim, Command, CommandId, Completions, NewCommand, Reach, Remembered};
use crate::contact::{Contact, ContactId, FieldType, Schema};
use crate::import::Report;
use crate::tenant::{
    Account, AccountId, NewProgram, NewToken, Program, ProgramId, ProgramSettings, Rotated, Secret, Token,
    TokenListing, TokenNumber,
};

/// How many requests read program files at once; more wait. Apart from the catalogue's, so that slow lists do not hold up
/// the checking of tokens.
const PROGRAM_READS_MAX: usize = 8;

/// How an embedded store is opened.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The data directory; made if there is none.
    pub data: PathBuf,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// What the process does with it.
    pub open_as: OpenAs,
    /// How many commands may wait and run.
    pub queue_limits: QueueLimits,
}

impl SqliteSettings {
    /// The usual: the key in the data directory, and a thousand commands a program and ten thousand an account.
    pub fn new(data: PathBuf, open_as: OpenAs) -> SqliteSettings {
        let master_key = MasterKeySource::FileOrNew(data.join("master.key"));
        let queue_limits = QueueLimits { of_program_max: 1_000, of_account_max: 10_000 };
        SqliteSettings { data, master_key, open_as, queue_limits }
    }
}

/// The embedded store.
pub struct SqliteStore {
    inner: Arc<Inner>,
    tokens: Together<Questions<AskTokens>>,
    commands: Together<Questions<AskCommands>>,
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
    /// Whether it was moved away; then it is only read.
    standing: Standing,
    queue_limits: QueueLimits,
    lock: Option<Arc<ServingLock>>,
}

impl SqliteStore {
    /// Opens a data directory, and makes or migrates what is not there yet. Blocking.
    pub fn open(settings: SqliteSettings) -> Result<SqliteStore, StoreError> {
        check_library()?;
        let SqliteSettings { data, master_key, open_as, queue_limits } = settings;
        let (programs, payloads) = make_directories(&data)?;
        let lock = if let OpenAs::Server = open_as { Some(Arc::new(lock_to_serve(&data)?)) } else { None };
        let (catalogue, key) = open_catalogue(&data, master_key)?;
        connection::sort_in(&catalogue, &data)?;
        let standing = standing(&moving::place(&data), &moving::marks(&catalogue)?, open_as)?;
        let (payloads, queue) = (Payloads::new(payloads), Arc::new(Queue::default()));
        if open_as == OpenAs::Server && standing == Standing::Free {
            payloads
                .remove_orphans(|id| Ok(commands::has_file(&catalogue, id)? || uploads::is_kept(&catalogue, id)?))?;
            test_point("start.orphans_removed");
            commands::requeue_all(&catalogue)?.into_iter().for_each(|waiting| queue.restore(waiting));
            test_point("start.requeued");
        }
        let inner = Inner {
            writer: Writer::start(catalogue, open_as == OpenAs::Server)?,
            readers: Arc::new(Readers::new(data.join(CATALOGUE))),
            programs: ProgramFiles::new(programs),
            program_reads: Arc::new(Semaphore::new(PROGRAM_READS_MAX)),
            payloads,
            queue,
            key,
            open_as,
            standing,
            queue_limits,
            lock,
        };
        let inner = Arc::new(inner);
        let tokens = Together::new(Questions(AskTokens(Arc::downgrade(&inner))));
        let commands = Together::new(Questions(AskCommands(Arc::downgrade(&inner))));
        Ok(SqliteStore { inner, tokens, commands })
    }

    /// Reads the catalogue on a thread for blocking work.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.read(read).await
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

    /// The same for a change of what a move has taken along: it would be lost to the other home.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.not_moved_away()?;
        self.write(work).await
    }

    /// What only the one server may do.
    fn serving(&self) -> Result<(), StoreError> {
        match self.inner.open_as {
            OpenAs::Server => Ok(()),
            OpenAs::Operator => Err(refusal::not_serving()),
        }
    }
}

impl Inner {
    /// Reads the catalogue on a thread for blocking work.
    async fn read<T: Send + 'static>(
        self: &Arc<Inner>,
        read: impl FnOnce(&Inner, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.readers.turn().await?;
        let inner = Arc::clone(self);
        blocking(move || {
            let result = inner.readers.read(|catalogue| read(&inner, catalogue));
            drop(turn);
            result
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_account(&self, name: &str, now_ms: i64) -> Result<Account, StoreError> {
        let name = name.to_owned();
        self.change(move |catalogue| accounts::create_account(catalogue, &name, now_ms)).await
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
        self.change(move |catalogue| accounts::create_program(catalogue, account, program, now_ms)).await
    }

    async fn programs(&self, account: Option<AccountId>) -> Result<Vec<Program>, StoreError> {
        self.read(move |_, catalogue| accounts::programs(catalogue, account)).await
    }

    async fn find_program(&self, program: ProgramId) -> Result<Option<Program>, StoreError> {
        self.read(move |_, catalogue| accounts::find_program(catalogue, program)).await
    }

    async fn set_program_active(&self, account: AccountId, program: ProgramId, active: bool) -> Result<(), StoreError> {
        self.change(move |catalogue| accounts::set_program_active(catalogue, account, program, active)).await
    }

    async fn update_program(
        &self,
        account: AccountId,
        program: ProgramId,
        settings: ProgramSettings,
    ) -> Result<(), StoreError> {
        self.change(move |catalogue| accounts::update_program(catalogue, account, program, &settings)).await
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
        self.change(move |catalogue| accounts::add_field(catalogue, (account, program), &name, field_type, now_ms))
            .await
    }

    async fn remove_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.change(move |catalogue| accounts::remove_field(catalogue, (account, program), &name, now_ms)).await
    }

    async fn create_token(&self, account: AccountId, token: NewToken, now_ms: i64) -> Result<(), StoreError> {
        let token = SealedToken::new(&self.inner.key, account, token)?;
        self.change(move |catalogue| accounts::create_token(catalogue, &token, now_ms)).await
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
        self.change(move |catalogue| {
            accounts::rotate_token(catalogue, &token, &columns)?;
            Ok(columns.rotated)
        })
        .await
    }

    async fn revoke_token(&self, token: &str, now_ms: i64) -> Result<(), StoreError> {
        let token = token.to_owned();
        self.change(move |catalogue| accounts::revoke_token(catalogue, &token, now_ms)).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|_, catalogue| commands::backlog(catalogue)).await
    }

    async fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        self.tokens.serve(token.to_owned()).await?.transpose()
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

    fn receive(
        &self,
        account: AccountId,
        program: ProgramId,
        command: CommandId,
    ) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.begin_to_receive(account, program, command)
    }

    async fn command(&self, account: AccountId, command: CommandId) -> Result<Option<Command>, StoreError> {
        let found = self.commands.serve((account, command)).await?.transpose()?;
        found.map(|found| found.command()).transpose()
    }

    async fn cancel(
        &self,
        account: AccountId,
        command: CommandId,
        by: &str,
        now_ms: i64,
    ) -> Result<Option<Cancellation>, StoreError> {
        if let Standing::Moved(peer) = &self.inner.standing {
            return Err(moved_away(peer));
        }
        let (queue, asked_by) = (Arc::clone(&self.inner.queue), by.to_owned());
        // A command that is complete now is passed over when its turn comes.
        let after = move |fate: Fate<'_, Option<Cancellation>>| match fate {
            Fate::Committed(Some(Cancellation::Done)) => queue.is_over(command),
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

    async fn forget(&self, past: Past, count_max: u32) -> Result<Forgotten, StoreError> {
        keeping::forget(self, past, count_max).await
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
