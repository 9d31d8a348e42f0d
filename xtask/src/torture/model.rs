//! What must have come of the imports of one program, carried out one after the other in the order of their acceptance; and
//! where what is there is something else.

use std::collections::HashMap;
use std::time::Instant;

use super::client::{Sent, first_name};
use super::plan::{HOT, Import};
use super::reader::{PAGE, Page, Seen};
use crate::http::member;

/// A contact of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Contact {
    pub(super) key: u64,
    pub(super) name: &'static str,
    pub(super) serial: u64,
    pub(super) origin: u64,
}

/// What a report says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    read: u64,
    added: u64,
    updated: u64,
    unchanged: u64,
    ignored: u64,
    failed: u64,
    error_count: u64,
    /// Why nothing of it took effect.
    not_applied: Option<String>,
}

impl Outcome {
    /// Of a complete status.
    pub(super) fn of(status: &str) -> Option<Outcome> {
        let message = &status[status.find("\"message\":")?..];
        let count = |name| member(message, name)?.parse().ok();
        let not_applied = member(message, "notApplied").map(str::to_owned);
        if member(message, "applied") != Some(if not_applied.is_none() { "true" } else { "false" }) {
            return None;
        }
        Some(Outcome {
            read: count("read")?,
            added: count("added")?,
            updated: count("updated")?,
            unchanged: count("unchanged")?,
            ignored: count("ignored")?,
            failed: count("failed")?,
            error_count: count("errorCount")?,
            not_applied,
        })
    }

    fn is_cancelled(&self) -> bool {
        self.not_applied.as_deref() == Some("cancelled")
    }

    fn adds_up(&self) -> bool {
        self.read == self.added + self.updated + self.unchanged + self.ignored + self.failed
    }
}

/// A program as it must be.
#[derive(Default)]
struct Program {
    /// In the order of their addition.
    contacts: Vec<Contact>,
    places: HashMap<u64, usize>,
}

impl Program {
    fn carry_out(&mut self, import: &Import) -> Outcome {
        let Import { number, adds, existing, is_tx, .. } = import;
        let sets = |field: &str| existing.as_ref().is_some_and(|fields| fields.contains(&field));
        let mut outcome = Outcome { read: import.rows.len() as u64, ..Outcome::default() };
        let (mut added, mut updated) = (Vec::new(), Vec::new());
        for row in &import.rows {
            let name = first_name(row.name);
            match self.places.get(&row.key) {
                None if !adds => outcome.ignored += 1,
                None if row.is_bad => outcome.failed += 1,
                None => added.push(Contact { key: row.key, name, serial: *number, origin: *number }),
                Some(_) if existing.is_none() => outcome.ignored += 1,
                Some(_) if row.is_bad && sets("serial") => outcome.failed += 1,
                Some(place) => {
                    let before = self.contacts[*place];
                    let serial = if sets("serial") { *number } else { before.serial };
                    let after = Contact { name: if sets("first_name") { name } else { before.name }, serial, ..before };
                    if after == before {
                        outcome.unchanged += 1;
                    } else {
                        updated.push((*place, after));
                    }
                }
            }
        }
        (outcome.added, outcome.updated) = (added.len() as u64, updated.len() as u64);
        let is_over = import.new_max.is_some_and(|most| outcome.added > most);
        outcome.error_count = outcome.failed + u64::from(is_over);
        outcome.not_applied = match () {
            () if *is_tx && outcome.failed > 0 => Some("tx_errors".to_owned()),
            () if is_over => Some("limit".to_owned()),
            () => import.is_dry_run.then(|| "dry_run".to_owned()),
        };
        if outcome.not_applied.is_none() {
            updated.into_iter().for_each(|(place, after)| self.contacts[place] = after);
            for contact in added {
                self.places.insert(contact.key, self.contacts.len());
                self.contacts.push(contact);
            }
        }
        outcome
    }
}

/// What was found of a program at the end.
pub(super) struct Found<'a> {
    /// What was accepted for it, in the order of acceptance.
    pub(super) order: Vec<&'a Sent>,
    /// In the order of their addition.
    pub(super) contacts: Vec<Contact>,
    /// By each reader.
    pub(super) seen: Vec<Vec<&'a Seen>>,
}

/// Where a program stood after some of its imports.
struct Moment {
    contacts: u64,
    /// Of the hot contacts.
    serial: u64,
}

