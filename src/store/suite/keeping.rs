//! What every home tells of its queues, and how it lets go of what is over.

use super::*;
use crate::store::{Backlog, Forgotten, Past};

scenes![the_backlog_is_what_waits_or_runs, what_is_past_its_time_goes_and_nothing_else, a_step_is_as_small_as_asked];

async fn the_backlog_is_what_waits_or_runs(home: &dyn Home) {
    let store = home.open().await;
    let backlog = async || store.backlog().await.expect("measured");
    assert_eq!(backlog().await, Backlog { commands: 0, oldest_created_ms: None });
    let (one, two) = (tenant(&*store, "One").await, tenant(&*store, "Two").await);
    assert_eq!(backlog().await.commands, 0, "programs are no commands");
    accept(&*store, &one, 1).await;
    accept(&*store, &one, 2).await;
    accept(&*store, &two, 3).await;
    let oldest_created_ms = Some(NOW);
    assert_eq!(backlog().await, Backlog { commands: 3, oldest_created_ms });
    let claim = claim(&*store).await;
    assert_eq!(backlog().await, Backlog { commands: 3, oldest_created_ms }, "one that runs counts");
    store.finish(&claim, &report(1), "t", NOW).await.expect("finished");
    assert_eq!(backlog().await.commands, 2);
    claimed_ids(&*store).await;
    assert_eq!(backlog().await, Backlog { commands: 0, oldest_created_ms: None });
}

async fn forget(store: &dyn Store, payloads_before_ms: i64, commands_before_ms: i64) -> [u64; 2] {
    let past = Past { payloads_before_ms, commands_before_ms };
    let Forgotten { uploads, commands } = store.forget(past, 2).await.expect("forgotten");
    [uploads, commands]
}

/// Completes the next command.
async fn complete(store: &dyn Store, now_ms: i64) {
    let claim = claim(store).await;
    store.finish(&claim, &report(0), "t", now_ms).await.expect("finished");
}

async fn has_file(store: &dyn Store, tenant: &Tenant, id: CommandId) -> bool {
    let command = command(store, tenant, id).await;
    store.file(tenant.account, &command).expect("readable").is_some()
}

async fn what_is_past_its_time_goes_and_nothing_else(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let first_request = request(&tenant, 1);
    let first = first_request.id;
    store.accept(first_request.clone()).await.expect("accepted");
    let mut ids = Vec::new();
    for number in 2..=4 {
        ids.push(accept(&*store, &tenant, number).await);
    }
    let [second, running, waiting] = ids[..] else { unreachable!("three") };
    complete(&*store, NOW).await;
    complete(&*store, NOW + 10).await;
    let claim = claim(&*store).await;
    assert_eq!(claim.command, running);

    assert_eq!(forget(&*store, NOW, NOW).await, [0, 0], "what ended at that very moment stays");
    assert_eq!(forget(&*store, NOW + 1, NOW).await, [1, 0]);
    assert_eq!(forget(&*store, NOW + 1, NOW).await, [0, 0], "once");
    assert!(!has_file(&*store, &tenant, first).await && has_file(&*store, &tenant, second).await);
    let CommandState::Complete { report: kept, .. } = command(&*store, &tenant, first).await.state else {
        unreachable!("complete")
    };
    assert_eq!(*kept, report(0), "its report is there");

    // A command goes with its upload, however long uploads are kept.
    assert_eq!(forget(&*store, 0, i64::MAX).await, [1, 2]);
    for id in [first, second] {
        assert_eq!(store.command(tenant.account, id).await.expect("readable"), None);
    }
    assert_eq!(command(&*store, &tenant, running).await.state, CommandState::Running { rows: 0 });
    assert_eq!(command(&*store, &tenant, waiting).await.state, CommandState::Queued { position: 2 });
    // What the request is known by is not forgotten with it.
    assert_eq!(store.accept(first_request).await.expect("answered"), Accepted::Replayed(first));
    // And the queue goes on, with its uploads.
    let mut upload = String::new();
    begin(&*store, &claim, NOW).payload().expect("there").read_to_string(&mut upload).expect("readable");
    assert_eq!(upload, "phone\n3\n");
    store.finish(&claim, &report(0), "t", NOW).await.expect("finished");
    assert_eq!(claimed_ids(&*store).await, [waiting]);
    let next = accept(&*store, &tenant, 5).await;
    assert_eq!(claimed_ids(&*store).await, [next]);
}

async fn a_step_is_as_small_as_asked(home: &dyn Home) {
    let store = home.open().await;
    let tenant = tenant(&*store, "One").await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(accept(&*store, &tenant, number).await);
        complete(&*store, NOW + i64::from(number)).await;
    }
    assert_eq!(forget(&*store, i64::MAX, 0).await, [2, 0]);
    assert!(has_file(&*store, &tenant, ids[2]).await, "the oldest go first");
    assert_eq!(forget(&*store, i64::MAX, NOW + 3).await, [1, 2]);
    assert_eq!(forget(&*store, i64::MAX, i64::MAX).await, [0, 1]);
    assert_eq!(forget(&*store, i64::MAX, i64::MAX).await, [0, 0]);
}
