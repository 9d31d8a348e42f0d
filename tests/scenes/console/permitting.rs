//! Who may open what: the table in docs/CONSOLE.md, tried by everybody; and what is another account's, which is not found.

use super::visitor::{Visitor, after, new_user};
use crate::harness::{Answer, Home, Service};

scenes!(every_page_keeps_to_its_role, what_is_anothers_is_not_found, every_page_is_guarded);

const CSV: &str = "customer_id,phone,first_name\nC,7165419523,Ada\nD,nope,Bo\n";

/// A row of the table.
struct Page {
    method: &'static str,
    template: String,
    who: String,
}

fn pages() -> Vec<Page> {
    let table = include_str!("../../../docs/CONSOLE.md").lines().filter_map(|line| {
        let (method, rest) = match line.strip_prefix("| `GET ") {
            Some(rest) => ("GET", rest),
            None => ("POST", line.strip_prefix("| `POST ")?),
        };
        let (template, who) = rest.trim_end_matches(" |").split_once("` | ").unwrap();
        Some(Page { method, template: template.to_owned(), who: who.to_owned() })
    });
    let table: Vec<Page> = table.collect();
    assert!(table.len() > 30, "{}", table.len());
    table
}

/// What a path may name.
struct Things {
    program: String,
    import: String,
    upload: String,
    contact: String,
    asset: String,
}

impl Things {
    /// Makes one of each, as this user.
    fn of(admin: &mut Visitor) -> Things {
        let page = admin.go("/console/programs/new", &[("name", "Fall"), ("region", "US")]);
        let program = after(&page.body, "<a href=\"/console/programs/").split('/').next().unwrap().to_owned();
        let place = admin.upload(&format!("/console/programs/{program}/import"), "c.csv", CSV.as_bytes());
        let upload = place.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
        let choices =
            [("field.0", "customer_id"), ("field.1", "phone"), ("field.2", "first_name"), ("add", "on"), ("once", "1")];
        let tried = admin.post(&format!("/console/uploads/{upload}"), &choices);
        let tried = tried.header("location").unwrap().to_owned();
        admin.completed(&tried);
        let started = admin.post(&format!("{tried}/start"), &[("once", "2")]);
        let import = started.header("location").unwrap().to_owned();
        admin.completed(&import);
        let contacts = admin.get(&format!("/console/programs/{program}")).body;
        let contact = after(&contacts, "<a href=\"/console/contacts/").to_owned();
        let asset = after(&contacts, "href=\"/console/assets/").to_owned();
        Things { program, import: import.rsplit('/').next().unwrap().to_owned(), upload, contact, asset }
    }

    fn in_path(&self, template: &str) -> String {
        let path = template
            .replace("{program}", &self.program)
            .replace("{import}", &self.import)
            .replace("{upload}", &self.upload)
            .replace("{contact}", &self.contact)
            .replace("{name}", &self.asset);
        assert!(!path.contains('{'), "nobody has thought of what {template} names");
        path
    }

    /// The same with ids of which there are none.
    fn that_are_not_there(&self) -> Things {
        let other = |id: &String| {
            let end = if id.ends_with("00ff") { "00fe" } else { "00ff" };
            format!("{}{end}", &id[..id.len() - 4])
        };
        Things {
            program: other(&self.program),
            import: other(&self.import),
            upload: other(&self.upload),
            contact: other(&self.contact),
            asset: self.asset.clone(),
        }
    }
}

fn ask(visitor: &mut Visitor, page: &Page, things: &Things) -> Answer {
    let path = things.in_path(&page.template);
    match page.method {
        "GET" => visitor.get(&path),
        _ if page.template.ends_with("}/import") => visitor.upload(&path, "c.csv", CSV.as_bytes()),
        _ => visitor.post(&path, &[("once", "3")]),
    }
}

fn everybody(service: &Service, account: &str) -> [(&'static str, Visitor); 4] {
    let user = |role: &'static str| {
        new_user(&service.home, account, role, role);
        (role, Visitor::signed_in(service, role))
    };
    [("anybody", Visitor::of(service)), user("viewer"), user("editor"), user("admin")]
}

fn every_page_keeps_to_its_role(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    let mut everybody = everybody(&service, &account.id);
    let things = Things::of(&mut everybody[3].1);
    let order = ["anybody", "viewer", "editor", "admin"];
    for page in pages() {
        // They end the session, or begin another one.
        if ["/console/sign-out", "/console/sign-in", "/console/link"].contains(&page.template.as_str()) {
            assert_eq!(page.who, "anybody");
            continue;
        }
        let needed = order.iter().position(|who| *who == page.who).unwrap();
        for (at, (who, visitor)) in everybody.iter_mut().enumerate() {
            let answer = ask(visitor, &page, &things);
            let name = format!("{} {} by {who}", page.method, page.template);
            let to_sign_in = answer.header("location").is_some_and(|place| place.starts_with("/console/sign-in"));
            match (at >= needed, at) {
                (true, _) => assert!(answer.status != 403 && !to_sign_in && answer.status < 500, "{name}: {answer:?}"),
                (false, 0) => assert!(to_sign_in, "{name}: {answer:?}"),
                (false, _) => assert_eq!(answer.status, 403, "{name}"),
            }
        }
    }
    // Who may not change has changed nothing: the admin's forms were blank, and made no second program.
    let overview = everybody[3].1.get("/console").body;
    assert_eq!(overview.matches("<th scope=\"row\"><a href=\"/console/programs/").count(), 1, "{overview}");
}

