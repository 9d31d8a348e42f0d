//! An import's one transaction. It finds and changes what a plan says, and decides nothing. The database goes on working while a batch is
//! planned: see `ahead.rs`.

use std::io::Read;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::absent::Absent;
use super::ahead::Ahead;
use super::connection::{Context, IMPORT_ANSWERED_WITHIN, within};
use super::contacts::contact_number;
use super::finding::Finder;
use super::import_connection::ImportConnection;
use super::{Shared, accounts, blocking, payloads, queue};
use crate::command::Claim;
use crate::command::test_point::test_point;
use crate::import::{Change, Report, RowFound};
use crate::store::stock::Stock;
use crate::store::{Begin, ImportContext, ImportTx, Lookup, StoreError, record};

pub(super) struct PostgresImport {
    connection: Arc<ImportConnection>,
    handle: Handle,
    claim: Claim,
    context: ImportContext,
    stock: Stock,
    finder: Finder,
    ahead: Ahead,
}

/// Opens the transaction, or tells that the command was applied already. Blocking.
pub(super) fn begin(shared: &Arc<Shared>, handle: &Handle, claim: &Claim, now_ms: i64) -> Result<Begin, StoreError> {
    let connection = blocking(handle, within(IMPORT_ANSWERED_WITHIN, ImportConnection::open(shared, claim)))?;
    let begun = blocking(handle, within(IMPORT_ANSWERED_WITHIN, start(connection.client()?, claim)))?;
    let Started { context, stock } = match begun {
        Beginning::AlreadyApplied(report) => return Ok(Begin::AlreadyApplied(report)),
        Beginning::Started(started) => *started,
    };
    let connection = Arc::new(connection);
    let absent = (stock.contacts == 0).then(|| Arc::new(Absent::of_empty_program()));
    let finder = Finder { program: claim.program, tag: context.tag, absent, next_in_order: Arc::default() };
    let ahead = Ahead::new(handle, Arc::clone(&connection), finder.clone(), (claim.program, now_ms));
    let (handle, claim) = (handle.clone(), claim.clone());
    Ok(Begin::Open(Box::new(PostgresImport { connection, handle, claim, context, stock, finder, ahead })))
}

enum Beginning {
    AlreadyApplied(Report),
    Started(Box<Started>),
}

struct Started {
    context: ImportContext,
    stock: Stock,
}

async fn start(client: &Client, claim: &Claim) -> Result<Beginning, StoreError> {
    let beginning = || format!("beginning the import of command {}", claim.command);
    // Held to the end: nobody else can be about to apply it.
    let row = client
        .query_typed_opt(
            "SELECT next_number, contacts, active FROM stock WHERE program = $1 FOR UPDATE",
            &[(&claim.program.0, Type::UUID)],
        )
        .await
        .context(beginning)?
        .ok_or_else(|| StoreError::Fault(format!("program {} has no stock", claim.program)))?;
    let stock = Stock {
        next_number: row.try_get(0).context(beginning)?,
        contacts: row.try_get(1).context(beginning)?,
        active: row.try_get(2).context(beginning)?,
    };
    if let Some(report) = applied(client, claim).await? {
        return Ok(Beginning::AlreadyApplied(record::report_from_json(&report)?));
    }
    queue::check_claim(client, claim).await?;
    not_cancelled(client, claim).await?;
    let program = accounts::the_program(client, claim.account, claim.program).await?;
    let schema = accounts::schema(client, claim.program).await?;
    let next_number = contact_number(stock.next_number)?;
    let context = ImportContext { schema, region: program.region, tag: program.tag, next_number };
    Ok(Beginning::Started(Box::new(Started { context, stock })))
}

