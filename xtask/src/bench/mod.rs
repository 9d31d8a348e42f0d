//! `cargo xtask bench`: how long imports take beside what the databases' own shells need to bring the same rows into a table
//! with the same unique keys. One run on one machine, everything in turn, medians.
//!
//! What is measured of the service: from the first byte of a signed POST until its answer with the completed status
//! (`Prefer: wait`), by the released binary over real HTTP. Signing and making the JSON are the client's, and not in it.
//! Of a shell: its whole run, from its start to its end. Every result is checked by its counts.
//!
//! A case is a line of [`STEPS`] on each home; anything that brings a file in is a [`Side`].

mod growth;
mod nodes;
mod paging;
mod place;
mod service;
mod shells;
mod small;
mod table;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::bench_file::{self, Changes};
use crate::options::Options;
use crate::postgres::Server;
use crate::{complain, needs, root, roster, say};

/// A file that is brought in, and what comes of it.
pub(crate) struct Input {
    name: &'static str,
    path: PathBuf,
    csv: String,
    rows: u64,
    /// Rows that no earlier file had.
    added: u64,
    /// Rows that are other ones than in the file before.
    changed: u64,
}

/// What bringing a file in has cost.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    took: Duration,
    peak_kib: u64,
    /// Processor time of the service; the shells' own is not asked for.
    processor_seconds: Option<f64>,
    /// The same of the database's server, where there is one.
    database_seconds: Option<f64>,
}

/// Something that brings files in.
trait Side {
    fn name(&self) -> String;
    /// An empty place for the files of a round.
    fn begin(&mut self) -> Result<(), String>;
    /// Brings a file in after the earlier ones of the round, and checks what came of it.
    fn bring(&mut self, input: &Input) -> Result<Sample, String>;
}

/// A home, the service on it, and what it is measured beside.
type Pair<'a> = (&'static str, Box<dyn Side + 'a>, Box<dyn Side + 'a>);

/// What is told of a round's files: a name, and which rows differ from the file before.
const STEPS: [(&str, Changes); 3] = [
    ("first load", Changes { every: 0, night: 0 }),
    ("1 % changed", Changes { every: 100, night: 1 }),
    ("all changed", Changes { every: 1, night: 2 }),
];

/// How often each page is read.
const PAGING_SAMPLES: usize = 201;

struct Wanted {
    rows: u64,
    rounds: usize,
    /// Contacts of the program that is read page by page.
    contacts: u64,
    /// Of the largest file that is sent as it is.
    rows_max: u64,
    only: String,
    /// Another build of the service to measure beside, in place of the shells.
    against: Option<PathBuf>,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            rows: 100_000,
            rounds: 5,
            contacts: 1_000_000,
            rows_max: 1_000_000,
            only: String::new(),
            against: None,
        };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--rows" => wanted.rows = options.number(name, 100)?,
                "--rounds" => wanted.rounds = options.number(name, 1)?,
                "--contacts" => wanted.contacts = options.number(name, 10_000)?,
                "--rows-max" => wanted.rows_max = options.number(name, 100)?,
                "--only" => options.value(name)?.clone_into(&mut wanted.only),
                "--against" => wanted.against = Some(binary(options.value(name)?)?),
                _ => return Err(format!("bench has no option '{name}'")),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }
}

fn binary(path: &str) -> Result<PathBuf, String> {
    Path::new(path).canonicalize().map_err(|fault| format!("{path}: {fault}"))
}

