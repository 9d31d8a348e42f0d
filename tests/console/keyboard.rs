//! The console by keyboard alone, as somebody goes through it who has no mouse or does not see one.

use crate::browser::Browser;
use crate::harness::{Home, nth_phone};
use crate::people::{PASSWORD, new_user};

/// Presses Tab until something of this role and name has the focus; what is passed on the way must have a name.
fn tab_to(browser: &Browser, wanted: &str) {
    let mut passed = Vec::new();
    for _ in 0..60 {
        browser.press("Tab");
        let focused = browser.focused();
        if focused == wanted {
            assert!(browser.is_focus_seen(), "{wanted} has the focus, and nobody sees it");
            return;
        }
        assert!(focused.contains(' '), "something without a name has the focus: {focused}; before it: {passed:?}");
        passed.push(focused);
    }
    panic!("'{wanted}' is not come to: {passed:#?}");
}

fn type_keys(browser: &Browser, text: &str) {
    text.chars().for_each(|letter| browser.press(&letter.to_string()));
}

#[test]
fn a_file_is_imported_without_a_mouse() {
    let service = Home::sqlite().serve();
    let account = service.new_account();
    new_user(&service, &account, "ada", "editor");
    service.home.new_program(&account, "Fall");
    let file = service.home.file("night.csv", &format!("customer_id,phone\ns1,{}\n", nth_phone(1)));
    let browser = Browser::start();
    browser.open(&format!("{}/console", service.url));
    tab_to(&browser, "textbox Name or e-mail address");
    type_keys(&browser, "ada");
    tab_to(&browser, "textbox Password");
    type_keys(&browser, PASSWORD);
    browser.press("Enter");
    browser.wait_for("Programs");
    // The first stop leads past what is on every page.
    browser.press("Tab");
    assert_eq!(browser.focused(), "link Skip to the page");
    assert!(browser.is_focus_seen());
    browser.press("Enter");
    tab_to(&browser, "link Fall");
    browser.press("Enter");
    browser.wait_for("There are no contacts yet.");
    tab_to(&browser, "link Import a file");
    browser.press("Enter");
    browser.wait_for("Fields of this program");
    // The window of the system in which a file is chosen is no page.
    browser.choose_file("CSV file", &file);
    tab_to(&browser, "button Upload");
    browser.press("Enter");
    browser.wait_for("First rows");
    tab_to(&browser, "button Try it out");
    browser.press("Enter");
    browser.wait_for("Tried: fine");
    tab_to(&browser, "button Start the import");
    browser.press("Enter");
    browser.wait_for("Every row was taken.");
}
