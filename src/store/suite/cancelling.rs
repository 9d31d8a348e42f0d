//! What every home does with a command that somebody cancels: at once where it never ran, by its worker where it runs, and not at all
//! where it has taken effect.

use super::*;
use crate::store::{Cancellation, CommandPage, CommandQuery, StateFilter};

scenes![
    a_waiting_command_is_cancelled_at_once,
    a_running_command_is_told_and_cannot_commit,
    a_cancelled_command_that_was_applied_before_a_crash_stays_applied,
    a_cancellation_outlives_a_crash,
    what_is_complete_or_foreign_is_not_cancelled,
    commands_are_listed_newest_first,
];

async fn cancel(store: &dyn Store, tenant: &Tenant, command: CommandId) -> Option<Cancellation> {
    store.cancel(tenant.account, command, "nightly", NOW + 5).await.expect("cancelled or not")
}

async fn report_of(store: &dyn Store, tenant: &Tenant, id: CommandId) -> Report {
    match command(store, tenant, id).await.state {
        CommandState::Complete { report, .. } => *report,
        other => unreachable!("{other:?}"),
    }
}

async fn a_waiting_command_is_cancelled_at_once(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(accept(&*store, &tenant, number).await);
    }
    // The first of the lane, two in the middle beside each other, and not the last.
    for at in [0, 2, 3] {
        let watch = store.completions().watch(ids[at]);
        let announced = watch.announced();
        assert_eq!(cancel(&*store, &tenant, ids[at]).await, Some(Cancellation::Done));
        announced.await;
        let report = report_of(&*store, &tenant, ids[at]).await;
        assert_eq!(report, Report::of_cancellation(Mode::Row, "nightly"));
    }
    assert_eq!(command(&*store, &tenant, ids[4]).await.state, CommandState::Queued { position: 2 });
    assert_eq!(claimed_ids(&*store).await, [ids[1], ids[4]], "the others in their order");
    // Nothing is left in the lane: what comes next runs.
    let next = accept(&*store, &tenant, 6).await;
    assert_eq!(claimed_ids(&*store).await, [next]);
}

async fn a_running_command_is_told_and_cannot_commit(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    import(&*store, &tenant, 1, &[addition(1)], NOW).await;
    let id = accept(&*store, &tenant, 2).await;
    let claim = claim(&*store).await;
    assert_eq!(store.cancelled(&claim), None);
    let mut tx = begin(&*store, &claim, NOW);
    tx.apply(vec![addition(2)]).expect("applied");
    assert_eq!(cancel(&*store, &tenant, id).await, Some(Cancellation::Asked));
    assert_eq!(store.cancelled(&claim).as_deref(), Some("nightly"));
    assert_eq!(command(&*store, &tenant, id).await.state, CommandState::Running { rows: 0 });
    assert_eq!(tx.commit(&report(1)), Err(StoreError::Cancelled("nightly".to_owned())));
    match store.begin_import(&claim, NOW) {
        Err(StoreError::Cancelled(by)) => assert_eq!(by, "nightly"),
        Err(other) => unreachable!("{other}"),
        Ok(_) => unreachable!("it began"),
    }
    store.finish(&claim, &Report::of_cancellation(Mode::Row, "nightly"), "t", NOW).await.expect("finished");
    assert_eq!(store.cancelled(&claim), None);
    assert_eq!(contacts(&*store, &tenant).await.len(), 1, "nothing of it is there");
    // And the program goes on.
    import(&*store, &tenant, 3, &[addition(2)], NOW).await;
    assert_eq!(contacts(&*store, &tenant).await.len(), 2);
}

async fn a_cancelled_command_that_was_applied_before_a_crash_stays_applied(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = accept(&*store, &tenant, 1).await;
    let old = claim(&*store).await;
    let mut tx = begin(&*store, &old, NOW);
    tx.apply(vec![addition(1)]).expect("applied");
    tx.commit(&report(1)).expect("committed");
    // The process dies before it can tell.
    drop(store);
    let store = home.open().await;
    assert_eq!(cancel(&*store, &tenant, id).await, Some(Cancellation::Asked), "only the next attempt can know");
    let new = claim(&*store).await;
    match store.begin_import(&new, NOW).expect("begun") {
        Begin::AlreadyApplied(applied) => assert_eq!(applied, report(1)),
        Begin::Open(_) => unreachable!("it would run twice"),
    }
    store.finish(&new, &report(1), "t", NOW).await.expect("finished");
    assert_eq!(report_of(&*store, &tenant, id).await, report(1));
    assert_eq!(contacts(&*store, &tenant).await.len(), 1);
}

