//! The catalogue's commands: what was accepted, in which order, and how it ended. Each function is a few statements on a
//! connection that the caller chose. Whose turn it is, is decided in `lanes`.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accounts::{the_program, uuid};
use super::connection::Context;
use super::history;
use super::lanes::Waiting;
use super::places::Places;
use crate::command::{
    Accepted, Claim, Command, CommandId, CommandState, Digest, IdempotencyKey, NewCommand, Remembered, Sender,
};
use crate::import::Report;
use crate::store::{
    Backlog, Cancellation, CommandPage, CommandQuery, QueueLimits, StateFilter, StoreError, record, refusal,
};
use crate::tenant::{AccountId, ProgramId, TokenNumber};

/// How many expired signatures (and as many keys) an accepting transaction clears away: more than it adds, so that they
/// cannot pile up, and few enough that nobody waits for it.
const FORGOTTEN_PER_ACCEPT_MAX: u32 = 8;

/// What makes a request an earlier one, or one that cannot be accepted.
pub(super) enum Known {
    /// The signature was accepted before.
    Signature(Accepted),
    /// The key was accepted before, under another signature.
    Key(Accepted),
    /// Too many wait already.
    Full(Accepted),
}

/// Where the accepted command's file is.
pub(super) enum Stored {
    Inline,
    File,
}

pub(super) fn remembered(
    catalogue: &Connection,
    token: TokenNumber,
    signature: &[u8; 32],
) -> Result<Option<Remembered>, StoreError> {
    catalogue
        .prepare_cached("SELECT command, request_digest FROM signature WHERE token = ?1 AND signature = ?2")
        .and_then(|mut select| {
            let remembered =
                |row: &Row<'_>| Ok(Remembered { command: CommandId(uuid(row, 0)?), request_digest: row.get(1)? });
            select.query_row(params![token.0, signature.as_slice()], remembered).optional()
        })
        .context(|| "looking for a signature")
}

/// Whether the request is known, or finds a queue full.
pub(super) fn known(
    catalogue: &Connection,
    new: &NewCommand,
    (places, limits): (&Places, QueueLimits),
) -> Result<Option<Known>, StoreError> {
    if let Some(Remembered { command, request_digest }) = remembered(catalogue, new.token(), &new.signature)? {
        let same = request_digest == new.request_digest;
        let accepted = if same { Accepted::Replayed(command) } else { Accepted::SignatureReused };
        return Ok(Some(Known::Signature(accepted)));
    }
    if let Some(key) = &new.idempotency
        && let Some((command, body_digest)) = known_key(catalogue, new, key)?
    {
        let same = body_digest == key.body_digest;
        let accepted = if same { Accepted::Replayed(command) } else { Accepted::IdempotencyKeyReused };
        return Ok(Some(Known::Key(accepted)));
    }
    Ok(places.full(new.account, new.program, limits).map(Known::Full))
}

fn known_key(
    catalogue: &Connection,
    new: &NewCommand,
    key: &IdempotencyKey,
) -> Result<Option<(CommandId, Digest)>, StoreError> {
    catalogue
        .prepare_cached(
            "SELECT command, body_digest FROM idempotency_key
             WHERE token = ?1 AND program = ?2 AND key = ?3 AND created_ms > ?4",
        )
        .and_then(|mut select| {
            let program = new.program.0.as_bytes().as_slice();
            select
                .query_row(params![new.token().0, program, key.key, key.forgotten_before_ms], |row| {
                    Ok((CommandId(uuid(row, 0)?), row.get(1)?))
                })
                .optional()
        })
        .context(|| "looking for an idempotency key")
}

/// Accepts a command, in the caller's transaction; for a new one also its place in the order.
pub(super) fn accept(
    catalogue: &Connection,
    new: &NewCommand,
    stored: Stored,
    (places, limits): (&Places, QueueLimits),
) -> Result<(Accepted, Option<Waiting>), StoreError> {
    match known(catalogue, new, (places, limits))? {
        Some(Known::Signature(accepted) | Known::Full(accepted)) => return Ok((accepted, None)),
        Some(Known::Key(accepted)) => {
            // Also this signature is an accepted one now: sent again without the key, it is still the same request.
            if let Accepted::Replayed(command) = accepted {
                remember(catalogue, new, command)?;
            }
            return Ok((accepted, None));
        }
        None => {}
    }
    the_program(catalogue, new.account, new.program)?;
    let sequence = insert(catalogue, new, stored)?;
    remember(catalogue, new, new.id)?;
    if let Some(key) = &new.idempotency {
        remember_key(catalogue, new, key)?;
    }
    forget(catalogue, new)?;
    let payload_bytes = new.payload.bytes();
    let waiting = Waiting { sequence, command: new.id, account: new.account, program: new.program, payload_bytes };
    Ok((Accepted::New(new.id), Some(waiting)))
}

