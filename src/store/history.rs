//! What has been imported, as people look at it: lists over an account, one import with all that is known of it, days, and which
//! import last changed a contact. Made for pages: none of these costs more because a program has a million contacts or ten thousand
//! imports.

use async_trait::async_trait;

use super::StoreError;
use crate::command::{Command, CommandId, Digest};
use crate::contact::{Contact, ContactId, Phone};
use crate::import::{Counts, ImportOptions, NotApplied};
use crate::tenant::{AccountId, Program, ProgramId};

/// Where an import stands, for a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It waits.
    Queued,
    /// A worker is at it; so many rows are judged.
    Running {
        /// Rows judged so far.
        rows: u64,
    },
    /// It is over.
    Complete {
        /// What each row did, or would have done.
        counts: Counts,
        /// `None`: it took effect.
        not_applied: Option<NotApplied>,
        /// All errors.
        error_count: u64,
        /// When it ended.
        finished_ms: i64,
    },
}

/// An import in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportItem {
    /// Its id.
    pub id: CommandId,
    /// What it changes.
    pub program: ProgramId,
    /// Who sent it: the name of a token, or of a user.
    pub from: String,
    /// Whether it only tells what it would do.
    pub dry_run: bool,
    /// When it was accepted.
    pub created_ms: i64,
    /// The size of its file in bytes.
    pub payload_bytes: u64,
    /// Where it stands.
    pub outcome: Outcome,
}

/// Which imports a list is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImportsOf {
    /// All.
    All,
    /// Those that wait.
    Queued,
    /// Those that run.
    Running,
    /// Those that are over and have no error.
    Good,
    /// Those that are over and have errors, or were not applied (but for dry runs without errors).
    Bad,
}

/// What a list of imports is to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportsQuery {
    /// Those of this program; `None`: of all of the account.
    pub program: Option<ProgramId>,
    /// Those that stand so.
    pub of: ImportsOf,
    /// Those of this sender, by the exact name.
    pub from: Option<String>,
    /// Those accepted at this moment or later.
    pub created_from_ms: Option<i64>,
    /// Those accepted before this moment.
    pub created_before_ms: Option<i64>,
    /// Those older than this one: where the page before ended.
    pub after: Option<CommandId>,
    /// How many at most.
    pub count: u32,
}

impl ImportsQuery {
    /// The newest so many of all.
    pub fn all(count: u32) -> ImportsQuery {
        ImportsQuery {
            program: None,
            of: ImportsOf::All,
            from: None,
            created_from_ms: None,
            created_before_ms: None,
            after: None,
            count,
        }
    }
}

/// What else is known of an import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportDetails {
    /// As a client sees it, with its report.
    pub command: Command,
    /// What was asked.
    pub options: ImportOptions,
    /// Of the bytes that were signed or uploaded: the body's SHA-256. `None` of what was accepted before this was kept.
    pub body_digest: Option<Digest>,
    /// When its last attempt began; `None` if it never did, or that is not known.
    pub started_ms: Option<i64>,
    /// How often it was begun.
    pub attempts: u32,
    /// Whether its file is still kept.
    pub has_file: bool,
}

/// What a day's imports did in a program: those that were complete on this day, and took effect or failed; dry runs do not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayTally {
    /// Which program.
    pub program: ProgramId,
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// How many imports.
    pub imports: u64,
    /// Of these, those with errors, or that were not applied.
    pub bad_imports: u64,
    /// Rows of all of them by fate. Of an import that was not applied all rows that were read count as failed.
    pub counts: Counts,
}

/// A program as the overview shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramItem {
    /// Itself.
    pub program: Program,
    /// Its contacts, inactive ones too.
    pub contacts: u64,
    /// Those of them that are active.
    pub active: u64,
    /// How many imports wait or run.
    pub open: u64,
    /// The newest import, dry runs too.
    pub last: Option<ImportItem>,
}

/// What leads to one contact of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContactKey {
    /// The service's own id.
    Id(ContactId),
    /// The customer's.
    CustomerId(String),
    /// The phone.
    Phone(Phone),
}

/// What people look at. All moments are milliseconds since 1970-01-01 UTC.
#[async_trait]
#[allow(unused_variables, reason = "no home answers yet")]
pub trait History: Send + Sync {
    /// The programs of an account, in the order of creation.
    async fn program_items(&self, account: AccountId) -> Result<Vec<ProgramItem>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// The same of one program.
    async fn program_item(&self, account: AccountId, program: ProgramId) -> Result<Option<ProgramItem>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Imports of an account, newest first.
    async fn imports(&self, account: AccountId, query: ImportsQuery) -> Result<Vec<ImportItem>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// The names of those who sent imports lately, at most a hundred, by name.
    async fn senders(&self, account: AccountId) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// One import of an account, with all that is known of it.
    async fn import_details(
        &self,
        account: AccountId,
        command: CommandId,
    ) -> Result<Option<ImportDetails>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// What happened on each day from this one on, in the order of days; days and programs without imports are left out.
    async fn days(&self, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// The contact that a key leads to, in a program of an account.
    async fn find_contact(
        &self,
        account: AccountId,
        program: ProgramId,
        key: ContactKey,
    ) -> Result<Option<Contact>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// The import that last changed a contact (or added it), if it is still kept.
    async fn last_import(&self, account: AccountId, contact: &Contact) -> Result<Option<CommandId>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// A number that is another one whenever the contacts of a program may be other ones than before: what was read from them may be kept as
    /// long as it stays. `Refused` if the account has no such program.
    async fn contacts_version(&self, account: AccountId, program: ProgramId) -> Result<i64, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
}
