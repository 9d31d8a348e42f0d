//! Who waits for which command, on this node: `Prefer: wait` without polling the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::CommandId;

/// The waiting requests of this node, by command.
#[derive(Debug, Default)]
pub struct Completions {
    waiting: Mutex<HashMap<CommandId, Arc<Notify>>>,
}

/// One request's place among them. Made before the state is read, so that nothing is missed in between.
#[derive(Debug)]
pub struct Watch<'a> {
    completions: &'a Completions,
    command: CommandId,
    notify: Arc<Notify>,
}

impl Completions {
    /// Begins to watch a command.
    pub fn watch(&self, command: CommandId) -> Watch<'_> {
        let notify = Arc::clone(self.lock().entry(command).or_default());
        Watch { completions: self, command, notify }
    }

    /// Wakes all who watch it.
    pub fn announce(&self, command: CommandId) {
        if let Some(notify) = self.lock().remove(&command) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CommandId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// A future that ends when the command is announced. Announcements after this call count, also before it is polled.
    pub fn announced(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.completions.lock();
        // Two references: the map's and this one. So nobody else waits, and the entry may go.
        if waiting
            .get(&self.command)
            .is_some_and(|notify| Arc::ptr_eq(notify, &self.notify) && Arc::strong_count(notify) == 2)
        {
            waiting.remove(&self.command);
        }
    }
}
