//! Taking over from a node that was stopped in the middle of a statement: the database waits for it without a limit, and what it
//! has locked stays locked. Each test has such a session that speaks PostgreSQL's protocol by hand, and then says nothing.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::tests::{addition, begin, claim, impatient, open, report, request, tenant};
use super::*;
use crate::store::test_server::{new_database, new_pooled_database, query_in};

const NOW: i64 = 1_763_812_800_000;

/// Far more than the two sides and a pooler between them can hold in their buffers.
const ANSWER: &str = "SELECT repeat('x', 60000000)";

/// A session in an import's transaction, whose node no longer reads nor writes.
struct Stopped(UnixStream);

impl Stopped {
    /// In the transaction of an import, with the program's contacts locked.
    fn in_import(url: &str, claim: &Claim) -> Stopped {
        let (server, name) =
            url.strip_prefix("postgres://postgres@").expect("the tests' URL").split_once('/').expect("a name");
        let (directory, port) = server.split_once(':').unwrap_or((server, "5432"));
        let socket = format!("{}/.s.PGSQL.{port}", directory.replace("%2F", "/"));
        let mut stopped = Stopped(UnixStream::connect(socket).expect("a server"));
        let startup = format!("user\0postgres\0database\0{name}\0\0");
        let mut message = (startup.len() as u32 + 8).to_be_bytes().to_vec();
        message.extend(196_608u32.to_be_bytes());
        message.extend(startup.as_bytes());
        stopped.0.write_all(&message).expect("written");
        stopped.query(&format!(
            "BEGIN; SET LOCAL application_name = 'roster import {}';
             SELECT FROM stock WHERE program = '{}' FOR UPDATE",
            claim.command, claim.program
        ));
        stopped
    }

    fn query(&mut self, sql: &str) {
        self.message(b'Q', sql.len() as u32 + 5, &[sql.as_bytes(), b"\0"].concat());
    }

    fn message(&mut self, kind: u8, length: u32, bytes: &[u8]) {
        let head = length.to_be_bytes();
        self.0.write_all(&[&[kind], head.as_slice(), bytes].concat()).expect("written");
    }
}

/// The state of the import's session, and what it waits for.
const STATE: &str = "SELECT state, wait_event FROM pg_stat_activity WHERE application_name LIKE 'roster import %' AND datname = current_database()";

async fn until(url: &str, sql: &str, expected: &str) {
    while query_in(url, sql) != expected {
        tokio::task::yield_now().await;
    }
}

/// The other node takes the command over and completes it; were the session left alone, it would wait for ever.
async fn is_taken_over(url: &str, store: PostgresStore) {
    query_in(url, "UPDATE lane SET lease_until_ms = 1");
    let new = claim(&store).await;
    assert_eq!(new.attempt, 2);
    let work = tokio::task::spawn_blocking(move || {
        let mut import = begin(&store, &new);
        import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
        import.commit(&report()).expect("committed");
        (store, new)
    });
    let within = Duration::from_secs(30);
    let (store, new) = tokio::time::timeout(within, work).await.expect("nobody locks it any more").expect("no panic");
    store.finish(&new, &report(), "t", NOW).await.expect("finished");
    assert_eq!(query_in(url, "SELECT contacts, (SELECT count(*) FROM contact) FROM stock"), "1|1");
    assert_eq!(query_in(url, STATE), "", "no session of an import is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_while_it_read_an_answer_is_taken_over() {
    for url in [new_database(), new_pooled_database()] {
        let (one, two) = (open(&url).await, impatient(&url).await);
        let tenant = tenant(&one).await;
        one.accept(request(&tenant, 1)).await.expect("accepted");
        let mut stopped = Stopped::in_import(&url, &claim(&one).await);
        stopped.query(ANSWER);
        until(&url, STATE, "active|ClientWrite").await;
        is_taken_over(&url, two).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_while_it_sent_a_statement_is_taken_over() {
    for url in [new_database(), new_pooled_database()] {
        let (one, two) = (open(&url).await, impatient(&url).await);
        let tenant = tenant(&one).await;
        one.accept(request(&tenant, 1)).await.expect("accepted");
        let mut stopped = Stopped::in_import(&url, &claim(&one).await);
        // A statement without parameters, and the beginning of what would bind them.
        stopped.message(b'P', 16, b"\0SELECT 1\0\0\0");
        stopped.message(b'B', 1_000_000, b"\0\0");
        until(&url, STATE, "active|ClientRead").await;
        is_taken_over(&url, two).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_while_it_copied_is_taken_over() {
    for url in [new_database(), new_pooled_database()] {
        let (one, two) = (open(&url).await, impatient(&url).await);
        let tenant = tenant(&one).await;
        one.accept(request(&tenant, 1)).await.expect("accepted");
        let mut stopped = Stopped::in_import(&url, &claim(&one).await);
        stopped.query("COPY contact (program) FROM STDIN");
        // The beginning of some rows.
        stopped.message(b'd', 1_000_000, b"\t");
        until(&url, STATE, "active|ClientRead").await;
        is_taken_over(&url, two).await;
    }
}

/// A database that does not let sessions be ended is waited for, and that is all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_end_a_session_waits_for_it() {
    let url = new_database();
    let role = format!("roster_{}", std::process::id());
    query_in(&url, &format!("CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}"));
    let as_role = url.replace("postgres://postgres@", &format!("postgres://{role}@"));
    let (one, two) = (open(&as_role).await, impatient(&as_role).await);
    let tenant = tenant(&one).await;
    one.accept(request(&tenant, 1)).await.expect("accepted");
    // The superuser's session, which the role may neither end nor see at work.
    let stopped = Stopped::in_import(&url, &claim(&one).await);
    until(&url, STATE, "idle in transaction|ClientRead").await;
    query_in(&url, "UPDATE lane SET lease_until_ms = 1");
    let new = claim(&two).await;
    let work = tokio::task::spawn_blocking(move || begin(&two, &new).rollback());
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    until(&url, waiting, "1").await;
    drop(stopped);
    work.await.expect("no panic").expect("begun and rolled back");
}
