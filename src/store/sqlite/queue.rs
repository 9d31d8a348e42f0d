//! The lanes as tasks and threads share them: waking workers, and how far running imports are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::lanes::{Lanes, Waiting};
use super::places::Places;
use crate::command::{Claim, CommandId, Completions, Reach};

#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    pub(super) places: Places,
    /// Has a permit, or has woken somebody, whenever something may be ready that nobody has been told of.
    arrived: Notify,
    /// The same, for who takes only small files.
    small_arrived: Notify,
    /// Rows judged, of running commands only.
    progress: Mutex<HashMap<CommandId, u64>>,
    /// Who asked that a running command be cancelled.
    cancelled: Mutex<HashMap<CommandId, String>>,
    pub(super) completions: Completions,
}

/// A command that was taken from its lane and is not claimed yet. Dropping it gives it back, so that a caller who goes
/// away in between loses nothing.
pub(super) struct Taken {
    queue: Arc<Queue>,
    waiting: Option<Waiting>,
}

impl Queue {
    /// A command of an earlier process waits.
    pub(super) fn restore(&self, waiting: Waiting) {
        self.places.take(&waiting);
        self.push(waiting);
    }

    /// A command was accepted. It has its place already.
    pub(super) fn push(&self, waiting: Waiting) {
        self.change(|lanes| lanes.push(waiting));
    }

    /// The command whose turn it is.
    pub(super) fn take(self: &Arc<Self>, reach: Reach) -> Option<Taken> {
        // One permit may stand for many arrivals: who takes one passes it on.
        let waiting = self.change(|lanes| lanes.take(reach))?;
        Some(Taken { queue: Arc::clone(self), waiting: Some(waiting) })
    }

    pub(super) async fn arrived(&self, reach: Reach) {
        match reach {
            Reach::Any => self.arrived.notified().await,
            Reach::Small => self.small_arrived.notified().await,
        }
    }

    /// Somebody asked that the command be cancelled.
    pub(super) fn cancel(&self, command: CommandId, by: &str) {
        // Only where the command runs, as above all that is kept of it; the next attempt reads it in the catalogue.
        if self.progress_map().contains_key(&command) {
            self.cancelled_map().insert(command, by.to_owned());
        }
    }

    /// Who asked that a running command be cancelled.
    pub(super) fn cancelled(&self, command: CommandId) -> Option<String> {
        self.cancelled_map().get(&command).cloned()
    }

    fn cancelled_map(&self) -> MutexGuard<'_, HashMap<CommandId, String>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The command is complete.
    pub(super) fn finish(&self, claim: &Claim) {
        self.progress_map().remove(&claim.command);
        self.cancelled_map().remove(&claim.command);
        self.change(|lanes| lanes.finish(claim.program, claim.sequence));
        self.is_over(claim.command);
    }

    /// The command is complete, wherever it stands in its lane.
    pub(super) fn is_over(&self, command: CommandId) {
        self.places.free(command);
        self.completions.announce(command);
    }

    /// The command waits again.
    pub(super) fn give_back(&self, claim: &Claim) {
        self.progress_map().remove(&claim.command);
        self.cancelled_map().remove(&claim.command);
        self.change(|lanes| lanes.give_back(claim.program, claim.sequence));
    }

    pub(super) fn set_progress(&self, command: CommandId, rows: u64) {
        // Only where the command runs: a late word must not stay for ever.
        if let Some(progress) = self.progress_map().get_mut(&command) {
            *progress = rows;
        }
    }

    pub(super) fn progress(&self, command: CommandId) -> u64 {
        self.progress_map().get(&command).copied().unwrap_or(0)
    }

    /// Changes the lanes, and wakes who may find something in them now.
    fn change<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut lanes = self.lanes();
        let result = change(&mut lanes);
        let (any, small) = (lanes.any_ready(Reach::Any), lanes.any_ready(Reach::Small));
        drop(lanes);
        if any {
            self.arrived.notify_one();
        }
        if small {
            self.small_arrived.notify_one();
        }
        result
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress_map(&self) -> MutexGuard<'_, HashMap<CommandId, u64>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// What was taken.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// It is claimed, and runs.
    pub(super) fn runs(mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.queue.progress_map().insert(waiting.command, 0);
        }
    }

    /// It was complete already, and must not run.
    pub(super) fn ended(mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.queue.places.free(waiting.command);
            self.queue.change(|lanes| lanes.finish(waiting.program, waiting.sequence));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.queue.change(|lanes| lanes.give_back(waiting.program, waiting.sequence));
        }
    }
}
