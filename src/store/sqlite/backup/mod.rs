//! A copy of a data directory, taken while a service works in it, and such a copy put back (`restore`).
//!
//! The catalogue and the program files cannot be copied at one moment, and nobody is to wait for the copy. Each file is
//! copied as it was at a moment of its own (a read transaction), in an order that makes every difference one that can be
//! mended:
//!
//! 1. It is noted which commands are open, and which was accepted last.
//! 2. The programs' files are copied.
//! 3. The catalogue is copied. So it knows every command that is in a copied program file: an import is applied after it
//!    was accepted.
//! 4. A command that the copied catalogue calls complete and applied, and that is not in its program's copied file, was
//!    applied after that file was copied, so it is one of step 1 or newer. In the copy it is made to wait again. It is
//!    then carried out after a restore: once, on the same contacts, and in its old place, because all that are missing
//!    in a program's file are the last ones that were applied to it.
//! 5. The uploads of the commands that the copied catalogue knows are copied. A file was complete before its command. What was put into
//!    the console and is no import yet is not in the copy: it is a day old at most.
//! 6. A manifest is written. Without it a directory is no backup.
//!
//! A command that was applied, and of which the catalogue does not know that yet, needs nothing: a start asks the
//! program's file. The copy is in no need of what was not flushed, and of no other file.

mod manifest;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sha2::{Digest, Sha256};

use super::accounts::uuid;
use super::connection::{Access, Context, check_library, open};
use super::history;
use super::migration;
use super::payloads::sync_directory;
use crate::command::CommandId;
use crate::command::test_point::test_point;
use crate::store::{StoreError, record};
use crate::tenant::ProgramId;
use manifest::{Entry, Manifest};
pub use restore::{RestoreSettings, Restored, restore};

const CATALOGUE: &str = "catalogue.db";
const MASTER_KEY: &str = "master.key";
const PROGRAMS: &str = "programs";
const PAYLOADS: &str = "payloads";

/// How many pages are copied between two looks at the progress: 8 MB.
const PAGES_AT_ONCE: i32 = 1_000;

/// How many bytes are read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What is to be copied, and where to.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// The data directory; a service may be working in it.
    pub data: PathBuf,
    /// The directory of the copy: new, or empty.
    pub to: PathBuf,
    /// Whether the master key in the data directory is copied too.
    pub with_key: bool,
    /// The moment that is written into the manifest.
    pub now_ms: i64,
}

/// What was copied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackedUp {
    /// Programs that have contacts.
    pub programs: u64,
    /// Uploads that are files.
    pub uploads: u64,
    /// Commands, whatever came of them.
    pub commands: u64,
    /// Those that are carried out after a restore.
    pub commands_open: u64,
    /// Of these, the ones that were completed while the copy was made.
    pub commands_again: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether the master key is among them.
    pub with_key: bool,
}

/// How far a copy is: bytes that are done, and that there are, as far as that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// Done.
    pub done: u64,
    /// There are.
    pub all: u64,
}

/// Whom progress is told.
pub type Watcher<'a> = &'a mut dyn FnMut(Amount);

