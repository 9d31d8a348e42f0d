//! How much a token and an account may ask for: who asks for more is told when to come again, and nothing of it has happened. (That the time
//! to wait is true, to the second: `http`'s own tests, which set the clock.)

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::harness::{Answer, Client, Home, Request, body, counts, text};
use crate::scopes::another;
use crate::streaming::stream;
use crate::watching::{metrics, value, watch_address};

scenes!(
    every_path_heeds_the_limit_and_nothing_that_is_refused_counts,
    what_was_accepted_is_told_whatever_came_since,
    accounts_and_tokens_count_apart,
    an_account_with_too_much_waiting_waits,
    files_that_come_in_at_the_same_time_are_limited,
    a_node_has_room_for_so_much_and_then_says_so,
    who_sends_too_slowly_is_told_and_makes_room,
);

const CSV: &str = "customer_id,phone\nA,2395745030\n";

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

/// A refusal by this limit, with the time to wait.
fn turned_away(answer: &Answer, limit: &str, words: &str) -> u64 {
    let problem = answer.problem(429, "busy");
    assert_eq!(problem["limit"], limit);
    assert!(text(&problem["detail"]).contains(words), "{problem:#}");
    retry_after(answer)
}

fn every_path_heeds_the_limit_and_nothing_that_is_refused_counts(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    // One row fails, so that there is a file of them.
    let status =
        client.send(&client.import_request("add", "ignore", "row", "phone,credits\n2395745030,1\n4054685465,x\n"));
    let location = status.location();
    assert_eq!(counts(&client.completed(&location)), ([2, 1, 0, 0, 0, 1], true));
    let contact = text(&client.contacts()[0]["id"]);
    assert_eq!(service.terminate(), Some(0));
    service.home.environment.push(("ROSTER_TOKEN_REQUESTS_PER_MINUTE_MAX", "1".to_owned()));
    service.start();
    client.address = service.address.clone();

    let (account, program) = (client.account.id.clone(), client.program.clone());
    let import = body(&program, "add", "ignore", "row", CSV);
    let paths = [
        ("GET", format!("/v1/programs/{program}")),
        ("GET", format!("/v1/programs/{program}?type=schema")),
        ("GET", format!("/v1/programs/{program}/participants")),
        ("GET", format!("/v2/programs/{program}/participants.csv")),
        ("GET", format!("/v2/programs/{program}/commands")),
        ("GET", location.clone()),
        ("GET", format!("{location}/errors.csv")),
        ("GET", format!("/v1/participants/{contact}")),
        ("GET", format!("/v1/accounts/{account}/programs")),
        ("GET", format!("/v1/accounts/{account}/participants")),
        ("POST", format!("/v2/programs/{program}/participants")),
    ];
    for (method, path) in &paths {
        let fresh = another(&service.home, &client, &[]);
        let ask = || fresh.send(&fresh.request(method, path, if *method == "POST" { &*import } else { "" }));
        // What is refused for another reason is told so, before and after, and does not count.
        for round in ["before", "after"] {
            refusals(&fresh, &program, path);
            match round {
                "before" => assert!(ask().status < 300, "{method} {path}"),
                _ => {
                    let wait = turned_away(&ask(), "token_requests", "This token may send 1 requests in a minute");
                    assert!((1..=60).contains(&wait), "{wait}");
                }
            }
        }
    }
    // Cancelling changes something, so it is looked at by itself: 409 does not count, and after something that does it is 429.
    let fresh = another(&service.home, &client, &[]);
    let cancel = || fresh.send(&fresh.request("DELETE", &location, ""));
    for _ in 0..2 {
        cancel().problem(409, "already_complete");
    }
    assert_eq!(fresh.get(&location).status, 200);
    turned_away(&cancel(), "token_requests", "This token may send 1");
    // All that was accepted is the one that was let in.
    assert_eq!(service.terminate(), Some(0));
    service.home.environment.pop();
    service.start();
    client.address = service.address.clone();
    assert_eq!(client.get(&format!("/v2/programs/{program}/commands")).json()["total"], 2);
}

