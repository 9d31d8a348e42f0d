//! Who may do what: every operation of the API's document, asked by everybody who may not and by who may. The table that comes of it stands in
//! docs/API.md. And what is another's answers as what is not there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::documenting::document;
use crate::harness::{Account, Client, Home, Request, Service, body, counts, text};
use crate::scopes::another;
use crate::streaming::stream;

scenes!(every_path_answers_everybody_as_the_page_says, what_is_anothers_is_not_there);

const OPTIONS: &str = "new=add&existing=ignore&mode=row";
const CSV: &str = "customer_id,phone\nC,7165419523\n";

/// An operation of the document, with one of the bodies that it takes.
struct Operation {
    method: &'static str,
    template: String,
    media_type: Option<String>,
    is_signed: bool,
    /// The answers that are written down.
    statuses: Vec<u16>,
}

impl Operation {
    fn name(&self) -> String {
        let form = match self.media_type.as_deref() {
            None => "",
            Some("application/json") => " (JSON)",
            Some("text/csv") => " (file)",
            Some(other) => panic!("no body is made up for {other}"),
        };
        format!("{} {}{form}", self.method, self.template)
    }

    /// About these things, signed by somebody.
    fn request(&self, who: &Client, about: &Things) -> Request {
        let path = about.in_path(&self.template);
        let whose = Client { program: about.program.clone(), ..who.clone() };
        match self.media_type.as_deref() {
            None => whose.request(self.method, &path, ""),
            Some("application/json") => {
                whose.request(self.method, &path, body(&about.program, "add", "ignore", "row", CSV))
            }
            Some(_) => {
                assert_eq!(path, whose.participants_path());
                stream(&whose, OPTIONS, CSV.as_bytes())
            }
        }
    }
}

/// Every operation that the document has. The document and the router are made of one table, so that none can be left out here.
fn operations(service: &Service) -> Vec<Operation> {
    let document = document(service);
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let method = match method.as_str() {
                "get" => "GET",
                "post" => "POST",
                "delete" => "DELETE",
                other => panic!("nobody has thought of {other} here"),
            };
            let statuses = operation["responses"].as_object().unwrap().keys();
            let statuses: Vec<u16> = statuses.map(|status| status.parse().unwrap()).collect();
            let bodies = operation["requestBody"]["content"].as_object();
            let bodies: Vec<Option<String>> =
                bodies.map_or(vec![None], |bodies| bodies.keys().cloned().map(Some).collect());
            operations.extend(bodies.into_iter().map(|media_type| Operation {
                method,
                template: template.clone(),
                media_type,
                is_signed: operation["security"].is_null(),
                statuses: statuses.clone(),
            }));
        }
    }
    operations
}

/// What a path may name.
#[derive(Clone)]
struct Things {
    account: String,
    program: String,
    command: String,
    contact: String,
}

impl Things {
    fn in_path(&self, template: &str) -> String {
        let path = template
            .replace("{account}", &self.account)
            .replace("{program}", &self.program)
            .replace("{command}", &self.command)
            .replace("{participant}", &self.contact);
        assert!(!path.contains('{'), "nobody has thought of what {template} names");
        path
    }

    fn ids(&self) -> [&String; 4] {
        let Things { account, program, command, contact } = self;
        [account, program, command, contact]
    }

    /// Things of which there are none, with ids that look as these.
    fn that_are_not_there(&self) -> Things {
        let other = |id: &String| {
            let end = if id.ends_with("00ff") { "00fe" } else { "00ff" };
            format!("{}{end}", &id[..id.len() - 4])
        };
        let [account, program, command, contact] = self.ids().map(other);
        Things { account, program, command, contact }
    }

    /// An answer without what must differ: the ids that were asked about, the path with them, and the request's own id.
    fn without_ids(&self, mut text: String) -> String {
        for id in self.ids() {
            text = text.replace(id, "<id>");
        }
        text
    }
}

