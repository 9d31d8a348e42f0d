//! Where cases are measured: builds of the service, homes of their own for each, and what becomes of them afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Wanted;
use crate::postgres::Server;
use crate::roster::{self, text_of};
use crate::say;

/// A kind of home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(super) const ALL: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        }
    }
}

/// A build of the service.
pub(super) struct Build {
    pub(super) name: &'static str,
    pub(super) binary: PathBuf,
}

pub(super) struct Place<'a> {
    pub(super) wanted: &'a Wanted,
    /// The one of this checkout, and the one that it is measured beside, if one is named.
    pub(super) builds: Vec<Build>,
    pub(super) directory: PathBuf,
    pub(super) server: &'a Server,
}

impl Place<'_> {
    /// The kinds of home on which a case is wanted. Tells its name, if it is on any, and what it measures.
    pub(super) fn begin(&self, case: &str, measures: &str) -> Vec<Kind> {
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| self.wanted.wants(&super::case_name(kind.name(), case))).collect();
        if !kinds.is_empty() {
            say(format_args!("\n{case}: {measures}"));
        }
        kinds
    }

    /// A new, empty home. Names are letters and digits.
    pub(super) fn home(&self, kind: Kind, build: &Build, name: &str) -> Result<roster::Home, String> {
        let name = format!("{name}_{}", build.name);
        let directory = self.directory.join(format!("{name}_{}", kind.name()));
        fs::create_dir(&directory).map_err(|fault| format!("{}: {fault}", directory.display()))?;
        let database = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => {
                self.server.query("postgres", &format!("CREATE DATABASE {name}"));
                Some(self.server.url(&name, ""))
            }
        };
        Ok(roster::Home { binary: build.binary.clone(), directory, database, lease_seconds: 10 })
    }

    /// Bytes that the data of a home take on the disk.
    pub(super) fn bytes_of(&self, home: &roster::Home) -> Result<u64, String> {
        let text = match database_of(home) {
            Some(name) => self.server.query("postgres", &format!("SELECT pg_database_size('{name}')")),
            None => {
                text_of(Command::new("du").args(["--summarize", "--block-size=1"]).arg(home.directory.join("data")))?
            }
        };
        number(&text)
    }

    /// Removes a home, whose service has ended, with all that it has.
    pub(super) fn remove(&self, home: &roster::Home) -> Result<(), String> {
        if let Some(name) = database_of(home) {
            self.server.query("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
            // So that its log is not kept, and the next one begins as this one did.
            self.server.query("postgres", "CHECKPOINT");
        }
        fs::remove_dir_all(&home.directory).map_err(|fault| format!("{}: {fault}", home.directory.display()))
    }

    /// Refuses to begin what the disk has no room for.
    pub(super) fn needs_bytes(&self, bytes: u64, what: &str) -> Result<(), String> {
        for place in [&self.directory, Path::new(&self.server.directory)] {
            let text = text_of(Command::new("df").args(["--output=avail", "--block-size=1"]).arg(place))?;
            let free = number(text.lines().nth(1).unwrap_or_default())?;
            if free < bytes {
                return Err(format!(
                    "{what} needs {} MiB of disk at {}, and {} are free",
                    bytes / MIB,
                    place.display(),
                    free / MIB
                ));
            }
        }
        Ok(())
    }
}

pub(super) const MIB: u64 = 1024 * 1024;

fn database_of(home: &roster::Home) -> Option<&str> {
    home.database.as_deref()?.rsplit('/').next()
}

/// The first word.
fn number(text: &str) -> Result<u64, String> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| format!("'{text}' is no number"))
}
