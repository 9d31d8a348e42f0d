//! Keeping: a copy of the data taken while everything goes on, and put back elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::harness::{Client, Home, contacts_csv, counts, text};

scenes_on_sqlite!(
    a_backup_under_load_has_all_that_was_complete_and_all_that_waited,
    a_backup_without_its_key_needs_it,
    what_is_no_whole_backup_is_not_restored
);

/// How many rows the imports of each program have: uploads in the catalogue, and uploads in files.
const ROWS: [u64; 3] = [20, 40, 1_000];

/// What the clients saw: where each import is, of which program, and its counts if it was seen complete.
type Seen = BTreeMap<String, (usize, Option<[u64; 6]>)>;

/// Imports so many contacts that nobody has imported before, and waits for the end.
fn import_new(client: &Client, program: usize, first: &AtomicU64, seen: &Mutex<Seen>) {
    let csv = contacts_csv(first.fetch_add(ROWS[program], Ordering::SeqCst), ROWS[program]);
    let location = client.send(&client.import_request("add", "ignore", "tx", &csv)).location();
    seen.lock().unwrap().insert(location.clone(), (program, None));
    let (counts, applied) = counts(&client.completed(&location));
    assert_eq!((counts[1], applied), (ROWS[program], true));
    seen.lock().unwrap().insert(location, (program, Some(counts)));
}

fn a_backup_under_load_has_all_that_was_complete_and_all_that_waited(home: Home) {
    let mut service = home.serve();
    let account = service.new_account();
    let clients: Vec<Client> = ["Fall", "Spring", "Old"]
        .map(|name| service.client_of(&account, &service.home.new_program(&account, name)))
        .into();
    let (first, seen, stop) = (AtomicU64::new(0), Mutex::new(Seen::new()), AtomicBool::new(false));
    let place = tempfile::tempdir().unwrap();
    let (hold, to) = (place.path().join("hold"), place.path().join("copy"));
    std::fs::write(&hold, "").unwrap();

    let (before, report) = std::thread::scope(|scope| {
        for (program, client) in clients.iter().enumerate() {
            for _ in 0..2 {
                let (first, seen, stop) = (&first, &seen, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        import_new(client, program, first, seen);
                    }
                });
            }
        }
        clients.iter().enumerate().for_each(|(program, client)| import_new(client, program, &first, &seen));
        let before = complete(&seen.lock().unwrap());
        let backup = service
            .home
            .command(&["backup", &to.to_string_lossy(), "--with-key", "--json"])
            .env("ROSTER_HOLD_AT", "backup.programs_copied")
            .env("ROSTER_HOLD_FILE", &hold)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Where a program's file is being copied, what it holds is decided; what completes from now on is not in it.
        let copied = |client: &Client| to.join(format!("programs/{}.db", client.program)).exists();
        while !clients.iter().all(copied) {
            import_new(&clients[0], 0, &first, &seen);
        }
        clients.iter().enumerate().for_each(|(program, client)| import_new(client, program, &first, &seen));
        std::fs::remove_file(&hold).unwrap();
        let backup = backup.wait_with_output().unwrap();
        stop.store(true, Ordering::SeqCst);
        assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
        (before, serde_json::from_slice::<Value>(&backup.stdout).unwrap())
    });
    service.kill();
    assert!(report["commandsAgain"].as_u64().unwrap() >= 3, "{report}");
    assert!(report["uploads"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(report["programs"], 3);

    let elsewhere = Home::sqlite();
    let restored = elsewhere.operate(&["restore", &to.to_string_lossy()]);
    assert_eq!(restored["bytes"], report["bytes"]);
    let copy = elsewhere.serve();
    let clients: Vec<Client> = clients.iter().map(|client| copy.client_of(&account, &client.program)).collect();
    let mut added = [0; 3];
    for (location, (program, ended)) in seen.into_inner().unwrap() {
        let client = &clients[program];
        let is_there = client.get(&location).status == 200;
        assert!(is_there || !before.contains_key(&location), "{location} was complete before the backup, and is gone");
        if is_there {
            let (counts, applied) = counts(&client.completed(&location));
            assert!(applied, "{location}");
            assert_eq!(ended.unwrap(), counts, "{location}");
            added[program] += counts[1];
        }
    }
    let contacts: Vec<u64> = clients.iter().map(|client| client.contacts().len() as u64).collect();
    assert_eq!(contacts, added);
    check_files(&copy.home.data());
    // It goes on like any other.
    let next = AtomicU64::new(first.load(Ordering::SeqCst));
    import_new(&clients[2], 2, &next, &Mutex::new(Seen::new()));
}

fn complete(seen: &Seen) -> Seen {
    seen.iter().filter(|(_, (_, ended))| ended.is_some()).map(|(at, what)| (at.clone(), *what)).collect()
}

/// What SQLite says of every file.
fn check_files(data: &Path) {
    let programs = std::fs::read_dir(data.join("programs")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = programs.filter(|path| path.extension().is_some_and(|end| end == "db")).collect();
    assert_eq!(files.len(), 3);
    for path in files.iter().chain([&data.join("catalogue.db")]) {
        let file = rusqlite::Connection::open(path).unwrap();
        let found: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok", "{}", path.display());
    }
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn a_backup_without_its_key_needs_it(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "tx", &contacts_csv(0, 10));
    let to = service.home.data().with_file_name("copy");
    let (code, words) = run(&mut service.home.command(&["backup", &to.to_string_lossy()]));
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("The master key is not in the copy"), "{words}");
    assert!(!to.join("master.key").exists());

    let elsewhere = Home::sqlite();
    let (code, words) = run(&mut elsewhere.command(&["restore", &to.to_string_lossy()]));
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("The master key was not in the copy: put it to"), "{words}");
    let (code, words) = run(&mut elsewhere.command(&["account", "list"]));
    assert_eq!(code, Some(2), "{words}");
    std::fs::copy(service.home.data().join("master.key"), elsewhere.data().join("master.key")).unwrap();
    let copy = elsewhere.serve();
    assert_eq!(copy.client_of(&client.account, &client.program).contacts().len(), 10);
}

