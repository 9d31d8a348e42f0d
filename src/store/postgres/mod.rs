//! The home of many nodes: one PostgreSQL database, which holds everything, payloads too. So any node can take any request and
//! carry out any command, and a node has nothing that it could lose.
//!
//! A node that dies is noticed by its leases running out; one that only slept finds another attempt's number in the lane,
//! and its import is undone. Nothing depends on the state of a session, so a pooler of transactions may stand in between.
//!
//! Its calls need a multi-threaded runtime: the blocking ones wait for the pool's tasks.

mod absent;
mod accepted;
mod accepting;
mod accounts;
mod adding;
mod ahead;
mod asking;
mod cancelling;
mod changing;
mod commands;
mod connection;
mod contacts;
mod deciding;
mod finding;
mod history;
mod import_connection;
mod import_tx;
mod keeping;
mod migration;
mod moving;
mod notice;
mod payloads;
mod people;
mod queue;
mod receiving;
mod session;
mod snapshot;
mod target;
#[cfg(test)]
mod adding_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod takeover_tests;
#[cfg(test)]
mod tests;
mod tls;
mod uploads;

use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use self::accepting::Accepting;
use self::asking::{AskCommands, AskTokens};
use self::connection::{
    ANSWERED_WITHIN, Context, LOOKED_UP_WITHIN, Lent, Pool, READ_WITHIN, connection, first_connection, within,
};
pub(crate) use self::moving::PostgresMovable;
pub use self::queue::LEASE_MS_MAX;
use self::queue::Queue;
use super::secrets::{MasterKey, MasterKeySource, Purpose};
use super::together::{Questions, Together};
use super::token_row::SealedToken;
use super::{
    Backlog, Begin, Cancellation, CommandPage, CommandQuery, ContactFilter, ContactPage, ContactQuery, ContactSnapshot,
    Forgotten, OpenAs, Past, PayloadWriter, QueueLimits, Store, StoreError, refusal,
};
use crate::command::test_point::test_point;
use crate::command::{Accepted, Claim, Command, CommandId, CommandState, Completions, NewCommand, Reach, Remembered};
use crate::contact::{Contact, ContactId, FieldType, Schema};
use crate::import::Report;
use crate::tenant::{
    Account, AccountId, NewProgram, NewToken, Program, ProgramId, ProgramSettings, Rotated, Secret, Token,
    TokenListing, TokenNumber,
};

/// The context that the key's check value is sealed with, and the value.
const KEY_CHECK: &str = "roster";

/// How a store in a database is opened.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where the database is: `postgres://user:password@host:5432/name`. Several hosts may be named.
    pub url: Secret,
    /// Where the master key comes from. All nodes have the same, so it is never made here.
    pub master_key: MasterKeySource,
    /// What the process does with it.
    pub open_as: OpenAs,
    /// How many commands may wait and run.
    pub queue_limits: QueueLimits,
    /// How long a claim stands without being renewed: after so long the work of a node that died is taken over.
    pub lease: Duration,
    /// How many connections this node has at most; each running import holds one. One more listens for notices, and one is
    /// for the leases.
    pub connections_max: usize,
    /// Where to listen for the other nodes' notices, if not at `url`: the same database, past a pooler of transactions.
    pub direct_url: Option<Secret>,
    /// How long a worker waits for a notice before it looks for work by itself.
    pub look_every: Duration,
}

/// The store of many nodes.
pub struct PostgresStore {
    shared: Arc<Shared>,
    tokens: Together<Questions<AskTokens>>,
    commands: Together<Questions<AskCommands>>,
    accepting: Accepting,
    /// The runtime that the pool's connections live on.
    handle: Handle,
    /// What goes on as long as the store is there: leases are renewed, notices sent and listened for.
    background: Vec<JoinHandle<()>>,
}

struct Shared {
    pool: Pool,
    /// One connection for the leases alone: whatever the others wait for, the claims of this node stand.
    renewals: Pool,
    queue: Queue,
    key: MasterKey,
    open_as: OpenAs,
    queue_limits: QueueLimits,
    lease_ms: i64,
    /// What this process is called in the lanes that it has claimed.
    node: String,
    /// What it is called in its notices: another one at every start.
    node_id: String,
}