/// Refuses a command that somebody asked to be cancelled.
async fn not_cancelled(client: &Client, claim: &Claim) -> Result<(), StoreError> {
    let asking = || format!("asking whether command {} was cancelled", claim.command);
    let row = client
        .query_typed_one(
            "SELECT cancelled_by FROM command WHERE program = $1 AND seq = $2",
            &[(&claim.program.0, Type::UUID), (&claim.sequence, Type::INT8)],
        )
        .await
        .context(asking)?;
    let by: Option<String> = row.try_get(0).context(asking)?;
    by.map_or(Ok(()), |by| Err(StoreError::Cancelled(by)))
}

async fn applied(client: &Client, claim: &Claim) -> Result<Option<String>, StoreError> {
    let asking = || format!("asking whether command {} was applied", claim.command);
    let found = client
        .query_typed_opt(
            "SELECT report FROM command WHERE program = $1 AND seq = $2 AND finished_ms IS NULL",
            &[(&claim.program.0, Type::UUID), (&claim.sequence, Type::INT8)],
        )
        .await
        .context(asking)?;
    found.map_or(Ok(None), |row| row.try_get(0)).context(asking)
}

impl ImportTx for PostgresImport {
    fn context(&self) -> &ImportContext {
        &self.context
    }

    fn payload(&mut self) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(payloads::open(&self.connection, &self.handle, &self.claim)?))
    }

    fn expect(&mut self, lookup: Lookup<'_>) -> Result<(), StoreError> {
        self.ahead.expect(lookup)
    }

    fn lookup(&mut self, lookup: Lookup<'_>) -> Result<Vec<RowFound>, StoreError> {
        let PostgresImport { connection, handle, finder, ahead, .. } = self;
        blocking(handle, async {
            match ahead.take(lookup).await? {
                Some(found) => Ok(found),
                None => within(IMPORT_ANSWERED_WITHIN, finder.find(connection.client()?, lookup)).await,
            }
        })
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut stock = self.stock;
        for change in &changes {
            match change {
                Change::Add(addition) => stock.add(addition)?,
                Change::Update(update) => stock.update(update),
            }
        }
        if let Some(absent) = &self.finder.absent {
            absent.learn(&changes);
        }
        blocking(&self.handle, self.ahead.change(changes))?;
        self.stock = stock;
        Ok(())
    }

    fn commit(mut self: Box<Self>, report: &Report) -> Result<(), StoreError> {
        let report = record::report_to_json(report)?;
        blocking(&self.handle, self.ahead.end())?;
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, self.commit_with(&report)))
    }

    fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        // Whatever became of it.
        let _ = blocking(&self.handle, self.ahead.end());
        let undoing = || format!("rolling the import of command {} back", self.claim.command);
        blocking(&self.handle, within(IMPORT_ANSWERED_WITHIN, self.connection.end("ROLLBACK", undoing)))
    }
}

impl PostgresImport {
    async fn commit_with(&self, report: &str) -> Result<(), StoreError> {
        let committing = || format!("committing the import of command {}", self.claim.command);
        let client = self.connection.client()?;
        queue::fence(client, &self.claim).await?;
        let Stock { next_number, contacts, active } = self.stock;
        // Who cancels it locks the lane as well: it is cancelled by now, or cannot be before this is committed.
        let reported = client
            .execute_typed(
                "WITH stock AS (
                     UPDATE stock SET next_number = $3, contacts = $4, active = $5, version = version + 1
                     WHERE program = $1
                 )
                 UPDATE command SET report = $6 WHERE program = $1 AND seq = $2 AND cancelled_by IS NULL",
                &[
                    (&self.claim.program.0, Type::UUID),
                    (&self.claim.sequence, Type::INT8),
                    (&next_number, Type::INT8),
                    (&contacts, Type::INT8),
                    (&active, Type::INT8),
                    (&report, Type::TEXT),
                ],
            )
            .await
            .context(committing)?;
        if reported == 0 {
            not_cancelled(client, &self.claim).await?;
            return Err(StoreError::Fault(format!("{}: the command is not there", committing())));
        }
        test_point("import.recorded");
        self.connection.end("COMMIT", committing).await
    }
}
