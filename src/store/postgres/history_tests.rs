//! How the database goes about what is asked of the history, along indexes, however much there is; and what older nodes leave to it.

use uuid::Uuid;

use super::connection;
use super::history::{LAST_IMPORT, OPEN, SENDERS, imports_sql, newest_sql};
use super::migration::{STEPS, Step, migrate};
use super::tests::{NOW, claim, open, report, request, tenant};
use crate::store::suite::history::old::{old_commands, old_commands_are_told, old_id};
use crate::store::test_server::{new_database, query_in};
use crate::store::{History, ImportsOf, ImportsQuery, Outcome, Store};
use crate::tenant::{AccountId, ProgramId};

/// Two accounts; one has two programs with 20,000 commands each, the other one. Of each a hundred wait, every fifth is bad, and there is a day
/// between two of them.
const FILL: &str = "
    INSERT INTO lane (program, account, head, next_seq)
      SELECT program, account, 19901, 20001 FROM (VALUES
        ('00000000-0000-0000-0000-0000000000a1'::uuid, '00000000-0000-0000-0000-0000000000aa'::uuid),
        ('00000000-0000-0000-0000-0000000000a2', '00000000-0000-0000-0000-0000000000aa'),
        ('00000000-0000-0000-0000-0000000000b1', '00000000-0000-0000-0000-0000000000bb')) AS new (program, account);
    INSERT INTO command (program, seq, id, account, token, from_name, created_ms, payload_bytes, options, finished_ms, trace,
        report, outcome, bad, applied)
      SELECT program, seq, (lpad(to_hex(seq * 86400000), 12, '0') || lpad(right(program::text, 2), 20, '0'))::uuid, account, 1,
        'One', seq * 86400000, 1, '{}', CASE WHEN seq < head THEN seq * 86400000 END, 't',
        CASE WHEN seq < head THEN 'r' END, CASE WHEN seq < head THEN 'o' END, seq % 5 = 0, seq % 5 <> 0
      FROM lane, generate_series(1::bigint, 20000) AS seq ORDER BY seq, program";

fn plan_of(url: &str, sql: &str, types: &str, arguments: &str) -> String {
    query_in(
        url,
        &format!(
            "BEGIN; SET LOCAL plan_cache_mode = force_custom_plan; PREPARE asked ({types}) AS {sql};
             EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) EXECUTE asked ({arguments})"
        ),
    )
}

/// How many rows a part of a plan has read, or passed over.
fn most_rows(plan: &str) -> u64 {
    let plan = plan.replace("by Filter: ", "actual rows=").replace("by Join Filter: ", "actual rows=");
    let numbers = plan.split("actual rows=").skip(1);
    let first = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok());
    numbers.filter_map(first).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_read_along_indexes() {
    let url = new_database();
    open(&url).await.close().await.expect("closed");
    query_in(&url, FILL);
    // As the database does by itself while a table grows, and a move at its end.
    query_in(&url, "ANALYZE");
    const TYPES: &str = "uuid, uuid, text, bigint, bigint, uuid, uuid, uuid, bigint";
    let program = ProgramId(Uuid::from_u128(0xa1));
    let account = "'00000000-0000-0000-0000-0000000000aa'";
    for of in [ImportsOf::All, ImportsOf::Queued, ImportsOf::Running, ImportsOf::Good, ImportsOf::Bad] {
        for program in [None, Some(program)] {
            let id = program.map_or("NULL".to_owned(), |id| format!("'{id}'"));
            for filters in [
                "NULL, NULL, NULL, '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', NULL",
                "'One', 1700000000000, 1710000000000, '018bc000-0000-0000-0000-000000000000', '018ef000-0000-0000-0000-000000000000', NULL",
                "NULL, NULL, NULL, '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '018d0000-0000-0000-0000-0000000000a1'",
            ] {
                let sql = imports_sql(program, of, filters.starts_with("'One'"));
                let plan = plan_of(&url, &sql, TYPES, &format!("{account}, {id}, {filters}, 51"));
                let most = most_rows(&plan);
                assert!(most <= 1_000, "{of:?} {program:?} {filters}: {most} rows\n{plan}");
            }
        }
    }
    for (sql, types, arguments) in [
        (newest_sql(), "uuid", account.to_owned()),
        (SENDERS.to_owned(), "uuid, bigint, bigint", format!("{account}, 1000, 100")),
        (LAST_IMPORT.to_owned(), "uuid, bigint", format!("'{program}', 1700000000000")),
        (OPEN.to_owned(), "uuid, uuid", format!("{account}, NULL")),
        (OPEN.to_owned(), "uuid, uuid", format!("{account}, '{program}'")),
    ] {
        let plan = plan_of(&url, &sql, types, &arguments);
        let most = most_rows(&plan);
        assert!(most <= 1_000, "{sql}: {most} rows\n{plan}");
    }
}