/// A program with a completed import of which a row failed, and with a contact.
fn fill(client: &Client) -> Things {
    let csv = "customer_id,phone,credits\nA,2395745030,1\nB,4054685465,many\n";
    let location = client.send(&client.import_request("add", "ignore", "row", csv)).location();
    assert_eq!(counts(&client.completed(&location)), ([2, 1, 0, 0, 0, 1], true));
    let contact = text(&client.contacts()[0]["id"]);
    let (account, program) = (client.account.id.clone(), client.program.clone());
    Things { account, program, command: id_of(&location), contact }
}

fn id_of(location: &str) -> String {
    location.rsplit('/').next().unwrap().to_owned()
}

/// An import that runs, and cannot end before the file is gone, and one behind it that waits.
fn fill_queue(client: &Client, hold: &PathBuf) -> String {
    std::fs::write(hold, "").unwrap();
    let waiting = |phone: &str| {
        client.send(&client.import_request("add", "ignore", "row", &format!("phone\n{phone}\n"))).location()
    };
    let running = waiting("2125550123");
    while client.get(&running).json()["progress"]["state"] != "running" {}
    id_of(&waiting("2125550124"))
}

/// All that can be seen of a program and its account.
fn seen(client: &Client) -> String {
    let Client { account, program, .. } = client;
    let paths = [
        format!("/v1/accounts/{}/programs?active=all", account.id),
        format!("/v1/programs/{program}"),
        format!("/v1/programs/{program}?type=schema"),
        format!("/v1/programs/{program}/participants?type=full&active=all&count=1000"),
        format!("/v2/programs/{program}/commands?count=100"),
    ];
    paths.map(|path| client.get(&path).body).join("\n")
}

/// The statuses of every operation for each caller, those who may not before the one who may.
fn every_path_answers_everybody_as_the_page_says(home: Home) {
    let (home, hold) = home.held_at("import.begun");
    std::fs::remove_file(&hold).unwrap();
    let service = home.serve();
    let (client, stranger) = (service.client(), service.client());
    let other = service.home.new_program(&client.account, "Other");
    let complete = fill(&client);
    fill(&stranger);
    let queued = Things { command: fill_queue(&client, &hold), ..complete.clone() };

    let revoked = another(&service.home, &client, &[]);
    assert!(service.home.command(&["token", "revoke", &revoked.account.token]).status().unwrap().success());
    let made_up = Account { token: "00112233445566778899aabbccddeeff".to_owned(), ..client.account.clone() };
    let callers = [
        ("none", client.clone()),
        ("unknown", Client { account: made_up, ..client.clone() }),
        ("revoked", revoked),
        ("other account", stranger.clone()),
        ("other program", another(&service.home, &client, &["--program", &other])),
        ("read-only", another(&service.home, &client, &["--read-only"])),
        ("full", client.clone()),
    ];
    let operations = operations(&service);
    assert!(operations.len() >= 16, "{}", operations.len());
    let all_seen = || [seen(&client), seen(&Client { program: other.clone(), ..client.clone() }), seen(&stranger)];
    let before = all_seen();
    let beside = beside(&operations);
    let mut rows = vec![Vec::new(); operations.len() + 2];
    for (caller, who) in &callers {
        if *caller == "full" {
            assert_eq!(all_seen(), before, "what was refused has changed something");
        }
        for (operation, row) in operations.iter().zip(&mut rows) {
            // What is cancelled is what waits: it would be possible.
            let about = if operation.method == "DELETE" { &queued } else { &complete };
            row.push(ask(operation, caller, who, about));
        }
        let statuses: Vec<u16> = beside.iter().map(|other| ask(other, caller, who, &complete)).collect();
        assert!(statuses[1..].iter().all(|status| *status == statuses[1]), "{caller}: {statuses:?}");
        rows[operations.len()].push(statuses[0]);
        rows[operations.len() + 1].push(statuses[1]);
    }
    let names = operations.iter().map(Operation::name);
    let names = names.chain(["any other path", "any other method of a path under /v1 and /v2"].map(str::to_owned));
    let table = table(&callers.each_ref().map(|(caller, _)| *caller), &names.zip(rows).collect::<Vec<_>>());
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md")).unwrap();
    assert!(page.contains(&format!("```text\n{table}```\n")), "docs/API.md has another table than\n{table}");

    // What was allowed has happened: two imports more, and the one that waited is cancelled.
    std::fs::remove_file(&hold).unwrap();
    let commands = client.get(&format!("/v2/programs/{}/commands", client.program)).json();
    assert_eq!(commands["total"], 5);
    for command in commands["items"].as_array().unwrap() {
        let status = client.completed(&text(&command["location"]));
        let is_cancelled = status["message"]["notApplied"] == "cancelled";
        assert_eq!(is_cancelled, text(&status["commandId"]) == queued.command, "{status:#}");
    }
    assert_eq!(client.contacts().len(), 3);
}

