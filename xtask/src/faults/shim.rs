//! The library that is preloaded (`faults.c`): built with the machine's C compiler, and told what is to fail.
//!
//! It needs no privilege and no mount, so it works wherever the tests do. What it stands between is libc, which SQLite, Rust's standard
//! library and PostgreSQL all go through for files and for the clock.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("faults.c");

/// What is asked of the system for a file. As in `faults.c`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Asked {
    /// A new file.
    Create = 1,
    /// Bytes to be written, or a file to be longer.
    Write = 2,
    /// Bytes to be on the disk.
    Sync = 4,
    /// A new name, or a new directory.
    Name = 8,
    /// A name to go, or a file to be shorter.
    Remove = 16,
    /// A file that is there to be opened for writing.
    Change = 32,
    /// Any file to be opened.
    Look = 64,
}

impl Asked {
    const ALL: [(&'static str, Asked); 7] = [
        ("create", Asked::Create),
        ("write", Asked::Write),
        ("sync", Asked::Sync),
        ("name", Asked::Name),
        ("remove", Asked::Remove),
        ("change", Asked::Change),
        ("look", Asked::Look),
    ];

    pub(super) fn word(self) -> &'static str {
        Asked::ALL.iter().find(|(_, asked)| *asked == self).map_or("", |(word, _)| word)
    }
}

/// What is wrong with the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fault {
    /// `ENOSPC`, for all that needs room. The first that fails writes half.
    Full,
    /// `EROFS`, as when the system has found errors and mounted it so.
    ReadOnly,
    /// `EIO` of `fsync` and `fdatasync`.
    Flush,
    /// `EIO` of what is written.
    Write,
    /// `EMFILE` of what is opened.
    Descriptors,
}

impl Fault {
    pub(super) fn errno(self) -> i64 {
        match self {
            Fault::Full => 28,
            Fault::ReadOnly => 30,
            Fault::Flush | Fault::Write => 5,
            Fault::Descriptors => 24,
        }
    }

    pub(super) fn strikes(self) -> &'static [Asked] {
        match self {
            Fault::Full => &[Asked::Create, Asked::Write, Asked::Name],
            Fault::ReadOnly => &[Asked::Create, Asked::Write, Asked::Name, Asked::Remove, Asked::Change],
            Fault::Flush => &[Asked::Sync],
            Fault::Write => &[Asked::Write],
            Fault::Descriptors => &[Asked::Look],
        }
    }
}

/// Places of the numbers in the control file.
const ON: u64 = 0;
const ERROR: u64 = 8;
const KINDS: u64 = 16;
const FROM: u64 = 24;
const UNTIL: u64 = 32;
const SEEN: u64 = 40;
const FAILED: u64 = 48;
const CLOCK_MS: u64 = 56;

pub(super) struct Shim {
    library: PathBuf,
    control_path: PathBuf,
    control: File,
    trace: PathBuf,
}

impl Shim {
    /// Builds the library, with its files in a directory that whoever is to load it can reach.
    pub(super) fn build(directory: &Path) -> Result<Shim, String> {
        let failed = |fault: std::io::Error| format!("{}: {fault}", directory.display());
        let (source, library) = (directory.join("faults.c"), directory.join("faults.so"));
        fs::write(&source, SOURCE).map_err(failed)?;
        let mut compile = Command::new("cc");
        compile
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        crate::roster::text_of(&mut compile)?;
        let (control_path, trace) = (directory.join("control"), directory.join("trace"));
        let control = File::options().create(true).truncate(true).read(true).write(true).open(&control_path);
        let control = control.map_err(failed)?;
        control.set_len(4_096).map_err(failed)?;
        fs::write(&trace, "").map_err(failed)?;
        for path in [&control_path, &trace] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        }
        Ok(Shim { library, control_path, control, trace })
    }

    /// For the process that is to load it. `below`: what the paths of the files that are meant have in them.
    pub(super) fn environment(&self, below: &str) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD", text(&self.library)),
            ("FAULTS_CONTROL", text(&self.control_path)),
            ("FAULTS_TRACE", text(&self.trace)),
            ("FAULTS_BELOW", below.to_owned()),
        ]
    }

    fn set(&self, place: u64, value: i64) {
        // A file of one page that is there; nothing that a tool could do about it.
        let _ = self.control.write_all_at(&value.to_ne_bytes(), place);
    }

    fn get(&self, place: u64) -> i64 {
        let mut bytes = [0; 8];
        let _ = self.control.read_exact_at(&mut bytes, place);
        i64::from_ne_bytes(bytes)
    }

    /// Everything that is asked for is written down from now on, and nothing fails.
    pub(super) fn watch(&self) {
        let _ = fs::write(&self.trace, "");
        self.switch(
            0,
            &[Asked::Create, Asked::Write, Asked::Sync, Asked::Name, Asked::Remove, Asked::Change, Asked::Look],
            0,
            0,
        );
    }

    /// What was asked for since then, with its path.
    pub(super) fn watched(&self) -> Vec<(Asked, String)> {
        let text = fs::read_to_string(&self.trace).unwrap_or_default();
        let line = |line: &str| {
            let (word, path) = line.split_once(' ')?;
            let (_, asked) = Asked::ALL.iter().find(|(at, _)| *at == word)?;
            Some((*asked, path.to_owned()))
        };
        text.lines().filter_map(line).collect()
    }

    /// From the `from`-th thing on (from 1) that this fault strikes, everything does; `until` that one.
    pub(super) fn fail(&self, fault: Fault, from: i64, until: i64) {
        self.switch(fault.errno(), fault.strikes(), from, until);
    }

    fn switch(&self, error: i64, kinds: &[Asked], from: i64, until: i64) {
        self.off();
        let kinds = kinds.iter().map(|asked| *asked as i64).sum();
        for (place, value) in
            [(ERROR, error), (KINDS, kinds), (FROM, from), (UNTIL, until), (SEEN, 0), (FAILED, 0), (ON, 1)]
        {
            self.set(place, value);
        }
    }

    /// All is well again.
    pub(super) fn off(&self) {
        self.set(ON, 0);
    }

    /// How many things have failed since it was told to.
    pub(super) fn failed(&self) -> i64 {
        self.get(FAILED)
    }

    /// Has the clock of the day be wrong by so much.
    pub(super) fn set_clock_off(&self, ms: i64) {
        self.set(CLOCK_MS, ms);
    }
}
