//! Reading a big program page by page: what the first page costs, and what the last one does, by the links that the pages give.

use std::fs::File;
use std::io::BufWriter;
use std::time::{Duration, Instant};

use super::place::{Kind, Place, Site};
use super::table::{median, sorted};
use crate::bench_file::{self, Changes};
use crate::http::{self, Answer, member};
use crate::roster::{Home, Tenant, counts, text_of};
use crate::say;

pub(super) const NAME: &str = "paging";

/// What a page has on the way through, and how many pages share a signature: it is fresh for fifteen minutes.
const PAGE_ITEMS: u64 = 1_000;
const PAGES_A_SIGNATURE: usize = 500;

/// What is measured: a name, and the query. Some contacts of the file are not active, and are passed over where it is not said otherwise.
const PAGES: [(&str, &str); 4] = [
    ("25 short", "count=25"),
    ("25 full", "count=25&type=full"),
    ("1,000 short", "count=1000&active=all"),
    ("1,000 full", "count=1000&type=full&active=all"),
];

/// A reader of one program.
struct Reader<'a> {
    home: &'a Home,
    tenant: &'a Tenant,
    address: &'a str,
    path: String,
    headers: Vec<String>,
}

/// Fills a program on each home, and reads it.
pub(super) fn measure(place: &Place<'_>) -> Result<(), String> {
    let measures = "the first page of a big program, one in its middle and its last, over a connection each, after every contact came by once";
    for kind in place.begin(NAME, measures) {
        let site = place.site(kind, 0, NAME)?;
        read(kind, &site, place.wanted.contacts, place.wanted.effort.pages)?;
        place.end(site)?;
    }
    Ok(())
}

/// `samples` of each page.
fn read(kind: Kind, site: &Site, contacts: u64, samples: usize) -> Result<(), String> {
    let Site { home, tenant, node, .. } = site;
    fill(home, tenant, &node.address, contacts)?;
    let path = format!("/v1/programs/{}/participants", tenant.program);
    let mut reader = Reader { home, tenant, address: &node.address, path, headers: Vec::new() };
    let (middle, last) = reader.walk(contacts)?;
    say(format_args!("  {}: {contacts} contacts, medians of {samples}, in turn, in ms", kind.name()));
    for (page, query) in PAGES {
        let at = |after: &str| format!("{query}&offset=0&after={after}");
        let uris = [query.to_owned(), at(&middle), at(&last)];
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        reader.sign()?;
        for _ in 0..samples {
            for (times, uri) in times.iter_mut().zip(&uris) {
                times.push(reader.get(uri)?.1.as_secs_f64() * 1_000.0);
            }
        }
        let [first, middle, last] = times.map(|times| median(&sorted(times)));
        say(format_args!(
            "  page of {page:<11}: first {first:.2}, middle {middle:.2}, last {last:.2}; last to first {:.2}",
            last / first
        ));
    }
    Ok(())
}

/// As a client would: the file goes as a stream.
pub(super) fn fill(home: &Home, tenant: &Tenant, address: &str, contacts: u64) -> Result<(), String> {
    let file = home.directory.join("paging.csv");
    let failed = |fault: std::io::Error| format!("{}: {fault}", file.display());
    bench_file::write(BufWriter::new(File::create(&file).map_err(failed)?), contacts, Changes::one_in(0))
        .map_err(failed)?;
    let mut import = home.command(&["import", "--new", "add", "--existing", "all", "--json", "--program"]);
    import.arg(&tenant.program).args(["--url", &format!("http://{address}")]).arg(&file);
    import.envs([("ROSTER_TOKEN", &tenant.token), ("ROSTER_SECRET", &tenant.secret)]);
    let counts = counts(&text_of(&mut import)?)?;
    if counts.added == contacts { Ok(()) } else { Err(format!("{counts:?} instead of {contacts} added")) }
}

impl Reader<'_> {
    /// Signs the path; the query is not signed.
    fn sign(&mut self) -> Result<(), String> {
        self.headers = self.home.sign(self.tenant, "GET", &self.path)?;
        Ok(())
    }

    fn get(&self, query: &str) -> Result<(Answer, Duration), String> {
        let begun = Instant::now();
        let answer = http::send(self.address, "GET", &format!("{}?{query}", self.path), &self.headers, b"")
            .map_err(|fault| format!("{}: {fault}", self.address))?;
        let took = begun.elapsed();
        if answer.status == 200 { Ok((answer, took)) } else { Err(format!("{}: {}", answer.status, answer.body)) }
    }

    /// Follows the links to the end: every contact comes by once. The contacts that the middle's and the last whole page begin after.
    fn walk(&mut self, contacts: u64) -> Result<(String, String), String> {
        let (mut query, mut seen) = (format!("count={PAGE_ITEMS}&active=all"), 0);
        let (mut middle, mut last) = (String::new(), String::new());
        for page in 0.. {
            if page % PAGES_A_SIGNATURE == 0 {
                self.sign()?;
            }
            let body = self.get(&query)?.0.body;
            let items = body.matches("\"customerId\"").count() as u64;
            seen += items;
            let Some(next) = link(&body, "next") else { break };
            let (_, after) = next.rsplit_once("after=").ok_or("the link 'next' has no cursor")?;
            let after = after.split('&').next().unwrap_or_default();
            if seen <= contacts / 2 {
                after.clone_into(&mut middle);
            }
            if seen + PAGE_ITEMS <= contacts {
                after.clone_into(&mut last);
            }
            query = next.split_once('?').ok_or("the link 'next' has no query")?.1.to_owned();
        }
        if seen == contacts {
            Ok((middle, last))
        } else {
            Err(format!("{seen} contacts came by instead of {contacts}"))
        }
    }
}

/// The path and query of a link.
fn link<'a>(body: &'a str, rel: &str) -> Option<&'a str> {
    member(&body[body.find(&format!("\"rel\":\"{rel}\""))?..], "uri")
}