fn insert(catalogue: &Connection, new: &NewCommand, stored: Stored) -> Result<i64, StoreError> {
    let accepting = || format!("accepting command {}", new.id);
    let options = record::options_to_json(&new.options)?;
    let from = sender_name(catalogue, new)?;
    catalogue
        .prepare_cached(
            "INSERT INTO command
               (id, account, program, token, from_name, created_ms, payload_bytes, options, body_digest, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'queued')",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                new.id.0.as_bytes().as_slice(),
                new.account.0.as_bytes().as_slice(),
                new.program.0.as_bytes().as_slice(),
                new.token().0,
                from,
                new.created_ms,
                new.payload.bytes().cast_signed(),
                options,
                new.body_digest.as_ref().map(Digest::as_slice)
            ])
        })
        .context(accepting)?;
    let sequence = catalogue.last_insert_rowid();
    if let Stored::Inline = stored {
        catalogue
            .prepare_cached("INSERT INTO payload (seq, bytes) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![sequence, new.payload.held()]))
            .context(accepting)?;
    }
    Ok(sequence)
}

/// What the sender is called, if there is one of this account.
fn sender_name(catalogue: &Connection, new: &NewCommand) -> Result<String, StoreError> {
    let token = match &new.sender {
        Sender::Token(token) => token,
        Sender::User(name) => return Ok(name.clone()),
    };
    catalogue
        .prepare_cached("SELECT name FROM token WHERE number = ?1 AND account = ?2")
        .and_then(|mut select| {
            let account = new.account.0.as_bytes().as_slice();
            select.query_row(params![token.0, account], |row| row.get(0)).optional()
        })
        .context(|| format!("accepting command {}", new.id))?
        .ok_or_else(|| refusal::no_token(new.account, token.0))
}

fn remember(catalogue: &Connection, new: &NewCommand, command: CommandId) -> Result<(), StoreError> {
    catalogue
        .prepare_cached(
            "INSERT INTO signature (token, signature, command, request_digest, remember_until_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                new.token().0,
                new.signature.as_slice(),
                command.0.as_bytes().as_slice(),
                new.request_digest.as_slice(),
                new.remember_until_ms
            ])
        })
        .context(|| "remembering a signature")?;
    Ok(())
}

fn remember_key(catalogue: &Connection, new: &NewCommand, key: &IdempotencyKey) -> Result<(), StoreError> {
    // One that is there is older than it is remembered: else it would have been found.
    catalogue
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency_key (token, program, key, command, body_digest, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                new.token().0,
                new.program.0.as_bytes().as_slice(),
                key.key,
                new.id.0.as_bytes().as_slice(),
                key.body_digest.as_slice(),
                new.created_ms
            ])
        })
        .context(|| "remembering an idempotency key")?;
    Ok(())
}

/// Clears away some of what is no longer remembered.
fn forget(catalogue: &Connection, new: &NewCommand) -> Result<(), StoreError> {
    catalogue
        .prepare_cached(
            "DELETE FROM signature WHERE (token, signature) IN
               (SELECT token, signature FROM signature WHERE remember_until_ms < ?1
                ORDER BY remember_until_ms LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![new.forget_before_ms, FORGOTTEN_PER_ACCEPT_MAX]))
        .context(|| "forgetting signatures")?;
    if let Some(key) = &new.idempotency {
        catalogue
            .prepare_cached(
                "DELETE FROM idempotency_key WHERE (token, program, key) IN
                   (SELECT token, program, key FROM idempotency_key WHERE created_ms <= ?1
                    ORDER BY created_ms LIMIT ?2)",
            )
            .and_then(|mut delete| delete.execute(params![key.forgotten_before_ms, FORGOTTEN_PER_ACCEPT_MAX]))
            .context(|| "forgetting idempotency keys")?;
    }
    Ok(())
}

struct CommandRow {
    sequence: i64,
    id: CommandId,
    program: ProgramId,
    from: String,
    created_ms: i64,
    payload_bytes: i64,
    state: String,
    finished_ms: Option<i64>,
    trace: Option<String>,
    report: Option<String>,
}

