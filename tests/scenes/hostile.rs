//! Clients that mean harm, over a connection of their own: what a proxy in front might read otherwise, heads without an end, connections
//! on which nothing is said, tokens that are guessed, files that are made to cost. Each meets a bound with a name, is told so, and
//! is in nobody's way.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Client, Home, Request, Service, counts, errors, field, text};
use crate::limits::begin;
use crate::streaming::{gzip, stream, zstd};
use crate::watching::{metrics, value, watch_address};

scenes!(
    what_two_readers_could_read_otherwise_ends_the_connection,
    pipelined_requests_are_answered_one_by_one,
    a_head_is_bounded,
    slow_heads_and_idle_connections_are_closed,
    who_says_nothing_makes_room,
    who_is_at_work_keeps_the_place,
    a_body_that_drips_is_too_slow,
    an_unknown_token_costs_what_a_wrong_signature_does,
    bombs_in_every_wrapping_are_refused,
    json_that_is_made_to_cost_is_refused,
    files_that_are_made_to_cost_are_told,
    look_alikes_are_others,
);

const CSV: &str = "customer_id,phone\ngood,2395745030\n";

/// A good client is served, and nothing has panicked.
fn goes_on(service: &Service, client: &Client) {
    assert!(counts(&client.import("add", "", "row", CSV)).1);
    assert!(!service.home.log().contains("panicked"), "{}", service.home.log());
}

