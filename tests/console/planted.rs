//! That the harness finds what it is there to find: pages made for these tests, each with something wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::browser::{Browser, Scheme, Window, plain};

/// Serves these pages, each with this policy, for as long as the tests run; gives the address without a path.
fn serve(policy: &'static str, pages: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            // A browser opens connections in advance.
            std::thread::spawn(move || answer(&stream, policy, pages));
        }
    });
    address
}

fn answer(mut stream: &std::net::TcpStream, policy: &str, pages: &[(&str, &str)]) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut line).unwrap_or_default() == 0 {
        return;
    }
    let mut header = String::new();
    while reader.read_line(&mut header).unwrap_or_default() > 2 {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let page = pages.iter().find(|(at, _)| *at == path);
    // A browser asks for an icon by itself.
    let missing = if path == "/favicon.ico" { ("204 No Content", "") } else { ("404 Not Found", "") };
    let (status, page) = page.map_or(missing, |(_, page)| ("200 OK", *page));
    let download = if path.ends_with(".csv") { "content-disposition: attachment\r\n" } else { "" };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-security-policy: {policy}\r\n{download}\
         content-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
}

const OPEN: &str = "default-src 'self' 'unsafe-inline'";

#[test]
fn what_axe_finds_is_told_with_rule_impact_and_html() {
    const PAGE: &str = "<!DOCTYPE html><html lang=en><title>A page</title>\
        <meta name=viewport content='width=device-width'>\
        <style>:root { color-scheme: light dark } p { color: #777 } @media (prefers-color-scheme: dark) { body { background: #000 } p { color: #aaa } h1, td { color: #fff } }</style>\
        <main><h1>A page</h1><p>Grey <input id=bare></p><table><tr><td style='min-width: 700px'>wide</table></main>";
    let browser = Browser::start();
    browser.open(&serve(OPEN, &[("/", PAGE)]));
    let found = browser.violations().join("\n");
    assert!(found.contains("label (critical): Form elements must have labels"), "{found}");
    assert!(found.contains(r#"<input id="bare">"#), "{found}");
    // Grey on white is too little; on black it is enough.
    assert!(found.contains("color-contrast (serious)"), "{found}");
    assert!(browser.sideways().is_empty());
    browser.show(Scheme::Dark, Window::Phone);
    let found = browser.violations().join("\n");
    assert!(!found.contains("color-contrast") && found.contains("label (critical)"), "{found}");
    let wide = browser.sideways();
    assert!(wide.iter().any(|wide| wide.contains("700px")), "{wide:?}");
    // What a field has no label for is not found by a person's name for it.
    assert_eq!(browser.fields(), [""]);
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| browser.look("planted")));
    let told = looked.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("dark, wide: label (critical)") && told.contains("light, phone: wider than"), "{told}");
}

#[test]
fn what_a_policy_stops_and_a_script_throws_fails_the_test() {
    const INLINE: &str = "<!DOCTYPE html><html lang=en><title>A page</title><p style='color: red'>red<script>document.title = 'ran'</script>";
    const THROWS: &str = "<!DOCTYPE html><html lang=en><title>A page</title><script src=/throws.js></script>";
    let address = serve("default-src 'self'", &[("/", INLINE), ("/throws", THROWS), ("/throws.js", "nowhere()")]);
    let browser = Browser::start();
    browser.open(&address);
    assert_eq!(browser.title(), "A page");
    let complaints = browser.complaints();
    let stopped = |what: &str| complaints.iter().any(|line| line.contains("security") && line.contains(what));
    assert!(stopped("inline style") && stopped("inline script"), "{complaints:?}");
    // Told once.
    assert!(browser.complaints().is_empty());
    browser.open(&format!("{address}/throws"));
    browser.expect_complaint("nowhere is not defined");
    browser.open(&format!("{address}/missing"));
    browser.expect_complaint("status of 404");
    browser.open(&address);
    // A browser that is closed with something in its console fails its test; and the next one starts afresh.
    let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(browser)));
    let told = closed.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("inline script"), "{told}");
    Browser::start().open("about:blank");
}

