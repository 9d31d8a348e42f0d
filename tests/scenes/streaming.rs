//! The stream form: a file as it is, the options in the query, the body signed by its digest.

use std::io::Write;

use expect_test::expect;
use roster::signature::{print_digest, sign};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::crashing::dies_and_is_asked_again;
use crate::harness::{Client, Home, Request, body_with, contacts_csv, counts, errors, field, now, text};

scenes!(
    the_result_is_that_of_the_json_form,
    what_was_not_signed_is_not_queued,
    every_fault_of_a_query_is_told,
    refusals_of_files_come_in_the_contracts_order,
    a_file_over_the_limit_is_answered,
    a_bomb_is_refused,
    a_file_sent_again_is_the_same_import,
    a_file_is_tried_by_query,
    a_file_is_read_as_it_is_written,
    dies_before_a_file_is_accepted,
    dies_after_a_file_is_accepted,
);

const OPTIONS: &str = "new=add&existing=first_name,last_name&mode=row";

/// A signed file.
fn stream_at(client: &Client, timestamp: &str, query: &str, file: &[u8]) -> Request {
    let digest = print_digest(&Sha256::digest(file).into());
    let path = client.participants_path();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let (token, secret) = (&client.account.token, client.account.secret.as_bytes());
    let signature = sign(token, secret, "POST", &format!("{path}{query}"), digest.as_bytes(), timestamp);
    Request { method: "POST", path, query, headers: Vec::new(), body: file.to_vec() }
        .header("content-type", "text/csv")
        .header("content-digest", &digest)
        .header("authorization", &format!("SignalVine {token}:{signature}"))
        .header("signalvine-date", timestamp)
}

