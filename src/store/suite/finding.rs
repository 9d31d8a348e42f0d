//! Who the rows of a batch are about is found whatever order the batch is in, on every home.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;

scenes![
    contacts_are_found_in_any_order,
    a_file_in_order_is_found_batch_after_batch,
    a_first_load_finds_what_it_has_added,
    a_load_into_a_small_program_finds_who_was_there_and_who_moved
];

/// Contacts of the program; every fifth has no `customer_id`.
const CONTACTS: u64 = 200;

/// One row of a batch: a contact of the program or nobody (the numbers beyond), and by which keys it is named.
#[derive(Clone, Copy, Debug)]
struct Named {
    at: u64,
    by_signalvine_id: bool,
    by_customer_id: bool,
}

/// Batches in the program's order, in the opposite one and in none, with gaps, repetitions and strangers.
fn batches() -> impl Strategy<Value = Vec<Vec<Named>>> {
    let named = |at: u64| {
        (any::<bool>(), any::<bool>()).prop_map(move |(mostly, by_customer_id)| Named {
            at,
            by_signalvine_id: !mostly,
            by_customer_id: by_customer_id || mostly,
        })
    };
    let batch = prop_oneof![
        (1..CONTACTS, 1..150u64).prop_map(|(from, count)| (from..from + count).collect::<Vec<u64>>()),
        (1..CONTACTS, 1..150u64).prop_map(|(from, count)| (from..from + count).rev().collect()),
        proptest::collection::vec(1..CONTACTS + 40, 1..150),
        proptest::sample::subsequence((1..CONTACTS + 40).collect::<Vec<u64>>(), 1..150),
    ];
    let batch = batch.prop_flat_map(move |rows| rows.into_iter().map(named).collect::<Vec<_>>());
    proptest::collection::vec(batch, 1..4)
}

async fn contacts_are_found_in_any_order(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let additions = (1..=CONTACTS).map(|at| match addition(at) {
        Change::Add(addition) if at % 5 == 0 => Change::Add(Addition { customer_id: String::new(), ..addition }),
        other => other,
    });
    import(&*store, &tenant, 1, &additions.collect::<Vec<_>>(), NOW).await;
    let known = contacts(&*store, &tenant).await;
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let config = ProptestConfig {
        cases: 48,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let found = TestRunner::new(config).run(&batches(), |batches| {
        let mut tx = begin(&*store, &claim, NOW);
        for batch in batches {
            let names: Vec<String> = batch.iter().map(|row| format!("c{}", row.at)).collect();
            let contact = |row: &Named| known.get(usize::try_from(row.at).unwrap_or(usize::MAX) - 1);
            let keys: Vec<IdentityKeys<'_>> = batch
                .iter()
                .zip(&names)
                .map(|(row, name)| IdentityKeys {
                    signalvine_id: contact(row).filter(|_| row.by_signalvine_id).map(|contact| contact.id),
                    customer_id: Some(&**name).filter(|_| row.by_customer_id),
                    phone: Some(phone(row.at)),
                })
                .collect();
            for ((found, key), row) in look_up(&mut *tx, &keys).iter().zip(&keys).zip(&batch) {
                let contact = contact(row);
                let number = contact.map(|contact| contact.id.number);
                let by_customer_id = number.filter(|_| key.customer_id.is_some() && row.at % 5 != 0);
                let by_id = number.filter(|_| key.signalvine_id.is_some());
                prop_assert_eq!((found.by_signalvine_id, found.by_customer_id), (by_id, by_customer_id), "{:?}", row);
                prop_assert_eq!(found.by_phone, number, "{:?}", row);
                let stored = found.contact.as_ref().map(|stored| (stored.number, &stored.profile, stored.phone));
                let expected = contact.filter(|_| by_id.or(by_customer_id).is_some());
                prop_assert_eq!(stored, expected.map(|contact| (contact.id.number, &contact.profile, contact.phone)));
            }
        }
        tx.rollback().expect("rolled back");
        Ok(())
    });
    if let Err(fault) = found {
        unreachable!("{fault}");
    }
}

/// As a night's file is: where a batch ends the next one begins. Here some contacts are not in it, and some of its rows are about nobody.
async fn a_file_in_order_is_found_batch_after_batch(home: &dyn Home) {
    const BATCH: u64 = 200;
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &(1..=4 * BATCH).map(addition).collect::<Vec<_>>(), NOW).await;
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    for batch in 0..4 {
        let rows: Vec<u64> = (1 + batch * BATCH..=(batch + 1) * BATCH).filter(|at| at % 7 != 0).collect();
        // Every tenth is beyond all contacts, and one is of a batch long past.
        let at = |row: u64| if row.is_multiple_of(10) { 10_000 + row } else { row };
        let mut numbers: Vec<u64> = rows.iter().map(|row| at(*row)).collect();
        numbers.push(3);
        let names: Vec<String> = numbers.iter().map(|at| format!("c{at}")).collect();
        let keys: Vec<IdentityKeys<'_>> = names.iter().map(|name| customer_id(name)).collect();
        // What the batch before has changed is seen, though nobody asked for it by its key.
        let changed = batch * BATCH + 11;
        tx.apply(vec![Change::Update(Update { profile: Some(profile("changed")), ..unchanged(changed) })])
            .expect("applied");
        for (found, at) in look_up(&mut *tx, &keys).into_iter().zip(numbers) {
            let expected = Some(at).filter(|at| *at <= 4 * BATCH).map(number);
            assert_eq!(found.by_customer_id, expected);
            let name = if at == changed { "changed".to_owned() } else { format!("name {at}") };
            let stored =
                found.contact.map(|contact| (contact.number, contact.customer_id, contact.phone, contact.profile));
            assert_eq!(stored, expected.map(|number| (number, format!("c{at}"), phone(at), profile(&name))));
        }
    }
}

