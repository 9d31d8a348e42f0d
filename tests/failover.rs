//! The database fails over, three times, while three nodes take imports: nothing that was acknowledged is lost, nothing runs
//! twice, and every node goes on by itself.
//!
//! A real cluster, by Patroni, from the files in docs/ha; its primary is killed with its Patroni, which comes back later. Its
//! processes die, its machines do not: nothing here is about a network that is cut, or a disk that lies.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "a test says so by failing")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code, unused_macros, reason = "made for the scenes; some of it is used here")]
#[path = "scenes/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the harness names it")]
#[path = "support/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use cluster::Cluster;
use harness::{Account, Client, Home, Request, Service, counts, field, nth_phone, text};

const FAILOVERS: usize = 3;

/// Programs that small imports go to.
const SMALL_PROGRAMS: usize = 3;

/// The rows of a small and of a big import.
const SMALL_ROWS: u64 = 15;
const BIG_ROWS: u64 = 12_000;

/// The longest that a request may be without an answer, whatever the database does: a connection and an answer are waited for,
/// four and eight seconds, and the machine of the tests is busy.
const ANSWERED_WITHIN: Duration = Duration::from_secs(14);

/// An import that was acknowledged, and what it must have done if all before it were done once, in order.
struct Acknowledged {
    location: String,
    counts: [u64; 6],
}

/// What a program must be like: first name and note by customer's id.
type Model = BTreeMap<String, (String, String)>;

/// What is noted of all requests.
#[derive(Default)]
struct Notes {
    accepted: Mutex<Vec<Instant>>,
    refused: Mutex<Vec<Instant>>,
    slowest: Mutex<Duration>,
    /// The big import that runs, for who wants to break in.
    big: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// The same client at every node.
struct Nodes(Vec<Client>);

impl Nodes {
    fn of(services: &[Service], account: &Account, program: &str) -> Nodes {
        Nodes(services.iter().map(|service| service.client_of(account, program)).collect())
    }

    /// Sends a request, the same again and again, to one node after the other, until it is accepted.
    fn accepted(&self, request: &Request, notes: &Notes) -> String {
        for client in self.0.iter().cycle() {
            let began = Instant::now();
            let answer = client.send(request);
            let took = began.elapsed();
            assert!(took < ANSWERED_WITHIN, "a request waited for {took:?}: {answer:?}");
            let mut slowest = notes.slowest.lock().unwrap();
            *slowest = took.max(*slowest);
            drop(slowest);
            if answer.status == 202 {
                notes.accepted.lock().unwrap().push(Instant::now());
                return answer.location();
            }
            answer.problem(503, "busy");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            notes.refused.lock().unwrap().push(Instant::now());
            // A client that is more patient than the answer asks for would see less.
            std::thread::sleep(Duration::from_millis(50));
        }
        unreachable!("it goes round")
    }

    /// The status of a command, from any node that can tell it.
    fn status(&self, location: &str) -> Value {
        for client in self.0.iter().cycle() {
            let answer = client.get(location);
            if answer.status == 200 {
                return answer.json();
            }
            answer.problem(503, "busy");
        }
        unreachable!("it goes round")
    }

