//! Who gets in, how it looks when somebody does not, and what each sees of their own.

use crate::browser::Browser;
use crate::harness::Home;
use crate::people::{PASSWORD, new_link, new_user, sign_in};

#[test]
fn a_password_or_a_link_lets_in() {
    let service = Home::sqlite().serve();
    let account = service.new_account();
    new_user(&service, &account, "ada@example.edu", "admin");
    let browser = Browser::start();
    browser.open(&format!("{}/console/imports?state=bad", service.url));
    browser.wait_for("Name or e-mail address");
    browser.look("sign-in");
    browser.type_into("Name or e-mail address", "ada@example.edu");
    browser.type_into("Password", "not it at all");
    browser.click("Sign in");
    browser.wait_for("The name or the password is not right.");
    browser.expect_complaint("status of 401");
    browser.look("sign-in-wrong");
    // The name is still there; and after signing in comes the page that was asked for.
    assert_eq!(browser.value("Name or e-mail address"), "ada@example.edu");
    browser.type_into("Password", PASSWORD);
    browser.press("Enter");
    browser.wait_for("ada@example.edu · admin");
    assert!(browser.address().ends_with("/console/imports?state=bad"), "{}", browser.address());
    browser.click("Sign out");
    browser.wait_for("The session has ended.");
    browser.look("signed-out");
    browser.back();
    browser.reload();
    browser.wait_for("Name or e-mail address");
    let link = new_link(&service, "ada@example.edu");
    browser.open(&link);
    browser.wait_for("This link signs you in once.");
    browser.look("link");
    browser.click("Sign in");
    browser.wait_for("ada@example.edu · admin");
    browser.click("Sign out");
    browser.wait_for("The session has ended.");
    browser.open(&link);
    browser.wait_for("This link is used up");
    browser.expect_complaint("status of 410");
    browser.look("link-used-up");
}

#[test]
fn a_password_is_changed_and_accounts_are_gone_between() {
    let service = Home::sqlite().serve();
    let (here, there) = (service.new_account(), service.home.new_account("Second College"));
    new_user(&service, &here, "ada", "admin");
    service.home.operate(&["user", "role", "ada", "--account", &there.id, "--role", "viewer"]);
    service.home.new_program(&there, "Theirs");
    let browser = Browser::start();
    sign_in(&browser, &service, "ada");
    browser.click("ada · admin");
    browser.wait_for("Change the password");
    browser.look("you");
    browser.type_into("Your password now", PASSWORD);
    browser.type_into("New password", "short");
    browser.type_into("New password once more", "shorter");
    browser.click("Change it");
    browser.wait_for("The two are not the same.");
    browser.expect_complaint("status of 422");
    browser.look("you-wrong");
    let new = "four words are better";
    browser.type_into("Your password now", PASSWORD);
    browser.type_into("New password", new);
    browser.type_into("New password once more", new);
    browser.click("Change it");
    browser.wait_for("The password was changed.");
    browser.click("Go to Second College");
    browser.wait_for("You are in another account now.");
    // Somebody who may only look is shown nothing that they may not do.
    browser.click("Overview");
    browser.wait_for("Waiting and running");
    browser.look("overview-viewer");
    assert!(!browser.clickable().iter().any(|name| name.contains("New program")), "{:?}", browser.clickable());
    browser.click("Theirs");
    browser.click("Settings");
    browser.wait_for("Program id");
    browser.look("program-settings-viewer");
    assert_eq!(browser.fields(), Vec::<String>::new());
    browser.open(&format!("{}/console/programs/new", service.url));
    browser.expect_complaint("status of 403");
    browser.look("not-allowed");
    browser.open(&format!("{}/console/programs/{}", service.url, "00000000-0000-7000-8000-000000000000"));
    browser.expect_complaint("status of 404");
    browser.look("not-found");
}

#[test]
fn a_provider_that_is_away_is_told_of_and_a_password_still_lets_in() {
    let home = Home::sqlite()
        .with("ROSTER_CONSOLE_URL", "http://127.0.0.1:8080")
        .with("ROSTER_OIDC_ISSUER", "http://127.0.0.1:9")
        .with("ROSTER_OIDC_CLIENT_ID", "roster")
        .with("ROSTER_OIDC_LABEL", "Sign in with your college account");
    let service = home.serve();
    let account = service.new_account();
    new_user(&service, &account, "ada", "viewer");
    let browser = Browser::start();
    browser.open(&format!("{}/console", service.url));
    browser.wait_for("Sign in with your college account");
    browser.look("sign-in-provider");
    browser.click("Sign in with your college account");
    browser.wait_until("the answer", || browser.has_complaint("status of"));
    browser.look("sign-in-provider-away");
    browser.expect_complaint("status of");
    sign_in(&browser, &service, "ada");
}
