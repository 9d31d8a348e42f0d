//! What has been imported, as people look at it: lists over an account, one import with all that is known of it, days, and which
//! import last changed a contact. Made for pages: none of these costs more because a program has a million contacts or ten thousand
//! imports.

use async_trait::async_trait;
use uuid::Uuid;

use super::{StoreError, record};
use crate::command::{Command, CommandId, Digest};
use crate::contact::{Contact, ContactId, Phone};
use crate::import::{Counts, ImportOptions, NotApplied, Report};
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

/// What an import came to, as it is kept apart from its report.
pub(crate) struct Kept {
    pub(crate) is_bad: bool,
    pub(crate) is_applied: bool,
    /// Stored JSON.
    pub(crate) summary: String,
}

impl Kept {
    /// Of a report.
    pub(crate) fn of(report: &Report) -> Result<Kept, StoreError> {
        let summary = record::outcome_to_json(report)?;
        Ok(Kept { is_bad: is_bad(report), is_applied: report.applied(), summary })
    }

    /// Of a report as it is kept.
    pub(crate) fn of_stored(report: &str) -> Result<Kept, StoreError> {
        Kept::of(&record::report_from_json(report)?)
    }
}

/// What a complete import adds to its day; `None`: it is none of the day's imports. A dry run is not, and neither is what somebody cancelled:
/// it is no failure that one would have to look at.
pub(crate) struct DayShare {
    pub(crate) day: i64,
    pub(crate) bad_imports: i64,
    pub(crate) counts: Counts,
}

/// Whether an import has errors, or was not applied though it was no dry run.
fn is_bad(report: &Report) -> bool {
    match report.not_applied {
        None | Some(NotApplied::DryRun) => report.error_count > 0,
        Some(
            NotApplied::TxErrors
            | NotApplied::TooManyErrors
            | NotApplied::FileError
            | NotApplied::Limit
            | NotApplied::Cancelled,
        ) => true,
    }
}

impl DayShare {
    /// Of an import with these options that is complete at this moment.
    pub(crate) fn of(options: &ImportOptions, report: &Report, finished_ms: i64) -> Option<DayShare> {
        if options.dry_run || report.not_applied == Some(NotApplied::Cancelled) {
            return None;
        }
        let read = report.counts.read;
        let counts = match report.not_applied {
            None => report.counts,
            Some(_) => Counts { read, failed: read, ..Counts::default() },
        };
        Some(DayShare { day: finished_ms.div_euclid(DAY_MS), bad_imports: is_bad(report).into(), counts })
    }

    /// Rows added, updated, unchanged, ignored and failed, as a home keeps them.
    pub(crate) fn rows(&self) -> [i64; 5] {
        let Counts { read: _, added, updated, unchanged, ignored, failed } = self.counts;
        [added, updated, unchanged, ignored, failed].map(u64::cast_signed)
    }
}

impl DayTally {
    /// Of what a home has kept.
    pub(crate) fn kept(program: ProgramId, day: i64, [imports, bad_imports]: [i64; 2], rows: [i64; 5]) -> DayTally {
        let [added, updated, unchanged, ignored, failed] = rows.map(i64::cast_unsigned);
        let counts =
            Counts { read: added + updated + unchanged + ignored + failed, added, updated, unchanged, ignored, failed };
        DayTally { program, day, imports: imports.cast_unsigned(), bad_imports: bad_imports.cast_unsigned(), counts }
    }
}

/// Milliseconds in a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How far the time in a command's id may be from when it was accepted: its id is made when its file begins to come in.
const ID_AHEAD_MS: i64 = 3 * DAY_MS;

/// The ids between which the commands are that were accepted in this time, as far as their ids tell: the exact moments are asked as well.
pub(crate) fn ids_of(from_ms: Option<i64>, before_ms: Option<i64>) -> (Uuid, Uuid) {
    let least = |ms: i64| Uuid::from_u128(u128::from(ms.max(0).cast_unsigned() & ((1 << 48) - 1)) << 80);
    let from = from_ms.map_or(Uuid::nil(), |ms| least(ms.saturating_sub(ID_AHEAD_MS)));
    (from, before_ms.map_or(Uuid::max(), |ms| least(ms.saturating_add(DAY_MS))))
}

/// An import that was applied, and was over when a contact changed, or later.
pub(crate) struct Changer {
    pub(crate) command: CommandId,
    pub(crate) created_ms: i64,
    /// When its only attempt began; `None` if there were several, or that is not known.
    pub(crate) started_ms: Option<i64>,
    pub(crate) finished_ms: i64,
}

/// Which of the first two of these, in the order in which they were over, changed a contact at this moment; `None`: it is kept no more.
///
/// Imports of a program come one after the other, so it is the first one, if it had begun by then (had been accepted, where there were several attempts: any may have done it). But where one is over and the next
/// begins within the same millisecond, what changed in it is the next one's: an import changes contacts at the moment at which it begins.
pub(crate) fn changer(first: Option<Changer>, second: Option<Changer>, changed_ms: i64) -> Option<CommandId> {
    let began = |import: &Changer| import.started_ms.unwrap_or(import.created_ms);
    let first = first.filter(|first| began(first) <= changed_ms)?;
    let ended_there = first.finished_ms == changed_ms && began(&first) < changed_ms;
    let next = second.filter(|second| ended_there && began(second) <= changed_ms);
    Some(next.unwrap_or(first).command)
}

/// How many of the newest imports of an account are asked for who sent them.
pub(crate) const SENDERS_ASKED_MAX: i64 = 1_000;
/// How many senders are told.
pub(crate) const SENDERS_MAX: i64 = 100;

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
pub trait History: Send + Sync {
    /// The programs of an account, in the order of creation.
    async fn program_items(&self, account: AccountId) -> Result<Vec<ProgramItem>, StoreError>;
    /// The same of one program.
    async fn program_item(&self, account: AccountId, program: ProgramId) -> Result<Option<ProgramItem>, StoreError>;
    /// Imports of an account, newest first.
    async fn imports(&self, account: AccountId, query: ImportsQuery) -> Result<Vec<ImportItem>, StoreError>;
    /// The names of those who sent imports lately, at most a hundred, by name.
    async fn senders(&self, account: AccountId) -> Result<Vec<String>, StoreError>;
    /// One import of an account, with all that is known of it.
    async fn import_details(&self, account: AccountId, command: CommandId)
    -> Result<Option<ImportDetails>, StoreError>;
    /// What happened on each day from this one on, in the order of days; days and programs without imports are left out.
    async fn days(&self, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError>;
    /// The contact that a key leads to, in a program of an account.
    async fn find_contact(
        &self,
        account: AccountId,
        program: ProgramId,
        key: ContactKey,
    ) -> Result<Option<Contact>, StoreError>;
    /// The import that last changed a contact (or added it), if it is still kept.
    async fn last_import(&self, account: AccountId, contact: &Contact) -> Result<Option<CommandId>, StoreError>;
    /// A number that is another one whenever the contacts of a program may be other ones than before: what was read from them may be kept as
    /// long as it stays. `Refused` if the account has no such program.
    async fn contacts_version(&self, account: AccountId, program: ProgramId) -> Result<i64, StoreError>;
}