    fn completed(&self, location: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let status = self.status(location);
            if status["complete"] == true {
                return status;
            }
            assert!(Instant::now() < deadline, "not complete: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Rows of a small import: some contacts are new, some known, some of those the same as before.
fn small_csv(round: u64, model: &mut Model) -> (String, [u64; 6]) {
    let (mut csv, mut added, mut updated, mut unchanged) = ("customer_id,phone,first_name,note\n".to_owned(), 0, 0, 0);
    for row in 0..SMALL_ROWS {
        let number = (round * 7 + row * 13) % 400;
        let (id, first, note) = (format!("s{number:04}"), format!("Zoë {}", number % 9), format!("{}", round / 40));
        csv.push_str(&format!("{id},{},{first},{note}\n", nth_phone(number)));
        match model.insert(id, (first.clone(), note.clone())) {
            None => added += 1,
            Some(known) if known == (first, note) => unchanged += 1,
            Some(_) => updated += 1,
        }
    }
    (csv, [SMALL_ROWS, added, updated, unchanged, 0, 0])
}

fn post_small(nodes: &Nodes, notes: &Notes) -> (Vec<Acknowledged>, Model) {
    let (mut acknowledged, mut model) = (Vec::new(), Model::new());
    while !notes.stop.load(Ordering::Relaxed) {
        let (csv, counts) = small_csv(acknowledged.len() as u64, &mut model);
        let request = nodes.0[0].import_request("add", "first_name,note", "row", &csv);
        acknowledged.push(Acknowledged { location: nodes.accepted(&request, notes), counts });
        // Many enough; more would only make the machine slow.
        std::thread::sleep(Duration::from_millis(60));
    }
    (acknowledged, model)
}

fn post_big(nodes: &Nodes, notes: &Notes) -> (Vec<Acknowledged>, Model) {
    let (mut acknowledged, mut model) = (Vec::new(), Model::new());
    while !notes.stop.load(Ordering::Relaxed) {
        let round = acknowledged.len();
        let mut csv = "customer_id,phone,first_name,note\n".to_owned();
        for number in 0..BIG_ROWS {
            csv.push_str(&format!("b{number:06},{},B,{round}\n", nth_phone(number)));
            model.insert(format!("b{number:06}"), ("B".to_owned(), round.to_string()));
        }
        let request = nodes.0[round % nodes.0.len()].import_request("add", "note", "tx", &csv);
        let location = nodes.accepted(&request, notes);
        *notes.big.lock().unwrap() = Some(location.clone());
        let counts = if round == 0 { [BIG_ROWS, BIG_ROWS, 0, 0, 0, 0] } else { [BIG_ROWS, 0, BIG_ROWS, 0, 0, 0] };
        nodes.completed(&location);
        acknowledged.push(Acknowledged { location, counts });
    }
    (acknowledged, model)
}

/// What the program is like.
fn found(client: &Client) -> Model {
    let contacts = client.contacts();
    let model: Model = contacts
        .iter()
        .map(|contact| (text(&contact["customerId"]), (field(contact, "first_name"), field(contact, "note"))))
        .collect();
    assert_eq!(model.len(), contacts.len(), "no contact is there twice");
    model
}

/// Kills the primary in the middle of a big import, waits until imports are accepted again, and brings the dead server back. The
/// longest time without an accept.
fn fail_over(cluster: &mut Cluster, nodes: &Nodes, notes: &Notes) -> Duration {
    let primary = cluster.wait_until_replicated();
    let accepts = notes.accepted.lock().unwrap().len();
    cluster.wait_for("accepts", || (notes.accepted.lock().unwrap().len() > accepts + 20).then_some(()));
    cluster.wait_for("a big import that runs", || {
        let location = notes.big.lock().unwrap().clone()?;
        let progress = &nodes.status(&location)["progress"];
        (progress["state"] == "running" && progress["rows"].as_u64() > Some(0)).then_some(())
    });
    let killed = Instant::now();
    cluster.kill(primary);
    let now = cluster.wait_for("another primary", || cluster.primary().filter(|now| *now != primary));
    assert_ne!(now, primary);
    cluster.wait_for("accepts by the new primary", || {
        let first = notes.refused.lock().unwrap().iter().copied().find(|at| *at > killed)?;
        notes.accepted.lock().unwrap().iter().any(|at| *at > first).then_some(())
    });
    // Nothing else is to be waited for: whoever accepts after this had to find the new primary.
    let accepts = notes.accepted.lock().unwrap().len();
    cluster.wait_for("many accepts", || (notes.accepted.lock().unwrap().len() > accepts + 30).then_some(()));
    let revived = Instant::now();
    cluster.revive(primary);
    cluster.wait_until_replicated();
    let (out, back) = (revived - killed, revived.elapsed());
    tell(format_args!(
        "killed, and revived after {:.1} s; a standby again {:.1} s later",
        out.as_secs_f64(),
        back.as_secs_f64()
    ));
    let mut accepted = notes.accepted.lock().unwrap().clone();
    accepted.sort();
    accepted.windows(2).filter(|pair| pair[1] > killed).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_runs_twice() {
    let began = Instant::now();
    let mut cluster = Cluster::start();
    tell(format_args!("the cluster is up after {:.1} s", began.elapsed().as_secs_f64()));
    let directory = cluster.directory().to_owned();
    // Two that know all servers, and one behind the proxy.
    let services: Vec<Service> = [cluster.url(), cluster.url(), cluster.proxied_url()]
        .into_iter()
        .map(|url| Home::over(url).with("ROSTER_LEASE_SECONDS", "3").serve())
        .collect();
    let account = services[0].new_account();
    let programs: Vec<String> =
        (0..=SMALL_PROGRAMS).map(|at| services[0].home.new_program(&account, &format!("Program {at}"))).collect();
    let all: Vec<Nodes> = programs.iter().map(|program| Nodes::of(&services, &account, program)).collect();
    let notes = Notes::default();
    let outcomes: Vec<(Vec<Acknowledged>, Model)> = std::thread::scope(|scope| {
        let _stops = StopWhenDropped(&notes);
        let (notes, small) = (&notes, &all[..SMALL_PROGRAMS]);
        let mut posting: Vec<_> = small.iter().map(|nodes| scope.spawn(move || post_small(nodes, notes))).collect();
        let big = &all[SMALL_PROGRAMS];
        posting.push(scope.spawn(move || post_big(big, notes)));
        for number in 1..=FAILOVERS {
            let gap = fail_over(&mut cluster, big, notes);
            tell(format_args!("failover {number}: {:.1} s without an accept", gap.as_secs_f64()));
        }
        notes.stop.store(true, Ordering::Relaxed);
        posting.into_iter().map(|posting| posting.join().unwrap()).collect()
    });
    tell(format_args!("the load has ended after {:.1} s", began.elapsed().as_secs_f64()));
    let mut commands = 0;
    for (nodes, (acknowledged, model)) in all.iter().zip(&outcomes) {
        for Acknowledged { location, counts: expected } in acknowledged {
            assert_eq!(counts(&nodes.completed(location)), (*expected, true), "{location}");
        }
        // Through every node: none has to be started again.
        for client in &nodes.0 {
            assert!(found(client) == *model, "the contacts are not those of the acknowledged imports");
        }
        commands += acknowledged.len();
    }
    let kept = "SELECT count(*), count(finished_ms) FROM command";
    assert_eq!(cluster.query("roster", kept), format!("{commands}|{commands}"), "none but the acknowledged");
    let log: String = services.iter().map(|service| service.home.log()).collect();
    assert!(log.contains("import failed and is tried again"), "no import was broken off: the test tests too little");
    for never in ["ERROR", "panicked"] {
        assert!(!log.contains(never), "{}", log.lines().find(|line| line.contains(never)).unwrap_or_default());
    }
    let (accepted, refused) = (notes.accepted.lock().unwrap().len(), notes.refused.lock().unwrap().len());
    let slowest = notes.slowest.lock().unwrap().as_secs_f64();
    tell(format_args!("{accepted} accepted, {refused} put off with 503, the slowest answer {slowest:.1} s"));
    drop(cluster);
    assert!(!directory.exists(), "something of the cluster is left");
}

/// PostgreSQL acknowledges a commit whose wait for the standby is cancelled, with no more than a warning; and a primary that falls and
/// rises shows commits that no standby has. Neither is passed on as a 202.
#[test]
fn a_commit_that_no_standby_has_is_not_acknowledged() {
    let server = alone::Server::start();
    server.set("ssl_cert_file", &server.file("server.crt"));
    server.set("ssl", "on");
    let service = Home::over(server.url("localhost", "sslmode=require")).serve();
    let client = service.client();
    let request = client.import_request("add", "ignore", "row", &harness::contacts_csv(0, 3));
    server.set("synchronous_standby_names", "nobody");
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let first = std::thread::scope(|scope| {
        let sent = scope.spawn(|| client.send(&request));
        while server.query(cancel) == "0" {
            assert!(!sent.is_finished(), "{:?}", sent.join());
        }
        sent.join().unwrap()
    });
    first.problem(503, "busy");
    assert_eq!(server.query("SELECT count(*) FROM command"), "1", "on this server it is there");
    let began = Instant::now();
    let again = client.send(&request);
    again.problem(503, "busy");
    assert!(again.header("retry-after").is_some() && began.elapsed() < ANSWERED_WITHIN);
    // Now whoever is there is enough.
    server.set("synchronous_standby_names", "");
    let last = client.send(&request);
    assert_eq!(last.header("idempotency-replayed"), Some("true"));
    assert_eq!(counts(&client.completed(&last.location())), ([3, 3, 0, 0, 0, 0], true));
    assert_eq!(server.query("SELECT count(*) FROM command"), "1");
}

/// Says it also where the test passes: what a failover costs is to be seen.
fn tell(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Ends the load, also when the test fails.
struct StopWhenDropped<'a>(&'a Notes);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
