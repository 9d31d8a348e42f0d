//! Accepting commands, and reading them. Whose turn it is, is decided in `queue`.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connection::{Context, Lent, begin, execute, is_taken};
use super::moving::{IS_MOVING, refuse_work};
use super::queue::NOW_MS;
use super::{payloads, receiving};
use crate::command::{
    Accepted, Command, CommandId, CommandState, Digest, IdempotencyKey, NewCommand, Payload, Remembered,
};
use crate::store::{CommandPage, CommandQuery, QueueLimits, StateFilter, StoreError, record, refusal};
use crate::tenant::{AccountId, ProgramId, TokenNumber};

/// How many expired signatures (and as many keys) of its token an accepting transaction clears away: more than it adds, so
/// that they cannot pile up, and few enough that nobody waits for it.
const FORGOTTEN_PER_ACCEPT_MAX: i64 = 8;

/// How often accepting begins anew because another request with the same signature came in between.
const TRIES_MAX: usize = 3;

/// Up to this size a payload is written while the lane is locked: asking beforehand would cost more.
const SMALL_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn remembered(
    client: &Client,
    token: TokenNumber,
    signature: &[u8; 32],
) -> Result<Option<Remembered>, StoreError> {
    let looking = || "looking for a signature";
    let found = client
        .query_typed_opt(
            "SELECT command, request_digest FROM signature WHERE token = $1 AND signature = $2",
            &[(&token.0, Type::INT8), (&signature.as_slice(), Type::BYTEA)],
        )
        .await
        .context(looking)?;
    let Some(row) = found else { return Ok(None) };
    let command = CommandId(row.try_get(0).context(looking)?);
    Ok(Some(Remembered { command, request_digest: digest(&row, 1)? }))
}

/// Makes sure that what is remembered of a signature is not lost with this server: a primary that fell and rose again shows
/// commits for which no standby had been waited. A commit waits for the standby to have it, and all that came before it.
pub(super) async fn confirm(client: &Lent, token: TokenNumber, signature: &[u8; 32]) -> Result<(), StoreError> {
    execute(
        client,
        "UPDATE signature SET command = command WHERE token = $1 AND signature = $2",
        &[(&token.0, Type::INT8), (&signature.as_slice(), Type::BYTEA)],
        || "confirming a signature".to_owned(),
    )
    .await?;
    Ok(())
}

/// What makes a request an earlier one.
enum Known {
    /// The signature was accepted before.
    Signature(Accepted),
    /// The key was accepted before, under another signature.
    Key(Accepted),
}

async fn known(client: &Client, new: &NewCommand) -> Result<Option<Known>, StoreError> {
    if let Some(Remembered { command, request_digest }) = remembered(client, new.token, &new.signature).await? {
        let same = request_digest == new.request_digest;
        let accepted = if same { Accepted::Replayed(command) } else { Accepted::SignatureReused };
        return Ok(Some(Known::Signature(accepted)));
    }
    if let Some(key) = &new.idempotency
        && let Some((command, body_digest)) = known_key(client, new, key).await?
    {
        let same = body_digest == key.body_digest;
        let accepted = if same { Accepted::Replayed(command) } else { Accepted::IdempotencyKeyReused };
        return Ok(Some(Known::Key(accepted)));
    }
    Ok(None)
}

async fn known_key(
    client: &Client,
    new: &NewCommand,
    key: &IdempotencyKey,
) -> Result<Option<(CommandId, Digest)>, StoreError> {
    let looking = || "looking for an idempotency key";
    let found = client
        .query_typed_opt(
            "SELECT command, body_digest FROM idempotency_key
             WHERE token = $1 AND program = $2 AND key = $3 AND created_ms > $4",
            &[
                (&new.token.0, Type::INT8),
                (&new.program.0, Type::UUID),
                (&key.key, Type::TEXT),
                (&key.forgotten_before_ms, Type::INT8),
            ],
        )
        .await
        .context(looking)?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some((CommandId(row.try_get(0).context(looking)?), digest(&row, 1)?)))
}

