//! A service of its own for a tool that does something to it: where its data is, which binary, on which home. What is done to it is the tool's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::options::Options;
use crate::postgres::Server;
use crate::root;
use crate::roster::{self, Home};

const DATABASE: &str = "tool";

/// Which binary, and on which homes: options that these tools share.
pub(crate) struct Which {
    pub(crate) homes: Vec<&'static str>,
    is_debug: bool,
    /// Another build, in place of one that is made.
    binary: Option<PathBuf>,
}

impl Which {
    pub(crate) fn new(homes: &[&'static str]) -> Which {
        Which { homes: homes.to_vec(), is_debug: false, binary: None }
    }

    /// Reads one of the shared options; whether it is one.
    pub(crate) fn take(&mut self, name: &str, options: &mut Options<'_>) -> Result<bool, String> {
        match name {
            "--home" => {
                self.homes = match options.value(name)? {
                    "sqlite" => vec!["sqlite"],
                    "postgres" => vec!["postgres"],
                    other => return Err(format!("--home is sqlite or postgres, not '{other}'")),
                };
            }
            "--debug" => self.is_debug = true,
            "--binary" => {
                let path = options.value(name)?;
                let binary = Path::new(path).canonicalize().map_err(|fault| format!("{path}: {fault}"))?;
                self.binary = Some(binary);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn binary(&self) -> Result<PathBuf, String> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => roster::build(!self.is_debug),
        }
    }
}

/// A home of the data, with its database if it has one.
pub(crate) struct Ground {
    pub(crate) home: Home,
    pub(crate) server: Option<Server>,
}

impl Ground {
    /// An empty one, for this tool.
    pub(crate) fn new(tool: &str, kind: &str, binary: &Path) -> Result<Ground, String> {
        let directory = fresh(&root().join(format!("target/{tool}/{kind}-{}", std::process::id())))?;
        let server = (kind == "postgres").then(|| Server::start(None, &["listen_addresses="]));
        if let Some(server) = &server {
            server.query("postgres", &format!("CREATE DATABASE {DATABASE}"));
        }
        let database = server.as_ref().map(|server| server.url(DATABASE, ""));
        Ok(Ground { home: Home { binary: binary.to_owned(), directory, database, lease_seconds: 10 }, server })
    }

    /// Nothing is wrong, so nobody wants to look into it.
    pub(crate) fn remove(self) {
        let _ = fs::remove_dir_all(&self.home.directory);
    }

    /// How many bytes the database has.
    pub(crate) fn database_bytes(&self) -> Option<u64> {
        self.server.as_ref()?.query("postgres", &format!("SELECT pg_database_size('{DATABASE}')")).parse().ok()
    }
}

/// An empty directory, whatever an earlier run has left in it.
pub(crate) fn fresh(directory: &Path) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(directory);
    let made = fs::create_dir_all(directory).and_then(|()| directory.canonicalize());
    made.map_err(|fault| format!("{}: {fault}", directory.display()))
}
