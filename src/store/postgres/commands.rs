//! Reading commands, and what was accepted. Accepting is in `accepting`; whose turn it is, is decided in `queue`.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connection::{Context, Lent, execute};
use super::queue::NOW_MS;
use crate::command::{Command, CommandId, CommandState, Digest, Remembered};
use crate::store::{CommandPage, CommandQuery, StateFilter, StoreError, record};
use crate::tenant::{AccountId, ProgramId, TokenNumber};

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
pub(super) fn runs() -> String {
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

pub(super) fn digest(row: &Row, column: usize) -> Result<Digest, StoreError> {
    let bytes: Vec<u8> = row.try_get(column).context(|| "reading a digest")?;
    Digest::try_from(bytes).map_err(|_| StoreError::Fault("a digest in the database has a wrong length".to_owned()))
}
