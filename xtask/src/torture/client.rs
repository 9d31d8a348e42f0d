//! A client: sends the imports of its plan, one after the other, each until it is answered, as real ones do; cancels some; and
//! waits for what was accepted.

use std::collections::VecDeque;
use std::time::Instant;

use super::ground::{Ground, Link};
use super::plan::{Import, Imports};
use crate::bench_file::phone;
use crate::http::{Answer, json_string, member};
use crate::roster::Tenant;
use crate::sign::Signed;

/// Imports of a client that are accepted and not complete, at most.
const OPEN_MAX: usize = 5;
/// How long an answer waits for the end of an import, in seconds.
const WAIT_SECONDS: u64 = 5;
/// The columns of every file.
const HEADER: &str = "customer_id,phone,first_name,serial,origin\n";
/// What stands where a number is expected.
const NO_NUMBER: &str = "eleven";

/// An import that was answered with 202, and what its client knows of it.
pub(super) struct Sent {
    pub(super) import: Import,
    pub(super) location: String,
    /// Before its first byte was sent for the first time.
    pub(super) begun: Instant,
    /// When the 202 was there.
    pub(super) accepted: Instant,
    /// When its status first said that it is complete, and that status.
    pub(super) completed: Option<(Instant, String)>,
    /// The status of the answer to its cancellation, and whether that said that it is complete.
    pub(super) cancel: Option<(u16, bool)>,
}

/// What a client has done.
#[derive(Default)]
pub(super) struct Done {
    pub(super) sent: Vec<Sent>,
    /// Requests that got no answer and were sent again.
    pub(super) retried: u64,
    /// Answers that said that the request had been accepted before.
    pub(super) replayed: u64,
}

/// Sends imports until it is over, and waits for the last. What goes wrong is told at once.
pub(super) fn run(ground: &Ground, seed: u64, number: u64) -> Done {
    let mut client = Client { link: Link::new(ground), done: Done::default(), open: VecDeque::new() };
    if let Err(fault) = client.work(Imports::of(seed, number)) {
        ground.tell(format!("client {number}: {fault}"));
    }
    client.done.retried = client.link.retried;
    client.done
}

/// What each program begins with.
pub(super) fn begin(ground: &Ground, imports: Vec<Import>) -> Result<Vec<Sent>, String> {
    let mut client = Client { link: Link::new(ground), done: Done::default(), open: VecDeque::new() };
    imports.into_iter().try_for_each(|import| client.send(import))?;
    while !client.open.is_empty() {
        client.wait_for_the_oldest()?;
    }
    Ok(client.done.sent)
}

struct Client<'a> {
    link: Link<'a>,
    done: Done,
    /// Places in `done.sent` of what is not known to be complete.
    open: VecDeque<usize>,
}

impl Client<'_> {
    fn work(&mut self, mut imports: Imports) -> Result<(), String> {
        while !self.link.ground.is_over() {
            self.send(imports.next())?;
            while self.open.len() >= OPEN_MAX {
                self.wait_for_the_oldest()?;
            }
        }
        while !self.open.is_empty() {
            self.wait_for_the_oldest()?;
        }
        Ok(())
    }

    fn send(&mut self, import: Import) -> Result<(), String> {
        let tenant = &self.link.ground.tenants[import.program];
        let request = request_of(tenant, &import);
        let (begun, retried) = (Instant::now(), self.link.retried);
        let answer = self.link.until_answered(&request)?;
        let accepted = Instant::now();
        let location = location_of(&answer).map_err(|fault| format!("import {}: {fault}", import.number))?;
        if is_replay(&answer) {
            self.done.replayed += 1;
            if self.link.retried == retried {
                return Err(format!("import {} was sent once, and is said to be a replay", import.number));
            }
        }
        let mut sent = Sent { import, location, begun, accepted, completed: None, cancel: None };
        note(&mut sent, &answer);
        if sent.import.is_cancelled {
            self.cancel(&mut sent)?;
        }
        if sent.import.is_sent_again {
            let again = self.link.until_answered(&request)?;
            self.done.replayed += 1;
            if location_of(&again)? != sent.location || !is_replay(&again) {
                return Err(format!(
                    "import {} was sent again, and is another one: {}",
                    sent.import.number, again.head
                ));
            }
            note(&mut sent, &again);
        }
        if sent.completed.is_none() {
            self.open.push_back(self.done.sent.len());
        }
        self.done.sent.push(sent);
        Ok(())
    }

    fn cancel(&mut self, sent: &mut Sent) -> Result<(), String> {
        let tenant = &self.link.ground.tenants[sent.import.program];
        let answer = self.link.until_answered(&Signed::bare(tenant, "DELETE", &sent.location))?;
        let is_complete = member(&answer.body, "complete") == Some("true");
        match answer.status {
            200 => note(sent, &answer),
            409 => {}
            other => return Err(format!("cancelling {} is answered {other}: {}", sent.import.number, answer.body)),
        }
        sent.cancel = Some((answer.status, is_complete));
        Ok(())
    }

    fn wait_for_the_oldest(&mut self) -> Result<(), String> {
        let Some(at) = self.open.pop_front() else { return Ok(()) };
        let sent = &mut self.done.sent[at];
        let tenant = &self.link.ground.tenants[sent.import.program];
        while sent.completed.is_none() {
            let asked = Signed::bare(tenant, "GET", &sent.location).waiting(WAIT_SECONDS);
            let answer = self.link.until_answered(&asked)?;
            if answer.status != 200 {
                return Err(format!("the status of {} is answered {}: {}", sent.location, answer.status, answer.body));
            }
            note(sent, &answer);
            if sent.completed.is_none() && self.link.ground.is_late() {
                return Err(format!("import {} does not end: {}", sent.import.number, answer.body));
            }
        }
        Ok(())
    }
}

