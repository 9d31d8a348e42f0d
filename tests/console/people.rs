//! Who sits at the browser: users of an account, made by the operator, and their way in.

use crate::browser::Browser;
use crate::harness::{Account, Service, text};

/// Long enough for the service, and easy to remember.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Makes a user with the password.
pub(crate) fn new_user(service: &Service, account: &Account, name: &str, role: &str) {
    let file = service.home.file("password", PASSWORD);
    let file = file.to_str().unwrap();
    service.home.operate(&["user", "create", name, "--account", &account.id, "--role", role, "--password-file", file]);
}

/// A link that signs this user in once.
pub(crate) fn new_link(service: &Service, name: &str) -> String {
    text(&service.home.operate(&["user", "link", name, "--url", &service.url])["link"])
}

/// Signs in with the password, on the page that is there.
pub(crate) fn sign_in(browser: &Browser, service: &Service, name: &str) {
    sign_in_at(browser, &service.url, name);
}

/// The same at another address of the service.
pub(crate) fn sign_in_at(browser: &Browser, url: &str, name: &str) {
    browser.open(&format!("{url}/console"));
    browser.type_into("Name or e-mail address", name);
    browser.type_into("Password", PASSWORD);
    browser.click("Sign in");
    browser.wait_for("Sign out");
}