impl PostgresStore {
    /// Connects, and migrates the database where it lacks something.
    pub async fn open(settings: PostgresSettings) -> Result<PostgresStore, StoreError> {
        let PostgresSettings { url, master_key, open_as, queue_limits, lease, connections_max, direct_url, look_every } =
            settings;
        let direct = connection::sessions(direct_url.as_ref().unwrap_or(&url).expose())?;
        let pool = connection::pool(connection::sessions(url.expose())?, connections_max)?;
        let renewals = connection::pool(connection::sessions(url.expose())?, 1)?;
        migration::migrate(&pool, &migration::steps()?).await?;
        // Of one that was moved away the accepting and claiming statements know.
        moving::check_standing(&pool, &moving::place(url.expose())?, open_as).await?;
        let key = check_key(&pool, master_key).await?;
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let queue = Queue::new(look_every);
        let (node, node_id) = (node_name(), uuid::Uuid::new_v4().simple().to_string());
        let shared = Arc::new(Shared { pool, renewals, queue, key, open_as, queue_limits, lease_ms, node, node_id });
        let background = match open_as {
            // It holds no claims and waits for nothing.
            OpenAs::Operator => Vec::new(),
            OpenAs::Server => vec![
                tokio::spawn(receiving::clear_away(Arc::clone(&shared))),
                tokio::spawn(queue::renew_for_ever(Arc::downgrade(&shared), lease)),
                tokio::spawn(notice::send_for_ever(Arc::clone(&shared))),
                tokio::spawn(notice::listen_for_ever(Arc::clone(&shared), direct)),
            ],
        };
        let tokens = Together::new(Questions(AskTokens(Arc::clone(&shared))));
        let commands = Together::new(Questions(AskCommands(Arc::clone(&shared))));
        Ok(PostgresStore {
            accepting: Accepting::new(Arc::clone(&shared)),
            shared,
            tokens,
            commands,
            handle: Handle::current(),
            background,
        })
    }

    async fn client(&self) -> Result<Lent, StoreError> {
        connection(&self.shared.pool).await
    }

    fn end_background(&self) {
        self.background.iter().for_each(JoinHandle::abort);
    }

    /// Of what runs here, this node knows more than it has told.
    fn with_own_progress(&self, command: &mut Command) {
        if let (CommandState::Running { rows }, Some(known)) =
            (&mut command.state, self.shared.queue.progress(command.id))
        {
            *rows = known;
        }
    }

    /// What only a node that serves may do.
    fn serving(&self) -> Result<(), StoreError> {
        match self.shared.open_as {
            OpenAs::Server => Ok(()),
            OpenAs::Operator => Err(refusal::not_serving()),
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.end_background();
    }
}

/// Borrows a connection for a question, and waits for the answer no longer than a request may.
macro_rules! ask {
    ($store:expr, |$client:ident| $question:expr) => {
        ask!($store, ANSWERED_WITHIN, |$client| $question)
    };
    ($store:expr, $most:expr, |$client:ident| $question:expr) => {{
        let $client = $store.client().await?;
        let answer = within($most, $question).await;
        $client.done(answer)
    }};
}

/// The same for a change of what a move takes along: refused while there is one.
macro_rules! change {
    ($store:expr, |$tx:ident| $change:expr) => {{
        let changing = || "changing what there is";
        let mut client = $store.client().await?;
        let work = async {
            let $tx = connection::begin(&mut client).await.context(changing)?;
            moving::not_while_moving(&$tx).await?;
            let done = $change.await?;
            $tx.commit().await.context(changing)?;
            client.confirmed()?;
            Ok(done)
        };
        let done = within(ANSWERED_WITHIN, work).await;
        client.done(done)
    }};
}

#[async_trait]
impl Store for PostgresStore {
    async fn create_account(&self, name: &str, now_ms: i64) -> Result<Account, StoreError> {
        change!(self, |tx| accounts::create_account(tx.client(), name, now_ms))
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        ask!(self, |client| accounts::accounts(&client))
    }

    async fn create_program(
        &self,
        account: AccountId,
        program: NewProgram,
        now_ms: i64,
    ) -> Result<Program, StoreError> {
        change!(self, |tx| accounts::create_program(tx.client(), account, program, now_ms))
    }

    async fn programs(&self, account: Option<AccountId>) -> Result<Vec<Program>, StoreError> {
        ask!(self, |client| accounts::programs(&client, account))
    }

    async fn find_program(&self, program: ProgramId) -> Result<Option<Program>, StoreError> {
        ask!(self, |client| accounts::find_program(&client, program))
    }

    async fn set_program_active(&self, account: AccountId, program: ProgramId, active: bool) -> Result<(), StoreError> {
        change!(self, |tx| accounts::set_program_active(tx.client(), account, program, active))
    }

    async fn update_program(
        &self,
        account: AccountId,
        program: ProgramId,
        settings: ProgramSettings,
    ) -> Result<(), StoreError> {
        change!(self, |tx| accounts::update_program(tx.client(), account, program, &settings))
    }

    async fn add_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        field_type: FieldType,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        change!(self, |tx| accounts::add_field(&tx, (account, program), name, field_type, now_ms))
    }

