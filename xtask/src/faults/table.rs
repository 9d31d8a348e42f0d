//! What clients saw, by step and fault: the table of docs/RELIABILITY.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ground::Seen;
use super::shim::Fault;
use crate::say;

/// How clients saw a fault at a step.
type Cells = BTreeMap<Fault, BTreeSet<String>>;

#[derive(Default)]
pub(super) struct Table {
    /// In the order in which they were met.
    rows: Vec<((String, String), Cells)>,
    pub(super) cases: u64,
    /// Those in which the fault came too late for what it was meant for.
    missed: u64,
    accepted_within: Duration,
    completed_within: Duration,
}

impl Table {
    pub(super) fn note(&mut self, what: &str, step: &str, fault: Fault, seen: &Seen, is_struck: bool) {
        self.cases += 1;
        if !is_struck {
            self.missed += 1;
            return;
        }
        let key = (what.to_owned(), step.to_owned());
        if !self.rows.iter().any(|(at, _)| *at == key) {
            self.rows.push((key.clone(), Cells::new()));
        }
        if let Some((_, cells)) = self.rows.iter_mut().find(|(at, _)| *at == key) {
            cells.entry(fault).or_default().insert(seen.words());
        }
    }

    /// How long it took after a fault until the same request was accepted, and until its import was complete.
    pub(super) fn recovered(&mut self, accepted: Duration, completed: Duration) {
        self.accepted_within = self.accepted_within.max(accepted);
        self.completed_within = self.completed_within.max(completed);
    }

    pub(super) fn print(&self, faults: &[Fault]) {
        let names = faults.iter().map(|fault| match fault {
            Fault::Full => "full",
            Fault::ReadOnly => "read-only",
            Fault::Flush => "a flush fails",
            Fault::Write => "a write fails",
            Fault::Descriptors => "no descriptors",
        });
        let mut what = "";
        for ((at, step), cells) in &self.rows {
            if at != what {
                what = at;
                let names: Vec<&str> = names.clone().collect();
                say(format_args!("\n| {what} | {} |\n| --- |{}", names.join(" | "), " --- |".repeat(names.len())));
            }
            let cell = |fault: &Fault| {
                let seen = cells.get(fault).map(|seen| seen.iter().cloned().collect::<Vec<_>>().join("; "));
                seen.unwrap_or_else(|| "–".to_owned())
            };
            let cells: Vec<String> = faults.iter().map(cell).collect();
            say(format_args!("| {step} | {} |", cells.join(" | ")));
        }
        say(format_args!(
            "\n{} cases, {} of them met too late; after a fault: accepted within {} ms, complete within {} ms",
            self.cases,
            self.missed,
            self.accepted_within.as_millis(),
            self.completed_within.as_millis()
        ));
    }
}
