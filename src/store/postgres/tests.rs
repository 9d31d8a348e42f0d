//! What only the home of many nodes does: its schema, its key, its leases, and losing the database. What every home does is
//! told in `store::suite`.

use uuid::Uuid;

use super::changing::{FREE_KEYS, UPDATE};
use super::finding::{Part, lookup_sql, range_sql};
use super::import_connection::BY_WHOLE_KEYS;
use super::migration::{STEPS, Step, migrate};
use super::*;
use crate::command::{Payload, Reach, Sender};
use crate::contact::{ContactNumber, Phone, Profile, Region};
use crate::import::{Addition, Change, Existing, ImportOptions, Mode, New};
use crate::store::ImportTx;
use crate::store::suite::{self, new_token, settings};
use crate::store::test_server::{new_database, new_pooled_database, query_in};

pub(super) const NOW: i64 = 1_763_812_800_000;

pub(super) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(settings(url)).await.expect("the store opens")
}

/// A node that takes over whatever has not moved for a moment, and renews nothing.
pub(super) async fn impatient(url: &str) -> PostgresStore {
    let settings = PostgresSettings { lease: Duration::from_millis(1), ..settings(url) };
    let store = PostgresStore::open(settings).await.expect("the store opens");
    store.end_background();
    store
}

async fn refusal(settings: PostgresSettings) -> String {
    match PostgresStore::open(settings).await {
        Err(StoreError::Refused(sentence)) => sentence,
        Err(other) => unreachable!("{other}"),
        Ok(_) => unreachable!("it opened"),
    }
}

/// An account with a program and a token.
pub(super) struct Tenant {
    pub(super) account: AccountId,
    pub(super) program: ProgramId,
    token: TokenNumber,
}

pub(super) async fn tenant(store: &PostgresStore) -> Tenant {
    let account = store.create_account("One", NOW).await.expect("an account").id;
    let new = NewProgram { name: "Fall".to_owned(), region: Region::US, phone: None, timezone: None };
    let program = store.create_program(account, new, NOW).await.expect("a program").id;
    store.create_token(account, new_token("T", "T", "S"), NOW).await.expect("a token");
    let token = store.token("T").await.expect("readable").expect("the token").number;
    Tenant { account, program, token }
}

pub(super) fn request(tenant: &Tenant, number: u8) -> NewCommand {
    NewCommand {
        id: CommandId(Uuid::new_v4()),
        account: tenant.account,
        program: tenant.program,
        sender: Sender::Token(tenant.token),
        created_ms: NOW,
        options: ImportOptions::new(New::Add, Existing::Ignore, Mode::Row),
        payload: Payload::text("phone\n".to_owned()),
        signature: [number; 32],
        request_digest: [number; 32],
        body_digest: Some([number; 32]),
        remember_until_ms: NOW + 1,
        forget_before_ms: NOW,
        idempotency: None,
    }
}

pub(super) async fn claim(store: &PostgresStore) -> Claim {
    store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim")
}

pub(super) fn begin(store: &PostgresStore, claim: &Claim) -> Box<dyn ImportTx> {
    match store.begin_import(claim, NOW).expect("begun") {
        Begin::Open(import) => import,
        Begin::AlreadyApplied(_) => unreachable!("it was applied already"),
    }
}

pub(super) fn addition(number: u64, phone: u64) -> Change {
    Change::Add(Addition {
        number: ContactNumber::new(number).expect("in range"),
        customer_id: format!("XqCustomer{number}"),
        phone: Phone::from_digits(phone),
        active: true,
        profile: Profile::default(),
    })
}