/// Requests with something else wrong: they are told that, whatever the limits say.
fn refusals(client: &Client, program: &str, path: &str) {
    let mut forger = client.clone();
    forger.account.secret = "another".to_owned();
    forger.get(path.split('?').next().unwrap()).problem(401, "signature_mismatch");
    client.get("/v1/nothing").problem(404, "not_found");
    client.get(&format!("/v1/programs/{program}?type=what")).problem(400, "bad_parameter");
    let post = |body: &str| client.request("POST", &client.participants_path(), body);
    client.send(&post("{}").without("content-type")).problem(415, "unsupported_media_type");
    client.send(&post("{}")).problem(400, "missing_member");
    client.send(&stream(client, "new=what", CSV.as_bytes())).problem(400, "unknown_value");
}

fn what_was_accepted_is_told_whatever_came_since(home: Home) {
    let service = home.with("ROSTER_TOKEN_REQUESTS_PER_MINUTE_MAX", "2").with("ROSTER_QUEUE_MAX", "2");
    let (home, hold) = service.held_at("import.before_commit");
    let service = home.serve();
    let client = service.client();
    let json = client.import_request("add", "ignore", "row", CSV);
    let file = stream(&client, "new=add&existing=&mode=row", CSV.as_bytes());
    let first = [client.send(&json).location(), client.send(&file).location()];
    // Both the token's requests and the program's queue are used up.
    let third = client.import_request("add", "ignore", "row", CSV);
    turned_away(&client.send(&third), "token_requests", "2 requests in a minute");
    for _ in 0..3 {
        for (request, location) in [&json, &file].into_iter().zip(&first) {
            let again = client.send(request);
            assert_eq!((again.header("idempotency-replayed"), &again.location()), (Some("true"), location));
        }
    }
    let other = another(&service.home, &client, &[]);
    let fourth = other.import_request("add", "ignore", "row", CSV).header("idempotency-key", "K");
    assert!(turned_away(&other.send(&fourth), "program_queue", "full: 2 imports wait") > 0);
    let file = stream(&other, "new=add&existing=&mode=row", CSV.as_bytes());
    turned_away(&other.send(&file), "program_queue", "full: 2 imports wait");
    std::fs::remove_file(hold).unwrap();
    // A token is not asked how often it sends what was turned away, and the same bytes are a first time.
    other.completed(&first[1]);
    let answer = other.send(&fourth);
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, None));
}

fn accounts_and_tokens_count_apart(home: Home) {
    let service = home
        .with("ROSTER_TOKEN_REQUESTS_PER_MINUTE_MAX", "2")
        .with("ROSTER_ACCOUNT_REQUESTS_PER_MINUTE_MAX", "3")
        .with("ROSTER_METRICS_LISTEN", "127.0.0.1:0")
        .with("NO_COLOR", "1")
        .serve();
    let client = service.client();
    let path = format!("/v1/programs/{}", client.program);
    let before = metrics(&watch_address(&service));
    assert_eq!([client.get(&path).status, client.get(&path).status], [200, 200]);
    turned_away(&client.get(&path), "token_requests", "This token may send 2 requests in a minute");
    let beside = another(&service.home, &client, &[]);
    assert_eq!(beside.get(&path).status, 200, "what was refused did not count for the account");
    let wait = turned_away(&beside.get(&path), "account_requests", "This account may send 3 requests in a minute");
    assert!((1..=20).contains(&wait), "{wait}");
    // Another account is not held up, and nobody can use up what is its own.
    let other = service.client();
    let own = format!("/v1/programs/{}", other.program);
    let mut forger = other.clone();
    forger.account.secret = "another".to_owned();
    for _ in 0..5 {
        forger.get(&own).problem(401, "signature_mismatch");
    }
    assert_eq!([other.get(&own).status, other.get(&own).status], [200, 200]);
    let after = metrics(&watch_address(&service));
    for (name, expected) in [("token_requests", 1.0), ("account_requests", 1.0), ("program_queue", 0.0)] {
        let name = format!("roster_turned_away_total{{limit=\"{name}\"}}");
        assert_eq!((value(&before, &name), value(&after, &name)), (0.0, expected), "{name}\n{after}");
    }
    assert!(!after.contains(&client.account.id) && !after.contains(&client.account.token), "{after}");
}