/// Everything that differs, as sentences.
pub(super) fn differences(found: &Found<'_>) -> Vec<String> {
    let (mut program, mut wrong) = (Program::default(), Vec::new());
    let mut moments = vec![Moment { contacts: 0, serial: 0 }];
    for sent in &found.order {
        let number = sent.import.number;
        let Some(is) = sent.completed.as_ref().and_then(|(_, status)| Outcome::of(status)) else {
            wrong.push(format!("import {number} has no report that can be read: {:?}", sent.completed));
            continue;
        };
        if is.is_cancelled() {
            if sent.cancel.is_none() {
                wrong.push(format!("import {number} was cancelled by nobody"));
            }
        } else {
            if sent.cancel == Some((200, true)) {
                wrong.push(format!(
                    "import {number} was cancelled, as its client was told, and carried out all the same"
                ));
            }
            let must = program.carry_out(&sent.import);
            if is != must {
                wrong.push(format!("the report of import {number} is {is:?}; it must be {must:?}"));
            }
        }
        if !is.adds_up() {
            wrong.push(format!("the counts of import {number} do not add up: {is:?}"));
        }
        let serial = program.contacts.first().map_or(0, |contact| contact.serial);
        moments.push(Moment { contacts: program.contacts.len() as u64, serial });
    }
    order_of_clients(&found.order, &mut wrong);
    contacts(&found.contacts, &program.contacts, &mut wrong);
    if wrong.is_empty() {
        // Else the readers saw only what is told already.
        for seen in &found.seen {
            reader(seen, (&moments, &found.order), &program.contacts, &mut wrong);
        }
    }
    wrong
}

/// What was answered before another was sent must have been accepted before it.
fn order_of_clients(order: &[&Sent], wrong: &mut Vec<String>) {
    let mut latest: Option<&Sent> = None;
    for sent in order {
        // The one before it in the order that was sent last.
        if let Some(latest) = latest
            && sent.accepted < latest.begun
        {
            let (first, second) = (sent.import.number, latest.import.number);
            wrong.push(format!("import {first} was answered before {second} was sent, and stands after it"));
        }
        if latest.is_none_or(|latest| sent.begun > latest.begun) {
            latest = Some(sent);
        }
    }
}

fn contacts(is: &[Contact], must: &[Contact], wrong: &mut Vec<String>) {
    if is.len() != must.len() {
        wrong.push(format!("there are {} contacts; there must be {}", is.len(), must.len()));
    }
    for (place, (is, must)) in is.iter().zip(must).enumerate().filter(|(_, (is, must))| is != must).take(3) {
        wrong.push(format!("contact {place} is {is:?}; it must be {must:?}"));
    }
}

/// A reader may have seen the program as it was at some moment, never an earlier one than before, and with all imports that
/// were known to be complete.
fn reader(seen: &[&Seen], (moments, order): (&[Moment], &[&Sent]), contacts: &[Contact], wrong: &mut Vec<String>) {
    let mut least = 0;
    for seen in seen {
        let known = known_by(seen.begun, order);
        let is_so = |moment: &Moment| {
            let is_hot = match seen.page {
                Page::Hot(serial) => serial == moment.serial,
                Page::Keys(..) => true,
            };
            is_hot && moment.contacts == seen.total
        };
        let from = least.max(known);
        match (from..moments.len()).find(|at| is_so(&moments[*at])) {
            Some(at) => least = at,
            None => {
                let (total, what) = (seen.total, what(&seen.page));
                let before = (0..from).rfind(|at| is_so(&moments[*at]));
                wrong.push(match before {
                    Some(at) => format!(
                        "a reader saw {total} contacts and {what}: that was so after {at} imports, and {from} were known to be complete or had been seen"
                    ),
                    None => format!("a reader saw {total} contacts and {what}: that was never so, half an import is visible"),
                });
            }
        }
        if let Page::Keys(from, keys) = &seen.page {
            let place = *from as usize;
            let must = contacts.get(place..place + keys.len()).unwrap_or_default();
            let is_whole = keys.len() as u64 == PAGE.min(seen.total.saturating_sub(*from));
            if !is_whole || !must.iter().map(|contact| contact.key).eq(keys.iter().copied()) {
                let other = must.iter().zip(keys).position(|(must, key)| must.key != *key).unwrap_or(must.len());
                wrong.push(format!(
                    "a reader saw {} contacts from place {from} on that are not there: of {}, the first that is another one is {:?} at {}",
                    keys.len(),
                    seen.total,
                    keys.get(other),
                    place + other
                ));
            }
        }
        if wrong.len() > 50 {
            return;
        }
    }
}