/// Keeps the status if it is the first complete one.
fn note(sent: &mut Sent, answer: &Answer) {
    if sent.completed.is_none() && member(&answer.body, "complete") == Some("true") {
        sent.completed = Some((Instant::now(), answer.body.clone()));
    }
}

fn location_of(answer: &Answer) -> Result<String, String> {
    let location = answer.header("location").filter(|_| answer.status == 202).map(str::to_owned);
    location.ok_or_else(|| format!("it is answered {}: {}", answer.status, answer.body))
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// The request of an import, signed now.
fn request_of(tenant: &Tenant, import: &Import) -> Signed {
    let (csv, path) = (csv_of(import), format!("/v2/programs/{}/participants", tenant.program));
    let (new, mode) = (if import.adds { "add" } else { "ignore" }, if import.is_tx { "tx" } else { "row" });
    let request = if import.is_stream {
        let existing = import.existing.as_ref().map_or("ignore".to_owned(), |fields| fields.join(","));
        let mut path = format!("{path}?new={new}&existing={existing}&mode={mode}");
        if import.is_dry_run {
            path.push_str("&dryRun=true");
        }
        if let Some(most) = import.new_max {
            path.push_str(&format!("&maxNew={most}"));
        }
        Signed::stream(tenant, &path, csv)
    } else {
        let names = |fields: &Vec<&str>| fields.iter().map(|field| json_string(field)).collect::<Vec<_>>().join(",");
        let existing =
            import.existing.as_ref().map_or(r#""ignore""#.to_owned(), |fields| format!("[{}]", names(fields)));
        let dry_run = if import.is_dry_run { r#","dryRun":true"# } else { "" };
        let limits = import.new_max.map(|most| format!(r#","limits":{{"maxNew":{most}}}"#)).unwrap_or_default();
        let body = format!(
            r#"{{"program":"{}","options":{{"new":"{new}","existing":{existing},"mode":"{mode}","absent":"ignore"{dry_run}{limits}}},"participants":{}}}"#,
            tenant.program,
            json_string(&csv)
        );
        Signed::json(tenant, &path, body)
    };
    if import.waits { request.waiting(WAIT_SECONDS) } else { request }
}

/// The file of an import.
fn csv_of(import: &Import) -> String {
    let (number, mut csv) = (import.number.to_string(), HEADER.to_owned());
    for row in &import.rows {
        let serial = if row.is_bad { NO_NUMBER } else { &number };
        csv.push_str(&format!(
            "{},+1{},{},{serial},{number}\n",
            customer_id(row.key),
            phone(row.key),
            first_name(row.name)
        ));
    }
    csv
}

/// Whose row it is, as the program knows it.
pub(super) fn customer_id(key: u64) -> String {
    format!("k{key}")
}

/// The other way.
pub(super) fn key_of(customer_id: &str) -> Option<u64> {
    customer_id.strip_prefix('k')?.parse().ok()
}

/// Stands in every name, and nowhere else.
pub(super) const MARK: &str = "XqName";

/// A name that a row may have.
pub(super) fn first_name(name: u64) -> &'static str {
    ["Ada XqName", "Grace XqName", "Katherine XqName"][name as usize % 3]
}