/// A command of an account; how many rows a running one has judged is asked of `progress`.
pub(super) fn command(
    catalogue: &Connection,
    account: AccountId,
    id: CommandId,
    progress: impl FnOnce(CommandId) -> u64,
) -> Result<Option<CommandFound>, StoreError> {
    let found = catalogue
        .prepare_cached(&format!("SELECT {COMMAND_COLUMNS} FROM command WHERE id = ?1 AND account = ?2"))
        .and_then(|mut select| {
            let (id, account) = (id.0.as_bytes().as_slice(), account.0.as_bytes().as_slice());
            select.query_row([id, account], read_command).optional()
        })
        .context(|| format!("reading command {id}"))?;
    found.map(|row| CommandFound::look(catalogue, account, row, progress)).transpose()
}

/// A command that was read; with its report, which is not yet read.
pub(super) struct CommandFound {
    account: AccountId,
    row: CommandRow,
    /// If it runs, how many rows it has judged.
    rows: u64,
    /// If it waits, its place.
    position: u64,
}

impl CommandFound {
    fn look(
        catalogue: &Connection,
        account: AccountId,
        row: CommandRow,
        progress: impl FnOnce(CommandId) -> u64,
    ) -> Result<CommandFound, StoreError> {
        let rows = if row.state == "running" { progress(row.id) } else { 0 };
        let position = if row.state == "queued" { position(catalogue, row.program, row.sequence)? } else { 0 };
        Ok(CommandFound { account, row, rows, position })
    }

    /// As it is shown.
    pub(super) fn command(&self) -> Result<Command, StoreError> {
        let CommandFound { account, row, rows, position } = self;
        let state = match (row.state.as_str(), &row.report, &row.trace, row.finished_ms) {
            ("complete", Some(report), Some(trace), Some(finished_ms)) => {
                let report = Box::new(record::report_from_json(report)?);
                CommandState::Complete { report, trace: trace.clone(), finished_ms }
            }
            ("running", ..) => CommandState::Running { rows: *rows },
            ("queued", ..) => CommandState::Queued { position: *position },
            (state, ..) => {
                return Err(StoreError::Fault(format!("command {} has the unknown state '{state}'", row.id)));
            }
        };
        Ok(Command {
            id: row.id,
            account: *account,
            program: row.program,
            from: row.from.clone(),
            created_ms: row.created_ms,
            payload_bytes: row.payload_bytes.cast_unsigned(),
            state,
        })
    }
}

/// A page of a program's commands, newest first, and how many there are; how far running ones are is asked of `progress`.
pub(super) fn page(
    catalogue: &Connection,
    (account, program): (AccountId, ProgramId),
    query: CommandQuery,
    progress: impl Fn(CommandId) -> u64,
) -> Result<CommandPage, StoreError> {
    let listing = || format!("listing the commands of program {program}");
    let CommandQuery { state, offset, count } = query;
    let state = state.map(|state| match state {
        StateFilter::Queued => "queued",
        StateFilter::Running => "running",
        StateFilter::Complete => "complete",
    });
    let condition = "program = ?1 AND (?2 IS NULL OR state = ?2)";
    let id = program.0.as_bytes().as_slice();
    let total: i64 = catalogue
        .prepare_cached(&format!("SELECT count(*) FROM command WHERE {condition}"))
        .and_then(|mut select| select.query_row(params![id, state], |row| row.get(0)))
        .context(listing)?;
    let rows: Vec<CommandRow> = catalogue
        .prepare_cached(&format!(
            "SELECT {COMMAND_COLUMNS} FROM command WHERE {condition} ORDER BY seq DESC LIMIT ?3 OFFSET ?4"
        ))
        .and_then(|mut select| {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            select.query_map(params![id, state, count, offset], read_command)?.collect()
        })
        .context(listing)?;
    let commands = rows
        .into_iter()
        .map(|row| CommandFound::look(catalogue, account, row, &progress)?.command())
        .collect::<Result<_, _>>()?;
    Ok(CommandPage { total: total.cast_unsigned(), commands })
}

/// The columns of [`read_command`], in its order.
const COMMAND_COLUMNS: &str =
    "seq, program, from_name, created_ms, payload_bytes, state, finished_ms, trace, report, id";

fn read_command(row: &Row<'_>) -> rusqlite::Result<CommandRow> {
    Ok(CommandRow {
        sequence: row.get(0)?,
        program: ProgramId(uuid(row, 1)?),
        from: row.get(2)?,
        created_ms: row.get(3)?,
        payload_bytes: row.get(4)?,
        state: row.get(5)?,
        finished_ms: row.get(6)?,
        trace: row.get(7)?,
        report: row.get(8)?,
        id: CommandId(uuid(row, 9)?),
    })
}

