//! What is looked at when it is over: everything that clients can ask for, and what lies on the disk.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::client::{Sent, first_name, key_of};
use super::ground::{Ground, Link};
use super::model::{self, Contact, Found};
use super::reader::Seen;
use crate::http::member;
use crate::postgres::Server;
use crate::roster::{Home, text_of};
use crate::sign::Signed;

/// Commands on a page of the list, as many as there can be.
const COMMANDS: u64 = 100;

/// What was compared, for the table.
#[derive(Default)]
pub(crate) struct Checked {
    pub(super) reports: usize,
    pub(super) contacts: usize,
    pub(super) reads: usize,
    pub(super) files: usize,
    /// That were searched for secrets.
    pub(super) bytes: u64,
}

/// Asks the service for everything, and compares it with the model. Gives what differs.
pub(super) fn compare(
    (home, ground, url): (&Home, &Ground, &str),
    sent: &[Sent],
    seen: &[Vec<Seen>],
    checked: &mut Checked,
) -> Result<Vec<String>, String> {
    let (mut link, mut wrong) = (Link::new(ground), Vec::new());
    let mut by_location: HashMap<&str, &Sent> = HashMap::new();
    for sent in sent {
        if let Some(other) = by_location.insert(&sent.location, sent) {
            let (first, second) = (other.import.number, sent.import.number);
            wrong.push(format!("imports {first} and {second} are one command, {}", sent.location));
        }
        wrong.extend(status_differs(&mut link, sent)?);
    }
    checked.reports = sent.len();
    for (program, tenant) in ground.tenants.iter().enumerate() {
        let mut order = Vec::new();
        for location in commands(&mut link, program)? {
            match by_location.remove(&*location) {
                Some(sent) => order.push(sent),
                None => wrong.push(format!("{location} is there, and no client was told of it")),
            }
        }
        order.reverse();
        let mut export = home.command(&["export", "--program", &tenant.program, "--url", url]);
        export.envs([("ROSTER_TOKEN", &tenant.token), ("ROSTER_SECRET", &tenant.secret)]);
        let contacts = read(&text_of(&mut export)?)?;
        let seen: Vec<Vec<&Seen>> =
            seen.iter().map(|seen| seen.iter().filter(|seen| seen.program == program).collect()).collect();
        checked.contacts += contacts.len();
        checked.reads += seen.iter().map(Vec::len).sum::<usize>();
        let differences = model::differences(&Found { order, contacts, seen });
        wrong.extend(differences.into_iter().map(|difference| format!("program {program}: {difference}")));
    }
    wrong.extend(
        by_location.values().map(|sent| format!("import {} was answered with 202, and is lost", sent.import.number)),
    );
    Ok(wrong)
}

/// A report that was told once stays what it is.
fn status_differs(link: &mut Link<'_>, sent: &Sent) -> Result<Option<String>, String> {
    let tenant = &link.ground.tenants[sent.import.program];
    let now = link.until_answered(&Signed::bare(tenant, "GET", &sent.location))?;
    let number = sent.import.number;
    let Some((_, told)) = &sent.completed else { return Ok(Some(format!("import {number} was never complete"))) };
    // The process that answers is another one.
    let report = |status: &str| status.split("\"processor\"").next().unwrap_or_default().to_owned();
    let is_same = now.status == 200 && report(&now.body) == report(told);
    Ok((!is_same).then(|| format!("the status of import {number} was {told}, and is {}: {}", now.status, now.body)))
}

