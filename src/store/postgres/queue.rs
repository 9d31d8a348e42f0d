//! The queue over all nodes: claims with a lease, their renewal, and what wakes the workers of this node.
//!
//! Time in a lease is the database's, so that nodes whose clocks disagree do not take each other's work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Shared;
use super::connection::{ANSWERED_WITHIN, Context, Lent, connection, execute, query_opt, within};
use super::import_connection::SESSION_NAME;
use super::moving::IS_MOVING;
use super::notice::Outbox;
use crate::command::{Claim, CommandId, Completions, Reach};
use crate::import::Report;
use crate::store::history::{DayShare, Kept};
use crate::store::{Backlog, StoreError, record};
use crate::tenant::{AccountId, ProgramId};

/// The database's clock, in milliseconds and microseconds since 1970-01-01 UTC.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
pub(super) const NOW_US: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// How often the progress of an import is told to the other nodes.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A lease is renewed so many times before it would run out.
const RENEWALS_PER_LEASE: u32 = 4;

/// The longest lease that a node can be set to.
pub const LEASE_MS_MAX: i64 = 3_600_000;

/// The condition under which a lease is over. One that lasts longer than any can was given before the database's clock was set back: if its
/// node is gone, nobody would miss it for as long as that. If it is there, it renews the lease, and is seen at work meanwhile.
fn is_run_out() -> String {
    format!("(lease_until_ms <= {NOW_MS} OR lease_until_ms > {NOW_MS} + {LEASE_MS_MAX})")
}

/// What this node knows of the queue.
pub(super) struct Queue {
    pub(super) completions: Completions,
    /// What the other nodes are to be told.
    pub(super) outbox: Outbox,
    /// How long a worker waits for a word before it looks by itself: a lease that runs out says nothing, and other nodes'
    /// words may be lost.
    look_every: Duration,
    arrived: Notify,
    /// The same, for who takes only small files.
    small_arrived: Notify,
    /// The claims that this node holds.
    held: Mutex<HashMap<CommandId, Held>>,
}

struct Held {
    program: ProgramId,
    sequence: i64,
    attempt: u32,
    rows: u64,
    told: Instant,
    /// Who asked that it be cancelled.
    cancelled_by: Option<String>,
}

impl Queue {
    pub(super) fn new(look_every: Duration) -> Queue {
        Queue {
            completions: Completions::default(),
            outbox: Outbox::default(),
            look_every,
            arrived: Notify::new(),
            small_arrived: Notify::new(),
            held: Mutex::default(),
        }
    }

    /// Something may be claimable, by any node.
    pub(super) fn announce_work_everywhere(&self) {
        self.announce_work();
        self.outbox.tell_work();
    }

    /// Something may be claimable, by this node.
    pub(super) fn announce_work(&self) {
        self.arrived.notify_one();
        self.small_arrived.notify_one();
    }

    /// Ends after a word, or after a while without one.
    pub(super) async fn arrived(&self, reach: Reach) {
        let arrived = match reach {
            Reach::Any => &self.arrived,
            Reach::Small => &self.small_arrived,
        };
        // Running out of time is an end like the other.
        let _ = tokio::time::timeout(self.look_every, arrived.notified()).await;
    }

    fn hold(&self, claim: &Claim) {
        let held = Held {
            program: claim.program,
            sequence: claim.sequence,
            attempt: claim.attempt,
            rows: 0,
            told: Instant::now(),
            cancelled_by: None,
        };
        self.held().insert(claim.command, held);
    }

    /// The claim is over. (A later one of the same command, by this node too, is not.)
    fn let_go(&self, claim: &Claim) {
        let mut held = self.held();
        if held.get(&claim.command).is_some_and(|held| held.attempt == claim.attempt) {
            held.remove(&claim.command);
        }
    }

    /// Somebody asked that a command be cancelled; of interest where it runs.
    pub(super) fn cancel(&self, command: CommandId, by: &str) {
        if let Some(held) = self.held().get_mut(&command) {
            held.cancelled_by = Some(by.to_owned());
        }
    }

