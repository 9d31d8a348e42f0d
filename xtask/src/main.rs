//! House tools: `cargo xtask <tool>`.
//!
//! Not here: anything that needs the service or its dependencies. Such a tool is a test or an example of the service, and only
//! started from here, so that this package builds in a moment.

mod bench;
mod bench_file;
mod cluster;
mod deny;
mod faults;
mod fuzz;
mod guarded;
mod hash;
mod hostile;
mod http;
mod memory;
mod needs;
mod notices;
mod options;
mod package;
mod package_check;
mod phone_table;
#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod postgres;
mod roster;
mod service;
mod sign;
mod soak;
mod steps;
mod torture;

use std::process::{Command, ExitCode};
use std::{env, path::PathBuf};

const USAGE: &str = "usage: cargo xtask <tool>

  test          everything: installs what is missing on Debian, then format, lints, tests, documentation
  check         the quick part: format, lints, the doors between the rooms
  cluster [--nodes N] [--port P] [--once] [--debug]
                many nodes to try out: PostgreSQL, N nodes and HAProxy on the loopback, until Ctrl-C; with --once it
                shows by itself what becomes of an import whose node is killed, and ends
  bench [--rows N] [--rounds N] [--rows-max N] [--body-max BYTES] [--contacts N] [--quick] [--only CASE] [--against BINARY]
                measures imports beside what sqlite3 and psql need for the same rows (or another build of roster), how they
                grow, their memory, polls and small requests beside their floors; --quick shows in minutes that it works
  bench-file PATH ROWS [CHANGED_EVERY]
                writes a CSV file of ROWS contacts for measuring; with CHANGED_EVERY, one row in so many is another
  deny          whether licences, sources and versions of the dependencies are as deny.toml allows; builds cargo-deny where it is missing
  faults [--only PART] [--fault F] [--short | --long] [--debug | --binary PATH]
                the disk is full, read-only or fails at each step of an import, descriptors and connections run out, the clock jumps:
                what clients see, what is kept, and that it goes on by itself; prints the table of docs/RELIABILITY.md
  fuzz [--target T] [--seconds N]
                the fuzz targets under libFuzzer, N seconds each (60), on nightly; installs cargo-fuzz where it is missing
  hostile [--seconds N] [--home sqlite|postgres] [--debug | --binary PATH] [--slow N] [--bombs N] [--signatures-per-second N]
                a good client imports row by row, alone and then beside slow connections, bombs and guessed signatures
  package [--debug | --check]
                the Debian package, from packaging/; with --check it is made of the debug binary, looked at, and tried out
                in a box of its own: installed, started, upgraded, rebooted, removed
  soak [--minutes N | --seconds N] [--home sqlite|postgres] [--debug | --binary PATH]
                steady mixed load, ten minutes unless told otherwise: memory, descriptors and write-ahead logs must not grow
  torture [--seed N] [--cycles N] [--home sqlite|postgres] [--debug | --binary PATH]
                kills the released service with -9 again and again, at any moment and at named places, while clients import;
                at the end everything is compared with imports carried out one after the other
  phone-table   makes the table of North American phones anew, after an update of rlibphonenumber";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => steps::test(),
        ["check"] => steps::check(),
        ["cluster", arguments @ ..] => cluster::run(arguments),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["bench-file", arguments @ ..] => bench_file::run(arguments),
        ["deny"] => deny::run(),
        ["faults", arguments @ ..] => faults::run(arguments),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["hostile", arguments @ ..] => hostile::run(arguments),
        ["package", arguments @ ..] => package::run(arguments),
        ["soak", arguments @ ..] => soak::run(arguments),
        ["torture", arguments @ ..] => torture::run(arguments),
        ["phone-table"] => phone_table::run(),
        _ => {
            complain(USAGE);
            ExitCode::from(2)
        }
    }
}

/// The cargo that started this tool, as if it were started by hand: what it has told this tool about this package would have
/// it build some dependencies anew, and once more by hand.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.current_dir(root());
    let told = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    told.for_each(|name| {
        cargo.env_remove(name);
    });
    cargo
}

/// The checkout that the tool was started in. Asked when it runs: a target directory may serve several checkouts.
fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("..")
}

#[expect(clippy::print_stdout, reason = "a tool at a terminal")]
fn say(what: impl std::fmt::Display) {
    println!("{what}");
}

#[expect(clippy::print_stderr, reason = "a tool at a terminal")]
fn complain(what: impl std::fmt::Display) {
    eprintln!("{what}");
}