/// Accepts a command in a transaction of its own.
pub(super) async fn accept(client: &mut Lent, new: &NewCommand, limits: QueueLimits) -> Result<Accepted, StoreError> {
    let accepted = accept_unconfirmed(client, new, limits).await?;
    match accepted {
        Accepted::New(_) => client.confirmed()?,
        Accepted::Replayed(_) => confirm(client, new.token, &new.signature).await?,
        Accepted::SignatureReused | Accepted::IdempotencyKeyReused | Accepted::QueueFull { .. } => {}
    }
    Ok(accepted)
}

async fn accept_unconfirmed(client: &mut Lent, new: &NewCommand, limits: QueueLimits) -> Result<Accepted, StoreError> {
    if new.payload.held().len() > SMALL_BYTES_MAX {
        // Only to spare the database a large upload that is known: the transaction decides.
        match known(client, new).await? {
            Some(Known::Signature(accepted)) => return Ok(accepted),
            // A key's replay is still to be remembered by its signature.
            Some(Known::Key(_)) | None => {}
        }
    }
    for _ in 0..TRIES_MAX {
        if let Some(accepted) = try_accept(client, new, limits).await? {
            return Ok(accepted);
        }
    }
    Err(StoreError::Unavailable("the same request came in too often at once".to_owned()))
}

/// What an accepting transaction came to.
enum Decision {
    /// The command is stored.
    Stored,
    /// Nothing is to be stored.
    Answer(Accepted),
    /// The command is an earlier one by its key; only this signature is new.
    SameKey(CommandId),
    /// Another request with the signature, for another program, was accepted at the same moment.
    Again,
}

/// `None` if it must begin anew.
async fn try_accept(client: &mut Lent, new: &NewCommand, limits: QueueLimits) -> Result<Option<Accepted>, StoreError> {
    let accepting = || format!("accepting command {}", new.id);
    let tx = begin(client).await.context(accepting)?;
    let decision = decide(tx.client(), new, limits).await?;
    if let Decision::Stored = decision {
        tx.commit().await.context(accepting)?;
        return Ok(Some(Accepted::New(new.id)));
    }
    // Waited for: while the lane is still locked, those who look for work pass it by.
    tx.rollback().await.context(accepting)?;
    match decision {
        Decision::Stored | Decision::Again => Ok(None),
        Decision::Answer(accepted) => Ok(Some(accepted)),
        // Sent again without the key, it is still the same request.
        Decision::SameKey(command) => {
            let tx = begin(client).await.context(accepting)?;
            let is_new = remember(tx.client(), new, command).await?;
            tx.commit().await.context(accepting)?;
            Ok(is_new.then_some(Accepted::Replayed(command)))
        }
    }
}

async fn decide(client: &Client, new: &NewCommand, limits: QueueLimits) -> Result<Decision, StoreError> {
    // A large upload goes before the lock, so that nobody waits for it; what is not committed leaves nothing.
    let is_large = new.payload.held().len() > SMALL_BYTES_MAX;
    if is_large {
        payloads::write(client, new).await?;
    }
    let lane = Lane::lock(client, new).await?;
    let is_moving = lane.as_ref().is_some_and(|lane| lane.is_moving);
    match known(client, new).await? {
        // Nothing is written any more, not even that.
        Some(Known::Key(accepted @ Accepted::Replayed(_))) if is_moving => return Ok(Decision::Answer(accepted)),
        Some(Known::Key(Accepted::Replayed(command))) => return Ok(Decision::SameKey(command)),
        Some(Known::Signature(accepted) | Known::Key(accepted)) => return Ok(Decision::Answer(accepted)),
        None => {}
    }
    let Some(lane) = lane else { return Err(refusal::no_program(new.account, new.program)) };
    if is_moving {
        return Err(refuse_work(client).await?);
    }
    let of_program = lane.next_seq - lane.head;
    if let Some(full) = limits.full(of_program, of_program + lane.beside) {
        return Ok(Decision::Answer(full));
    }
    insert(client, new, lane.next_seq).await?;
    match &new.payload {
        Payload::Received(received) => receiving::take(client, new, received).await?,
        Payload::Held(_) if is_large => {}
        Payload::Held(_) => payloads::write(client, new).await?,
    }
    if !remember(client, new, new.id).await? {
        return Ok(Decision::Again);
    }
    if let Some(key) = &new.idempotency {
        remember_key(client, new, key).await?;
    }
    forget(client, new).await?;
    Ok(Decision::Stored)
}