/// Copies a data directory. Blocking.
pub fn backup(settings: &BackupSettings, watcher: Watcher<'_>) -> Result<BackedUp, StoreError> {
    check_library()?;
    let BackupSettings { data, to, with_key, now_ms } = settings;
    let catalogue = data.join(CATALOGUE);
    if !catalogue.is_file() {
        return Err(StoreError::Refused(format!("{} is no data directory: it has no {CATALOGUE}", data.display())));
    }
    if *with_key && !data.join(MASTER_KEY).is_file() {
        return Err(StoreError::Refused(format!(
            "the master key is not in the data directory {}, so it cannot be copied with it; keep a copy of it where it is",
            data.display()
        )));
    }
    make_empty_directory(to)?;
    for directory in [PROGRAMS, PAYLOADS] {
        make_directory(&to.join(directory))?;
    }
    let before = Before::note(&catalogue)?;
    let programs = files_of(&data.join(PROGRAMS), "db", ProgramId::parse)?;
    let uploads = files_of(&data.join(PAYLOADS), "csv", CommandId::parse)?;
    let paths = programs.iter().map(|(_, path)| path).chain(uploads.iter().map(|(_, path)| path));
    let all = paths.chain([&catalogue]).map(|path| fs::metadata(path).map_or(0, |metadata| metadata.len())).sum();
    let mut copy = Copying { from: data, to, amount: Amount { done: 0, all }, watcher, entries: Vec::new() };
    for (program, _) in &programs {
        copy.database(&format!("{PROGRAMS}/{program}.db"), |_| Ok(()))?;
    }
    test_point("backup.programs_copied");
    let mut backed_up = BackedUp { programs: programs.len() as u64, with_key: *with_key, ..BackedUp::default() };
    let known = copy.database(CATALOGUE, |catalogue| {
        migration::migrate(catalogue, &to.join(CATALOGUE), migration::CATALOGUE)?;
        catalogue.execute_batch("BEGIN").context(|| "mending the copied catalogue")?;
        backed_up.commands_again = before.mend(catalogue, &to.join(PROGRAMS))?;
        // Whoever signed out since then, or was thrown out, must not be in again when the copy is put in place. And what is no import yet is
        // not copied: it is a day old at most, and its sender has it.
        catalogue
            .execute_batch(
                "DELETE FROM console_session; DELETE FROM console_link; DELETE FROM upload_use; DELETE FROM upload; COMMIT",
            )
            .context(|| "mending the copied catalogue")?;
        let known = commands(catalogue)?;
        backed_up.commands = known.len() as u64;
        backed_up.commands_open = known.iter().filter(|command| command.is_open).count() as u64;
        Ok(known)
    })?;
    for Known { command, is_open, is_inline } in known {
        let copied = !is_inline && copy.upload(command, is_open)?;
        backed_up.uploads += u64::from(copied);
    }
    if *with_key {
        copy.file(MASTER_KEY)?;
    }
    let entries = copy.entries;
    backed_up.bytes = entries.iter().map(|entry| entry.bytes).sum();
    for directory in [PROGRAMS, PAYLOADS] {
        sync_directory(&to.join(directory))?;
    }
    manifest::write(to, &Manifest::new(*now_ms, *with_key, entries))?;
    Ok(backed_up)
}

/// The commands that were not complete when a backup began, and how many there had been.
struct Before {
    open: BTreeSet<i64>,
    last: i64,
    fields: BTreeMap<Vec<u8>, [i64; 3]>,
}

impl Before {
    fn note(path: &Path) -> Result<Before, StoreError> {
        let noting = || format!("reading {}", path.display());
        let catalogue = open(path, Access::Read)?;
        // All of one moment.
        catalogue.execute_batch("BEGIN").context(noting)?;
        let last =
            catalogue.query_row("SELECT coalesce(max(seq), 0) FROM command", [], |row| row.get(0)).context(noting)?;
        let open = catalogue
            .prepare("SELECT seq FROM command WHERE state <> 'complete'")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .context(noting)?;
        Ok(Before { open, last, fields: fields(&catalogue)? })
    }

