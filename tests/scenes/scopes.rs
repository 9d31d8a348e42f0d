//! What a token may do: look only, or see some programs only. Every path of the API, with every kind of token; and tokens whose secret
//! is changed.

use expect_test::expect;

use crate::harness::{Account, Client, Home, Request, body, counts, text};

scenes!(
    every_path_keeps_to_what_the_token_may,
    what_a_limited_token_writes_is_its_own_programs,
    lists_show_what_the_token_reaches,
    a_refused_write_is_not_remembered,
    a_rotated_token_is_signed_with_either_secret_for_a_while,
    operators_see_what_a_token_may,
);

/// A further token of the client's account, with these flags.
pub(crate) fn another(home: &Home, client: &Client, flags: &[&str]) -> Client {
    let made = home.operate(&[&["token", "create", "--account", &client.account.id, "--name", "more"], flags].concat());
    let account = Account { id: client.account.id.clone(), token: text(&made["token"]), secret: text(&made["secret"]) };
    Client { account, ..client.clone() }
}

fn every_path_keeps_to_what_the_token_may(home: Home) {
    let service = home.serve();
    let client = service.client();
    let other = service.home.new_program(&client.account, "Other");
    // One row fails, so that there is a file of them.
    let csv = "customer_id,phone,credits\nA,2395745030,1\nB,4054685465,many\n";
    let location = client.send(&client.import_request("add", "ignore", "row", csv)).location();
    assert_eq!(counts(&client.completed(&location)), ([2, 1, 0, 0, 0, 1], true));
    let contact = text(&client.contacts()[0]["id"]);
    let (account, program) = (client.account.id.clone(), client.program.clone());
    let import = body(&program, "add", "ignore", "row", "customer_id,phone\nC,7165419523\n");

    let kinds = [
        another(&service.home, &client, &[]),
        another(&service.home, &client, &["--read-only"]),
        another(&service.home, &client, &["--program", &program, "--program", &other]),
        another(&service.home, &client, &["--program", &other]),
        another(&service.home, &client, &["--read-only", "--program", &other]),
    ];
    let paths = [
        ("GET", "a program", format!("/v1/programs/{program}")),
        ("GET", "its fields", format!("/v1/programs/{program}?type=schema")),
        ("GET", "its contacts", format!("/v1/programs/{program}/participants?type=full")),
        ("GET", "its export", format!("/v2/programs/{program}/participants.csv")),
        ("GET", "its commands", format!("/v2/programs/{program}/commands")),
        ("GET", "a command", location.clone()),
        ("GET", "its failed rows", format!("{location}/errors.csv")),
        ("GET", "a contact", format!("/v1/participants/{contact}")),
        ("GET", "the account's programs", format!("/v1/accounts/{account}/programs")),
        ("GET", "the account's contacts", format!("/v1/accounts/{account}/participants")),
        ("GET", "nothing", "/v1/nothing".to_owned()),
        ("DELETE", "a command", location.clone()),
        ("DELETE", "a program", format!("/v1/programs/{program}")),
        ("POST", "nothing", "/v1/nothing".to_owned()),
        ("POST", "an import", format!("/v2/programs/{program}/participants")),
    ];
    let mut table = String::from("                            all  look both other look at other\n");
    for (method, what, path) in &paths {
        let ask = |kind: &Client| {
            let sent = if *method == "POST" { import.clone() } else { String::new() };
            let answer = kind.send(&kind.request(method, path, sent));
            if answer.status == 403 {
                answer.problem(403, "forbidden");
            }
            answer.status.to_string()
        };
        // Those that may not come first: what they are refused has not happened when the others ask.
        let statuses: Vec<String> = kinds.iter().rev().map(ask).collect();
        let line = statuses.iter().rev().cloned().collect::<Vec<_>>().join("  ");
        table.push_str(&format!("{:<28}{line}\n", format!("{method} {what}")));
    }
    expect![[r#"
                                    all  look both other look at other
        GET a program               200  200  200  404  404
        GET its fields              200  200  200  404  404
        GET its contacts            200  200  200  404  404
        GET its export              200  200  200  404  404
        GET its commands            200  200  200  404  404
        GET a command               200  200  200  404  404
        GET its failed rows         200  200  200  404  404
        GET a contact               200  200  200  404  404
        GET the account's programs  200  200  200  200  200
        GET the account's contacts  200  200  200  200  200
        GET nothing                 404  404  404  404  404
        DELETE a command            409  403  409  404  403
        DELETE a program            405  403  405  405  403
        POST nothing                404  403  404  404  403
        POST an import              202  403  202  404  403
    "#]]
    .assert_eq(&table);
    // The two that might have imported, and nobody else.
    let commands = client.get(&format!("/v2/programs/{program}/commands")).json();
    assert_eq!(commands["total"], 3);
}

fn what_a_limited_token_writes_is_its_own_programs(home: Home) {
    let service = home.serve();
    let client = service.client();
    let other = service.home.new_program(&client.account, "Other");
    let limited = another(&service.home, &client, &["--program", &client.program]);
    let status = limited.import("add", "ignore", "row", "customer_id,phone\nA,2395745030\n");
    assert_eq!((counts(&status).0[1], text(&status["from"]).as_str()), (1, "more"));
    let elsewhere = Client { program: other.clone(), ..limited };
    let refused = elsewhere.send(&elsewhere.import_request("add", "ignore", "row", "phone\n2395745030\n"));
    // In the same words as for a program that is not there at all.
    let nowhere = Client { program: client.account.id.clone(), ..elsewhere.clone() };
    let unknown = nowhere.send(&nowhere.import_request("add", "ignore", "row", "phone\n2395745030\n"));
    let (refused, unknown) = (refused.problem(404, "not_found"), unknown.problem(404, "not_found"));
    assert_eq!((&refused["detail"], &refused["remedy"]), (&unknown["detail"], &unknown["remedy"]));
    assert!(service.client_of(&client.account, &other).contacts().is_empty());
}

fn lists_show_what_the_token_reaches(home: Home) {
    let service = home.serve();
    let client = service.client();
    let other = service.home.new_program(&client.account, "Other");
    let beside = service.client_of(&client.account, &other);
    client.import("add", "ignore", "row", "customer_id,phone\nA,2395745030\nB,4054685465\n");
    beside.import("add", "ignore", "row", "customer_id,phone\nC,2395745030\n");
    let account = &client.account.id;
    let names = |who: &Client, path: &str, member: &str| {
        let page = who.get(&format!("/v1/accounts/{account}/{path}")).json();
        let items = page["items"].as_array().unwrap().iter().map(|item| text(&item[member])).collect::<Vec<_>>();
        (page["total"].as_u64().unwrap(), items)
    };
    let limited = another(&service.home, &client, &["--program", &other]);
    assert_eq!(names(&client, "programs", "name").1, ["Fall", "Other"]);
    assert_eq!(names(&limited, "programs", "name"), (1, vec!["Other".to_owned()]));
    assert_eq!(names(&client, "participants", "customerId").1, ["A", "B", "C"]);
    assert_eq!(names(&limited, "participants", "customerId"), (1, vec!["C".to_owned()]));
    assert_eq!(names(&limited, "participants?type=full&offset=1", "customerId"), (1, Vec::new()));
    // A program that is made later is there for tokens of the whole account.
    service.home.new_program(&client.account, "Later");
    assert_eq!(names(&client, "programs", "name").0, 3);
    assert_eq!(names(&limited, "programs", "name").0, 1);
}

/// What a token may not do is no first time: another token's same bytes are a new request.
fn a_refused_write_is_not_remembered(home: Home) {
    let service = home.serve();
    let client = service.client();
    let looking = another(&service.home, &client, &["--read-only"]);
    let send = |who: &Client, request: &Request| who.send(&request.clone().header("idempotency-key", "one"));
    let request = looking.import_request("add", "ignore", "row", "customer_id,phone\nA,2395745030\n");
    for _ in 0..2 {
        send(&looking, &request).problem(403, "forbidden");
    }
    assert!(client.contacts().is_empty());
    let request = client.import_request("add", "ignore", "row", "customer_id,phone\nA,2395745030\n");
    let answer = send(&client, &request);
    assert_eq!(answer.header("idempotency-replayed"), None);
    client.completed(&answer.location());
}

/// (That an overlap ends by the clock: `http`'s own tests, which set it.)
fn a_rotated_token_is_signed_with_either_secret_for_a_while(home: Home) {
    let service = home.serve();
    let client = service.client();
    let rotate = |overlap: &str| {
        let made = service.home.operate(&["token", "rotate", &client.account.token, "--overlap", overlap]);
        assert_eq!((&made["name"], text(&made["token"])), (&"nightly".into(), client.account.token.clone()));
        let account = Account { secret: text(&made["secret"]), ..client.account.clone() };
        (Client { account, ..client.clone() }, made["oldSecretUntil"].clone())
    };
    let request = client.import_request("add", "ignore", "row", "customer_id,phone\nA,2395745030\n");
    let location = client.send(&request).location();
    client.completed(&location);

    let (second, until) = rotate("1h");
    assert!(until.is_string());
    assert_eq!((client.get(&location).status, second.get(&location).status), (200, 200));
    // What was sent before the rotation is the same request after it.
    let again = client.send(&request);
    assert_eq!((again.header("idempotency-replayed"), again.location()), (Some("true"), location.clone()));

    // Once more within the overlap: only the newest two hold.
    let (third, _) = rotate("90");
    client.get(&location).problem(401, "signature_mismatch");
    assert_eq!((second.get(&location).status, third.get(&location).status), (200, 200));
    // At once.
    let (fourth, until) = rotate("0");
    assert!(until.is_null());
    third.get(&location).problem(401, "signature_mismatch");
    second.get(&location).problem(401, "signature_mismatch");
    assert_eq!(fourth.get(&location).status, 200);

    let (fifth, _) = rotate("1h");
    let token = client.account.token.clone();
    assert!(service.home.command(&["token", "revoke", &token]).status().unwrap().success());
    fifth.get(&location).problem(401, "unknown_token");
    fourth.get(&location).problem(401, "unknown_token");
    assert_eq!(service.home.command(&["token", "rotate", &token]).output().unwrap().status.code(), Some(2));
}

fn operators_see_what_a_token_may(home: Home) {
    let account = home.new_account("College");
    let program = home.new_program(&account, "Fall");
    let foreign = home.new_program(&home.new_account("Elsewhere"), "Theirs");
    let refused = home
        .command(&["token", "create", "--account", &account.id, "--name", "x", "--program", &program])
        .args(["--program", &foreign])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains(&format!("has no program {foreign}")), "{words}");
    home.operate(&["token", "create", "--account", &account.id, "--name", "desk", "--read-only"]);
    let desk = home
        .command(&["token", "create", "--account", &account.id, "--name", "fall", "--json"])
        .env("ROSTER_TOKEN_PROGRAMS", &program)
        .env("ROSTER_TOKEN_READ_ONLY", "true")
        .output()
        .unwrap();
    assert!(desk.status.success());
    let list = |json: &[&str]| {
        let output = home.command(&[&["token", "list", "--account", &account.id], json].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: Vec<serde_json::Value> =
        list(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = listed
        .iter()
        .map(|token| (text(&token["name"]), token["readOnly"].clone(), token["programIds"].clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("nightly".to_owned(), false.into(), serde_json::Value::Null),
            ("desk".to_owned(), true.into(), serde_json::Value::Null),
            ("fall".to_owned(), true.into(), vec![program.clone()].into()),
        ]
    );
    assert!(listed.iter().all(|token| token["lastUsed"].is_null()), "nobody has used them");
    let table = list(&[]);
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("nightly").contains("read, write  all"), "{table}");
    assert!(line("fall").contains(&format!("read         {program}")), "{table}");
}
