//! Signatures over the wire. The vectors of every accepted form are in `signature`'s own tests; here is what a client sees.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::harness::{Home, now, text};

scenes!(every_refusal_has_its_code, clients_forms_are_accepted, the_lines_of_a_mismatch_are_told);

fn every_refusal_has_its_code(home: Home) {
    let service = home.serve();
    let client = service.client();
    let get = || client.request("GET", "/bogus", "");
    client.send(&get().without("authorization")).problem(401, "signature_missing");
    client.send(&get().without("signalvine-date")).problem(401, "signature_missing");
    for header in ["Basic abc", "SignalVine", "SignalVine tokenonly", "SignalVine t:not-base64!", "SignalVine t:YWJj"] {
        client
            .send(&get().without("authorization").header("authorization", header))
            .problem(401, "signature_malformed");
    }
    client
        .send(&get().without("signalvine-date").header("signalvine-date", "yesterday"))
        .problem(401, "signature_malformed");
    let mut stranger = client.clone();
    stranger.account.token = "0".repeat(32);
    stranger.get("/bogus").problem(401, "unknown_token");
    stranger = client.clone();
    stranger.account.secret = "wrong".to_owned();
    stranger.get("/bogus").problem(401, "signature_mismatch");

    let at = |seconds: i64| format!("{:.0}", Timestamp::now() + SignedDuration::from_secs(seconds));
    let problem = client.send(&client.request_at(&at(-1_000), "GET", "/bogus", "")).problem(401, "clock_off");
    assert!((-1_010..=-1_000).contains(&problem["seconds"].as_i64().unwrap()), "{problem}");
    client.send(&client.request_at(&at(1_000), "GET", "/bogus", "")).problem(401, "clock_off");
    client.send(&client.request_at("1969-07-20T20:17:00+00:00", "GET", "/bogus", "")).problem(401, "clock_off");
    client.send(&client.request_at(&at(-800), "GET", "/bogus", "")).problem(404, "not_found");
    client.send(&client.request_at(&at(800), "GET", "/bogus", "")).problem(404, "not_found");
}

fn clients_forms_are_accepted(home: Home) {
    let service = home.serve();
    let client = service.client();
    let now = Timestamp::now();
    let civil = now.to_string();
    let (whole, _) = civil.split_once('.').unwrap_or((civil.trim_end_matches('Z'), ""));
    for timestamp in [
        format!("{whole}.000Z"),
        format!("{whole}.123456+00:00"),
        format!("{whole}Z"),
        format!("{whole}.1234567Z"),
        format!("{}z", whole.to_lowercase()),
        whole.to_owned(),
    ] {
        client.send(&client.request_at(&timestamp, "GET", "/bogus", "")).problem(404, "not_found");
    }
    let request = client.request("GET", "/bogus", "").without("content-type");
    let authorization = request.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.clone();
    let forms = [
        authorization.replace("SignalVine", "signalvine"),
        authorization.replace("SignalVine", "SIGNALVINE"),
        authorization.trim_end_matches('=').to_owned(),
        authorization.replace('+', "-").replace('/', "_"),
        format!("{authorization}  "),
    ];
    for form in forms {
        client.send(&request.clone().without("authorization").header("authorization", &form)).problem(404, "not_found");
    }
}

fn the_lines_of_a_mismatch_are_told(home: Home) {
    let service = home.serve();
    let client = service.client();
    let timestamp = now();
    let mut request = client.request_at(&timestamp, "POST", "/V2/Bogus", "{\"A\": \"Ä\"}");
    request.body = b"{\"A\": \"\xc3\x84!\"}".to_vec();
    let problem = client.send(&request).problem(401, "signature_mismatch");
    let token = client.account.token.clone();
    let expected = [
        ("token", token.as_str()),
        ("method", "post"),
        ("path", "/v2/bogus"),
        ("body", "{\"a\": \"ä!\"}"),
        ("timestamp", &timestamp.to_lowercase()),
    ];
    let lines = problem["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 5);
    for (line, (name, value)) in lines.iter().zip(expected) {
        let digest: String = Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (text(&line["name"]).as_str(), text(&line["sha256"]), line["bytes"].as_u64()),
            (name, digest, Some(value.len() as u64))
        );
    }
    let secret = client.account.secret.clone();
    assert!(!problem.to_string().contains(&secret));
}