fn position(catalogue: &Connection, program: ProgramId, sequence: i64) -> Result<u64, StoreError> {
    let before: i64 = catalogue
        // By itself SQLite takes the index of all commands, and looks at each that there ever was.
        .prepare_cached(
            "SELECT count(*) FROM command INDEXED BY command_open
             WHERE program = ?1 AND state <> 'complete' AND seq < ?2",
        )
        .and_then(|mut select| select.query_row(params![program.0.as_bytes().as_slice(), sequence], |row| row.get(0)))
        .context(|| format!("measuring the queue of program {program}"))?;
    Ok(before.cast_unsigned() + 1)
}

pub(super) fn backlog(catalogue: &Connection) -> Result<Backlog, StoreError> {
    catalogue
        .prepare_cached("SELECT count(*), min(created_ms) FROM command WHERE state <> 'complete'")
        .and_then(|mut select| {
            let backlog = |row: &Row<'_>| {
                Ok(Backlog { commands: row.get::<_, i64>(0)?.cast_unsigned(), oldest_created_ms: row.get(1)? })
            };
            select.query_row([], backlog)
        })
        .context(|| "measuring the queues")
}

/// Whether there is a command, and its upload is kept.
pub(super) fn has_file(catalogue: &Connection, command: CommandId) -> Result<bool, StoreError> {
    catalogue
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM command WHERE id = ?1 AND file_removed = 0)")
        .and_then(|mut select| select.query_row([command.0.as_bytes().as_slice()], |row| row.get(0)))
        .context(|| format!("looking for command {command}"))
}

/// Everything that is not complete, in the order of acceptance. What was running when the last server stopped waits
/// again: it is the oldest of its program, so its place is right, and the program's file tells whether it was applied.
pub(super) fn requeue_all(catalogue: &Connection) -> Result<Vec<Waiting>, StoreError> {
    let queueing = || "filling the queue";
    catalogue.execute("UPDATE command SET state = 'queued' WHERE state = 'running'", []).context(queueing)?;
    let waiting = |row: &Row<'_>| {
        Ok(Waiting {
            sequence: row.get(0)?,
            command: CommandId(uuid(row, 1)?),
            account: AccountId(uuid(row, 2)?),
            program: ProgramId(uuid(row, 3)?),
            payload_bytes: row.get::<_, i64>(4)?.cast_unsigned(),
        })
    };
    catalogue
        .prepare("SELECT seq, id, account, program, payload_bytes FROM command WHERE state <> 'complete' ORDER BY seq")
        .and_then(|mut select| select.query_map([], waiting)?.collect())
        .context(queueing)
}

/// Makes a command of the lanes a claim: one attempt more. `None` if it is complete. The lanes decide what is claimed:
/// after a failed `give_back` a command may wait there and still be `running` here.
pub(super) fn claim(catalogue: &Connection, waiting: Waiting, now_ms: i64) -> Result<Option<Claim>, StoreError> {
    let Waiting { sequence, command, account, program, payload_bytes: _ } = waiting;
    let claimed = catalogue
        .prepare_cached(
            "UPDATE command SET state = 'running', attempt = attempt + 1, claimed_ms = ?2
             WHERE seq = ?1 AND state <> 'complete' RETURNING attempt, options",
        )
        .and_then(|mut update| {
            let row = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?));
            update.query_row(params![sequence, now_ms], row).optional()
        })
        .context(|| format!("claiming command {command}"))?;
    let Some((attempt, options)) = claimed else { return Ok(None) };
    let options = record::options_from_json(&options)?;
    Ok(Some(Claim { command, sequence, account, program, attempt, options }))
}

/// Refuses a claim that another attempt has taken over, that is over, or that is to be cancelled.
pub(super) fn check_claim(catalogue: &Connection, claim: &Claim) -> Result<(), StoreError> {
    let held: Option<Option<String>> = catalogue
        .prepare_cached("SELECT cancelled_by FROM command WHERE seq = ?1 AND attempt = ?2 AND state = 'running'")
        .and_then(|mut select| select.query_row(params![claim.sequence, claim.attempt], |row| row.get(0)).optional())
        .context(|| format!("checking the claim of command {}", claim.command))?;
    match held {
        None => Err(StoreError::LostClaim),
        Some(Some(by)) => Err(StoreError::Cancelled(by)),
        Some(None) => Ok(()),
    }
}

/// The size of the command's file.
pub(super) fn payload_bytes(catalogue: &Connection, claim: &Claim) -> Result<u64, StoreError> {
    let bytes: i64 = catalogue
        .prepare_cached("SELECT payload_bytes FROM command WHERE seq = ?1")
        .and_then(|mut select| select.query_row([claim.sequence], |row| row.get(0)))
        .context(|| format!("reading the size of command {}", claim.command))?;
    Ok(bytes.cast_unsigned())
}

