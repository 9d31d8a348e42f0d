//! Who the rows of a batch are about is found whatever order the batch is in, on every home.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;

scenes![contacts_are_found_in_any_order];

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