/// What was complete before outcomes and days were kept has them after the migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_complete_before_outcomes_were_kept_is_told() {
    let url = new_database();
    let before = STEPS.iter().position(|step| step.sql.contains("TABLE day_tally ")).expect("the step");
    let steps: Vec<Step> =
        STEPS[..before].iter().map(|step| Step { sql: step.sql, works_with: step.works_with }).collect();
    let pool = connection::pool(connection::sessions(&url).expect("a URL"), 1).expect("a pool");
    migrate(&pool, &steps).await.expect("migrated");
    let (account, program) = (AccountId(Uuid::from_u128(1)), ProgramId(Uuid::from_u128(2)));
    query_in(
        &url,
        &format!(
            "INSERT INTO account (id, name, created_ms) VALUES ('{account}', 'One', 1);
             INSERT INTO program (id, account, name, active, region, tag, created_ms)
               VALUES ('{program}', '{account}', 'P', true, 'US', 1, 1);
             INSERT INTO lane (program, account, head, next_seq) VALUES ('{program}', '{account}', 7, 8);
             INSERT INTO stock (program) VALUES ('{program}'); INSERT INTO turn (account) VALUES ('{account}')"
        ),
    );
    for (number, options, report) in old_commands() {
        let created_ms = NOW + i64::from(number);
        let over = report.map_or("NULL, NULL, NULL".to_owned(), |report| {
            format!("{}, 't', '{report}'", created_ms + 24 * 3_600_000)
        });
        query_in(
            &url,
            &format!(
                "INSERT INTO command (program, seq, id, account, token, from_name, created_ms, payload_bytes, options,
                   finished_ms, trace, report)
                 VALUES ('{program}', {number}, '{}', '{account}', 1, 'One', {created_ms}, 8, '{options}', {over})",
                old_id(number)
            ),
        );
    }
    old_commands_are_told(&open(&url).await, account, program).await;
}

/// Beside newer nodes: it knows neither outcomes nor versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_node_completes_is_told_from_its_report() {
    let url = new_database();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    let version = async || store.contacts_version(tenant.account, tenant.program).await.expect("a number");
    let before = version().await;
    let new = request(&tenant, 1);
    store.accept(new.clone()).await.expect("accepted");
    store.finish(&claim(&store).await, &report(), "t", NOW + 1).await.expect("finished");
    query_in(&url, "UPDATE command SET outcome = NULL, bad = NULL, applied = NULL, started_ms = NULL, attempts = 0");
    let items = store.imports(tenant.account, ImportsQuery::all(9)).await.expect("listed");
    let Outcome::Complete { counts, not_applied: None, error_count: 0, finished_ms } = items[0].outcome else {
        unreachable!("{items:?}")
    };
    assert_eq!((counts, finished_ms), (report().counts, NOW + 1));
    assert_ne!(version().await, before);
    let found = store.import_details(tenant.account, new.id).await.expect("readable").expect("the import");
    assert_eq!((found.started_ms, found.attempts), (None, 0));
}
