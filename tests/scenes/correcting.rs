//! Trying before doing, and putting right afterwards: dry runs, limits, cancelling, the list of commands.

use serde_json::{Value, json};

use crate::harness::{Home, body_with, contacts_csv, counts, errors, nth_phone, text};

scenes!(
    a_dry_run_changes_nothing_and_tells_what_would_change,
    limits_keep_an_import_from_taking_effect,
    the_command_line_tries_first,
    a_million_rows_are_cancelled_in_the_middle,
    what_waits_is_cancelled_at_once,
    commands_are_listed
);

fn a_dry_run_changes_nothing_and_tells_what_would_change(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 300));
    let before = client.contacts();
    let csv = "customer_id,phone,first_name,active\nc0000001,,Anna,no\nc0000002,,Zoë 2,yes\nnew,7165419523,New,yes\nbad,nope,Bad,yes\n";
    let send = |options| {
        let body = body_with(&client.program, options, csv);
        client.completed(&client.send(&client.request("POST", &client.participants_path(), body)).location())
    };
    let dry = send(json!({ "dryRun": true, "existing": ["first_name", "active"] }));
    let message = &dry["message"];
    assert_eq!(counts(&dry), ([4, 1, 1, 1, 0, 1], false));
    assert_eq!((&message["notApplied"], &dry["error"]), (&json!("dry_run"), &json!(true)));
    assert_eq!(
        message["changes"],
        json!([
            { "field": "first_name", "count": 1, "examples": [{ "row": 2, "before": "Zoë 1", "after": "Anna" }] },
            { "field": "active", "count": 1, "examples": [{ "row": 2, "before": "true", "after": "false" }] },
        ])
    );
    assert_eq!(client.contacts(), before, "not even a time");
    let real = send(json!({ "dryRun": false, "existing": ["first_name", "active"] }));
    assert_eq!(counts(&real), ([4, 1, 1, 1, 0, 1], true));
    assert_eq!((errors(&real), real["message"].get("changes")), (errors(&dry), None));
    assert_eq!(client.contacts().len(), 301);
}

fn limits_keep_an_import_from_taking_effect(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 10));
    let before = client.contacts();
    let send = |options| {
        let body = body_with(&client.program, options, &contacts_csv(5, 10));
        client.completed(&client.send(&client.request("POST", &client.participants_path(), body)).location())
    };
    let over = send(json!({ "limits": { "maxNew": 4 } }));
    assert_eq!(counts(&over), ([10, 5, 0, 5, 0, 0], false));
    assert_eq!((&over["message"]["notApplied"], &over["message"]["errorCount"]), (&json!("limit"), &json!(1)));
    assert_eq!(
        over["message"]["errors"][0],
        json!({ "code": "limit_exceeded", "message": "5 rows would add a contact; the limit maxNew is 4" })
    );
    assert_eq!(client.contacts(), before);
    assert_eq!(
        counts(&send(json!({ "limits": { "maxNew": 5, "maxUpdated": 0, "maxErrors": 0 } }))),
        ([10, 5, 0, 5, 0, 0], true)
    );
    let wrong = body_with(&client.program, json!({ "limits": { "maxNew": -1 }, "dryRun": 1 }), "phone\n");
    let problem = client.send(&client.request("POST", &client.participants_path(), wrong)).problem(400, "wrong_type");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "both are told: {problem:#}");
}

