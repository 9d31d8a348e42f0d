//! Watching: what the service tells machines about itself, unsigned, and what it does not.

use std::net::TcpStream;

use crate::harness::{Answer, Client, Home, Request, Service, contacts_csv, counts};

scenes!(health_is_told_to_everybody_and_numbers_on_their_own_listener_only, the_numbers_are_those_of_the_imports);

pub(crate) fn ask(address: &str, method: &'static str, path: &str) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request =
        Request { method, path: path.to_owned(), query: String::new(), headers: Vec::new(), body: Vec::new() };
    request.send_with(&agent, address).unwrap()
}

/// Where a service that was asked for a second listener has it.
pub(crate) fn watch_address(service: &Service) -> String {
    let log = service.home.log();
    let line = log.lines().find(|line| line.contains("metrics are told")).unwrap();
    let address = line.split("address=").nth(1).unwrap();
    address.chars().take_while(|sign| sign.is_ascii_digit() || ['.', ':'].contains(sign)).collect()
}

pub(crate) fn metrics(address: &str) -> String {
    let answer = ask(address, "GET", "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    answer.body
}

/// The value of a line of the metrics; 0 where there is none.
pub(crate) fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn health_is_told_to_everybody_and_numbers_on_their_own_listener_only(home: Home) {
    let service = home.with("ROSTER_METRICS_LISTEN", "127.0.0.1:0").with("NO_COLOR", "1").serve();
    let client = service.client();
    for address in [&service.address, &watch_address(&service)] {
        let alive = ask(address, "GET", "/healthz");
        assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
        let ready = ask(address, "GET", "/readyz");
        assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    }
    // Everything else there wants a signature, the numbers too.
    ask(&service.address, "GET", "/metrics").problem(401, "signature_missing");
    let other = ask(&service.address, "POST", "/healthz");
    assert_eq!((other.status, other.header("allow"), other.body.as_str()), (405, Some("GET,HEAD"), ""));
    client.get("/metrics").problem(404, "not_found");
    // And the other listener has nothing else.
    let elsewhere = Client { address: watch_address(&service), ..client.clone() };
    assert_eq!(elsewhere.get(&client.participants_path()).status, 404);

    let without = Home::sqlite().serve();
    ask(&without.address, "GET", "/metrics").problem(401, "signature_missing");
    assert_eq!(ask(&without.address, "GET", "/readyz").status, 200);
    assert!(!without.home.log().contains("metrics are told"));
}

fn the_numbers_are_those_of_the_imports(home: Home) {
    let (home, hold) = home.held_at("import.before_commit");
    let mut service = home.with("ROSTER_METRICS_LISTEN", "127.0.0.1:0").with("NO_COLOR", "1").serve();
    let client = service.client();
    let address = watch_address(&service);
    let before = metrics(&address);
    assert_eq!(value(&before, "roster_store_up"), 1.0);
    assert_eq!(value(&before, "roster_queue_commands"), 0.0);
    assert_eq!(value(&before, "roster_queue_oldest_seconds"), 0.0);
    assert_eq!(value(&before, "roster_accept_seconds_count"), 0.0);

    let first = client.send(&client.import_request("add", "ignore", "row", &contacts_csv(0, 7))).location();
    let csv = format!("{}bad,123,A,B,yes,,,,,\n", contacts_csv(5, 5));
    let second = client.send(&client.import_request("add", "ignore", "tx", &csv)).location();
    assert_eq!(value(&metrics(&address), "roster_queue_commands"), 2.0);
    std::fs::remove_file(hold).unwrap();
    assert_eq!(counts(&client.completed(&first)), ([7, 7, 0, 0, 0, 0], true));
    assert_eq!(counts(&client.completed(&second)), ([6, 3, 0, 0, 2, 1], false));
    let unsigned = client.request("GET", &first, "").header("authorization", "nonsense");
    for request in [unsigned.without("authorization"), client.request("GET", "/v1/some/where", "")] {
        assert!(client.send(&request).status >= 400);
    }

    let after = metrics(&address);
    for (name, expected) in [
        ("roster_imports_total{outcome=\"applied\"}", 1.0),
        ("roster_imports_total{outcome=\"tx_errors\"}", 1.0),
        ("roster_rows_total{outcome=\"added\"}", 7.0),
        ("roster_rows_total{outcome=\"failed\"}", 0.0),
        ("roster_queue_commands", 0.0),
        ("roster_accept_seconds_count", 2.0),
        ("roster_import_seconds_count", 2.0),
        ("roster_signature_failures_total{code=\"signature_missing\"}", 1.0),
        ("roster_requests_total{route=\"/v2/programs/{program}/participants\",status=\"2xx\"}", 2.0),
        ("roster_requests_total{route=\"/v2/commands/{command}\",status=\"4xx\"}", 1.0),
        ("roster_requests_total{route=\"none\",status=\"4xx\"}", 1.0),
    ] {
        assert_eq!(value(&after, name), expected, "{name}\n{after}");
    }
    for secret in [&client.program, &client.account.id, &client.account.token, &"/v1/some".to_owned()] {
        assert!(!after.contains(secret.as_str()), "{after}");
    }
    assert_eq!(service.terminate(), Some(0));
    assert!(TcpStream::connect(&address).is_err(), "the second listener ends with the service");
}
