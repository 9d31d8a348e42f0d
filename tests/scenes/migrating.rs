//! Coming from the hosted platform: the steps of docs/MIGRATING.md as they stand there, with another service in the
//! platform's place, which is asked by nothing but the given paths.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Client, Home, Service, counts, field};

scenes_on_sqlite!(a_program_moves_by_the_page_s_own_steps);

/// The page's script, run about a program of a service.
fn contacts(service: &Service, client: &Client, what: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MIGRATING.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("\n```python\n").unwrap();
    let script = service.home.file("contacts.py", block.split_once("\n```\n").unwrap().0);
    let mut command = Command::new("python3");
    let output = as_client(command.arg(script).args([&client.program, what]).env_clear(), client);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn as_client(command: &mut Command, client: &Client) -> Output {
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ROSTER_URL", format!("http://{}", client.address))
        .env("ROSTER_TOKEN", &client.account.token)
        .env("ROSTER_SECRET", &client.account.secret)
        .output()
        .unwrap()
}

/// `roster import` of a file, with its exit code and report.
fn import(service: &Service, client: &Client, csv: &str, flags: &[&str]) -> (Option<i32>, serde_json::Value) {
    let file = service.home.file("old.csv", csv);
    let mut command =
        service.home.command(&["import", &file.to_string_lossy(), "--program", &client.program, "--json"]);
    let output = as_client(command.args(flags), client);
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        report.unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&output.stderr))),
    )
}

/// A program of the platform, with more than a page of contacts: with accents, commas and line ends, inactive ones, and one
/// that has no id but the platform's own.
fn hosted() -> (Service, Client) {
    let service = Home::sqlite().serve();
    let client = service.client();
    let csv = crate::harness::contacts_csv(0, 240);
    assert_eq!(counts(&client.import("add", "ignore", "tx", &csv)), ([240, 240, 0, 0, 0, 0], true));
    let more = "customer_id,phone,first_name,active,group_list,credits\nx-1,3035550101,\"O'Neil, Bo\",no,b;a,7\n,3035550102,Ann,yes,,0\n";
    assert_eq!(counts(&client.import("add", "ignore", "tx", more)), ([2, 2, 0, 0, 0, 0], true));
    (service, client)
}

fn a_program_moves_by_the_page_s_own_steps(home: Home) {
    let (old, old_client) = hosted();
    let new = home.serve();
    let account = new.new_account();

    // The command is printed as a shell takes it, and is run with the account put in.
    let create = contacts(&old, &old_client, "create");
    assert!(create.starts_with("roster program create Fall --account ACCOUNT --phone +12125550100"), "{create}");
    let create = create.trim_end().strip_prefix("roster ").unwrap().replace("ACCOUNT", &account.id);
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {create}")]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    let program = new.home.operate(&words.lines().collect::<Vec<_>>());
    let client = new.client_of(&account, program["id"].as_str().unwrap());

    let csv = contacts(&old, &old_client, "csv");
    let (code, report) = import(&new, &client, &csv, &["--dry-run"]);
    assert_eq!((code, counts(&report)), (Some(0), ([242, 242, 0, 0, 0, 0], false)), "{report:#}");
    assert!(client.contacts().is_empty(), "a dry run adds nobody");
    let (code, report) = import(&new, &client, &csv, &["--mode", "tx"]);
    assert_eq!((code, counts(&report)), (Some(0), ([242, 242, 0, 0, 0, 0], true)), "{report:#}");

    // Both sides read the same; who had no id of the customer's has the platform's.
    assert_eq!(contacts(&new, &client, "csv"), csv);
    let (_, again) = import(&new, &client, &csv, &["--dry-run"]);
    assert_eq!(counts(&again), ([242, 0, 0, 242, 0, 0], false));
    let find = |client: &Client, name: &str| {
        client.contacts().into_iter().find(|contact| field(contact, "first_name") == name).unwrap()
    };
    let (there, here) = (find(&old_client, "Ann"), find(&client, "Ann"));
    assert_eq!((&there["customerId"], &here["customerId"]), (&"".into(), &there["id"]));
    assert_ne!(there["id"], here["id"]);
    assert_eq!(field(&here, "hosted_id"), there["id"].as_str().unwrap());
    assert_eq!(find(&client, "O'Neil, Bo")["active"], false);

    // What was changed at one side alone is seen, and nothing else; the steps again make up for it.
    let change = "customer_id,first_name\nx-1,Bob\n";
    assert_eq!(counts(&old_client.import("ignore", "first_name", "tx", change)), ([1, 0, 1, 0, 0, 0], true));
    let (before, after) = (csv, contacts(&old, &old_client, "csv"));
    assert_eq!(before.lines().zip(after.lines()).filter(|(before, after)| before != after).count(), 1);
    let (_, report) = import(&new, &client, &after, &["--mode", "tx"]);
    assert_eq!(counts(&report), ([242, 0, 1, 241, 0, 0], true));
    assert_eq!(contacts(&new, &client, "csv"), after);

    // A file with the platform's own ids finds nobody, and adds nobody.
    let foreign = format!("signalvine_id,phone,first_name\n{},3035550109,Eve\n", there["id"].as_str().unwrap());
    let report = client.import("add", "first_name", "row", &foreign);
    assert_eq!(crate::harness::errors(&report), ["2 signalvine_id unknown_signalvine_id"]);
    assert_eq!(contacts(&new, &client, "csv"), after);
}
