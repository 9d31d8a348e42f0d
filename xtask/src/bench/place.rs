//! Where cases are measured: builds of the service, homes of their own for each, and what becomes of them afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Wanted;
use super::service::postmaster;
use crate::postgres::Server;
use crate::roster::{self, Node, Tenant, text_of};
use crate::{memory, say};

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

/// A running service of its own.
pub(super) struct Site {
    pub(super) build: &'static str,
    pub(super) home: roster::Home,
    pub(super) node: Node,
    pub(super) tenant: Tenant,
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
        self.begin_on(&Kind::ALL, case, measures)
    }

    /// The same of a case that not all kinds have.
    pub(super) fn begin_on(&self, kinds: &[Kind], case: &str, measures: &str) -> Vec<Kind> {
        let kinds: Vec<Kind> =
            kinds.iter().copied().filter(|kind| self.wanted.wants(&super::case_name(kind.name(), case))).collect();
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

    /// A service of a build on a home of its own, with an account and a program.
    pub(super) fn site(&self, kind: Kind, build: usize, name: &str) -> Result<Site, String> {
        let build = self.builds.get(build).ok_or("there is no such build")?;
        let home = self.home(kind, build, name)?;
        let node = home.serve("127.0.0.1:0", &home.directory.join("service.log"))?;
        let tenant = home.new_tenant()?;
        Ok(Site { build: build.name, home, node, tenant })
    }

    /// One of each build.
    pub(super) fn sites(&self, kind: Kind, name: &str) -> Result<Vec<Site>, String> {
        (0..self.builds.len()).map(|build| self.site(kind, build, name)).collect()
    }

    /// Ends a service, and removes its home.
    pub(super) fn end(&self, site: Site) -> Result<(), String> {
        site.node.process.stop();
        self.remove(&site.home)
    }

    /// Seconds of processor time so far: of a service, of the database's server.
    pub(super) fn used(&self, kind: Kind, id: u32) -> Result<(f64, f64), String> {
        let database = match kind {
            Kind::Sqlite => 0.0,
            Kind::Postgres => memory::processor_seconds_with_children(postmaster(self.server)?),
        };
        Ok((memory::processor_seconds(id), database))
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
