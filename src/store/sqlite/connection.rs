//! How a file is opened, and what SQLite's errors mean to the house. No statement of the schema is here.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::StoreError;

/// The first SQLite without the WAL-reset bug, which damages files that two connections write and checkpoint at once.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How long a statement waits for a lock that another process holds: an operator's command, a backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Every statement that a connection runs more than once stays prepared.
const PREPARED_STATEMENTS_MAX: usize = 64;

/// The size of a page: rows of an import fit a page by the dozen, and profiles seldom overflow.
const PAGE_BYTES: u32 = 8_192;

/// What the WAL is cut back to once it has been copied, so that one huge import does not keep its size on disk for good.
pub(super) const WAL_KEPT_BYTES: u32 = 64 * 1024 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Reads and writes; makes the file if there is none. The number is after how many pages the WAL is copied back.
    Write { checkpoint_pages: u32 },
    /// Reads a file that is there.
    Read,
}

/// Refuses to go on with a library that could damage files.
pub(super) fn check_library() -> Result<(), StoreError> {
    let linked = rusqlite::version_number();
    if linked < SQLITE_VERSION_MIN {
        return Err(StoreError::Refused(format!(
            "this roster is linked with SQLite {}, which can damage its files; 3.51.3 or newer is needed",
            rusqlite::version()
        )));
    }
    Ok(())
}

/// Opens a file in WAL mode. There is no memory map: it turns a stray write into a damaged file.
pub(super) fn open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    // Never a URI: a path may have a question mark. The connection is used by one thread at a time, which Rust checks.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = if let Access::Write { .. } = access { flags | OpenFlags::SQLITE_OPEN_CREATE } else { flags };
    let opening = || format!("opening {}", path.display());
    let connection = Connection::open_with_flags(path, flags).context(opening)?;
    connection.busy_timeout(BUSY_TIMEOUT).context(opening)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS_MAX);
    let pragmas = match access {
        // The page size comes first: it can be chosen only before the file has its first page.
        Access::Write { checkpoint_pages } => format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA wal_autocheckpoint = {checkpoint_pages}; PRAGMA journal_size_limit = {WAL_KEPT_BYTES}; \
             PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON"
        ),
        Access::Read => "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY".to_owned(),
    };
    connection.execute_batch(&pragmas).context(opening)?;
    // SQLite opens a file for reading where it may not write, as on a disk that is read-only just now. Kept, such a connection could still
    // not write when the disk can be written to again.
    if access != Access::Read && connection.is_readonly("main").context(opening)? {
        return Err(StoreError::Unavailable(format!("{}: it cannot be written to", opening())));
    }
    Ok(connection)
}

/// Has what SQLite sorts and cannot hold in memory written to this directory, in files without a name: contacts are to be nowhere but in
/// the data directory. It is of the whole process; only a connection with `temp_store = FILE` makes use of it.
pub(super) fn sort_in(connection: &Connection, directory: &Path) -> Result<(), StoreError> {
    let sorting = || format!("choosing {} for what is sorted", directory.display());
    let name = directory.to_str().ok_or_else(|| {
        StoreError::Refused(format!("the data directory's name is not valid UTF-8: {}", directory.display()))
    })?;
    connection.pragma_update(None, "temp_store_directory", name).context(sorting)
}

/// Says what was being done when something failed, and decides whether it may work later.
pub(super) trait Context<T> {
    /// Turns the error into the store's own; `what` is a phrase like `opening <path>`, never with contact data.
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, StoreError>;
}

impl<T> Context<T> for rusqlite::Result<T> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, StoreError> {
        self.map_err(|error| {
            let sentence = format!("{}: {error}", what());
            if may_pass(&error) { StoreError::Unavailable(sentence) } else { StoreError::Fault(sentence) }
        })
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, StoreError> {
        self.map_err(|error| {
            let sentence = format!("{}: {error}", what());
            // A file that ought to be there does not come back by waiting; a full disk or a missing right may.
            if error.kind() == io::ErrorKind::NotFound {
                StoreError::Fault(sentence)
            } else {
                StoreError::Unavailable(sentence)
            }
        })
    }
}

/// Whether the machine is at fault (disk, locks, rights), and not the statement or the file's content.
fn may_pass(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// Whether a statement was turned away by a UNIQUE constraint or a primary key.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        )
    })
}