fn an_account_with_too_much_waiting_waits(home: Home) {
    let (home, hold) = home.with("ROSTER_ACCOUNT_QUEUE_MAX", "1").held_at("import.before_commit");
    let service = home.serve();
    let client = service.client();
    let beside = service.client_of(&client.account, &service.home.new_program(&client.account, "Other"));
    let location = client.send(&client.import_request("add", "ignore", "row", CSV)).location();
    let requests = [
        beside.import_request("add", "ignore", "row", CSV),
        stream(&beside, "new=add&existing=&mode=row", CSV.as_bytes()),
    ];
    for request in &requests {
        let wait = turned_away(&beside.send(request), "account_queue", "full: 1 imports wait, in all its programs");
        assert!(wait > 0);
    }
    // Another account's are taken.
    let other = service.client();
    let taken = other.send(&other.import_request("add", "ignore", "row", CSV)).location();
    std::fs::remove_file(hold).unwrap();
    client.completed(&location);
    other.completed(&taken);
    // The same bytes are taken now: what was turned away is not remembered.
    for request in &requests {
        let answer = beside.send(request);
        assert_eq!(answer.header("idempotency-replayed"), None);
        beside.completed(&answer.location());
    }
    assert_eq!((client.contacts().len(), beside.contacts().len()), (1, 1));
}

/// Sends the headers of a file and half of it, and comes back when the service has begun to read it.
pub(crate) fn begin(client: &Client, request: &Request) -> TcpStream {
    let mut socket = TcpStream::connect(&client.address).unwrap();
    let mut head = format!("POST {}{} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n", request.path, request.query);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    socket.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(socket.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    socket.write_all(&request.body[..request.body.len() / 2]).unwrap();
    socket
}

fn files_that_come_in_at_the_same_time_are_limited(home: Home) {
    let service = home.with("ROSTER_TOKEN_UPLOADS_MAX", "1").with("ROSTER_ACCOUNT_UPLOADS_MAX", "2").serve();
    let client = service.client();
    let file = |who: &Client, at: u32| {
        stream(who, "new=add&existing=&mode=row", format!("customer_id,phone\nA{at},2395745030\n").as_bytes())
    };
    let slow = file(&client, 1);
    let mut coming = begin(&client, &slow);
    let wait =
        turned_away(&client.send(&file(&client, 2)), "token_uploads", "This token may send 1 imports at the same");
    assert!(wait > 0);
    let json = client.import_request("add", "ignore", "row", CSV);
    turned_away(&client.send(&json), "token_uploads", "This token may send 1 imports at the same");
    // It may do all else, and another token has a place of its own; a third one has none in the account.
    assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).status, 200);
    let (second, third) = (another(&service.home, &client, &[]), another(&service.home, &client, &[]));
    let left = begin(&second, &file(&second, 3));
    turned_away(&third.send(&file(&third, 4)), "account_uploads", "This account may send 2 imports at the same");
    let other = service.client();
    other.completed(&other.send(&file(&other, 5)).location());
    // Its end frees its place: of the one that is complete with the answer; of the one that is left, sooner or later.
    coming.write_all(&slow.body[slow.body.len() / 2..]).unwrap();
    let mut line = String::new();
    let mut answer = BufReader::new(coming);
    while !line.contains("202") {
        line.clear();
        assert!(answer.read_line(&mut line).unwrap() > 0, "no answer");
    }
    let next = file(&client, 6);
    client.completed(&client.send(&next).location());
    drop(left);
    let again = file(&second, 7);
    let location =
        std::iter::repeat_with(|| second.send(&again)).find(|answer| answer.status == 202).unwrap().location();
    second.completed(&location);
    assert_eq!(client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"], 3);
}