    /// Who asked that a claim of this node be cancelled.
    pub(super) fn cancelled(&self, claim: &Claim) -> Option<String> {
        let held = self.held();
        held.get(&claim.command).filter(|held| held.attempt == claim.attempt)?.cancelled_by.clone()
    }

    /// The rows of a command that runs here.
    pub(super) fn progress(&self, command: CommandId) -> Option<u64> {
        self.held().get(&command).map(|held| held.rows)
    }

    /// Keeps the rows; says whether it is time to tell the others.
    pub(super) fn set_progress(&self, claim: &Claim, rows: u64) -> bool {
        let mut held = self.held();
        let Some(held) = held.get_mut(&claim.command).filter(|held| held.attempt == claim.attempt) else {
            return false;
        };
        held.rows = rows;
        let is_time = held.told.elapsed() >= PROGRESS_EVERY;
        if is_time {
            held.told = Instant::now();
        }
        is_time
    }

    fn held(&self) -> MutexGuard<'_, HashMap<CommandId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The condition under which the session of the import at the head of a lane is seen at work, by the database itself: it
/// runs a statement, or did within the lease `$1`. Where the database waits for the node in the middle of a statement or of
/// its answer, it is not. (Of sessions of another role nothing is seen.)
///
/// It is asked only where a lease has run out. A node that has no connection left to renew its leases with, because a
/// pooler gives all to imports, would lose the work of every import that takes longer than a lease, again and again.
fn seen_at_work() -> String {
    format!(
        "EXISTS (
             SELECT FROM pg_stat_activity AS session
             WHERE session.datname = current_database()
               AND session.application_name = '{SESSION_NAME}' || command.id
               AND (session.state_change > clock_timestamp() - $1 * interval '1 millisecond'
                 OR (session.state = 'active' AND session.wait_event_type IS DISTINCT FROM 'Client')))"
    )
}

/// Takes on the command whose turn it is. The lane is skipped while another node is at it, which will say so when it is done.
pub(super) async fn claim(shared: &Shared, reach: Reach, now_ms: i64) -> Result<Option<Claim>, StoreError> {
    let client = connection(&shared.pool).await?;
    let claimed = within(ANSWERED_WITHIN, claim_with(&client, shared, reach, now_ms)).await;
    let Some(claim) = client.done(claimed)? else { return Ok(None) };
    shared.queue.hold(&claim);
    // One word may stand for many arrivals: who takes one passes it on.
    shared.queue.announce_work();
    Ok(Some(claim))
}

async fn claim_with(client: &Lent, shared: &Shared, reach: Reach, now_ms: i64) -> Result<Option<Claim>, StoreError> {
    // Most who look find nothing: several are woken by each word, so that none is missed. Asking alone costs the database a tenth of trying.
    if !is_claimable(client).await? {
        return Ok(None);
    }
    loop {
        match take(client, shared, reach, now_ms).await? {
            None => return Ok(None),
            Some(Taken::Claim(claim)) => return Ok(Some(*claim)),
            Some(Taken::Passed) => {}
        }
    }
}

