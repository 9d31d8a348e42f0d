//! Contacts that are added by `COPY`: the same rows, the same refusals, and nothing left at a server that others use too.

use super::adding::COPIED_ROWS_MIN;
use super::tests::{addition, begin, claim, open, report, request, tenant};
use super::*;
use crate::contact::Profile;
use crate::import::{Addition, Change};
use crate::store::test_server::{new_database, new_database_behind_one_connection, query_in};

/// Contacts of all sorts: with and without a `customer_id`, a profile and a tick.
fn additions(count: usize) -> Vec<Change> {
    let of = |number: u64| {
        let Change::Add(plain) = addition(number, 13_035_550_000 + number) else { unreachable!("it is an addition") };
        let customer_id = if number.is_multiple_of(3) { String::new() } else { format!("Ö\\N\t\n{number}") };
        let profile = Profile::from_bytes((0..number % 700).map(|byte| byte as u8).collect());
        Change::Add(Addition { customer_id, profile, active: number.is_multiple_of(2), ..plain })
    };
    (1..=count as u64).map(of).collect()
}

/// All that a database has of its contacts but their program and their salts, in one digest, and how many there are.
const ROWS: &str = "SELECT count(*), md5(string_agg(concat_ws('|', number, phone, created_ms, updated_ms, active,
    coalesce(customer_id, 'none'), profile, coalesce(times, 'none')), ';' ORDER BY number)) FROM contact";

/// Imports contacts in such batches into an empty program.
async fn imported(url: &str, batch: usize) -> String {
    let store = open(url).await;
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&store).await;
    let mut import = begin(&store, &claim);
    for changes in additions(2 * COPIED_ROWS_MIN).chunks(batch) {
        import.apply(changes.to_vec()).expect("applied");
    }
    import.commit(&report()).expect("committed");
    let salts =
        query_in(url, "SELECT min(salt) >= 0, max(salt) < 1::bigint << 34, count(DISTINCT salt) > 1000 FROM contact");
    assert_eq!(salts, "t|t|t");
    query_in(url, ROWS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_contacts_are_added_as_few_are() {
    let few = imported(&new_database(), COPIED_ROWS_MIN - 1).await;
    assert!(few.starts_with(&format!("{}|", 2 * COPIED_ROWS_MIN)), "{few}");
    for batch in [COPIED_ROWS_MIN, 2 * COPIED_ROWS_MIN] {
        assert_eq!(imported(&new_database(), batch).await, few, "in batches of {batch}");
    }
}

/// Names of statements that sessions of this database have kept: asked through the one session that there is.
async fn kept_names(store: &PostgresStore) -> i64 {
    let client = connection(&store.shared.pool).await.expect("a connection");
    let row = client.query_typed_one("SELECT count(*) FROM pg_prepared_statements", &[]).await.expect("an answer");
    client.give_back();
    row.try_get(0).expect("a number")
}

/// Behind a pooler another node, which gives the same names, has the session next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_leaves_no_name_behind_however_it_ends() {
    let url = new_database_behind_one_connection();
    let store = open(&url).await;
    let tenant = tenant(&store).await;
    store.accept(request(&tenant, 1)).await.expect("accepted");
    let claim = claim(&store).await;
    let mut twice = additions(COPIED_ROWS_MIN);
    twice.push(addition(COPIED_ROWS_MIN as u64 + 1, 13_035_550_007));
    let mut import = begin(&store, &claim);
    import.apply(twice).expect("it goes on meanwhile");
    let Err(StoreError::Fault(sentence)) = import.commit(&report()) else { unreachable!("a phone has two contacts") };
    assert!(sentence.ends_with("SQLSTATE 23505, constraint contact_phone"), "{sentence}");
    assert_eq!(kept_names(&store).await, 0);

    let mut import = begin(&store, &claim);
    import.apply(additions(COPIED_ROWS_MIN)).expect("applied");
    // Whoever began it goes away while it is at work.
    drop(import);
    assert_eq!(kept_names(&store).await, 0);

    let mut import = begin(&store, &claim);
    import.apply(additions(COPIED_ROWS_MIN)).expect("applied");
    import.apply(vec![addition(COPIED_ROWS_MIN as u64 + 1, 13_035_559_999)]).expect("applied");
    import.commit(&report()).expect("committed");
    assert_eq!(kept_names(&store).await, 0);
    let count = COPIED_ROWS_MIN + 1;
    let found = query_in(&url, "SELECT (SELECT count(*) FROM contact), contacts FROM stock");
    assert_eq!(found, format!("{count}|{count}"));
}