/// Room for one file of the stream form, and for one large body in memory: the next ones wait five seconds, then are told to come again.
fn a_node_has_room_for_so_much_and_then_says_so(home: Home) {
    let service = home
        .with("ROSTER_STREAMS_MAX", "1")
        .with("ROSTER_BODY_BYTES_MAX", "200000")
        .with("ROSTER_BODY_BYTES_IN_FLIGHT_MAX", "200000")
        .serve();
    let (client, other) = (service.client(), service.client());
    let file = |who: &Client, at: u32| {
        stream(who, "new=add&existing=&mode=row", format!("customer_id,phone\nA{at},2395745030\n").as_bytes())
    };
    let large = |who: &Client, id: &str| {
        let csv = format!("customer_id,phone,note\n{id},2395745030,{}\n", "x".repeat(150_000));
        who.import_request("add", "ignore", "row", &csv)
    };
    let (slow_file, slow_body) = (file(&client, 1), large(&client, "B"));
    let (mut first, mut second) = (begin(&client, &slow_file), begin(&client, &slow_body));
    // It is the node's room: another account's are turned away as well. Both at once, as each waits.
    let turned_away = |request: &Request, limit: &str, words: &str| {
        let answer = other.send(request);
        let problem = answer.problem(503, "busy");
        assert_eq!((&problem["limit"], retry_after(&answer)), (&limit.into(), 5));
        assert!(text(&problem["detail"]).contains(words), "{problem:#}");
    };
    let (file_beside, body_beside) = (file(&other, 2), large(&other, "C"));
    std::thread::scope(|scope| {
        scope.spawn(|| turned_away(&file_beside, "streams", "Too many files at the same moment; 1 come in"));
        scope.spawn(|| turned_away(&body_beside, "bodies", "there is room for 200000 bytes"));
        // What is small needs no room.
        other.completed(&other.send(&other.import_request("add", "ignore", "row", CSV)).location());
    });
    for (socket, request) in [(&mut first, &slow_file), (&mut second, &slow_body)] {
        socket.write_all(&request.body[request.body.len() / 2..]).unwrap();
        assert_eq!(status_of(socket), 202);
    }
    // There is room again, for the same bytes: nothing is remembered of what was turned away.
    for request in [&file_beside, &body_beside] {
        let answer = other.send(request);
        assert_eq!(answer.header("idempotency-replayed"), None);
        other.completed(&answer.location());
    }
    assert_eq!(other.get(&format!("/v2/programs/{}/commands", other.program)).json()["total"], 3);
}

/// The status of the answer on a connection that was begun.
fn status_of(socket: &TcpStream) -> u16 {
    let mut answer = BufReader::new(socket);
    let mut line = String::new();
    // What is left of `100 Continue` goes before.
    while !line.starts_with("HTTP/1.1") {
        line.clear();
        assert!(answer.read_line(&mut line).unwrap() > 0, "no answer");
    }
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A second is all that a pause may last here; half of each body comes, and no more.
fn who_sends_too_slowly_is_told_and_makes_room(home: Home) {
    let service = home.with("ROSTER_STREAMS_MAX", "1").with("ROSTER_BODY_PAUSE_SECONDS_MAX", "1").serve();
    let client = service.client();
    let file = stream(&client, "new=add&existing=&mode=row", CSV.as_bytes());
    let json = client.import_request("add", "ignore", "row", CSV);
    // A file that drips, a byte whenever there is an answer to something else, is as slow as one that stands still.
    let mut dripping = begin(&client, &stream(&client, "new=add&existing=&mode=row", &[b'x'; 300_000]));
    dripping.set_nonblocking(true).unwrap();
    let mut dripped = 0;
    let answered = loop {
        dripped += dripping.write(b"x").unwrap_or(0);
        assert!(dripped < 20_000, "so many seconds are more than one");
        assert_eq!(client.get(&format!("/v1/programs/{}", client.program)).status, 200);
        let mut line = [0; 64];
        if let Ok(count) = std::io::Read::read(&mut dripping, &mut line)
            && let answer = String::from_utf8_lossy(&line[..count]).into_owned()
            && answer.contains("HTTP/1.1 ")
        {
            break answer;
        }
    };
    assert!(answered.contains("HTTP/1.1 408 ") && dripped > 1, "{dripped} bytes, then: {answered}");
    for request in [&file, &json] {
        let socket = begin(&client, request);
        assert_eq!(status_of(&socket), 408);
        // Sent again as it is, it is taken, and is a first time: there is room, and nothing is remembered.
        let answer = client.send(request);
        assert_eq!(answer.header("idempotency-replayed"), None);
        client.completed(&answer.location());
    }
    assert_eq!(client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"], 2);
}
