//! One import, from its stored file to its report: rows → plan → apply, in the import's one transaction. Blocking.
//!
//! Reading and identifying the next batch goes on in a thread of its own while this one looks up, plans and applies.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Claim;
use super::test_point::test_point;
use crate::import::{
    FileErrors, FilePlan, IdentifiedBatch, IdentityKeys, PlanFault, Planner, Report, RowReader, RowsFault, open_rows,
};
use crate::store::{Begin, ImportContext, ImportTx, Lookup, Store, StoreError};

/// Batches that wait between the two threads, at most: what bounds an import's memory beside the store's cache.
const BATCHES_AHEAD_MAX: usize = 2;

/// Why an import was not carried out; nothing of it took effect.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunFault {
    /// It could not even begin.
    #[error(transparent)]
    NotBegun(StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading the stored file failed: {0}")]
    Payload(std::io::Error),
    #[error(transparent)]
    Plan(#[from] PlanFault),
    #[error("the counts of the report do not add up")]
    Counts,
    #[error("the import panicked")]
    Panic,
}

impl RunFault {
    /// What kind of fault it is.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            RunFault::NotBegun(StoreError::LostClaim) | RunFault::Store(StoreError::LostClaim) => FaultKind::LostClaim,
            RunFault::NotBegun(StoreError::Unavailable(_)) => FaultKind::Away,
            RunFault::Store(StoreError::Unavailable(_)) => FaultKind::Passing,
            // Read from the store, as everything else is, or from the machine's disk.
            RunFault::Payload(fault) if fault.raw_os_error().is_some() || is_of_unavailable_store(fault) => {
                FaultKind::Passing
            }
            // Cancelling is an end like others, and none of these; the worker asks for it first.
            RunFault::NotBegun(StoreError::Refused(_) | StoreError::Cancelled(_) | StoreError::Fault(_))
            | RunFault::Store(StoreError::Refused(_) | StoreError::Cancelled(_) | StoreError::Fault(_))
            | RunFault::Payload(_)
            | RunFault::Plan(_)
            | RunFault::Counts
            | RunFault::Panic => FaultKind::Ours,
        }
    }
}

/// What is to be done about a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FaultKind {
    /// Nothing: another attempt is at it.
    LostClaim,
    /// Wait for the store, however long it takes: the import has done nothing that could be the reason.
    Away,
    /// Try it again for a good while: waiting may help, but the import itself may be what is too much.
    Passing,
    /// Try it again a few times.
    Ours,
}

fn is_of_unavailable_store(fault: &std::io::Error) -> bool {
    let inner = fault.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
    matches!(inner, Some(StoreError::Unavailable(_)))
}

/// Carries a claimed import out, batch by batch, as long as nobody cancels it; or finds that an earlier attempt did. `now_ms` dates
/// what it changes.
pub(super) fn carry_out(store: &dyn Store, claim: &Claim, now_ms: i64) -> Result<Report, RunFault> {
    let mut tx = match store.begin_import(claim, now_ms).map_err(RunFault::NotBegun)? {
        Begin::AlreadyApplied(report) => return Ok(report),
        Begin::Open(tx) => tx,
    };
    test_point("import.begun");
    let (reader, dialect) = open_rows(tx.payload()?, claim.options.form).map_err(RunFault::Payload)?;
    let progress = |rows| {
        store.progress(claim, rows);
        store.cancelled(claim).map_or(Ok(()), |by| Err(StoreError::Cancelled(by)))
    };
    let report = match judge(reader, tx.as_mut(), claim, now_ms, &progress)? {
        Judged::File(errors) => Report::of_file(claim.options.mode, errors),
        Judged::Rows(report) => report,
    };
    let report = Report { dialect, ..report };
    if !report.counts.add_up() {
        return Err(RunFault::Counts);
    }
    test_point("import.before_commit");
    if report.applied() {
        tx.commit(&report)?;
    } else {
        tx.rollback()?;
    }
    test_point("import.after_commit");
    Ok(report)
}

/// What came of a file.
enum Judged {
    /// It is wrong as a whole.
    File(FileErrors),
    /// Its rows were judged.
    Rows(Report),
}