fn open(client: &Client) -> TcpStream {
    let stream = TcpStream::connect(&client.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// All that comes until the other side closes; a connection that is left open for a minute is a failure.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(fault) if fault.kind() == ErrorKind::ConnectionReset => {}
        Err(fault) => panic!("{fault}, after: {}", String::from_utf8_lossy(&answer)),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends bytes, also those that nobody takes any more, and gives what comes back.
fn exchange(client: &Client, bytes: &[u8]) -> String {
    let mut stream = open(client);
    let _ = stream.write_all(bytes);
    rest(stream)
}

/// The statuses of the answers, one after the other.
fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

fn lines(request: &Request) -> String {
    request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// What follows each request must not be answered as a request: a proxy that sees the borders elsewhere took it for a part of another's.
fn what_two_readers_could_read_otherwise_ends_the_connection(home: Home) {
    let service = home.serve();
    let client = service.client();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let path = client.participants_path();
    for (shape, head, body, status) in [
        ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "401"),
        ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n", "401"),
        ("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "401"),
        ("chunks under another name", "Transfer-Encoding: xchunked", "0\r\n\r\n", "400"),
        ("chunks not last", "Transfer-Encoding: chunked, identity", "0\r\n\r\n", "400"),
        ("chunks behind a tab", "Transfer-Encoding:\tchunked", "0\r\n\r\n", "401"),
        ("chunks before a colon", "Transfer-Encoding : chunked", "0\r\n\r\n", "400"),
        ("two lengths", "Content-Length: 0\r\nContent-Length: 4", "", "400"),
        ("lengths in a list", "Content-Length: 0, 4", "", "400"),
        ("a length with a sign", "Content-Length: +0", "", "400"),
        ("a negative length", "Content-Length: -1", "", "400"),
        ("a hexadecimal length", "Content-Length: 0x0", "", "400"),
        ("a length beyond 64 bits", "Content-Length: 18446744073709551616", "", "400"),
        ("a folded line", "X: a\r\n Content-Length: 4", "", "400"),
        ("a carriage return in a value", "X: a\rContent-Length: 4", "", "400"),
        ("a NUL in a value", "X: a\0b", "", "400"),
        ("a line without a colon", "Content-Length 4", "", "400"),
        ("a name with a blank", "Content Length: 4", "", "400"),
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}{smuggled}");
        let answer = exchange(&client, request.as_bytes());
        assert_eq!(statuses(&answer), [status], "{shape}: {answer}");
    }
    // Chunks that are none: the request is refused or answered, once, and what follows is nobody's.
    for (shape, chunks) in [
        ("a size beyond 64 bits", "10000000000000000\r\nx\r\n0\r\n\r\n"),
        ("a size that is no number", "g\r\nx\r\n0\r\n\r\n"),
        ("a negative size", "-1\r\nx\r\n0\r\n\r\n"),
        ("a size without its end", "1\nx\r\n0\r\n\r\n"),
        ("a line feed in an extension", "1;a\nb\r\nx\r\n0\r\n\r\n"),
        ("a chunk longer than it says", "1\r\nxyz\r\n0\r\n\r\n"),
        ("many extensions", &format!("1;{}\r\nx\r\n0\r\n\r\n", "a=b;".repeat(20_000))),
    ] {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}");
        let answer = exchange(&client, request.as_bytes());
        assert!(statuses(&answer).len() <= 1 && !answer.contains("alive"), "{shape}: {answer}");
    }
    // Other forms of the first line: none leads anywhere else.
    for (first, status) in [
        ("CONNECT example.org:443 HTTP/1.1", "401"),
        ("OPTIONS * HTTP/1.1", "401"),
        ("GET http://example.org/v1/programs/x HTTP/1.1", "401"),
        ("get /healthz HTTP/1.1", "405"),
        ("GET /healthz HTTP/1.2", "400"),
        ("GET  /healthz HTTP/1.1", "400"),
        ("GET /health\0z HTTP/1.1", "400"),
        ("GET /healthz", "400"),
    ] {
        let request = format!("{first}\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses(&exchange(&client, request.as_bytes())), [status], "{first}");
    }
    let chunked_10 = format!("POST {path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}");
    assert_eq!(statuses(&exchange(&client, chunked_10.as_bytes())), ["400"]);
    // The host in the first line is nobody's business: the path is, which is signed.
    let own = client.request("GET", &format!("/v1/programs/{}", client.program), "");
    let absolute = format!("GET http://evil.example{} HTTP/1.1\r\nConnection: close\r\n{}\r\n", own.path, lines(&own));
    assert_eq!(statuses(&exchange(&client, absolute.as_bytes())), ["200"]);
    // The same in chunks, signed, is an import; and the connection's last request.
    let import = client.import_request("add", "", "row", CSV);
    let body = String::from_utf8(import.body.clone()).unwrap();
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{}\r\n{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}",
        lines(&import),
        body.len()
    );
    let answer = exchange(&client, chunked.as_bytes());
    assert_eq!(statuses(&answer), ["202"], "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    goes_on(&service, &client);
}

fn pipelined_requests_are_answered_one_by_one(home: Home) {
    let service = home.serve();
    let client = service.client();
    let mut all = String::new();
    for number in 0..100 {
        let import = client.request_at(
            &format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_millis(number)),
            "POST",
            &client.participants_path(),
            crate::harness::body(
                &client.program,
                "add",
                "",
                "row",
                &format!("customer_id,phone\nc{number},{}\n", crate::harness::nth_phone(number.unsigned_abs())),
            ),
        );
        let own = client.request("GET", &format!("/v1/programs/{}", client.program), "");
        all.push_str(&format!(
            "POST {} HTTP/1.1\r\nContent-Length: {}\r\n{}\r\n",
            import.path,
            import.body.len(),
            lines(&import)
        ));
        all.push_str(&String::from_utf8(import.body).unwrap());
        all.push_str(&format!("GET {} HTTP/1.1\r\n{}\r\n", own.path, lines(&own)));
        all.push_str("GET /nowhere HTTP/1.1\r\n\r\n");
    }
    all.push_str("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
    let answer = exchange(&client, all.as_bytes());
    let mut expected = ["202", "200", "401"].repeat(100);
    expected.push("200");
    assert_eq!(statuses(&answer), expected);
    // All were accepted, in their order, and none twice.
    let last = answer.lines().filter_map(|line| line.strip_prefix("location: ")).next_back().unwrap().to_owned();
    client.completed(&last);
    assert_eq!(client.contacts().len(), 100);
    goes_on(&service, &client);
}

fn a_head_is_bounded(home: Home) {
    let service = home.serve();
    let client = service.client();
    let head = |lines: &str| format!("GET /v1/programs/x HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    for (what, request, status) in [
        ("a value of 40 KB", head(&format!("X: {}\r\n", "x".repeat(40_000))), "401"),
        ("a value of 80 KB", head(&format!("X: {}\r\n", "x".repeat(80_000))), "431"),
        ("a name of 80 KB", head(&format!("{}: x\r\n", "x".repeat(80_000))), "431"),
        ("90 lines", head(&"X: x\r\n".repeat(90)), "401"),
        ("200 lines", head(&"X: x\r\n".repeat(200)), "431"),
        ("a path of 80 KB", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(80_000)), "431"),
        ("a head without an end", format!("GET / HTTP/1.1\r\n{}", "X: x\r\n".repeat(100_000)), "431"),
        ("a token of 30 KB", head(&format!("Authorization: SignalVine {}:x\r\n", "t".repeat(30_000))), "401"),
    ] {
        // Whoever goes on sending what nobody reads may find the connection reset before the answer.
        let answer = exchange(&client, request.as_bytes());
        let told = statuses(&answer);
        assert!(told == [status] || (told.is_empty() && status == "431"), "{what}: {answer}");
    }
    goes_on(&service, &client);
}

/// A second is all that a head may take here.
fn slow_heads_and_idle_connections_are_closed(home: Home) {
    let service = home.with("ROSTER_HEADERS_SECONDS_MAX", "1").serve();
    let client = service.client();
    // Nothing at all; half a head; and a connection that was used once.
    let (silent, mut half, mut used) = (open(&client), open(&client), open(&client));
    half.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    // A byte now and then, whenever another one is answered, is no head either.
    let mut dripping = open(&client);
    dripping.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
    dripping.set_nonblocking(true).unwrap();
    let mut dripped = 0;
    loop {
        let written = dripping.write(b"x");
        dripped += written.as_ref().map_or(0, |count| *count);
        assert!(dripped < 50_000, "so many answers take longer than a second");
        assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).status, 200);
        let mut answer = [0; 512];
        match dripping.read(&mut answer) {
            Err(fault) if fault.kind() == ErrorKind::WouldBlock && written.is_ok() => {}
            // Closed, or told first.
            Ok(0) | Err(_) => break,
            Ok(count) => assert!(!String::from_utf8_lossy(&answer[..count]).contains(" 200 ")),
        }
    }
    assert!(dripped > 1);
    assert!(!rest(silent).contains(" 200 ") && !rest(half).contains(" 200 "));
    assert_eq!(statuses(&rest(used)), ["200"]);
    goes_on(&service, &client);
}