/// What the document does not have: a path that there is not, and another method of each signed one.
fn beside(operations: &[Operation]) -> Vec<Operation> {
    let beside = |method, template: &str, statuses: &[u16]| Operation {
        method,
        template: template.to_owned(),
        media_type: None,
        is_signed: true,
        statuses: statuses.to_vec(),
    };
    let signed = operations.iter().filter(|operation| operation.is_signed);
    let other_methods = signed.map(|operation| beside("PATCH", &operation.template, &[401, 403, 405]));
    [beside("GET", "/v1/nothing", &[401, 404])].into_iter().chain(other_methods).collect()
}

/// A line for each name, a column for each caller.
fn table(callers: &[&str], rows: &[(String, Vec<u16>)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap();
    let line = |name: &str, cells: Vec<String>| {
        let cells = cells.iter().zip(callers).map(|(cell, caller)| format!("{cell:<width$}", width = caller.len()));
        format!("{}\n", format!("{name:width$}  {}", cells.collect::<Vec<_>>().join("  ")).trim_end())
    };
    let head = line("token:", callers.iter().map(|caller| (*caller).to_owned()).collect());
    let rows = rows.iter().map(|(name, statuses)| line(name, statuses.iter().map(u16::to_string).collect()));
    [head].into_iter().chain(rows).collect()
}

/// Sends it, and checks what holds beside the status.
fn ask(operation: &Operation, caller: &str, who: &Client, about: &Things) -> u16 {
    let mut request = operation.request(who, about);
    if caller == "none" {
        request = request.without("authorization").without("signalvine-date");
    }
    let answer = who.send(&request);
    let name = operation.name();
    assert!(operation.statuses.contains(&answer.status), "{name} for {caller}: {} is not written down", answer.status);
    let code = match (caller, answer.status) {
        (_, 200 | 202) => None,
        ("none", 401) => Some("signature_missing"),
        ("unknown" | "revoked", 401) => Some("unknown_token"),
        ("read-only", 403) => Some("forbidden"),
        (_, 404) => Some("not_found"),
        (_, 405) => Some("method_not_allowed"),
        (_, other) => panic!("{name} for {caller}: nobody has thought of {other}"),
    };
    if let Some(code) = code {
        answer.problem(answer.status, code);
    }
    if operation.is_signed && operation.method == "GET" {
        let mut head = Request { method: "HEAD", ..who.request("HEAD", &request.path, "") };
        if caller == "none" {
            head = head.without("authorization").without("signalvine-date");
        }
        let head = who.send(&head);
        assert_eq!((head.status, &*head.body), (answer.status, ""), "{name} with HEAD for {caller}");
    }
    answer.status
}

/// Asked about what is another account's, or of a program that the token does not reach, the answer is the one about what does not exist: the
/// same bytes but for the id's own.
fn what_is_anothers_is_not_there(home: Home) {
    let (home, hold) = home.held_at("import.begun");
    std::fs::remove_file(&hold).unwrap();
    let service = home.serve();
    let (client, stranger) = (service.client(), service.client());
    let other = service.home.new_program(&client.account, "Other");
    let (own, foreign) = (fill(&client), fill(&stranger));
    std::fs::write(&hold, "").unwrap();
    let own_running = Things { command: fill_queue(&client, &hold), account: foreign.account.clone(), ..own.clone() };
    let foreign_running = Things { command: fill_queue(&stranger, &hold), ..foreign.clone() };
    // The account of a limited token is its own, so another's stands for it.
    let own = Things { account: foreign.account.clone(), ..own };
    let limited = another(&service.home, &client, &["--program", &other]);
    let looking = another(&service.home, &client, &["--read-only", "--program", &other]);
    let askers = [
        (&client, vec![&foreign, &foreign_running]),
        (&limited, vec![&own, &own_running]),
        (&looking, vec![&own_running]),
    ];
    let mut compared = 0;
    for (who, all) in &askers {
        for there in all {
            let nowhere = there.that_are_not_there();
            let pairs = requests(&service, who, there).into_iter().zip(requests(&service, who, &nowhere));
            for ((name, about_there), (_, about_nowhere)) in pairs {
                let (found, expected) = (told(who, &about_there, there), told(who, &about_nowhere, &nowhere));
                assert_eq!(found, expected, "{name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
    std::fs::remove_file(&hold).unwrap();
}

/// Every operation about these things, as it should be and with whatever may be wrong with it beside that.
fn requests(service: &Service, who: &Client, about: &Things) -> Vec<(String, Request)> {
    let mut requests = Vec::new();
    for operation in operations(service).iter().filter(|operation| operation.template.contains('{')) {
        let request = operation.request(who, about);
        let path = request.path.clone();
        let whose = Client { program: about.program.clone(), ..who.clone() };
        let mut add = |what: &str, request: Request| requests.push((format!("{} {what}", operation.name()), request));
        match operation.media_type.as_deref() {
            None => {
                for query in ["?count=0", "?type=full", "?type=nonsense", "?after=nonsense", "?active=all&offset=1"] {
                    add(query, whose.request(operation.method, &format!("{path}{query}"), ""));
                }
                add("waits", request.clone().header("prefer", "wait=60"));
                add("has a body", whose.request(operation.method, &path, "x"));
                add("is no method of the path", whose.request("PATCH", &path, ""));
            }
            Some("application/json") => {
                add("is no JSON", whose.request("POST", &path, "{"));
                add("names no program", whose.request("POST", &path, "{}"));
                let mismatched = body(&who.program, "add", "ignore", "row", CSV);
                add("names another program", whose.request("POST", &path, mismatched));
                add("is text", request.clone().without("content-type").header("content-type", "text/plain"));
                add("has a key", request.clone().header("idempotency-key", "one"));
                add("has a bad key", request.clone().header("idempotency-key", ""));
            }
            Some(_) => {
                add("has no options", stream(&whose, "", CSV.as_bytes()));
                add("has odd options", stream(&whose, "new=perhaps&shoe=9", CSV.as_bytes()));
                add("is none", Request { body: b"another file".to_vec(), ..request.clone() });
                add("is no gzip", request.clone().header("content-encoding", "gzip"));
                add("has an odd encoding", request.clone().header("content-encoding", "br"));
                add("has a key", request.clone().header("idempotency-key", "one"));
            }
        }
        add("", request);
    }
    // A cursor names a contact, too.
    let account = &who.account.id;
    for path in [format!("/v1/accounts/{account}/participants"), format!("/v1/programs/{}/participants", who.program)] {
        let path = format!("{path}?after={}", about.contact);
        requests.push((format!("after a contact: {path}"), who.request("GET", &path, "")));
    }
    requests
}

/// What is answered, without what must differ from request to request.
fn told(who: &Client, request: &Request, about: &Things) -> (u16, Vec<(String, String)>, String) {
    let answer = who.send(request);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let mut told = about.without_ids(answer.body.replace(&id, "<request>"));
    if answer.status == 401 {
        // The lines that were signed, each with its digest.
        let problem: Value = serde_json::from_str(&told).unwrap();
        told = problem["code"].to_string();
    }
    let headers = answer.headers.iter().filter(|(name, _)| !matches!(&**name, "date" | "x-request-id"));
    (answer.status, headers.cloned().collect(), told)
}
