//! The process dies at each durable step, and starts again: what was accepted is applied once, and its status ends.

use crate::harness::{Client, Home, Request, Service, contacts_csv, counts};

scenes!(
    dies_before_an_import_is_accepted,
    dies_after_an_import_is_accepted,
    dies_when_an_import_has_begun,
    dies_in_the_middle_of_an_import,
    dies_before_an_import_is_committed,
    dies_after_an_import_is_committed,
    dies_after_an_import_is_complete,
    dies_at_any_moment,
);

/// The names of the crash points, and whether a client that was cut off may find the import done after the restart.
fn dies_at(home: Home, point: &str) {
    let request = |client: &Client| client.import_request("add", "first_name", "row", &contacts_csv(0, 6_000));
    let (_service, client) = dies_and_is_asked_again(home, point, request);
    // The program goes on.
    assert_eq!(counts(&client.import("add", "", "tx", &contacts_csv(0, 6_001))), ([6_001, 1, 0, 6_000, 0, 0], true));
}

/// A request to import 6,000 new contacts meets a service that dies at this point, and is sent once more when it has started again.
pub(crate) fn dies_and_is_asked_again(
    home: Home,
    point: &str,
    request: impl FnOnce(&Client) -> Request,
) -> (Service, Client) {
    let mut service = home.with("ROSTER_CRASH_AT", point).serve();
    let mut client = service.client();
    let request = request(&client);
    // The answer may or may not come before the end; the client cannot know, and sends the same request again.
    let first = client.try_send(&request).ok().map(|answer| answer.location());
    service.wait_for_its_end();
    service.home.environment.clear();
    service.start();
    client.address = service.address.clone();
    let again = client.send(&request);
    if let Some(first) = first {
        assert_eq!(again.location(), first);
    }
    let was_durable = point != "accept.before_commit";
    assert_eq!(again.header("idempotency-replayed").is_some(), was_durable);
    let status = client.completed(&again.location());
    assert_eq!(counts(&status), ([6_000, 6_000, 0, 0, 0, 0], true), "the report is that of the one time it ran");
    assert_eq!(client.contacts().len(), 6_000);
    (service, client)
}

fn dies_before_an_import_is_accepted(home: Home) {
    dies_at(home, "accept.before_commit");
}

fn dies_after_an_import_is_accepted(home: Home) {
    dies_at(home, "accept.after_commit");
}

fn dies_when_an_import_has_begun(home: Home) {
    dies_at(home, "import.begun");
}

fn dies_in_the_middle_of_an_import(home: Home) {
    dies_at(home, "import.batch_applied");
}

fn dies_before_an_import_is_committed(home: Home) {
    dies_at(home, "import.before_commit");
}

fn dies_after_an_import_is_committed(home: Home) {
    dies_at(home, "import.after_commit");
}

fn dies_after_an_import_is_complete(home: Home) {
    dies_at(home, "import.complete");
}

/// Without any crash point: killed while requests come in, five times over.
fn dies_at_any_moment(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    let mut locations = Vec::new();
    for round in 0..5u64 {
        for part in 0..4 {
            let csv = contacts_csv((round * 4 + part) * 1_000, 1_000);
            locations.push(client.send(&client.import_request("add", "ignore", "tx", &csv)).location());
        }
        service.kill();
        service.start();
        client.address = service.address.clone();
    }
    for location in locations {
        assert_eq!(counts(&client.completed(&location)), ([1_000, 1_000, 0, 0, 0, 0], true));
    }
    assert_eq!(client.contacts().len(), 20_000);
}
