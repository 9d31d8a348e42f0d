//! What every home tells of its queues, and how it lets go of what is over.

use super::*;
use crate::store::Backlog;

scenes![the_backlog_is_what_waits_or_runs];

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
