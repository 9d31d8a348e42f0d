//! What is looked up ahead of its turn: it is told as it is when it is asked for, whatever was changed in between, on every home.

use super::*;

scenes![what_is_expected_sees_what_came_in_between, what_is_not_asked_for_after_all_does_no_harm];

fn expecting(tx: &mut dyn ImportTx, expected: &[IdentityKeys<'_>]) {
    tx.expect(lookup(expected)).expect("begun");
}

async fn what_is_expected_sees_what_came_in_between(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    accept(&*store, &tenant, 1).await;
    let claim = claim(&*store).await;
    let mut tx = begin(&*store, &claim, NOW);
    let by_phone = |at| IdentityKeys { phone: Some(phone(at)), ..IdentityKeys::default() };

    // In a program without contacts, which some homes look up by memory.
    let keys = [customer_id("c1"), by_phone(2), customer_id("c3")];
    expecting(&mut *tx, &keys);
    tx.apply(vec![addition(1), addition(2)]).expect("applied");
    let found = look_up(&mut *tx, &keys);
    assert_eq!((found[0].by_customer_id, found[1].by_phone), (Some(number(1)), Some(number(2))));
    assert_eq!(found[2], RowFound::default(), "nobody has it");

    // Changes that are given one after the other, the last of which are still at work when it is asked for.
    for (at, name) in [(3, "c3"), (4, "c4"), (5, "c5")] {
        expecting(&mut *tx, &[customer_id(name), customer_id("c1")]);
        tx.apply(vec![addition(at)]).expect("applied");
        tx.apply(vec![Change::Update(Update { profile: Some(profile(name)), ..unchanged(1) })]).expect("applied");
        let found = look_up(&mut *tx, &[customer_id(name), customer_id("c1")]);
        assert_eq!(found[0].by_customer_id, Some(number(at)));
        assert_eq!(found[1].contact.as_ref().map(|contact| &contact.profile), Some(&profile(name)), "as it is now");
    }

    // A key that passes from one contact to another, and one that nobody has any more.
    let keys = [by_phone(1), by_phone(2), by_phone(9), customer_id("c2"), customer_id("new")];
    expecting(&mut *tx, &keys);
    let moved = Update { phone: Some(phone(9)), ..unchanged(1) };
    let taken = Update { phone: Some(phone(1)), customer_id: Some("new".to_owned()), ..unchanged(2) };
    tx.apply(vec![Change::Update(moved), Change::Update(taken)]).expect("applied");
    let found = look_up(&mut *tx, &keys);
    assert_eq!((found[0].by_phone, found[1].by_phone, found[2].by_phone), (Some(number(2)), None, Some(number(1))));
    assert_eq!((found[3].by_customer_id, found[4].by_customer_id), (None, Some(number(2))));
    tx.commit(&report(5)).expect("committed");
    let phones: Vec<Phone> = contacts(&*store, &tenant).await.iter().map(|contact| contact.phone).collect();
    assert_eq!(phones, [phone(9), phone(1), phone(3), phone(4), phone(5)]);
}

async fn what_is_not_asked_for_after_all_does_no_harm(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &[addition(1)], NOW).await;
    let before = contacts(&*store, &tenant).await;
    accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    let changes = || vec![addition(2), Change::Update(Update { phone: Some(phone(7)), ..unchanged(1) })];
    // It ends in the middle of it: nothing is left, however it ends.
    for explicit in [true, false] {
        let mut tx = begin(&*store, &claim, NOW + 1);
        tx.apply(changes()).expect("applied");
        expecting(&mut *tx, &[customer_id("c1")]);
        tx.apply(changes()[1..].to_vec()).expect("applied");
        if explicit {
            tx.rollback().expect("rolled back");
        } else {
            drop(tx);
        }
        assert_eq!(contacts(&*store, &tenant).await, before);
    }
    // Something else is asked for than was expected.
    let mut tx = begin(&*store, &claim, NOW + 1);
    expecting(&mut *tx, &[customer_id("c1"), customer_id("c2")]);
    tx.apply(changes()).expect("applied");
    assert_eq!(look_up(&mut *tx, &[customer_id("c2")])[0].by_customer_id, Some(number(2)));
    // Nothing is asked for at all.
    expecting(&mut *tx, &[customer_id("c1")]);
    tx.commit(&report(2)).expect("committed");
    let phones: Vec<Phone> = contacts(&*store, &tenant).await.iter().map(|contact| contact.phone).collect();
    assert_eq!(phones, [phone(7), phone(2)]);
}
