//! An upgrade while imports go on: nodes of two versions over one database, whose schema the newer one brings forward.

use super::campaign::Campaign;
use super::cast::Cast;
use super::{number_of, seed};
use crate::harness::Home;

/// A node of a newer version: it knows one step more than this binary, which nodes that know so many can work beside.
fn newer(home: &Home, sql: &str, works_with: u32) -> Home {
    let node = home.beside();
    let step = node.file("step.sql", &format!("-- works with: {works_with}\n{sql}"));
    node.with("ROSTER_TEST_SCHEMA_STEP", &step.to_string_lossy())
}

/// The number of steps that the database has.
fn steps(home: &Home) -> u32 {
    home.query("SELECT count(*) FROM schema_step").parse().unwrap()
}

fn an_upgrade_under_way_loses_and_reorders_nothing(home: Home) {
    let cast = Cast::start(home, 1);
    let known = steps(&cast.home);
    let imports = number_of("ROSTER_CHAOS_IMPORTS").unwrap_or(400);
    let campaign = Campaign::prepare(&cast, seed(), 40, imports);
    // Tables that the old node reads and writes too; in an order in which the step and imports come to wait for each other.
    let sql =
        "ALTER TABLE contact ADD COLUMN nickname text; ALTER TABLE command ADD COLUMN priority int NOT NULL DEFAULT 0;
               CREATE TABLE nickname_seen (program uuid PRIMARY KEY)";
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| campaign.send_all(&cast));
        campaign.wait_for_accepted(campaign.imports() / 4);
        cast.add(newer(&cast.home, sql, known));
        assert_eq!(steps(&cast.home), known + 1);
        campaign.wait_for_accepted(campaign.imports() / 2);
        cast.end_first();
        sending.join().unwrap();
        campaign.wait_for_all(&cast);
    });
    campaign.check(&cast);
    cast.end();
}

#[test]
fn an_upgrade_under_way() {
    an_upgrade_under_way_loses_and_reorders_nothing(Home::postgres());
}

#[test]
fn an_upgrade_under_way_behind_a_pooler() {
    an_upgrade_under_way_loses_and_reorders_nothing(Home::pooled_postgres());
}

/// The newer node says that those who do not know its step must go; they say so themselves when they start.
#[test]
fn a_node_that_is_too_old_is_refused() {
    let home = Home::postgres();
    let mut first = home.beside().serve();
    let known = steps(&home);
    assert_eq!(first.terminate(), Some(0));
    let _newer = newer(&home, "ALTER TABLE contact ADD COLUMN nickname text", known + 1).serve();
    for arguments in [["serve", "--listen=127.0.0.1:0"], ["account", "list"]] {
        let refused = home.command(&arguments).output().unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
        let sentence = String::from_utf8_lossy(&refused.stderr).into_owned();
        let expected =
            format!("this database has schema {}, but this roster knows schemas up to {known} only", known + 1);
        assert!(sentence.contains(&expected), "{sentence}");
    }
}