pub(super) fn report() -> Report {
    suite::report(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_migrate_once() {
    let url = new_database();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let settings = settings(&url);
            tokio::spawn(async move { PostgresStore::open(settings).await.map(drop) })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("it opens");
    }
    assert_eq!(query_in(&url, "SELECT count(*) FROM schema_step"), STEPS.len().to_string());
    assert_eq!(query_in(&url, "SELECT count(*) FROM master_key_check"), "1");
}

/// Two versions side by side: the new one has migrated, and the old one goes on, and starts, if the step says that it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_node_works_beside_a_newer_one_as_far_as_the_schema_says() {
    let url = new_database();
    let old = open(&url).await;
    let tenant = tenant(&old).await;
    old.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&old).await;
    let add = |sql, works_with| Step { sql, works_with };
    let known = || STEPS.iter().map(|step| add(step.sql, step.works_with));
    let knows = STEPS.len() as i32;

    let newer: Vec<Step> = known().chain([add("ALTER TABLE contact ADD COLUMN note text", knows)]).collect();
    migrate(&old.shared.pool, &newer).await.expect("migrated");
    let mut import = begin(&old, &claim);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    import.commit(&report()).expect("committed");
    old.finish(&claim, &report(), "t", NOW).await.expect("finished");
    drop(open(&url).await);

    let newest: Vec<Step> =
        known().chain([add("ALTER TABLE contact ADD COLUMN note text", knows), add("SELECT 1", knows + 2)]).collect();
    migrate(&old.shared.pool, &newest).await.expect("migrated");
    let sentence = refusal(settings(&url)).await;
    assert!(sentence.contains(&format!("this database has schema {}", knows + 2)), "{sentence}");
    migrate(&old.shared.pool, &newest).await.expect("the newest goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_changed_or_fails_is_told() {
    let url = new_database();
    let store = open(&url).await;
    let broken: Vec<Step> = STEPS
        .iter()
        .map(|step| Step { sql: step.sql, works_with: step.works_with })
        .chain([Step { sql: "CREATE TABLE half (x int); CREATE TABLE half (x int)", works_with: 1 }])
        .collect();
    assert!(matches!(migrate(&store.shared.pool, &broken).await, Err(StoreError::Fault(_))));
    assert_eq!(query_in(&url, "SELECT to_regclass('half') IS NULL"), "t", "a step is done or not begun");
    query_in(&url, "UPDATE schema_step SET digest = 'x'");
    assert!(refusal(settings(&url)).await.contains("step 1 of this database's schema is not the one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_node_may_make_the_key_and_the_others_need_it() {
    let url = new_database();
    let directory = tempfile::tempdir().expect("a directory");
    let made = directory.path().join("data/master.key");
    let source = |path: &std::path::Path| MasterKeySource::FileOrNew(path.to_owned());
    for _ in 0..2 {
        let opened = PostgresStore::open(PostgresSettings { master_key: source(&made), ..settings(&url) }).await;
        drop(opened.expect("the key was made, or is there"));
    }
    let elsewhere = directory.path().join("other.key");
    let refused = refusal(PostgresSettings { master_key: source(&elsewhere), ..settings(&url) }).await;
    assert!(refused.contains("there is no master key file") && !elsewhere.exists(), "{refused}");
    let other = MasterKeySource::Text("1".repeat(64).into());
    assert!(refusal(PostgresSettings { master_key: other, ..settings(&url) }).await.contains("the master key is not"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_is_told_without_its_password() {
    let url = |url: &str| PostgresSettings { url: Secret::new(url.to_owned()), ..settings("") };
    let sentence = refusal(url("postgres://roster:XqPassword@[::1/x")).await;
    assert!(!sentence.contains("XqPassword"), "{sentence}");
    let known = new_database();
    assert!(refusal(url(&format!("{known}_not"))).await.contains("does not exist"));
    // Nobody listens there.
    let away = PostgresStore::open(url("postgres://roster:XqPassword@127.0.0.1:1/roster")).await.map(drop);
    let Err(StoreError::Unavailable(sentence)) = away else { unreachable!("{away:?}") };
    assert!(!sentence.contains("XqPassword"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_touches_no_command() {
    let url = new_database();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let operator =
        PostgresStore::open(PostgresSettings { open_as: OpenAs::Operator, ..settings(&url) }).await.expect("it opens");
    assert!(matches!(operator.accept(request(&tenant, 2)).await, Err(StoreError::Refused(_))));
    assert!(matches!(operator.claim(Reach::Any, NOW).await, Err(StoreError::Refused(_))));
}

/// Two nodes; the first one sleeps past its lease while its import is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_taken_over_when_its_lease_has_run_out() {
    let url = new_database();
    let (one, two) = (open(&url).await, impatient(&url).await);
    let tenant = tenant(&one).await;
    one.accept(request(&tenant, 1)).await.expect("accepted");
    let old = claim(&one).await;
    let mut import = begin(&one, &old);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    assert_eq!(two.claim(Reach::Any, NOW).await.expect("claimable"), None, "its lease stands");
    query_in(&url, "UPDATE lane SET lease_until_ms = 1");
    let new = claim(&two).await;
    assert_eq!((new.command, new.attempt), (old.command, 2));
    assert_eq!(import.commit(&report()), Err(StoreError::LostClaim));
    assert_eq!(one.finish(&old, &report(), "t", NOW).await, Err(StoreError::LostClaim));
    let mut import = begin(&two, &new);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    import.commit(&report()).expect("committed");
    two.finish(&new, &report(), "t", NOW).await.expect("finished");
    assert_eq!(query_in(&url, "SELECT contacts, (SELECT count(*) FROM contact) FROM stock"), "1|1");
}

/// A node that gets no connection to renew its lease with is not robbed of what it is at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_seen_at_work_is_not_taken_over() {
    for url in [new_database(), new_pooled_database()] {
        let (one, two) = (open(&url).await, open(&url).await);
        one.end_background();
        let tenant = tenant(&one).await;
        one.accept(request(&tenant, 1)).await.expect("accepted");
        let claimed = claim(&one).await;
        let mut import = begin(&one, &claimed);
        query_in(&url, "UPDATE lane SET lease_until_ms = 1");
        import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
        assert_eq!(two.claim(Reach::Any, NOW).await.expect("claimable"), None, "it has worked within a lease");
        import.commit(&report()).expect("committed");
        one.finish(&claimed, &report(), "t", NOW).await.expect("finished");

        // Once its session has gone, the lease alone counts.
        one.accept(request(&tenant, 2)).await.expect("accepted");
        let claimed = claim(&one).await;
        begin(&one, &claimed).rollback().expect("rolled back");
        query_in(&url, "UPDATE lane SET lease_until_ms = 1");
        assert_eq!(claim(&two).await.attempt, 2);
    }
}

/// The database's clock was three hours ahead and was set right; the node that took a command on meanwhile is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_before_the_clock_was_set_back_runs_out() {
    let url = new_database();
    let (one, two) = (open(&url).await, open(&url).await);
    one.end_background();
    let tenant = tenant(&one).await;
    one.accept(request(&tenant, 1)).await.expect("accepted");
    claim(&one).await;
    let ahead = |ms: i64| format!("UPDATE lane SET lease_until_ms = {} + {ms}", queue::NOW_MS);
    query_in(&url, &ahead(3_500_000));
    assert_eq!(two.claim(Reach::Any, NOW).await.expect("claimable"), None, "a node may be set to so long a lease");
    query_in(&url, &ahead(3 * 3_600_000));
    assert_eq!(claim(&two).await.attempt, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_until_the_claim_is_over() {
    let url = new_database();
    let store = PostgresStore::open(PostgresSettings { lease: Duration::from_secs(1), ..settings(&url) })
        .await
        .expect("it opens");
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&store).await;
    let until = || query_in(&url, "SELECT lease_until_ms FROM lane").parse::<i64>().expect("a number");
    let first = until();
    // Three leases long: it could not stand without being renewed.
    while until() < first + 3_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None);
    store.give_back(&claim).await.expect("given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_tells_no_contact() {
    let url = new_database();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&store).await;
    let mut import = begin(&store, &claim);
    let twice = import
        .apply(vec![addition(1, 13_035_550_001), addition(2, 13_035_550_001)])
        .and_then(|()| import.commit(&report()));
    let Err(StoreError::Fault(sentence)) = twice else { unreachable!("{twice:?}") };
    assert!(sentence.contains("contact_phone") && !sentence.contains("303555"), "{sentence}");
}

/// What a failover does to a node: its connections end, and for a while there is nothing that can be written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_comes_back_without_a_restart() {
    let url = new_database();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&store).await;
    let mut import = begin(&store, &claim);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    let name = url.rsplit('/').next().expect("a name");
    query_in(&url, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    query_in(
        &url,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(matches!(import.commit(&report()), Err(StoreError::Unavailable(_))));
    assert!(matches!(store.begin_import(&claim, NOW), Err(StoreError::Unavailable(_))));
    assert!(matches!(store.accept(request(&tenant, 2)).await, Err(StoreError::Unavailable(_))));

    query_in(&url, &format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET ALL; COMMIT"));
    let mut import = begin(&store, &claim);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    import.commit(&report()).expect("committed");
    store.finish(&claim, &report(), "t", NOW).await.expect("finished");
    store.accept(request(&tenant, 2)).await.expect("accepted");
    assert_eq!(query_in(&url, "SELECT count(*) FROM contact"), "1");
}

/// Workers that never look by themselves: whatever ends their wait came from the other node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_at_once_what_another_does() {
    let url = new_database();
    let never = Duration::from_secs(1_000_000);
    let node = || PostgresStore::open(PostgresSettings { look_every: never, ..settings(&url) });
    let (one, two) = (node().await.expect("it opens"), node().await.expect("it opens"));
    let tenant = tenant(&one).await;
    // It listens; until then it might miss a word.
    two.work_arrived(Reach::Any).await;
    assert_eq!(two.claim(Reach::Any, NOW).await.expect("claimable"), None);
    let new = request(&tenant, 1);
    let watch = two.completions().watch(new.id);
    one.accept(new).await.expect("accepted");
    let taken = loop {
        two.work_arrived(Reach::Any).await;
        if let Some(claim) = two.claim(Reach::Any, NOW).await.expect("claimable") {
            break claim;
        }
    };
    // And who waits at one node for what another carries out.
    let at_one = one.completions().watch(taken.command);
    let (here, there) = (watch.announced(), at_one.announced());
    two.finish(&taken, &report(), "t", NOW).await.expect("finished");
    here.await;
    there.await;
}

/// A pooler of transactions lets no notice through; work is found by looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_nothing_looks() {
    let url = new_pooled_database();
    let node = || PostgresStore::open(PostgresSettings { look_every: Duration::from_millis(5), ..settings(&url) });
    let (one, two) = (node().await.expect("it opens"), node().await.expect("it opens"));
    let tenant = tenant(&one).await;
    one.accept(request(&tenant, 1)).await.expect("accepted");
    let taken = loop {
        two.work_arrived(Reach::Any).await;
        if let Some(claim) = two.claim(Reach::Any, NOW).await.expect("claimable") {
            break claim;
        }
    };
    two.finish(&taken, &report(), "t", NOW).await.expect("finished");
}

/// What would end a wait for a standby, and with it what a 202 stands for; and what would not wait at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_setting_of_the_database_weakens_a_commit() {
    let url = new_database();
    drop(open(&url).await);
    let name = url.rsplit('/').next().expect("a name");
    for setting in ["statement_timeout = '1h'", "synchronous_commit = 'local'"] {
        query_in(&url, &format!("ALTER DATABASE {name} SET {setting}"));
    }
    query_in(
        &url,
        "CREATE TABLE seen (what text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO seen VALUES (current_setting('statement_timeout') || ' ' || current_setting('synchronous_commit'));
           RETURN NULL;
         END $$;
         CREATE TRIGGER see AFTER INSERT OR UPDATE ON command FOR EACH ROW EXECUTE FUNCTION see();
         CREATE TRIGGER see AFTER INSERT OR UPDATE ON signature FOR EACH ROW EXECUTE FUNCTION see();
         CREATE TRIGGER see AFTER UPDATE ON lane FOR EACH ROW EXECUTE FUNCTION see();
         CREATE TRIGGER see AFTER INSERT ON contact FOR EACH ROW EXECUTE FUNCTION see();",
    );
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    let again = request(&tenant, 1);
    store.accept(again.clone()).await.expect("accepted");
    store.accept(again).await.expect("accepted");
    store.remembered(tenant.token, &[1; 32]).await.expect("readable").expect("remembered");
    let claim = claim(&store).await;
    let mut import = begin(&store, &claim);
    import.apply(vec![addition(1, 13_035_550_001)]).expect("applied");
    import.commit(&report()).expect("committed");
    store.finish(&claim, &report(), "t", NOW).await.expect("finished");
    let seen = query_in(&url, "SELECT what, count(*) > 7 FROM seen GROUP BY what");
    assert_eq!(seen, "0 on|t", "an accept, two replays, a claim, an import and its end");
    // The settings were there to be seen.
    let shown = query_in(&url, "SELECT current_setting('statement_timeout'), current_setting('synchronous_commit')");
    assert_eq!(shown, "1h|local");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_lie_compressed_in_the_database() {
    let url = new_database();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    let file = "phone\n".repeat(400_000);
    store.accept(NewCommand { payload: Payload::text(file.clone()), ..request(&tenant, 1) }).await.expect("accepted");
    let lying = "SELECT count(*), string_agg(DISTINCT pg_column_compression(bytes), ','), sum(pg_column_size(bytes)) < 100000 FROM payload";
    assert_eq!(query_in(&url, lying), "3|lz4|t");
    let mut import = begin(&store, &claim(&store).await);
    let mut read = String::new();
    import.payload().expect("there").read_to_string(&mut read).expect("readable");
    assert!(read == file, "{} bytes have come back", read.len());
}

/// A machine that is gone answers nothing, and refuses nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_does_not_keep_from_the_next() {
    let url = new_database();
    // Nobody takes what comes in here.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let both = url.replace("postgres@", &format!("postgres@{address},"));
    let store = open(&both).await;
    tenant(&store).await;
    let only = url.rsplit('/').next().map(|name| format!("postgres://postgres@{address}/{name}")).expect("a name");
    let Err(StoreError::Unavailable(sentence)) = PostgresStore::open(settings(&only)).await.map(drop) else {
        unreachable!("nobody is there")
    };
    assert!(sentence.contains("no connection to the database in time"), "{sentence}");
}

/// Tables of which a machine can have a copy each, because they are small and seldom change. Their keys are what one comes
/// with (an id, the text of a token, what a user holds), or tell one row from another.
const COPIED_TABLES: [&str; 10] = [
    "account",
    "program",
    "token",
    "master_key_check",
    "schema_step",
    "moving",
    "console_user",
    "console_membership",
    "console_session",
    "console_link",
];

/// What docs/SCALING.md and the schema say about spreading tables over machines.
#[tokio::test(flavor = "multi_thread")]
async fn every_unique_key_begins_with_the_tenant() {
    let url = new_database();
    open(&url).await.close().await.expect("closed");
    let keys = query_in(
        &url,
        "SELECT relation.relname || '.' || attname FROM pg_index
         JOIN pg_class relation ON relation.oid = indrelid JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
         WHERE indisunique AND relnamespace = 'public'::regnamespace ORDER BY 1",
    );
    let keys: Vec<(&str, &str)> = keys.lines().filter_map(|line| line.split_once('.')).collect();
    assert!(keys.iter().filter(|(table, _)| *table == "contact").count() == 3, "{keys:?}");
    let spread = keys.iter().filter(|(table, _)| !COPIED_TABLES.contains(table));
    for (table, first) in spread {
        assert!(["program", "account", "token"].contains(first), "a unique key of {table} begins with {first}");
    }
    let forbidden = query_in(
        &url,
        "SELECT conname FROM pg_constraint WHERE contype IN ('f', 'x') AND connamespace = 'public'::regnamespace
         UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    );
    assert_eq!(forbidden, "", "foreign keys, exclusions, triggers and functions of our own do not spread");
}

/// Contacts of one program as the statistics have not seen them: so many, numbered from 1.
fn contacts_of(program: &str, count: u32) -> String {
    format!(
        "INSERT INTO contact SELECT {program}, number, 1, number, 0, 0, true, number::text, '' FROM generate_series(1, {count}) number"
    )
}

/// The plan of a statement about a thousand contacts of that program; an argument is what each of them has, `#` its number; or, behind `=`,
/// one value.
fn plan_of(url: &str, sql: &str, arguments: &[&str]) -> String {
    let array = |of_each: &&str| {
        if let Some(one) = of_each.strip_prefix('=') {
            return format!(", {one}");
        }
        let elements: Vec<String> = (1..=1_000).map(|number| of_each.replace('#', &number.to_string())).collect();
        format!(", '{{{}}}'", elements.join(","))
    };
    let arrays: String = arguments.iter().map(array).collect();
    let moment = if sql.contains("$8") { ", 1" } else { "" };
    query_in(
        url,
        &format!(
            "BEGIN; {BY_WHOLE_KEYS}; SET LOCAL plan_cache_mode = force_custom_plan; PREPARE asked AS {sql};
             EXPLAIN EXECUTE asked ('00000000-0000-0000-0000-0000000000bb'{arrays}{moment})"
        ),
    )
}

/// Whatever the statistics say: an import that is planned by the program alone takes hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_found_by_whole_keys_whatever_the_statistics_say() {
    let small_programs = "INSERT INTO contact SELECT gen_random_uuid(), 1, 1, number, 0, 0, true, number::text, '' FROM generate_series(1, 300) number";
    let one_program = contacts_of("'00000000-0000-0000-0000-0000000000aa'", 20_000);
    for (before, analyze) in
        [(small_programs, "ANALYZE contact"), (&*one_program, "ANALYZE contact"), ("SELECT 1", "SELECT 1")]
    {
        let url = new_database();
        open(&url).await.close().await.expect("closed");
        for sql in [before, analyze, &contacts_of("'00000000-0000-0000-0000-0000000000bb'", 20_000)] {
            query_in(&url, sql);
        }
        let statements = [
            (lookup_sql("number", "bigint", Part::Values), vec!["#", "#"]),
            (lookup_sql("customer_id", "text", Part::Values), vec!["#", "#"]),
            (lookup_sql("phone", "bigint", Part::Number), vec!["#", "#"]),
            (range_sql(), vec!["=4000", "=5000"]),
            (FREE_KEYS.to_owned(), vec!["#", "t", "t"]),
            (UPDATE.to_owned(), vec!["#", "t", "NULL", "NULL", "#", "#"]),
        ];
        for (sql, arguments) in statements {
            let plan = plan_of(&url, &sql, &arguments);
            assert!(plan.contains("Index Cond: ((program = $0) AND ("), "after {before}: {sql}\n{plan}");
            assert!(!plan.contains("Filter"), "after {before}: {sql}\n{plan}");
        }
    }
}
