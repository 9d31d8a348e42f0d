//! Removing: uploads, and then commands, go when their time is past, and nothing else does.

use crate::harness::{Answer, Client, Home, Service, contacts_csv, counts};

scenes!(what_is_past_its_time_goes_while_the_service_runs);

/// Makes everything that is complete so many days older. Nobody serves meanwhile.
fn age(home: &Home, days: u32) {
    let statement = format!("UPDATE command SET finished_ms = finished_ms - {days} * 86400000");
    let catalogue = home.data().join("catalogue.db");
    if catalogue.exists() {
        rusqlite::Connection::open(catalogue).unwrap().execute_batch(&statement).unwrap();
    } else {
        home.query(&statement.replace("86400000", "86400000::bigint"));
    }
}

/// Asks until the answer has another status than 200, a minute at most.
fn until_gone(client: &Client, path: &str) -> Answer {
    let started = std::time::Instant::now();
    loop {
        let answer = client.get(path);
        if answer.status != 200 {
            return answer;
        }
        assert!(started.elapsed().as_secs() < 60, "{path} is still there");
    }
}

fn what_is_past_its_time_goes_while_the_service_runs(home: Home) {
    let mut service = home.with("ROSTER_PAYLOADS_KEPT_DAYS", "3").with("ROSTER_COMMANDS_KEPT_DAYS", "5").serve();
    let client = service.client();
    let accepted = |csv: &str| client.send(&client.import_request("add", "ignore", "row", csv)).location();
    let old = accepted(&format!("{}bad,123,A,B,yes,,,,,\n", contacts_csv(0, 1_000)));
    client.completed(&old);
    let restarted = |service: &mut Service, days: u32| {
        assert_eq!(service.terminate(), Some(0));
        age(&service.home, days);
        service.start();
        Client { address: service.address.clone(), ..client.clone() }
    };
    let client = restarted(&mut service, 4);
    until_gone(&client, &format!("{old}/errors.csv")).problem(410, "payload_gone");
    assert_eq!(counts(&client.completed(&old)), ([1_001, 1_000, 0, 0, 0, 1], true), "its report stays");

    let client = restarted(&mut service, 2);
    until_gone(&client, &old).problem(404, "not_found");
    assert_eq!(client.contacts().len(), 1_000);
    // What ended just now is kept, with its file.
    let new = client.send(&client.import_request("add", "ignore", "row", "customer_id,phone\nbad,123\n")).location();
    client.completed(&new);
    let client = restarted(&mut service, 2);
    assert_eq!(client.get(&format!("{new}/errors.csv")).status, 200);
    assert!(client.get(&new).json()["complete"] == true);
}
