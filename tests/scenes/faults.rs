//! Faults of ours: told with an incident id, never with more, and nobody is held up for ever. And what a log may not say.

use crate::harness::{Home, contacts_csv, counts, errors, text};

scenes!(
    a_panic_ends_as_an_error_and_blocks_nobody,
    the_log_tells_no_contact_and_no_secret,
    a_log_that_cannot_be_written_stops_nothing,
);

mod of_files {
    use super::*;

    scenes_on_sqlite!(a_lost_payload_ends_as_an_error_and_blocks_nobody, a_second_service_and_a_wrong_key_are_refused);
}

fn a_panic_ends_as_an_error_and_blocks_nobody(home: Home) {
    let service = home.with("ROSTER_PANIC_AT", "import.batch_applied").serve();
    let client = service.client();
    let status = client.import("add", "ignore", "row", "phone\n2395745030\n");
    assert_eq!(errors(&status), ["file - internal"]);
    assert_eq!((counts(&status), &status["message"]["notApplied"]), (([0; 6], false), &"file_error".into()));
    let trace = text(&status["trace"]);
    let message = text(&status["message"]["errors"][0]["message"]);
    assert!(message.contains(&trace) && !message.contains("panic"), "{message}");
    let log = service.home.log();
    let incidents = log.lines().filter(|line| line.contains("ERROR") && line.contains(&trace)).count();
    assert_eq!(incidents, 1, "a fault is logged once, with its incident:\n{log}");
    assert!(client.contacts().is_empty(), "nothing of it was applied");
    // The next of the program is carried out (it never comes to the place that panics).
    assert_eq!(errors(&client.import("add", "ignore", "row", "")), ["file - no_header"]);
}

fn a_lost_payload_ends_as_an_error_and_blocks_nobody(home: Home) {
    let (home, hold) = home.held_at("import.begun");
    let mut service = home.serve();
    let mut client = service.client();
    let lost = client.send(&client.import_request("add", "ignore", "row", &contacts_csv(0, 2_000))).location();
    service.kill();
    for payload in std::fs::read_dir(service.home.data().join("payloads")).unwrap() {
        std::fs::remove_file(payload.unwrap().path()).unwrap();
    }
    std::fs::remove_file(&hold).unwrap();
    service.start();
    client.address = service.address.clone();
    assert_eq!(errors(&client.completed(&lost)), ["file - internal"]);
    assert_eq!(counts(&client.import("add", "ignore", "row", "phone\n2395745030\n")), ([1, 1, 0, 0, 0, 0], true));
}

fn the_log_tells_no_contact_and_no_secret(home: Home) {
    let service = home.with("ROSTER_LOG_LEVEL", "trace").serve();
    let client = service.client();
    let file = "customer_id,phone,first_name,honors\nXqCustomer,2395745030,XqName,XqHonors\nXqOther,4054XqPhone,,\nXqThird,+82 10 1234 567,,\n";
    let request = client.import_request("add", "first_name", "row", file);
    client.completed(&client.send(&request).location());
    let mut wrong = client.clone();
    wrong.account.secret = "XqSecret".to_owned();
    wrong.send(&wrong.import_request("add", "ignore", "row", file)).problem(401, "signature_mismatch");
    client.get(&format!("/v1/programs/{}/participants?type=full&XqQuery=1", client.program));
    let log = service.home.log();
    assert!(log.contains("import complete") && log.contains("request answered"), "{log}");
    let signature = request.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.clone();
    let signature = signature.rsplit(':').next().unwrap().to_owned();
    for private in ["Xq", "2395745030", "39574503", "1234567", "12345", &client.account.secret, &signature] {
        let line = log.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "the log tells '{private}'");
    }
}

/// The log is on a disk that is full: its lines are lost, and nothing else.
fn a_log_that_cannot_be_written_stops_nothing(home: Home) {
    std::os::unix::fs::symlink("/dev/full", home.data().with_file_name("log")).unwrap();
    let mut service = home.with("ROSTER_LOG_LEVEL", "trace").serve();
    let client = service.client();
    client.get("/v1/nothing").problem(404, "not_found");
    for number in 0..3 {
        let status = client.import("add", "ignore", "row", &contacts_csv(number * 2_000, 2_000));
        assert_eq!(counts(&status), ([2_000, 2_000, 0, 0, 0, 0], true));
    }
    assert_eq!(service.terminate(), Some(0));
}

fn a_second_service_and_a_wrong_key_are_refused(home: Home) {
    let mut service = home.serve();
    let second = service.home.command(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!((second.status.code(), second.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another"), "{second:?}");
    let account = service.new_account();
    assert_eq!(service.terminate(), Some(0));
    let files = std::fs::read_dir(service.home.data()).unwrap();
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        let is_there = bytes.windows(account.secret.len()).any(|window| window == account.secret.as_bytes());
        assert!(!is_there, "the secret stands in {}", file.display());
    }
    let wrong = service
        .home
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .env("ROSTER_MASTER_KEY", "0".repeat(64))
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("master key"), "{wrong:?}");
}