    /// Lets those commands wait again, in a copied catalogue, whose effect the copied program files do not have; says
    /// how many.
    fn mend(&self, catalogue: &Connection, programs: &Path) -> Result<u64, StoreError> {
        let mending = || "comparing the copied catalogue with the copied program files";
        let mut select = catalogue
            .prepare("SELECT seq, id, program FROM command WHERE state = 'complete' ORDER BY program, seq")
            .context(mending)?;
        let ended: Vec<(i64, CommandId, ProgramId)> = select
            .query_map([], |row| Ok((row.get(0)?, CommandId(uuid(row, 1)?), ProgramId(uuid(row, 2)?))))
            .and_then(|rows| {
                let is_newer = |seq: i64| seq > self.last || self.open.contains(&seq);
                rows.filter(|row| row.as_ref().map_or(true, |(seq, ..)| is_newer(*seq))).collect()
            })
            .context(mending)?;
        let fields_now = fields(catalogue)?;
        let (mut file, mut again) = (None, 0);
        for (seq, command, program) in ended {
            let (report, options, finished_ms): (String, String, i64) = catalogue
                .query_row("SELECT report, options, finished_ms FROM command WHERE seq = ?1", [seq], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .context(mending)?;
            let report = record::report_from_json(&report)?;
            if !report.applied() {
                continue;
            }
            if file.as_ref().is_none_or(|(of, _)| *of != program) {
                file = Some((program, open_program(&programs.join(format!("{program}.db")))?));
            }
            if let Some((_, Some(file))) = &file
                && is_applied(file, command)?
            {
                continue;
            }
            let key = program.0.as_bytes().as_slice();
            if self.fields.get(key) != fields_now.get(key) {
                return Err(StoreError::Unavailable(format!(
                    "the fields of program {program} were changed while the copy was made; make the backup again"
                )));
            }
            // It will come to something again, and is then counted among the imports of that day.
            let options = record::options_from_json(&options)?;
            history::take_back(catalogue, seq, (&options, &report), finished_ms)?;
            // Who cancelled it came too late, and would not with what is carried out again.
            catalogue
                .execute(
                    "UPDATE command SET state = 'queued', report = NULL, trace = NULL, finished_ms = NULL,
                       cancelled_by = NULL
                     WHERE seq = ?1",
                    [seq],
                )
                .context(mending)?;
            again += 1;
        }
        Ok(again)
    }
}

/// What says whether a program's fields were changed: how many there are, how many removed, and when.
fn fields(catalogue: &Connection) -> Result<BTreeMap<Vec<u8>, [i64; 3]>, StoreError> {
    catalogue
        .prepare(
            "SELECT program, count(*), count(removed_ms), coalesce(sum(removed_ms), 0) FROM field GROUP BY program",
        )
        .and_then(|mut select| {
            select.query_map([], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?])))?.collect()
        })
        .context(|| "reading the programs' fields")
}

/// A copied file, which nobody else has open.
fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).context(|| format!("opening {}", path.display()))
}

/// A program's copied file; `None` if there was none, or one that was just being made.
fn open_program(path: &Path) -> Result<Option<Connection>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = open_copy(path)?;
    let steps: i64 = file
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .context(|| format!("reading {}", path.display()))?;
    Ok((steps > 0).then_some(file))
}

fn is_applied(file: &Connection, command: CommandId) -> Result<bool, StoreError> {
    file.prepare_cached("SELECT 1 FROM applied WHERE command = ?1")
        .and_then(|mut select| select.query_row([command.0.as_bytes().as_slice()], |_| Ok(())).optional())
        .context(|| format!("asking whether command {command} was applied"))
        .map(|found| found.is_some())
}

/// A command of the copied catalogue.
struct Known {
    command: CommandId,
    is_open: bool,
    is_inline: bool,
}

fn commands(catalogue: &Connection) -> Result<Vec<Known>, StoreError> {
    catalogue
        .prepare(
            "SELECT id, state <> 'complete', payload.seq IS NOT NULL
             FROM command LEFT JOIN payload ON payload.seq = command.seq",
        )
        .and_then(|mut select| {
            let known = |row: &rusqlite::Row<'_>| {
                Ok(Known { command: CommandId(uuid(row, 0)?), is_open: row.get(1)?, is_inline: row.get(2)? })
            };
            select.query_map([], known)?.collect()
        })
        .context(|| "listing the commands of the copied catalogue")
}

/// Files being copied, and what is told of them.
struct Copying<'a> {
    from: &'a Path,
    to: &'a Path,
    amount: Amount,
    watcher: Watcher<'a>,
    entries: Vec<Entry>,
}

