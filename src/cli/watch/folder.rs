//! The directory that files are dropped into, and what is kept in it: which files are complete, taking one out, giving it back as done
//! or failed. Every step is one that a kill leaves either done or not done.
//!
//! ```text
//! DIR/contacts.csv               dropped
//! DIR/.roster/lock               held by the one watcher
//! DIR/.roster/<id>/contacts.csv  taken, with what is known of it beside (see `job`)
//! DIR/done/, DIR/failed/         what became of it
//! ```

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use crate::cli::failure::Failure;

/// What is kept beside the files.
const OWN: &str = ".roster";
/// Where files go that took effect.
pub(super) const DONE: &str = "done";
/// Where the others go.
pub(super) const FAILED: &str = "failed";
/// The longest name, in bytes: file systems take 255, and the report's name is longer.
const NAME_BYTES_MAX: usize = 230;
/// So many files of one name there can be in such a folder.
const SAME_NAMES_MAX: u32 = 1_000_000;

/// A directory that this process alone watches.
pub(super) struct Folder {
    dir: PathBuf,
    /// Held for as long as it is open.
    _lock: File,
    seen: HashMap<OsString, Seen>,
}

/// A file as it was when it was last looked at.
struct Seen {
    bytes: u64,
    modified: SystemTime,
    since: Instant,
}

/// Whether a file may be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Files that have not changed for long enough, in the order in which they are to be imported.
    pub(super) complete: Vec<OsString>,
    /// How many others there are.
    pub(super) growing: usize,
}

impl Folder {
    /// Makes what has to be in a directory, and keeps others from watching it.
    pub(super) fn open(dir: &Path) -> Result<Folder, Failure> {
        let wrong = |error: io::Error| Failure::yours(format!("cannot watch {}: {error}", dir.display()));
        if !fs::metadata(dir).map_err(wrong)?.is_dir() {
            return Err(Failure::yours(format!("cannot watch {}: it is no directory", dir.display())));
        }
        for inner in [OWN, DONE, FAILED] {
            match fs::create_dir(dir.join(inner)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(wrong(error)),
                Ok(()) | Err(_) => {}
            }
        }
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join(OWN).join("lock")).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::yours(format!("another 'roster watch' has {}", dir.display())));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        sync_dir(dir).map_err(wrong)?;
        Ok(Folder { dir: dir.to_owned(), _lock: lock, seen: HashMap::new() })
    }

    /// What was taken before and is not finished: its directories.
    pub(super) fn taken(&self) -> io::Result<Vec<PathBuf>> {
        let mut taken = Vec::new();
        for entry in fs::read_dir(self.dir.join(OWN))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                taken.push(entry.path());
            }
        }
        taken.sort();
        Ok(taken)
    }

    /// Looks what is there. `settle`: for how long a complete file has not changed.
    pub(super) fn look(&mut self, settle: Duration) -> io::Result<Found> {
        let now = Instant::now();
        let mut seen = HashMap::new();
        let mut complete = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            // What has gone meanwhile is not there.
            let Ok(metadata) = entry.metadata() else { continue };
            if !metadata.is_file() || !is_wanted(&name) {
                continue;
            }
            let (bytes, modified) = (metadata.len(), metadata.modified()?);
            let before = self.seen.get(&name).filter(|seen| seen.bytes == bytes && seen.modified == modified);
            let since = before.map_or(now, |seen| seen.since);
            if now.duration_since(since) >= settle {
                complete.push((modified, name.clone()));
            }
            seen.insert(name, Seen { bytes, modified, since });
        }
        complete.sort();
        let growing = seen.len() - complete.len();
        self.seen = seen;
        Ok(Found { complete: complete.into_iter().map(|(_, name)| name).collect(), growing })
    }

    /// Takes a file out of the directory: from then on it is ours, and another one may come under its name. `None` if it is gone.
    pub(super) fn take(&self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        if name.len() > NAME_BYTES_MAX {
            let text = format!("its name has more than {NAME_BYTES_MAX} bytes");
            return Err(io::Error::new(ErrorKind::InvalidFilename, text));
        }
        let path = self.dir.join(name);
        // What cannot be read stays where its owner finds it.
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => drop(opened?),
        }
        let taken = self.dir.join(OWN).join(Uuid::new_v4().to_string());
        fs::create_dir(&taken)?;
        match fs::rename(&path, taken.join(name)) {
            Err(error) => {
                fs::remove_dir(&taken)?;
                if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) }
            }
            Ok(()) => {
                sync_dir(&taken)?;
                sync_dir(&self.dir.join(OWN))?;
                sync_dir(&self.dir)?;
                Ok(Some(taken))
            }
        }
    }

    /// The directory's own folder of this name.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Files that are still being brought have other names (`.x`, `x.part`, `x.tmp`, `x~`), and so have the programs' own (`~$x.csv`).
fn is_wanted(name: &OsStr) -> bool {
    let begins_hidden = matches!(name.as_encoded_bytes().first(), Some(b'.' | b'~'));
    !begins_hidden && Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"))
}

/// The names under which a file and what is told of it are put away; the same number in all three.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    pub(super) file: OsString,
    pub(super) report: OsString,
    pub(super) errors: OsString,
}

