//! The one thread that writes the catalogue. Jobs that wait together are committed together, so that a hundred requests
//! cost one flush of the disk; each has a savepoint of its own, so that one that fails takes nothing from the others.
//!
//! Nobody is answered before the commit. It knows nothing of what the jobs do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::connection::Context;
use super::directory::CATALOGUE_CHECKPOINT_PAGES;
use crate::command::test_point::test_point;
use crate::store::StoreError;

/// How many jobs may wait; beyond it their senders do.
const JOBS_WAITING_MAX: usize = 1_024;

/// How many jobs share a commit: an upper bound for what a failing disk takes back at once.
const BATCH_JOBS_MAX: usize = 256;

/// Whether a job's effect must be on the disk before its sender hears of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Durability {
    /// After a power cut it may be undone, and the house finds out by itself.
    Relaxed,
    /// What was answered holds.
    Durable,
}

/// What became of a job, told on the writer's thread in the order of the jobs, before its sender is answered, and also
/// where the sender has gone away.
pub(super) enum Fate<'a, T> {
    /// It is in the catalogue.
    Committed(&'a T),
    /// It is not, and never will be.
    Undone,
    /// The commit's flush failed. It is not in the catalogue, unless the process ends before the next commit: then it may be.
    Unknown,
}

trait Job: Send {
    fn durability(&self) -> Durability;
    /// Runs it; whether its effect is to be kept.
    fn run(&mut self, catalogue: &Connection) -> bool;
    /// After the commit, or instead of it.
    fn end(self: Box<Self>, batch: Result<(), Failed>);
}

/// Why a batch is not committed.
#[derive(Clone, Debug)]
struct Failed {
    error: StoreError,
    /// Whether it may be in the catalogue all the same, should the process end before the next commit.
    may_be_there: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed { error, may_be_there: false }
    }
}

struct Task<T, W, A> {
    durability: Durability,
    work: Option<W>,
    result: Option<Result<T, StoreError>>,
    after: A,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W, A> Job for Task<T, W, A>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    A: FnOnce(Fate<'_, T>) + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, catalogue: &Connection) -> bool {
        // A panic is a fault of this job, and must not end the thread that all others need.
        let result = self.work.take().map(|work| {
            catch_unwind(AssertUnwindSafe(|| work(catalogue)))
                .unwrap_or_else(|_| Err(StoreError::Fault("a job of the catalogue panicked".to_owned())))
        });
        let keep = matches!(result, Some(Ok(_)));
        self.result = result;
        keep
    }

    fn end(self: Box<Self>, batch: Result<(), Failed>) {
        let Task { durability: _, work: _, result, after, answer } = *self;
        let result = match (batch, result) {
            (Ok(()), Some(Ok(value))) => {
                after(Fate::Committed(&value));
                Ok(value)
            }
            (_, Some(Err(error))) => {
                after(Fate::Undone);
                Err(error)
            }
            (Err(Failed { error, may_be_there }), Some(Ok(_))) => {
                after(if may_be_there { Fate::Unknown } else { Fate::Undone });
                Err(error)
            }
            (batch, None) => {
                after(Fate::Undone);
                Err(batch.err().map_or_else(closed, |failed| failed.error))
            }
        };
        // A sender that has gone away does not want to know.
        let _ = answer.send(result);
    }
}

