//! How much of an account may wait, on every home; and that an account with much does not hold up one with little.

use super::*;

scenes![
    an_account_with_too_much_waiting_is_turned_away,
    those_that_come_at_once_are_all_counted,
    a_thousand_files_of_one_account_do_not_starve_anothers_one,
];

/// Another program of the tenant's.
async fn beside(store: &dyn Store, tenant: &Tenant, name: &str) -> Tenant {
    let program = program(store, tenant.account, name).await;
    Tenant { program: program.id, tag: program.tag, ..*tenant }
}

async fn an_account_with_too_much_waiting_is_turned_away(home: &dyn Home) {
    let limits = QueueLimits { of_program_max: 5, of_account_max: 8 };
    let full = Accepted::QueueFull { of: QueueOf::Account, max: 8 };
    let store = home.open_with(limits).await;
    let one = tenant(&*store, "One").await;
    let (second, idle) = (beside(&*store, &one, "Second").await, beside(&*store, &one, "Idle").await);
    for number in 1..=4 {
        accept(&*store, &one, number).await;
        accept(&*store, &second, 100 + number).await;
    }
    // No program's queue is full; together they are, also for one where nothing waits, and for a large file.
    for tenant in [&one, &second, &idle] {
        assert_eq!(store.accept(request(tenant, 50)).await.expect("an answer"), full);
        let large = NewCommand { payload: Payload::text("x".repeat(100_000)), ..request(tenant, 50) };
        assert_eq!(store.accept(large).await.expect("an answer"), full);
    }
    assert_eq!(store.remembered(one.token, &[50; 32]).await.expect("readable"), None, "nothing is kept of it");
    // What was accepted before is told all the same, and other accounts are not held up.
    assert!(matches!(store.accept(request(&one, 1)).await.expect("an answer"), Accepted::Replayed(_)));
    let two = tenant(&*store, "Two").await;
    accept(&*store, &two, 1).await;
    // After a restart as before it.
    drop(store);
    let store = home.open_with(limits).await;
    assert_eq!(store.accept(request(&idle, 50)).await.expect("an answer"), full);
    // What runs counts; for one that is over there is room for one, anywhere in the account.
    let mut running = claim(&*store).await;
    if running.account == two.account {
        running = claim(&*store).await;
    }
    assert_eq!(store.accept(request(&idle, 50)).await.expect("an answer"), full);
    store.finish(&running, &report(0), "trace", NOW).await.expect("finished");
    accept(&*store, &idle, 50).await;
    assert_eq!(store.accept(request(&second, 51)).await.expect("an answer"), full);
    // One that is given back waits again, and counts once.
    let running = claim(&*store).await;
    store.give_back(&running).await.expect("given back");
    assert_eq!(store.accept(request(&second, 51)).await.expect("an answer"), full);
    claimed_ids(&*store).await;
    for number in 60..65 {
        accept(&*store, &second, number).await;
    }
}

/// In one program, where the limit is exact on every home.
async fn those_that_come_at_once_are_all_counted(home: &dyn Home) {
    let store = home.open_with(QueueLimits { of_program_max: 100, of_account_max: 7 }).await;
    let one = tenant(&*store, "One").await;
    let requests: Vec<_> = (1..=40)
        .map(|number| {
            let (store, new) = (Arc::clone(&store), request(&one, number));
            tokio::spawn(async move { store.accept(new).await.expect("an answer") })
        })
        .collect();
    let mut accepted = 0;
    for request in requests {
        match request.await.expect("no panic") {
            Accepted::New(_) => accepted += 1,
            other => assert_eq!(other, Accepted::QueueFull { of: QueueOf::Account, max: 7 }),
        }
    }
    assert_eq!((accepted, claimed_ids(&*store).await.len()), (7, 7));
}

/// Two hundred programs with five files each, and none of them done.
async fn a_thousand_files_of_one_account_do_not_starve_anothers_one(home: &dyn Home) {
    let store = home.open().await;
    let many = tenant(&*store, "Many").await;
    for at in 0..200 {
        let program = beside(&*store, &many, &format!("Program {at}")).await;
        for file in 0..5 {
            let mut signature = [file; 32];
            signature[0] = at;
            let new = NewCommand { signature, request_digest: signature, ..request(&program, 0) };
            assert!(matches!(store.accept(new).await.expect("accepted"), Accepted::New(_)));
        }
    }
    let first = claim(&*store).await;
    assert_eq!(first.account, many.account);
    let few = tenant(&*store, "Few").await;
    // Whenever it has something, at most one of the thousand goes before; whatever was claimed and finished until then.
    for number in 1..=3 {
        let id = accept(&*store, &few, number).await;
        let claims = [claim(&*store).await, claim(&*store).await, claim(&*store).await];
        let mine: Vec<usize> = (0..3).filter(|at| claims[*at].account == few.account).collect();
        assert!(matches!(mine[..], [0 | 1]), "file {number}: {mine:?}");
        assert_eq!(claims[mine[0]].command, id);
        for claim in claims {
            store.finish(&claim, &report(0), "trace", NOW).await.expect("finished");
        }
    }
    // With as much to do as the other, it gets half.
    for number in 10..14 {
        accept(&*store, &few, number).await;
    }
    let mut turns = Vec::new();
    for _ in 0..8 {
        let claim = claim(&*store).await;
        turns.push(claim.account == few.account);
        store.finish(&claim, &report(0), "trace", NOW).await.expect("finished");
    }
    assert!(turns.windows(2).all(|two| two[0] != two[1]), "{turns:?}");
}
