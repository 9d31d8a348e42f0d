//! The client against a service that answers from a script: what is sent, what is sent again, and what is printed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use expect_test::{Expect, expect};
use sha2::{Digest as _, Sha256};

const PROGRAM: &str = "018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10";
const LOCATION: &str = "/v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab";

/// A request as it arrived.
struct Seen {
    line: String,
    headers: Vec<String>,
    /// As text; of a file in other bytes see `bytes`.
    body: String,
    bytes: Vec<u8>,
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
        let mut child = self.spawn(args);
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("written");
        self.ended(child)
    }

    fn spawn(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_roster"))
            .args(args)
            .env_clear()
            .envs([("ROSTER_TOKEN", "INVENTED_TOKEN"), ("ROSTER_SECRET", "INVENTED_SECRET"), ("ROSTER_URL", &self.url)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs")
    }

    fn ended(self, child: Child) -> (String, Vec<Seen>) {
        let output = child.wait_with_output().expect("it ends");
        let mut shown = format!("exit {}\n", output.status.code().expect("an exit code"));
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).expect("UTF-8").replace(&self.url, "URL");
            let _ = write!(shown, "--- {name}\n{text}");
        }
        (shown, self.seen.join().expect("the script was played"))
    }
}

/// In a script: the connection breaks when so many bytes of the body have come.
fn cut_after(bytes: u64) -> String {
    format!("cut after {bytes}")
}

/// Reads one request and answers it; no answer at all is a connection that breaks.
fn serve_one(listener: &TcpListener, answer: &str) -> Seen {
    serve_one_told(listener, answer, || ()).0
}

