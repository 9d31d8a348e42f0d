//! `cargo xtask faults`: the disk is full, read-only or fails, descriptors and connections run out, the clock jumps; and what clients see,
//! what is kept, and that the service goes on by itself afterwards is looked at.
//!
//! A library that is preloaded ([`shim`], `faults.c`) lets each thing that an import asks of the disk fail in turn ([`steps`], [`sqlite`]).
//! What is true of every case: a 202 holds, whatever comes after it; whoever gets none gets a 503 with `Retry-After`; the same request
//! sent again once the fault is over is accepted by the same process; each import has its effect once; no file is damaged or left over.

mod clock;
mod descriptors;
mod ground;
mod postgres;
mod room;
mod shim;
mod sqlite;
mod steps;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use self::ground::Ground;
use self::shim::{Fault, Shim};
use self::table::Table;
use crate::options::{Options, run_tool};
use crate::roster::{self, Home};
use crate::{complain, needs, root, say};

const USAGE: &str = "usage: cargo xtask faults [--only steps|room|descriptors|clock|postgres] [--fault full|read-only|flush|write|descriptors] [--short | --long] [--debug | --binary PATH]";

/// What there is to be tried out.
const PARTS: [&str; 5] = ["steps", "room", "descriptors", "clock", "postgres"];

/// What is wrong with the disk, by its name on the command line.
const FAULTS: [(&str, Fault); 5] = [
    ("full", Fault::Full),
    ("read-only", Fault::ReadOnly),
    ("flush", Fault::Flush),
    ("write", Fault::Write),
    ("descriptors", Fault::Descriptors),
];

/// Requests are counted by the clock of the day: with a limit it can be seen that nobody is turned away when it is set back.
const LIMITED: (&str, &str) = ("ROSTER_TOKEN_REQUESTS_PER_MINUTE_MAX", "6000");

struct Wanted {
    part: Option<&'static str>,
    fault: Option<Fault>,
    is_short: bool,
    /// Also faults that strike once, and such as come at the end of a step.
    is_long: bool,
    is_debug: bool,
    binary: Option<PathBuf>,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let mut wanted =
            Wanted { part: None, fault: None, is_short: false, is_long: false, is_debug: false, binary: None };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--only" => {
                    let value = options.value(name)?;
                    let found = PARTS.iter().find(|part| **part == value);
                    wanted.part = Some(found.ok_or_else(|| format!("there is no part '{value}'"))?);
                }
                "--fault" => {
                    let value = options.value(name)?;
                    let found = FAULTS.iter().find(|(at, _)| *at == value);
                    wanted.fault = Some(found.ok_or_else(|| format!("there is no fault '{value}'"))?.1);
                }
                "--long" => wanted.is_long = true,
                "--short" => wanted.is_short = true,
                "--debug" => wanted.is_debug = true,
                "--binary" => {
                    let path = options.value(name)?;
                    let binary = Path::new(path).canonicalize().map_err(|fault| format!("{path}: {fault}"))?;
                    wanted.binary = Some(binary);
                }
                _ => return Err(format!("faults has no option '{name}'")),
            }
        }
        Ok(wanted)
    }

    fn faults(&self) -> Vec<Fault> {
        FAULTS
            .iter()
            .map(|(_, fault)| *fault)
            .filter(|fault| self.fault.is_none_or(|wanted| wanted == *fault))
            .collect()
    }
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("faults", USAGE, Wanted::of(arguments), |wanted| {
        let wrong = faults(wanted)?;
        if !wrong.is_empty() {
            complain(format_args!("WRONG, {} things:", wrong.len()));
            wrong.iter().for_each(|what| complain(format_args!("- {what}")));
        }
        Ok(wrong.is_empty())
    })
}

/// What is wrong.
fn faults(wanted: &Wanted) -> Result<Vec<String>, String> {
    let sqlite3 = needs::for_torture()?;
    let binary = match &wanted.binary {
        Some(binary) => binary.clone(),
        None => roster::build(!wanted.is_debug)?,
    };
    let begun = Instant::now();
    let mut wrong = Vec::new();
    for part in PARTS.iter().filter(|part| wanted.part.is_none_or(|wanted| wanted == **part)) {
        let of_part = match *part {
            "steps" => {
                let mut table = Table::default();
                let wrong = sqlite::run(wanted, &binary, sqlite3, &mut table);
                table.print(&wanted.faults());
                wrong?
            }
            "room" => room::run(&binary, sqlite3)?,
            "descriptors" => descriptors::run(&binary, sqlite3)?,
            "clock" => clock_of_directory(&binary)?,
            // A server of its own that is crashed on purpose is no part of every test run; see there.
            _ if wanted.is_short => Vec::new(),
            _ => postgres::run(&binary)?,
        };
        wrong.extend(of_part);
    }
    say(format_args!("in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(wrong)
}

/// The clock jumps under a service with a data directory.
fn clock_of_directory(binary: &Path) -> Result<Vec<String>, String> {
    say("the clock jumps");
    let directory = fresh("clock")?;
    let shim = Shim::build(&directory)?;
    let home = Home { binary: binary.to_owned(), directory, database: None, lease_seconds: 1 };
    let tenant = home.new_tenant()?;
    let mut environment = shim.environment("nothing");
    environment.push((LIMITED.0, LIMITED.1.to_owned()));
    let mut ground = Ground::new(home, shim, environment);
    ground.start()?;
    let mut wrong: Vec<String> = clock::run(&mut ground, &tenant).err().into_iter().collect();
    ground.stop();
    wrong.extend(ground.wrong_in_logs());
    Ok(wrong)
}

/// An empty directory, whatever an earlier run has left in it.
fn fresh(name: &str) -> Result<PathBuf, String> {
    let directory = root().join("target/faults").join(name);
    let _ = fs::remove_dir_all(&directory);
    let made = fs::create_dir_all(&directory).and_then(|()| directory.canonicalize());
    made.map_err(|fault| format!("{}: {fault}", directory.display()))
}