/// Whether the claim was held, and is so no more.
pub(super) fn give_back(catalogue: &Connection, claim: &Claim) -> Result<bool, StoreError> {
    let changed = catalogue
        .prepare_cached("UPDATE command SET state = 'queued' WHERE seq = ?1 AND attempt = ?2 AND state = 'running'")
        .and_then(|mut update| update.execute(params![claim.sequence, claim.attempt]))
        .context(|| format!("giving command {} back", claim.command))?;
    Ok(changed > 0)
}

pub(super) fn finish(
    catalogue: &Connection,
    claim: &Claim,
    report: &Report,
    trace: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let json = record::report_to_json(report)?;
    let changed = catalogue
        .prepare_cached(
            "UPDATE command SET state = 'complete', report = ?3, trace = ?4, finished_ms = ?5
             WHERE seq = ?1 AND attempt = ?2 AND state = 'running'",
        )
        .and_then(|mut update| update.execute(params![claim.sequence, claim.attempt, json, trace, now_ms]))
        .context(|| format!("finishing command {}", claim.command))?;
    if changed == 0 {
        return Err(StoreError::LostClaim);
    }
    history::note(catalogue, (claim.account, claim.program, claim.sequence), (&claim.options, report), now_ms)
}

/// Cancels a command of an account; a report is kept for one that never ran. `None` if there is none.
pub(super) fn cancel(
    catalogue: &Connection,
    (account, command): (AccountId, CommandId),
    by: &str,
    trace: &str,
    now_ms: i64,
) -> Result<Option<Cancellation>, StoreError> {
    let cancelling = || format!("cancelling command {command}");
    let found = catalogue
        .prepare_cached("SELECT seq, state, attempt, options, program FROM command WHERE id = ?1 AND account = ?2")
        .and_then(|mut select| {
            let (id, account) = (command.0.as_bytes().as_slice(), account.0.as_bytes().as_slice());
            let row = |row: &Row<'_>| {
                let options = row.get::<_, String>(3)?;
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?, options, uuid(row, 4)?))
            };
            select.query_row([id, account], row).optional()
        })
        .context(cancelling)?;
    let Some((sequence, state, attempt, options, program)) = found else { return Ok(None) };
    let program = ProgramId(program);
    // One that ran before may have been applied, and only its program's file knows: the next attempt asks it.
    if state != "queued" || attempt > 0 {
        let asked = catalogue
            .prepare_cached("UPDATE command SET cancelled_by = ?2 WHERE seq = ?1 AND state <> 'complete'")
            .and_then(|mut update| update.execute(params![sequence, by]))
            .context(cancelling)?;
        return Ok(Some(if asked > 0 { Cancellation::Asked } else { Cancellation::TooLate }));
    }
    let options = record::options_from_json(&options)?;
    let report = Report::of_cancellation(options.mode, by);
    let json = record::report_to_json(&report)?;
    catalogue
        .prepare_cached(
            "UPDATE command SET state = 'complete', cancelled_by = ?2, report = ?3, trace = ?4, finished_ms = ?5
             WHERE seq = ?1",
        )
        .and_then(|mut update| update.execute(params![sequence, by, json, trace, now_ms]))
        .context(cancelling)?;
    history::note(catalogue, (account, program, sequence), (&options, &report), now_ms)?;
    Ok(Some(Cancellation::Done))
}

/// The payload of a command of an account, if it is in the catalogue.
pub(super) fn inline_file(
    catalogue: &Connection,
    account: AccountId,
    command: CommandId,
) -> Result<Option<Vec<u8>>, StoreError> {
    catalogue
        .prepare_cached(
            "SELECT bytes FROM payload JOIN command ON command.seq = payload.seq
             WHERE command.id = ?1 AND command.account = ?2",
        )
        .and_then(|mut select| {
            let (id, account) = (command.0.as_bytes().as_slice(), account.0.as_bytes().as_slice());
            select.query_row([id, account], |row| row.get(0)).optional()
        })
        .context(|| format!("reading the payload of command {command}"))
}

/// The payload of a command, if it is in the catalogue.
pub(super) fn inline_payload(catalogue: &Connection, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
    catalogue
        .prepare_cached("SELECT bytes FROM payload WHERE seq = ?1")
        .and_then(|mut select| select.query_row([claim.sequence], |row| row.get(0)).optional())
        .context(|| format!("reading the payload of command {}", claim.command))
}
