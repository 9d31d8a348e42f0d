//! The page at `/docs`, as it is seen.

use crate::browser::Browser;
use crate::harness::Home;

#[test]
fn the_page_of_the_api_is_readable_by_everybody() {
    let service = Home::sqlite().serve();
    let browser = Browser::start();
    browser.open(&format!("{}/docs", service.url));
    assert_eq!(browser.title(), "roster: the API");
    browser.look("docs");
    // By keyboard: the first stop is a link, and leads there.
    browser.press("Tab");
    assert_eq!(browser.focused(), "link openapi.json");
    browser.press("Enter");
    browser.wait_until("the document", || browser.address().ends_with("/openapi.json"));
    browser.back();
    browser.click("What bodies are made of");
    assert!(browser.address().ends_with("#schemas"), "{}", browser.address());
}
