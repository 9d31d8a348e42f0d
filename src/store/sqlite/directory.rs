//! A data directory from the outside: its folders, its locks, its catalogue and the key that belongs to it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::connection::{Access, Context, open};
use super::migration;
use super::payloads::sync_directory;
use crate::store::StoreError;
use crate::store::secrets::{MasterKey, MasterKeySource, Purpose};

/// After how many pages the catalogue's WAL is copied back: 8 MB. The one who commits does it, so little at a time.
pub(super) const CATALOGUE_CHECKPOINT_PAGES: u32 = 1_000;

/// The file's name in the data directory.
pub(super) const CATALOGUE: &str = "catalogue.db";

/// The context that the key's check value is sealed with, and the value.
const KEY_CHECK: &str = "roster";

/// Makes what is missing; gives the directories of the program files and of the payloads.
pub(super) fn make_directories(data: &Path) -> Result<(PathBuf, PathBuf), StoreError> {
    let (programs, payloads) = (data.join("programs"), data.join("payloads"));
    for directory in [data, &programs, &payloads] {
        make_directory(directory)?;
    }
    Ok((programs, payloads))
}

/// Opens the catalogue to write, or makes it, and loads the key that belongs to it.
pub(super) fn open_catalogue(data: &Path, master_key: MasterKeySource) -> Result<(Connection, MasterKey), StoreError> {
    // Two processes that make the same files at once would disturb each other. Given back when this function ends.
    let opening = open_lock_file(&data.join("opening.lock"))?;
    opening.lock().context(|| format!("locking {}", data.join("opening.lock").display()))?;
    let path = data.join(CATALOGUE);
    let mut catalogue = open(&path, Access::Write { checkpoint_pages: CATALOGUE_CHECKPOINT_PAGES })?;
    migration::migrate(&mut catalogue, &path, migration::CATALOGUE)?;
    sync_directory(data)?;
    let key = check_key(&catalogue, master_key)?;
    Ok((catalogue, key))
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

pub(super) fn lock_to_serve(data: &Path) -> Result<ServingLock, StoreError> {
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
