//! What the console's pages cost the service where a program has many contacts and imports, beside the same pages of a small program: the
//! ninety-fifth of a hundred requests, in turn, over one connection.

use std::fs;
use std::time::Instant;

use super::paging;
use super::place::{Kind, Place, Site};
use super::table::{Aligned, sorted};
use crate::http::{Connection, json_string, member};
use crate::roster::{Home, Tenant};
use crate::say;
use crate::sign::Signed;

pub(super) const NAME: &str = "console";

/// The small program's.
const SMALL: Size = Size { contacts: 1_000, imports: 10 };

#[derive(Clone, Copy)]
struct Size {
    contacts: u64,
    imports: u64,
}

/// Of every tenth import so many rows have an error.
const BAD_ROWS: u64 = 100;

const PASSWORD: &str = "four words are better";

/// A session on an account with one program.
struct Visitor {
    connection: Connection,
    cookie: String,
    pages: Vec<(&'static str, String)>,
}

/// Fills two programs on each home, and opens their pages.
pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let measures =
        "each page of a program with many contacts and imports, and of a small one, in turn, over one connection each";
    for kind in place.begin(NAME, measures) {
        let site = place.site(kind, 0, NAME)?;
        let large = Size { contacts: place.wanted.contacts, imports: place.wanted.effort.history };
        let small = site.home.new_tenant()?;
        let mut sides = [visitor(&site, &site.tenant, large)?, visitor(&site, &small, SMALL)?];
        compare(kind, &mut sides, large, place.wanted.effort.pages)?;
        place.end(site)?;
    }
    Ok(())
}

fn compare(kind: Kind, sides: &mut [Visitor; 2], large: Size, samples: usize) -> Result<(), String> {
    let Size { contacts, imports } = large;
    say(format_args!(
        "  {}: {contacts} contacts and {imports} imports beside {} and {}; {samples} requests of each page, ms",
        kind.name(),
        SMALL.contacts,
        SMALL.imports
    ));
    let mut table = Aligned::new(&["page", "large p50", "large p95", "small p50", "small p95", "ratio of p95"]);
    for at in 0..sides[0].pages.len() {
        // The first look may read what the others find in memory.
        let first = sides[0].open(at)?;
        sides[1].open(at)?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..samples {
            for (times, side) in times.iter_mut().zip(sides.iter_mut()) {
                times.push(side.open(at)?);
            }
        }
        let [large, small] = times.map(sorted);
        let share = |times: &[f64], share: usize| times[(times.len() - 1) * share / 100];
        let name = format!("{} (first {first:.1})", sides[0].pages[at].0);
        let numbers = [share(&large, 50), share(&large, 95), share(&small, 50), share(&small, 95)];
        let cells = numbers.iter().map(|number| format!("{number:.2}"));
        let ratio = format!("{:.2}", share(&large, 95) / share(&small, 95));
        table.row([name].into_iter().chain(cells).chain([ratio]).collect());
    }
    table.print();
    Ok(())
}

impl Visitor {
    /// Opens a page: how long it took, in milliseconds.
    fn open(&mut self, at: usize) -> Result<f64, String> {
        let (name, path) = &self.pages[at];
        let headers = [format!("Cookie: {}", self.cookie)];
        let begun = Instant::now();
        let answer = self.connection.send("GET", path, &headers, b"")?;
        let took = begun.elapsed().as_secs_f64() * 1_000.0;
        if answer.status == 200 { Ok(took) } else { Err(format!("{name}: {path}: {}: {}", answer.status, answer.body)) }
    }
}

