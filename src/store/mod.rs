//! The store: what is kept, as the rest of the house sees it. SQL is behind this door only.
//!
//! The trait speaks in whole imports (begin, look up a batch, apply a batch, commit or roll back), so that each home can
//! do what it does best. The tenant is the first argument of every function that reaches data.

mod account_page;
pub(crate) mod history;
pub(crate) mod moving;
mod people;
pub mod postgres;
mod record;
mod refusal;
pub mod secrets;
pub mod sqlite;
mod stock;
mod together;
mod token_row;
mod uploads;
mod user_row;
#[cfg(test)]
mod suite;
#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
mod test_server;

use std::io::Read;

use async_trait::async_trait;

use crate::command::{
    Accepted, Claim, Command, CommandId, Completions, NewCommand, QueueOf, Reach, Received, Remembered,
};
use crate::contact::{Contact, ContactId, ContactNumber, FieldType, Phone, ProgramTag, Region, Schema};
use crate::import::{Change, IdentityKeys, Report, RowFound};
use crate::tenant::{
    Account, AccountId, NewProgram, NewToken, Program, ProgramId, ProgramSettings, Programs, Rotated, Secret, Token,
    TokenListing, TokenNumber,
};

pub use history::{
    ContactKey, DayTally, History, ImportDetails, ImportItem, ImportsOf, ImportsQuery, Outcome, ProgramItem,
};
pub use people::People;
pub use uploads::{NewUpload, UPLOAD_KEPT_MS, Upload, UploadId, Uploads};

/// Why the store did not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot now, and may be able to later: the disk is full, the file is locked, the database is away.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It was asked for something that cannot be: the sentence is for the operator who asked.
    #[error("{0}")]
    Refused(String),
    /// Another attempt has taken the command over; what this one did is void.
    #[error("this attempt lost its claim")]
    LostClaim,
    /// Somebody asked that the command be cancelled while it ran: who. Nothing of it has taken effect.
    #[error("it was cancelled")]
    Cancelled(String),
    /// It failed in a way that nobody planned.
    #[error("the store failed: {0}")]
    Fault(String),
}

/// What a process does with the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenAs {
    /// It accepts commands and carries them out. On a data directory only one process at a time can.
    Server,
    /// An operator's command, beside a server or without one: it touches no command.
    Operator,
}

/// How many commands may wait and run; more are turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    /// Of one program.
    pub of_program_max: u32,
    /// Of all programs of one account. On a home of many nodes it is rough: those that are accepted in several programs at the same moment do
    /// not see each other.
    pub of_account_max: u32,
}

impl QueueLimits {
    /// How a command is turned away that finds so many of its program, and so many of its account.
    fn full(self, of_program: i64, of_account: i64) -> Option<Accepted> {
        let QueueLimits { of_program_max, of_account_max } = self;
        let queues = [(QueueOf::Program, of_program, of_program_max), (QueueOf::Account, of_account, of_account_max)];
        let (of, _, max) = queues.into_iter().find(|(_, count, max)| *count >= i64::from(*max))?;
        Some(Accepted::QueueFull { of, max })
    }
}

/// What an import's transaction starts from.
#[derive(Clone, Debug)]
pub struct ImportContext {
    /// The fields as they are now.
    pub schema: Schema,
    /// Whose national phone spellings the file uses.
    pub region: Region,
    /// What marks the ids of the program's contacts.
    pub tag: ProgramTag,
    /// The number of the next contact to be added.
    pub next_number: ContactNumber,
}

/// What a batch of rows wants to know of the program, as the earlier batches of the import left it.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// A row each.
    pub keys: &'a [IdentityKeys<'a>],
    /// Whether the values of the contacts found by id are wanted (not only which they are).
    pub values: bool,
    /// Whether a row that has ids wants to know who holds its phone, where the ids find a contact. (Not needed where
    /// that contact itself holds it; then the answer is that contact.)
    pub phones_of_existing: bool,
    /// The same, where its ids find no contact.
    pub phones_of_new: bool,
}

impl Lookup<'_> {
    /// Whether it is still to be asked who holds a row's phone; `held` are the digits of the contact that its ids found, as
    /// far as that was read.
    fn wants_phone(&self, key: &IdentityKeys<'_>, found: &RowFound, held: Option<u64>) -> bool {
        // A customer's id counts only where there is no other.
        let known = match (key.signalvine_id, key.customer_id) {
            (Some(_), _) => found.by_signalvine_id,
            (None, Some(_)) => found.by_customer_id,
            (None, None) => return true,
        };
        match known {
            Some(_) => self.phones_of_existing && held != key.phone.map(Phone::digits),
            None => self.phones_of_new,
        }
    }
}

