//! The command line as a client of the service: what it sends, whichever way, is the same import, and one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Client, Home, Service, contacts_csv, counts, field, text};

scenes!(a_file_sent_either_way_is_the_same_import, an_answer_that_is_lost_is_asked_for_again);

/// How many commands the program has.
fn commands(client: &Client) -> u64 {
    client.get(&format!("/v2/programs/{}/commands", client.program)).json()["total"].as_u64().unwrap()
}

/// The command line, to be run as this client.
pub(crate) fn command(service: &Service, client: &Client, arguments: &[&str]) -> Command {
    let mut command = service.home.command(arguments);
    command
        .env("ROSTER_URL", format!("http://{}", client.address))
        .env("ROSTER_PROGRAM", &client.program)
        .env("ROSTER_TOKEN", &client.account.token)
        .env("ROSTER_SECRET", &client.account.secret);
    command
}

fn run(service: &Service, client: &Client, arguments: &[&str]) -> Output {
    command(service, client, arguments).output().unwrap()
}

/// The status that an import printed, and its exit code.
fn status(output: &Output) -> (Value, Option<i32>) {
    let status = serde_json::from_slice(&output.stdout);
    let told = || panic!("{}", String::from_utf8_lossy(&output.stderr));
    (status.unwrap_or_else(|_| told()), output.status.code())
}

fn a_file_sent_either_way_is_the_same_import(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    let csv = format!("{}bad,nope,Ada,,,,,,,\n\"never\" mind,,,,,,,,,\n", contacts_csv(0, 13_000));
    // More than is held of a pipe.
    assert!(csv.len() > 1 << 20);
    let file = service.home.file("contacts.csv", &csv);
    let file = file.to_str().unwrap();
    let failed = service.home.file("errors.csv", "");
    let import = |arguments: &[&str], is_piped: bool| {
        let client = service.client_of(&account, &service.home.new_program(&account, "Fall"));
        let source = if is_piped { "-" } else { file };
        let rest = ["--json", "--errors", failed.to_str().unwrap()];
        let mut command = command(&service, &client, &[&["import", source], arguments, &rest].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if is_piped {
            stdin.write_all(csv.as_bytes()).unwrap();
        }
        drop(stdin);
        let (status, code) = status(&child.wait_with_output().unwrap());
        assert_eq!((code, commands(&client), client.contacts().len()), (Some(1), 1, 13_000), "{arguments:?}");
        (status["message"].clone(), std::fs::read_to_string(&failed).unwrap())
    };
    let (expected, expected_errors) = import(&[], false);
    assert_eq!(expected["rows"]["failed"], 2, "{expected:#}");
    assert_eq!(expected.get("dialect"), None);
    assert!(expected_errors.lines().count() == 3 && expected_errors.starts_with("customer_id,"), "{expected_errors}");
    for (arguments, is_piped) in
        [(&["--stream"][..], false), (&["--stream", "--compress", "always"], false), (&["--stream"], true)]
    {
        let (mut message, errors) = import(arguments, is_piped);
        let dialect = message.as_object_mut().unwrap().remove("dialect");
        assert_eq!(dialect, Some(serde_json::json!({ "delimiter": ",", "charset": "utf-8" })));
        assert_eq!((message, &errors), (expected.clone(), &expected_errors), "{arguments:?}");
    }
    // What only the stream form reads.
    let client = service.client_of(&account, &service.home.new_program(&account, "Fall"));
    let latin = Path::new(file).with_file_name("latin.csv");
    std::fs::write(&latin, b"customer_id;phone;first_name\na;2395745030;Zo\xeb\n").unwrap();
    let latin = latin.to_str().unwrap();
    let (read, code) = status(&run(&service, &client, &["import", latin, "--json", "--charset", "windows-1252"]));
    assert_eq!((counts(&read), code), (([1, 1, 0, 0, 0, 0], true), Some(0)));
    assert_eq!(field(&client.contact("a"), "first_name"), "Zoë");
    let refused = run(&service, &client, &["import", latin, "--json"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("Name its charset (--charset windows-1252)"), "{said}");
    let (refused, code) = status(&run(&service, &client, &["import", latin, "--json", "--stream"]));
    assert_eq!((text(&refused["message"]["errors"][0]["code"]), code), ("bad_encoding".to_owned(), Some(1)));
    assert_eq!(client.contacts().len(), 1);
}

/// A way to the service on which the first answer is lost.
fn losing_the_first_answer(address: &str) -> String {
    let (listener, address) = (TcpListener::bind("127.0.0.1:0").unwrap(), address.to_owned());
    let own = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let (mut near, mut far) = (connection.unwrap(), std::net::TcpStream::connect(&address).unwrap());
            let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_near, &mut to_far);
                let _ = to_far.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                if number == 0 {
                    // It answers only when it has accepted.
                    let _ = far.read(&mut [0; 1024]);
                    let _ = near.shutdown(std::net::Shutdown::Both);
                } else {
                    let _ = std::io::copy(&mut far, &mut near);
                    let _ = near.shutdown(std::net::Shutdown::Both);
                }
            });
        }
    });
    own
}

fn an_answer_that_is_lost_is_asked_for_again(home: Home) {
    let service = home.serve();
    let direct = service.client();
    let file = service.home.file("contacts.csv", &contacts_csv(0, 1_000));
    for (number, arguments) in [&["--stream"][..], &["--stream", "--compress", "always"], &[]].into_iter().enumerate() {
        let client = Client { address: losing_the_first_answer(&service.address), ..direct.clone() };
        let arguments = [&["import", file.to_str().unwrap(), "--json"], arguments].concat();
        let output = run(&service, &client, &arguments);
        let (read, code) = status(&output);
        assert_eq!((read["message"]["rows"]["failed"].as_u64(), code), (Some(0), Some(0)));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("The service had this very request already; nothing runs twice."), "{said}");
        assert_eq!((commands(&direct), direct.contacts().len()), (number as u64 + 1, 1_000));
    }
}
