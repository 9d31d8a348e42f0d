//! What one import asks of the disk, in order; found out by watching one.

use super::shim::{Asked, Fault};

/// Things of one kind, asked for of one kind of file one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) phase: &'static str,
    pub(super) asked: Asked,
    pub(super) file: &'static str,
    /// Places in the whole order, from 0.
    first: usize,
    last: usize,
}

impl Step {
    pub(super) fn words(&self) -> String {
        format!("{}: {} {}", self.phase, self.asked.word(), self.file)
    }
}

/// Which kind of file of a data directory a path is.
pub(super) fn file(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_of_program = path.contains("/programs/");
    if name.ends_with("(deleted)") || name.starts_with("etilqs") {
        "a file for sorting"
    } else if path.contains("/payloads/") {
        if name.ends_with(".part") { "the upload" } else { "the upload's last name" }
    } else if name == "payloads" {
        "the directory of the uploads"
    } else if name == "programs" {
        "the directory of the programs"
    } else if name.ends_with(".db-wal") {
        if is_of_program { "the program's log" } else { "the catalogue's log" }
    } else if name.ends_with(".db-shm") {
        if is_of_program { "the program's shared memory" } else { "the catalogue's shared memory" }
    } else if name.ends_with(".db-journal") {
        "a journal"
    } else if name.ends_with(".db") {
        if is_of_program { "the program's file" } else { "the catalogue" }
    } else if name.contains("master.key") {
        "the master key"
    } else if name.contains("lock") {
        "a lock"
    } else {
        "the data directory"
    }
}

/// The steps of an import, of what was asked for.
pub(super) fn of_import(watched: &[(Asked, String)]) -> Vec<Step> {
    let files: Vec<(Asked, &'static str)> = watched.iter().map(|(asked, path)| (*asked, file(path))).collect();
    let is_of_program = |file: &str| file.contains("program") || file.contains("sorting");
    let accepted = files.iter().position(|(asked, file)| *asked == Asked::Sync && *file == "the catalogue's log");
    let begun = files.iter().position(|(_, file)| is_of_program(file)).unwrap_or(usize::MAX);
    let ended = files.iter().rposition(|(_, file)| is_of_program(file)).unwrap_or(usize::MAX);
    let phase = |at: usize| match accepted {
        Some(accepted) if at > accepted => {
            if at < begun {
                "taking it on"
            } else if at <= ended {
                "importing"
            } else {
                "keeping the report"
            }
        }
        _ => "accepting",
    };
    grouped(&files, phase)
}

/// The steps of anything else.
pub(super) fn of_all(watched: &[(Asked, String)], phase: &'static str) -> Vec<Step> {
    let files: Vec<(Asked, &'static str)> = watched.iter().map(|(asked, path)| (*asked, file(path))).collect();
    grouped(&files, |_| phase)
}

fn grouped(files: &[(Asked, &'static str)], phase: impl Fn(usize) -> &'static str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, (asked, file)) in files.iter().enumerate() {
        match steps.iter_mut().find(|step| (step.phase, step.asked, step.file) == (phase(at), *asked, file)) {
            Some(step) => step.last = at,
            None => steps.push(Step { phase: phase(at), asked: *asked, file, first: at, last: at }),
        }
    }
    steps
}

/// Which of the things that a fault strikes are the first and the last of a step, from 1; none, if it does not strike it.
pub(super) fn struck(watched: &[(Asked, String)], step: &Step, fault: Fault) -> Option<(i64, i64)> {
    let strikes = |asked: Asked| fault.strikes().contains(&asked);
    if !strikes(step.asked) {
        return None;
    }
    let before = |at: usize| watched[..at].iter().filter(|(asked, _)| strikes(*asked)).count() as i64 + 1;
    Some((before(step.first), before(step.last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_falls_into_steps() {
        let watched: Vec<(Asked, String)> = [
            (Asked::Create, "/d/payloads/1.part"),
            (Asked::Sync, "/d/payloads/1.part"),
            (Asked::Write, "/d/catalogue.db-wal"),
            (Asked::Write, "/d/catalogue.db-wal"),
            (Asked::Sync, "/d/catalogue.db-wal"),
            (Asked::Write, "/d/catalogue.db-wal"),
            (Asked::Write, "/d/programs/1.db-wal"),
            (Asked::Sync, "/d/programs/1.db-wal"),
            (Asked::Write, "/d/catalogue.db-wal"),
        ]
        .map(|(asked, path)| (asked, path.to_owned()))
        .into();
        let steps = of_import(&watched);
        let words: Vec<String> = steps.iter().map(Step::words).collect();
        let expected = [
            "accepting: create the upload",
            "accepting: sync the upload",
            "accepting: write the catalogue's log",
            "accepting: sync the catalogue's log",
            "taking it on: write the catalogue's log",
            "importing: write the program's log",
            "importing: sync the program's log",
            "keeping the report: write the catalogue's log",
        ];
        assert_eq!(words, expected);
        assert_eq!(struck(&watched, &steps[2], Fault::Full), Some((2, 3)));
        assert_eq!(struck(&watched, &steps[2], Fault::Flush), None);
        assert_eq!(struck(&watched, &steps[6], Fault::Flush), Some((3, 3)));
    }
}
