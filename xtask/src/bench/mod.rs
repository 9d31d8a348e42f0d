//! `cargo xtask bench`: how long imports take beside what the databases' own shells need to bring the same rows into a table
//! with the same unique keys. One run on one machine, everything in turn, medians.
//!
//! What is measured of the service: from the first byte of a signed POST until its answer with the completed status
//! (`Prefer: wait`), by the released binary over real HTTP. Signing and making the JSON are the client's, and not in it.
//! Of a shell: its whole run, from its start to its end. Every result is checked by its counts.
//!
//! A case is a line of [`STEPS`] on each home; anything that brings a file in is a [`Side`].

mod bodies;
mod console;
mod disk;
mod growth;
mod nodes;
mod paging;
mod place;
mod polls;
mod programs;
mod service;
mod shells;
mod small;
mod table;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use self::place::{Build, Kind, Place};
use crate::bench_file::{self, Changes};
use crate::options::{Options, run_tool};
use crate::postgres::Server;
use crate::{needs, root, roster, say};

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

struct Wanted {
    rows: u64,
    rounds: usize,
    /// Contacts of the program that is read page by page.
    contacts: u64,
    /// Of the largest file that is sent as it is.
    rows_max: u64,
    /// Bytes of the largest body in JSON; the service takes no larger one by default.
    body_max: u64,
    only: String,
    /// Another build of the service to measure beside; in place of the shells, where there are such.
    against: Option<PathBuf>,
    effort: Effort,
}

/// How often small things are done.
struct Effort {
    /// Imports of one row by all clients together, and by one alone.
    imports: usize,
    imports_alone: usize,
    /// Imports whose latency is measured.
    probes: usize,
    /// How long is polled at a time.
    poll_seconds: u64,
    /// How often each page is read.
    pages: usize,
    /// Imports that a program has had whose pages are opened.
    history: u64,
}

impl Wanted {
    fn full() -> Wanted {
        let effort =
            Effort { imports: 960, imports_alone: 160, probes: 200, poll_seconds: 3, pages: 201, history: 10_000 };
        Wanted {
            rows: 100_000,
            rounds: 5,
            contacts: 1_000_000,
            rows_max: 1_000_000,
            body_max: 67_000_000,
            only: String::new(),
            against: None,
            effort,
        }
    }

    /// All cases as small as can be: shows that they work, and measures nothing.
    fn quick() -> Wanted {
        let effort = Effort { imports: 64, imports_alone: 16, probes: 10, poll_seconds: 1, pages: 11, history: 100 };
        Wanted {
            rows: 4_000,
            rounds: 1,
            contacts: 20_000,
            rows_max: 30_000,
            body_max: 6_000_000,
            effort,
            ..Wanted::full()
        }
    }

    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted = if arguments.contains(&"--quick") { Wanted::quick() } else { Wanted::full() };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--quick" => {}
                "--rows" => wanted.rows = options.number(name, 100)?,
                "--rounds" => wanted.rounds = options.number(name, 1)?,
                "--contacts" => wanted.contacts = options.number(name, 10_000)?,
                "--rows-max" => wanted.rows_max = options.number(name, 100)?,
                "--body-max" => wanted.body_max = options.number(name, 100_000)?,
                "--only" => options.value(name)?.clone_into(&mut wanted.only),
                "--against" => wanted.against = Some(binary(options.value(name)?)?),
                _ => return Err(format!("bench has no option '{name}'")),
            }
        }
        // One that is misspelt would measure nothing, and look well.
        if cases().iter().any(|case| wanted.wants(case)) {
            Ok(wanted)
        } else {
            Err(format!("no case has '{}' in its name; there are: {}", wanted.only, cases().join(", ")))
        }
    }

    fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }
}

/// The names of all.
fn cases() -> Vec<String> {
    let on_homes = [growth::NAME, bodies::NAME, programs::NAME, polls::NAME, small::NAME, paging::NAME, console::NAME];
    let on_homes = STEPS.iter().map(|(step, _)| *step).chain(on_homes);
    let mut cases: Vec<String> = on_homes.flat_map(|case| Kind::ALL.map(|kind| case_name(kind.name(), case))).collect();
    cases.extend([case_name(Kind::Postgres.name(), nodes::NAME), disk::NAME.to_owned()]);
    cases
}

fn binary(path: &str) -> Result<PathBuf, String> {
    Path::new(path).canonicalize().map_err(|fault| format!("{path}: {fault}"))
}

fn case_name(home: &str, step: &str) -> String {
    format!("{home}: {step}")
}

const USAGE: &str = "usage: cargo xtask bench [--rows N] [--rounds N] [--contacts N] [--rows-max N] [--body-max BYTES] [--quick] [--only PART OF A CASE'S NAME] [--against BINARY]";

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("bench", USAGE, Wanted::of(arguments), |wanted| measure(wanted).map(|()| true))
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
    let mut builds = vec![Build { name: "roster", binary }];
    builds.extend(wanted.against.clone().map(|binary| Build { name: "against", binary }));
    let place = Place { wanted, builds, directory, server: &server };
    say(format_args!("{}\n{} rounds of {} rows", table::machine(), wanted.rounds, wanted.rows));
    files(&place, sqlite3, &inputs)?;
    growth::measure(&place)?;
    bodies::measure(&place)?;
    programs::measure(&place)?;
    nodes::measure(&place)?;
    polls::measure(&place)?;
    small::measure(&place)?;
    disk::measure(&place, &inputs[0].path)?;
    paging::measure(&place)?;
    console::measure(&place)?;
    say(format_args!("at the end: {}", table::load()));
    Ok(())
}

/// The files of some nights, beside the shells or another build.
fn files(place: &Place<'_>, sqlite3: &'static str, inputs: &[Input]) -> Result<(), String> {
    let wanted = place.wanted;
    let mut table = table::Table::default();
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    let is_wanted = |kind: Kind| STEPS.iter().any(|(step, _)| wanted.wants(&case_name(kind.name(), step)));
    for kind in Kind::ALL.into_iter().filter(|kind| is_wanted(*kind)) {
        let service = |build| service::Service::start(place, kind, build);
        let beside: Box<dyn Side> = match kind {
            _ if place.builds.len() > 1 => Box::new(service(1)?),
            Kind::Sqlite => Box::new(shells::Sqlite3::new(sqlite3, &place.directory)),
            Kind::Postgres => Box::new(shells::Psql::new(place.server)?),
        };
        pairs.push((kind.name(), Box::new(service(0)?), beside));
    }
    if pairs.is_empty() {
        return Ok(());
    }
    say(
        "\nfiles of contacts, as JSON, beside what brings the same rows in without a service; seconds until they are completed",
    );
    let mut floor = Vec::new();
    for round in 0..wanted.rounds {
        floor.push(disk::megabytes_a_second(&place.directory, &inputs[0].path)?);
        for (home, ours, beside) in &mut pairs {
            one_round(wanted, round, home, [ours.as_mut(), beside.as_mut()], inputs, &mut table)?;
        }
    }
    table.print();
    table.print_floor(inputs[0].csv.len() as f64 / 1e6, table::median(&table::sorted(floor)));
    Ok(())
}

/// The numbers of so many sides; who is first changes with the round.
fn in_turn(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |place| (place + round) % sides)
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