    async fn remove_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        change!(self, |tx| accounts::remove_field(&tx, (account, program), name, now_ms))
    }

    async fn create_token(&self, account: AccountId, token: NewToken, now_ms: i64) -> Result<(), StoreError> {
        let token = SealedToken::new(&self.shared.key, account, token)?;
        change!(self, |tx| accounts::create_token(tx.client(), &token, now_ms))
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenListing>, StoreError> {
        ask!(self, |client| accounts::tokens(&client, account))
    }

    async fn rotate_token(
        &self,
        token: &str,
        secret: &Secret,
        overlap_ms: u64,
        now_ms: i64,
    ) -> Result<Rotated, StoreError> {
        let key = &self.shared.key;
        change!(self, |tx| accounts::rotate_token(tx.client(), key, token, (secret, overlap_ms, now_ms)))
    }

    async fn revoke_token(&self, token: &str, now_ms: i64) -> Result<(), StoreError> {
        change!(self, |tx| accounts::revoke_token(tx.client(), token, now_ms))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        ask!(self, |client| queue::backlog(&client))
    }

    async fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        within(LOOKED_UP_WITHIN, self.tokens.serve(token.to_owned())).await?.transpose()
    }

    async fn note_use(&self, token: TokenNumber, now_ms: i64) -> Result<(), StoreError> {
        ask!(self, |client| accounts::note_use(&client, token, now_ms))
    }

    async fn program(&self, account: AccountId, program: ProgramId) -> Result<Option<Program>, StoreError> {
        ask!(self, |client| accounts::program(&client, account, program))
    }

    async fn schema(&self, account: AccountId, program: ProgramId) -> Result<Schema, StoreError> {
        ask!(self, |client| async {
            accounts::the_program(&client, account, program).await?;
            accounts::schema(&client, program).await
        })
    }

    async fn remembered(&self, token: TokenNumber, signature: &[u8; 32]) -> Result<Option<Remembered>, StoreError> {
        ask!(self, |client| async {
            let found = commands::remembered(&client, token, signature).await?;
            if found.is_some() {
                commands::confirm(&client, token, signature).await?;
            }
            Ok(found)
        })
    }

    async fn accept(&self, command: NewCommand) -> Result<Accepted, StoreError> {
        self.serving()?;
        test_point("accept.before_commit");
        self.accepting.accept(command).await
    }

    fn receive(
        &self,
        account: AccountId,
        program: ProgramId,
        command: CommandId,
    ) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.serving()?;
        receiving::begin(&self.shared, &self.handle, (account, program), command)
    }

    async fn command(&self, account: AccountId, command: CommandId) -> Result<Option<Command>, StoreError> {
        let found = within(LOOKED_UP_WITHIN, self.commands.serve((account, command))).await?;
        let mut found = found.map(|row| row.command()).transpose()?;
        if let Some(found) = &mut found {
            self.with_own_progress(found);
        }
        Ok(found)
    }

    async fn cancel(
        &self,
        account: AccountId,
        command: CommandId,
        by: &str,
        now_ms: i64,
    ) -> Result<Option<Cancellation>, StoreError> {
        let trace = refusal::new_id(now_ms)?.simple().to_string();
        let mut client = self.client().await?;
        let cancelled = cancelling::cancel(&mut client, (account, command), by, &trace, now_ms);
        let cancelled = within(ANSWERED_WITHIN, cancelled).await;
        let cancelled = client.done(cancelled)?;
        let queue = &self.shared.queue;
        match cancelled {
            Some(Cancellation::Done) => {
                queue.completions.announce(command);
                queue.outbox.tell_done(command);
                // It may have been the head of its lane.
                queue.announce_work_everywhere();
            }
            Some(Cancellation::Asked) => {
                queue.cancel(command, by);
                queue.outbox.tell_cancelled(command, by);
            }
            Some(Cancellation::TooLate) | None => {}
        }
        Ok(cancelled)
    }

    async fn commands(
        &self,
        account: AccountId,
        program: ProgramId,
        query: CommandQuery,
    ) -> Result<CommandPage, StoreError> {
        let mut page = ask!(self, READ_WITHIN, |client| async {
            accounts::the_program(&client, account, program).await?;
            commands::page(&client, (account, program), query).await
        })?;
        page.commands.iter_mut().for_each(|command| self.with_own_progress(command));
        Ok(page)
    }

    fn file(&self, account: AccountId, command: &Command) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let file = payloads::file(&self.shared, &self.handle, account, command)?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    async fn contacts(
        &self,
        account: AccountId,
        program: ProgramId,
        query: ContactQuery,
    ) -> Result<ContactPage, StoreError> {
        ask!(self, READ_WITHIN, |client| async {
            let program = accounts::the_program(&client, account, program).await?;
            contacts::page(&client, program.id, program.tag, query).await
        })
    }

    async fn contact_totals(
        &self,
        account: AccountId,
        filter: ContactFilter,
    ) -> Result<Vec<(Program, u64)>, StoreError> {
        ask!(self, READ_WITHIN, |client| contacts::totals(&client, account, filter))
    }

    fn snapshot(&self, account: AccountId, program: ProgramId) -> Result<Box<dyn ContactSnapshot>, StoreError> {
        let beginning = async {
            let client = self.client().await?;
            let program = within(READ_WITHIN, accounts::the_program(&client, account, program)).await?;
            snapshot::Snapshot::begin(client, self.handle.clone(), program).await
        };
        Ok(Box::new(blocking(&self.handle, beginning)?))
    }

    async fn contact(&self, account: AccountId, contact: ContactId) -> Result<Option<(Program, Contact)>, StoreError> {
        ask!(self, |client| async {
            let Some(program) = accounts::program_by_tag(&client, account, contact.tag).await? else { return Ok(None) };
            let found = contacts::contact(&client, program.id, contact).await?;
            Ok(found.map(|contact| (program, contact)))
        })
    }

    async fn claim(&self, reach: Reach, now_ms: i64) -> Result<Option<Claim>, StoreError> {
        self.serving()?;
        queue::claim(&self.shared, reach, now_ms).await
    }

    async fn work_arrived(&self, reach: Reach) {
        self.shared.queue.arrived(reach).await;
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        queue::give_back(&self.shared, claim).await
    }

    async fn finish(&self, claim: &Claim, report: &Report, trace: &str, now_ms: i64) -> Result<(), StoreError> {
        queue::finish(&self.shared, claim, report, trace, now_ms).await
    }

    fn cancelled(&self, claim: &Claim) -> Option<String> {
        self.shared.queue.cancelled(claim)
    }

    fn completions(&self) -> &Completions {
        &self.shared.queue.completions
    }

    fn progress(&self, claim: &Claim, rows: u64) {
        if self.shared.queue.set_progress(claim, rows) {
            let (shared, claim) = (Arc::clone(&self.shared), claim.clone());
            self.handle.spawn(async move {
                if let Err(fault) = queue::tell_progress(&shared, &claim, rows).await {
                    tracing::debug!(command = %claim.command, %fault, "progress was not told");
                }
            });
        }
    }

    fn begin_import(&self, claim: &Claim, now_ms: i64) -> Result<Begin, StoreError> {
        import_tx::begin(&self.shared, &self.handle, claim, now_ms)
    }

    async fn forget(&self, past: Past, count_max: u32) -> Result<Forgotten, StoreError> {
        ask!(self, READ_WITHIN, |client| keeping::forget(&client, past, count_max))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.end_background();
        self.shared.pool.close();
        self.shared.renewals.close();
        Ok(())
    }
}