/// How an import begins.
pub enum Begin {
    /// Its transaction is open.
    Open(Box<dyn ImportTx>),
    /// An earlier attempt committed before it could tell: this is what it reported.
    AlreadyApplied(Report),
}

/// The one transaction of an import. Blocking: it is used from a thread of its own. Dropping it rolls back.
pub trait ImportTx: Send {
    /// What the import starts from.
    fn context(&self) -> &ImportContext;
    /// The file of the command, in UTF-8. It may be read in another thread while the transaction goes on, and needs no
    /// connection beside the transaction's own. Blocking.
    fn payload(&mut self) -> Result<Box<dyn Read + Send>, StoreError>;
    /// What the next call of [`ImportTx::lookup`] will ask for. A home may begin with it meanwhile; what is applied in between is found all the
    /// same.
    fn expect(&mut self, _lookup: Lookup<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    /// Finds the contacts of a batch: one answer for each of `lookup.keys`, in their order.
    fn lookup(&mut self, lookup: Lookup<'_>) -> Result<Vec<RowFound>, StoreError>;
    /// Makes changes, in their order, within the transaction. They are valid: they come from a plan. A home may go on making them after it
    /// has answered; what fails then is told by a later call, at the latest by the commit.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;
    /// Commits contacts and report together, durably; [`StoreError::LostClaim`] if another attempt has taken over,
    /// [`StoreError::Cancelled`] if it was cancelled meanwhile.
    fn commit(self: Box<Self>, report: &Report) -> Result<(), StoreError>;
    /// Undoes everything.
    fn rollback(self: Box<Self>) -> Result<(), StoreError>;
}

/// The size of the pieces in which a file is received.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// Takes in the file of a command that is still to be accepted. Blocking: it is used from a thread of its own. Dropping it leaves
/// nothing.
pub trait PayloadWriter: Send {
    /// Takes the next piece: [`PIECE_BYTES`], and only the last one less.
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError>;
    /// That was all. What was written is durable now; that it is there is told only by its command.
    fn finish(self: Box<Self>) -> Result<Received, StoreError>;
}

/// What came of asking that a command be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancellation {
    /// It had not begun, and is complete now: cancelled.
    Done,
    /// It has begun, and is told to end; unless it is just being committed, nothing of it takes effect.
    Asked,
    /// It is complete already.
    TooLate,
}

/// Where a listed command stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateFilter {
    /// It waits.
    Queued,
    /// A worker is at it.
    Running,
    /// It is over.
    Complete,
}

/// Which commands of a program are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandQuery {
    /// Only those that stand so.
    pub state: Option<StateFilter>,
    /// How many to pass over, newest first.
    pub offset: u64,
    /// How many at most.
    pub count: u32,
}

/// A page of commands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandPage {
    /// How many there are on all pages.
    pub total: u64,
    /// Newest first.
    pub commands: Vec<Command>,
}

/// Which contacts a list shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContactFilter {
    /// Leave inactive ones out.
    pub active_only: bool,
    /// Only those that changed after this moment (strictly), in milliseconds since 1970-01-01 UTC.
    pub updated_after_ms: Option<i64>,
}

/// Where a page of a program's contacts begins, in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageStart {
    /// After so many of those that the filter lets through.
    Offset(u64),
    /// After the contact of this number: costs the same however deep it is.
    After(ContactNumber),
}

/// Which contacts of a program are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContactQuery {
    /// Which of them.
    pub filter: ContactFilter,
    /// Where the page begins.
    pub start: PageStart,
    /// How many at most.
    pub count: u32,
}

/// A page of contacts, read at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactPage {
    /// How many there are on all pages.
    pub total: u64,
    /// In the order of creation.
    pub contacts: Vec<Contact>,
}

/// Where a page of an account's contacts begins: program by program, in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountPageStart {
    /// After so many of those that the filter lets through.
    Offset(u64),
    /// After this contact.
    After(ContactId),
}

/// A page of the contacts of all programs of an account. The contacts of each program are read at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountPage {
    /// How many there are on all pages.
    pub total: u64,
    /// In the order of the programs' creation, within a program in that of the contacts'; no program without contacts.
    pub parts: Vec<(Program, Vec<Contact>)>,
}

/// What waits or runs, of all programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// How many commands.
    pub commands: u64,
    /// When the oldest of them was accepted.
    pub oldest_created_ms: Option<i64>,
}

