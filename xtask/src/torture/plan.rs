//! What a seed says: which imports each client sends, and how each cycle ends. Nothing here knows what time it is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::bench_file::Dice;

/// Clients, each a thread with a connection of its own.
pub(super) const CLIENTS: u64 = 8;
/// Programs, shared out over the accounts.
pub(super) const PROGRAMS: u64 = 6;
/// Contacts at the beginning of each program that imports set all together or not at all.
pub(super) const HOT: u64 = 12;
/// Contacts that each program begins with.
const BASE: u64 = 3_000;
/// Keys that a client may make new in each program.
const SPAN: u64 = 1_500_000;
/// Of another client's keys, those that a file may name.
const OTHERS: u64 = 150;

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// By `kill -9`, so long after it was started, whether it listens by then or not.
    Starting(Duration),
    /// By `kill -9`, so long after it listens.
    Serving(Duration),
    /// By itself, when it comes to a place in its source for the n-th time.
    At(&'static str, u32),
}

/// Places in the source at which it may die (`ROSTER_CRASH_AT`), and for which time at most: on both homes.
const PLACES: [(&str, u64); 10] = [
    ("accept.before_commit", 12),
    ("accept.after_commit", 12),
    ("import.claimed", 8),
    ("import.begun", 8),
    ("import.batch_applied", 10),
    ("import.first_of_many_batches_applied", 1),
    ("import.before_commit", 8),
    ("import.recorded", 8),
    ("import.after_commit", 8),
    ("import.before_complete", 8),
];
const LAST_PLACES: [(&str, u64); 2] = [("import.complete", 8), ("cancel.after_commit", 1)];
const PLACES_OF_SQLITE: [(&str, u64); 9] = [
    ("payload.begun", 4),
    ("payload.written", 4),
    ("payload.flushed", 4),
    ("payload.renamed", 4),
    ("payload.durable", 4),
    ("catalogue.before_commit", 30),
    ("catalogue.after_commit", 30),
    ("start.orphans_removed", 1),
    ("start.requeued", 1),
];
const PLACES_OF_POSTGRES: [(&str, u64); 5] = [
    ("accept.decided", 8),
    ("accept.committed", 8),
    ("payload.piece_written", 2),
    ("payload.durable", 2),
    ("cancel.before_commit", 1),
];

/// Where the data is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        }
    }

    /// One cycle in so many may be a long one. On PostgreSQL what a node was at is taken over only after its lease of a second.
    fn one_long_in(self) -> u64 {
        match self {
            Kind::Sqlite => 8,
            Kind::Postgres => 3,
        }
    }

    fn places(self) -> Vec<(&'static str, u64)> {
        let own = match self {
            Kind::Sqlite => PLACES_OF_SQLITE.as_slice(),
            Kind::Postgres => &PLACES_OF_POSTGRES,
        };
        [&PLACES, own, &LAST_PLACES].concat()
    }
}

/// How each cycle ends: six in ten at any moment, four at a place; the places take turns, so that a run of some length meets
/// them all.
pub(super) fn deaths(seed: u64, kind: Kind, cycles: usize) -> Vec<Death> {
    let mut dice = Dice(seed ^ 0x6465_6174_6873);
    let places = kind.places();
    let mut turn = dice.below(places.len() as u64) as usize;
    let mut death = |_| match dice.below(20) {
        0 | 1 => Death::Starting(Duration::from_millis(dice.below(80))),
        2..12 => {
            let most = if dice.below(kind.one_long_in()) == 0 { 1_800 } else { 350 };
            Death::Serving(Duration::from_millis(dice.below(most)))
        }
        _ => {
            let (place, most) = places[turn % places.len()];
            turn += 1;
            Death::At(place, u32::try_from(dice.below(most)).unwrap_or(0) + 1)
        }
    };
    (0..cycles).map(&mut death).collect()
}