/// The ends of a program's queue; they stand still until the transaction ends.
struct Lane {
    head: i64,
    next_seq: i64,
    /// How many wait and run in the account's other lanes, as it was when the statement began: those are not locked.
    beside: i64,
    /// Nothing may be accepted.
    is_moving: bool,
}

impl Lane {
    async fn lock(client: &Client, new: &NewCommand) -> Result<Option<Lane>, StoreError> {
        let locking = || format!("locking the queue of program {}", new.program);
        let found = client
            .query_typed_opt(
                &format!(
                    "SELECT head, next_seq, {IS_MOVING},
                       (SELECT coalesce(sum(beside.next_seq - beside.head), 0)::bigint FROM lane AS beside
                        WHERE beside.account = $2 AND beside.head < beside.next_seq AND beside.program <> $1)
                     FROM lane WHERE program = $1 AND account = $2 FOR UPDATE OF lane"
                ),
                &[(&new.program.0, Type::UUID), (&new.account.0, Type::UUID)],
            )
            .await
            .context(locking)?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(Lane {
            head: row.try_get(0).context(locking)?,
            next_seq: row.try_get(1).context(locking)?,
            is_moving: row.try_get(2).context(locking)?,
            beside: row.try_get(3).context(locking)?,
        }))
    }
}

/// Gives the command the next number of its program, and keeps it.
async fn insert(client: &Client, new: &NewCommand, sequence: i64) -> Result<(), StoreError> {
    let accepting = || format!("accepting command {}", new.id);
    let options = record::options_to_json(&new.options)?;
    let inserted = client
        .execute_typed(
            "INSERT INTO command
               (program, seq, id, account, token, from_name, created_ms, payload_bytes, options)
             SELECT $1, $2, $3, account, number, name, $4, $5, $6 FROM token WHERE number = $7 AND account = $8",
            &[
                (&new.program.0, Type::UUID),
                (&sequence, Type::INT8),
                (&new.id.0, Type::UUID),
                (&new.created_ms, Type::INT8),
                (&new.payload.bytes().cast_signed(), Type::INT8),
                (&options, Type::TEXT),
                (&new.token.0, Type::INT8),
                (&new.account.0, Type::UUID),
            ],
        )
        .await
        .context(accepting)?;
    if inserted == 0 {
        return Err(refusal::no_token(new.account, new.token.0));
    }
    // A queue that was empty is ready from now on; one that was not keeps its place.
    client
        .execute_typed(
            "UPDATE lane SET next_seq = $2 + 1, ready_us = CASE WHEN head = $2
                 THEN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint ELSE ready_us END
             WHERE program = $1",
            &[(&new.program.0, Type::UUID), (&sequence, Type::INT8)],
        )
        .await
        .context(accepting)?;
    Ok(())
}

/// Remembers the signature; says whether it was new.
async fn remember(client: &Client, new: &NewCommand, command: CommandId) -> Result<bool, StoreError> {
    let inserted = client
        .execute_typed(
            "INSERT INTO signature (token, signature, command, request_digest, remember_until_ms)
             VALUES ($1, $2, $3, $4, $5)",
            &[
                (&new.token.0, Type::INT8),
                (&new.signature.as_slice(), Type::BYTEA),
                (&command.0, Type::UUID),
                (&new.request_digest.as_slice(), Type::BYTEA),
                (&new.remember_until_ms, Type::INT8),
            ],
        )
        .await;
    match inserted {
        Err(error) if is_taken(&error) => Ok(false),
        inserted => inserted.map(|_| true).context(|| "remembering a signature"),
    }
}

async fn remember_key(client: &Client, new: &NewCommand, key: &IdempotencyKey) -> Result<(), StoreError> {
    // One that is there is older than it is remembered: else it would have been found.
    client
        .execute_typed(
            "INSERT INTO idempotency_key (token, program, key, command, body_digest, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (token, program, key) DO UPDATE SET
               command = excluded.command, body_digest = excluded.body_digest, created_ms = excluded.created_ms",
            &[
                (&new.token.0, Type::INT8),
                (&new.program.0, Type::UUID),
                (&key.key, Type::TEXT),
                (&new.id.0, Type::UUID),
                (&key.body_digest.as_slice(), Type::BYTEA),
                (&new.created_ms, Type::INT8),
            ],
        )
        .await
        .context(|| "remembering an idempotency key")?;
    Ok(())
}

