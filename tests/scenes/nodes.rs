//! Scenes of several nodes over one database: they are one service.

use crate::harness::{Client, Home, Request, Service, contacts_csv, counts};

/// Two nodes with a client that talks to the first, and the same one that talks to the second.
fn two_nodes(first: Home) -> (Service, Service, Client, Client) {
    let second = first.beside();
    // Both at once: one of them migrates the new database.
    let (first, second) = std::thread::scope(|scope| {
        let (first, second) = (scope.spawn(|| first.serve()), scope.spawn(|| second.serve()));
        (first.join().unwrap(), second.join().unwrap())
    });
    let one = first.client();
    let two = second.client_of(&one.account, &one.program);
    (first, second, one, two)
}

/// Sends a request through both nodes at the same moment; what they answer.
fn to_both(one: &Client, two: &Client, request: &Request) -> [crate::harness::Answer; 2] {
    std::thread::scope(|scope| {
        [one, two].map(|client| scope.spawn(|| client.send(request))).map(|sent| sent.join().unwrap())
    })
}

#[test]
fn a_request_to_two_nodes_at_once_runs_once() {
    let (_first, _second, one, two) = two_nodes(Home::postgres());
    for round in 0..10 {
        let request = one.import_request("add", "ignore", "tx", &contacts_csv(round * 300, 300));
        let answers = to_both(&one, &two, &request);
        assert_eq!(answers[0].location(), answers[1].location());
        let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
        assert_eq!(replayed, 1);
        assert_eq!(counts(&two.completed(&answers[0].location())), ([300, 300, 0, 0, 0, 0], true));
    }
    assert_eq!(one.contacts().len(), 3_000);
}

#[test]
fn what_one_node_accepts_is_seen_through_the_other() {
    let (_first, _second, one, two) = two_nodes(Home::postgres());
    let locations: Vec<String> = (0..6u64)
        .map(|round| {
            let client = if round % 2 == 0 { &one } else { &two };
            client.send(&client.import_request("add", "first_name", "row", &contacts_csv(round * 10, 20))).location()
        })
        .collect();
    for (at, location) in locations.iter().enumerate() {
        let (here, there) = if at % 2 == 0 { (&one, &two) } else { (&two, &one) };
        // In the order of acceptance, whichever nodes carried them out: each finds the ten that the one before it added.
        let expected = if at == 0 { [20, 20, 0, 0, 0, 0] } else { [20, 10, 0, 10, 0, 0] };
        let status = there.completed(location);
        assert_eq!(counts(&status), (expected, true));
        assert_eq!(here.get(location).json(), status);
    }
    assert_eq!(one.contacts(), two.contacts());
    assert_eq!(one.contacts().len(), 70);
}

/// Node one is the only one when the import begins, and dies with half of it applied.
#[test]
fn a_node_that_dies_in_an_import_is_taken_over() {
    let (home, _hold) = Home::postgres().held_at("import.first_of_many_batches_applied");
    let mut first = home.serve();
    let one = first.client();
    let request = one.import_request("add", "first_name", "row", &contacts_csv(0, 20_000));
    let location = one.send(&request).location();
    while one.get(&location).json()["progress"]["rows"].as_u64() == Some(0) {}
    let second = first.home.beside().serve();
    let two = second.client_of(&one.account, &one.program);
    let seen = two.get(&location).json();
    assert_eq!(seen["progress"]["state"], "running", "its node is alive: {seen}");
    first.kill();
    assert_eq!(counts(&two.completed(&location)), ([20_000, 20_000, 0, 0, 0, 0], true));
    assert_eq!(two.send(&request).location(), location);
    assert_eq!(two.contacts().len(), 20_000);
}

/// Node one sleeps past its lease with the import's transaction open; when it wakes up, the other has done its work.
#[test]
fn a_node_that_slept_past_its_lease_does_nothing_twice() {
    let (home, hold) = Home::postgres().held_at("import.before_commit");
    let first = home.serve();
    let one = first.client();
    let location = one.send(&one.import_request("add", "first_name", "row", &contacts_csv(0, 5_000))).location();
    while one.get(&location).json()["progress"]["rows"].as_u64() == Some(0) {}
    let second = first.home.beside().serve();
    let two = second.client_of(&one.account, &one.program);
    first.signal("STOP");
    assert_eq!(counts(&two.completed(&location)), ([5_000, 5_000, 0, 0, 0, 0], true));
    std::fs::remove_file(&hold).unwrap();
    first.signal("CONT");
    // It goes on as a node like the other, and has added nothing.
    assert_eq!(counts(&one.import("add", "", "row", &contacts_csv(0, 5_001))), ([5_001, 1, 0, 5_000, 0, 0], true));
    assert_eq!(one.contacts().len(), 5_001);
}

/// More imports at once than the pooler has connections, of files in several pieces: none holds a connection and waits for
/// another's. They take longer than a lease, which cannot be renewed meanwhile; yet none is cut off and begun again.
#[test]
fn imports_behind_a_single_connection_all_end() {
    let (first, second, one, two) = two_nodes(Home::postgres_behind_one_connection());
    let clients: Vec<Client> = [&one, &two, &one, &two]
        .into_iter()
        .map(|client| Client { program: first.home.new_program(&client.account, "One of four"), ..client.clone() })
        .collect();
    let file = contacts_csv(0, 15_000);
    assert!(file.len() > 1 << 20, "two pieces");
    let send = |client: &Client| client.send(&client.import_request("add", "ignore", "row", &file)).location();
    let locations: Vec<String> = std::thread::scope(|scope| {
        let sent: Vec<_> = clients.iter().map(|client| scope.spawn(|| send(client))).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    for (client, location) in clients.iter().zip(&locations) {
        assert_eq!(counts(&client.completed(location)), ([15_000, 15_000, 0, 0, 0, 0], true));
    }
    let log = first.home.log() + &second.home.log();
    assert_eq!(log.matches("import complete").count(), 4);
    for other in ["sessions of earlier attempts", "tried again"] {
        assert_eq!(log.lines().find(|line| line.contains(other)), None);
    }
}
