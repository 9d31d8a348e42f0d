//! Trying before doing, and putting right afterwards: dry runs, limits.

use serde_json::json;

use crate::harness::{Home, body_with, contacts_csv, counts, errors};

scenes!(
    a_dry_run_changes_nothing_and_tells_what_would_change,
    limits_keep_an_import_from_taking_effect,
    the_command_line_tries_first
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
