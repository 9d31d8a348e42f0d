//! What strangers send: each gets a clear answer, and the service goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::harness::{Client, Home, counts, errors};

scenes!(requests_that_are_none, a_body_too_large_is_answered_whole, files_that_are_none, bodies_that_end_early);

fn goes_on(client: &Client) {
    let status = client.import("add", "", "row", "customer_id,phone\ngood,2395745030\n");
    assert!(counts(&status).1, "the service goes on");
}

/// Sends bytes and reads whatever comes back until the other side closes.
fn raw(client: &Client, bytes: &[u8], close: bool) -> String {
    let mut stream = TcpStream::connect(&client.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    if close {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn requests_that_are_none(home: Home) {
    let service = home.serve();
    let client = service.client();
    assert!(
        raw(&client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", true).starts_with("HTTP/1.1 400")
    );
    assert!(raw(&client, b"NONSENSE\r\n\r\n", true).starts_with("HTTP/1.1 400"));
    let bare = raw(
        &client,
        b"POST /v2/programs/x/participants HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        false,
    );
    assert!(bare.starts_with("HTTP/1.1 401") && bare.contains("signature_missing"), "{bare}");
    let garbage =
        client.request("POST", &client.participants_path(), (0u8..=255).cycle().take(5_000).collect::<Vec<u8>>());
    client.send(&garbage).problem(400, "bad_json");
    let deep = client.request("POST", &client.participants_path(), "[".repeat(100_000));
    client.send(&deep).problem(400, "bad_json");
    goes_on(&client);
}

/// The client writes everything before it looks for an answer, and still sees the 413.
fn a_body_too_large_is_answered_whole(home: Home) {
    let service = home.with("ROSTER_BODY_BYTES_MAX", "1000000").serve();
    let client = service.client();
    let head = |length: &str| {
        format!("POST {} HTTP/1.1\r\nHost: x\r\n{length}\r\nConnection: close\r\n", client.participants_path())
    };
    let body = "x".repeat(5_000_000);
    let answer = raw(&client, format!("{}\r\n{body}", head("Content-Length: 5000000")).as_bytes(), false);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
    // In chunks, nothing says beforehand how much will come; the request is signed, and cut off at the limit.
    let request = client.request("POST", &client.participants_path(), body.clone());
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let chunked = format!("{}{headers}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", head("Transfer-Encoding: chunked"), body.len());
    let answer = raw(&client, chunked.as_bytes(), false);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
    client.send(&request).problem(413, "too_large");
    // Some say that they will wait for a word before they send, and do not.
    let answer = raw(
        &client,
        format!("{}Expect: 100-continue\r\n\r\n{body}", head("Content-Length: 5000000")).as_bytes(),
        false,
    );
    assert!(answer.contains("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
    goes_on(&client);
}

fn files_that_are_none(home: Home) {
    let service = home.serve();
    let client = service.client();
    // Random bytes, as far as JSON can carry them.
    let mut state = 1u64;
    let random: String = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from_u32(u32::try_from(state >> 44).unwrap() % 0xd800).unwrap_or('?')
        })
        .collect();
    let status = client.import("add", "ignore", "row", &random);
    assert!(!counts(&status).1 && status["message"]["notApplied"] == "file_error");
    // 10,000 columns, nearly all unknown: each is told, as far as a report goes.
    let header: Vec<String> = (0..10_000).map(|column| format!("column_{column}")).collect();
    let status =
        client.import("add", "ignore", "row", &format!("phone,{}\n1{}\n", header.join(","), ",".repeat(10_000)));
    assert_eq!(status["message"]["errorCount"], 10_000);
    assert_eq!(errors(&status)[0], "file column_0 unrecognized_variable");
    let ignored: Vec<String> = (0..10_000).map(|column| format!("_column_{column}")).collect();
    let file = format!("phone,{}\n2395745030{}\n", ignored.join(","), ",".repeat(10_000));
    assert_eq!(counts(&client.import("add", "ignore", "row", &file)), ([1, 1, 0, 0, 0, 0], true));
    // A header of commas alone, and a row of them: counted, not kept.
    let status = client.import("add", "ignore", "row", &",".repeat(3_000_000));
    assert_eq!((&status["message"]["errorCount"], errors(&status).len()), (&3_000_002.into(), 1_000));
    let status =
        client.import("add", "ignore", "row", &format!("phone,note\n{}\n2395745031,x\n", ",".repeat(3_000_000)));
    assert_eq!((counts(&status), errors(&status)), (([2, 1, 0, 0, 0, 1], true), vec!["2 - cell_count".to_owned()]));
    assert_eq!(status["message"]["errors"][0]["message"], "The row has 3000001 cells, the header has 2 cells");
    // One cell of 5 MB: kept where it may be text, told in part where it may not.
    let cell = "é".repeat(2_500_000);
    let status =
        client.import("add", "ignore", "row", &format!("customer_id,phone,note\nbig,4054685465,{cell}\nbad,{cell},\n"));
    assert_eq!(counts(&status), ([2, 1, 0, 0, 0, 1], true));
    assert_eq!(crate::harness::field(&client.contact("big"), "note").len(), 5_000_000);
    assert!(status.to_string().len() < 20_000);
    // A byte order mark, all line ends, and a NUL.
    let status = client.import(
        "add",
        "ignore",
        "row",
        "\u{feff}customer_id,phone,note\r\na,7165419523,x\rb,2125550123,\0\nc,2125550124,\"\r\n\"",
    );
    assert_eq!(
        (counts(&status), errors(&status)),
        (([3, 2, 0, 0, 0, 1], true), vec!["3 note invalid_value".to_owned()])
    );
    goes_on(&client);
}

fn bodies_that_end_early(home: Home) {
    let service = home.serve();
    let client = service.client();
    let request = client.import_request("add", "ignore", "row", "phone\n4054685465\n");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n", request.path, request.body.len());
    let half = &request.body[..request.body.len() / 2];
    let _ = raw(&client, &[head.as_bytes(), half].concat(), true);
    // A whole request whose JSON is cut off, signed as it is.
    client.send(&client.request("POST", &client.participants_path(), half)).problem(400, "bad_json");
    assert!(client.contacts().is_empty(), "half a request does nothing");
    goes_on(&client);
}
