//! Moving everything from one home to the other by `roster migrate`, cut off on the way: what clients see is the same, and
//! nothing that was accepted is lost or runs twice.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Client, Home, contacts_csv, counts, text};

scenes!(a_move_that_is_killed_goes_on_and_changes_nothing,);

/// More than one batch takes, and no more than that: everything is read many times over.
const CONTACTS: u64 = 10_500;

fn another_kind(home: &Home) -> Home {
    if home.is_database() { Home::sqlite() } else { Home::postgres() }
}

/// Runs the move, with the settings of whichever side is a database. A directory's key is in it.
fn migration(from: &Home, to: &Home) -> Command {
    let runner = if from.is_database() { from } else { to };
    let mut command = runner.command(&["migrate", "--json", "--from", &from.place(), "--to", &to.place()]);
    if !to.is_database() {
        command.arg("--to-master-key-file").arg(to.data().join("master.key"));
    }
    command
}

fn migrate(from: &Home, to: &Home, crash_at: Option<&str>) -> Output {
    migration(from, to).envs(crash_at.map(|point| ("ROSTER_CRASH_AT", point))).output().unwrap()
}

fn killed(from: &Home, to: &Home, point: &str) {
    loop {
        let output = migrate(from, to, Some(point));
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Whose service was killed is missed when its lease has run out.
        if !stderr.contains("a node is at work") {
            assert!(output.status.signal().is_some(), "{point}: {:?} {stderr}", output.status);
            assert!(output.stdout.is_empty());
            return;
        }
    }
}

fn moved(from: &Home, to: &Home) -> Value {
    let output = migrate(from, to, None);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["complete"], true, "{told:#}");
    for part in told["parts"].as_array().unwrap() {
        assert_eq!((&part["same"], &part["source"]), (&json!(true), &part["target"]), "{part}");
    }
    told
}

fn not_served(home: &Home, words: &str) {
    let output = home.command(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.contains(words)), (Some(2), true), "{stderr}");
    assert!(output.stdout.is_empty());
}

