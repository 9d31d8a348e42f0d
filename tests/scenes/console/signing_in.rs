//! Who gets in, for how long, and how somebody is kept out.

use super::visitor::{PASSWORD, Visitor, after, new_user, words};
use crate::harness::{Home, text};

scenes!(
    a_password_lets_in_and_signing_out_ends_it,
    a_link_lets_in_once,
    sessions_end_with_what_they_stand_on,
    wrong_passwords_lock_a_name_and_nobody_else,
    forms_from_elsewhere_are_nobodys,
);

fn a_password_lets_in_and_signing_out_ends_it(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    new_user(&service.home, &account.id, "Ada@Example.edu", "viewer");
    let mut visitor = Visitor::of(&service);
    let turned = visitor.get("/console/imports?state=bad");
    assert_eq!(turned.header("location"), Some("/console/sign-in?then=%2Fconsole%2Fimports%3Fstate%3Dbad"));
    let page = visitor.get("/console/sign-in?then=%2Fconsole%2Fimports%3Fstate%3Dbad");
    assert_eq!(after(&page.body, "name=\"then\" value=\""), "/console/imports?state=bad");
    for (name, password) in
        [("ada@example.edu", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("ada@example.edu", "")]
    {
        let answer = visitor.post("/console/sign-in", &[("name", name), ("password", password)]);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{name}");
        assert!(words(&answer.body).contains("The name or the password is not right."));
    }
    let then = [("name", " ada@EXAMPLE.edu"), ("password", PASSWORD), ("then", "/console/imports?state=bad")];
    let answer = visitor.post("/console/sign-in", &then);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/imports?state=bad")));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // Over plain HTTP a browser would not send it back.
    assert!(!cookie.contains("Secure"), "{cookie}");
    let mut copied = visitor.clone();
    assert!(visitor.is_signed_in() && copied.is_signed_in());
    let elsewhere = [("name", "ada@example.edu"), ("password", PASSWORD), ("then", "https://example.com/console/")];
    assert_eq!(visitor.post("/console/sign-in", &elsewhere).header("location"), Some("/console"));
    let mut other = visitor.clone();
    visitor.post("/console/sign-out", &[]);
    assert!(!visitor.is_signed_in() && !other.is_signed_in());
    assert!(copied.is_signed_in(), "another session goes on");
    // Neither the password nor the cookie is written down.
    let log = service.home.log();
    let ticket = cookie.split(['=', ';']).nth(1).unwrap();
    assert!(!log.contains(PASSWORD) && !log.contains(ticket));
    // What was in a signed-in page is in no cache.
    assert_eq!(copied.get("/console").header("cache-control"), Some("no-store"));
}

fn a_link_lets_in_once(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    service.home.operate(&["user", "create", "ada", "--account", &account.id, "--role", "admin"]);
    let made = service.home.operate(&["user", "link", "ada", "--url", &service.url]);
    let link = text(&made["link"]);
    let place = link.strip_prefix(&service.url).unwrap();
    let mut visitor = Visitor::of(&service);
    // To look at it, as mail programs do, uses nothing up.
    for _ in 0..3 {
        assert_eq!(visitor.get(place).status, 200);
        assert!(!visitor.is_signed_in());
    }
    let ticket = place.rsplit('=').next().unwrap();
    let answer = visitor.post("/console/link", &[("ticket", ticket)]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console")));
    assert!(visitor.is_signed_in());
    let mut second = Visitor::of(&service);
    assert_eq!(second.get(place).status, 410);
    assert_eq!(second.post("/console/link", &[("ticket", ticket)]).status, 410);
    assert!(!second.is_signed_in());
    for none in ["", "abc", &"0".repeat(64)] {
        assert_eq!(second.post("/console/link", &[("ticket", none)]).status, 410, "{none}");
    }
    assert!(!service.home.log().contains(ticket));
}

fn sessions_end_with_what_they_stand_on(home: Home) {
    let service = home.serve();
    let (account, other) = (service.new_account(), service.home.new_account("Other"));
    new_user(&service.home, &account.id, "ada", "editor");
    let (mut here, mut there) = (Visitor::signed_in(&service, "ada"), Visitor::signed_in(&service, "ada"));
    let old = here.clone();
    let wrong = [("old", "not it at all"), ("new", "four words are better"), ("again", "four words are better")];
    assert!(words(&here.post("/console/me/password", &wrong).body).contains("This is not your password."));
    let short = [("old", PASSWORD), ("new", "short"), ("again", "shorter")];
    let told = words(&here.post("/console/me/password", &short).body);
    assert!(told.contains("The two are not the same.") && told.contains("12"), "{told}");
    assert!(there.is_signed_in(), "nothing has ended yet");
    let right = [("old", PASSWORD), ("new", "four words are better"), ("again", "four words are better")];
    here.go("/console/me/password", &right);
    assert!(here.is_signed_in() && !there.is_signed_in() && !old.clone().is_signed_in());
    assert_eq!(there.post("/console/sign-in", &[("name", "ada"), ("password", PASSWORD)]).status, 401);
    // The operator sets it.
    let file = service.home.file("password", PASSWORD);
    service.home.operate(&["user", "password", "ada", "--password-file", file.to_str().unwrap()]);
    assert!(!here.is_signed_in());
    // A role that is taken away ends the session; one that changes is what counts from now on.
    let mut here = Visitor::signed_in(&service, "ada");
    service.home.operate(&["user", "role", "ada", "--account", &account.id, "--role", "viewer"]);
    assert_eq!(here.get("/console/tokens").status, 200);
    assert!(!here.get("/console/tokens").body.contains("New token"));
    service.home.operate(&["user", "role", "ada", "--account", &other.id, "--role", "admin"]);
    service.home.operate(&["user", "role", "ada", "--account", &account.id, "--role", "none"]);
    assert!(!here.is_signed_in());
    let mut here = Visitor::signed_in(&service, "ada");
    assert!(words(&here.get("/console").body).contains("Other"));
    service.home.operate(&["user", "disable", "ada"]);
    assert!(!here.is_signed_in());
    assert_eq!(here.post("/console/sign-in", &[("name", "ada"), ("password", PASSWORD)]).status, 401);
}

fn wrong_passwords_lock_a_name_and_nobody_else(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    for name in ["ada", "bo"] {
        new_user(&service.home, &account.id, name, "viewer");
    }
    let mut stranger = Visitor::of(&service);
    // Whether there is such a user makes no difference.
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            assert_eq!(stranger.post("/console/sign-in", &[("name", name), ("password", "guess")]).status, 401);
        }
        let locked = stranger.post("/console/sign-in", &[("name", name), ("password", PASSWORD)]);
        assert_eq!(locked.status, 429, "{name}");
        let seconds: u64 = locked.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(words(&locked.body).contains("Try again in 1 minute"));
    }
    Visitor::signed_in(&service, "bo");
    // The operator's way in is open.
    let made = service.home.operate(&["user", "link", "ada", "--url", &service.url]);
    let link = text(&made["link"]);
    let mut ada = Visitor::of(&service);
    assert_eq!(ada.post("/console/link", &[("ticket", link.rsplit('=').next().unwrap())]).status, 303);
    assert!(ada.is_signed_in());
}

fn forms_from_elsewhere_are_nobodys(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    new_user(&service.home, &account.id, "ada", "admin");
    let mut ada = Visitor::signed_in(&service, "ada");
    let form = [("name", "Planted"), ("region", "US")];
    let request = ada.form("/console/programs/new", &form).without("sec-fetch-site");
    let host = format!("http://{}", service.address);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://example.com"),
        ("origin", "null"),
    ] {
        let answer = ada.send(request.clone().header(name, value));
        assert_eq!(answer.status, 403, "{name}: {value}");
        assert!(answer.header("content-security-policy").is_some());
        assert!(words(&answer.body).contains("not sent by a page of this console"), "{}", answer.body);
    }
    assert!(!ada.get("/console").body.contains("Planted"));
    // A link from elsewhere is followed, and changes nothing.
    assert_eq!(
        ada.send(
            ada.request("GET", "/console", Vec::new()).without("sec-fetch-site").header("sec-fetch-site", "cross-site")
        )
        .status,
        200
    );
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", host.as_str())] {
        assert_eq!(ada.send(request.clone().header(name, value)).status, 303, "{name}: {value}");
    }
    assert!(ada.get("/console").body.contains("Planted"));
}
