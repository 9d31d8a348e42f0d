//! No descriptors are left: connections that say nothing have taken them all.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::ground::{Form, Ground, SOON, Seen, until};
use super::shim::Shim;
use crate::http::{Connection, member};
use crate::memory::processor_seconds;
use crate::roster::{Home, text_of};
use crate::say;
use crate::sign::Signed;
use crate::torture::check::{self, Checked};

/// What the service may open beside what it has open.
const SPARE: usize = 4;
/// What it may open in the end.
const ENOUGH: usize = 1_024;
/// Connections that say nothing.
const IDLE: usize = 100;
/// How long it is watched while nothing is to be done, and how many seconds of processor time it may take for that.
const WATCHED: Duration = Duration::from_secs(2);
const PROCESSOR_SECONDS_MAX: f64 = 0.3;
const ROWS: u64 = 20_000;
const FEW: u64 = 20;

/// What is wrong.
pub(super) fn run(binary: &Path, sqlite3: &str) -> Result<Vec<String>, String> {
    say("descriptors are used up");
    let directory = super::fresh("descriptors")?;
    let shim = Shim::build(&directory)?;
    let data = directory.join("data");
    let home = Home { binary: binary.to_owned(), directory, database: None, lease_seconds: 1 };
    let tenant = home.new_tenant()?;
    let mut ground = Ground::new(home, shim, Vec::new());
    ground.start()?;
    let first = ground.import(&tenant, FEW, Form::Json);
    ground.accepted_and_completes(&first, None)?;

    // It runs while they are used up, and has to open its upload and its program's file for that.
    let (running, beside) = (ground.import(&tenant, ROWS, Form::Stream), ground.import(&tenant, FEW, Form::Json));
    let mut kept = Connection::open(ground.address()?)?;
    let limit = ground.held().0 + SPARE;
    set_limit(ground.process(), limit)?;
    let Seen::Accepted(location) = Seen::of(&on(&mut kept, &running.signed)) else {
        return Err("the import was not accepted while there were descriptors".to_owned());
    };
    let address = ground.address()?.to_owned();
    let idle: Vec<_> = (0..IDLE).map(|_| TcpStream::connect(&address)).collect();
    until(SOON, "they are used up", || ground.held().0 >= limit)?;
    let beside_seen = Seen::of(&on(&mut kept, &beside.signed));
    say(format_args!("  used up: an import over a connection that is open: {}", beside_seen.words()));
    let beside_location = match &beside_seen {
        Seen::Accepted(location) => Some(location.clone()),
        Seen::Later { .. } => None,
        other => return Err(format!("it is answered with {}", other.words())),
    };
    let mut wrong = Vec::new();
    // It waits, or was quick enough; so what the service takes from here on is for nothing.
    let status = Signed::bare(&tenant, "GET", &location);
    until(SOON, "the import waits", || {
        let is_complete = on(&mut kept, &status).is_ok_and(|answer| member(&answer.body, "complete") == Some("true"));
        is_complete || ground.log().contains("import failed and is tried again")
    })?;
    let before = processor_seconds(ground.process());
    std::thread::sleep(WATCHED);
    let used = processor_seconds(ground.process()) - before;
    say(format_args!("  used up: {used:.2} s of processor time in {} s", WATCHED.as_secs()));
    if used > PROCESSOR_SECONDS_MAX {
        wrong.push(format!("it takes {used} s of processor time in {} s for doing nothing", WATCHED.as_secs()));
    }
    drop(idle);
    let mut after = None;
    let took = until(SOON, "it answers again", || {
        after = ground.status(&tenant, &location, 0, 0).ok().flatten();
        after.is_some()
    })?;
    say(format_args!("  free again: answered after {} ms", took.as_millis()));
    ground.completes(&running, &location, 0)?;
    ground.accepted_and_completes(&beside, beside_location.as_deref())?;
    set_limit(ground.process(), ENOUGH)?;
    ground.contacts_are_right(&tenant)?;
    ground.stop();
    wrong.extend(check::look_into_directory(&data, sqlite3, &mut Checked::default())?);
    wrong.extend(ground.wrong_in_logs());
    Ok(wrong)
}

fn on(connection: &mut Connection, request: &Signed) -> Result<crate::http::Answer, String> {
    connection.send_content(request.method, &request.path, &request.headers, (request.kind, &request.body))
}

/// What a process may have open from now on.
fn set_limit(id: u32, descriptors: usize) -> Result<(), String> {
    // The soft limit, which anybody may raise again.
    let set = format!("--nofile={descriptors}:");
    text_of(Command::new("prlimit").args(["--pid", &id.to_string(), &set])).map(drop)
}