/// Clears away some of what is no longer remembered of this token; what another request is clearing is left to it.
async fn forget(client: &Client, new: &NewCommand) -> Result<(), StoreError> {
    client
        .execute_typed(
            "DELETE FROM signature WHERE token = $1 AND signature IN
               (SELECT signature FROM signature WHERE token = $1 AND remember_until_ms < $2
                ORDER BY remember_until_ms LIMIT $3 FOR UPDATE SKIP LOCKED)",
            &[(&new.token.0, Type::INT8), (&new.created_ms, Type::INT8), (&FORGOTTEN_PER_ACCEPT_MAX, Type::INT8)],
        )
        .await
        .context(|| "forgetting signatures")?;
    if let Some(key) = &new.idempotency {
        client
            .execute_typed(
                "DELETE FROM idempotency_key WHERE token = $1 AND (program, key) IN
                   (SELECT program, key FROM idempotency_key WHERE token = $1 AND created_ms <= $2
                    ORDER BY created_ms LIMIT $3 FOR UPDATE SKIP LOCKED)",
                &[
                    (&new.token.0, Type::INT8),
                    (&key.forgotten_before_ms, Type::INT8),
                    (&FORGOTTEN_PER_ACCEPT_MAX, Type::INT8),
                ],
            )
            .await
            .context(|| "forgetting idempotency keys")?;
    }
    Ok(())
}

/// What is asked together.
type Asked = (AccountId, CommandId);

/// Commands of these accounts, as they were read. One whose claim has run out waits again, whoever may still be at it.
pub(super) async fn commands(client: &Client, asked: &[Asked]) -> Result<HashMap<Asked, Arc<CommandRow>>, StoreError> {
    // A question that looks at the lanes too costs the database twice as much, and what is complete needs none.
    let mut found = read_each(client, asked, (COMPLETE_COLUMNS, "", "finished_ms IS NOT NULL")).await?;
    let others: Vec<Asked> = asked.iter().copied().filter(|asked| !found.contains_key(asked)).collect();
    if !others.is_empty() {
        let lane = "JOIN lane ON lane.program = command.program";
        found.extend(read_each(client, &others, (&columns(), lane, "true")).await?);
    }
    Ok(found)
}

async fn read_each(
    client: &Client,
    asked: &[Asked],
    (columns, join, condition): (&str, &str, &str),
) -> Result<HashMap<Asked, Arc<CommandRow>>, StoreError> {
    let select = format!("SELECT {columns}, command.account FROM");
    let rows = if let [(account, id)] = asked {
        let one = format!("{select} command {join} WHERE command.account = $1 AND command.id = $2 AND {condition}");
        client.query_typed(&one, &[(&account.0, Type::UUID), (&id.0, Type::UUID)]).await
    } else {
        let accounts: Vec<Uuid> = asked.iter().map(|(account, _)| account.0).collect();
        let ids: Vec<Uuid> = asked.iter().map(|(_, id)| id.0).collect();
        // Each by the whole key of the index: with `ANY` all commands of an account may be gone through.
        let many = format!(
            "{select} unnest($1::uuid[], $2::uuid[]) AS asked (account, id)
             CROSS JOIN LATERAL (SELECT * FROM command
               WHERE command.account = asked.account AND command.id = asked.id LIMIT 1) AS command
             {join} WHERE {condition}"
        );
        client.query_typed(&many, &[(&accounts, Type::UUID_ARRAY), (&ids, Type::UUID_ARRAY)]).await
    };
    let reading = || "reading commands";
    rows.context(reading)?
        .into_iter()
        .map(|row| {
            let account = AccountId(row.try_get(11)?);
            Ok(((account, CommandId(row.try_get(10)?)), Arc::new(CommandRow { row, account })))
        })
        .collect::<Result<_, _>>()
        .context(reading)
}

/// A command that was read; with its report, which is not yet read.
pub(super) struct CommandRow {
    row: Row,
    account: AccountId,
}

impl CommandRow {
    pub(super) fn command(&self) -> Result<Command, StoreError> {
        read_command(&self.row, self.account)
    }
}

/// The columns of [`read_command`], in its order, of a `command` that is complete.
const COMPLETE_COLUMNS: &str = "command.program, from_name, created_ms, payload_bytes, 1::bigint, false, 0::bigint, finished_ms, trace, \
     report, command.id";

