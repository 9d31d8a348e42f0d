//! The signature doctor, on a signature that went wrong.

use crate::browser::Browser;
use crate::harness::Home;
use crate::people::{new_user, sign_in};

#[test]
fn the_first_difference_is_seen() {
    let service = Home::sqlite().serve();
    let client = service.client();
    new_user(&service, &client.account, "ada", "editor");
    let request = client.import_request("add", "ignore", "row", "customer_id,phone\nA,2125550143\n");
    let header = |name: &str| request.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let (timestamp, body) = (header("signalvine-date"), String::from_utf8(request.body.clone()).unwrap());
    let signature = header("authorization").rsplit(':').next().unwrap().to_owned();
    let right =
        roster::signature::canonical(&client.account.token, "POST", &request.path, &body, &timestamp).join("\n");
    let browser = Browser::start();
    sign_in(&browser, &service, "ada");
    browser.click("Signature doctor");
    browser.wait_for("What your code did");
    browser.look("doctor");
    browser.type_into("Token", &client.account.token);
    browser.select("Method", "POST");
    browser.type_into("Path", &request.path);
    browser.type_into("Header SignalVine-Date", &timestamp);
    browser.type_into("Body", &body);
    browser.type_into("The string that it signed", &right.replace("\npost\n", "\nPOST\n"));
    browser.type_into("The signature that it sent", "c2lnbmVkIHdpdGggc29tZXRoaW5nIGVsc2UgdGhhbiB0aGU=");
    browser.click("Examine");
    browser.wait_for("What was found");
    browser.look("doctor-differs");
    let lines = browser.table("The five lines");
    let differing: Vec<&str> =
        lines[1..].iter().filter(|row| row[0].contains("differs")).map(|row| row[0].as_str()).collect();
    assert_eq!(differing, ["method differs"], "{lines:?}");
    assert!(lines.iter().any(|row| row[2].contains("It is not in lower case.")), "{lines:?}");
    // What was typed is still there, and once it is right it is said to be.
    browser.type_into("The string that it signed", &right);
    browser.type_into("The signature that it sent", &signature);
    browser.click("Examine");
    browser.wait_for("The signature fits this request.");
    browser.look("doctor-fits");
}