/// Whether there is a lane at whose head nobody is, as far as is committed. Who changes that gives word after it.
async fn is_claimable(client: &Client) -> Result<bool, StoreError> {
    client
        .query_typed_one(
            &format!("SELECT EXISTS (SELECT FROM lane WHERE head < next_seq AND (NOT running OR {}))", is_run_out()),
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .context(|| "looking for a command to claim")
}

/// What was found at the head of a lane.
enum Taken {
    Claim(Box<Claim>),
    /// A command that was cancelled before its turn came; it is passed over.
    Passed,
}

async fn take(client: &Lent, shared: &Shared, reach: Reach, now_ms: i64) -> Result<Option<Taken>, StoreError> {
    let claiming = || "claiming a command";
    let payload_bytes_max = match reach {
        Reach::Any => i64::MAX,
        Reach::Small => Reach::SMALL_BYTES_MAX.cast_signed(),
    };
    let found = query_opt(
        client,
        &format!(
            "WITH next AS (
                     SELECT lane.program FROM lane JOIN turn ON turn.account = lane.account
                     JOIN command ON command.program = lane.program AND command.seq = lane.head
                     WHERE command.payload_bytes <= $3 AND head < next_seq
                       AND (NOT running OR ({} AND NOT {}))
                       AND NOT {IS_MOVING}
                     ORDER BY turn.served_us, lane.ready_us, lane.program
                     LIMIT 1 FOR UPDATE OF lane SKIP LOCKED
                 ), taken AS (
                     UPDATE lane SET running = true, attempt = attempt + 1, rows = 0, node = $2,
                       lease_until_ms = {NOW_MS} + $1, claimed_ms = $4
                     FROM next WHERE lane.program = next.program
                     RETURNING lane.program, lane.account, head, attempt
                 ), served AS (
                     UPDATE turn SET served_us = {NOW_US} FROM taken WHERE turn.account = taken.account
                 )
                 SELECT program, account, head, attempt FROM taken",
            is_run_out(),
            seen_at_work()
        ),
        &[
            (&shared.lease_ms, Type::INT8),
            (&shared.node, Type::TEXT),
            (&payload_bytes_max, Type::INT8),
            (&now_ms, Type::INT8),
        ],
        || claiming().to_owned(),
    )
    .await?;
    let Some(row) = found else { return Ok(None) };
    let program = ProgramId(row.try_get(0).context(claiming)?);
    let account = AccountId(row.try_get(1).context(claiming)?);
    let sequence: i64 = row.try_get(2).context(claiming)?;
    let attempt: i32 = row.try_get(3).context(claiming)?;
    // In a statement of its own: the command may have been accepted after the first one began to look.
    let row = client
        .query_typed_opt(
            "SELECT id, options, finished_ms IS NOT NULL FROM command WHERE program = $1 AND seq = $2",
            &[(&program.0, Type::UUID), (&sequence, Type::INT8)],
        )
        .await
        .context(claiming)?
        .ok_or_else(|| StoreError::Fault(format!("program {program} has no command number {sequence}")))?;
    let command = CommandId(row.try_get(0).context(claiming)?);
    let options = record::options_from_json(row.try_get(1).context(claiming)?)?;
    let claim = Claim { command, sequence, account, program, attempt: attempt.unsigned_abs(), options };
    if row.try_get(2).context(claiming)? {
        pass_over(client, &claim).await?;
        return Ok(Some(Taken::Passed));
    }
    Ok(Some(Taken::Claim(Box::new(claim))))
}

/// Moves a lane on from a complete command. By one, always: a statement that looked for the next that is not complete would, after
/// waiting for the lane's lock, know the lane as it is and the commands as they were, and pass over one that was accepted meanwhile.
async fn pass_over(client: &Lent, claim: &Claim) -> Result<(), StoreError> {
    execute(
        client,
        &format!("UPDATE lane SET head = head + 1, running = false, attempt = 0, rows = 0, node = NULL WHERE {STANDS}"),
        &[(&claim.program.0, Type::UUID), (&claim.sequence, Type::INT8), (&claim.attempt.cast_signed(), Type::INT4)],
        || format!("passing command {} over", claim.command),
    )
    .await?;
    Ok(())
}

/// The condition on `lane` under which a claim stands; its parameters are those of [`stands`].
pub(super) const STANDS: &str = "lane.program = $1 AND head = $2 AND attempt = $3 AND running";

pub(super) async fn give_back(shared: &Shared, claim: &Claim) -> Result<(), StoreError> {
    // Whatever comes of it, the lease is renewed no more, so it waits again soon.
    shared.queue.let_go(claim);
    let client = connection(&shared.pool).await?;
    let told = within(
        ANSWERED_WITHIN,
        execute(
            &client,
            &format!("UPDATE lane SET running = false, rows = 0, ready_us = {NOW_US} WHERE {STANDS}"),
            &[
                (&claim.program.0, Type::UUID),
                (&claim.sequence, Type::INT8),
                (&claim.attempt.cast_signed(), Type::INT4),
            ],
            || format!("giving command {} back", claim.command),
        ),
    )
    .await;
    let changed = client.done(told)?;
    if changed == 0 {
        return Err(StoreError::LostClaim);
    }
    shared.queue.announce_work_everywhere();
    Ok(())
}