#[test]
fn a_page_runs_no_script_where_scripts_are_off() {
    const PAGE: &str = "<!DOCTYPE html><html lang=en><title>A page</title><meta name=viewport content='width=device-width'>\
        <main><h1>A page</h1><p id=said>Nothing ran</p><noscript><p>No scripts</p></noscript><button>Run</button></main>\
        <script>said.textContent = 'It ran'; document.querySelector('button').onclick = () => { said.textContent = 'Clicked' }</script>";
    let browser = Browser::start();
    let address = serve(OPEN, &[("/", PAGE)]);
    browser.open(&address);
    assert_eq!(plain(&browser.text()), "A page It ran Run");
    browser.turn_scripts_off();
    browser.open(&address);
    assert_eq!(plain(&browser.text()), "A page Nothing ran No scripts Run");
    browser.click("Run");
    // The checker runs there all the same, and leaves the page without scripts.
    browser.assert_accessible();
    browser.click("Run");
    assert!(browser.has("Nothing ran"));
    browser.reload();
    assert!(browser.has("Nothing ran"));
}

#[test]
fn things_are_done_by_their_labels() {
    const PAGE: &str = "<!DOCTYPE html><html lang=en><title>A form</title><form action=/>\
        <label>Name <input name=name></label><label for=kind>Kind of <b>field</b></label>\
        <select id=kind name=kind><option>Text<option>Whole number</select>\
        <label>File <input type=file onchange='said.textContent = this.files[0].name'></label>\
        <label><input type=checkbox name=all value=yes style='position: absolute; opacity: 0; width: 0'>All or nothing</label>\
        <input name=unlabelled placeholder=Unlabelled><p>It is <span id=said></span>\
        <div ondragover='event.preventDefault()' ondrop='event.preventDefault(); said.textContent = event.dataTransfer.files[0].name'>Drop it here</div>\
        <table aria-label=Tokens><tr><th>nightly<td><button name=rotate value=1>Rotate</button><tr><th>weekly<td><button name=rotate value=2>Rotate</button></table>\
        <button name=go value=1>Go</button><a href=/failed.csv>Failed rows</a></form>";
    let browser = Browser::start();
    let address = serve(OPEN, &[("/", PAGE), ("/failed.csv", "a,b\n1,2\n")]);
    browser.open(&address);
    assert_eq!(browser.fields(), ["Name", "Kind of field", "File", "All or nothing", ""]);
    assert_eq!(browser.clickable(), ["All or nothing", "Rotate", "Rotate", "Go", "Failed rows"]);
    browser.type_into("Name", "Ada");
    browser.type_into("Name", "Bo");
    browser.select("Kind of field", "Whole number");
    browser.click("All or nothing");
    assert_eq!(
        ["Name", "Kind of field", "All or nothing"].map(|label| browser.value(label)),
        ["Bo", "Whole number", "true"]
    );
    let folder = tempfile::tempdir().unwrap();
    let [chosen, dropped] = ["chosen.csv", "dropped.csv"].map(|name| {
        let file = folder.path().join(name);
        std::fs::write(&file, "a\n1\n").unwrap();
        file
    });
    browser.choose_file("File", &chosen);
    browser.wait_for("It is chosen.csv");
    browser.drop_file("Drop it here", &dropped);
    browser.wait_for("It is dropped.csv");
    assert_eq!(browser.table("Tokens"), [["nightly", "Rotate"], ["weekly", "Rotate"]]);
    browser.click("Failed rows");
    assert_eq!(browser.downloaded("failed.csv"), b"a,b\n1,2\n");
    browser.click_in("weekly", "Rotate");
    browser.wait_until("the answer", || browser.address().contains('?'));
    let address = browser.address();
    assert!(address.ends_with("?name=Bo&kind=Whole+number&all=yes&unlabelled=&rotate=2"), "{address}");
}