fn who_says_nothing_makes_room(home: Home) {
    let service = home
        .with("ROSTER_CONNECTIONS_MAX", "8")
        .with("ROSTER_METRICS_LISTEN", "127.0.0.1:0")
        .with("NO_COLOR", "1")
        .serve();
    let client = service.client();
    // Some say nothing, some half a head, some half a body that nobody has signed, some were answered once.
    let said = [
        "",
        "GET /healthz HTTP/1.1\r\nX: ",
        "POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
        "GET /healthz HTTP/1.1\r\n\r\n",
    ];
    let mut silent: Vec<TcpStream> = Vec::new();
    for number in 0..40 {
        let mut stream = open(&client);
        stream.write_all(said[number % said.len()].as_bytes()).unwrap();
        silent.push(stream);
        if number % 4 == 0 {
            assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).status, 200, "{number}");
        }
    }
    goes_on(&service, &client);
    // All but the last eight are closed, long before their time.
    for (number, stream) in silent.drain(..32).enumerate() {
        assert!(statuses(&rest(stream)).len() <= 1, "{number}");
    }
    let told = metrics(&watch_address(&service));
    let count = |limit: &str| value(&told, &format!("roster_turned_away_total{{limit=\"{limit}\"}}"));
    assert!(count("idle_connections") >= 32.0, "{told}");
    assert_eq!(count("connections"), 0.0);
}

