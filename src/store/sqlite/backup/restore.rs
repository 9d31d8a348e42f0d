//! Puts a backup back: checked whole before anything is in its place, and then moved there, the catalogue last.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest};
use super::{
    Amount, CATALOGUE, MASTER_KEY, PAYLOADS, PROGRAMS, StoreError, Watcher, check_library, digest, make_directory,
    make_empty_directory, open_copy,
};
use crate::store::sqlite::connection::Context;
use crate::store::sqlite::payloads::sync_directory;

/// Where the files are until they are known to be whole. A start of the service makes nothing of it.
const UNFINISHED: &str = "restoring";

/// Which backup is put where.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The backup's directory.
    pub from: PathBuf,
    /// The data directory: new, or empty.
    pub data: PathBuf,
}

/// What was put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// When the backup was begun.
    pub moment: String,
    /// How many files.
    pub files: u64,
    /// And their bytes.
    pub bytes: u64,
    /// Whether the master key was among them.
    pub with_key: bool,
}

/// Puts a backup into a new or empty data directory. After a failure nothing of it is there. Blocking.
pub fn restore(settings: &RestoreSettings, watcher: Watcher<'_>) -> Result<Restored, StoreError> {
    check_library()?;
    let RestoreSettings { from, data } = settings;
    let manifest = manifest::read(from)?;
    make_empty_directory(data)?;
    let unfinished = data.join(UNFINISHED);
    let done = (|| {
        // So that no service makes new data here meanwhile.
        let lock_path = data.join("lock");
        let lock = File::create_new(&lock_path).context(|| format!("making {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Refused(format!("a roster is serving the data directory {}", data.display())));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).context(|| format!("locking {}", lock_path.display()));
            }
        }
        copy(from, &unfinished, &manifest, watcher)?;
        put(&unfinished, data, &manifest)?;
        lock.unlock().context(|| format!("unlocking {}", lock_path.display()))
    })();
    if let Err(fault) = done {
        // As empty as before, so that it can be tried again.
        for directory in [&unfinished, &data.join(PROGRAMS), &data.join(PAYLOADS)] {
            let _ = fs::remove_dir_all(directory);
        }
        for file in [CATALOGUE, MASTER_KEY, "lock"] {
            let _ = fs::remove_file(data.join(file));
        }
        return Err(fault);
    }
    let Manifest { moment, with_key, files, .. } = manifest;
    let bytes = files.iter().map(|entry| entry.bytes).sum();
    Ok(Restored { moment, files: files.len() as u64, bytes, with_key })
}

/// Copies the files, and checks each copy: that it is what was written, and that SQLite finds nothing wrong with it.
fn copy(from: &Path, to: &Path, manifest: &Manifest, watcher: Watcher<'_>) -> Result<(), StoreError> {
    for directory in [to.to_owned(), to.join(PROGRAMS), to.join(PAYLOADS)] {
        make_directory(&directory)?;
    }
    let mut amount = Amount { done: 0, all: manifest.files.iter().map(|entry| entry.bytes).sum() };
    for entry in &manifest.files {
        let path = to.join(&entry.path);
        let source = from.join(&entry.path);
        if !source.is_file() {
            return Err(StoreError::Refused(format!("the backup is not whole: {} is missing", source.display())));
        }
        fs::copy(&source, &path).context(|| format!("copying {}", source.display()))?;
        if digest(&path)? != (entry.bytes, entry.sha256.clone()) {
            return Err(StoreError::Refused(format!(
                "the backup is damaged: {} is not the file that was written",
                source.display()
            )));
        }
        if path.extension().is_some_and(|end| end == "db") {
            check(&path, &source)?;
        }
        amount.done += entry.bytes;
        watcher(amount);
    }
    Ok(())
}

fn check(path: &Path, shown: &Path) -> Result<(), StoreError> {
    let found: String = open_copy(path)?
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .context(|| format!("checking {}", shown.display()))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::Refused(format!("the backup is damaged: SQLite says of {}: {found}", shown.display())))
    }
}

/// Moves what is whole to its place. Without its catalogue a data directory is none, so that comes last.
fn put(unfinished: &Path, data: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let mut names = vec![PROGRAMS, PAYLOADS];
    names.extend(manifest.files.iter().map(|entry| entry.path.as_str()).filter(|path| *path == MASTER_KEY));
    for directory in [PROGRAMS, PAYLOADS] {
        sync_directory(&unfinished.join(directory))?;
    }
    for name in names.into_iter().chain([CATALOGUE]) {
        sync_directory(data)?;
        fs::rename(unfinished.join(name), data.join(name)).context(|| format!("moving {name} to its place"))?;
    }
    fs::remove_dir(unfinished).context(|| format!("removing {}", unfinished.display()))?;
    sync_directory(data)
}