/// The places of a program's commands, newest first.
fn commands(link: &mut Link<'_>, program: usize) -> Result<Vec<String>, String> {
    let (tenant, mut found) = (&link.ground.tenants[program], Vec::new());
    loop {
        let path = format!("/v2/programs/{}/commands?count={COMMANDS}&offset={}", tenant.program, found.len());
        let answer = link.until_answered(&Signed::bare(tenant, "GET", &path))?;
        let places = answer.body.split("\"location\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        let before = found.len();
        found.extend(places.map(str::to_owned));
        let total = answer.body.rfind("\"total\":").and_then(|at| member(&answer.body[at..], "total")?.parse().ok());
        match total {
            Some(total) if found.len() == total => return Ok(found),
            Some(_) if found.len() > before => {}
            _ => return Err(format!("{path} is answered {}: {}", answer.status, answer.body)),
        }
    }
}

/// The contacts of an export.
fn read(csv: &str) -> Result<Vec<Contact>, String> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| names.iter().position(|at| *at == name).ok_or_else(|| format!("no column '{name}'"));
    let (id, name, serial, origin) =
        (column("customer_id")?, column("first_name")?, column("serial")?, column("origin")?);
    let contact = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let name = (0..3).map(first_name).find(|known| cells.get(name) == Some(known))?;
        let number = |at: usize| cells.get(at)?.parse().ok();
        Some(Contact { key: key_of(cells.get(id)?)?, name, serial: number(serial)?, origin: number(origin)? })
    };
    lines.map(|line| contact(line).ok_or_else(|| format!("no contact of ours: {line}"))).collect()
}

/// Looks into the data directory of a service that has stopped: every database is whole, and every upload has its command.
pub(crate) fn look_into_directory(data: &Path, sqlite3: &str, checked: &mut Checked) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let ask =
        |file: &Path, sql: &str| text_of(Command::new(sqlite3).arg("-batch").arg(file).arg(sql).stdin(Stdio::null()));
    let catalogue = data.join("catalogue.db");
    let mut files = vec![catalogue.clone()];
    files.extend(
        names(&data.join("programs"))?
            .into_iter()
            .filter(|name| name.ends_with(".db"))
            .map(|name| data.join("programs").join(name)),
    );
    for file in &files {
        let said = ask(file, "PRAGMA integrity_check; PRAGMA foreign_key_check;")?;
        if said.trim() != "ok" {
            wrong.push(format!("{} is not whole: {said}", file.display()));
        }
    }
    checked.files = files.len();
    let expected = ask(
        &catalogue,
        "SELECT lower(hex(id)) || '.csv' FROM command WHERE file_removed = 0 AND seq NOT IN (SELECT seq FROM payload)",
    )?;
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    let there: BTreeSet<String> = names(&data.join("payloads"))?.iter().map(|name| name.replace('-', "")).collect();
    wrong.extend(there.difference(&expected).map(|name| format!("the upload {name} has no command")));
    wrong.extend(expected.difference(&there).map(|name| format!("the upload {name} is lost")));
    checked.files += there.len();
    Ok(wrong)
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// The same of a database: every piece of an upload has its command, or is known to be nobody's yet; no lane is behind.
pub(crate) fn look_into_database(server: &Server, database: &str, checked: &mut Checked) -> Vec<String> {
    let number = |sql: &str| server.query(database, sql);
    let expected = [
        (
            "pieces of uploads without a command",
            "SELECT count(*) FROM payload WHERE NOT EXISTS (SELECT FROM command WHERE command.program = payload.program AND command.id = payload.command)
               AND NOT EXISTS (SELECT FROM receiving WHERE receiving.program = payload.program AND receiving.command = payload.command)",
        ),
        (
            "commands without an upload",
            "SELECT count(*) FROM command WHERE payload_bytes > 0 AND NOT EXISTS (SELECT FROM payload WHERE payload.program = command.program AND payload.command = command.id)",
        ),
        ("lanes that are not at their end", "SELECT count(*) FROM lane WHERE head <> next_seq OR running"),
    ];
    checked.files = number("SELECT count(*) FROM payload").parse().unwrap_or(0);
    let wrong = expected.map(|(what, sql)| (what, number(sql)));
    wrong.into_iter().filter(|(_, count)| count != "0").map(|(what, count)| format!("{what}: {count}")).collect()
}