fn who_is_at_work_keeps_the_place(home: Home) {
    let service = home.with("ROSTER_CONNECTIONS_MAX", "2").serve();
    let client = service.client();
    let file = |at: u32| {
        stream(&client, "new=add&existing=&mode=row", format!("customer_id,phone\nA{at},239574503{at}\n").as_bytes())
    };
    let (first, second) = (file(1), file(2));
    let (mut one, mut two) = (begin(&client, &first), begin(&client, &second));
    // Both are signed and under way: there is no room, and who comes is told so at once.
    for _ in 0..3 {
        let answer = exchange(&client, b"GET /healthz HTTP/1.1\r\n\r\n");
        assert_eq!(statuses(&answer), ["503"], "{answer}");
        assert!(answer.contains("\"limit\":\"connections\"") && answer.contains("Retry-After: 5"), "{answer}");
    }
    assert!(exchange(&client, b"").contains("Too many connections at the same moment; 2 are at work"));
    // Answered, they make room again: both for their next requests and for others.
    for (socket, request) in [(&mut one, &first), (&mut two, &second)] {
        socket.write_all(&request.body[request.body.len() / 2..]).unwrap();
        let mut answer = [0; 4_096];
        let mut told = String::new();
        while !told.contains("HTTP/1.1 202") {
            let count = socket.read(&mut answer).unwrap();
            assert!(count > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&answer[..count]));
        }
    }
    goes_on(&service, &client);
    assert_eq!(client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"], 3);
}

/// In JSON, of which nothing is believed before all is there: a byte whenever there is an answer to something else.
fn a_body_that_drips_is_too_slow(home: Home) {
    let service = home.with("ROSTER_BODY_PAUSE_SECONDS_MAX", "1").serve();
    let client = service.client();
    let import = client.import_request("add", "ignore", "row", &format!("phone\n{}", "x".repeat(200_000)));
    let mut dripping = begin(&client, &import);
    dripping.set_nonblocking(true).unwrap();
    let mut dripped = 0;
    let answered = loop {
        dripped += dripping.write(b"x").unwrap_or(0);
        assert!(dripped < 50_000, "so many seconds are more than one");
        assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).status, 200);
        let mut line = [0; 2_048];
        if let Ok(count) = dripping.read(&mut line)
            && let answer = String::from_utf8_lossy(&line[..count]).into_owned()
            && answer.contains("HTTP/1.1 ")
        {
            break answer;
        }
    };
    assert!(answered.contains("HTTP/1.1 408 ") && dripped > 1, "{dripped} bytes, then: {answered}");
    assert!(answered.contains("Less than 262144 bytes of the body arrived in 1 seconds"), "{answered}");
    goes_on(&service, &client);
}

/// What is done for either is counted, and is the same: one signature is computed for each, over the same lines.
fn an_unknown_token_costs_what_a_wrong_signature_does(home: Home) {
    let service = home.with("ROSTER_METRICS_LISTEN", "127.0.0.1:0").with("NO_COLOR", "1").serve();
    let client = service.client();
    let watch = watch_address(&service);
    let checks = || {
        let told = metrics(&watch);
        ["known", "unknown"].map(|token| value(&told, &format!("roster_signature_checks_total{{token=\"{token}\"}}")))
    };
    let (mut forger, mut stranger) = (client.clone(), client.clone());
    forger.account.secret = "another".to_owned();
    stranger.account.token = "0123456789abcdef0123456789abcdef".to_owned();
    let own = format!("/v1/programs/{}", client.program);
    let requests: [fn(&Client, &str) -> Request; 4] = [
        |who, own| who.request("GET", own, ""),
        |who, _| who.request("GET", "/nowhere", ""),
        |who, _| who.import_request("add", "ignore", "row", CSV),
        |who, _| stream(who, "new=add&existing=&mode=row", CSV.as_bytes()),
    ];
    for request in requests {
        let before = checks();
        for _ in 0..5 {
            let known = forger.send(&request(&forger, &own));
            assert_eq!(known.problem(401, "signature_mismatch")["lines"].as_array().unwrap().len(), 5);
            stranger.send(&request(&stranger, &own)).problem(401, "unknown_token");
        }
        let after = checks();
        assert_eq!([after[0] - before[0], after[1] - before[1]], [5.0, 5.0]);
    }
    // Nor is there another word for a stranger whose clock is off, or whose body does not come.
    let long_ago = |who: &Client| who.request_at("2020-01-01T00:00:00Z", "GET", "/x", "");
    forger.send(&long_ago(&forger)).problem(401, "clock_off");
    stranger.send(&long_ago(&stranger)).problem(401, "unknown_token");
    // A large body of a stranger is not kept, so it takes no room from others; and whoever signs it right is still nobody.
    let before = checks();
    stranger.send(&stranger.import_request("add", "ignore", "row", &"x".repeat(100_000))).problem(401, "unknown_token");
    assert_eq!(checks(), before);
    assert!(client.contacts().is_empty());
    goes_on(&service, &client);
}

