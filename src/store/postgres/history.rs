//! What has been imported, as people look at it. What an import came to is in columns of its command, which are read without its report.

use async_trait::async_trait;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::PostgresStore;
use super::accounts::{self, the_program};
use super::commands::{digest, runs};
use super::connection::{ANSWERED_WITHIN, Context, within};
use super::contacts;
use crate::command::{CommandId, Digest};
use crate::contact::{Contact, Phone};
use crate::store::history::{Changer, SENDERS_ASKED_MAX, SENDERS_MAX, changer, ids_of};
use crate::store::record;
use crate::store::{
    ContactFilter, ContactKey, DayTally, History, ImportDetails, ImportItem, ImportsOf, ImportsQuery, Outcome,
    ProgramItem, Store, StoreError,
};
use crate::tenant::{AccountId, Program, ProgramId};

/// Borrows a connection for a question, and waits for the answer no longer than a request may.
macro_rules! ask {
    ($store:expr, |$client:ident| $question:expr) => {{
        let $client = $store.client().await?;
        let answer = within(ANSWERED_WITHIN, $question).await;
        $client.done(answer)
    }};
}

#[async_trait]
impl History for PostgresStore {
    async fn program_items(&self, account: AccountId) -> Result<Vec<ProgramItem>, StoreError> {
        let all = ContactFilter { active_only: false, updated_after_ms: None };
        let active = ContactFilter { active_only: true, ..all };
        ask!(self, |client| async {
            let totals = contacts::totals(&client, account, all).await?;
            let active = contacts::totals(&client, account, active).await?;
            let mut open = open(&client, account, None).await?;
            let mut newest = newest(&client, account).await?;
            let item = |((program, contacts), (_, active)): ((Program, u64), (Program, u64))| {
                let at = |id| move |(of, _): &(ProgramId, u64)| *of == id;
                let open = open.iter().position(at(program.id)).map_or(0, |at| open.swap_remove(at).1);
                let last = newest.iter().position(|item| item.program == program.id);
                let last = last.map(|at| newest.swap_remove(at));
                ProgramItem { program, contacts, active, open, last }
            };
            Ok(totals.into_iter().zip(active).map(item).collect())
        })
    }

    async fn program_item(&self, account: AccountId, program: ProgramId) -> Result<Option<ProgramItem>, StoreError> {
        ask!(self, |client| async {
            let Some(program) = accounts::program(&client, account, program).await? else { return Ok(None) };
            let (contacts, active) = stock(&client, program.id).await?;
            let open = open(&client, account, Some(program.id)).await?.first().map_or(0, |(_, open)| *open);
            let newest = ImportsQuery { program: Some(program.id), ..ImportsQuery::all(1) };
            let last = imports(&client, account, &newest).await?.into_iter().next();
            Ok(Some(ProgramItem { program, contacts, active, open, last }))
        })
    }

    async fn imports(&self, account: AccountId, query: ImportsQuery) -> Result<Vec<ImportItem>, StoreError> {
        let mut items = ask!(self, |client| imports(&client, account, &query))?;
        for item in &mut items {
            if let (Outcome::Running { rows }, Some(own)) = (&mut item.outcome, self.shared.queue.progress(item.id)) {
                *rows = own;
            }
        }
        Ok(items)
    }

    async fn senders(&self, account: AccountId) -> Result<Vec<String>, StoreError> {
        ask!(self, |client| senders(&client, account))
    }

    async fn import_details(
        &self,
        account: AccountId,
        command: CommandId,
    ) -> Result<Option<ImportDetails>, StoreError> {
        let Some(found) = self.command(account, command).await? else { return Ok(None) };
        let more = ask!(self, |client| more(&client, account, command))?;
        Ok(more.map(|More { options, body_digest, started_ms, attempts, has_file }| ImportDetails {
            command: found,
            options,
            body_digest,
            started_ms,
            attempts,
            has_file,
        }))
    }

