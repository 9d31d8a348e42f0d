//! The API's document and the service say the same: what everybody can read at `/openapi.json` and `/docs`, held against what is
//! answered.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Client, Home, Service, counts, text};
use crate::python::programs;

scenes!(
    every_documented_path_is_there_and_signed,
    no_answer_is_beside_the_document,
    what_the_document_calls_valid_is_taken,
    the_page_has_every_operation_and_nothing_from_elsewhere,
);

/// What tries the document out.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// What anybody may ask for, unsigned.
pub(crate) fn ask(service: &Service, method: &str, path: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", service.address));
    let mut answer = agent.run(request.body(()).unwrap()).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

pub(crate) fn document(service: &Service) -> Value {
    let (status, body) = ask(service, "GET", "/openapi.json");
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

/// Method, path, whether it is signed, and the id, of every operation.
fn operations(document: &Value) -> Vec<(String, String, bool, String)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        methods.map(|(method, operation)| {
            let id = text(&operation["operationId"]);
            (method.to_uppercase(), path.clone(), operation["security"].is_null(), id)
        })
    });
    operations.collect()
}

fn every_documented_path_is_there_and_signed(home: Home) {
    let service = home.serve();
    let client = service.client();
    let document = document(&service);
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() >= 15, "{operations:#?}");
    for (method, template, is_signed, id) in &operations {
        let path = template.replace("{program}", &client.program).replace("{account}", &client.account.id);
        let (status, body) = ask(&service, method, &path);
        let expected = if *is_signed { 401 } else { 200 };
        assert_eq!(status, expected, "{method} {template}: {body}");
        if !is_signed {
            continue;
        }
        // The path is known, signed as well: another method is told which there are.
        let other = client.send(&client.request("PATCH", &path, ""));
        assert_eq!(other.status, 405, "{template}");
        let allow = other.header("allow").unwrap();
        assert!(allow.split(", ").any(|allowed| allowed == method), "{id}: {allow}");
    }
    // The page for people names the same paths.
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md")).unwrap();
    let page = with_nameless_ids(&page).replace("<Location>", "/v2/commands/{}");
    for (method, template, ..) in operations.iter().filter(|(_, _, is_signed, _)| *is_signed) {
        let named = format!("{method} {}", with_nameless_ids(template));
        assert!(page.contains(&named), "docs/API.md has no '{named}'");
    }
}

/// With nothing between braces.
fn with_nameless_ids(text: &str) -> String {
    let parts = text.split('{').enumerate().map(|(at, part)| match part.split_once('}') {
        Some((_, rest)) if at > 0 => format!("{{}}{rest}"),
        _ => part.to_owned(),
    });
    parts.collect()
}

fn the_page_has_every_operation_and_nothing_from_elsewhere(home: Home) {
    let service = home.serve();
    let document = document(&service);
    let (status, page) = ask(&service, "GET", "/docs");
    assert_eq!(status, 200);
    for (_, path, _, id) in operations(&document) {
        assert!(page.contains(&format!("<section id=\"{id}\"")) && page.contains(&path), "{id}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<section id=\"schema-{name}\"")), "{name}");
    }
    for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{link}\"")), "the link to '{link}' leads nowhere");
    }
    for absent in ["<script", "style=", "http://", "https://", "javascript:"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert_eq!(ask(&service, "GET", "/docs/style.css").0, 200);
    // They are to be looked at only, and there is nothing below them.
    assert_eq!(ask(&service, "POST", "/docs").0, 405);
    assert_eq!(ask(&service, "GET", "/docs/other").0, 401);
}

/// Runs schemathesis against the service: what it found, if it found anything.
fn try_out(service: &Service, client: &Client, document: &Value, (valid_only, checks): (bool, &str)) {
    // One row fails, so that there is a file of failed rows.
    let csv = "customer_id,phone,credits\nA,2395745030,1\nB,4054685465,many\n";
    let location = client.send(&client.import_request("add", "ignore", "row", csv)).location();
    assert_eq!(counts(&client.completed(&location)), ([2, 1, 0, 0, 0, 1], true));
    let contact = text(&client.contacts()[0]["id"]);
    let file = service.home.file("openapi.json", &document.to_string());
    // It leaves notes where it runs.
    let folder = file.parent().unwrap();
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let output = Command::new(programs("schemathesis-4.32.5", &[SCHEMATHESIS]).join("schemathesis"))
        .arg("run")
        .arg(&file)
        .args(["--url", &format!("http://{}", service.address), "--checks", checks])
        .args(["--mode", if valid_only { "positive" } else { "all" }])
        .args(["--max-examples", "25", "--seed", "20261125", "--continue-on-failure"])
        .current_dir(folder)
        .env("SCHEMATHESIS_HOOKS", "document")
        .env("PYTHONPATH", scenes)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VALID_ONLY", if valid_only { "1" } else { "0" })
        .env("ROSTER_TOKEN", &client.account.token)
        .env("ROSTER_SECRET", &client.account.secret)
        .env("REAL_ACCOUNT", &client.account.id)
        .env("REAL_PROGRAM", &client.program)
        .env("REAL_PARTICIPANT", contact)
        .env("REAL_COMMAND", location.rsplit('/').next().unwrap())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let all = operations(document).len();
    assert!(said.contains(&format!("Tested: {all}")), "{said}");
}

fn no_answer_is_beside_the_document(home: Home) {
    let service = home.serve();
    let client = service.client();
    let mut document = document(&service);
    // The document leaves room for members that are still to come; today's answers have none but those that it names.
    let answers =
        ["Status", "Message", "Progress", "Rows", "ErrorEntry", "Program", "Schema", "CommandItem", "Problem"];
    for name in answers {
        let schema = &mut document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name}");
        schema["additionalProperties"] = json!(false);
    }
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                  response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth";
    try_out(&service, &client, &document, (false, checks));
    // Nothing of all that was too much for it.
    assert!(service.is_running());
    let log = service.home.log();
    for word in ["panicked", "incident", "request failed"] {
        assert!(!log.contains(word), "{word}");
    }
}

fn what_the_document_calls_valid_is_taken(home: Home) {
    let service = home.serve();
    let client = service.client();
    let checks = "not_a_server_error,status_code_conformance,response_schema_conformance,positive_data_acceptance";
    let document = document(&service);
    try_out(&service, &client, &document, (true, checks));
}
