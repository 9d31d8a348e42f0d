//! Uploads that are too large to live in the catalogue: files of their own, durable before their command is.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Context;
use crate::command::test_point::test_point;
use crate::command::{CommandId, Draft, Received};
use crate::store::{PayloadWriter, StoreError};

/// Up to this size a payload is kept in the catalogue: one flush less, and no file for the many small imports.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

const FINISHED: &str = "csv";
const UNFINISHED: &str = "part";

/// The directory of the files.
#[derive(Clone)]
pub(super) struct Payloads {
    directory: PathBuf,
    left: Arc<Left>,
}

/// Files that are there and belong to no command, as far as is known.
#[derive(Default)]
struct Left {
    /// Of commands that may be accepted all the same, should the process end. (They hold this in turn, and so are not dropped with it: then
    /// the next start decides.)
    undecided: Mutex<Vec<Arc<dyn Draft>>>,
    /// What could not be removed.
    stubborn: Mutex<Vec<PathBuf>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file whose command is not accepted yet. Dropping it removes the file.
pub(super) struct DraftFile {
    path: PathBuf,
    is_kept: AtomicBool,
    left: Arc<Left>,
}

/// A file that is being written.
pub(super) struct FileWriter {
    payloads: Payloads,
    command: CommandId,
    file: File,
    draft: DraftFile,
    bytes: u64,
}

impl Payloads {
    pub(super) fn new(directory: PathBuf) -> Payloads {
        Payloads { directory, left: Arc::default() }
    }

    /// Nobody knows whether the command is in the catalogue: the file stays until that is decided, by a later command that is, or by the
    /// next start.
    pub(super) fn leave(&self, draft: Arc<dyn Draft>) {
        lock(&self.left.undecided).push(draft);
    }

    /// A command was accepted, durably: those before it that failed are not in the catalogue and never will be, and the disk is in order.
    pub(super) fn clear_away(&self) {
        let stubborn = std::mem::take(&mut *lock(&self.left.stubborn));
        let undecided = std::mem::take(&mut *lock(&self.left.undecided));
        drop(undecided);
        stubborn.into_iter().for_each(|path| remove_or_leave(path, &self.left));
    }

    /// Stores a payload, durably: when this returns, a power cut does not lose it.
    pub(super) fn write(&self, command: CommandId, payload: &[u8]) -> Result<Received, StoreError> {
        let mut writer = self.begin(command)?;
        writer.write(payload)?;
        Box::new(writer).finish()
    }

    /// Begins a file.
    pub(super) fn begin(&self, command: CommandId) -> Result<FileWriter, StoreError> {
        let path = self.path(command, UNFINISHED);
        let file = File::create_new(&path).context(|| format!("writing {}", path.display()))?;
        test_point("payload.begun");
        let draft = DraftFile { path, is_kept: AtomicBool::new(false), left: Arc::clone(&self.left) };
        Ok(FileWriter { payloads: self.clone(), command, file, draft, bytes: 0 })
    }

    pub(super) fn open(&self, command: CommandId) -> Result<File, StoreError> {
        let path = self.path(command, FINISHED);
        File::open(&path).context(|| format!("opening {}", path.display()))
    }