fn bombs_in_every_wrapping_are_refused(home: Home) {
    let service = home.with("ROSTER_STREAM_BYTES_MAX", "100000000").serve();
    let client = service.client();
    let blank = vec![b'\n'; 1 << 20];
    let (member, frame) = (gzip(&blank), zstd(&blank));
    let send = |coding: &str, body: &[u8]| {
        client.send(&stream(&client, "new=add&existing=&mode=row", body).header("content-encoding", coding))
    };
    // Many members, and many frames, are one file: what they come to together is what counts.
    for (coding, body) in [("gzip", member.repeat(80)), ("zstd", frame.repeat(80))] {
        assert_eq!(send(coding, &body).problem(413, "too_large")["ratioLimit"], 200, "{coding}");
    }
    // Wrapped twice it is unwrapped once, and what is left is no file of contacts.
    let twice = client.completed(&send("gzip", &gzip(&member)).location());
    assert_eq!((counts(&twice).1, &twice["message"]["notApplied"]), (false, &"file_error".into()));
    // Cut off, followed by something else, or something else altogether: signed as it is, and told so.
    let empty_skippable = [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];
    for (coding, body) in [
        ("gzip", member[..member.len() / 2].to_vec()),
        ("gzip", [&member[..], b"more"].concat()),
        ("gzip", CSV.as_bytes().to_vec()),
        ("zstd", frame[..frame.len() / 2].to_vec()),
        ("zstd", [&frame[..], b"more"].concat()),
        ("zstd", empty_skippable.to_vec()),
        ("zstd", CSV.as_bytes().to_vec()),
    ] {
        send(coding, &body).problem(400, "bad_content_encoding");
    }
    // JSON is taken as it is only, however it is compressed; and nobody unpacks it to find out.
    let json = client.import_request("add", "", "row", CSV);
    let packed = client.request("POST", &json.path, gzip(&json.body)).header("content-encoding", "gzip");
    client.send(&packed).problem(415, "unsupported_media_type");
    let two = stream(&client, "new=add&existing=&mode=row", &gzip(&member)).header("content-encoding", "gzip, gzip");
    client.send(&two).problem(415, "unsupported_media_type");
    assert_eq!(client.contacts().len(), 0);
    goes_on(&service, &client);
}

fn json_that_is_made_to_cost_is_refused(home: Home) {
    let service = home.serve();
    let client = service.client();
    let path = client.participants_path();
    let whole = crate::harness::body(&client.program, "add", "", "row", CSV);
    let beside = |member: &str| whole.replacen('{', &format!("{{{member},"), 1).into_bytes();
    for (what, body, code) in [
        ("arrays", "[".repeat(500_000).into_bytes(), "bad_json"),
        ("objects", "{\"a\":".repeat(200_000).into_bytes(), "bad_json"),
        (
            "depth in a member that nobody reads",
            beside(&format!("\"x\":{}{}", "[".repeat(10_000), "]".repeat(10_000))),
            "bad_json",
        ),
        ("a million values", beside(&format!("\"x\":[{}0]", "0,".repeat(1_000_001))), "bad_json"),
        ("the same name twice", beside("\"program\":\"x\""), "duplicate_key"),
        ("the same name twice, deep down", beside("\"x\":[{\"a\":{\"b\":1,\"\\u0062\":2}}]"), "duplicate_key"),
        ("half a surrogate pair", beside("\"x\":\"\\ud800\""), "bad_json"),
        ("bytes that are no UTF-8", [&b"{\"x\":\"\xff\xfe\","[..], &whole.as_bytes()[1..]].concat(), "bad_json"),
        ("a mark before it", [b"\xef\xbb\xbf", whole.as_bytes()].concat(), "bad_json"),
        ("something behind it", [whole.as_bytes(), b"{}"].concat(), "bad_json"),
        ("a NUL", [whole.as_bytes(), b"\0"].concat(), "bad_json"),
        ("a comment", beside("/* */\"x\":1"), "bad_json"),
        ("a number of a million digits", beside(&format!("\"x\":{}", "9".repeat(1_000_000))), "bad_json"),
        ("NaN", beside("\"x\":NaN"), "bad_json"),
        ("nothing", Vec::new(), "bad_json"),
    ] {
        let answer = client.send(&client.request("POST", &path, body));
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &code.into()), "{what}: {problem:#}");
        assert!(answer.body.len() < 20_000 && text(&problem["detail"]).len() > 10, "{what}: {problem:#}");
    }
    // Long names and numbers that nobody asks for do no harm.
    for member in [format!("\"{}\":1", "x".repeat(5_000_000)), format!("\"x\":0.{}", "9".repeat(1_000_000))] {
        let answer = client.send(&client.request("POST", &path, beside(&member)));
        client.completed(&answer.location());
    }
    goes_on(&service, &client);
}

