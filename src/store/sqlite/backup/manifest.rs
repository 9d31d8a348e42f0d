//! The list of a backup's files, written last: a copy that broke off has none, and one that was damaged differs from it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CATALOGUE, MASTER_KEY, PAYLOADS, PROGRAMS};
use crate::command::CommandId;
use crate::contact::date_time::print_ms;
use crate::store::StoreError;
use crate::store::sqlite::connection::Context;
use crate::store::sqlite::payloads::sync_directory;
use crate::tenant::ProgramId;

/// The file's name in a backup.
pub(super) const MANIFEST: &str = "manifest.json";

/// What later versions count up when they write something that this one would misread.
pub(super) const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Who wrote it.
    pub(super) version: String,
    /// When it was begun.
    pub(super) moment: String,
    pub(super) with_key: bool,
    pub(super) files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Below the backup's directory.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Manifest {
    pub(super) fn new(now_ms: i64, with_key: bool, files: Vec<Entry>) -> Manifest {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { format: FORMAT, version, moment: print_ms(now_ms), with_key, files }
    }
}

impl Entry {
    /// Whether it has a place in a data directory. A manifest is a file like any other: it must not lead out of one.
    pub(super) fn has_a_place(&self) -> bool {
        let named = |folder: &str, end: &str| self.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(end);
        [CATALOGUE, MASTER_KEY].contains(&self.path.as_str())
            || named(PROGRAMS, ".db").and_then(ProgramId::parse).is_some()
            || named(PAYLOADS, ".csv").and_then(CommandId::parse).is_some()
    }
}

/// Writes it, durably and at once.
pub(super) fn write(directory: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let writing = || format!("writing {}", directory.join(MANIFEST).display());
    let text =
        serde_json::to_string_pretty(manifest).map_err(|error| StoreError::Fault(format!("{}: {error}", writing())))?;
    let part = directory.join("manifest.part");
    let mut file = File::create_new(&part).context(writing)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).context(writing)?;
    file.sync_all().context(writing)?;
    sync_directory(directory)?;
    fs::rename(&part, directory.join(MANIFEST)).context(writing)?;
    sync_directory(directory)
}

/// Reads it; `Refused` if the directory is no backup that this program can put back.
pub(super) fn read(directory: &Path) -> Result<Manifest, StoreError> {
    let path = directory.join(MANIFEST);
    let refused = |why: String| StoreError::Refused(format!("{} is no whole backup: {why}", directory.display()));
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refused(format!("it has no {MANIFEST}, which is written last")));
        }
        read => read.context(|| format!("reading {}", path.display()))?,
    };
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| refused(format!("its {MANIFEST} cannot be read: {error}")))?;
    if manifest.format != FORMAT {
        return Err(StoreError::Refused(format!(
            "{} was written by roster {}, in a form that this roster does not know; restore it with that one",
            directory.display(),
            manifest.version
        )));
    }
    if let Some(entry) = manifest.files.iter().find(|entry| !entry.has_a_place()) {
        return Err(refused(format!("its {MANIFEST} names '{}', which is no file of a data directory", entry.path)));
    }
    if !manifest.files.iter().any(|entry| entry.path == CATALOGUE) {
        return Err(refused(format!("its {MANIFEST} names no {CATALOGUE}")));
    }
    Ok(manifest)
}