impl Copying<'_> {
    /// Copies a database as it is at one moment, into a file that needs no other beside it; `then` sees the copy.
    fn database<T>(
        &mut self,
        name: &str,
        then: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = self.to.join(name);
        let copying = || format!("copying {name}");
        let source = open(&self.from.join(name), Access::Read)?;
        // From here on the source is what it is now, whoever writes: the copy need not begin again.
        source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").context(copying)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(&path, flags).context(copying)?;
        let started = self.amount.done;
        {
            let pages = Backup::new(&source, &mut target).context(copying)?;
            loop {
                let step = pages.step(PAGES_AT_ONCE).context(copying)?;
                let progress = pages.progress();
                let (done, all) = (progress.pagecount - progress.remaining, progress.pagecount.max(1));
                let bytes = fs::metadata(self.from.join(name)).map_or(0, |metadata| metadata.len());
                let done = u64::try_from(done).unwrap_or(0) * bytes / u64::try_from(all).unwrap_or(1);
                self.tell(started + done);
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => return Err(StoreError::Unavailable(format!("{}: the file is locked", copying()))),
                }
            }
        }
        let result = then(&mut target)?;
        // No write-ahead log: the file is whole by itself.
        let mode: String = target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).context(copying)?;
        if mode != "delete" {
            return Err(StoreError::Fault(format!("{}: its log stays in mode {mode}", copying())));
        }
        target.close().map_err(|(_, error)| error).context(copying)?;
        self.entry(name)?;
        Ok(result)
    }

    /// Copies the upload of a command. Nothing is lost where it is gone, if the command is complete.
    fn upload(&mut self, command: CommandId, is_open: bool) -> Result<bool, StoreError> {
        let name = format!("{PAYLOADS}/{command}.csv");
        match fs::copy(self.from.join(&name), self.to.join(&name)) {
            Ok(bytes) => self.tell(self.amount.done + bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_open => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Unavailable(format!(
                    "the upload of command {command} was removed while the copy was made; make the backup again"
                )));
            }
            Err(error) => return Err(error).context(|| format!("copying {name}")),
        }
        self.entry(&name)?;
        Ok(true)
    }

    /// Copies a file, with its mode.
    fn file(&mut self, name: &str) -> Result<(), StoreError> {
        fs::copy(self.from.join(name), self.to.join(name)).context(|| format!("copying {name}"))?;
        self.entry(name)
    }

    /// Flushes a copied file, and notes what it is.
    fn entry(&mut self, name: &str) -> Result<(), StoreError> {
        let (bytes, sha256) = digest(&self.to.join(name))?;
        self.entries.push(Entry { path: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    fn tell(&mut self, done: u64) {
        self.amount = Amount { done, all: self.amount.all.max(done) };
        (self.watcher)(self.amount);
    }
}

/// The size and the SHA-256 of a file, which is flushed to the disk.
fn digest(path: &Path) -> Result<(u64, String), StoreError> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).context(reading)?;
    file.sync_all().context(reading)?;
    let (mut digest, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = file.read(&mut piece).context(reading)?;
        if count == 0 {
            let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((bytes, hex));
        }
        digest.update(&piece[..count]);
        bytes += count as u64;
    }
}

/// The files of a directory that are named by an id.
fn files_of<T>(
    directory: &Path,
    extension: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<(T, PathBuf)>, StoreError> {
    let listing = || format!("listing {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context(listing)? {
        let path = entry.context(listing)?.path();
        if path.extension().is_some_and(|end| end == extension)
            && let Some(id) = path.file_stem().and_then(|stem| parse(stem.to_str()?))
        {
            files.push((id, path));
        }
    }
    Ok(files)
}

/// For the owner only: contacts are in it.
fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(|| format!("making the directory {}", path.display()))
}

fn make_empty_directory(path: &Path) -> Result<(), StoreError> {
    make_directory(path)?;
    let mut entries = fs::read_dir(path).context(|| format!("listing {}", path.display()))?;
    if entries.next().is_some() {
        return Err(StoreError::Refused(format!("the directory {} is not empty", path.display())));
    }
    Ok(())
}
