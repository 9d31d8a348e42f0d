//! A reader: pages through programs all the while, and notes what it saw. Whether it may have seen that is known at the end.

use std::time::Instant;

use super::client::key_of;
use super::ground::{Ground, Link};
use super::plan::{HOT, PROGRAMS};
use crate::bench_file::Dice;
use crate::http::member;
use crate::sign::Signed;

/// Contacts on a page of many.
pub(super) const PAGE: u64 = 500;

/// What one answer showed.
pub(super) struct Seen {
    pub(super) program: usize,
    /// Before it was asked.
    pub(super) begun: Instant,
    /// How many contacts the program had.
    pub(super) total: u64,
    pub(super) page: Page,
}

pub(super) enum Page {
    /// The hot contacts: `serial`, the same of all.
    Hot(u64),
    /// Whose contacts stand from a place on.
    Keys(u64, Vec<u64>),
}

/// Reads until it is to stop. What is wrong whatever the imports are is told at once.
pub(super) fn run(ground: &Ground, seed: u64) -> Vec<Seen> {
    let (mut link, mut dice, mut seen) = (Link::new(ground), Dice(seed), Vec::new());
    let mut totals = [0_u64; PROGRAMS as usize];
    while link.goes_on() {
        let program = dice.below(PROGRAMS) as usize;
        // Where new ones come in, or somewhere.
        let from = match dice.below(2) {
            0 => totals[program].saturating_sub(PAGE - 50),
            _ => dice.below(totals[program] + 1),
        };
        let is_hot = dice.below(2) == 0;
        let what = if is_hot { format!("&type=full&count={HOT}") } else { format!("&count={PAGE}&offset={from}") };
        let tenant = &ground.tenants[program];
        let path = format!("/v1/programs/{}/participants?active=all{what}", tenant.program);
        let begun = Instant::now();
        let Some(answer) = link.once(&Signed::bare(tenant, "GET", &path)) else { continue };
        if matches!(answer.status, 429 | 503) {
            continue;
        }
        let page = if answer.status == 200 { read(&answer.body, is_hot, from) } else { Err(answer.head.clone()) };
        match page {
            Ok((total, page)) => {
                totals[program] = total;
                seen.push(Seen { program, begun, total, page });
            }
            Err(fault) => ground.tell(format!("a reader of program {program}, {path}: {fault}")),
        }
    }
    seen
}

fn read(body: &str, is_hot: bool, from: u64) -> Result<(u64, Page), String> {
    let total = body.rfind("\"total\":").and_then(|at| member(&body[at..], "total")?.parse().ok());
    let total = total.ok_or_else(|| format!("no total: {body}"))?;
    let contacts = body.split("\"customerId\":\"").skip(1);
    if !is_hot {
        let keys = contacts.map(|contact| key_of(contact.split('"').next()?)).collect::<Option<Vec<u64>>>();
        return Ok((total, Page::Keys(from, keys.ok_or("somebody else's contact")?)));
    }
    let serial = |contact: &str| {
        let field = &contact[contact.find("\"name\":\"serial\"")?..];
        member(field, "value")?.parse::<u64>().ok()
    };
    let serials: Vec<Option<u64>> = contacts.map(serial).collect();
    match serials.as_slice() {
        [Some(first), ..] if serials.len() as u64 == HOT && serials.iter().all(|serial| *serial == Some(*first)) => {
            Ok((total, Page::Hot(*first)))
        }
        _ => Err(format!("half an import is visible: of {HOT} contacts that are set together, serial is {serials:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_import_is_seen() {
        let full = |serials: &[u64]| {
            let item = |serial: &u64| {
                format!(r#"{{"customerId":"k1","profile":[{{"name":"serial","type":"Numeric","value":"{serial}"}}]}}"#)
            };
            format!(r#"{{"items":[{}],"total":40}}"#, serials.iter().map(item).collect::<Vec<_>>().join(","))
        };
        assert!(matches!(read(&full(&[7; HOT as usize]), true, 0), Ok((40, Page::Hot(7)))));
        let mut serials = [7; HOT as usize];
        serials[5] = 8;
        assert!(read(&full(&serials), true, 0).is_err_and(|fault| fault.starts_with("half an import")));
        assert!(read(&full(&[7; HOT as usize - 1]), true, 0).is_err());
    }

    #[test]
    fn a_page_is_read() {
        let body = r#"{"items":[{"id":"x","customerId":"k12"},{"id":"y","customerId":"k3"}],"links":[],"total":2}"#;
        assert!(matches!(read(body, false, 5), Ok((2, Page::Keys(5, keys))) if keys == [12, 3]));
    }
}