/// All contacts as a file.
fn export(client: &Client) -> String {
    let answer = client.get(&format!("{}.csv", client.participants_path()));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn a_move_that_is_killed_goes_on_and_changes_nothing(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    let other_program = service.home.new_program(&client.account, "Spring");
    let first = client.import_request("add", "", "row", &contacts_csv(0, CONTACTS));
    let first_location = client.send(&first).location();
    client.completed(&first_location);
    client.import(
        "add",
        "first_name,active",
        "row",
        "customer_id,first_name,active\nc0000007,Nadia,no\nc0000008,,no\n",
    );
    let spring = service.client_of(&client.account, &other_program);
    spring.import("add", "ignore", "tx", &contacts_csv(0, 10));
    let (contacts, spring_contacts) = (client.contacts(), spring.contacts());
    let exported = export(&client);
    assert_eq!(contacts.len() as u64, CONTACTS);
    let status = client.completed(&first_location);

    // These wait when it is killed; one is small, one is not.
    service.terminate();
    let held = service.home.data().with_file_name("hold");
    std::fs::write(&held, "").unwrap();
    let hold = [("ROSTER_HOLD_AT", "import.begun".to_owned()), ("ROSTER_HOLD_FILE", held.display().to_string())];
    service.home.environment.extend(hold);
    service.start();
    client.address = service.address.clone();
    let waiting: Vec<_> = [("ignore", 2), ("ignore", 9_000), ("ignore", 3)]
        .map(|(new, rows)| client.import_request(new, "ignore", "row", &contacts_csv(0, rows)))
        .into_iter()
        .map(|request| (client.send(&request).location(), request))
        .collect();
    service.kill();
    service.home.environment.clear();

    let target = another_kind(&service.home);
    killed(&service.home, &target, "moving.source_marked");
    not_served(&service.home, "is being moved to");
    for point in ["moving.batch_written", "moving.contacts_written", "moving.contacts_written", "moving.carried"] {
        killed(&service.home, &target, point);
    }
    not_served(&target, "is not complete");
    killed(&service.home, &target, "moving.source_ended");
    not_served(&target, "is not complete");
    let told = moved(&service.home, &target);
    assert!(!told.to_string().contains("postgres://"), "{told}");

    // The source still shows everything, and takes nothing on.
    service.start();
    client.address = service.address.clone();
    assert!(export(&client) == exported, "the source is as it was");
    let refused = client.send(&client.import_request("add", "", "row", &contacts_csv(0, 1)));
    refused.problem(503, "busy");
    assert!(refused.header("retry-after").is_some());
    service.terminate();

    let mut service = target.serve();
    client.address = service.address.clone();
    let spring = service.client_of(&client.account, &other_program);
    for (location, request) in &waiting {
        let again = client.send(request);
        assert_eq!((again.location(), again.header("idempotency-replayed")), (location.clone(), Some("true")));
        let read = counts(&client.completed(location)).0[0];
        assert_eq!(counts(&client.completed(location)), ([read, 0, 0, 0, read, 0], true));
    }
    let again = client.send(&first);
    assert_eq!((again.location(), again.header("idempotency-replayed")), (first_location.clone(), Some("true")));
    assert_eq!(client.completed(&first_location), status);
    assert!(client.contacts() == contacts && spring.contacts() == spring_contacts, "both sides show the same");
    assert!(export(&client) == exported, "both sides export the same");
    service.terminate();

    // And back, into a fresh home.
    let back = another_kind(&service.home);
    let told_back = moved(&service.home, &back);
    let parts = |told: &Value| {
        let parts = told["parts"].as_array().unwrap().iter();
        // Three commands have run since, which are among the day's imports, and it is noted when the token was last used.
        let is_same =
            |part: &&Value| !["commands", "days", "tokens"].iter().any(|what| text(&part["part"]).starts_with(what));
        parts.filter(is_same).cloned().collect::<Vec<_>>()
    };
    assert_eq!(parts(&told_back), parts(&told));
    let mut service = back.serve();
    client.address = service.address.clone();
    assert!(export(&client) == exported, "there and back is the same");
    assert_eq!(client.completed(&first_location), status);
    let next = client.import("add", "", "row", &contacts_csv(CONTACTS, 1));
    assert_eq!(counts(&next), ([1, 1, 0, 0, 0, 0], true));
    service.terminate();
}

/// For a release build: `cargo test --release --test scenes a_million -- --ignored --nocapture`. Killed as soon as the target has a
/// third, and again at two thirds.
#[test]
#[ignore = "a minute in a release build, many in a debug one"]
fn a_million_contacts_are_moved() {
    const MILLION: u64 = 1_000_000;
    const FILES: u64 = 10;
    let mut service = Home::sqlite().serve();
    let mut client = service.client();
    for file in 0..FILES {
        let csv = contacts_csv(file * MILLION / FILES, MILLION / FILES);
        assert_eq!(counts(&client.import("add", "ignore", "tx", &csv)).0[1], MILLION / FILES);
    }
    let exported = export(&client);
    service.terminate();
    let target = Home::postgres();
    for share in [1, 2] {
        let began = Instant::now();
        let mut child = migration(&service.home, &target).stdout(Stdio::null()).spawn().unwrap();
        let held = || crate::postgres::query_in(&target.place(), "SELECT count(*) FROM contact").parse::<u64>();
        // The table is not there from the beginning.
        while crate::postgres::query_in(&target.place(), "SELECT to_regclass('contact') IS NOT NULL") == "f"
            || held().unwrap() < share * MILLION / 3
        {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        eprintln!("killed with {} contacts after {:?}", held().unwrap(), began.elapsed());
    }
    let began = Instant::now();
    moved(&service.home, &target);
    eprintln!("went on and compared in {:?}", began.elapsed());
    let mut service = target.serve();
    client.address = service.address.clone();
    assert!(export(&client) == exported, "both sides export the same");
    service.terminate();
    let back = Home::sqlite();
    let began = Instant::now();
    moved(&service.home, &back);
    eprintln!("back into a directory in {:?}", began.elapsed());
    let mut service = back.serve();
    client.address = service.address.clone();
    assert!(export(&client) == exported, "there and back is the same");
    service.terminate();
    let began = Instant::now();
    moved(&service.home, &Home::postgres());
    eprintln!("and into a database, in one go, in {:?}", began.elapsed());
}