/// Fills a program, and signs in.
fn visitor(site: &Site, tenant: &Tenant, size: Size) -> Result<Visitor, String> {
    let Site { home, node, .. } = site;
    paging::fill(home, tenant, &node.address, size.contacts)?;
    import_often(tenant, &node.address, size.imports)?;
    let name = format!("admin-{}", size.contacts);
    let file = home.directory.join("password");
    fs::write(&file, PASSWORD).map_err(|fault| format!("{}: {fault}", file.display()))?;
    let file = file.to_string_lossy().into_owned();
    home.operate(&[
        "user",
        "create",
        &name,
        "--account",
        &tenant.account,
        "--role",
        "admin",
        "--password-file",
        &file,
    ])?;
    let form = format!("name={name}&password={}", PASSWORD.replace(' ', "+"));
    let mut connection = Connection::open(&node.address)?;
    let kind = "application/x-www-form-urlencoded";
    let answer = connection.send_content("POST", "/console/sign-in", &[], (kind, form.as_bytes()))?;
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    let cookie = cookie.ok_or_else(|| format!("signing in is answered {}: {}", answer.status, answer.body))?.to_owned();
    let mut visitor = Visitor { connection, cookie, pages: Vec::new() };
    visitor.pages = pages(&mut visitor, home, tenant, &node.address, size)?;
    Ok(visitor)
}

/// Small imports, some with errors, of which none changes a contact.
fn import_often(tenant: &Tenant, address: &str, imports: u64) -> Result<(), String> {
    let path = format!("/v2/programs/{}/participants", tenant.program);
    let mut connection = Connection::open(address)?;
    for at in 0..imports {
        let (new, csv) = match at % 10 {
            0 => (
                "add",
                (0..BAD_ROWS).fold("customer_id,phone\n".to_owned(), |csv, row| format!("{csv}{at}-{row},nope\n")),
            ),
            _ => ("ignore", format!("customer_id,notes\nnobody,{at}\n")),
        };
        let options = format!(r#""new":"{new}","existing":[],"mode":"row","absent":"ignore""#);
        let body = format!(
            r#"{{"program":"{}","options":{{{options}}},"participants":{}}}"#,
            tenant.program,
            json_string(&csv)
        );
        let answer = Signed::json(tenant, &path, body).waiting(60).send(&mut connection)?;
        if answer.status != 202 || member(&answer.body, "complete") != Some("true") {
            return Err(format!("an import is answered {}: {}", answer.status, answer.body));
        }
    }
    Ok(())
}

fn pages(
    visitor: &mut Visitor,
    home: &Home,
    tenant: &Tenant,
    address: &str,
    size: Size,
) -> Result<Vec<(&'static str, String)>, String> {
    let program = &tenant.program;
    let headers = [format!("Cookie: {}", visitor.cookie)];
    let mut look = |path: &str| Ok::<_, String>(visitor.connection.send("GET", path, &headers, b"")?.body);
    let inside = |page: &str, before: &str| {
        let (_, rest) = page.split_once(before).ok_or_else(|| format!("no '{before}' in a page"))?;
        Ok::<_, String>(rest.split('"').next().unwrap_or_default().to_owned())
    };
    let contact = inside(&look(&format!("/console/programs/{program}"))?, "href=\"/console/contacts/")?;
    let bad = inside(&look("/console/imports?state=bad")?, "<th scope=\"row\"><a href=\"/console/imports/")?;
    let path = format!("/v1/participants/{contact}");
    let of_contact = crate::http::send(address, "GET", &path, &home.sign(tenant, "GET", &path)?, b"");
    let of_contact = of_contact.map_err(|fault| format!("{address}: {fault}"))?;
    let phone = member(&of_contact.body, "phone").ok_or("the contact has no phone")?.replace('+', "%2B");
    Ok(vec![
        ("overview", "/console".to_owned()),
        ("imports", "/console/imports".to_owned()),
        ("imports with errors", "/console/imports?state=bad".to_owned()),
        ("imports that wait", "/console/imports?state=queued".to_owned()),
        ("imports of a program", format!("/console/imports?program={program}")),
        ("an import with errors", format!("/console/imports/{bad}")),
        ("contacts", format!("/console/programs/{program}")),
        ("contacts, deep", format!("/console/programs/{program}?after={}", size.contacts / 2)),
        ("contacts by name", format!("/console/programs/{program}?q=smith")),
        ("contacts by group", format!("/console/programs/{program}?group=honors")),
        ("contacts by phone", format!("/console/programs/{program}?q={phone}")),
        ("a contact", format!("/console/contacts/{contact}")),
        ("a program's settings", format!("/console/programs/{program}/settings")),
        ("import a file", format!("/console/programs/{program}/import")),
        ("tokens", "/console/tokens".to_owned()),
        ("you", "/console/me".to_owned()),
    ])
}
