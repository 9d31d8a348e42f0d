//! What is accepted, what is refused and how, and that the same request is one.

use std::thread;

use expect_test::expect;
use serde_json::Value;

use crate::harness::{Answer, Home, body, contacts_csv, counts, now, text};

scenes!(
    every_fault_of_a_body_is_told,
    refusals_come_in_the_contracts_order,
    the_same_request_fifty_times_at_once_runs_once,
    the_same_signature_over_other_bytes_is_refused,
    an_idempotency_key_makes_two_requests_one,
    what_was_refused_may_be_sent_again,
    another_account_sees_nothing,
    a_client_may_wait_for_the_end,
    an_archived_program_can_be_imported_into,
);

fn every_fault_of_a_body_is_told(home: Home) {
    let service = home.serve();
    let client = service.client();
    let faults = |body: &str| {
        let answer = client.send(&client.request("POST", &client.participants_path(), body));
        assert_eq!(answer.status, 400, "{body}");
        let problem = answer.json();
        let errors = problem["errors"].as_array().unwrap().clone();
        assert_eq!(problem["code"], errors[0]["code"]);
        let lines = errors.iter().map(|error| {
            assert!(!text(&error["detail"]).is_empty());
            format!("{} {}", text(&error["pointer"]), text(&error["code"]))
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        /program program_mismatch
        /options/new unknown_value
        /options/existing wrong_type
        /options/mode missing_member
        /options/absent unknown_value
        /options/dryrun unknown_member
        /participants missing_member"#]]
    .assert_eq(&faults(
        r#"{"program":"x","more":{},"options":{"new":"all","existing":1,"absent":"remove","dryrun":true}}"#,
    ));
    assert_eq!(faults("not json"), " bad_json");
    assert_eq!(faults(r#"{"participants":"\udc00"}"#), " bad_json");
    assert_eq!(faults(r#"{"a":1,"b":{"c":1,"\u0063":2}}"#), "/b/c duplicate_key");
    assert!(client.contacts().is_empty());

    let upper = body(&client.program.to_uppercase(), "ignore", "ignore", "row", "phone\n2395745030\n");
    let status = client.send(&client.request("POST", &client.participants_path(), upper));
    assert_eq!(counts(&client.completed(&status.location())), ([1, 0, 0, 0, 1, 0], true));
}

fn refusals_come_in_the_contracts_order(home: Home) {
    let service = home.with("ROSTER_BODY_BYTES_MAX", "20000").serve();
    let client = service.client();
    let path = client.participants_path();
    let nowhere = "/v2/programs/0198c9a2-7e5b-7d50-8000-000000000001/participants";
    // Each request has everything wrong that comes later in the order, too.
    let large = client
        .request("POST", nowhere, "x".repeat(30_000))
        .without("authorization")
        .header("content-type", "text/plain");
    let problem = client.send(&large).problem(413, "too_large");
    assert_eq!(problem["limitBytes"], 20_000);
    let answer = client.send(&client.request("POST", nowhere, "x").without("authorization"));
    answer.problem(401, "signature_missing");
    assert_eq!(answer.header("www-authenticate"), Some("SignalVine"));
    client.send(&client.request("POST", nowhere, "x").without("content-type")).problem(404, "not_found");
    client.send(&client.request("POST", "/v2/programs/%ff/participants", "x")).problem(404, "not_found");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "text/csv+x"] {
        let request = client.request("POST", &path, "x").without("content-type").header("content-type", content_type);
        client.send(&request).problem(415, "unsupported_media_type");
    }
    client.send(&client.request("POST", &path, "x").without("content-type")).problem(415, "unsupported_media_type");
    client
        .send(&client.request("POST", &path, "x").header("content-encoding", "gzip"))
        .problem(415, "unsupported_media_type");
    client.send(&client.request("POST", &path, "x")).problem(400, "bad_json");
    let charset = client.request("POST", &path, "x").without("content-type");
    client.send(&charset.header("content-type", "Application/JSON; charset=utf-8")).problem(400, "bad_json");
    client.get("/bogus").problem(404, "not_found");
    client.get("/v2/commands/0198c9a2-7e5b-7d50-8000-000000000001").problem(404, "not_found");
    client.get("/v2/commands/x").problem(404, "not_found");
    let answer = client.get(&path);
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    client.send(&client.request("GET", "/", "").without("authorization")).problem(401, "signature_missing");
}

fn the_same_request_fifty_times_at_once_runs_once(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    let request = client.import_request("add", "ignore", "row", &contacts_csv(0, 20));
    let answers: Vec<Answer> = thread::scope(|scope| {
        let senders: Vec<_> = (0..50).map(|_| scope.spawn(|| client.send(&request))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let location = answers[0].location();
    assert!(answers.iter().all(|answer| answer.location() == location));
    let first = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
    assert_eq!(first, 1, "all but one are told to be replays");
    assert_eq!(counts(&client.completed(&location)), ([20, 20, 0, 0, 0, 0], true));
    assert_eq!(client.contacts().len(), 20);

    // Also after a restart, with the state that the command has now.
    service.kill();
    service.start();
    client.address = service.address.clone();
    let again = client.send(&request);
    assert_eq!((again.location(), again.header("idempotency-replayed")), (location, Some("true")));
    assert_eq!(again.json()["complete"], true);
    assert_eq!(client.contacts().len(), 20);
}

fn the_same_signature_over_other_bytes_is_refused(home: Home) {
    let service = home.serve();
    let client = service.client();
    let timestamp = now();
    let send = |csv: &str| {
        let body = body(&client.program, "add", "first_name", "row", csv);
        client.send(&client.request_at(&timestamp, "POST", &client.participants_path(), body))
    };
    // Signatures are blind to case: two files, one signature.
    let first = send("customer_id,phone,first_name\na,2395745030,ann\n");
    client.completed(&first.location());
    let problem = send("customer_id,phone,first_name\na,2395745030,ANN\n").problem(422, "signature_reused");
    assert!(text(&problem["remedy"]).contains("new timestamp"));
    assert_eq!(crate::harness::field(&client.contact("a"), "first_name"), "ann");
    // The same JSON with other white space has the same signature, and other bytes.
    let spaced = body(&client.program, "add", "first_name", "row", "customer_id,phone,first_name\na,2395745030,ann\n")
        .replace(":{", ": {");
    let mut request = client.request_at(
        &timestamp,
        "POST",
        &client.participants_path(),
        body(&client.program, "add", "first_name", "row", "customer_id,phone,first_name\na,2395745030,ann\n"),
    );
    request.body = spaced.into_bytes();
    client.send(&request).problem(422, "signature_reused");
}

fn an_idempotency_key_makes_two_requests_one(home: Home) {
    let service = home.serve();
    let client = service.client();
    let other = client.clone();
    let import = |csv: &str, key: &str| {
        client.send(&client.import_request("add", "ignore", "row", csv).header("idempotency-key", key))
    };
    let first = import("phone\n2395745030\n", "night-1");
    let again = import("phone\n2395745030\n", "night-1");
    assert_eq!((again.location(), again.header("idempotency-replayed")), (first.location(), Some("true")));
    import("phone\n4054685465\n", "night-1").problem(422, "idempotency_key_reused");
    let next = import("phone\n2395745030\n", "night-2");
    assert_ne!(next.location(), first.location());
    // The scope is the token and the path: another program's key is another key.
    let account = client.account.clone();
    let second = service.client_of(&account, &service.home.new_program(&account, "Second"));
    let elsewhere =
        second.import_request("add", "ignore", "row", "phone\n2395745030\n").header("idempotency-key", "night-1");
    assert_ne!(second.send(&elsewhere).location(), first.location());
    client.completed(&next.location());
    assert_eq!(other.contacts().len(), 1);
}

fn what_was_refused_may_be_sent_again(home: Home) {
    let service = home.serve();
    let client = service.client();
    let request = client.import_request("add", "ignore", "row", "phone\n2395745030\n");
    let mistyped = request.clone().without("content-type").header("content-type", "text/plain");
    client.send(&mistyped).problem(415, "unsupported_media_type");
    let answer = client.send(&request);
    assert_eq!(answer.header("idempotency-replayed"), None);
    client.completed(&answer.location());
    assert_eq!(client.contacts().len(), 1);
}

fn another_account_sees_nothing(home: Home) {
    let service = home.serve();
    let client = service.client();
    let location = client.send(&client.import_request("add", "ignore", "row", "phone\n2395745030\n")).location();
    client.completed(&location);
    let mut stranger = service.client_of(&service.home.new_account("Elsewhere"), &client.program);
    stranger.get(&location).problem(404, "not_found");
    stranger.get(&format!("/v1/programs/{}", client.program)).problem(404, "not_found");
    stranger.get(&format!("/v1/programs/{}/participants", client.program)).problem(404, "not_found");
    stranger.send(&stranger.import_request("add", "ignore", "row", "phone\n4054685465\n")).problem(404, "not_found");
    assert_eq!(client.contacts().len(), 1);
    // A revoked token is none.
    let token = stranger.account.token.clone();
    assert!(service.home.command(&["token", "revoke", &token]).status().unwrap().success());
    stranger.program = client.program.clone();
    stranger.get("/bogus").problem(401, "unknown_token");
}

fn a_client_may_wait_for_the_end(home: Home) {
    let service = home.serve();
    let client = service.client();
    let request = client.import_request("add", "ignore", "row", &contacts_csv(0, 300)).header("prefer", "wait=30");
    let answer = client.send(&request);
    let status = answer.json();
    assert_eq!((answer.status, &status["complete"]), (202, &Value::Bool(true)));
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(counts(&status), ([300, 300, 0, 0, 0, 0], true));
}

fn an_archived_program_can_be_imported_into(home: Home) {
    let service = home.serve();
    let client = service.client();
    assert!(service.home.command(&["program", "archive", &client.program]).status().unwrap().success());
    assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).json()["active"], false);
    assert_eq!(counts(&client.import("add", "ignore", "tx", "phone\n2395745030\n")), ([1, 1, 0, 0, 0, 0], true));
    assert_eq!(client.contacts()[0]["programActive"], false);
}