fn case_name(home: &str, step: &str) -> String {
    format!("{home}: {step}")
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let wanted = match Wanted::of(arguments) {
        Ok(wanted) => wanted,
        Err(sentence) => {
            complain(format_args!(
                "{sentence}\nusage: cargo xtask bench [--rows N] [--rounds N] [--contacts N] [--rows-max N] [--only PART OF A CASE'S NAME] [--against BINARY]"
            ));
            return ExitCode::from(2);
        }
    };
    match measure(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            complain(format_args!("xtask bench: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(wanted: &Wanted) -> Result<(), String> {
    let sqlite3 = needs::for_bench()?;
    let binary = roster::build(true)?;
    let directory = root().join("target/bench");
    let failed = |fault: std::io::Error| format!("{}: {fault}", directory.display());
    // What an earlier run has left.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(failed)?;
    let directory = directory.canonicalize().map_err(failed)?;
    let inputs = inputs(&directory, wanted.rows)?;
    // Its defaults, which keep what was committed; no statement of the bench is logged.
    let server = Server::start(None, &["listen_addresses=", "max_connections=200"]);
    let home = |binary: &Path, name: &str, database: Option<String>| roster::Home {
        binary: binary.to_owned(),
        directory: directory.join(name),
        database,
        lease_seconds: 10,
    };
    for name in ["service", "against", "nodes", "paging", "small"] {
        fs::create_dir(directory.join(name)).map_err(failed)?;
    }
    let mut table = table::Table::default();
    say(format_args!("{}\n{} rounds of {} rows", table::machine(), wanted.rounds, wanted.rows));
    {
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        if is_wanted(wanted, "sqlite") {
            let service = |binary: &Path, name| service::Service::start(home(binary, name, None), None, name);
            let beside: Box<dyn Side> = match &wanted.against {
                Some(other) => Box::new(service(other, "against")?),
                None => Box::new(shells::Sqlite3::new(sqlite3, &directory)),
            };
            pairs.push(("sqlite", Box::new(service(&binary, "service")?), beside));
        }
        if is_wanted(wanted, "postgres") {
            let service = |binary: &Path, name| {
                server.query("postgres", &format!("CREATE DATABASE {name}"));
                service::Service::start(home(binary, name, Some(server.url(name, ""))), Some(&server), name)
            };
            let beside: Box<dyn Side> = match &wanted.against {
                Some(other) => Box::new(service(other, "against")?),
                None => Box::new(shells::Psql::new(&server)?),
            };
            pairs.push(("postgres", Box::new(service(&binary, "service")?), beside));
        }
        for round in 0..wanted.rounds {
            for (home, ours, floor) in &mut pairs {
                one_round(wanted, round, home, [ours.as_mut(), floor.as_mut()], &inputs, &mut table)?;
            }
        }
    }
    table.print();
    let mut builds = vec![place::Build { name: "roster", binary: binary.clone() }];
    builds.extend(wanted.against.clone().map(|binary| place::Build { name: "against", binary }));
    let place = place::Place { wanted, builds, directory: directory.clone(), server: &server };
    growth::measure(&place)?;
    if wanted.wants(nodes::NAME) {
        nodes::measure(&home(&binary, "nodes", Some(server.url("nodes", ""))), &server, wanted.rounds, wanted.rows)?;
    }
    if wanted.wants(small::NAME) {
        small::measure("sqlite", &home(&binary, "small", None), wanted.rounds, wanted.contacts)?;
        server.query("postgres", "CREATE DATABASE small");
        let postgres = home(&binary, "small", Some(server.url("small", "")));
        small::measure("postgres", &postgres, wanted.rounds, wanted.contacts)?;
    }
    if wanted.wants(paging::NAME) {
        paging::measure("sqlite", &home(&binary, "paging", None), wanted.contacts, PAGING_SAMPLES)?;
        server.query("postgres", "CREATE DATABASE paging");
        let postgres = home(&binary, "paging", Some(server.url("paging", "")));
        paging::measure("postgres", &postgres, wanted.contacts, PAGING_SAMPLES)?;
    }
    say(format_args!("at the end: {}", table::load()));
    Ok(())
}

/// Who is first changes with the round.
fn in_turn<T>(sides: &[T], round: usize) -> impl Iterator<Item = &T> {
    (0..sides.len()).map(move |place| &sides[(place + round) % sides.len()])
}

fn is_wanted(wanted: &Wanted, home: &str) -> bool {
    STEPS.iter().any(|(step, _)| wanted.wants(&case_name(home, step)))
}

/// Both sides bring every file in, in turn; who is first changes with the round.
fn one_round(
    wanted: &Wanted,
    round: usize,
    home: &str,
    mut sides: [&mut dyn Side; 2],
    inputs: &[Input],
    table: &mut table::Table,
) -> Result<(), String> {
    for side in &mut sides {
        side.begin()?;
    }
    let last = inputs.iter().rposition(|input| wanted.wants(&case_name(home, input.name))).unwrap_or(0);
    for input in &inputs[..=last] {
        let case = case_name(home, input.name);
        for place in 0..2 {
            let at = (place + round) % 2;
            let sample = sides[at].bring(input).map_err(|fault| format!("{case}, {}: {fault}", sides[at].name()))?;
            if wanted.wants(&case) {
                table.add(&case, at, &sides[at].name(), sample);
            }
        }
    }
    Ok(())
}

fn inputs(directory: &Path, rows: u64) -> Result<Vec<Input>, String> {
    STEPS
        .iter()
        .map(|(name, changes)| {
            let path = directory.join(format!("night-{}.csv", changes.night));
            let failed = |fault: std::io::Error| format!("{}: {fault}", path.display());
            let file = File::create(&path).map_err(failed)?;
            bench_file::write(BufWriter::new(file), rows, *changes).map_err(failed)?;
            let csv = fs::read_to_string(&path).map_err(failed)?;
            let changed = if changes.every == 0 { 0 } else { rows.div_ceil(changes.every) };
            Ok(Input { name, path, csv, rows, added: if changes.every == 0 { rows } else { 0 }, changed })
        })
        .collect()
}
