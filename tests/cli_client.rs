//! The client against a service that answers from a script: what is sent, what is sent again, and what is printed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use expect_test::{Expect, expect};

const PROGRAM: &str = "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10";
const LOCATION: &str = "/v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab";

/// A request as it arrived.
struct Seen {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| {
            let (found, value) = header.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A service that gives each answer of a script once, and then is gone.
struct Scripted {
    url: String,
    seen: JoinHandle<Vec<Seen>>,
}

impl Scripted {
    fn start(answers: Vec<String>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let seen = thread::spawn(move || answers.iter().map(|answer| serve_one(&listener, answer)).collect());
        Scripted { url, seen }
    }

    fn import(self, args: &[&str]) -> (String, Vec<Seen>) {
        let csv = "phone,\"first_name\",\n2395550101,Zoë,\n";
        self.run(&[&["import", "-", "--program", PROGRAM], args].concat(), csv)
    }

    /// The binary's exit code and words, and what the service saw.
    fn run(self, args: &[&str], stdin: &str) -> (String, Vec<Seen>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_roster"))
            .args(args)
            .env_clear()
            .envs([("ROSTER_TOKEN", "INVENTED_TOKEN"), ("ROSTER_SECRET", "INVENTED_SECRET"), ("ROSTER_URL", &self.url)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let mut shown = format!("exit {}\n", output.status.code().expect("an exit code"));
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).expect("UTF-8").replace(&self.url, "URL");
            let _ = write!(shown, "--- {name}\n{text}");
        }
        (shown, self.seen.join().expect("the script was played"))
    }
}

/// Reads one request and answers it; no answer at all is a connection that breaks.
fn serve_one(listener: &TcpListener, answer: &str) -> Seen {
    let (stream, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut seen = Seen { line: lines.remove(0), headers: lines, body: String::new() };
    let length: u64 = seen.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    reader.by_ref().take(length).read_to_string(&mut seen.body).expect("the body");
    reader.get_mut().write_all(answer.as_bytes()).expect("answered");
    seen
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn accepted() -> String {
    let body = r#"{"commandId":"0192f0c1","name":"importParticipants","from":"t","created":"2026-11-22T12:00:00.000Z","complete":false,"error":false,"progress":{"state":"queued","position":1,"rows":0}}"#;
    answer("202 Accepted", &format!("Location: {LOCATION}\r\n"), body)
}

fn complete(error: bool, message: &str) -> String {
    let trace = if error { r#","trace":"T-7","processor":"roster""# } else { "" };
    let body = format!(
        r#"{{"commandId":"0192f0c1","name":"importParticipants","from":"t","created":"2026-11-22T12:00:00.000Z","complete":true,"error":{error},"message":{message}{trace}}}"#
    );
    answer("200 OK", "Content-Type: application/json\r\n", &body)
}

const ALL_GOOD: &str = r#"{"mode":"row","applied":true,"rows":{"read":1,"added":1,"updated":0,"unchanged":0,"ignored":0,"failed":0},"errors":[],"errorCount":0,"summary":"s"}"#;
const ONE_BAD: &str = r#"{"mode":"row","applied":true,"rows":{"read":1200,"added":1199,"updated":0,"unchanged":0,"ignored":0,"failed":1},"errors":[{"row":6,"field":"honors","code":"invalid_value","value":"x","message":"Could not parse '\u001b[2Jx\ny' as Maybe (Boolean)"}],"errorCount":1,"summary":"s"}"#;
const NOTHING: &str = r#"{"mode":"tx","applied":false,"notApplied":"tx_errors","rows":{"read":2,"added":0,"updated":1,"unchanged":0,"ignored":0,"failed":1},"errors":[{"row":2,"code":"cell_count","message":"m"}],"errorCount":1,"summary":"s"}"#;
const FAULT: &str = r#"{"mode":"row","applied":false,"notApplied":"file_error","rows":{"read":0,"added":0,"updated":0,"unchanged":0,"ignored":0,"failed":0},"errors":[{"code":"internal","message":"Incident 7."}],"errorCount":1,"summary":"s"}"#;

fn check_import(answers: Vec<String>, args: &[&str], expected: Expect) -> Vec<Seen> {
    let (shown, seen) = Scripted::start(answers).import(args);
    expected.assert_eq(&shown);
    seen
}

#[test]
fn a_file_is_sent_signed_and_its_report_is_printed() {
    let seen = check_import(
        vec![accepted(), complete(false, ALL_GOOD)],
        &[],
        expect![[r#"
        exit 0
        --- stdout
        rows
        read       1
        added      1
        updated    0
        unchanged  0
        ignored    0
        failed     0

        Applied.
        --- stderr
        Accepted as /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab
    "#]],
    );
    assert_eq!(seen[0].line, format!("POST /v2/programs/{PROGRAM}/participants HTTP/1.1"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    expect![[r#"{"options":{"absent":"ignore","existing":["phone","first_name"],"mode":"row","new":"add"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n","program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10"}"#]].assert_eq(&seen[0].body);
    let signature = seen[0].header("authorization").expect("signed");
    let date = seen[0].header("signalvine-date").expect("dated");
    let path = format!("/v2/programs/{PROGRAM}/participants");
    let own =
        roster::signature::sign("INVENTED_TOKEN", b"INVENTED_SECRET", "POST", &path, seen[0].body.as_bytes(), date);
    assert_eq!(signature, format!("SignalVine INVENTED_TOKEN:{own}"));
    assert_eq!(seen[1].line, format!("GET {LOCATION} HTTP/1.1"));
    assert_eq!(seen[1].header("prefer"), Some("wait=2"));
}

#[test]
fn refused_rows_are_listed_and_exit_1() {
    check_import(
        vec![accepted(), complete(true, ONE_BAD)],
        &[],
        expect![[r#"
        exit 1
        --- stdout
        rows
        read       1200
        added      1199
        updated       0
        unchanged     0
        ignored       0
        failed        1

        Applied; the rows that failed changed nothing.

        row  field   code           what is wrong
          6  honors  invalid_value  Could not parse '\u{1b}[2Jx\ny' as Maybe (Boolean)
        --- stderr
        Accepted as /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab
        The service's log knows this run as T-7.
    "#]],
    );
    check_import(
        vec![accepted(), complete(true, NOTHING)],
        &["--mode", "tx", "--quiet"],
        expect![[r#"
        exit 1
        --- stdout
        rows
        read       2
        added      0
        updated    1
        unchanged  0
        ignored    0
        failed     1

        Nothing was applied (tx_errors): a tx import takes effect only without errors; the counts say what would have been.

        row  field  code        what is wrong
          2         cell_count  m
        --- stderr
    "#]],
    );
}

#[test]
fn a_fault_of_the_service_is_exit_3() {
    check_import(
        vec![accepted(), complete(true, FAULT)],
        &[],
        expect![[r#"
            exit 3
            --- stdout
            rows
            read       0
            added      0
            updated    0
            unchanged  0
            ignored    0
            failed     0

            Nothing was applied: the service failed.

            row  field  code      what is wrong
                        internal  Incident 7.
            --- stderr
            Accepted as /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab
            The service's log knows this run as T-7.
        "#]],
    );
}

#[test]
fn json_is_printed_as_it_was_received() {
    let (shown, _) = Scripted::start(vec![accepted(), complete(false, ALL_GOOD)]).import(&["--json"]);
    assert!(shown.contains(&format!("\"message\":{ALL_GOOD}}}\n--- stderr")), "{shown}");
}

#[test]
fn the_options_are_sent_and_without_waiting_the_location_is_printed() {
    let args = ["--no-wait", "--new", "ignore", "--existing", "first_name, phone", "--mode", "tx"];
    let seen = check_import(
        vec![accepted()],
        &args,
        expect![[r#"
        exit 0
        --- stdout
        /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab
        --- stderr
    "#]],
    );
    expect![[r#"{"options":{"absent":"ignore","existing":["first_name","phone"],"mode":"tx","new":"ignore"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n","program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10"}"#]].assert_eq(&seen[0].body);
    let seen = check_import(
        vec![accepted()],
        &["--no-wait", "--existing", "ignore"],
        expect![[r#"
        exit 0
        --- stdout
        /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab
        --- stderr
    "#]],
    );
    expect![[r#"{"options":{"absent":"ignore","existing":"ignore","mode":"row","new":"add"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n","program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10"}"#]].assert_eq(&seen[0].body);
}

/// The same signature makes it one import, whatever became of the first.
#[test]
fn the_very_same_request_is_sent_again_when_the_service_is_busy() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"code":"busy"}"#);
    let limited = answer("429 Too Many Requests", "Retry-After: 0\r\n", r#"{"code":"busy"}"#);
    let replayed = answer(
        "202 Accepted",
        &format!("Location: {LOCATION}\r\nIdempotency-Replayed: true\r\n"),
        complete(false, ALL_GOOD).split_once("\r\n\r\n").expect("a body").1,
    );
    let seen = check_import(
        vec![busy, limited, replayed],
        &[],
        expect![[r#"
            exit 0
            --- stdout
            rows
            read       1
            added      1
            updated    0
            unchanged  0
            ignored    0
            failed     0

            Applied.
            --- stderr
             (503 busy)
            Trying again in 0 s …
             (429 busy)
            Trying again in 0 s …
            The service had this very request already; nothing runs twice.
        "#]],
    );
    for again in &seen[1..] {
        assert_eq!(again.body, seen[0].body);
        assert_eq!(again.header("authorization"), seen[0].header("authorization"));
        assert_eq!(again.header("signalvine-date"), seen[0].header("signalvine-date"));
    }
}

#[test]
fn a_service_that_stays_busy_is_given_up() {
    let busy =
        answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"code":"busy","detail":"The disk is full"}"#);
    check_import(
        vec![busy; 8],
        &[],
        expect![[r#"
            exit 3
            --- stdout
            --- stderr
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            The disk is full (503 busy)
            Trying again in 0 s …
            error: The disk is full (503 busy)
        "#]],
    );
    let closed = answer("503 Service Unavailable", "Retry-After: 86400\r\n", r#"{"code":"busy","detail":"Tomorrow"}"#);
    check_import(
        vec![closed],
        &[],
        expect![[r#"
        exit 3
        --- stdout
        --- stderr
        error: Tomorrow (503 busy)
    "#]],
    );
}

#[test]
fn a_refusal_is_yours_and_not_sent_again() {
    let problem = r#"{"code":"unknown_token","detail":"No such token","remedy":"Use another."}"#;
    check_import(
        vec![answer("401 Unauthorized", "", problem)],
        &[],
        expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: No such token (401 unknown_token)
        Use another.
    "#]],
    );
    let moved = answer("301 Moved Permanently", "Location: https://elsewhere.example/\r\n", "");
    check_import(
        vec![moved],
        &[],
        expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: URL sends on to https://elsewhere.example/ (301)
        Give the service's own address as --url.
    "#]],
    );
}

#[test]
fn status_looks_once() {
    let running = r#"{"commandId":"0192f0c1","name":"importParticipants","from":"t","created":"c","complete":false,"error":false,"progress":{"state":"running","position":0,"rows":4096}}"#;
    let service = Scripted::start(vec![answer("200 OK", "", running)]);
    let location = format!("{}{LOCATION}", service.url);
    let (shown, seen) = service.run(&["status", &location], "");
    expect![[r#"
        exit 0
        --- stdout
        running: 4096 rows read so far
        --- stderr
    "#]]
    .assert_eq(&shown);
    assert_eq!(seen[0].header("prefer"), None);
    let (shown, _) = Scripted::start(vec![answer("200 OK", "", "<html>")]).run(&["status", LOCATION], "");
    expect![[r#"
        exit 3
        --- stdout
        --- stderr
        error: the service answered 200 with something that is no status: expected value at line 1 column 1
    "#]]
    .assert_eq(&shown);
}