fn what(page: &Page) -> String {
    match page {
        Page::Hot(serial) => format!("serial {serial} of the first {HOT}"),
        Page::Keys(from, keys) => format!("{} from place {from} on", keys.len()),
    }
}

/// How many imports were complete before that, as far as their clients knew: all up to the last of them. One that is cancelled
/// while it waits is complete before those that it waits for, and says nothing of them.
fn known_by(time: Instant, order: &[&Sent]) -> usize {
    let is_known = |sent: &&Sent| {
        let at = sent.completed.as_ref().filter(|(at, _)| *at < time);
        at.is_some_and(|(_, status)| Outcome::of(status).is_some_and(|outcome| !outcome.is_cancelled()))
    };
    order.iter().rposition(is_known).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plan::{Row, first_import};
    use super::*;

    fn row(key: u64) -> Row {
        Row { key, name: 1, is_bad: false }
    }

    fn status(outcome: &Outcome) -> String {
        let Outcome { read, added, updated, unchanged, ignored, failed, error_count, not_applied } = outcome;
        let why = not_applied.as_ref().map(|why| format!(r#""notApplied":"{why}","#)).unwrap_or_default();
        let applied = not_applied.is_none();
        format!(
            r#"{{"complete":true,"message":{{"applied":{applied},{why}"rows":{{"read":{read},"added":{added},"updated":{updated},"unchanged":{unchanged},"ignored":{ignored},"failed":{failed}}},"errorCount":{error_count}}}}}"#
        )
    }

    /// Each is sent when the one before it was complete; that is one step in time.
    fn carried_out(imports: Vec<Import>) -> (Vec<Sent>, Vec<Contact>) {
        let (mut program, begun) = (Program::default(), Instant::now());
        let sent = imports.into_iter().zip(0..).map(|(import, step)| {
            let outcome = program.carry_out(&import);
            let at = |part: u64| begun + Duration::from_millis(10 * step + part);
            let completed = Some((at(2), status(&outcome)));
            let location = format!("/v2/commands/{step}");
            Sent { import, location, begun: at(0), accepted: at(1), completed, cancel: None }
        });
        (sent.collect(), program.contacts)
    }

    /// Two imports that set `serial` of all and add one contact each, after what a program begins with.
    fn three() -> (Vec<Sent>, Vec<Contact>) {
        let first = Import { rows: (0..HOT).map(row).collect(), ..first_import(0) };
        let next = |number: u64| Import {
            number,
            existing: Some(vec!["serial"]),
            rows: (0..HOT).chain([100 + number]).map(row).collect(),
            ..first.clone()
        };
        carried_out(vec![first.clone(), next(1), next(2)])
    }

    fn found(order: Vec<&Sent>, contacts: &[Contact]) -> Vec<String> {
        differences(&Found { order, contacts: contacts.to_vec(), seen: Vec::new() })
    }

    fn one(wrong: &[String], word: &str) {
        assert!(wrong.iter().any(|what| what.contains(word)), "nothing says '{word}': {wrong:#?}");
    }

    #[test]
    fn what_is_as_it_must_be_is_not_complained_of() {
        let (sent, contacts) = three();
        assert_eq!(found(sent.iter().collect(), &contacts), Vec::<String>::new());
        assert_eq!((contacts.len() as u64, contacts[0].serial), (HOT + 2, 2));
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        let (sent, contacts) = three();
        one(&found(sent.iter().collect(), &contacts[..contacts.len() - 1]), "contacts; there must be");
        let twice: Vec<Contact> = contacts.iter().chain(contacts.last()).copied().collect();
        one(&found(sent.iter().collect(), &twice), "contacts; there must be");
        one(&found(vec![&sent[0], &sent[2], &sent[1]], &contacts), "was answered before");
        let mut late = contacts.clone();
        late[0].serial = 1;
        one(&found(sent.iter().collect(), &late), "contact 0 is");
        let mut swapped = contacts.clone();
        swapped.swap(HOT as usize, HOT as usize + 1);
        one(&found(sent.iter().collect(), &swapped), "it must be");
    }

    #[test]
    fn a_report_of_another_moment_is_found() {
        let (mut sent, contacts) = three();
        // As if it were carried out once more, and that were told.
        let again = Outcome { read: HOT + 1, unchanged: HOT + 1, ..Outcome::default() };
        sent[1].completed = sent[1].completed.take().map(|(at, _)| (at, status(&again)));
        one(&found(sent.iter().collect(), &contacts), "the report of import 1 is");
        let wrong = Outcome { read: HOT + 1, added: 1, ..Outcome::default() };
        sent[1].completed = sent[1].completed.take().map(|(at, _)| (at, status(&wrong)));
        one(&found(sent.iter().collect(), &contacts), "do not add up");
    }

    #[test]
    fn a_cancelled_import_has_no_effect_and_somebody_asked_for_it() {
        let (mut sent, _) = three();
        let cancelled = Outcome { error_count: 1, not_applied: Some("cancelled".to_owned()), ..Outcome::default() };
        sent[2].completed = sent[2].completed.take().map(|(at, _)| (at, status(&cancelled)));
        let (_, before) = carried_out(sent[..2].iter().map(|sent| sent.import.clone()).collect());
        one(&found(sent.iter().collect(), &before), "cancelled by nobody");
        sent[2].cancel = Some((200, true));
        assert_eq!(found(sent.iter().collect(), &before), Vec::<String>::new());
        let (mut sent, contacts) = three();
        sent[2].cancel = Some((200, true));
        one(&found(sent.iter().collect(), &contacts), "carried out all the same");
    }

    #[test]
    fn what_a_reader_may_not_have_seen_is_found() {
        let (sent, contacts) = three();
        let see = |step: u64, total: u64, page: Page| Seen {
            program: 0,
            begun: sent[0].begun + Duration::from_millis(step),
            total,
            page,
        };
        let judge = |seen: &[Seen]| {
            let seen = vec![seen.iter().collect()];
            differences(&Found { order: sent.iter().collect(), contacts: contacts.clone(), seen })
        };
        let well = [see(3, HOT, Page::Hot(0)), see(14, HOT + 1, Page::Hot(1)), see(14, HOT + 2, Page::Hot(2))];
        assert_eq!(judge(&well), Vec::<String>::new());
        one(&judge(&[see(3, HOT, Page::Hot(1))]), "half an import is visible");
        one(&judge(&[see(14, HOT, Page::Hot(0))]), "known to be complete");
        one(&judge(&[see(3, HOT + 2, Page::Hot(2)), see(3, HOT + 1, Page::Hot(1))]), "known to be complete or");
        let keys = |keys: &[u64]| Page::Keys(HOT, keys.to_vec());
        assert_eq!(judge(&[see(3, HOT + 2, keys(&[101, 102]))]), Vec::<String>::new());
        one(&judge(&[see(3, HOT + 2, keys(&[101]))]), "that are not there");
        one(&judge(&[see(3, HOT + 2, keys(&[102, 101]))]), "that are not there");
    }

    #[test]
    fn an_import_does_to_each_row_what_its_options_say() {
        let (_, contacts) = three();
        let places = contacts.iter().enumerate().map(|(place, contact)| (contact.key, place)).collect();
        let mut program = Program { contacts, places };
        let bad = |key| Row { is_bad: true, ..row(key) };
        let import = |is_tx: bool| Import {
            number: 9,
            is_tx,
            existing: Some(vec!["first_name"]),
            rows: vec![row(0), Row { name: 2, ..row(1) }, bad(2), bad(900), row(901)],
            ..first_import(0)
        };
        let must =
            Outcome { read: 5, added: 1, updated: 1, unchanged: 2, failed: 1, error_count: 1, ..Outcome::default() };
        let not = Outcome { not_applied: Some("tx_errors".to_owned()), ..must.clone() };
        assert_eq!((program.carry_out(&import(true)), program.contacts.len() as u64), (not, HOT + 2));
        let limited = Import { new_max: Some(0), ..import(false) };
        let not = Outcome { not_applied: Some("limit".to_owned()), error_count: 2, ..must.clone() };
        assert_eq!((program.carry_out(&limited), program.contacts.len() as u64), (not, HOT + 2));
        assert_eq!((program.carry_out(&import(false)), program.contacts.len() as u64), (must, HOT + 3));
        assert_eq!(program.contacts[1].name, first_name(2));
        let ignoring = Import { existing: None, adds: false, ..import(false) };
        let must = Outcome { read: 5, ignored: 5, ..Outcome::default() };
        assert_eq!(program.carry_out(&ignoring), must);
    }
}
