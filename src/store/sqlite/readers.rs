//! Connections that read the catalogue: a few, used in turn.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Access, open};
use crate::store::StoreError;

/// How many requests read the catalogue at once; more wait. Reads take microseconds, and the machine has few cores.
const READERS_MAX: usize = 8;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Held by requests; the few workers do without.
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, idle: Mutex::new(Vec::new()), turns: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Waits for one's turn to read.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Unavailable("it is closed".to_owned()))
    }

    /// Reads. Blocking.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path, Access::Read)?,
        };
        let result = read(&connection);
        let mut idle = self.lock();
        if idle.len() < READERS_MAX {
            idle.push(connection);
        }
        result
    }

    /// Closes the connections that are not in use.
    pub(super) fn close(&self) {
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