fn what_is_anothers_is_not_found(home: Home) {
    let service = home.serve();
    let (mine, other) = (service.new_account(), service.home.new_account("Other"));
    new_user(&service.home, &mine.id, "ada", "admin");
    new_user(&service.home, &other.id, "bo", "admin");
    let (mut ada, mut bo) = (Visitor::signed_in(&service, "ada"), Visitor::signed_in(&service, "bo"));
    let things = Things::of(&mut bo);
    Things::of(&mut ada);
    let nothing = things.that_are_not_there();
    let mut asked = 0;
    for page in pages().into_iter().filter(|page| page.template.contains('{') && page.who != "anybody") {
        let (of_other, of_nobody) = (ask(&mut ada, &page, &things), ask(&mut ada, &page, &nothing));
        assert_eq!((of_other.status, of_nobody.status), (404, 404), "{} {}", page.method, page.template);
        assert_eq!(of_other.body, of_nobody.body);
        asked += 1;
    }
    assert_eq!(asked, 18);
    for (path, form) in [
        ("/console/tokens/rotate", [("token", other.token.as_str()), ("overlap", "0")]),
        ("/console/tokens/revoke", [("token", other.token.as_str()), ("overlap", "")]),
        ("/console/tokens", [("name", "Planted"), ("program", things.program.as_str())]),
        ("/console/me/account", [("account", other.id.as_str()), ("", "")]),
    ] {
        assert_eq!(ada.post(path, &form).status, 404, "{path}");
    }
    assert_eq!(ada.get(&format!("/console/imports?program={}", things.program)).status, 404);
    // And nothing of the other account has changed, or is shown.
    let client = service.client_of(&other, &things.program);
    assert_eq!(client.get(&format!("/v1/programs/{}", things.program)).status, 200, "the token is as it was");
    for page in ["/console", "/console/imports", "/console/tokens", "/console/me"] {
        let body = ada.get(page).body;
        assert!(!body.contains("Other") && !body.contains(&other.token) && !body.contains(&things.program), "{page}");
    }
    let doctor = [
        ("token", other.token.as_str()),
        ("signature", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("timestamp", "2026-11-28T12:00:00Z"),
    ];
    let told = super::visitor::words(&ada.post("/console/doctor", &doctor).body);
    assert!(told.contains("This account has no such token"), "{told}");
}

fn every_page_is_guarded(home: Home) {
    let service = home.serve();
    let account = service.new_account();
    new_user(&service.home, &account.id, "ada", "admin");
    let mut ada = Visitor::signed_in(&service, "ada");
    // What comes from people is text, wherever it stands.
    let planted = "<script>alert(1)</script>\"'><b x=";
    let page = ada.go("/console/programs/new", &[("name", planted), ("region", "US")]);
    let program = after(&page.body, "<a href=\"/console/programs/").split('/').next().unwrap().to_owned();
    let csv = "customer_id,phone,\"<script>alert(2)</script>\"\n\"<img src=x onerror=alert(3)>\",nope,\"<script>\"\n";
    let place = ada.upload(&format!("/console/programs/{program}/import"), "<script>.csv", csv.as_bytes());
    let place = place.header("location").unwrap().to_owned();
    let choices = [("field.0", "customer_id"), ("field.1", "phone"), ("field.2", ""), ("add", "on"), ("once", "1")];
    let tried = ada.post(&place, &choices).header("location").unwrap().to_owned();
    ada.completed(&tried);
    let things = Things::of(&mut ada);
    let mut paths: Vec<String> = pages()
        .into_iter()
        .filter(|page| page.method == "GET" && !page.template.contains("/events") && !page.template.contains("{name}"))
        .map(|page| things.in_path(&page.template))
        .collect();
    paths.extend([place, tried, format!("/console/programs/{program}/settings"), "/console/nowhere".to_owned()]);
    for path in paths {
        let answer = ada.get(&path);
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}"));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        let lower = answer.body.to_lowercase();
        assert!(!lower.contains(" style=") && !lower.contains("<style") && !lower.contains("<img"), "{path}");
        assert!(!lower.contains("javascript:") && !lower.contains("alert(1)</script>"), "{path}");
        for script in lower.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/console/assets/"), "{path}: {script}");
        }
    }
    // What browsers may keep is only what is in the binary.
    let style = ada.get(&format!("/console/assets/{}", things.asset));
    assert!(style.header("cache-control").unwrap().contains("max-age"), "{style:?}");
}