/// The same; before it answers it does something.
fn serve_one_told<T>(listener: &TcpListener, answer: &str, tell: impl FnOnce() -> T) -> (Seen, T) {
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
    let mut seen = Seen { line: lines.remove(0), headers: lines, body: String::new(), bytes: Vec::new() };
    if seen.header("expect") == Some("100-continue") {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("answered");
    }
    let length: u64 = seen.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    let cut: Option<u64> = answer.strip_prefix("cut after ").map(|bytes| bytes.parse().expect("a number"));
    reader.by_ref().take(cut.unwrap_or(length)).read_to_end(&mut seen.bytes).expect("the body");
    let told = tell();
    if cut.is_none() {
        reader.get_mut().write_all(answer.as_bytes()).expect("answered");
    }
    seen.body = String::from_utf8_lossy(&seen.bytes).into_owned();
    (seen, told)
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
    expect![[r#"{"program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10","options":{"new":"add","existing":["phone","first_name"],"mode":"row","absent":"ignore"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n"}"#]].assert_eq(&seen[0].body);
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
    expect![[r#"{"program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10","options":{"new":"ignore","existing":["first_name","phone"],"mode":"tx","absent":"ignore"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n"}"#]].assert_eq(&seen[0].body);
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
    expect![[r#"{"program":"018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10","options":{"new":"add","existing":"ignore","mode":"row","absent":"ignore"},"participants":"phone,\"first_name\",\n2395550101,Zoë,\n"}"#]].assert_eq(&seen[0].body);
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

/// The digest and the signature of a file that is sent as it is.
fn check_stream(seen: &Seen, query: &str) {
    let target = format!("/v2/programs/{PROGRAM}/participants?{query}");
    assert_eq!(seen.line, format!("POST {target} HTTP/1.1"));
    let digest = seen.header("content-digest").expect("a digest");
    assert_eq!(digest, roster::signature::print_digest(&Sha256::digest(&seen.bytes).into()));
    let date = seen.header("signalvine-date").expect("dated");
    let own = roster::signature::sign("INVENTED_TOKEN", b"INVENTED_SECRET", "POST", &target, digest.as_bytes(), date);
    assert_eq!(seen.header("authorization"), Some(&*format!("SignalVine INVENTED_TOKEN:{own}")));
}

#[test]
fn a_file_that_json_cannot_carry_is_sent_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("contacts.csv");
    let file = path.to_str().expect("a plain path");
    let send = |bytes: &[u8], args: &[&str]| {
        std::fs::write(&path, bytes).expect("written");
        let service = Scripted::start(vec![accepted()]);
        let (shown, mut seen) = service.run(&[&["import", file, "--program", PROGRAM, "--no-wait"], args].concat(), "");
        assert!(shown.starts_with("exit 0\n"), "{shown}");
        seen.remove(0)
    };
    // A file of just so many bytes.
    let rows = |bytes: usize| {
        let mut file = format!("phone,note\n{}", "2395550101,x\n".repeat((bytes - 11) / 13));
        file.push_str(&"x".repeat(bytes - file.len()));
        file.into_bytes()
    };
    let all = "new=add&existing=phone%2Cnote&mode=row";
    let small = send(&rows(1_000), &[]);
    assert_eq!(small.header("content-type"), Some("application/json"));
    // Up to the limit in JSON, above it as it is.
    let most = send(&rows(10_000_000), &[]);
    assert_eq!(most.header("content-type"), Some("application/json"));
    let large = send(&rows(10_000_001), &[]);
    assert_eq!((large.header("content-type"), large.header("content-encoding")), (Some("text/csv"), None));
    check_stream(&large, all);
    assert_eq!(large.bytes, rows(10_000_001));
    // Whatever its size where JSON would have it read otherwise, and where that is asked for.
    let semicolons = send(b"phone;note\n1;2\n", &[]);
    check_stream(&semicolons, all);
    let marked =
        send("\u{feff}phone,note\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice(), &[]);
    check_stream(&marked, all);
    let latin = send(b"phone,na\xefve\n1,2\n", &["--charset", "ISO-8859-1", "--existing", "ignore", "--dry-run"]);
    assert_eq!(latin.header("content-type"), Some("text/csv; charset=windows-1252"));
    check_stream(&latin, "new=add&existing=ignore&mode=row&dryRun=true");
    let args =
        ["--stream", "--new", "ignore", "--existing", "a b,c", "--mode", "tx", "--max-new", "0", "--max-errors", "9"];
    check_stream(&send(&rows(1_000), &args), "new=ignore&existing=a+b%2Cc&mode=tx&maxNew=0&maxErrors=9");
    // Compressed, unless that makes it larger.
    let packed = send(&rows(1_000), &["--stream", "--compress", "always"]);
    assert_eq!(packed.header("content-encoding"), Some("zstd"));
    check_stream(&packed, all);
    assert_eq!(zstd::decode_all(&*packed.bytes).expect("zstd"), rows(1_000));
    let tiny = send(b"phone,note\n", &["--stream", "--compress", "always"]);
    assert_eq!((tiny.header("content-encoding"), &*tiny.bytes), (None, &b"phone,note\n"[..]));
}

#[test]
fn a_stream_that_is_cut_is_sent_again_as_the_same_request() {
    for (args, from_stdin) in [(&["--compress", "always"][..], false), (&[], false), (&[], true)] {
        let csv = format!(
            "phone,note\n{}",
            (0..200_000u64).map(|row| format!("{row},{}\n", row * row * 7_919 % 1_000_003)).collect::<String>()
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &csv).expect("written");
        let replayed = accepted().replace("\r\n\r\n", "\r\nIdempotency-Replayed: true\r\n\r\n");
        let service = Scripted::start(vec![cut_after(70_000), String::new(), replayed]);
        let (path, stdin) = if from_stdin { ("-", &*csv) } else { (file.path().to_str().expect("a path"), "") };
        let args = [&["import", path, "--program", PROGRAM, "--stream", "--no-wait"], args].concat();
        let (shown, seen) = service.run(&args, stdin);
        assert!(shown.contains("Trying again in 2 s …\nThe service had this very request already"), "{shown}");
        assert!(shown.starts_with(&format!("exit 0\n--- stdout\n{LOCATION}\n")), "{shown}");
        assert_eq!(seen[0].bytes, seen[2].bytes[..70_000]);
        assert!(seen[1].bytes == seen[2].bytes);
        let headers = [
            "authorization",
            "signalvine-date",
            "content-digest",
            "content-encoding",
            "content-length",
            "idempotency-key",
        ];
        for name in headers {
            assert_eq!(seen[0].header(name), seen[1].header(name));
            assert_eq!(seen[0].header(name), seen[2].header(name));
        }
        check_stream(&seen[2], "new=add&existing=phone%2Cnote&mode=row");
        let whole = if seen[2].header("content-encoding").is_some() {
            zstd::decode_all(&*seen[2].bytes).expect("zstd")
        } else {
            seen[2].bytes.clone()
        };
        assert!(whole == csv.as_bytes());
    }
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_not_sent_again() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "phone\n".repeat(1_000_000)).expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let path = file.path().to_owned();
    let service = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut beginning = [0; 64];
        stream.read_exact(&mut beginning).expect("a beginning");
        // It waits to be asked to go on.
        std::fs::write(path, "phone\n").expect("cut");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("answered");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        listener
    });
    let scripted = Scripted { url, seen: thread::spawn(Vec::new) };
    let path = file.path().to_str().expect("a path");
    let (shown, _) = scripted.run(&["import", path, "--program", PROGRAM, "--stream"], "");
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: the file cannot be read any more: the file has become shorter
        Nothing was imported by this try.
    "#]]
    .assert_eq(&shown);
    let listener = service.join().expect("it saw the request");
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_err(), "there was no second request");
}

/// The largest amount of memory that the client took until it had sent a file of so many bytes, in KiB.
fn peak_kib(file: &std::path::Path, args: &[&str]) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let scripted = Scripted { url, seen: thread::spawn(Vec::new) };
    let file = file.to_str().expect("a path");
    let child = scripted.spawn(&[&["import", file, "--program", PROGRAM, "--no-wait", "--stream"], args].concat());
    let (_, peak) = serve_one_told(&listener, &accepted(), || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak").trim();
        line.trim_end_matches(" kB").parse::<u64>().expect("a number")
    });
    let (shown, _) = scripted.ended(child);
    assert!(shown.starts_with("exit 0\n"), "{shown}");
    peak
}

#[test]
fn the_clients_memory_does_not_grow_with_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, rows: u64| {
        let path = dir.path().join(name);
        let line = |row: u64| format!("{row},{},note {row}\n", row * 7_919 % 1_000_003);
        std::fs::write(&path, (0..rows).map(line).collect::<String>()).expect("written");
        path
    };
    let (small, large) = (file("small.csv", 50_000), file("large.csv", 1_500_000));
    assert!(large.metadata().expect("there").len() > 35_000_000);
    for args in [&["--compress", "always"][..], &[]] {
        let (of_small, of_large) = (peak_kib(&small, args), peak_kib(&large, args));
        assert!(of_large < of_small + 4 * 1024, "{args:?}: {of_small} KiB, {of_large} KiB");
    }
}