pub(super) async fn finish(
    shared: &Shared,
    claim: &Claim,
    report: &Report,
    trace: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let json = record::report_to_json(report)?;
    let Kept { is_bad, is_applied, summary } = Kept::of(report)?;
    let share = DayShare::of(&claim.options, report, now_ms);
    let (has_share, day) = (share.is_some(), share.as_ref().map_or(0, |share| share.day));
    let rows: Vec<i64> = share.as_ref().map_or(vec![0; 5], |share| share.rows().to_vec());
    let client = connection(&shared.pool).await?;
    // One statement: the lane moves on, the command is complete, and it is counted among its day's imports; or nothing of that.
    let told = within(
        ANSWERED_WITHIN,
        execute(
            &client,
            &format!(
                "WITH done AS (
                     UPDATE lane SET head = head + 1, running = false, attempt = 0, rows = 0, node = NULL,
                       ready_us = {NOW_US}
                     WHERE {STANDS} RETURNING lane.program, lane.account, lane.claimed_ms
                 ), counted AS (
                     INSERT INTO day_tally AS tally
                       (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
                     SELECT done.account, $10, done.program, 1, $8::boolean::int, ($11)[1], ($11)[2], ($11)[3], ($11)[4], ($11)[5]
                     FROM done WHERE $12
                     ON CONFLICT (account, day, program) DO UPDATE SET imports = tally.imports + 1,
                       bad_imports = tally.bad_imports + excluded.bad_imports, added = tally.added + excluded.added,
                       updated = tally.updated + excluded.updated, unchanged = tally.unchanged + excluded.unchanged,
                       ignored = tally.ignored + excluded.ignored, failed = tally.failed + excluded.failed
                 )
                 UPDATE command SET report = $4, trace = $5, finished_ms = $6, outcome = $7, bad = $8, applied = $9,
                   started_ms = nullif(done.claimed_ms, 0), attempts = $3
                 FROM done WHERE command.program = done.program AND command.seq = $2"
            ),
            &[
                (&claim.program.0, Type::UUID),
                (&claim.sequence, Type::INT8),
                (&claim.attempt.cast_signed(), Type::INT4),
                (&json, Type::TEXT),
                (&trace, Type::TEXT),
                (&now_ms, Type::INT8),
                (&summary, Type::TEXT),
                (&is_bad, Type::BOOL),
                (&is_applied, Type::BOOL),
                (&day, Type::INT8),
                (&rows, Type::INT8_ARRAY),
                (&has_share, Type::BOOL),
            ],
            || format!("finishing command {}", claim.command),
        ),
    )
    .await;
    let changed = client.done(told)?;
    if changed == 0 {
        shared.queue.let_go(claim);
        return Err(StoreError::LostClaim);
    }
    shared.queue.let_go(claim);
    shared.queue.completions.announce(claim.command);
    shared.queue.outbox.tell_done(claim.command);
    // The next of the program: this worker looks at once, so the others need not be told.
    shared.queue.announce_work();
    Ok(())
}

/// Makes sure, in the import's transaction, that the claim stands, and that nobody takes it over before the transaction ends.
pub(super) async fn fence(client: &Client, claim: &Claim) -> Result<(), StoreError> {
    stands(client, claim, &format!("SELECT 1 FROM lane WHERE {STANDS} FOR UPDATE")).await
}

/// The same without a lock, to spare work that could not be committed.
pub(super) async fn check_claim(client: &Client, claim: &Claim) -> Result<(), StoreError> {
    stands(client, claim, &format!("SELECT 1 FROM lane WHERE {STANDS}")).await
}

async fn stands(client: &Client, claim: &Claim, question: &str) -> Result<(), StoreError> {
    let (program, sequence, attempt) = (claim.program.0, claim.sequence, claim.attempt.cast_signed());
    let stands = client
        .query_typed_opt(question, &[(&program, Type::UUID), (&sequence, Type::INT8), (&attempt, Type::INT4)])
        .await
        .context(|| format!("checking the claim of command {}", claim.command))?;
    stands.map(|_| ()).ok_or(StoreError::LostClaim)
}