    async fn days(&self, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError> {
        ask!(self, |client| days(&client, account, from_day))
    }

    async fn find_contact(
        &self,
        account: AccountId,
        program: ProgramId,
        key: ContactKey,
    ) -> Result<Option<Contact>, StoreError> {
        ask!(self, |client| async {
            let program = the_program(&client, account, program).await?;
            find(&client, &program, &key).await
        })
    }

    async fn last_import(&self, account: AccountId, contact: &Contact) -> Result<Option<CommandId>, StoreError> {
        let (tag, changed_ms) = (contact.id.tag, contact.updated_ms);
        ask!(self, |client| async {
            let Some(program) = accounts::program_by_tag(&client, account, tag).await? else { return Ok(None) };
            last_import(&client, program.id, changed_ms).await
        })
    }

    async fn contacts_version(&self, account: AccountId, program: ProgramId) -> Result<i64, StoreError> {
        ask!(self, |client| async {
            the_program(&client, account, program).await?;
            version(&client, program).await
        })
    }
}

pub(super) const OPEN: &str =
    "SELECT lane.program, count(*) FROM lane JOIN command ON command.program = lane.program AND seq >= head
             WHERE lane.account = $1 AND head < next_seq AND ($2::uuid IS NULL OR lane.program = $2)
               AND finished_ms IS NULL
             GROUP BY lane.program";

/// How many commands wait and run in the programs that have any.
async fn open(
    client: &Client,
    account: AccountId,
    program: Option<ProgramId>,
) -> Result<Vec<(ProgramId, u64)>, StoreError> {
    let measuring = || "measuring the queues of an account";
    let rows = client
        .query_typed(OPEN, &[(&account.0, Type::UUID), (&program.map(|id| id.0), Type::UUID)])
        .await
        .context(measuring)?;
    let open = |row: &Row| Ok((ProgramId(row.try_get(0)?), row.try_get::<_, i64>(1)?.cast_unsigned()));
    rows.iter().map(open).collect::<Result<_, _>>().context(measuring)
}

/// How many contacts a program has, and how many of them are active.
async fn stock(client: &Client, program: ProgramId) -> Result<(u64, u64), StoreError> {
    let reading = || format!("counting the contacts of program {program}");
    let row = client
        .query_typed_one("SELECT contacts, active FROM stock WHERE program = $1", &[(&program.0, Type::UUID)])
        .await
        .context(reading)?;
    let count = |at: usize| row.try_get::<_, i64>(at).map(i64::cast_unsigned).context(reading);
    Ok((count(0)?, count(1)?))
}

/// The columns of [`read_item`], in its order, of a `command` and its `lane`. The report is read only of what an older node has completed.
fn columns() -> String {
    format!(
        "command.id, command.program, from_name, created_ms, payload_bytes, finished_ms, options, outcome,
         CASE WHEN finished_ms IS NOT NULL AND outcome IS NULL THEN report END, {}, lane.rows",
        runs()
    )
}

fn read_item(row: &Row) -> Result<ImportItem, StoreError> {
    let reading = || "reading an import";
    let finished_ms: Option<i64> = row.try_get(5).context(reading)?;
    let options = record::options_from_json(row.try_get(6).context(reading)?)?;
    let outcome: Option<String> = row.try_get(7).context(reading)?;
    let report: Option<String> = row.try_get(8).context(reading)?;
    let outcome = match (finished_ms, outcome, report) {
        (Some(finished_ms), Some(outcome), _) => {
            let (counts, not_applied, error_count) = record::outcome_from_json(&outcome)?;
            Outcome::Complete { counts, not_applied, error_count, finished_ms }
        }
        (Some(finished_ms), None, Some(report)) => {
            let report = record::report_from_json(&report)?;
            let (counts, not_applied, error_count) = (report.counts, report.not_applied, report.error_count);
            Outcome::Complete { counts, not_applied, error_count, finished_ms }
        }
        (Some(_), None, None) => {
            return Err(StoreError::Fault("a command is complete without a report".to_owned()));
        }
        (None, ..) if row.try_get(9).context(reading)? => {
            Outcome::Running { rows: row.try_get::<_, i64>(10).context(reading)?.cast_unsigned() }
        }
        (None, ..) => Outcome::Queued,
    };
    Ok(ImportItem {
        id: CommandId(row.try_get(0).context(reading)?),
        program: ProgramId(row.try_get(1).context(reading)?),
        from: row.try_get(2).context(reading)?,
        dry_run: options.dry_run,
        created_ms: row.try_get(3).context(reading)?,
        payload_bytes: row.try_get::<_, i64>(4).context(reading)?.cast_unsigned(),
        outcome,
    })
}

/// The newest command of each program that has one.
async fn newest(client: &Client, account: AccountId) -> Result<Vec<ImportItem>, StoreError> {
    let sql = newest_sql();
    let rows = client.query_typed(&sql, &[(&account.0, Type::UUID)]).await.context(|| "reading the newest imports")?;
    rows.iter().map(read_item).collect()
}

pub(super) fn newest_sql() -> String {
    format!(
        "SELECT {} FROM lane CROSS JOIN LATERAL
           (SELECT * FROM command WHERE command.program = lane.program ORDER BY seq DESC LIMIT 1) AS command
         WHERE lane.account = $1",
        columns()
    )
}

/// A list over an account, or of a time, is read along the ids, which begin with the time; one of a program, or of what waits or runs, along
/// the lanes, and then the account is that of the lane: a condition on the command's own would lead the planner to all commands of the
/// account. Either is read from where the page begins until the page is full, and so goes through all of them only for a filter that few pass.
pub(super) fn imports_sql(program: Option<ProgramId>, of: ImportsOf, has_time: bool) -> String {
    let (standing, is_open) = match of {
        ImportsOf::All => ("true".to_owned(), false),
        ImportsOf::Queued => {
            (format!("seq >= head AND seq < next_seq AND finished_ms IS NULL AND NOT {}", runs()), true)
        }
        ImportsOf::Running => (format!("seq = head AND {}", runs()), true),
        ImportsOf::Good => ("finished_ms IS NOT NULL AND NOT coalesce(bad, false)".to_owned(), false),
        ImportsOf::Bad => ("bad AND finished_ms IS NOT NULL".to_owned(), false),
    };
    let along = match program {
        Some(_) if has_time && !is_open => {
            "command.program = $2 AND command.account = $1 AND command.id BETWEEN $6 AND $7"
        }
        Some(_) => "command.program = $2",
        None if is_open => "true",
        None => "command.account = $1 AND command.id BETWEEN $6 AND $7",
    };
    let open = if is_open { "head < next_seq" } else { "true" };
    // Within a program in the order of acceptance.
    let (order, older) = match program {
        Some(_) => ("seq", "seq < (SELECT seq FROM command AS last WHERE last.account = $1 AND last.id = $8)"),
        None => ("command.id", "command.id < $8"),
    };
    format!(
        "SELECT {} FROM lane JOIN command ON command.program = lane.program
         WHERE lane.account = $1 AND {open} AND {along} AND {standing} AND ($3::text IS NULL OR from_name = $3)
           AND ($4::bigint IS NULL OR created_ms >= $4) AND ($5::bigint IS NULL OR created_ms < $5)
           AND ($8::uuid IS NULL OR {older})
         ORDER BY {order} DESC LIMIT $9",
        columns()
    )
}

async fn imports(client: &Client, account: AccountId, query: &ImportsQuery) -> Result<Vec<ImportItem>, StoreError> {
    let ImportsQuery { program, of, from, created_from_ms, created_before_ms, after, count } = query;
    let has_time = created_from_ms.is_some() || created_before_ms.is_some();
    let sql = imports_sql(*program, *of, has_time);
    let (least, most) = ids_of(*created_from_ms, *created_before_ms);
    let (program, after) = (program.map(|id| id.0), after.map(|id| id.0));
    let rows = client
        .query_typed(
            &sql,
            &[
                (&account.0, Type::UUID),
                (&program, Type::UUID),
                (from, Type::TEXT),
                (created_from_ms, Type::INT8),
                (created_before_ms, Type::INT8),
                (&least, Type::UUID),
                (&most, Type::UUID),
                (&after, Type::UUID),
                (&i64::from(*count), Type::INT8),
            ],
        )
        .await
        .context(|| "listing imports")?;
    rows.iter().map(read_item).collect()
}

pub(super) const SENDERS: &str = "SELECT DISTINCT from_name COLLATE \"C\" FROM
               (SELECT from_name FROM command WHERE account = $1 ORDER BY id DESC LIMIT $2) AS newest
             ORDER BY 1 LIMIT $3";

async fn senders(client: &Client, account: AccountId) -> Result<Vec<String>, StoreError> {
    let listing = || "listing who sent imports";
    let rows = client
        .query_typed(SENDERS, &[(&account.0, Type::UUID), (&SENDERS_ASKED_MAX, Type::INT8), (&SENDERS_MAX, Type::INT8)])
        .await
        .context(listing)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().context(listing)
}

struct More {
    options: crate::import::ImportOptions,
    body_digest: Option<Digest>,
    started_ms: Option<i64>,
    attempts: u32,
    has_file: bool,
}

async fn more(client: &Client, account: AccountId, command: CommandId) -> Result<Option<More>, StoreError> {
    let reading = || format!("reading command {command}");
    let is_at_it = "finished_ms IS NULL AND seq = head AND lane.attempt > 0";
    let sql = format!(
        "SELECT options, body_digest, CASE WHEN {is_at_it} THEN nullif(claimed_ms, 0) ELSE started_ms END,
           CASE WHEN {is_at_it} THEN lane.attempt ELSE attempts END, NOT file_removed
         FROM command JOIN lane ON lane.program = command.program WHERE command.account = $1 AND command.id = $2"
    );
    let found = client.query_typed_opt(&sql, &[(&account.0, Type::UUID), (&command.0, Type::UUID)]).await;
    let Some(row) = found.context(reading)? else { return Ok(None) };
    let has_digest = row.try_get::<_, Option<&[u8]>>(1).context(reading)?.is_some();
    Ok(Some(More {
        options: record::options_from_json(row.try_get(0).context(reading)?)?,
        body_digest: has_digest.then(|| digest(&row, 1)).transpose()?,
        started_ms: row.try_get(2).context(reading)?,
        attempts: row.try_get::<_, i32>(3).context(reading)?.unsigned_abs(),
        has_file: row.try_get(4).context(reading)?,
    }))
}

async fn days(client: &Client, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError> {
    let reading = || "reading what the days came to";
    let rows = client
        .query_typed(
            "SELECT program, day, imports, bad_imports, added, updated, unchanged, ignored, failed FROM day_tally
             WHERE account = $1 AND day >= $2 ORDER BY day, program",
            &[(&account.0, Type::UUID), (&from_day, Type::INT8)],
        )
        .await
        .context(reading)?;
    let tally = |row: &Row| {
        let number = |at: usize| row.try_get::<_, i64>(at);
        let rows = [number(4)?, number(5)?, number(6)?, number(7)?, number(8)?];
        Ok(DayTally::kept(ProgramId(row.try_get(0)?), number(1)?, [number(2)?, number(3)?], rows))
    };
    rows.iter().map(tally).collect::<Result<_, tokio_postgres::Error>>().context(reading)
}

async fn find(client: &Client, program: &Program, key: &ContactKey) -> Result<Option<Contact>, StoreError> {
    let finding = || "looking for a contact";
    let columns = contacts::COLUMNS;
    let found = match key {
        ContactKey::Id(id) if id.tag == program.tag => return contacts::contact(client, program.id, *id).await,
        ContactKey::Id(_) => return Ok(None),
        // No text in a database has a NUL.
        ContactKey::CustomerId(id) if id.is_empty() || id.contains('\0') => return Ok(None),
        ContactKey::CustomerId(id) => {
            let sql = format!("SELECT {columns} FROM contact WHERE program = $1 AND customer_id = $2");
            client.query_typed_opt(&sql, &[(&program.id.0, Type::UUID), (id, Type::TEXT)]).await
        }
        ContactKey::Phone(phone) => {
            let sql = format!("SELECT {columns} FROM contact WHERE program = $1 AND phone = $2");
            let digits = Phone::digits(*phone).cast_signed();
            client.query_typed_opt(&sql, &[(&program.id.0, Type::UUID), (&digits, Type::INT8)]).await
        }
    };
    found.context(finding)?.map(|row| contacts::read_contact(&row, program.tag)).transpose()
}

pub(super) const LAST_IMPORT: &str =
    "SELECT id, created_ms, CASE WHEN attempts = 1 THEN started_ms END, finished_ms FROM command
             WHERE program = $1 AND finished_ms >= $2 AND applied ORDER BY finished_ms, seq LIMIT 2";

/// See [`changer`]. The index leads to where the contact changed: no more than two are read.
async fn last_import(client: &Client, program: ProgramId, changed_ms: i64) -> Result<Option<CommandId>, StoreError> {
    let finding = || format!("looking for the import that changed a contact of program {program}");
    let rows = client
        .query_typed(LAST_IMPORT, &[(&program.0, Type::UUID), (&changed_ms, Type::INT8)])
        .await
        .context(finding)?;
    let found = |row: &Row| {
        let command = CommandId(row.try_get(0)?);
        Ok(Changer { command, created_ms: row.try_get(1)?, started_ms: row.try_get(2)?, finished_ms: row.try_get(3)? })
    };
    let found: Vec<Changer> = rows.iter().map(found).collect::<Result<_, tokio_postgres::Error>>().context(finding)?;
    let mut found = found.into_iter();
    Ok(changer(found.next(), found.next(), changed_ms))
}

/// Counted up by who changes contacts, in the same transaction. Older nodes do not; but what they complete is told apart.
async fn version(client: &Client, program: ProgramId) -> Result<i64, StoreError> {
    let reading = || format!("reading the version of the contacts of program {program}");
    let row = client
        .query_typed_one(
            "SELECT version, (SELECT count(*) FROM command
               WHERE command.program = $1 AND finished_ms IS NOT NULL AND outcome IS NULL)
             FROM stock WHERE program = $1",
            &[(&program.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    let (version, by_older): (i64, i64) = (row.try_get(0).context(reading)?, row.try_get(1).context(reading)?);
    Ok(version ^ by_older.wrapping_shl(40))
}