/// A directory with one file, and what a watcher makes of it.
fn watch(answers: Vec<String>) -> (String, Vec<Seen>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("a.csv"), "phone\n2395550101\n").expect("written");
    let path = dir.path().to_str().expect("a plain path");
    let service = Scripted::start(answers);
    let (shown, seen) = service.run(&["watch", path, "--program", PROGRAM, "--once", "--settle", "0"], "");
    (shown, seen, dir)
}

#[test]
fn a_dropped_file_is_the_same_import_however_often_it_is_sent() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", r#"{"code":"busy","detail":"Full"}"#);
    let limited =
        answer("429 Too Many Requests", "Retry-After: 0\r\n", r#"{"code":"token_requests","detail":"Too many"}"#);
    let reused = answer("422 Unprocessable Entity", "", r#"{"code":"signature_reused","detail":"Again","status":422}"#);
    let answers = vec![busy.clone(), busy, limited, reused, accepted(), complete(false, ALL_GOOD)];
    let (shown, seen, dir) = watch(answers);
    expect![[r#"
        exit 0
        --- stdout
        a.csv: done: s
        --- stderr
        a.csv: Full (503 busy)
        The file stays in hand and is tried again.
        a.csv: Too many (429 token_requests)
        The file stays in hand and is tried again.
        a.csv: Again (422 signature_reused)
        The file stays in hand and is tried again.
    "#]]
    .assert_eq(&shown);
    for again in &seen[1..5] {
        assert_eq!(again.line, seen[0].line);
        assert_eq!(again.bytes, b"phone\n2395550101\n");
        // Signed anew, and known by its key.
        assert_eq!(again.header("idempotency-key"), seen[0].header("idempotency-key"));
    }
    check_stream(&seen[4], "new=add&existing=phone&mode=row");
    assert!(seen[0].header("idempotency-key").is_some_and(|key| key.len() == 36));
    assert_ne!(seen[4].header("signalvine-date"), seen[0].header("signalvine-date"));
    assert_eq!(seen[5].line, format!("GET {LOCATION} HTTP/1.1"));
    let report = std::fs::read_to_string(dir.path().join("done/a.report.json")).expect("a report");
    assert!(complete(false, ALL_GOOD).ends_with(&report), "{report}");
    assert!(!dir.path().join("done/a.errors.csv").exists());
}

/// An answer that the service did not write says nothing about the file.
#[test]
fn what_a_proxy_answers_fails_no_file() {
    for status in
        ["403 Forbidden", "400 Bad Request", "413 Content Too Large", "404 Not Found", "301 Moved Permanently"]
    {
        let (shown, seen, dir) = watch(vec![answer(status, "Location: https://elsewhere.example/\r\n", "<html>")]);
        assert!(shown.starts_with("exit 2\n") && shown.contains("a.csv:\n"), "{status}: {shown}");
        assert_eq!((seen.len(), dir.path().join("failed").read_dir().expect("listed").count()), (1, 0), "{status}");
        let in_hand = dir.path().join(".roster").read_dir().expect("listed").count();
        assert_eq!(in_hand, 2, "the lock and the file");
    }
}

#[test]
fn a_status_that_is_kept_no_more_is_told() {
    let gone = answer("404 Not Found", "", r#"{"code":"not_found","detail":"No such command"}"#);
    let list = answer("200 OK", "", r#"{"items":[]}"#);
    let (shown, seen, dir) = watch(vec![accepted(), gone.clone(), list]);
    expect![[r#"
        exit 2
        --- stdout
        a.csv: failed: It was accepted; how it ended is not known any more.
        --- stderr
    "#]]
    .assert_eq(&shown);
    assert_eq!(seen[2].line, format!("GET /v2/programs/{PROGRAM}/commands HTTP/1.1"));
    let report = std::fs::read_to_string(dir.path().join("failed/a.report.json")).expect("a report");
    assert!(report.contains(LOCATION) && report.contains(r#""code":"gone""#), "{report}");
    // Where the program is not seen either, it is the token that is wrong.
    let (shown, _, dir) = watch(vec![accepted(), gone.clone(), gone]);
    assert!(shown.starts_with("exit 2\n") && shown.contains("kept in hand"), "{shown}");
    assert_eq!(dir.path().join("failed").read_dir().expect("listed").count(), 0);
}