    /// The same, where it may have been removed.
    pub(super) fn find(&self, command: CommandId) -> Result<Option<File>, StoreError> {
        let path = self.path(command, FINISHED);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).context(|| format!("opening {}", path.display())),
        }
    }

    /// Removes the upload of a command, if it is a file.
    pub(super) fn remove(&self, command: CommandId) -> Result<(), StoreError> {
        let path = self.path(command, FINISHED);
        remove(&path).context(|| format!("removing {}", path.display()))
    }

    /// The size of a payload in bytes, if there is a file of it.
    pub(super) fn length(&self, command: CommandId) -> Result<Option<u64>, StoreError> {
        let path = self.path(command, FINISHED);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("reading {}", path.display())),
        }
    }

    /// Up to so many bytes of a payload, from a place on; fewer at its end.
    pub(super) fn read_at(&self, command: CommandId, from: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut file = self.open(command)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.take(bytes_max as u64).read_to_end(&mut bytes))
            .context(|| format!("reading the payload of command {command}"))?;
        Ok(bytes)
    }

    /// Writes a payload piece after piece, for a command that is not there yet: the first one begins anew, the last one makes
    /// it durable.
    pub(super) fn write_piece(
        &self,
        command: CommandId,
        is_first: bool,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), StoreError> {
        let unfinished = self.path(command, UNFINISHED);
        let writing = || format!("writing {}", unfinished.display());
        let mut options = File::options();
        let file = if is_first { options.create(true).write(true).truncate(true) } else { options.append(true) };
        let mut file = file.open(&unfinished).context(writing)?;
        file.write_all(bytes).context(writing)?;
        if is_last {
            file.sync_all().context(writing)?;
            fs::rename(&unfinished, self.path(command, FINISHED)).context(writing)?;
            sync_directory(&self.directory)?;
        }
        Ok(())
    }

    /// Whether there is any payload.
    pub(super) fn any(&self) -> Result<bool, StoreError> {
        let listing = || format!("listing {}", self.directory.display());
        for entry in fs::read_dir(&self.directory).context(listing)? {
            if command_of(&entry.context(listing)?.path()).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what a crash left: unfinished files, and files of commands that are not there or have none.
    pub(super) fn remove_orphans(
        &self,
        has_file: impl Fn(CommandId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let listing = || format!("listing {}", self.directory.display());
        for entry in fs::read_dir(&self.directory).context(listing)? {
            let path = entry.context(listing)?.path();
            let keep = match (path.extension().and_then(|end| end.to_str()), command_of(&path)) {
                (Some(FINISHED), Some(command)) => has_file(command)?,
                (Some(UNFINISHED), Some(_)) => false,
                // Not ours: left alone.
                _ => true,
            };
            if !keep {
                tracing::info!(path = %path.display(), "removing an upload that no command has");
                remove(&path).context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn path(&self, command: CommandId, extension: &str) -> PathBuf {
        self.directory.join(format!("{command}.{extension}"))
    }
}

impl PayloadWriter for FileWriter {
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        self.file.write_all(piece).context(|| format!("writing {}", self.draft.path.display()))
    }

    fn finish(self: Box<Self>) -> Result<Received, StoreError> {
        let FileWriter { payloads, command, file, mut draft, bytes } = *self;
        test_point("payload.written");
        file.sync_all().context(|| format!("writing {}", draft.path.display()))?;
        let finished = payloads.path(command, FINISHED);
        // Ids are made for one request each. Were one used again, this file would be removed as the second one's.
        if finished.exists() {
            return Err(StoreError::Fault(format!("there is a payload of command {command} already")));
        }
        test_point("payload.flushed");
        fs::rename(&draft.path, &finished).context(|| format!("renaming {}", draft.path.display()))?;
        draft.path = finished;
        test_point("payload.renamed");
        sync_directory(&payloads.directory)?;
        test_point("payload.durable");
        Ok(Received { command, bytes, draft: Arc::new(draft) })
    }
}

impl Draft for DraftFile {
    fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            remove_or_leave(std::mem::take(&mut self.path), &self.left);
        }
    }
}

/// Removes the file of a command that was not accepted; where that fails, it is tried again later.
fn remove_or_leave(path: PathBuf, left: &Left) {
    if let Err(error) = remove(&path) {
        tracing::warn!(path = %path.display(), %error, "an upload that was not accepted could not be removed; it goes later");
        lock(&left.stubborn).push(path);
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context(|| format!("syncing the directory {}", directory.display()))
}

fn command_of(path: &Path) -> Option<CommandId> {
    CommandId::parse(path.file_stem()?.to_str()?)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use uuid::Uuid;

    use super::*;

    fn command(number: u128) -> CommandId {
        CommandId(Uuid::from_u128(number))
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("the directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_draft_is_kept_or_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let payloads = Payloads::new(directory.path().to_owned());
        payloads.write(command(1), b"one").expect("written").draft.keep();
        drop(payloads.write(command(2), b"two").expect("written"));
        assert_eq!(names(directory.path()), ["00000000-0000-0000-0000-000000000001.csv"]);
        let mut text = String::new();
        payloads.open(command(1)).expect("opened").read_to_string(&mut text).expect("read");
        assert_eq!(text, "one");
        assert!(matches!(payloads.open(command(2)), Err(StoreError::Fault(_))));
    }

    #[test]
    fn what_was_left_goes_when_a_command_is_accepted() {
        let directory = tempfile::tempdir().expect("a directory");
        let payloads = Payloads::new(directory.path().to_owned());
        let undecided = payloads.write(command(1), b"one").expect("written").draft;
        payloads.leave(undecided);
        // In the place of a file that cannot be removed: a directory, as it is removed by another call.
        let stubborn = payloads.write(command(2), b"two").expect("written");
        let path = directory.path().join("00000000-0000-0000-0000-000000000002.csv");
        fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).expect("a directory");
        drop(stubborn);
        assert_eq!(names(directory.path()).len(), 2);
        fs::remove_dir(&path).and_then(|()| fs::write(&path, "two")).expect("a file again");
        payloads.clear_away();
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn orphans_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let payloads = Payloads::new(directory.path().to_owned());
        for number in [1, 2] {
            payloads.write(command(number), b"x").expect("written").draft.keep();
        }
        for name in ["00000000-0000-0000-0000-000000000003.part", "notes.csv", "README"] {
            fs::write(directory.path().join(name), "x").expect("written");
        }
        payloads.remove_orphans(|at| Ok(at == command(2))).expect("removed");
        assert_eq!(names(directory.path()), ["00000000-0000-0000-0000-000000000002.csv", "README", "notes.csv"]);
    }
}