async fn a_cancellation_outlives_a_crash(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let id = accept(&*store, &tenant, 1).await;
    let waiting = accept(&*store, &tenant, 2).await;
    let old = claim(&*store).await;
    assert_eq!(cancel(&*store, &tenant, waiting).await, Some(Cancellation::Done));
    assert_eq!(cancel(&*store, &tenant, id).await, Some(Cancellation::Asked));
    drop((store, old));
    let store = home.open().await;
    let new = claim(&*store).await;
    assert_eq!(new.command, id);
    assert!(matches!(store.begin_import(&new, NOW), Err(StoreError::Cancelled(_))));
    store.finish(&new, &Report::of_cancellation(Mode::Row, "nightly"), "t", NOW).await.expect("finished");
    assert_eq!(store.claim(Reach::Any, NOW).await.expect("claimable"), None, "the other is complete");
}

async fn what_is_complete_or_foreign_is_not_cancelled(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let foreign = self::tenant(&*store, "Foreign").await;
    let id = accept(&*store, &tenant, 1).await;
    assert_eq!(cancel(&*store, &foreign, id).await, None);
    assert_eq!(cancel(&*store, &tenant, CommandId(Uuid::new_v4())).await, None);
    assert_eq!(claimed_ids(&*store).await, [id], "it is untouched");
    assert_eq!(cancel(&*store, &tenant, id).await, Some(Cancellation::TooLate));
    assert_eq!(report_of(&*store, &tenant, id).await, report(0));
    let twice = accept(&*store, &tenant, 2).await;
    assert_eq!(cancel(&*store, &tenant, twice).await, Some(Cancellation::Done));
    assert_eq!(cancel(&*store, &tenant, twice).await, Some(Cancellation::TooLate));
}

async fn commands_are_listed_newest_first(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let other = program(&*store, tenant.account, "Other").await;
    let other = Tenant { account: tenant.account, program: other.id, tag: other.tag, token: tenant.token };
    accept(&*store, &other, 9).await;
    let listed = async |state, offset, count| -> (u64, Vec<CommandId>) {
        let query = CommandQuery { state, offset, count };
        let CommandPage { total, commands } =
            store.commands(tenant.account, tenant.program, query).await.expect("a page");
        (total, commands.iter().map(|command| command.id).collect())
    };
    assert_eq!(listed(None, 0, 10).await, (0, vec![]));
    let done = accept(&*store, &tenant, 1).await;
    let claimed = store.claim(Reach::Any, NOW).await.expect("claimable").expect("a claim");
    let claimed = if claimed.command == done { claimed } else { claim(&*store).await };
    store.finish(&claimed, &report(0), "t", NOW).await.expect("finished");
    let running = accept(&*store, &tenant, 2).await;
    let queued = [accept(&*store, &tenant, 3).await, accept(&*store, &tenant, 4).await];
    while store.claim(Reach::Any, NOW).await.expect("claimable").is_some() {}
    assert_eq!(listed(None, 0, 10).await, (4, vec![queued[1], queued[0], running, done]));
    assert_eq!(listed(None, 1, 2).await, (4, vec![queued[0], running]));
    assert_eq!(listed(None, u64::MAX, 2).await, (4, vec![]));
    assert_eq!(listed(Some(StateFilter::Queued), 0, 10).await, (2, vec![queued[1], queued[0]]));
    assert_eq!(listed(Some(StateFilter::Running), 0, 10).await, (1, vec![running]));
    assert_eq!(listed(Some(StateFilter::Complete), 0, 10).await, (1, vec![done]));
    let query = CommandQuery { state: None, offset: 0, count: 10 };
    let page = store.commands(tenant.account, tenant.program, query).await.expect("a page");
    assert_eq!(page.commands[0], command(&*store, &tenant, queued[1]).await, "as it is read alone");
    assert!(refused(store.commands(AccountId(Uuid::new_v4()), tenant.program, query).await).contains("has no program"));
}
