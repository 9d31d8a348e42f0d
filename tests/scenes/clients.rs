//! The command line as a client of the service: what it sends, whichever way, is the same import, and one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Client, Home, Service, contacts_csv, counts, errors, field, text};

scenes!(a_file_sent_either_way_is_the_same_import, an_answer_that_is_lost_is_asked_for_again, columns_are_mapped,);

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

fn columns_are_mapped(home: Home) {
    let service = home.serve();
    let client = service.client();
    let map = "\"Student ID\" = \"customer_id\"\nHandy = \"phone\"\n\"Rufname\" = \"first_name\"\nAlter = \"_age\"\n";
    let map = service.home.file("map.toml", map);
    let failed = service.home.file("errors.csv", "");
    let (map, failed) = (map.to_str().unwrap(), failed.to_str().unwrap());
    let import = |file: &[u8], arguments: &[&str]| {
        let path = service.home.file("theirs.csv", "");
        std::fs::write(&path, file).unwrap();
        let arguments = [&["import", path.to_str().unwrap(), "--json", "--map", map], arguments].concat();
        run(&service, &client, &arguments)
    };
    // In JSON. Blank lines count in the numbers of the rows, before and after.
    let csv =
        "\u{feff}\r\n\"Student ID\",Handy,Rufname,Alter,credits\r\n\r\na,2395745030,Ada,7,1\r\nb,nope,Bea,8,many\r\n";
    let (read, code) = status(&import(csv.as_bytes(), &["--errors", failed]));
    assert_eq!((counts(&read), code), (([2, 1, 0, 0, 0, 1], true), Some(1)));
    assert_eq!(errors(&read), ["4 phone invalid_value", "4 credits invalid_value"]);
    assert_eq!(field(&client.contact("a"), "first_name"), "Ada");
    let rows = std::fs::read_to_string(failed).unwrap();
    assert!(rows.starts_with("customer_id,phone,first_name,_age,credits,_row,_errors\nb,nope,Bea,8,many,4,"), "{rows}");
    // Corrected, it comes back as it is, with the map or without.
    let (read, code) = status(&import(rows.replace("nope", "2395745031").replace("many", "2").as_bytes(), &[]));
    assert_eq!((counts(&read), code), (([1, 1, 0, 0, 0, 0], true), Some(0)));
    // As it is, in another charset; only what is named is set, by the program's names.
    let csv = "Student ID;Handy;Rufname;Alter;credits\na;2395745030;Zoë;7;5\n";
    let utf16: Vec<u8> = format!("\u{feff}{csv}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin: Vec<u8> = csv.chars().map(|at| u8::try_from(u32::from(at)).unwrap()).collect();
    let (read, code) = status(&import(&utf16, &["--existing", "first_name"]));
    assert_eq!((counts(&read), code), (([1, 0, 1, 0, 0, 0], true), Some(0)));
    let contact = client.contact("a");
    assert_eq!((field(&contact, "first_name"), field(&contact, "credits")), ("Zoë".to_owned(), "1".to_owned()));
    let (read, _) = status(&import(&latin, &["--charset", "windows-1252", "--compress", "always"]));
    assert_eq!(counts(&read), ([1, 0, 1, 0, 0, 0], true));
    assert_eq!(field(&client.contact("a"), "credits"), "5");
    // What does not fit is not sent.
    let before = commands(&client);
    let refused = import(b"StudentID,Handy,Rufname,Alter\n", &[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("no column 'Student ID'; the nearest is 'StudentID'"), "{said}");
    let unreadable = import(b"Student ID,Handy,Rufname,\xe4lter\n", &[]);
    let said = String::from_utf8_lossy(&unreadable.stderr);
    assert!(said.contains("the header cannot be read: the file is not utf-8 at byte 25"), "{said}");
    assert_eq!((refused.status.code(), unreadable.status.code(), commands(&client)), (Some(2), Some(2), before));
}