/// The way to the writer's thread. Dropping it waits until the last job is done.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on this connection. A server `begins_anew`: a process before it may have met a flush that failed as its last, so it
    /// begins with [`make_sure`].
    pub(super) fn start(catalogue: Connection, begins_anew: bool) -> Result<Writer, StoreError> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("catalogue-writer".to_owned())
            .spawn(move || write(catalogue, waiting, !begins_anew))
            .context(|| "starting the catalogue's writer")?;
        Ok(Writer { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `work` in a transaction, tells `after` its fate, and answers when it is committed. If the caller goes away
    /// while it waits, the job is done all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        after: impl FnOnce(Fate<'_, T>) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Task { durability, work: Some(work), result: None, after, answer });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        if let Err(mpsc::error::SendError(job)) = jobs.send(job).await {
            job.end(Err(closed().into()));
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Takes no more jobs, does those that wait, copies the WAL back, and ends. Blocking.
    pub(super) fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the catalogue's writer ended in a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

fn write(catalogue: Connection, mut waiting: mpsc::Receiver<Box<dyn Job>>, mut is_log_sure: bool) {
    let mut synchronous = Durability::Durable;
    let mut batch = Vec::with_capacity(BATCH_JOBS_MAX);
    while waiting.blocking_recv_many(&mut batch, BATCH_JOBS_MAX) > 0 {
        let wanted = batch.iter().map(|job| job.durability()).max().unwrap_or(Durability::Durable);
        let committed = make_sure(&catalogue, &mut is_log_sure)
            .and_then(|()| set_synchronous(&catalogue, &mut synchronous, wanted))
            .map_err(Failed::from)
            .and_then(|()| commit(&catalogue, &mut batch));
        if let Err(Failed { error, may_be_there }) = &committed {
            is_log_sure &= !may_be_there;
            tracing::error!(%error, jobs = batch.len(), "a commit of the catalogue failed; nothing of it was acknowledged");
        }
        for job in batch.drain(..) {
            let committed = committed.clone();
            if catch_unwind(AssertUnwindSafe(|| job.end(committed))).is_err() {
                tracing::error!("what follows a job of the catalogue panicked");
            }
        }
    }
    // A copy now makes the next start quick; without it nothing is lost. Passive, because this may be an operator's command
    // beside a server, which must not wait for it.
    if let Err(error) = catalogue.execute_batch("PRAGMA wal_checkpoint(PASSIVE)") {
        tracing::warn!(%error, "the catalogue's WAL could not be copied back at closing");
    }
}

/// After a flush that failed, nobody knows what of the WAL is on the disk: the system tells it once, and calls the next flush a success
/// without what the failed one was about. That may be commits before it that were not flushed by themselves; without them the WAL ends
/// there after a power cut, and all that follows is lost. So nothing more is written behind them: all is copied into the file, which is
/// flushed, and the WAL begins anew.
fn make_sure(catalogue: &Connection, is_log_sure: &mut bool) -> Result<(), StoreError> {
    if !*is_log_sure {
        let renewing = || "beginning the catalogue's WAL anew";
        let is_busy: bool =
            catalogue.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).context(renewing)?;
        if is_busy {
            return Err(StoreError::Unavailable(format!("{}: somebody reads it", renewing())));
        }
        *is_log_sure = true;
    }
    Ok(())
}

/// In WAL mode FULL flushes every commit, and NORMAL only before the WAL is copied back; both keep the file whole. With NORMAL it is not
/// copied back by itself: should the flush before that fail, SQLite tells nobody (see [`make_sure`]). With FULL there is nothing left to flush
/// by then, and durable commits come often enough.
fn set_synchronous(catalogue: &Connection, now: &mut Durability, wanted: Durability) -> Result<(), StoreError> {
    if *now != wanted {
        let level = match wanted {
            Durability::Relaxed => "NORMAL",
            Durability::Durable => "FULL",
        };
        let checkpoint_pages = if wanted == Durability::Durable { CATALOGUE_CHECKPOINT_PAGES } else { 0 };
        catalogue
            .pragma_update(None, "synchronous", level)
            .and_then(|()| {
                catalogue.query_row(&format!("PRAGMA wal_autocheckpoint = {checkpoint_pages}"), [], |_| Ok(()))
            })
            .context(|| "setting the catalogue's durability")?;
        *now = wanted;
    }
    Ok(())
}

fn commit(catalogue: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Failed> {
    let result = run_all(catalogue, batch);
    if result.is_err() && !catalogue.is_autocommit() {
        // Should it fail, the next batch begins with it.
        if let Err(error) = catalogue.execute_batch("ROLLBACK") {
            tracing::error!(%error, "the catalogue could not be rolled back");
        }
    }
    result
}

fn run_all(catalogue: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Failed> {
    if !catalogue.is_autocommit() {
        catalogue.execute_batch("ROLLBACK").context(|| "rolling the catalogue back")?;
    }
    catalogue.execute_batch("BEGIN IMMEDIATE").context(|| "beginning to write the catalogue")?;
    for job in batch {
        catalogue.execute_batch("SAVEPOINT job").context(|| "writing the catalogue")?;
        let keep = job.run(catalogue);
        // A full disk or an I/O error makes SQLite roll the whole transaction back, with the jobs before this one.
        if catalogue.is_autocommit() {
            let sentence = "writing the catalogue: the transaction was rolled back";
            return Err(StoreError::Unavailable(sentence.to_owned()).into());
        }
        let end = if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        catalogue.execute_batch(end).context(|| "writing the catalogue")?;
    }
    test_point("catalogue.before_commit");
    let committed = catalogue.execute_batch("COMMIT");
    // A full disk has not taken the last page, which is what makes a commit. Any other failure may be the flush's, after it.
    let is_full = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DiskFull);
    let may_be_there = committed.as_ref().is_err_and(|error| !is_full(error));
    committed.context(|| "committing the catalogue").map_err(|error| Failed { error, may_be_there })?;
    test_point("catalogue.after_commit");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn writer(directory: &tempfile::TempDir) -> Writer {
        let access = crate::store::sqlite::connection::Access::Write { checkpoint_pages: 1_000 };
        let catalogue =
            crate::store::sqlite::connection::open(&directory.path().join("some.db"), access).expect("a connection");
        catalogue.execute_batch("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY) STRICT").expect("a table");
        Writer::start(catalogue, true).expect("a writer")
    }

    async fn insert(writer: &Writer, x: i64, then: Result<(), &'static str>) -> Result<(), StoreError> {
        let work = move |catalogue: &Connection| {
            catalogue.execute("INSERT INTO t VALUES (?1)", [x]).context(|| "inserting")?;
            then.map_err(|reason| StoreError::Refused(reason.to_owned()))
        };
        writer.write(Durability::Durable, work, |_| ()).await
    }

    async fn count(writer: &Writer) -> i64 {
        let work = |catalogue: &Connection| {
            catalogue.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).context(|| "counting")
        };
        writer.write(Durability::Relaxed, work, |_| ()).await.expect("a count")
    }

    #[tokio::test]
    async fn a_job_that_fails_takes_only_its_own_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let (one, two, again, three) = tokio::join!(
            insert(&writer, 1, Ok(())),
            insert(&writer, 2, Err("no")),
            insert(&writer, 1, Ok(())),
            insert(&writer, 3, Ok(()))
        );
        assert_eq!((one, three), (Ok(()), Ok(())));
        assert_eq!(two, Err(StoreError::Refused("no".to_owned())));
        assert!(matches!(again, Err(StoreError::Fault(_))));
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn a_panic_is_one_jobs_fault() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let work = |catalogue: &Connection| -> Result<(), StoreError> {
            catalogue.execute("INSERT INTO t VALUES (1)", []).context(|| "inserting")?;
            let row = catalogue.query_row("SELECT x FROM t WHERE x = 2", [], |_| Ok(()));
            row.expect("the panic of this test");
            Ok(())
        };
        assert!(matches!(writer.write(Durability::Durable, work, |_| ()).await, Err(StoreError::Fault(_))));
        assert_eq!(count(&writer).await, 0);
    }

    #[tokio::test]
    async fn what_is_rolled_back_by_sqlite_is_acknowledged_to_nobody() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let roll_back = |catalogue: &Connection| catalogue.execute_batch("ROLLBACK").context(|| "rolling back");
        let (one, two, three) = tokio::join!(
            insert(&writer, 1, Ok(())),
            writer.write(Durability::Durable, roll_back, |_| ()),
            insert(&writer, 3, Ok(()))
        );
        // How many share the batch is chance; that none is believed who is not there is not.
        let believed = [one, two, three].iter().filter(|result| result.is_ok()).count();
        assert_eq!(count(&writer).await, i64::try_from(believed).expect("small"));
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_passes() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let limit = |pages: u32| {
            let work = move |catalogue: &Connection| {
                catalogue.pragma_update(None, "max_page_count", pages).context(|| "limiting")
            };
            writer.write(Durability::Relaxed, work, |_| ())
        };
        limit(3).await.expect("limited");
        let fill = |catalogue: &Connection| {
            catalogue
                .execute_batch("CREATE TABLE big (x); INSERT INTO big VALUES (zeroblob(100000))")
                .context(|| "filling")
        };
        assert!(matches!(writer.write(Durability::Durable, fill, |_| ()).await, Err(StoreError::Unavailable(_))));
        assert_eq!(count(&writer).await, 0);
        limit(1_000).await.expect("limited");
        writer.write(Durability::Durable, fill, |_| ()).await.expect("there is room again");
    }

    #[tokio::test]
    async fn the_fate_is_told_also_when_nobody_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let writer = writer(&directory);
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let after = move |fate: Fate<'_, ()>| {
            tell.store(if let Fate::Committed(()) = fate { 1 } else { 2 }, Ordering::SeqCst);
        };
        {
            let mut write = Box::pin(writer.write(Durability::Durable, |_| Ok(()), after));
            // Polled once, so that the job is sent; then dropped.
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
            drop(polled);
        }
        writer.close();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(matches!(insert(&writer, 1, Ok(())).await, Err(StoreError::Unavailable(_))));
    }
}
