//! What is seen on other days: files that are wrong as a whole, imports that are ended, names that do not end, a line that is slow.

use std::path::Path;

use crate::browser::Browser;
use crate::harness::{Client, Home, Service, contacts_csv, nth_phone};
use crate::people::{new_user, sign_in, sign_in_at};
use crate::proxy::Proxy;

/// An editor who has signed in and is where files are imported into a program.
fn at_the_import(home: Home) -> (Service, Client, Browser) {
    let service = home.serve();
    let client = service.client();
    new_user(&service, &client.account, "ada", "editor");
    let browser = Browser::start();
    sign_in(&browser, &service, "ada");
    browser.click("Fall");
    browser.click("Import a file");
    (service, client, browser)
}

fn upload(browser: &Browser, file: &Path) {
    browser.choose_file("CSV file", file);
    browser.click("Upload");
}

#[test]
fn a_file_that_is_wrong_as_a_whole_is_told_of() {
    let (service, _, browser) = at_the_import(Home::sqlite());
    upload(&browser, &service.home.file("empty.csv", ""));
    browser.wait_for("The file is empty.");
    browser.expect_complaint("status of 422");
    browser.look("import-empty-file");
    // Many columns, names and values that do not end, and no word of what they are.
    let long = "an answer that somebody typed into a form without a limit ".repeat(8);
    let header: Vec<String> = (1..=60).map(|number| format!("Question_{number}_{}", "x".repeat(number))).collect();
    let wide =
        format!("customer_id,phone,{}\ns1,{},{}\n", header.join(","), nth_phone(1), [long.as_str(); 60].join(","));
    upload(&browser, &service.home.file("wide.csv", &wide));
    browser.wait_for("First rows");
    browser.look("import-wide-file");
    browser.click("Import a file");
    upload(&browser, &service.home.file("header.csv", "customer_id,\"phone\nnever closed"));
    browser.wait_for("header.csv");
    browser.look("import-no-header");
}

#[test]
fn what_is_not_applied_says_why() {
    let (service, _, browser) = at_the_import(Home::sqlite());
    let bad: String = (1..=1_200).map(|number| format!("s{number},none\n")).collect();
    upload(&browser, &service.home.file("bad.csv", &format!("customer_id,phone\n{bad}")));
    browser.click("Try it out");
    browser.wait_for("there are more than 1,000 errors");
    browser.look("import-too-many-errors");
    assert!(!browser.clickable().contains(&"Start the import".to_owned()));
    browser.click("Change columns or options");
    browser.click("All or nothing: apply only if no row is wrong");
    browser.click("Limits");
    browser.type_into("At most so many failed rows", "few");
    browser.click("Try it out");
    browser.wait_for("This must be a whole number of rows, or blank; got “few”.");
    browser.expect_complaint("status of 422");
    browser.type_into("At most so many failed rows", "10");
    browser.click("Try it out");
    browser.wait_for("Dry run of bad.csv");
    browser.wait_for("Nothing was changed");
    browser.look("import-not-applied");
}

#[test]
fn an_import_that_waits_is_cancelled() {
    let (home, hold) = Home::sqlite().held_at("import.begun");
    let (service, client, browser) = at_the_import(home);
    let first = client.send(&client.import_request("add", "ignore", "row", &contacts_csv(1, 5)));
    upload(&browser, &service.home.file("night.csv", &contacts_csv(6, 5)));
    browser.click("Try it out");
    browser.wait_for("Waiting, number 2.");
    browser.look("import-waiting");
    browser.click("Overview");
    browser.wait_for("The queue now");
    browser.look("overview-queue");
    browser.click_in("Waiting", "just now");
    browser.click("Cancel it");
    browser.wait_for("The import was cancelled before it took effect.");
    browser.look("import-cancelled");
    std::fs::remove_file(hold).unwrap();
    client.completed(&first.location());
}

#[test]
fn a_large_file_is_seen_to_be_sent() {
    let (service, _, browser) = at_the_import(Home::sqlite());
    let file = service.home.file("large.csv", &contacts_csv(1, 40_000));
    // So slowly that there is time to look at it.
    browser.send_slowly(1 << 17);
    upload(&browser, &file);
    browser.wait_for("Sending the file");
    browser.wait_until("how much has gone", || {
        browser.text().split(" %").next().is_some_and(|text| text.ends_with(|digit: char| digit.is_ascii_digit()))
            && browser.has(" %")
    });
    browser.look("import-sending");
    browser.send_slowly(1 << 30);
    browser.wait_for("First rows");
    browser.look("import-large-file");
}

#[test]
fn progress_is_asked_for_where_events_do_not_come_through() {
    let (home, hold) = Home::sqlite().held_at("import.begun");
    let (service, _, browser) = at_the_import(home);
    browser.hold_back("*://*:*/console/imports/*/events");
    upload(&browser, &service.home.file("night.csv", &contacts_csv(1, 5)));
    browser.click("Try it out");
    browser.wait_for("Cancel it");
    let fetch = "const done = arguments[0]; fetch(location.pathname + '/events').then(() => done('it came'), (fault) => done(String(fault)));";
    assert_eq!(browser.slow_script(fetch, &[]), "TypeError: Failed to fetch");
    std::fs::remove_file(hold).unwrap();
    // Nobody does anything.
    browser.wait_for("Tried: fine");
}

#[test]
fn a_proxy_that_takes_no_large_request_and_holds_events_back_is_in_nobodys_way() {
    let (home, hold) = Home::sqlite().held_at("import.begun");
    let service = home.serve();
    let client = service.client();
    new_user(&service, &client.account, "ada", "editor");
    let (browser, proxy) = (Browser::start(), Proxy::before(&service));
    sign_in_at(&browser, &proxy.url, "ada");
    browser.click("Fall");
    browser.click("Import a file");
    let csv = contacts_csv(1, 40_000);
    assert!(csv.len() > 3 << 20);
    // In one request it does not come through.
    let send = "const done = arguments[0]; fetch(location.pathname, { method: 'POST', body: 'x'.repeat(2000000) }).then((answer) => done(answer.status), (fault) => done(String(fault)));";
    assert_eq!(browser.slow_script(send, &[]), 413);
    browser.expect_complaint("status of 413");
    upload(&browser, &service.home.file("large.csv", &csv));
    browser.wait_for("First rows");
    browser.click("Try it out");
    browser.wait_for("Cancel it");
    std::fs::remove_file(hold).unwrap();
    // Nobody does anything, and no event comes.
    browser.wait_for("Tried: fine");
    browser.wait_for("40,000 rows read");
}
