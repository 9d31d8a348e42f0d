//! The worker: claims commands, carries them out, completes them; and when it is told to stop, finishes what it has begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::carry_out::{FaultKind, RunFault, carry_out};
use super::test_point::test_point;
use super::{Claim, Clock, Reach};
use crate::import::{Counts, ErrorCode, Report};
use crate::metrics::{IMPORT, IMPORTS, ROWS};
use crate::store::{Store, StoreError};

/// How often an import that fails by a fault of ours is tried before it is completed as an error. A store that is not
/// available (a full disk) counts apart: see [`PASSING_TRIES_MAX`].
pub const TRIES_MAX: u32 = 3;
/// How often an import is tried that begins, but finds the store not available later: with the pauses below about ten minutes, and then a
/// day. A disk that fills up in the evening is to lose nothing of what was accepted; an import that is itself too much for the disk ends
/// at last, or when somebody cancels it. (One that cannot even begin is tried for as long as it takes: see [`FaultKind::Away`].)
pub const PASSING_TRIES_MAX: u32 = PASSING_TRIES_QUICK + 24 * 60;
/// How many of these come one soon after the other.
const PASSING_TRIES_QUICK: u32 = 125;
/// How often a command may be taken on at all: each time but the last the process died or was stopped on the way. More
/// means that the command itself brings the process down.
pub const ATTEMPTS_MAX: u32 = 100;
/// The pause before the second try; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two tries: what a database's failover takes is not to be doubled by waiting.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The pause between two tries of which many have failed.
const PAUSE_LONG: Duration = Duration::from_secs(60);
/// Workers for each import that may run: so many may wait for a fault to pass while others have their turn.
const WORKERS_PER_TURN: usize = 8;
/// The pause after a claim that failed.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);
/// Work is looked for this often even if nobody says that some arrived.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The workers of this node.
pub struct Workers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts workers for all imports and as many for small ones: of each kind, `count` imports run at a time.
    pub fn start(store: &Arc<dyn Store>, count: usize, clock: Clock) -> Workers {
        let (stop, _) = watch::channel(false);
        let (mut tasks, count) = (JoinSet::new(), count.max(1));
        for reach in [Reach::Any, Reach::Small] {
            let semaphore = || Arc::new(Semaphore::new(count));
            let turns = Arc::new(Turns { looking: semaphore(), free: semaphore(), wanted: Notify::new() });
            for _ in 0..count * WORKERS_PER_TURN {
                let (store, clock, stop) = (Arc::clone(store), Arc::clone(&clock), stop.subscribe());
                tasks.spawn(Worker { store, clock, stop, reach, turns: Arc::clone(&turns) }.work());
            }
        }
        Workers { tasks, stop }
    }

    /// Takes on nothing more and waits for the imports that are running; after `within` the rest is left to be rolled
    /// back and carried out after the next start. Says whether all had ended.
    pub async fn drain(mut self, within: Duration) -> bool {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

struct Worker {
    store: Arc<dyn Store>,
    clock: Clock,
    stop: watch::Receiver<bool>,
    reach: Reach,
    turns: Arc<Turns>,
}

/// Of all workers of one reach: who has none may not run an import.
struct Turns {
    /// Those that look for work; the others wait behind them, and not before those that have an import already.
    looking: Arc<Semaphore>,
    free: Arc<Semaphore>,
    /// Somebody with an import waits for one: who has a turn and nothing to do gives it up.
    wanted: Notify,
}

impl Worker {
    async fn work(mut self) {
        loop {
            let Some(looking) = self.permit(Arc::clone(&self.turns.looking)).await else { return };
            let Some(turn) = self.permit(Arc::clone(&self.turns.free)).await else { return };
            match self.store.claim(self.reach, (self.clock)()).await {
                Ok(Some(claim)) => {
                    drop(looking);
                    test_point("import.claimed");
                    self.run(&claim, turn).await;
                }
                Ok(None) => {
                    tokio::select! {
                        () = self.store.work_arrived(self.reach) => {}
                        () = self.turns.wanted.notified() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                        _ = self.stop.changed() => {}
                    }
                }
                Err(fault) => {
                    tracing::warn!(%fault, "no command could be claimed");
                    self.pause(CLAIM_AGAIN).await;
                }
            }
        }
    }

    /// Waits for one; none if the worker is to stop.
    async fn permit(&mut self, of: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let permit = tokio::select! {
            permit = of.acquire_owned() => permit.ok(),
            _ = self.stop.changed() => None,
        };
        permit.filter(|_| !*self.stop.borrow())
    }

    /// Another turn for a worker that has an import.
    async fn another_turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let turn = tokio::select! {
            biased;
            turn = Arc::clone(&self.turns.free).acquire_owned() => turn.ok(),
            _ = self.stop.changed() => None,
            // It has its place in the row by now, so what is given up is for it.
            () = async { self.turns.wanted.notify_one(); std::future::pending().await } => None,
        };
        turn.filter(|_| !*self.stop.borrow())
    }

    /// Carries a command out and completes it, whatever happens on the way.
    async fn run(&mut self, claim: &Claim, mut turn: OwnedSemaphorePermit) {
        let trace = Uuid::new_v4().simple().to_string();
        let started = Instant::now();
        let report = if claim.attempt > ATTEMPTS_MAX {
            tracing::error!(incident = trace, command = %claim.command, attempts = claim.attempt, "command given up: no attempt came to its end");
            Ok(Report::of_fault(claim.options.mode, &trace))
        } else {
            self.report(claim, &trace, &mut turn).await
        };
        match report {
            Ok(report) => {
                IMPORT.observe(started.elapsed());
                self.finish(claim, &report, &trace).await;
            }
            Err(NoReport::Stopping) => self.give_back(claim).await,
            Err(NoReport::LostClaim) => log_lost_claim(claim, &trace),
        }
    }

    /// The report of an import, tried as often as makes sense. Between two tries it is somebody else's turn.
    async fn report(
        &mut self,
        claim: &Claim,
        trace: &str,
        turn: &mut OwnedSemaphorePermit,
    ) -> Result<Report, NoReport> {
        let (mut tries, mut passing_tries, mut away, mut pause) = (0, 0, 0, PAUSE_FIRST);
        loop {
            let began = Instant::now();
            let fault = match self.try_once(claim).await {
                Ok(report) => return Ok(report),
                Err(RunFault::Store(StoreError::Cancelled(by)) | RunFault::NotBegun(StoreError::Cancelled(by))) => {
                    return Ok(Report::of_cancellation(claim.options.mode, &by));
                }
                Err(fault) => fault,
            };
            let (count, most) = match fault.kind() {
                FaultKind::LostClaim => return Err(NoReport::LostClaim),
                FaultKind::Away => (&mut away, u32::MAX),
                FaultKind::Passing => (&mut passing_tries, PASSING_TRIES_MAX),
                FaultKind::Ours => (&mut tries, TRIES_MAX),
            };
            *count += 1;
            let count = *count;
            if count >= most {
                tracing::error!(incident = trace, command = %claim.command, program = %claim.program, %fault, tries = count, "import given up");
                return Ok(Report::of_fault(claim.options.mode, trace));
            }
            // What fails for want of room has taken all that there was for as long as it was tried: then others are to have it as long.
            let others = if passing_tries > 1 { began.elapsed().min(PAUSE_LONG) } else { Duration::ZERO };
            let pause_now = pause.max(others);
            tracing::warn!(trace, command = %claim.command, program = %claim.program, %fault, tries = count, pause_ms = pause_now.as_millis() as u64, "import failed and is tried again");
            drop(turn.split(turn.num_permits()));
            if self.pause(pause_now).await {
                return Err(NoReport::Stopping);
            }
            *turn = self.another_turn().await.ok_or(NoReport::Stopping)?;
            pause = if passing_tries < PASSING_TRIES_QUICK { (pause * 2).min(PAUSE_MAX) } else { PAUSE_LONG };
        }
    }

    async fn try_once(&self, claim: &Claim) -> Result<Report, RunFault> {
        let (store, claim, now_ms) = (Arc::clone(&self.store), claim.clone(), (self.clock)());
        tokio::task::spawn_blocking(move || carry_out(store.as_ref(), &claim, now_ms))
            .await
            .unwrap_or(Err(RunFault::Panic))
    }

    /// Completes a command; a store that is not available is asked again until it is, or the worker is to stop. (Then
    /// the next start finds the import applied, or carries it out anew.)
    async fn finish(&mut self, claim: &Claim, report: &Report, trace: &str) {
        let mut pause = PAUSE_FIRST;
        test_point("import.before_complete");
        loop {
            match self.store.finish(claim, report, trace, (self.clock)()).await {
                Ok(()) => {
                    test_point("import.complete");
                    count(report);
                    return log_report(claim, report, trace);
                }
                Err(StoreError::LostClaim) => return log_lost_claim(claim, trace),
                Err(fault) => {
                    tracing::warn!(trace, command = %claim.command, %fault, "completing the command failed and is tried again")
                }
            }
            if self.pause(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn give_back(&self, claim: &Claim) {
        if let Err(fault) = self.store.give_back(claim).await {
            tracing::warn!(command = %claim.command, %fault, "giving the command back failed; the next start takes it up");
        }
    }

    /// Waits; true if the worker is to stop.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
        *self.stop.borrow()
    }
}

/// Why an import has no report.
enum NoReport {
    /// The worker is to stop, and the import is to be carried out after the next start.
    Stopping,
    /// Another attempt has taken the command over, or it is complete already.
    LostClaim,
}

fn log_lost_claim(claim: &Claim, trace: &str) {
    tracing::warn!(trace, command = %claim.command, attempt = claim.attempt, "another attempt has taken the command over");
}

/// For who watches the service.
fn count(report: &Report) {
    let is_fault = report.errors.iter().any(|error| error.code == ErrorCode::Internal);
    let outcome = if is_fault { "fault" } else { report.not_applied.map_or("applied", |reason| reason.as_str()) };
    IMPORTS.add(&[outcome], 1);
    let Counts { read: _, added, updated, unchanged, ignored, failed } = report.counts;
    if report.applied() {
        let rows = [
            ("added", added),
            ("updated", updated),
            ("unchanged", unchanged),
            ("ignored", ignored),
            ("failed", failed),
        ];
        rows.into_iter().filter(|(_, rows)| *rows > 0).for_each(|(outcome, rows)| ROWS.add(&[outcome], rows));
    }
}

/// One line for each import: its counts, never its contents.
fn log_report(claim: &Claim, report: &Report, trace: &str) {
    let counts = report.counts;
    tracing::info!(
        trace,
        command = %claim.command,
        program = %claim.program,
        attempt = claim.attempt,
        mode = report.mode.as_str(),
        applied = report.applied(),
        not_applied = report.not_applied.map(|reason| reason.as_str()),
        read = counts.read,
        added = counts.added,
        updated = counts.updated,
        unchanged = counts.unchanged,
        ignored = counts.ignored,
        failed = counts.failed,
        errors = report.error_count,
        "import complete"
    );
}
