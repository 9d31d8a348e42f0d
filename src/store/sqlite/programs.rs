//! The files of the programs: opened when they are needed, the least recently used closed first.
//!
//! The map is locked only to find a file in it; what is done on a disk is done under that one file's own lock, or none.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension, params};

use super::connection::{Access, Context, open};
use super::migration;
use super::payloads::sync_directory;
use crate::contact::ProgramTag;
use crate::store::StoreError;
use crate::tenant::{Program, ProgramId};

/// How many program files stay open, each with up to three connections of three descriptors.
const OPEN_FILES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// How many reading connections a file keeps between reads.
const IDLE_READERS_MAX: usize = 2;

/// After how many pages the WAL is copied back: 32 MB. More, and crash recovery and every read get slower; less, and an
/// import copies the same pages again and again.
const CHECKPOINT_PAGES: u32 = 4_000;

/// All program files of a data directory.
pub(super) struct ProgramFiles {
    directory: PathBuf,
    open: Mutex<LruCache<ProgramId, Arc<ProgramFile>>>,
}

/// One program's file.
pub(super) struct ProgramFile {
    program: ProgramId,
    tag: ProgramTag,
    path: PathBuf,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    /// Whether the file is known to be there, of this schema, and this program's.
    checked: bool,
    writer: Option<Connection>,
    readers: Vec<Connection>,
}

impl ProgramFiles {
    pub(super) fn new(directory: PathBuf) -> ProgramFiles {
        ProgramFiles { directory, open: Mutex::new(LruCache::new(OPEN_FILES_MAX)) }
    }

    pub(super) fn get(&self, program: &Program) -> Arc<ProgramFile> {
        let mut open = self.lock();
        if let Some(file) = open.get(&program.id) {
            return Arc::clone(file);
        }
        let file = Arc::new(ProgramFile {
            program: program.id,
            tag: program.tag,
            path: self.directory.join(format!("{}.db", program.id)),
            connections: Mutex::default(),
        });
        let closed = open.push(program.id, Arc::clone(&file));
        // Closing a file may copy its WAL back: not while others wait for the map.
        drop(open);
        drop(closed);
        file
    }

    /// Whether there is any file.
    pub(super) fn any(&self) -> Result<bool, StoreError> {
        let mut entries =
            std::fs::read_dir(&self.directory).context(|| format!("listing {}", self.directory.display()))?;
        Ok(entries.next().is_some())
    }

    /// Closes the files that are not in use.
    pub(super) fn close(&self) {
        let closed = std::mem::replace(&mut *self.lock(), LruCache::new(OPEN_FILES_MAX));
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<ProgramId, Arc<ProgramFile>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgramFile {
    /// Reads; `None` if there is no file, because nothing was ever imported.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(mut reader) = self.reader()? else { return Ok(None) };
        let result = read(&mut reader);
        let mut connections = self.lock();
        if connections.readers.len() < IDLE_READERS_MAX {
            connections.readers.push(reader);
        }
        result.map(Some)
    }

    /// A reading connection that stays the caller's; `None` if there is no file.
    pub(super) fn reader_apart(&self) -> Result<Option<Connection>, StoreError> {
        self.reader()
    }

    /// The writing connection; it makes the file if there is none. It belongs to the caller until it is returned.
    pub(super) fn take_writer(&self) -> Result<Connection, StoreError> {
        let mut connections = self.lock();
        match connections.writer.take() {
            Some(writer) => Ok(writer),
            None => self.open_writer(&mut connections),
        }
    }

    /// The size of its WAL.
    pub(super) fn log_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        std::fs::metadata(log).map_or(0, |log| log.len())
    }

    pub(super) fn return_writer(&self, writer: Connection) {
        let replaced = self.lock().writer.replace(writer);
        drop(replaced);
    }

    fn reader(&self) -> Result<Option<Connection>, StoreError> {
        let mut connections = self.lock();
        if let Some(reader) = connections.readers.pop() {
            return Ok(Some(reader));
        }
        if !connections.checked {
            if !self.exists()? {
                return Ok(None);
            }
            // Opened to write, once: the file may be of an older schema.
            let writer = self.open_writer(&mut connections)?;
            connections.writer = Some(writer);
        }
        open(&self.path, Access::Read).map(Some)
    }

    fn exists(&self) -> Result<bool, StoreError> {
        self.path.try_exists().context(|| format!("looking for {}", self.path.display()))
    }

    fn open_writer(&self, connections: &mut Connections) -> Result<Connection, StoreError> {
        let is_new = !connections.checked && !self.exists()?;
        let mut writer = open(&self.path, Access::Write { checkpoint_pages: CHECKPOINT_PAGES })?;
        if !connections.checked {
            migration::migrate(&mut writer, &self.path, migration::PROGRAM)?;
            self.claim_for_program(&writer)?;
            // What a process before this one has committed, and failed to flush, is in the WAL and may not be on the disk.
            writer
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
                .context(|| format!("copying the WAL of {} back", self.path.display()))?;
            connections.checked = true;
        }
        if is_new {
            // Its name must outlive a power cut as surely as what is committed to it.
            sync_directory(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(writer)
    }

    /// Writes into a new file whose it is, and refuses one that is another program's.
    fn claim_for_program(&self, writer: &Connection) -> Result<(), StoreError> {
        let reading = || format!("reading {}", self.path.display());
        writer
            .execute(
                "INSERT INTO meta (one, program, tag, next_number, contacts, active) VALUES (1, ?1, ?2, 1, 0, 0)
                 ON CONFLICT (one) DO NOTHING",
                params![self.program.0.as_bytes().as_slice(), self.tag.bits().cast_signed()],
            )
            .context(reading)?;
        let whose: Option<(Vec<u8>, i64)> = writer
            .query_row("SELECT program, tag FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .context(reading)?;
        let expected = (self.program.0.as_bytes().to_vec(), self.tag.bits().cast_signed());
        if whose != Some(expected) {
            return Err(StoreError::Refused(format!(
                "{} holds the contacts of another program, or of another catalogue's",
                self.path.display()
            )));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