pub(crate) fn stream(client: &Client, query: &str, file: &[u8]) -> Request {
    stream_at(client, &now(), query, file)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// How many commands the program has.
fn commands(client: &Client) -> u64 {
    client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"].as_u64().unwrap()
}

fn the_result_is_that_of_the_json_form(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    // More than a piece, with rows that fail.
    let file =
        format!("{}bad,nope,Ada,,,,,,,\nc0000001,,Zoë,,yes,,,,x,\n\"never\" mind,,,,,,,,,\n", contacts_csv(0, 13_000));
    assert!(file.len() > 1 << 20);
    let of = |name: &str| service.client_of(&account, &service.home.new_program(&account, name));
    let json = of("JSON");
    let mut expected = json.import("add", "first_name,last_name", "row", &file)["message"].clone();
    assert_eq!(expected["rows"]["failed"], 3, "{:#}", expected["errors"]);
    let forms: [(&str, Option<&str>, Vec<u8>); 4] = [
        ("plain", None, file.clone().into_bytes()),
        ("gzip", Some("gzip"), gzip(file.as_bytes())),
        ("members", Some("x-gzip"), [gzip(&file.as_bytes()[..700_001]), gzip(&file.as_bytes()[700_001..])].concat()),
        ("zstd", Some("zstd"), zstd(file.as_bytes())),
    ];
    for (name, coding, bytes) in forms {
        let client = of(name);
        let mut request = stream(&client, OPTIONS, &bytes);
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        let status = client.completed(&client.send(&request).location());
        let mut message = status["message"].clone();
        without_dialect(&mut message);
        without_dialect(&mut expected);
        assert_eq!(message, expected, "{name}");
        let errors_csv = |client: &Client| {
            let list = client.get(&format!("/v2/programs/{}/commands", client.program)).json();
            client.get(&format!("{}/errors.csv", text(&list["items"][0]["location"]))).body
        };
        assert_eq!(errors_csv(&client), errors_csv(&json), "{name}");
    }
    // Small ones, and an empty one, too.
    let client = of("small");
    for (coding, bytes) in [("identity", b"phone\n2395745030\n".to_vec()), ("gzip", gzip(b"phone\n2395745031\n"))] {
        let request = stream(&client, "new=add&existing=&mode=tx", &bytes).header("content-encoding", coding);
        let answer = client.send(&request.header("prefer", "wait=30"));
        assert_eq!((answer.status, answer.header("preference-applied")), (202, Some("wait=30")));
        assert_eq!(counts(&answer.json()), ([1, 1, 0, 0, 0, 0], true));
    }
    let status = client.completed(&client.send(&stream(&client, "new=add&existing=&mode=tx", b"")).location());
    assert_eq!(errors(&status), ["file - no_header"]);
    let wrong = b"phone,note\n2395745032,\xff\n";
    let status = client.completed(&client.send(&stream(&client, "new=add&existing=&mode=row", wrong)).location());
    assert_eq!(errors(&status), ["file - bad_encoding"]);
    assert!(text(&status["message"]["errors"][0]["message"]).contains("22"), "{status:#}");
    assert_eq!(client.contacts().len(), 2);
}

fn without_dialect(message: &mut Value) {
    message.as_object_mut().unwrap().remove("dialect");
}

fn what_was_not_signed_is_not_queued(home: Home) {
    let service = home.serve();
    let client = service.client();
    let file = contacts_csv(0, 1_000).into_bytes();
    let request = || stream(&client, OPTIONS, &file);
    // Other bytes: as many, fewer, none.
    for body in [[&b"X"[..], &file[1..]].concat(), file[..file.len() - 1].to_vec(), Vec::new()] {
        let changed = Request { body, ..request() };
        client.send(&changed).problem(400, "digest_mismatch");
    }
    // Corrupt on the way, the compression tells nothing of it: the digest does.
    let packed = gzip(&file);
    let corrupt = Request {
        body: [&packed[..200], &b"corrupt"[..], &packed[207..]].concat(),
        ..stream(&client, OPTIONS, &packed).header("content-encoding", "gzip")
    };
    client.send(&corrupt).problem(400, "digest_mismatch");
    // Sent so by the client.
    for (coding, body) in [
        ("gzip", packed[..packed.len() - 9].to_vec()),
        ("gzip", [&packed[..], b"rubbish"].concat()),
        ("gzip", file.clone()),
        ("gzip", Vec::new()),
        ("zstd", file.clone()),
        ("zstd", zstd(&file)[..5_000].to_vec()),
    ] {
        let request = stream(&client, OPTIONS, &body).header("content-encoding", coding);
        client.send(&request).problem(400, "bad_content_encoding");
    }
    client.send(&request().without("content-digest")).problem(400, "digest_missing");
    for digest in ["sha-256=", "sha-512=:AAAA:", "sha-256=:AAAA:"] {
        let request = request().without("content-digest").header("content-digest", digest);
        client.send(&request).problem(400, "digest_missing");
    }
    // Another digest, another query, no query: other lines than were signed.
    let other = print_digest(&Sha256::digest(b"other").into());
    let differing = |request: &Request| {
        let problem = client.send(request).problem(401, "signature_mismatch");
        let own = roster::signature::explain(
            &client.account.token,
            "POST",
            &format!("{}?{OPTIONS}", request.path),
            print_digest(&Sha256::digest(&file).into()).as_bytes(),
            &request.headers.iter().find(|(name, _)| *name == "signalvine-date").unwrap().1,
        );
        let seen = problem["lines"].as_array().unwrap().clone();
        let differ = own.iter().zip(seen).filter(|(own, seen)| own.sha256 != text(&seen["sha256"]));
        differ.map(|(own, _)| own.name).collect::<Vec<_>>()
    };
    assert_eq!(differing(&request().without("content-digest").header("content-digest", &other)), ["body"]);
    assert_eq!(differing(&Request { query: format!("?{OPTIONS}&dryRun=true"), ..request() }), ["path"]);
    assert_eq!(differing(&Request { query: String::new(), ..request() }), ["path"]);
    assert_eq!((commands(&client), client.contacts().len()), (0, 0));
    assert_eq!(client.send(&request()).status, 202);
}

fn every_fault_of_a_query_is_told(home: Home) {
    let service = home.serve();
    let client = service.client();
    let faults = |query: &str| {
        let answer = client.send(&stream(&client, query, b"phone\n"));
        assert_eq!(answer.status, 400, "{}", answer.body);
        let problem = answer.json();
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(problem["code"], errors[0]["code"]);
        assert!(errors.iter().all(|error| error.get("pointer").is_none()));
        let lines = errors.iter().map(|error| format!("{} {}", text(&error["parameter"]), text(&error["code"])));
        lines.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        new missing_member
        existing missing_member
        mode missing_member"#]]
    .assert_eq(&faults(""));
    expect![[r#"
        dryrun unknown_member
        new unknown_value
        mode missing_member
        absent unknown_value
        maxNew unknown_value"#]]
    .assert_eq(&faults("new=all&existing=&absent=remove&dryrun=true&maxNew=many"));
    for (left_out, query) in
        [("new", "existing=&mode=tx"), ("existing", "new=add&mode=tx"), ("mode", "new=add&existing=ignore")]
    {
        assert_eq!(faults(query), format!("{left_out} missing_member"));
    }
    assert_eq!(commands(&client), 0);
    let all = "new=ignore&existing=ignore&mode=tx&absent=ignore&dryRun=false&maxNew=0&maxUpdated=0&maxErrors=0";
    let status = client.completed(&client.send(&stream(&client, all, b"phone\n2395745030\n")).location());
    assert_eq!(counts(&status), ([1, 0, 0, 0, 1, 0], true));
}

fn refusals_of_files_come_in_the_contracts_order(home: Home) {
    let service = home.with("ROSTER_STREAM_BYTES_MAX", "20000").serve();
    let client = service.client();
    let foreign = Client { program: "0198c9a2-7e5b-7d50-8000-000000000001".to_owned(), ..client.clone() };
    // Each request has everything wrong that comes later in the order, too.
    let large = stream(&foreign, "", &[b'x'; 30_000]).without("authorization");
    assert_eq!(client.send(&large).problem(413, "too_large")["limitBytes"], 20_000);
    let unsigned = stream(&foreign, "", b"x").without("authorization").without("content-digest");
    client.send(&unsigned).problem(401, "signature_missing");
    let brotli = |client: &Client| stream(client, "", b"x").header("content-encoding", "br");
    client.send(&brotli(&foreign)).problem(404, "not_found");
    client.send(&brotli(&client)).problem(415, "unsupported_media_type");
    client
        .send(&stream(&client, "", b"x").header("content-encoding", "gzip, gzip"))
        .problem(415, "unsupported_media_type");
    let charset = |name: &str| {
        let content_type = format!("text/csv; charset={name}");
        stream(&client, "", b"x").without("content-type").header("content-type", &content_type)
    };
    client.send(&charset("klingon")).problem(415, "unsupported_media_type");
    for known in ["UTF-8", "\"utf-8\""] {
        client.send(&charset(known)).problem(400, "missing_member");
    }
    let other_bytes = Request { body: b"y".to_vec(), ..stream(&client, "", b"x") };
    client.send(&other_bytes).problem(400, "missing_member");
    assert_eq!(commands(&client), 0);
    // The JSON form has its own limit, and no use for a digest.
    let json = client.import_request("add", "", "row", &contacts_csv(0, 400));
    assert!(json.body.len() > 20_000);
    assert_eq!(client.send(&json).status, 202);
}

fn a_file_over_the_limit_is_answered(home: Home) {
    let service = home.with("ROSTER_STREAM_BYTES_MAX", "2000000").serve();
    let client = service.client();
    let file = contacts_csv(0, 30_000).into_bytes();
    assert!(file.len() > 2_000_000);
    let problem = client.send(&stream(&client, OPTIONS, &file)).problem(413, "too_large");
    assert_eq!(problem["limitBytes"], 2_000_000);
    // Within the limit as sent, and not when it is decompressed.
    for (coding, body) in [("gzip", gzip(&file)), ("zstd", zstd(&file))] {
        assert!(body.len() < 2_000_000);
        let request = stream(&client, OPTIONS, &body).header("content-encoding", coding);
        assert_eq!(client.send(&request).problem(413, "too_large")["limitBytes"], 2_000_000);
    }
    assert_eq!(commands(&client), 0);
    // In chunks, nothing says beforehand how much will come.
    let request = stream(&client, OPTIONS, &file);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let uri = format!("http://{}{}{}", client.address, request.path, request.query);
    let mut builder = ureq::http::Request::builder().method("POST").uri(uri);
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    let mut source = file.as_slice();
    let response = agent.run(builder.body(ureq::SendBody::from_reader(&mut source)).unwrap()).unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(commands(&client), 0);
}

fn a_bomb_is_refused(home: Home) {
    let service = home.serve();
    let client = service.client();
    let blank = vec![b'\n'; 80 << 20];
    for (coding, body) in [("gzip", gzip(&blank)), ("zstd", zstd(&blank))] {
        let request = stream(&client, OPTIONS, &body).header("content-encoding", coding);
        assert_eq!(client.send(&request).problem(413, "too_large")["ratioLimit"], 200);
    }
    // A window that would take a gigabyte of memory.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(b"phone\n").unwrap();
    encoder.flush().unwrap();
    let wide = encoder.finish().unwrap();
    let request = stream(&client, OPTIONS, &wide).header("content-encoding", "zstd");
    client.send(&request).problem(400, "bad_content_encoding");
    assert_eq!((commands(&client), client.contacts().len()), (0, 0));
}

fn a_file_sent_again_is_the_same_import(home: Home) {
    let mut service = home.serve();
    let mut client = service.client();
    let file = contacts_csv(0, 2_000).into_bytes();
    let (at, packed) = (now(), zstd(&file));
    let request = |query: &str| stream_at(&client, &at, query, &packed).header("content-encoding", "zstd");
    let first = client.send(&request(OPTIONS));
    assert!(first.header("idempotency-replayed").is_none());
    let again = client.send(&request(OPTIONS));
    assert_eq!((again.location(), again.header("idempotency-replayed")), (first.location(), Some("true")));
    // Blind to case, one signature is that of two queries.
    let query = OPTIONS.replace("last_name", "LAST_NAME");
    client.send(&request(&query)).problem(422, "signature_reused");
    // By key, signed anew.
    let keyed = |file: &[u8]| stream(&client, OPTIONS, file).header("idempotency-key", "K");
    let by_key = client.send(&keyed(b"phone,first_name,last_name\n2395745030,,\n")).location();
    assert_eq!(client.send(&keyed(b"phone,first_name,last_name\n2395745030,,\n")).location(), by_key);
    client.send(&keyed(b"phone,first_name,last_name\n2395745031,,\n")).problem(422, "idempotency_key_reused");
    // The same options in another order are the same; others, or another charset, are another import.
    let asked = |query: &str, media_type: &str| {
        let request = stream(&client, query, b"phone,first_name,last_name\n2395745030,,\n").without("content-type");
        client.send(&request.header("content-type", media_type).header("idempotency-key", "K"))
    };
    assert_eq!(asked("mode=row&existing=first_name,last_name&new=add", "text/csv").location(), by_key);
    asked(&format!("{OPTIONS}&dryRun=true"), "text/csv").problem(422, "idempotency_key_reused");
    asked(OPTIONS, "text/csv; charset=windows-1252").problem(422, "idempotency_key_reused");
    assert_eq!(commands(&client), 2);
    let again_later = request(OPTIONS);
    service.kill();
    service.start();
    client.address = service.address.clone();
    let later = client.send(&again_later);
    assert_eq!((later.location(), later.header("idempotency-replayed")), (first.location(), Some("true")));
    assert_eq!(counts(&client.completed(&first.location())), ([2_000, 2_000, 0, 0, 0, 0], true));
    client.completed(&by_key);
    assert_eq!(client.contacts().len(), 2_001);
}

fn a_file_is_tried_by_query(home: Home) {
    let service = home.serve();
    let client = service.client();
    client.import("add", "", "row", "customer_id,phone,first_name\na,2395745030,Ada\n");
    let file = "customer_id,phone,first_name\na,2395745030,Bea\nb,2395745031,Cy\n";
    let query = "new=add&existing=first_name&mode=row&dryRun=true&maxNew=0";
    let status = client.completed(&client.send(&stream(&client, query, file.as_bytes())).location());
    let options = serde_json::json!({ "existing": ["first_name"], "dryRun": true, "limits": { "maxNew": 0 } });
    let json = client.request("POST", &client.participants_path(), body_with(&client.program, options, file));
    let mut message = status["message"].clone();
    without_dialect(&mut message);
    assert_eq!(message, client.completed(&client.send(&json).location())["message"]);
    assert_eq!(
        (counts(&status), errors(&status)),
        (([2, 1, 1, 0, 0, 0], false), vec!["file - limit_exceeded".to_owned()])
    );
    assert_eq!(client.contacts().len(), 1);
}

fn a_file_is_read_as_it_is_written(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    let rows = "customer_id;phone;first_name;credits\na;2395745030;Zoë €;1\nb;2395745031;\"x;y\";many, or few\n";
    let utf16 = |text: &str, to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let latin: Vec<u8> = rows.chars().map(|at| if at == '€' { 0x80 } else { u8::try_from(at).unwrap() }).collect();
    let with_bom = format!("\u{feff}{rows}");
    for (charset, delimiter, found, bytes) in [
        ("", ';', "utf-8", rows.as_bytes().to_vec()),
        ("", '|', "utf-8", rows.replace(';', "|").into_bytes()),
        ("; charset=UTF-16", '\t', "utf-16be", utf16(&with_bom.replace(';', "\t"), u16::to_be_bytes)),
        ("", ';', "utf-16le", utf16(&with_bom, u16::to_le_bytes)),
        ("; header=present; charset=\"Windows-1252\"", ';', "windows-1252", latin.clone()),
        ("; charset=iso-8859-1", ';', "windows-1252", latin.clone()),
    ] {
        let client = service.client_of(&account, &service.home.new_program(&account, "Fall"));
        let request = stream(&client, "new=add&existing=&mode=row", &bytes)
            .without("content-type")
            .header("content-type", &format!("text/csv{charset}"));
        let location = client.send(&request).location();
        let status = client.completed(&location);
        assert_eq!(
            status["message"]["dialect"],
            serde_json::json!({ "delimiter": delimiter.to_string(), "charset": found }),
            "{charset}"
        );
        assert_eq!(
            (counts(&status), errors(&status)),
            (([2, 1, 0, 0, 0, 1], true), vec!["3 credits invalid_value".to_owned()])
        );
        assert_eq!(field(&client.contact("a"), "first_name"), "Zoë €");
        // What is given back is UTF-8 with commas, so that either form takes it.
        let failed = client.get(&format!("{location}/errors.csv")).body;
        let (header, row) = failed.trim_end().split_once('\n').unwrap();
        assert_eq!(header.trim_end(), "customer_id,phone,first_name,credits,_row,_errors");
        let cell = format!("x{delimiter}y");
        assert!(row.starts_with(&format!("b,2395745031,{cell},\"many, or few\",3,")), "{row}");
        let corrected = failed.replace("\"many, or few\"", "3");
        let json = client.import("add", "", "row", &corrected);
        assert_eq!((counts(&json), json["message"].get("dialect")), (([1, 1, 0, 0, 0, 0], true), None));
    }
    // Bytes of another charset: told with their place in the file, also where that was compressed.
    let client = service.client_of(&account, &service.home.new_program(&account, "Fall"));
    let request = stream(&client, "new=add&existing=&mode=row", &gzip(&latin)).header("content-encoding", "gzip");
    let status = client.completed(&client.send(&request).location());
    assert_eq!((counts(&status), errors(&status)), (([0; 6], false), vec!["file - bad_encoding".to_owned()]));
    let offset = rows.find('ë').unwrap();
    let message = text(&status["message"]["errors"][0]["message"]);
    assert_eq!(message, format!("The file is not UTF-8: see the byte at offset {offset}"));
    assert!(client.contacts().is_empty());
}

fn dies_at(home: Home, point: &str) {
    let request = |client: &Client| stream(client, OPTIONS, contacts_csv(0, 6_000).as_bytes());
    let (_service, client) = dies_and_is_asked_again(home, point, request);
    assert_eq!(commands(&client), 1);
}

fn dies_before_a_file_is_accepted(home: Home) {
    dies_at(home, "accept.before_commit");
}

fn dies_after_a_file_is_accepted(home: Home) {
    dies_at(home, "accept.after_commit");
}