/// Waits for database work, on a thread that may be one of the runtime's own.
fn blocking<T>(handle: &Handle, work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| handle.block_on(work))
}

/// Loads the master key, and makes sure that it is the one that this database's secrets were sealed with; the first node's
/// becomes that.
async fn check_key(pool: &Pool, source: MasterKeySource) -> Result<MasterKey, StoreError> {
    let client = first_connection(pool).await?;
    let key = check_key_with(&client, source).await;
    client.done(key)
}

async fn check_key_with(client: &Client, source: MasterKeySource) -> Result<MasterKey, StoreError> {
    let checking = || "checking the master key";
    let asked = client.query_typed_opt("SELECT sealed FROM master_key_check", &[]).await.context(checking)?;
    let key = MasterKey::load(&if asked.is_some() { source.of_existing() } else { source })?;
    let sealed = key.seal(Purpose::KeyCheck, KEY_CHECK, KEY_CHECK.as_bytes())?;
    client
        .execute_typed(
            "INSERT INTO master_key_check (one, sealed) VALUES (1, $1) ON CONFLICT (one) DO NOTHING",
            &[(&sealed, Type::BYTEA)],
        )
        .await
        .context(checking)?;
    let known: Vec<u8> = client
        .query_typed_one("SELECT sealed FROM master_key_check", &[])
        .await
        .and_then(|row| row.try_get(0))
        .context(checking)?;
    match key.open(Purpose::KeyCheck, KEY_CHECK, &known) {
        Some(_) => Ok(key),
        None => Err(StoreError::Refused(
            "the master key is not the one that the tokens' secrets in this database were sealed with; \
             start with the key that belongs to it"
                .to_owned(),
        )),
    }
}

/// For people who look at the lanes; nothing depends on it.
fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}