fn judge(
    mut reader: RowReader<Box<dyn Read + Send>>,
    tx: &mut dyn ImportTx,
    claim: &Claim,
    now_ms: i64,
    progress: &dyn Fn(u64) -> Result<(), StoreError>,
) -> Result<Judged, RunFault> {
    let ImportContext { schema, region, tag, next_number } = tx.context().clone();
    let header = match reader.header() {
        Ok(header) => header,
        Err(fault) => return Ok(Judged::File(of_fault(fault, FileErrors::default())?)),
    };
    let file = match FilePlan::new(header.as_ref(), &schema, &claim.options, region, tag) {
        Ok(file) => file,
        Err(errors) => return Ok(Judged::File(with_the_rest(reader, errors)?)),
    };
    let mut planner = Planner::new(&file, next_number, now_ms);
    let unreadable = std::thread::scope(|scope| -> Result<Option<RowsFault>, RunFault> {
        // A small file is not worth a thread.
        match reader.next_batch() {
            Err(fault) => return Ok(Some(fault)),
            Ok(None) => return Ok(None),
            Ok(Some(first)) => step(tx, &file, &mut planner, &file.identify(first), None)?,
        }
        if reader.is_at_end() {
            return Ok(None);
        }
        progress(planner.rows_read())?;
        test_point("import.first_of_many_batches_applied");
        let (sender, batches) = sync_channel(BATCHES_AHEAD_MAX);
        let (spent, used) = sync_channel(BATCHES_AHEAD_MAX);
        let reading = &file;
        scope.spawn(move || read_ahead(reader, reading, &sender, &used));
        apply_all(tx, &file, &mut planner, (batches, spent), progress)
    })?;
    match unreadable {
        None => Ok(Judged::Rows(planner.finish())),
        Some(fault) => Ok(Judged::File(of_fault(fault, FileErrors::default())?)),
    }
}

/// Reads and identifies until the file ends or nobody listens any more, in the room of batches that are `used` up.
fn read_ahead(
    mut reader: RowReader<Box<dyn Read + Send>>,
    file: &FilePlan,
    sender: &SyncSender<Result<IdentifiedBatch, RowsFault>>,
    used: &Receiver<IdentifiedBatch>,
) {
    loop {
        let (rows, room) = used.try_recv().map(IdentifiedBatch::take_apart).unwrap_or_default();
        reader.reuse(rows);
        let next = match reader.next_batch() {
            Ok(None) => return,
            Ok(Some(batch)) => Ok(file.identify_in(batch, room)),
            Err(fault) => Err(fault),
        };
        let is_last = next.is_err();
        if sender.send(next).is_err() || is_last {
            return;
        }
    }
}

fn apply_all(
    tx: &mut dyn ImportTx,
    file: &FilePlan,
    planner: &mut Planner<'_>,
    (batches, spent): (Receiver<Result<IdentifiedBatch, RowsFault>>, SyncSender<IdentifiedBatch>),
    progress: &dyn Fn(u64) -> Result<(), StoreError>,
) -> Result<Option<RowsFault>, RunFault> {
    let mut next = batches.recv().ok();
    while let Some(batch) = next {
        let batch = match batch {
            Ok(batch) => batch,
            Err(fault) => return Ok(Some(fault)),
        };
        // Not waited for: what has been read by now may be looked up while this batch is planned.
        let ahead = batches.try_recv().ok();
        step(tx, file, planner, &batch, ahead.as_ref().and_then(|ahead| ahead.as_ref().ok()))?;
        // For its room only: if nobody wants it, it is dropped.
        let _ = spent.try_send(batch);
        progress(planner.rows_read())?;
        next = ahead.or_else(|| batches.recv().ok());
    }
    Ok(None)
}

fn lookup<'a>(file: &FilePlan, keys: &'a [IdentityKeys<'a>]) -> Lookup<'a> {
    Lookup {
        keys,
        values: file.wants_values(),
        phones_of_existing: file.wants_phones_of_existing(),
        phones_of_new: file.wants_phones_of_new(),
    }
}

fn step(
    tx: &mut dyn ImportTx,
    file: &FilePlan,
    planner: &mut Planner<'_>,
    batch: &IdentifiedBatch,
    next: Option<&IdentifiedBatch>,
) -> Result<(), RunFault> {
    let found = tx.lookup(lookup(file, &file.keys(batch)))?;
    if let Some(next) = next {
        tx.expect(lookup(file, &file.keys(next)))?;
    }
    let changes = planner.plan(batch, &found)?;
    if !changes.is_empty() {
        tx.apply(changes)?;
    }
    test_point("import.batch_applied");
    Ok(())
}

/// A file whose header is wrong is read on, so that a quote that is never closed is told in the same report.
fn with_the_rest(mut reader: RowReader<Box<dyn Read + Send>>, errors: FileErrors) -> Result<FileErrors, RunFault> {
    loop {
        match reader.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(errors),
            Err(fault) => return of_fault(fault, errors),
        }
    }
}

/// What a file-level fault of the rows adds to the errors of the header. A failing source is ours, not the file's.
fn of_fault(fault: RowsFault, mut errors: FileErrors) -> Result<FileErrors, RunFault> {
    match fault {
        RowsFault::Read(fault) => Err(RunFault::Payload(fault)),
        RowsFault::UnclosedQuote { row } => {
            errors.add_unclosed_quote(row);
            Ok(errors)
        }
        RowsFault::RecordTooLong { row } => {
            errors.add_long_record(row);
            Ok(errors)
        }
        RowsFault::BadEncoding { charset, offset } => {
            errors.add_bad_encoding(charset, offset);
            Ok(errors)
        }
    }
}