fn files_that_are_made_to_cost_are_told(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file_error = |csv: &str, code: &str| {
        let status = client.import("add", "ignore", "row", csv);
        assert_eq!((counts(&status), &status["message"]["notApplied"]), (([0; 6], false), &"file_error".into()));
        assert_eq!(text(&status["message"]["errors"][0]["code"]), code, "{status:#}");
        assert!(status.to_string().len() < 20_000);
        text(&status["message"]["errors"][0]["message"])
    };
    // A quote that is never closed: where it opens, also behind 5 MB and a hundred thousand rows.
    let message = file_error("customer_id,phone\na,2395745030\nb,\"2395745031\n", "bad_quotes");
    assert!(message.contains('3'), "{message}");
    let rows = "x,2395745030\n".repeat(100_000);
    let message = file_error(&format!("customer_id,phone\n{rows}b,\"{}", "y\n".repeat(2_500_000)), "bad_quotes");
    assert!(message.contains("100002"), "{message}");
    file_error(&format!("customer_id,\"{}", "phone,".repeat(1_000_000)), "bad_quotes");
    // Quotes without an end to them are text of one cell.
    let status = client.import(
        "add",
        "ignore",
        "row",
        &format!("customer_id,phone,note\nq,2395745030,\"{}\"\n", "\"\"".repeat(1_000_000)),
    );
    assert_eq!(counts(&status), ([1, 1, 0, 0, 0, 0], true));
    assert_eq!(field(&client.contact("q"), "note").len(), 1_000_000);
    // NULs: in a name of a column, in an id, and nothing else.
    file_error("customer_id,phone\0\na,2395745030\n", "unrecognized_variable");
    let status = client.import("add", "ignore", "row", "customer_id,phone\n\0,2395745031\na\0b,2395745032\n");
    assert_eq!(errors(&status), ["2 customer_id invalid_value", "3 customer_id invalid_value"]);
    file_error(&"\0".repeat(100_000), "unrecognized_variable");
    // Two marks of byte order: one is a mark, the other a character of the first column's name.
    let message = file_error("\u{feff}\u{feff}customer_id,phone\n", "unrecognized_variable");
    assert!(message.contains("customer_id"), "{message}");
    // All kinds of line ends in one file, and none at its end.
    let status = client.import(
        "add",
        "ignore",
        "row",
        "customer_id,phone\rm1,2125550131\nm2,2125550132\r\nm3,2125550133\n\r\r\n\nm4,2125550134",
    );
    assert_eq!(counts(&status), ([4, 4, 0, 0, 0, 0], true));
    // Bytes that are no UTF-8, sent as they are: their place, wherever it is.
    for (bytes, offset) in [
        (&b"customer_id,phone\n\xff,2395745030\n"[..], 18),
        (b"customer_id,phone\na,\xed\xa0\x80\n", 20),
        (b"customer_id,phone\na,\xc3", 20),
    ] {
        let status = client.completed(&client.send(&stream(&client, "new=add&existing=&mode=row", bytes)).location());
        assert_eq!(errors(&status), ["file - bad_encoding"]);
        assert_eq!(
            text(&status["message"]["errors"][0]["message"]),
            format!("The file is not UTF-8: see the byte at offset {offset}")
        );
    }
    // Rows without number, of nothing: counted, and told as far as a report goes.
    let status = client.import("add", "ignore", "row", &format!("customer_id,phone\n{}", ",\n".repeat(300_000)));
    assert_eq!(
        (counts(&status), &status["message"]["errorCount"]),
        (([300_000, 0, 0, 0, 0, 300_000], false), &300_000.into())
    );
    goes_on(&service, &client);
}

