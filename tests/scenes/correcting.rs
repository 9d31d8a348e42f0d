//! Trying before doing, and putting right afterwards: dry runs, limits, cancelling, the list of commands, failed rows.

use serde_json::{Value, json};

use crate::harness::{Home, body_with, contacts_csv, counts, errors, field, nth_phone, text};

scenes!(
    a_dry_run_changes_nothing_and_tells_what_would_change,
    limits_keep_an_import_from_taking_effect,
    the_command_line_tries_first,
    a_million_rows_are_cancelled_in_the_middle,
    what_waits_is_cancelled_at_once,
    commands_are_listed,
    three_hundred_bad_rows_are_corrected_and_sent_again,
    failed_rows_of_odd_files
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

/// Twelve kinds of wrong, 25 of each. The names look like formulas all along.
fn three_hundred_bad_rows_are_corrected_and_sent_again(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "row", &contacts_csv(0, 3));
    let before = client.contacts();
    let known: Vec<String> = before.iter().map(|contact| text(&contact["id"])).collect();
    let header = "signalvine_id,customer_id,phone,first_name,honors,credits,note";
    let (mut right, mut wrong) = (format!("{header}\n"), format!("{header}\n"));
    for number in 0..300 {
        let (id, phone) = (format!("n{number}"), nth_phone(number + 1_000));
        let name = format!("=F{number}+\"\"\"\"");
        let row =
            |before: &str, id: &str, phone: &str, rest: &str| format!("{before},{id},{phone},\"{name}\",{rest}\n");
        right.push_str(&row("", &id, &phone, "yes,7,fine"));
        wrong.push_str(&match number % 12 {
            0 => row("", &id, "nope", "yes,7,fine"),
            1 => row("", &id, "", "yes,7,fine"),
            2 => row("", &id, &phone, "sure why not,7,fine"),
            3 => row("", &id, &phone, "yes,,fine"),
            4 => row("", &id, &phone, "yes"),
            5 => row("", &id, &phone, "yes,7,fine,too,many"),
            6 => row("", &id, &phone, "yes,7,\"fi\"ne"),
            7 => row("33a58d8b-27cb-11e8-ad0a-0ab427fa565c", &id, &phone, "yes,7,fine"),
            8 => row("", &id, &nth_phone(1), "yes,7,fine"),
            9 => row("", &format!("n{}", number - 1), &phone, "yes,7,fine"),
            10 => row("", "", &nth_phone(2), "yes,7,fine"),
            _ => row(&known[0], "c0000001", &phone, "yes,7,fine"),
        });
    }
    let file = |name: &str, content: &str| {
        let path = service.home.data().with_file_name(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (source, sent) = (file("right.csv", &right), file("wrong.csv", &wrong));
    let failed = service.home.data().with_file_name("failed.csv");
    let output = service
        .home
        .command(&["import", &sent.to_string_lossy(), "--program", &client.program, "--existing", "ignore", "--json"])
        .args(["--errors", &failed.to_string_lossy()])
        .env("ROSTER_URL", format!("http://{}", client.address))
        .env("ROSTER_TOKEN", &client.account.token)
        .env("ROSTER_SECRET", &client.account.secret)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes: std::collections::HashSet<String> =
        errors(&status).iter().map(|error| error.rsplit(' ').next().unwrap().to_owned()).collect();
    // Rows about contacts that are there are left out under `ignore`; they are told below.
    assert!(codes.len() >= 7, "{codes:?}");
    let location = format!("/v2/commands/{}", text(&status["commandId"]));

    // Under "set fields" every one of them fails.
    let all = client.send(&client.import_request("add", "first_name", "row", &wrong)).location();
    let status = client.completed(&all);
    assert_eq!(counts(&status), ([300, 0, 0, 0, 0, 300], true), "{:?}", errors(&status));
    for code in [
        "invalid_value",
        "missing_value",
        "cell_count",
        "bad_quotes",
        "unknown_signalvine_id",
        "phone_taken",
        "duplicate_row",
        "identity_required",
        "ids_disagree",
    ] {
        assert!(errors(&status).iter().any(|error| error.ends_with(code)), "{code}");
    }
    for guard in ["", "?guard=1"] {
        let answer = client.get(&format!("{all}/errors.csv{guard}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/csv; charset=utf-8")));
        assert!(answer.body.starts_with(&format!("{header},_row,_errors\n")));
        let is_guarded = answer.body.contains("\"'=F7+");
        assert_eq!((is_guarded, answer.body.contains("\"=F7+")), (!guard.is_empty(), guard.is_empty()), "{guard}");
        let failed = file("failed.csv", &answer.body);
        let corrected = std::process::Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenes/correct.py"))
            .args([&failed, &source])
            .output()
            .unwrap();
        assert!(corrected.status.success(), "{}", String::from_utf8_lossy(&corrected.stderr));
        let corrected = String::from_utf8(corrected.stdout).unwrap();
        assert_eq!(corrected.lines().count(), 301);
        // The second time the same rows are there.
        let fate = if guard.is_empty() { [300, 300, 0, 0, 0, 0] } else { [300, 0, 0, 300, 0, 0] };
        assert_eq!(counts(&client.import("add", "first_name,honors,credits,note", "tx", &corrected)), (fate, true));
    }
    let after = client.contacts();
    assert_eq!((&after[..3], after.len()), (&before[..], 303), "nothing else changed");
    assert_eq!(field(&client.contact("n7"), "first_name"), "=F7+\"\"");
    service.client().get(&format!("{location}/errors.csv")).problem(404, "not_found");
}

fn failed_rows_of_odd_files(home: Home) {
    let (home, hold) = home.held_at("import.begun");
    let service = home.serve();
    let client = service.client();
    let location = client.send(&client.import_request("add", "ignore", "row", "phone\nnope\n")).location();
    client.get(&format!("{location}/errors.csv")).problem(404, "not_found");
    std::fs::remove_file(&hold).unwrap();
    client.completed(&location);
    let failed = |location: &str| client.get(&format!("{location}/errors.csv")).body;
    assert_eq!(failed(&location), "phone,_row,_errors\nnope,2,phone: Could not parse 'nope' as Phone\n");
    for (csv, expected) in [
        ("", "_row,_errors\n"),
        ("phone\n2395745030\n", "phone,_row,_errors\n"),
        ("phone,phome\nnope,1\n", "phone,phome,_row,_errors\n"),
        ("phone\n\"never closed\n", "phone,_row,_errors\n"),
    ] {
        let location = client.send(&client.import_request("add", "ignore", "row", csv)).location();
        client.completed(&location);
        assert_eq!(failed(&location), expected, "{csv:?}");
    }
    client.get(&format!("{location}/errors.csv?guard=yes")).problem(400, "bad_parameter");
    client.get("/v2/commands/1/errors.csv").problem(404, "not_found");
}
