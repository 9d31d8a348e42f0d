//! Files that somebody has put into the console and that are no imports yet: looked at, tried, then imported or left. And what is
//! remembered of a program's files: which of their columns were meant by which fields.

use std::fmt;
use std::io::Read;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::command::{CommandId, Digest, Received};
use crate::tenant::{AccountId, ProgramId};

/// For how long an upload is kept: a day.
pub const UPLOAD_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

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
    /// As the browser told it, cut to 200 characters; for people.
    pub file_name: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// When it came.
    pub created_ms: i64,
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
#[allow(unused_variables, reason = "no home answers yet")]
pub trait Uploads: Send + Sync {
    /// Keeps what was received, durably. `Refused` if the account has no such program, or this process does not serve.
    async fn keep_upload(&self, upload: NewUpload) -> Result<UploadId, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// An upload of an account.
    async fn upload(&self, account: AccountId, upload: UploadId) -> Result<Option<Upload>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Its bytes, as they came; `None` if it has gone. Blocking.
    fn upload_file(&self, account: AccountId, upload: UploadId) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Which upload a command was made of, as long as it is kept.
    async fn upload_of(&self, account: AccountId, command: CommandId) -> Result<Option<Upload>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Notes that a command was made of an upload. Of several the program page leads back from each.
    async fn note_upload(&self, account: AccountId, upload: UploadId, command: CommandId) -> Result<(), StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Removes what came at or before this moment, so many at most; how many. The keeper asks for it.
    async fn forget_uploads(&self, before_ms: i64, count_max: u32) -> Result<u64, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Which field a column of this program's files was last said to be, for all such columns: (the column's name, the field's name or
    /// `""` for a column that is left out), by the column's name. `Refused` if the account has no such program.
    async fn columns(&self, account: AccountId, program: ProgramId) -> Result<Vec<(String, String)>, StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
    /// Remembers some of them, in place of what was remembered of the same columns. At most a thousand are kept of a program, the
    /// latest. `Refused` as above.
    async fn remember_columns(
        &self,
        account: AccountId,
        program: ProgramId,
        columns: &[(String, String)],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        Err(StoreError::Fault("not built yet".to_owned()))
    }
}