/// What looks like another's id is not that id: neither in a file nor in a path nor in a header.
fn look_alikes_are_others(home: Home) {
    let service = home.serve();
    let client = service.client();
    // Latin, Cyrillic, full width, with a zero-width joiner, decomposed and composed, another case.
    let ids = ["A1", "\u{410}1", "\u{ff21}\u{ff11}", "A\u{200d}1", "A1\u{200b}", "e\u{301}1", "\u{e9}1", "a1"];
    let rows: String = ids.iter().zip(2..).map(|(id, last)| format!("{id},212555012{last}\n")).collect();
    let status = client.import("add", "ignore", "row", &format!("customer_id,phone\n{rows}"));
    assert_eq!(counts(&status), ([8, 8, 0, 0, 0, 0], true));
    for id in ids {
        assert_eq!(client.contact(id)["customerId"], id);
    }
    // An id of the service is hexadecimal digits of ASCII and nothing else; a phone's digits may be of any script.
    let contact = client.contact("A1");
    let (id, phone) = (text(&contact["id"]), text(&contact["phone"]));
    let full_width = |text: &str| -> String {
        text.chars()
            .map(|sign| if sign.is_ascii_digit() { char::from_u32(u32::from(sign) + 0xfee0).unwrap() } else { sign })
            .collect()
    };
    let forged = [
        full_width(&id),
        format!("{id}\u{200b}"),
        id.replace('-', "\u{2010}"),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
    ];
    for forged in &forged {
        let status = client.import("ignore", "first_name", "row", &format!("signalvine_id,first_name\n{forged},Eve\n"));
        assert_eq!(errors(&status), ["2 signalvine_id invalid_value"], "{forged}");
    }
    assert_eq!(field(&client.contact("A1"), "first_name"), "");
    let status = client.import("add", "ignore", "row", &format!("phone\n{}\n", full_width(&phone)));
    assert_eq!(counts(&status), ([1, 0, 0, 0, 1, 0], true), "it is the phone that is there: {status:#}");
    // A column's name, an option and a program are what they are, sign by sign.
    let status = client.import("add", "ignore", "row", "customer_id,\u{440}hone\na,2395745030\n");
    assert_eq!(errors(&status)[0], "file \u{440}hone unrecognized_variable");
    let body = crate::harness::body(&client.program, "\u{430}dd", "", "row", CSV);
    client.send(&client.request("POST", &client.participants_path(), body)).problem(400, "unknown_value");
    for forged in
        [full_width(&client.program), format!("{}%E2%80%8B", client.program), client.program.replace('-', "%E2%80%90")]
    {
        let encoded: String = forged
            .bytes()
            .map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect();
        client.get(&format!("/v1/programs/{encoded}")).problem(404, "not_found");
    }
    assert_eq!(client.get(&format!("/v1/programs/{}", client.program.to_uppercase())).status, 200);
    // A token in another case, or with something unseen, is another token; whoever spells it so signs with no secret of it.
    for token in [
        client.account.token.to_uppercase(),
        format!("{}\u{a0}", client.account.token),
        format!("{} ", client.account.token),
    ] {
        let mut forger = client.clone();
        forger.account.token = token.clone();
        let answer = forger.try_send(&forger.request("GET", "/v1/programs/x", ""));
        let Ok(answer) = answer else { continue };
        assert_eq!(answer.status, 401, "{token:?}: {}", answer.body);
    }
    goes_on(&service, &client);
}
