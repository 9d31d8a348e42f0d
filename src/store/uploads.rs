//! Files that somebody has put into the console and that are no imports yet: looked at, tried, then imported or left. And what is
//! remembered of a program's files: which of their columns were meant by which fields.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::command::{CommandId, Digest, Received};
use crate::tenant::{AccountId, ProgramId};

/// For how long an upload is kept: a day.
pub const UPLOAD_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// How much of a file's name is kept.
const FILE_NAME_CHARS_MAX: usize = 200;

/// How many columns are remembered of a program.
pub(crate) const COLUMNS_KEPT_MAX: u32 = 1_000;

/// The longest name that is remembered, of a column or of a field, in bytes: an index must take it.
const NAME_BYTES_MAX: usize = 1_000;

/// Which of these columns can be remembered, each once; the last one counts.
pub(crate) fn columns_to_keep(columns: &[(String, String)]) -> Vec<(String, String)> {
    let can_be = |name: &str| name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    let kept = columns.iter().filter(|(name, field)| can_be(name) && can_be(field)).cloned();
    let once: BTreeMap<String, String> = kept.collect();
    once.into_iter().take(COLUMNS_KEPT_MAX as usize).collect()
}

/// An upload. It is received under the id of a command that never is ([`super::Store::receive`]), which is this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UploadId(pub Uuid);

impl UploadId {
    /// Reads the 36-character form, any case.
    pub fn parse(text: &str) -> Option<UploadId> {
        crate::contact::parse_uuid(text).map(UploadId)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An upload that is to be kept.
#[derive(Clone)]
pub struct NewUpload {
    /// Whose it is.
    pub account: AccountId,
    /// What it is to be imported into.
    pub program: ProgramId,
    /// What it was received as: `CommandId(upload.0)`.
    pub received: Received,
    /// Who sent it: a user's name.
    pub by: String,
    /// As the browser told it, for people; its first 200 characters are kept.
    pub file_name: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// When it came.
    pub created_ms: i64,
}

impl NewUpload {
    /// What is kept of the file's name: some of it, and no character that a database does not take.
    pub(crate) fn file_name_to_keep(&self) -> String {
        let kept = self.file_name.chars().take(FILE_NAME_CHARS_MAX);
        kept.map(|at| if at == '\0' { char::REPLACEMENT_CHARACTER } else { at }).collect()
    }
}

/// An upload, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// What it is to be imported into.
    pub program: ProgramId,
    /// Who sent it: a user's name.
    pub by: String,
    /// For people.
    pub file_name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// When it came.
    pub created_ms: i64,
}

/// Uploads. All moments are milliseconds since 1970-01-01 UTC.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Keeps what was received, durably: it is no draft any more, and nothing hangs on this process. `Refused` if the account has no such
    /// program, or this process does not serve. What is not kept is removed, as what is not accepted.
    async fn keep_upload(&self, upload: NewUpload) -> Result<UploadId, StoreError>;
    /// An upload of an account.
    async fn upload(&self, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError>;
    /// Its bytes, as they came; `None` if it has gone. Blocking.
    fn upload_file(&self, account: AccountId, upload: UploadId) -> Result<Option<Box<dyn Read + Send>>, StoreError>;
    /// Which upload a command was made of, as long as it is kept.
    async fn upload_of(&self, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError>;
    /// Notes that a command was made of an upload: the first time it is said. One upload may be made into several commands, and
    /// each leads back to it. Nothing if one of the two is not there, or is another account's.
    async fn note_upload(&self, account: AccountId, upload: UploadId, command: CommandId) -> Result<(), StoreError>;
    /// Removes what came at or before this moment, so many at most, the oldest first; how many. The commands that were made of it
    /// have their own files, and stay. The keeper asks for it.
    async fn forget_uploads(&self, before_ms: i64, count_max: u32) -> Result<u64, StoreError>;
    /// Which field a column of this program's files was last said to be, for all such columns: (the column's name, the field's name or
    /// `""` for a column that is left out), by the column's name. `Refused` if the account has no such program.
    async fn columns(&self, account: AccountId, program: ProgramId) -> Result<Vec<(String, String)>, StoreError>;
    /// Remembers some of them, in place of what was remembered of the same columns. At most a thousand are kept of a program, the
    /// latest. A name with a NUL or of more than 1,000 bytes is not remembered. `Refused` as above.
    async fn remember_columns(
        &self,
        account: AccountId,
        program: ProgramId,
        columns: &[(String, String)],
        now_ms: i64,
    ) -> Result<(), StoreError>;
}