fn the_command_line_tries_first(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 3));
    let file = service.home.data().with_file_name("try.csv");
    std::fs::write(&file, "customer_id,first_name\nc0000001,Anna\n").unwrap();
    let import = |flags: &[&str]| {
        let output = service
            .home
            .command(&["import", &file.to_string_lossy(), "--program", &client.program])
            .args(flags)
            .env("ROSTER_URL", format!("http://{}", client.address))
            .env("ROSTER_TOKEN", &client.account.token)
            .env("ROSTER_SECRET", &client.account.secret)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = import(&["--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("Nothing was applied (dry_run)") && said.contains("Anna"), "{said}");
    let (code, said) = import(&["--max-updated", "0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("the limit maxUpdated is 0"), "{said}");
    assert_eq!(import(&["--max-updated", "1"]).0, Some(0));
}

fn a_million_rows_are_cancelled_in_the_middle(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 10));
    let mut csv = String::from("customer_id,phone\n");
    for number in 0..1_000_000 {
        csv.push_str(&format!("m{number},{}\n", nth_phone(number + 1_000)));
    }
    let before = client.contacts();
    let running = client.send(&client.import_request("add", "ignore", "row", &csv)).location();
    let next = client.send(&client.import_request("add", "ignore", "row", &contacts_csv(10, 5))).location();
    while client.get(&running).json()["progress"]["rows"].as_u64() == Some(0) {}
    let answer = client.send(&client.request("DELETE", &running, ""));
    let status = answer.json();
    assert_eq!((answer.status, &status["complete"], &status["error"]), (200, &json!(true), &json!(true)), "{status:#}");
    assert_eq!(counts(&status), ([0; 6], false));
    assert_eq!(status["message"]["notApplied"], "cancelled");
    assert_eq!(
        status["message"]["errors"],
        json!([{ "code": "cancelled", "message": "The import was cancelled by nightly" }])
    );
    assert_eq!(counts(&client.completed(&next)), ([5, 5, 0, 0, 0, 0], true));
    let after = client.contacts();
    assert_eq!((&after[..10], after.len()), (&before[..], 15), "nothing of it is visible");
    client.send(&client.request("DELETE", &running, "")).problem(409, "already_complete");
    assert_eq!(client.get(&running).json(), status);
}

fn what_waits_is_cancelled_at_once(home: Home) {
    let (home, hold) = home.held_at("import.first_of_many_batches_applied");
    let service = home.serve();
    let client = service.client();
    let running = client.send(&client.import_request("add", "ignore", "row", &contacts_csv(0, 20_000))).location();
    let waiting: Vec<String> = (0..3)
        .map(|at| client.send(&client.import_request("add", "ignore", "row", &contacts_csv(30_000 + at, 1))).location())
        .collect();
    while client.get(&running).json()["progress"]["rows"].as_u64() == Some(0) {}
    let cancel = |location: &str| {
        service
            .home
            .command(&["cancel", location])
            .env("ROSTER_URL", format!("http://{}", client.address))
            .env("ROSTER_TOKEN", &client.account.token)
            .env("ROSTER_SECRET", &client.account.secret)
            .output()
            .unwrap()
    };
    let output = cancel(&waiting[0]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"Cancelled; nothing was applied.\n"[..]));
    assert_eq!(client.get(&waiting[0]).json()["message"]["notApplied"], "cancelled");
    assert_eq!(client.get(&waiting[1]).json()["progress"]["position"], 2, "who was behind it has moved up");
    service.client().send(&service.client().request("DELETE", &waiting[1], "")).problem(404, "not_found");
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(counts(&client.completed(&running)), ([20_000, 20_000, 0, 0, 0, 0], true));
    for location in &waiting[1..] {
        assert_eq!(counts(&client.completed(location)), ([1, 1, 0, 0, 0, 0], true));
    }
    assert_eq!(client.contacts().len(), 20_002);
    let output = cancel(&running);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("complete"), "{output:?}");
}

fn commands_are_listed(home: Home) {
    let service = home.serve();
    let client = service.client();
    let path = format!("/v2/programs/{}/commands", client.program);
    assert_eq!(client.get(&path).json()["total"], 0);
    let mut locations = Vec::new();
    for at in 0..3 {
        let answer = client.send(&client.import_request("add", "ignore", "tx", &contacts_csv(at, 1)));
        client.completed(&answer.location());
        locations.push(answer.location());
    }
    let bad = client.send(&client.import_request("add", "ignore", "tx", "phone\nnope\n")).location();
    client.completed(&bad);
    locations.push(bad);
    locations.reverse();
    let page = client.get(&path).json();
    let shown: Vec<String> = page["items"].as_array().unwrap().iter().map(|item| text(&item["location"])).collect();
    assert_eq!((shown, &page["total"]), (locations.clone(), &json!(4)));
    let newest = &page["items"][0];
    let figures = ["from", "state", "complete", "error", "mode", "applied", "notApplied", "errorCount"]
        .map(|key| newest[key].clone());
    assert_eq!(
        figures,
        [
            json!("nightly"),
            json!("complete"),
            json!(true),
            json!(true),
            json!("tx"),
            json!(false),
            json!("tx_errors"),
            json!(1)
        ]
    );
    assert!(newest.get("errors").is_none() && newest["rows"]["failed"] == 1);
    let second = client.get(&format!("{path}?count=1&offset=1&state=complete")).json();
    assert_eq!(text(&second["items"][0]["location"]), locations[1]);
    assert_eq!(client.get(&format!("{path}?state=queued")).json()["items"], Value::Array(Vec::new()));
    client.get(&format!("{path}?state=done")).problem(400, "bad_parameter");
    service.client().get(&path).problem(404, "not_found");
}