fn what_is_no_whole_backup_is_not_restored(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "ignore", "tx", &contacts_csv(0, 10));
    let to = service.home.data().with_file_name("copy");
    let shown = to.to_string_lossy().into_owned();
    service.home.operate(&["backup", &shown, "--with-key"]);
    let refused = |command: &mut Command, why: &str| {
        let (code, words) = run(command);
        assert_eq!(code, Some(2), "{words}");
        assert!(words.contains(why), "{words}");
    };
    refused(&mut service.home.command(&["backup", &shown]), "is not empty");
    refused(&mut service.home.command(&["restore", &shown]), "is not empty");
    let nowhere = Home::sqlite();
    refused(&mut nowhere.command(&["backup", &shown]), "is no data directory");
    let another = Home::sqlite().with("ROSTER_DATABASE", "postgres://nobody@127.0.0.1:1/none");
    refused(&mut another.command(&["backup", &shown]), "with PostgreSQL's own tools");
    refused(&mut another.command(&["restore", &shown]), "with PostgreSQL's own tools");

    let elsewhere = Home::sqlite();
    let restore = || elsewhere.command(&["restore", &shown]);
    let is_empty = || std::fs::read_dir(elsewhere.data()).map_or(true, |mut entries| entries.next().is_none());
    let program = to.join(format!("programs/{}.db", client.program));
    let whole = std::fs::read(&program).unwrap();
    let mut damaged = whole.clone();
    damaged[10_000] ^= 1;
    std::fs::write(&program, &damaged).unwrap();
    refused(&mut restore(), "is not the file that was written");
    assert!(is_empty());
    std::fs::remove_file(&program).unwrap();
    refused(&mut restore(), "is missing");
    assert!(is_empty());
    std::fs::write(&program, &whole).unwrap();
    let manifest = std::fs::read_to_string(to.join("manifest.json")).unwrap();
    std::fs::write(to.join("manifest.json"), manifest.replace("\"catalogue.db\"", "\"../catalogue.db\"")).unwrap();
    refused(&mut restore(), "which is no file of a data directory");
    std::fs::remove_file(to.join("manifest.json")).unwrap();
    refused(&mut restore(), "is no whole backup: it has no manifest.json");
    assert!(is_empty());
    std::fs::write(to.join("manifest.json"), manifest).unwrap();
    let (code, words) = run(&mut restore());
    assert_eq!(code, Some(0), "{words}");
    let names: Value = elsewhere.operate(&["account", "list"]);
    assert_eq!(text(&names["name"]), "College");
}