async fn a_first_load_finds_what_it_has_added(home: &dyn Home) {
    const BATCH: u64 = 2_000;
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let strangers: Vec<String> = (0..BATCH).map(|at| format!("nobody {at}")).collect();
    let strangers: Vec<IdentityKeys<'_>> = strangers.iter().map(|name| customer_id(name)).collect();
    let additions = |from: u64| (from..from + BATCH).map(addition).collect::<Vec<_>>();
    let by_phone = |at| IdentityKeys { phone: Some(phone(at)), ..IdentityKeys::default() };
    let moved = Change::Update(Update { phone: Some(phone(0)), ..unchanged(7) });
    // After how many batches it is told of a key, or a contact changes; and whether all of it is undone in the end.
    for (told_after, changed_after, undone) in [(9, 9, true), (1, 9, true), (2, 9, true), (9, 2, true), (3, 3, false)] {
        accept(&*store, &tenant, 1 + u8::try_from(told_after * 20 + changed_after).expect("small")).await;
        let claim = claim(&*store).await;
        let mut tx = begin(&*store, &claim, NOW);
        for batch in 0..4 {
            assert!(look_up(&mut *tx, &strangers).iter().all(|found| *found == RowFound::default()));
            tx.apply(additions(1 + batch * BATCH)).expect("applied");
            if batch == told_after {
                let found = look_up(&mut *tx, &[by_phone(1_900), customer_id("c5"), customer_id("c0")]);
                assert_eq!((found[0].by_phone, found[1].by_customer_id), (Some(number(1_900)), Some(number(5))));
                assert_eq!(found[2], RowFound::default());
            }
            if batch == changed_after {
                tx.apply(vec![moved.clone()]).expect("applied");
                let found = look_up(&mut *tx, &[by_phone(7), by_phone(0)]);
                assert_eq!((found[0].by_phone, found[1].by_phone), (None, Some(number(7))));
            }
        }
        if undone {
            tx.rollback().expect("rolled back");
            store.finish(&claim, &report(0), "trace", NOW).await.expect("finished");
            assert!(contacts(&*store, &tenant).await.is_empty());
        } else {
            tx.commit(&report(4 * BATCH)).expect("committed");
            store.finish(&claim, &report(4 * BATCH), "trace", NOW).await.expect("finished");
        }
    }
    assert_eq!(page(&*store, &tenant, ALL).await.total, 4 * BATCH);
    accept(&*store, &tenant, 250).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    let found = look_up(&mut *tx, &[customer_id("c7999"), by_phone(0), by_phone(7)]);
    let numbers = (found[0].by_customer_id, found[1].by_phone, found[2].by_phone);
    assert_eq!(numbers, (Some(number(7_999)), Some(number(7)), None));
}

/// A phone goes from one contact to the next, more often than a load remembers; then names do.
async fn a_load_into_a_small_program_finds_who_was_there_and_who_moved(home: &dyn Home) {
    const BATCH: u64 = 2_000;
    const BEFORE: u64 = 1_500;
    const MOVES: u64 = 100;
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &(1..=BEFORE).map(addition).collect::<Vec<_>>(), NOW).await;
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    let by_phone = |at| IdentityKeys { phone: Some(phone(at)), ..IdentityKeys::default() };
    let both =
        [customer_id("c7"), by_phone(8), customer_id("c1600"), by_phone(1_601), customer_id("nobody"), by_phone(0)];
    let numbers = |found: &[RowFound]| -> Vec<Option<u64>> {
        found.iter().map(|found| found.by_customer_id.or(found.by_phone).map(ContactNumber::get)).collect()
    };
    for batch in 0..3 {
        let from = BEFORE + 1 + batch * BATCH;
        tx.apply((from..from + BATCH).map(addition).collect()).expect("applied");
        let found = look_up(&mut *tx, &both);
        assert_eq!(numbers(&found), [Some(7), Some(8), Some(1_600), Some(1_601), None, None], "batch {batch}");
        assert_eq!(found[0].contact.as_ref().map(|contact| contact.phone), Some(phone(7)));
    }
    for at in 1..=MOVES {
        let (taken, given_up) = (phone(0), phone(100_000 + at));
        tx.apply(vec![Change::Update(Update { phone: Some(taken), ..unchanged(at) })]).expect("applied");
        let found = look_up(&mut *tx, &[by_phone(0), by_phone(at)]);
        assert_eq!(numbers(&found), [Some(at), None]);
        tx.apply(vec![Change::Update(Update { phone: Some(given_up), ..unchanged(at) })]).expect("applied");
        assert_eq!(numbers(&look_up(&mut *tx, &[by_phone(0), by_phone(100_000 + at)])), [None, Some(at)]);
    }
    let renamed = Update { customer_id: Some("renamed".to_owned()), ..unchanged(7) };
    let taker = Update { customer_id: Some("c7".to_owned()), ..unchanged(1_600) };
    tx.apply(vec![Change::Update(renamed), Change::Update(taker)]).expect("applied");
    let found = look_up(&mut *tx, &[customer_id("c7"), customer_id("renamed"), customer_id("c1600")]);
    assert_eq!(numbers(&found), [Some(1_600), Some(7), None]);
    let last = BEFORE + 3 * BATCH + 1;
    tx.apply((last..last + BATCH).map(addition).collect()).expect("applied");
    assert_eq!(numbers(&look_up(&mut *tx, &[customer_id(&format!("c{last}"))])), [Some(last)]);
    tx.commit(&report(4 * BATCH)).expect("committed");
    store.finish(&claim, &report(4 * BATCH), "trace", NOW).await.expect("finished");
    assert_eq!(page(&*store, &tenant, ALL).await.total, BEFORE + 4 * BATCH);
}
