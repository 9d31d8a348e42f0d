//! The keeper: lets go of uploads and commands that are over and past their time, and of what was put into the console and left there; a
//! few at a time, so that nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Clock;
use crate::store::{Forgotten, Past, Store, StoreError, UPLOAD_KEPT_MS};

/// How often it is looked for what is past its time.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// The pause between two steps.
const PAUSE: Duration = Duration::from_millis(100);
/// How many uploads, and how many commands, go in one step.
const STEP_MAX: u32 = 100;

/// How long things are kept after their command is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Uploads.
    pub payloads: Duration,
    /// Commands, with their reports.
    pub commands: Duration,
}

impl Kept {
    /// What is past its time at a moment.
    pub fn past(self, now_ms: i64) -> Past {
        let before = |kept: Duration| now_ms.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        Past { payloads_before_ms: before(self.payloads), commands_before_ms: before(self.commands) }
    }
}

/// Starts it; it ends when `stopping` turns true.
pub fn keep(store: Arc<dyn Store>, kept: Kept, clock: Clock, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while !*stopping.borrow() {
            let pause = match step(&*store, kept, clock()).await {
                Ok((Forgotten { uploads: 0, commands: 0 }, 0)) => LOOK_EVERY,
                Ok((Forgotten { uploads, commands }, not_imported)) => {
                    tracing::info!(uploads, commands, not_imported, "removed what was past its time");
                    PAUSE
                }
                Err(fault) => {
                    tracing::warn!(%fault, "what is past its time could not be removed");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Whoever would have said so is gone, or it was said.
                _ = stopping.changed() => break,
            }
        }
    })
}

/// Lets go of some of each kind; also how many uploads of the console went.
async fn step(store: &dyn Store, kept: Kept, now_ms: i64) -> Result<(Forgotten, u64), StoreError> {
    let forgotten = store.forget(kept.past(now_ms), STEP_MAX).await?;
    let not_imported = store.forget_uploads(now_ms.saturating_sub(UPLOAD_KEPT_MS), STEP_MAX).await?;
    Ok((forgotten, not_imported))
}