/// An import, and what its client does about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Import {
    /// No other one has it: what `serial` is set to, and what `origin` says of contacts that it adds.
    pub(super) number: u64,
    /// The place of its program.
    pub(super) program: usize,
    pub(super) is_stream: bool,
    pub(super) is_tx: bool,
    pub(super) adds: bool,
    /// What it sets of contacts that are there; `None` to ignore them.
    pub(super) existing: Option<Vec<&'static str>>,
    pub(super) is_dry_run: bool,
    /// The most new contacts, as a guard rail.
    pub(super) new_max: Option<u64>,
    pub(super) rows: Vec<Row>,
    /// Its answer is to wait for its end.
    pub(super) waits: bool,
    /// It is to be cancelled when it is accepted.
    pub(super) is_cancelled: bool,
    /// It is sent once more although it was answered.
    pub(super) is_sent_again: bool,
}

/// A record of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// Whose it is.
    pub(super) key: u64,
    /// Which first name it has.
    pub(super) name: u64,
    /// Its `serial` is no number.
    pub(super) is_bad: bool,
}

/// What a program begins with.
pub(super) fn first_import(program: usize) -> Import {
    Import {
        number: 0,
        program,
        is_stream: false,
        is_tx: true,
        adds: true,
        existing: Some(Vec::new()),
        is_dry_run: false,
        new_max: None,
        rows: (0..BASE).map(|key| Row { key, name: 0, is_bad: false }).collect(),
        waits: true,
        is_cancelled: false,
        is_sent_again: false,
    }
}

/// The imports of one client, without end.
pub(super) struct Imports {
    client: u64,
    dice: Dice,
    sent: u64,
    /// How many keys it has made new, by program.
    made: [u64; PROGRAMS as usize],
}