/// What is past its time: of what is complete, that which ended before these moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Past {
    /// Uploads.
    pub payloads_before_ms: i64,
    /// Commands; their uploads go with them.
    pub commands_before_ms: i64,
}

impl Past {
    /// Before which moment a command ended whose upload is to go.
    fn uploads_before_ms(self) -> i64 {
        self.payloads_before_ms.max(self.commands_before_ms)
    }
}

/// What has been removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// Commands whose uploads went.
    pub uploads: u64,
    /// Commands that went.
    pub commands: u64,
}

/// All contacts of a program at one moment, read bit by bit. Blocking: it is used from a thread of its own.
pub trait ContactSnapshot: Send {
    /// The next ones in the order of creation, some thousand at most; none at the end.
    fn next(&mut self) -> Result<Vec<Contact>, StoreError>;
}

/// What every home of the data does. All moments are milliseconds since 1970-01-01 UTC.
#[async_trait]
pub trait Store: People + Uploads + History + Send + Sync + 'static {
    // Operators: accounts, programs, fields, tokens.

    /// Makes an account.
    async fn create_account(&self, name: &str, now_ms: i64) -> Result<Account, StoreError>;
    /// All accounts, in the order of creation.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;
    /// Makes a program of an account; `Refused` if there is no such account.
    async fn create_program(&self, account: AccountId, program: NewProgram, now_ms: i64)
    -> Result<Program, StoreError>;
    /// The programs of an account, or of all, in the order of creation.
    async fn programs(&self, account: Option<AccountId>) -> Result<Vec<Program>, StoreError>;
    /// For an operator, who has no account: the program, whosever it is.
    async fn find_program(&self, program: ProgramId) -> Result<Option<Program>, StoreError>;
    /// Sets whether a program is active; `Refused` if the account has no such program.
    async fn set_program_active(&self, account: AccountId, program: ProgramId, active: bool) -> Result<(), StoreError>;
    /// Changes what a program is called and how it reads phones; `Refused` if the account has no such program, or the name is blank.
    async fn update_program(
        &self,
        account: AccountId,
        program: ProgramId,
        settings: ProgramSettings,
    ) -> Result<(), StoreError>;
    /// Adds a variable; `Refused` if the name is taken, has been removed with another type, or cannot be a name. One that
    /// was removed with this type comes back with its number and its values.
    async fn add_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        field_type: FieldType,
        now_ms: i64,
    ) -> Result<(), StoreError>;
    /// Removes a variable; its values are shown no more. `Refused` if there is none of this name.
    async fn remove_field(
        &self,
        account: AccountId,
        program: ProgramId,
        name: &str,
        now_ms: i64,
    ) -> Result<(), StoreError>;
    /// Makes a token of an account; `Refused` if there is no such account, or it has not all the programs of the scope.
    async fn create_token(&self, account: AccountId, token: NewToken, now_ms: i64) -> Result<(), StoreError>;
    /// The tokens of an account, or of all, in the order of creation, revoked ones too.
    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenListing>, StoreError>;
    /// Gives a token a new secret. The old one holds for so long as well, and what was older holds no more. `Refused` if there is
    /// no such token, or it is revoked, or it is changed at the same moment.
    async fn rotate_token(
        &self,
        token: &str,
        secret: &Secret,
        overlap_ms: u64,
        now_ms: i64,
    ) -> Result<Rotated, StoreError>;
    /// Revokes a token at once and for good; `Refused` if there is none, or it already is.
    async fn revoke_token(&self, token: &str, now_ms: i64) -> Result<(), StoreError>;

    /// How much waits or runs, for who watches the service.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    // Requests.

    /// The token of this text, unless it is revoked. Read anew each time; whether its old secret still holds is the caller's to ask.
    async fn token(&self, token: &str) -> Result<Option<Token>, StoreError>;
    /// Notes that a token was used. Kept roughly: it may be lost when the process dies, and never goes back.
    async fn note_use(&self, token: TokenNumber, now_ms: i64) -> Result<(), StoreError>;
    /// A program of an account.
    async fn program(&self, account: AccountId, program: ProgramId) -> Result<Option<Program>, StoreError>;
    /// The fields of a program of an account; `Refused` if the account has no such program.
    async fn schema(&self, account: AccountId, program: ProgramId) -> Result<Schema, StoreError>;
    /// Whether this token's signature was accepted before.
    async fn remembered(&self, token: TokenNumber, signature: &[u8; 32]) -> Result<Option<Remembered>, StoreError>;
    /// Accepts a command, durably and once: see [`Accepted`]. `Refused` if the account has no such program or token, or
    /// this process does not serve. Its `id` must be made for this call alone. A caller that goes away while it waits
    /// may have been accepted all the same.
    async fn accept(&self, command: NewCommand) -> Result<Accepted, StoreError>;
    /// Begins to receive the file of a command that is to be accepted, where it is too large to be held in memory. `Refused` as with
    /// [`Store::accept`]. Blocking. What is not accepted is removed, after a crash by the next start or by another node.
    fn receive(
        &self,
        account: AccountId,
        program: ProgramId,
        command: CommandId,
    ) -> Result<Box<dyn PayloadWriter>, StoreError>;
    /// A command of an account.
    async fn command(&self, account: AccountId, command: CommandId) -> Result<Option<Command>, StoreError>;
    /// Cancels a command of an account, in somebody's name; `None` if there is none.
    async fn cancel(
        &self,
        account: AccountId,
        command: CommandId,
        by: &str,
        now_ms: i64,
    ) -> Result<Option<Cancellation>, StoreError>;
    /// A page of a program's commands, newest first. `Refused` if the account has no such program.
    async fn commands(
        &self,
        account: AccountId,
        program: ProgramId,
        query: CommandQuery,
    ) -> Result<CommandPage, StoreError>;
    /// The file of a complete command of an account, in UTF-8; `None` if it is kept no more. Blocking.
    fn file(&self, account: AccountId, command: &Command) -> Result<Option<Box<dyn Read + Send>>, StoreError>;
    /// A page of a program's contacts; never half an import. `Refused` if the account has no such program.
    async fn contacts(
        &self,
        account: AccountId,
        program: ProgramId,
        query: ContactQuery,
    ) -> Result<ContactPage, StoreError>;
    /// The programs of an account in the order of creation, each with how many contacts the filter lets through.
    async fn contact_totals(
        &self,
        account: AccountId,
        filter: ContactFilter,
    ) -> Result<Vec<(Program, u64)>, StoreError>;
    /// A page of the contacts of an account, as far as they are of these programs. One that begins after a contact of another
    /// program is empty.
    async fn contacts_of_account(
        &self,
        account: AccountId,
        programs: &Programs,
        filter: ContactFilter,
        start: AccountPageStart,
        count: u32,
    ) -> Result<AccountPage, StoreError> {
        account_page::read(self, (account, programs), (filter, start), count).await
    }
    /// All contacts of a program as they are now. `Refused` if the account has no such program. Blocking.
    fn snapshot(&self, account: AccountId, program: ProgramId) -> Result<Box<dyn ContactSnapshot>, StoreError>;
    /// A contact of an account, with its program.
    async fn contact(&self, account: AccountId, contact: ContactId) -> Result<Option<(Program, Contact)>, StoreError>;

    // The worker.

    /// Takes on the oldest waiting command of some program that has none running, if it is within reach; accounts take
    /// turns. `Refused` if this
    /// process does not serve.
    async fn claim(&self, reach: Reach, now_ms: i64) -> Result<Option<Claim>, StoreError>;
    /// Ends when a command within reach may have become claimable since the last call of `claim`.
    async fn work_arrived(&self, reach: Reach);
    /// Puts a command that was claimed but not finished back to the head of its program's queue. `LostClaim` if another
    /// attempt has taken over; after any other error it waits there all the same.
    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError>;
    /// Completes a command and wakes who waits for it. `LostClaim` if another attempt has taken over. After any other error
    /// it still runs: finish it again, or give it back.
    async fn finish(&self, claim: &Claim, report: &Report, trace: &str, now_ms: i64) -> Result<(), StoreError>;
    /// Who asked that a command be cancelled that runs on this node, as far as the node has heard; the word is passed on within
    /// seconds, and asked for once more at the commit.
    fn cancelled(&self, claim: &Claim) -> Option<String>;
    /// Who waits for completions on this node.
    fn completions(&self) -> &Completions;
    /// Says how many rows of a running import have been judged.
    fn progress(&self, claim: &Claim, rows: u64);
    /// Opens the import's transaction, or tells that an earlier attempt committed it. `LostClaim` if another attempt has
    /// taken over; `Cancelled` if it was cancelled, and not applied before. Blocking.
    fn begin_import(&self, claim: &Claim, now_ms: i64) -> Result<Begin, StoreError>;
    /// Removes what is complete and past its time, so many uploads and commands at most; the oldest go first. Nothing that
    /// waits or runs is touched, and what a request is known by stays as it is.
    async fn forget(&self, past: Past, count_max: u32) -> Result<Forgotten, StoreError>;
    /// Finishes what must not be lost, and closes. No other call comes after it.
    async fn close(&self) -> Result<(), StoreError>;
}