/// The same of any `command` and its `lane`.
fn columns() -> String {
    format!(
        "command.program, from_name, created_ms, payload_bytes,
         seq - head + 1 - (SELECT count(*) FROM command AS before WHERE before.program = command.program
           AND before.seq >= lane.head AND before.seq < command.seq AND before.cancelled_by IS NOT NULL
           AND before.finished_ms IS NOT NULL),
         {}, rows, finished_ms, trace, CASE WHEN finished_ms IS NOT NULL THEN report END, command.id",
        runs()
    )
}

/// Whether a command runs: one whose claim has run out waits again, whoever may still be at it.
fn runs() -> String {
    format!("(finished_ms IS NULL AND seq = head AND running AND lease_until_ms > {NOW_MS})")
}

fn read_command(row: &Row, account: AccountId) -> Result<Command, StoreError> {
    let reading = || "reading a command";
    let id = CommandId(row.try_get(10).context(reading)?);
    Ok(Command {
        id,
        account,
        program: ProgramId(row.try_get(0).context(reading)?),
        from: row.try_get(1).context(reading)?,
        created_ms: row.try_get(2).context(reading)?,
        payload_bytes: row.try_get::<_, i64>(3).context(reading)?.cast_unsigned(),
        state: state(row, id)?,
    })
}

/// A page of a program's commands, newest first, and how many there are.
pub(super) async fn page(
    client: &Client,
    (account, program): (AccountId, ProgramId),
    query: CommandQuery,
) -> Result<CommandPage, StoreError> {
    let listing = || format!("listing the commands of program {program}");
    let CommandQuery { state, offset, count } = query;
    let condition = match state {
        None => "true".to_owned(),
        Some(StateFilter::Complete) => "finished_ms IS NOT NULL".to_owned(),
        Some(StateFilter::Running) => runs(),
        Some(StateFilter::Queued) => format!("finished_ms IS NULL AND NOT {}", runs()),
    };
    let of_program =
        format!("FROM command JOIN lane ON lane.program = command.program WHERE command.program = $1 AND {condition}");
    let total: i64 = client
        .query_typed_one(&format!("SELECT count(*) {of_program}"), &[(&program.0, Type::UUID)])
        .await
        .and_then(|row| row.try_get(0))
        .context(listing)?;
    let rows = client
        .query_typed(
            &format!("SELECT {} {of_program} ORDER BY seq DESC LIMIT $2 OFFSET $3", columns()),
            &[
                (&program.0, Type::UUID),
                (&i64::from(count), Type::INT8),
                (&i64::try_from(offset).unwrap_or(i64::MAX), Type::INT8),
            ],
        )
        .await
        .context(listing)?;
    let commands = rows.iter().map(|row| read_command(row, account)).collect::<Result<_, _>>()?;
    Ok(CommandPage { total: total.cast_unsigned(), commands })
}

fn state(row: &Row, id: CommandId) -> Result<CommandState, StoreError> {
    let reading = || format!("reading command {id}");
    let position: i64 = row.try_get(4).context(reading)?;
    let is_running: bool = row.try_get(5).context(reading)?;
    let rows: i64 = row.try_get(6).context(reading)?;
    let finished_ms: Option<i64> = row.try_get(7).context(reading)?;
    let trace: Option<String> = row.try_get(8).context(reading)?;
    let report: Option<String> = row.try_get(9).context(reading)?;
    match (finished_ms, trace, report) {
        (Some(finished_ms), Some(trace), Some(report)) => {
            Ok(CommandState::Complete { report: Box::new(record::report_from_json(&report)?), trace, finished_ms })
        }
        (None, ..) if is_running => Ok(CommandState::Running { rows: rows.cast_unsigned() }),
        (None, ..) => Ok(CommandState::Queued { position: u64::try_from(position).unwrap_or(1).max(1) }),
        (Some(_), ..) => Err(StoreError::Fault(format!("command {id} is complete without a report"))),
    }
}

fn digest(row: &Row, column: usize) -> Result<Digest, StoreError> {
    let bytes: Vec<u8> = row.try_get(column).context(|| "reading a digest")?;
    Digest::try_from(bytes).map_err(|_| StoreError::Fault("a digest in the database has a wrong length".to_owned()))
}