impl Imports {
    pub(super) fn of(seed: u64, client: u64) -> Imports {
        let dice = Dice(seed ^ (client + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        Imports { client, dice, sent: 0, made: [0; PROGRAMS as usize] }
    }

    pub(super) fn next(&mut self) -> Import {
        self.sent += 1;
        let number = (self.client + 1) * 1_000_000 + self.sent;
        let program = self.dice.below(PROGRAMS) as usize;
        let existing = match self.dice.below(10) {
            0 => None,
            1 => Some(vec!["first_name"]),
            2..5 => Some(vec!["first_name", "serial"]),
            _ => Some(vec!["customer_id", "phone", "serial"]),
        };
        let sets_serial = existing.as_ref().is_some_and(|fields| fields.contains(&"serial"));
        let (is_tx, adds) = (self.is_one_in(2), !self.is_one_in(9));
        let has_hot = sets_serial || self.is_one_in(2);
        let rows = self.rows(program, has_hot);
        let limit = self.dice.below(30);
        let new_max = self.is_one_in(25).then_some(limit);
        let is_dry_run = new_max.is_none() && self.is_one_in(30);
        Import {
            number,
            program,
            is_stream: self.is_one_in(3),
            is_tx,
            adds,
            existing,
            is_dry_run,
            new_max,
            rows,
            waits: self.is_one_in(2),
            is_cancelled: self.is_one_in(14),
            is_sent_again: self.is_one_in(10),
        }
    }

    fn is_one_in(&mut self, many: u64) -> bool {
        self.dice.below(many) == 0
    }

    /// Those of the hot contacts stand at both ends of the file, so that half an import would be seen.
    fn rows(&mut self, program: usize, has_hot: bool) -> Vec<Row> {
        let dice = &mut self.dice;
        let (new, old) = match dice.below(100) {
            0..68 => (1 + dice.below(40), dice.below(30)),
            68..90 => (50 + dice.below(300), 100 + dice.below(400)),
            90..98 => (1 + dice.below(300), 2_000 + dice.below(1_000)),
            _ => (3_000 + dice.below(2_000), 100),
        };
        // One key twice in a file would be an error.
        let mut keys = BTreeSet::new();
        for _ in 0..old {
            keys.insert(match dice.below(20) {
                0..14 => HOT + dice.below(BASE - HOT),
                14..18 if self.made[program] > 0 => key_of(self.client, dice.below(self.made[program])),
                _ => key_of(dice.below(CLIENTS), dice.below(OTHERS)),
            });
        }
        let made = self.made[program];
        keys.extend((made..made + new).map(|at| key_of(self.client, at)));
        self.made[program] += new;
        let mut keys: Vec<u64> = keys.into_iter().collect();
        for at in (1..keys.len()).rev() {
            keys.swap(at, dice.below(at as u64 + 1) as usize);
        }
        let has_bad = dice.below(7) == 0;
        let mut rows = Vec::with_capacity(keys.len() + HOT as usize);
        for key in keys {
            let is_bad = has_bad && dice.below(8) == 0 && rows.iter().filter(|row: &&Row| row.is_bad).count() < 20;
            rows.push(Row { key, name: dice.below(3), is_bad });
        }
        if has_hot {
            let name = dice.below(3);
            let mut hot: Vec<Row> = (0..HOT).map(|key| Row { key, name, is_bad: false }).collect();
            let second = hot.split_off(HOT as usize / 2);
            hot.extend(rows);
            hot.extend(second);
            return hot;
        }
        rows
    }
}

/// The n-th key that a client makes new in a program.
fn key_of(client: u64, at: u64) -> u64 {
    BASE + client * SPAN + at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_it_all_and_another_one_says_something_else() {
        let imports = |seed: u64| {
            let mut of_client = Imports::of(seed, 3);
            (0..50).map(|_| of_client.next()).collect::<Vec<Import>>()
        };
        assert_eq!(imports(7), imports(7));
        assert_ne!(imports(7), imports(8));
        for kind in [Kind::Sqlite, Kind::Postgres] {
            assert_eq!(deaths(7, kind, 300), deaths(7, kind, 300));
            assert_eq!(deaths(7, kind, 300)[..20], deaths(7, kind, 20));
            assert_ne!(deaths(7, kind, 300), deaths(8, kind, 300));
        }
    }

    #[test]
    fn every_place_is_met_and_is_in_the_source() {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let deaths = deaths(1, kind, 200);
            for (place, _) in kind.places() {
                assert!(deaths.iter().any(|death| matches!(death, Death::At(at, _) if *at == place)), "{place}");
                assert!(source().contains(&format!("test_point(\"{place}\")")), "{place} is not in the source");
            }
        }
    }

    fn source() -> String {
        let mut folders = vec![crate::root().join("src")];
        let mut text = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    text.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
                }
            }
        }
        text
    }

    #[test]
    fn no_file_names_a_contact_twice_and_the_mix_has_everything() {
        let mut of_client = Imports::of(11, 0);
        let imports: Vec<Import> = (0..400).map(|_| of_client.next()).collect();
        for import in &imports {
            let keys: BTreeSet<u64> = import.rows.iter().map(|row| row.key).collect();
            assert_eq!(keys.len(), import.rows.len());
            let hot = keys.iter().filter(|key| **key < HOT).count() as u64;
            assert!(hot == 0 || hot == HOT);
            let sets_serial = import.existing.as_ref().is_some_and(|fields| fields.contains(&"serial"));
            assert!(!sets_serial || hot == HOT, "hot contacts are set together");
        }
        let any = |is: fn(&Import) -> bool| imports.iter().any(is);
        assert!(any(|import| import.is_stream) && any(|import| !import.is_stream && import.rows.len() > 2_000));
        assert!(
            any(|import| import.is_tx) && any(|import| import.is_dry_run) && any(|import| import.new_max.is_some())
        );
        assert!(any(|import| import.is_cancelled) && any(|import| import.is_sent_again) && any(|import| !import.adds));
        assert!(any(|import| import.existing.is_none()) && any(|import| import.rows.iter().any(|row| row.is_bad)));
    }
}