impl Names {
    /// `contacts.csv`, `contacts-2.csv`, ….
    pub(super) fn of(name: &OsStr, number: u32) -> Names {
        let (stem, end) = (Path::new(name).file_stem(), Path::new(name).extension());
        let with = |end: &OsStr| {
            let mut whole = stem.unwrap_or(name).to_owned();
            if number > 1 {
                whole.push(format!("-{number}"));
            }
            whole.push(".");
            whole.push(end);
            whole
        };
        Names {
            file: with(end.unwrap_or_default()),
            report: with("report.json".as_ref()),
            errors: with("errors.csv".as_ref()),
        }
    }

    /// The first number of which none is taken in a folder.
    pub(super) fn first_free(folder: &Path, name: &OsStr) -> io::Result<u32> {
        let is_there = |name: &OsString| is_there(&folder.join(name));
        for number in 1..=SAME_NAMES_MAX {
            let Names { file, report, errors } = Names::of(name, number);
            if !is_there(&file)? && !is_there(&report)? && !is_there(&errors)? {
                return Ok(number);
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, format!("{SAME_NAMES_MAX} files of this name")))
    }
}

fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Moves a file, if it is still there. What has its new name already is not written over.
pub(super) fn move_to(from: &Path, folder: &Path, name: &OsStr) -> io::Result<()> {
    if !is_there(from)? {
        return Ok(());
    }
    if is_there(&folder.join(name))? {
        let text = format!("{} is there already", folder.join(name).display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    fs::rename(from, folder.join(name))
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// A file's text, if it is there.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes the names in a directory outlast a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &Found) -> Vec<&str> {
        found.complete.iter().map(|name| name.to_str().expect("UTF-8")).collect()
    }

    #[test]
    fn complete_files_are_found_in_their_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut folder = Folder::open(dir.path()).expect("opened");
        let put = |name: &str, text: &str, modified_s: u64| {
            fs::write(dir.path().join(name), text).expect("written");
            let file = File::options().write(true).open(dir.path().join(name)).expect("opened");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified_s)).expect("set");
        };
        for (name, modified_s) in [("b.csv", 7), ("a.csv", 7), ("late.CSV", 9), ("early.csv", 5)] {
            put(name, "phone\n", modified_s);
        }
        for other in [".a.csv", "a.csv.part", "a.csv.tmp", "a.csv~", "~$a.csv", "a.txt", "csv"] {
            put(other, "phone\n", 1);
        }
        fs::create_dir(dir.path().join("inner.csv")).expect("made");
        std::os::unix::fs::symlink("a.csv", dir.path().join("link.csv")).expect("made");
        let at_once = folder.look(Duration::ZERO).expect("looked");
        assert_eq!((names(&at_once), at_once.growing), (vec!["early.csv", "a.csv", "b.csv", "late.CSV"], 0));
        // Nothing has been seen for an hour.
        let later = folder.look(Duration::from_secs(3_600)).expect("looked");
        assert_eq!((names(&later), later.growing), (vec![], 4));
        // What changes begins anew, by its size or by its time alone.
        let past = Instant::now() - Duration::from_secs(10);
        folder.seen.values_mut().for_each(|seen| seen.since = past);
        put("a.csv", "phone\n1\n", 7);
        put("late.CSV", "phone\n", 8);
        let found = folder.look(Duration::from_secs(10)).expect("looked");
        assert_eq!((names(&found), found.growing), (vec!["early.csv", "b.csv"], 2));
    }

    #[test]
    fn a_directory_has_one_watcher() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Folder::open(dir.path()).expect("opened");
        let second = Folder::open(dir.path()).err().expect("refused").to_string();
        assert!(second.starts_with("another 'roster watch' has "), "{second}");
        drop(first);
        assert!(Folder::open(dir.path()).is_ok());
        assert!(Folder::open(&dir.path().join("nowhere")).is_err());
    }

    #[test]
    fn a_file_that_is_taken_makes_room_for_another_of_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(dir.path()).expect("opened");
        assert_eq!(folder.take("a.csv".as_ref()).expect("asked"), None);
        for text in ["first", "second"] {
            fs::write(dir.path().join("a.csv"), text).expect("written");
            let taken = folder.take("a.csv".as_ref()).expect("asked").expect("taken");
            assert_eq!(fs::read_to_string(taken.join("a.csv")).expect("there"), text);
        }
        assert_eq!(folder.taken().expect("listed").len(), 2);
    }

    #[test]
    fn what_is_put_away_writes_over_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = |name: &str| Names::first_free(dir.path(), name.as_ref()).expect("free");
        assert_eq!(first("a.csv"), 1);
        fs::write(dir.path().join("a.report.json"), "").expect("written");
        assert_eq!((first("a.csv"), first("a.CSV"), first("a.b.csv")), (2, 2, 1));
        let Names { file, report, errors } = Names::of("a.b.CSV".as_ref(), 3);
        assert_eq!([file, report, errors], ["a.b-3.CSV", "a.b-3.report.json", "a.b-3.errors.csv"]);
        fs::write(dir.path().join("x"), "x").expect("written");
        assert!(move_to(&dir.path().join("x"), dir.path(), "a.report.json".as_ref()).is_err());
        move_to(&dir.path().join("x"), dir.path(), "y".as_ref()).expect("moved");
        move_to(&dir.path().join("x"), dir.path(), "y".as_ref()).expect("it was moved before");
        assert_eq!(fs::read_to_string(dir.path().join("y")).expect("there"), "x");
    }
}
