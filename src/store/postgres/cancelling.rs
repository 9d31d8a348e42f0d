//! Cancelling: a command that was never claimed is complete at once; one that was is told to end.

use tokio_postgres::types::Type;

use super::connection::{Context, Lent, begin};
use super::moving::{IS_MOVING, refuse_work};
use crate::command::CommandId;
use crate::command::test_point::test_point;
use crate::import::Report;
use crate::store::history::Kept;
use crate::store::{Cancellation, StoreError, record};
use crate::tenant::AccountId;

/// Cancels a command of an account in a transaction of its own; `None` if there is none.
pub(super) async fn cancel(
    client: &mut Lent,
    (account, command): (AccountId, CommandId),
    by: &str,
    trace: &str,
    now_ms: i64,
) -> Result<Option<Cancellation>, StoreError> {
    let cancelling = || format!("cancelling command {command}");
    let tx = begin(client).await.context(cancelling)?;
    let found = tx
        .query_typed_opt(
            "SELECT program, seq, options FROM command WHERE account = $1 AND id = $2",
            &[(&account.0, Type::UUID), (&command.0, Type::UUID)],
        )
        .await
        .context(cancelling)?;
    let Some(row) = found else { return Ok(None) };
    let program: uuid::Uuid = row.try_get(0).context(cancelling)?;
    let sequence: i64 = row.try_get(1).context(cancelling)?;
    let options: String = row.try_get(2).context(cancelling)?;
    // From here on nobody claims, commits or completes it but this transaction.
    let lane = tx
        .query_typed_one(
            &format!(
                "SELECT head = $2, head = $2 AND attempt > 0, head > $2, {IS_MOVING} FROM lane WHERE program = $1 FOR UPDATE"
            ),
            &[(&program, Type::UUID), (&sequence, Type::INT8)],
        )
        .await
        .context(cancelling)?;
    let is_head: bool = lane.try_get(0).context(cancelling)?;
    let was_claimed: bool = lane.try_get(1).context(cancelling)?;
    let is_over: bool = lane.try_get(2).context(cancelling)?;
    if is_over {
        return Ok(Some(Cancellation::TooLate));
    }
    if lane.try_get(3).context(cancelling)? {
        return Err(refuse_work(tx.client()).await?);
    }
    // One that was claimed before may have been applied: whoever claims it next looks.
    let finished = (!was_claimed).then_some(now_ms);
    let (report, kept) = finished.map(|_| told(&options, by)).transpose()?.unzip();
    let trace = finished.map(|_| trace);
    let changed = tx
        .execute_typed(
            "UPDATE command SET cancelled_by = $3, report = coalesce($4, report), trace = $5, finished_ms = $6, outcome = $7,
               bad = $8, applied = $9
             WHERE program = $1 AND seq = $2 AND finished_ms IS NULL",
            &[
                (&program, Type::UUID),
                (&sequence, Type::INT8),
                (&by, Type::TEXT),
                (&report, Type::TEXT),
                (&trace, Type::TEXT),
                (&finished, Type::INT8),
                (&kept.as_ref().map(|kept| &*kept.summary), Type::TEXT),
                (&kept.as_ref().map(|kept| kept.is_bad), Type::BOOL),
                (&kept.as_ref().map(|kept| kept.is_applied), Type::BOOL),
            ],
        )
        .await
        .context(cancelling)?;
    if is_head && finished.is_some() {
        // Should the next be complete as well, who takes it passes it over.
        tx.execute_typed("UPDATE lane SET head = head + 1 WHERE program = $1", &[(&program, Type::UUID)])
            .await
            .context(cancelling)?;
    }
    test_point("cancel.before_commit");
    tx.commit().await.context(cancelling)?;
    client.confirmed()?;
    Ok(Some(match (changed, finished) {
        (0, _) => Cancellation::TooLate,
        (_, Some(_)) => Cancellation::Done,
        (_, None) => Cancellation::Asked,
    }))
}

/// The report of what never ran, as it is kept, and what it came to.
fn told(options: &str, by: &str) -> Result<(String, Kept), StoreError> {
    let report = Report::of_cancellation(record::options_from_json(options)?.mode, by);
    Ok((record::report_to_json(&report)?, Kept::of(&report)?))
}