/// Tells the other nodes how many rows were judged.
pub(super) async fn tell_progress(shared: &Shared, claim: &Claim, rows: u64) -> Result<(), StoreError> {
    let client = connection(&shared.pool).await?;
    let told = within(
        ANSWERED_WITHIN,
        execute(
            &client,
            &format!("UPDATE lane SET rows = $4 WHERE {STANDS}"),
            &[
                (&claim.program.0, Type::UUID),
                (&claim.sequence, Type::INT8),
                (&claim.attempt.cast_signed(), Type::INT4),
                (&rows.cast_signed(), Type::INT8),
            ],
            || format!("telling the progress of command {}", claim.command),
        ),
    )
    .await;
    client.done(told)?;
    Ok(())
}

/// Renews the leases of all claims that this node holds, for as long as the store is there.
pub(super) async fn renew_for_ever(shared: Weak<Shared>, lease: Duration) {
    loop {
        tokio::time::sleep(lease / RENEWALS_PER_LEASE).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(fault) = renew(&shared).await {
            tracing::warn!(%fault, "leases could not be renewed");
        }
    }
}

/// Renews leases, and hears of what was cancelled, should the notice have been lost.
async fn renew(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let (mut programs, mut sequences, mut attempts) = (Vec::<Uuid>::new(), Vec::<i64>::new(), Vec::<i32>::new());
    for held in shared.queue.held().values() {
        programs.push(held.program.0);
        sequences.push(held.sequence);
        attempts.push(held.attempt.cast_signed());
    }
    if programs.is_empty() {
        return Ok(());
    }
    let client = connection(&shared.renewals).await?;
    let told = within(
        ANSWERED_WITHIN,
        execute(
            &client,
            &format!(
                "UPDATE lane SET lease_until_ms = {NOW_MS} + $4
                 FROM unnest($1::uuid[], $2::bigint[], $3::int[]) AS held (program, seq, attempt)
                 WHERE lane.program = held.program AND lane.head = held.seq AND lane.attempt = held.attempt AND running"
            ),
            &[
                (&programs, Type::UUID_ARRAY),
                (&sequences, Type::INT8_ARRAY),
                (&attempts, Type::INT4_ARRAY),
                (&shared.lease_ms, Type::INT8),
            ],
            || "renewing leases".to_owned(),
        ),
    )
    .await;
    // Whether that went well or not, the connection is still lent.
    let heard = match told {
        Ok(_) => within(ANSWERED_WITHIN, hear_of_cancelled(&client, shared, &programs, &sequences)).await,
        Err(fault) => Err(fault),
    };
    client.done(heard)
}

async fn hear_of_cancelled(
    client: &Client,
    shared: &Shared,
    programs: &[Uuid],
    sequences: &[i64],
) -> Result<(), StoreError> {
    let looking = || "looking for what was cancelled";
    let cancelled = client
        .query_typed(
            "SELECT id, cancelled_by FROM command JOIN unnest($1::uuid[], $2::bigint[]) AS held (program, seq)
               ON command.program = held.program AND command.seq = held.seq
             WHERE cancelled_by IS NOT NULL",
            &[(&programs, Type::UUID_ARRAY), (&sequences, Type::INT8_ARRAY)],
        )
        .await
        .context(looking)?;
    for row in &cancelled {
        let by: String = row.try_get(1).context(looking)?;
        shared.queue.cancel(CommandId(row.try_get(0).context(looking)?), &by);
    }
    Ok(())
}

/// What waits or runs, of all programs. A cancelled command counts until those before it are over.
pub(super) async fn backlog(client: &Lent) -> Result<Backlog, StoreError> {
    let measuring = || "measuring the queues";
    let row = query_opt(
        client,
        "SELECT coalesce(sum(next_seq - head), 0)::bigint, min(created_ms)
         FROM lane JOIN command ON command.program = lane.program AND command.seq = lane.head
         WHERE head < next_seq",
        &[],
        || measuring().to_owned(),
    )
    .await?
    .ok_or_else(|| StoreError::Fault(format!("{}: no answer", measuring())))?;
    let commands: i64 = row.try_get(0).context(measuring)?;
    Ok(Backlog { commands: commands.cast_unsigned(), oldest_created_ms: row.try_get(1).context(measuring)? })
}
