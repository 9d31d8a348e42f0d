//! What has been imported, as people look at it. What an import came to is kept in a row of its own when it is complete, so that no list
//! passes over a report.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::SqliteStore;
use super::accounts::{self, the_program, uuid};
use super::connection::Context;
use super::contacts;
use crate::command::CommandId;
use crate::contact::{Contact, Phone, ProgramTag};
use crate::import::{ImportOptions, Report};
use crate::store::history::{Changer, DayShare, Kept, SENDERS_ASKED_MAX, SENDERS_MAX, changer, ids_of};
use crate::store::record;
use crate::store::{
    ContactFilter, ContactKey, DayTally, History, ImportDetails, ImportItem, ImportsOf, ImportsQuery, Outcome,
    ProgramItem, Store, StoreError,
};
use crate::tenant::{AccountId, Program, ProgramId};

/// Keeps what a command came to that is complete, and counts it among its day's imports.
pub(super) fn note(
    catalogue: &Connection,
    (account, program, sequence): (AccountId, ProgramId, i64),
    (options, report): (&ImportOptions, &Report),
    now_ms: i64,
) -> Result<(), StoreError> {
    let noting = || format!("noting the outcome of an import into program {program}");
    keep(catalogue, sequence, &Kept::of(report)?).context(noting)?;
    let Some(share) = DayShare::of(options, report, now_ms) else { return Ok(()) };
    let [added, updated, unchanged, ignored, failed] = share.rows();
    let (account, program) = (account.0.as_bytes().as_slice(), program.0.as_bytes().as_slice());
    catalogue
        .prepare_cached(
            "INSERT INTO day_tally
               (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET imports = imports + 1, bad_imports = bad_imports + excluded.bad_imports,
               added = added + excluded.added, updated = updated + excluded.updated,
               unchanged = unchanged + excluded.unchanged, ignored = ignored + excluded.ignored,
               failed = failed + excluded.failed",
        )
        .and_then(|mut insert| {
            let DayShare { day, bad_imports, .. } = share;
            insert.execute(params![account, day, program, bad_imports, added, updated, unchanged, ignored, failed])
        })
        .context(noting)?;
    Ok(())
}

/// Keeps what a complete command came to.
pub(super) fn keep(catalogue: &Connection, sequence: i64, kept: &Kept) -> rusqlite::Result<()> {
    let Kept { is_bad, is_applied, summary } = kept;
    catalogue
        .prepare_cached("INSERT INTO outcome (seq, bad, applied, summary) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![sequence, is_bad, is_applied, summary])?;
    Ok(())
}

/// Undoes [`note`], of a command that waits again in a copied catalogue: it will be noted anew.
pub(super) fn take_back(
    catalogue: &Connection,
    sequence: i64,
    (options, report): (&ImportOptions, &Report),
    finished_ms: i64,
) -> Result<(), StoreError> {
    let taking_back = || "mending what the copied catalogue tells of its imports";
    catalogue.execute("DELETE FROM outcome WHERE seq = ?1", [sequence]).context(taking_back)?;
    let Some(share) = DayShare::of(options, report, finished_ms) else { return Ok(()) };
    let [added, updated, unchanged, ignored, failed] = share.rows();
    let of_its_day = "(account, program) = (SELECT account, program FROM command WHERE seq = ?1) AND day = ?2";
    catalogue
        .execute(
            &format!(
                "UPDATE day_tally SET imports = imports - 1, bad_imports = bad_imports - ?3, added = added - ?4,
                   updated = updated - ?5, unchanged = unchanged - ?6, ignored = ignored - ?7, failed = failed - ?8
                 WHERE {of_its_day}"
            ),
            params![sequence, share.day, share.bad_imports, added, updated, unchanged, ignored, failed],
        )
        .and_then(|_| {
            let none = format!("DELETE FROM day_tally WHERE {of_its_day} AND imports = 0");
            catalogue.execute(&none, params![sequence, share.day])
        })
        .context(taking_back)?;
    Ok(())
}

#[async_trait]
impl History for SqliteStore {
    async fn program_items(&self, account: AccountId) -> Result<Vec<ProgramItem>, StoreError> {
        let mut items = Vec::new();
        for program in self.programs(Some(account)).await? {
            items.push(self.item_of(program).await?);
        }
        Ok(items)
    }

    async fn program_item(&self, account: AccountId, program: ProgramId) -> Result<Option<ProgramItem>, StoreError> {
        match self.program(account, program).await? {
            Some(program) => Ok(Some(self.item_of(program).await?)),
            None => Ok(None),
        }
    }

    async fn imports(&self, account: AccountId, query: ImportsQuery) -> Result<Vec<ImportItem>, StoreError> {
        self.read(move |inner, catalogue| {
            let mut items = imports(catalogue, account, &query)?;
            for item in &mut items {
                if let Outcome::Running { rows } = &mut item.outcome {
                    *rows = inner.queue.progress(item.id);
                }
            }
            Ok(items)
        })
        .await
    }

    async fn senders(&self, account: AccountId) -> Result<Vec<String>, StoreError> {
        self.read(move |_, catalogue| senders(catalogue, account)).await
    }

    async fn import_details(
        &self,
        account: AccountId,
        command: CommandId,
    ) -> Result<Option<ImportDetails>, StoreError> {
        let Some(found) = self.command(account, command).await? else { return Ok(None) };
        let more = self.read(move |_, catalogue| more(catalogue, command)).await?;
        let Some((options, body_digest, started_ms, attempts, has_file)) = more else { return Ok(None) };
        let options = record::options_from_json(&options)?;
        Ok(Some(ImportDetails { command: found, options, body_digest, started_ms, attempts, has_file }))
    }

    async fn days(&self, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError> {
        self.read(move |_, catalogue| days(catalogue, account, from_day)).await
    }

    async fn find_contact(
        &self,
        account: AccountId,
        program: ProgramId,
        key: ContactKey,
    ) -> Result<Option<Contact>, StoreError> {
        let program = self.read(move |_, catalogue| the_program(catalogue, account, program)).await?;
        let tag = program.tag;
        let found = self.read_program(program, move |file| find(file, tag, &key)).await?;
        Ok(found.flatten())
    }

    async fn last_import(&self, account: AccountId, contact: &Contact) -> Result<Option<CommandId>, StoreError> {
        let (tag, changed_ms) = (contact.id.tag, contact.updated_ms);
        self.read(move |_, catalogue| {
            let Some(program) = accounts::program_by_tag(catalogue, account, tag)? else { return Ok(None) };
            last_import(catalogue, program.id, changed_ms)
        })
        .await
    }

    async fn contacts_version(&self, account: AccountId, program: ProgramId) -> Result<i64, StoreError> {
        let program = self.read(move |_, catalogue| the_program(catalogue, account, program)).await?;
        Ok(self.read_program(program, |file| version(file)).await?.unwrap_or(0))
    }
}

impl SqliteStore {
    async fn item_of(&self, program: Program) -> Result<ProgramItem, StoreError> {
        let all = ContactFilter { active_only: false, updated_after_ms: None };
        let active = ContactFilter { active_only: true, ..all };
        let counted = self.read_program(program.clone(), move |file| {
            Ok((contacts::count(file, all)?, contacts::count(file, active)?))
        });
        let (contacts, active) = counted.await?.unwrap_or((0, 0));
        let (id, account) = (program.id, program.account);
        let newest = ImportsQuery { program: Some(id), ..ImportsQuery::all(1) };
        let last = self.imports(account, newest).await?.into_iter().next();
        let open = self.read(move |_, catalogue| open(catalogue, id)).await?;
        Ok(ProgramItem { program, contacts, active, open, last })
    }
}

fn open(catalogue: &Connection, program: ProgramId) -> Result<u64, StoreError> {
    let count: i64 = catalogue
        // By itself SQLite takes the index of all commands, and looks at each that there ever was.
        .prepare_cached(
            "SELECT count(*) FROM command INDEXED BY command_open WHERE program = ?1 AND state <> 'complete'",
        )
        .and_then(|mut select| select.query_row([program.0.as_bytes().as_slice()], |row| row.get(0)))
        .context(|| format!("measuring the queue of program {program}"))?;
    Ok(count.cast_unsigned())
}

/// The columns of [`read_item`], in its order. No report is among them: whatever is complete has an outcome.
const ITEM: &str =
    "command.id, command.program, from_name, created_ms, payload_bytes, state, finished_ms, options, summary";

fn imports(catalogue: &Connection, account: AccountId, query: &ImportsQuery) -> Result<Vec<ImportItem>, StoreError> {
    let (sql, values) = imports_sql(account, query);
    let rows: Vec<ItemRow> = catalogue
        .prepare_cached(&sql)
        .and_then(|mut select| select.query_map(params_from_iter(values), read_item)?.collect())
        .context(|| "listing imports")?;
    rows.into_iter().map(ItemRow::item).collect()
}

/// The index has the order of the list, so it is read from where the page begins until the page is full: never all commands of an account or
/// a program, but for a filter that few of them pass. Reports are passed over without being read.
fn imports_sql(account: AccountId, query: &ImportsQuery) -> (String, Vec<Value>) {
    let ImportsQuery { program, of, from, created_from_ms, created_before_ms, after, count } = query;
    let mut conditions = vec!["command.account = ?".to_owned()];
    let mut values = vec![Value::Blob(account.0.as_bytes().to_vec())];
    let (index, order) = match (of, program) {
        // As many as wait and run, however many there have been.
        (ImportsOf::Queued | ImportsOf::Running, _) => ("INDEXED BY command_open", "command.seq"),
        (_, Some(_)) => ("INDEXED BY command_of_program", "command.seq"),
        (_, None) => ("INDEXED BY command_of_account", "command.id"),
    };
    let mut and = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(program) = program {
        and("command.program = ?", Value::Blob(program.0.as_bytes().to_vec()));
    }
    match of {
        ImportsOf::All => {}
        ImportsOf::Queued => and("state <> 'complete' AND state = ?", Value::Text("queued".to_owned())),
        ImportsOf::Running => and("state <> 'complete' AND state = ?", Value::Text("running".to_owned())),
        ImportsOf::Good => and("bad = ?", Value::Integer(0)),
        ImportsOf::Bad => and("bad = ?", Value::Integer(1)),
    }
    if let Some(from) = from {
        and("from_name = ?", Value::Text(from.clone()));
    }
    if let Some(ms) = created_from_ms {
        and("created_ms >= ?", Value::Integer(*ms));
    }
    if let Some(ms) = created_before_ms {
        and("created_ms < ?", Value::Integer(*ms));
    }
    if order == "command.id" && (created_from_ms.is_some() || created_before_ms.is_some()) {
        let (least, most) = ids_of(*created_from_ms, *created_before_ms);
        and("command.id >= ?", Value::Blob(least.as_bytes().to_vec()));
        and("command.id <= ?", Value::Blob(most.as_bytes().to_vec()));
    }
    if let Some(after) = after {
        let id = Value::Blob(after.0.as_bytes().to_vec());
        if order == "command.id" {
            and("command.id < ?", id);
        } else {
            and("command.seq < (SELECT seq FROM command WHERE id = ?)", id);
        }
    }
    values.push(Value::Integer(i64::from(*count)));
    let sql = format!(
        "SELECT {ITEM} FROM command {index} LEFT JOIN outcome ON outcome.seq = command.seq
         WHERE {} ORDER BY {order} DESC LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

struct ItemRow {
    id: CommandId,
    program: ProgramId,
    from: String,
    created_ms: i64,
    payload_bytes: i64,
    state: String,
    finished_ms: Option<i64>,
    options: String,
    summary: Option<String>,
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<ItemRow> {
    Ok(ItemRow {
        id: CommandId(uuid(row, 0)?),
        program: ProgramId(uuid(row, 1)?),
        from: row.get(2)?,
        created_ms: row.get(3)?,
        payload_bytes: row.get(4)?,
        state: row.get(5)?,
        finished_ms: row.get(6)?,
        options: row.get(7)?,
        summary: row.get(8)?,
    })
}

impl ItemRow {
    fn item(self) -> Result<ImportItem, StoreError> {
        let outcome = match (self.state.as_str(), self.finished_ms, self.summary) {
            ("complete", Some(finished_ms), Some(summary)) => {
                let (counts, not_applied, error_count) = record::outcome_from_json(&summary)?;
                Outcome::Complete { counts, not_applied, error_count, finished_ms }
            }
            ("running", ..) => Outcome::Running { rows: 0 },
            ("queued", ..) => Outcome::Queued,
            (state, ..) => {
                return Err(StoreError::Fault(format!("command {} is '{state}' and has no outcome", self.id)));
            }
        };
        Ok(ImportItem {
            id: self.id,
            program: self.program,
            from: self.from,
            dry_run: record::options_from_json(&self.options)?.dry_run,
            created_ms: self.created_ms,
            payload_bytes: self.payload_bytes.cast_unsigned(),
            outcome,
        })
    }
}

fn senders(catalogue: &Connection, account: AccountId) -> Result<Vec<String>, StoreError> {
    catalogue
        .prepare_cached(
            "SELECT DISTINCT from_name FROM
               (SELECT from_name FROM command INDEXED BY command_of_account WHERE account = ?1 ORDER BY id DESC LIMIT ?2)
             ORDER BY from_name LIMIT ?3",
        )
        .and_then(|mut select| {
            let account = account.0.as_bytes().as_slice();
            select.query_map(params![account, SENDERS_ASKED_MAX, SENDERS_MAX], |row| row.get(0))?.collect()
        })
        .context(|| "listing who sent imports")
}

type More = (String, Option<[u8; 32]>, Option<i64>, u32, bool);

fn more(catalogue: &Connection, command: CommandId) -> Result<Option<More>, StoreError> {
    catalogue
        .prepare_cached("SELECT options, body_digest, claimed_ms, attempt, file_removed = 0 FROM command WHERE id = ?1")
        .and_then(|mut select| {
            let more = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            select.query_row([command.0.as_bytes().as_slice()], more).optional()
        })
        .context(|| format!("reading command {command}"))
}

fn days(catalogue: &Connection, account: AccountId, from_day: i64) -> Result<Vec<DayTally>, StoreError> {
    catalogue
        .prepare_cached(
            "SELECT program, day, imports, bad_imports, added, updated, unchanged, ignored, failed FROM day_tally
             WHERE account = ?1 AND day >= ?2 ORDER BY day, program",
        )
        .and_then(|mut select| {
            let tally = |row: &Row<'_>| {
                let rows = [row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
                Ok(DayTally::kept(ProgramId(uuid(row, 0)?), row.get(1)?, [row.get(2)?, row.get(3)?], rows))
            };
            select.query_map(params![account.0.as_bytes().as_slice(), from_day], tally)?.collect()
        })
        .context(|| "reading what the days came to")
}

fn find(file: &mut Connection, tag: ProgramTag, key: &ContactKey) -> Result<Option<Contact>, StoreError> {
    let (condition, value) = match key {
        ContactKey::Id(id) if id.tag == tag => return contacts::contact(file, *id),
        ContactKey::Id(_) => return Ok(None),
        ContactKey::CustomerId(id) if id.is_empty() => return Ok(None),
        ContactKey::CustomerId(id) => ("customer_id = ?1", Value::Text(id.clone())),
        ContactKey::Phone(phone) => ("phone = ?1", Value::Integer(Phone::digits(*phone).cast_signed())),
    };
    file.prepare_cached(&format!("SELECT {} FROM contact WHERE {condition}", contacts::COLUMNS))
        .and_then(|mut select| select.query_row([value], |row| contacts::read_contact(row, tag)).optional())
        .context(|| "looking for a contact")
}

/// See [`changer`]. The index leads to where the contact changed: no more than two are read.
fn last_import(catalogue: &Connection, program: ProgramId, changed_ms: i64) -> Result<Option<CommandId>, StoreError> {
    let mut found = catalogue
        .prepare_cached(
            "SELECT id, created_ms, iif(attempt = 1, claimed_ms, NULL), finished_ms FROM command INDEXED BY command_finished
             CROSS JOIN outcome ON outcome.seq = command.seq
             WHERE program = ?1 AND state = 'complete' AND finished_ms >= ?2 AND applied = 1
             ORDER BY finished_ms, command.seq LIMIT 2",
        )
        .and_then(|mut select| {
            let found = |row: &Row<'_>| {
                let command = CommandId(uuid(row, 0)?);
                Ok(Changer { command, created_ms: row.get(1)?, started_ms: row.get(2)?, finished_ms: row.get(3)? })
            };
            let rows = select.query_map(params![program.0.as_bytes().as_slice(), changed_ms], found)?;
            rows.collect::<rusqlite::Result<Vec<Changer>>>()
        })
        .context(|| format!("looking for the import that changed a contact of program {program}"))?
        .into_iter();
    Ok(changer(found.next(), found.next(), changed_ms))
}

/// Each import that was applied has a row here when its contacts are there, and a higher number than those before it; should all have been
/// removed since, the time tells it apart.
fn version(file: &Connection) -> Result<i64, StoreError> {
    file.prepare_cached("SELECT rowid, applied_ms FROM applied ORDER BY rowid DESC LIMIT 1")
        .and_then(|mut select| {
            let last = |row: &Row<'_>| Ok(row.get::<_, i64>(0)? ^ row.get::<_, i64>(1)?.wrapping_shl(20));
            select.query_row([], last).optional()
        })
        .map(Option::unwrap_or_default)
        .context(|| "reading the version of a program's contacts")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::migration;
    use super::*;

    fn plan(catalogue: &Connection, sql: &str, values: &[Value]) -> Vec<String> {
        let mut explain = catalogue.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepared");
        let rows = explain.query_map(params_from_iter(values), |row| row.get(3)).expect("asked");
        rows.collect::<rusqlite::Result<_>>().expect("read")
    }

    /// No list sorts, or goes through a table.
    #[test]
    fn lists_are_read_along_their_indexes() {
        let mut catalogue = Connection::open_in_memory().expect("a connection");
        migration::migrate(&mut catalogue, "some.db".as_ref(), migration::CATALOGUE).expect("migrated");
        let all = ImportsQuery::all(50);
        for program in [None, Some(ProgramId(Uuid::from_u128(2)))] {
            for of in [ImportsOf::All, ImportsOf::Queued, ImportsOf::Running, ImportsOf::Good, ImportsOf::Bad] {
                for filters in 0..8 {
                    let (from, created_from_ms) =
                        ((filters & 1 > 0).then(|| "One".to_owned()), (filters & 2 > 0).then_some(5));
                    let after = (filters & 4 > 0).then(|| CommandId(Uuid::from_u128(3)));
                    let query = ImportsQuery { program, of, from, created_from_ms, after, ..all.clone() };
                    let (sql, values) = imports_sql(AccountId(Uuid::from_u128(1)), &query);
                    let lines = plan(&catalogue, &sql, &values);
                    let first = match (of, program) {
                        (ImportsOf::Queued | ImportsOf::Running, None) => "SCAN command USING INDEX command_open",
                        (ImportsOf::Queued | ImportsOf::Running, Some(_)) => {
                            "SEARCH command USING INDEX command_open (program=?"
                        }
                        (_, Some(_)) => "SEARCH command USING INDEX command_of_program (program=?",
                        (_, None) => "SEARCH command USING INDEX command_of_account (account=?",
                    };
                    assert!(lines[0].starts_with(first), "{query:?}: {lines:#?}");
                    let by_key = |line: &String| line.starts_with("SEARCH outcome USING INTEGER PRIMARY KEY");
                    assert!(lines.iter().any(by_key), "{query:?}: {lines:#?}");
                    let is_whole = |line: &String| line.starts_with("SCAN") || line.contains("TEMP B-TREE");
                    // Those that wait, of all programs, are as few as may wait.
                    let waits = program.is_none() && matches!(of, ImportsOf::Queued | ImportsOf::Running);
                    assert!(waits || !lines.iter().any(is_whole), "{query:?}: {lines:#?}");
                }
            }
        }
    }
}
