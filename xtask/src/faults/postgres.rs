//! A service over a PostgreSQL whose disk fails, that is read-only, has no connection left, crashes, or whose clock jumps.
//!
//! The library is preloaded into the database's processes, and the service is as it always is; but where the clock jumps it does so for both.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ground::{Form, Ground, Import, Seen, until};
use super::shim::{Fault, Shim};
use super::{LIMITED, clock};
use crate::postgres::Server;
use crate::roster::{Home, Tenant};
use crate::say;
use crate::torture::check::{self, Checked};

const DATABASE: &str = "faults";
/// The service's; no superuser, for whom some limits do not hold.
const ROLE: &str = "roster";
const FEW: u64 = 20;
const MANY: u64 = 30_000;
/// Where the tables are, and the log.
const TABLES: &str = "/data/base/";
const LOG: &str = "/data/pg_wal/";

/// What is wrong with the database.
struct Trouble {
    name: &'static str,
    begin: fn(&Server, &Shim),
    end: fn(&Server, &Shim),
    /// Whether imports that are not small meet it for certain.
    is_sure: bool,
}

const TROUBLES_OF_TABLES: [Trouble; 3] = [
    Trouble {
        name: "the disk of its tables is full",
        begin: |_, shim| shim.fail(Fault::Full, 1, i64::MAX),
        end: |_, shim| shim.off(),
        is_sure: true,
    },
    Trouble {
        name: "it is read-only",
        begin: |server, _| read_only(server, true),
        end: |server, _| read_only(server, false),
        is_sure: true,
    },
    Trouble {
        name: "it has no connection left",
        begin: |server, _| connections(server, "0"),
        end: |server, _| connections(server, "-1"),
        is_sure: true,
    },
];

/// Each is a crash of the whole server, which begins again by itself.
const TROUBLES_OF_LOG: [Trouble; 2] = [
    Trouble {
        name: "the disk of its log is full for a moment",
        begin: |_, shim| shim.fail(Fault::Full, 1, 2),
        end: |_, shim| shim.off(),
        is_sure: false,
    },
    Trouble {
        name: "a flush of its log fails",
        begin: |_, shim| shim.fail(Fault::Flush, 1, 1),
        end: |_, shim| shim.off(),
        is_sure: false,
    },
];

fn read_only(server: &Server, is_so: bool) {
    let set = if is_so { "SET default_transaction_read_only = on" } else { "RESET default_transaction_read_only" };
    server.query("postgres", &format!("ALTER SYSTEM {set}"));
    server.query("postgres", "SELECT pg_reload_conf()");
}

fn connections(server: &Server, most: &str) {
    server.query("postgres", &format!("ALTER ROLE {ROLE} CONNECTION LIMIT {most}"));
    server
        .query("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"));
}

/// What is wrong.
pub(super) fn run(binary: &Path) -> Result<Vec<String>, String> {
    say("a PostgreSQL");
    let mut wrong = Vec::new();
    let both = [(TABLES, TROUBLES_OF_TABLES.as_slice()), (LOG, &TROUBLES_OF_LOG)];
    for (below, troubles) in both {
        wrong.extend(on_server(binary, below, |ground, tenants, server| {
            let mut wrong = Vec::new();
            for trouble in troubles {
                if let Err(what) = meets(ground, tenants, server, trouble) {
                    ground.shim.off();
                    wrong.push(format!("{}: {what}", trouble.name));
                }
            }
            wrong
        })?);
    }
    say("the clock jumps, of the service and of its database");
    wrong.extend(on_server(binary, "nothing", |ground, tenants, _| {
        clock::run(ground, &tenants[0]).err().into_iter().collect()
    })?);
    Ok(wrong)
}

fn on_server(
    binary: &Path,
    below: &str,
    scene: impl FnOnce(&mut Ground, &[Tenant; 2], &Server) -> Vec<String>,
) -> Result<Vec<String>, String> {
    // Below a directory that the server's own user may enter.
    let reachable = std::env::temp_dir().join(format!("roster-faults-{}", std::process::id()));
    let made = fs::create_dir_all(&reachable)
        .and_then(|()| fs::set_permissions(&reachable, fs::Permissions::from_mode(0o755)));
    made.map_err(|fault| format!("{}: {fault}", reachable.display()))?;
    let outcome = in_reach(binary, &reachable, below, scene);
    let _ = fs::remove_dir_all(&reachable);
    outcome
}

fn in_reach(
    binary: &Path,
    reachable: &Path,
    below: &str,
    scene: impl FnOnce(&mut Ground, &[Tenant; 2], &Server) -> Vec<String>,
) -> Result<Vec<String>, String> {
    let shim = Shim::build(reachable)?;
    let environment = shim.environment(below);
    // A process of the server has ended by SIGABRT in a COMMIT under the preloaded library, six times on one day and not in ten runs after
    // that; why is not known. So there is as little beside the scene as can be.
    let server = Server::start_with(
        None,
        &["listen_addresses=", "max_connections=60", "log_min_messages=warning", "autovacuum=off"],
        &environment,
    );
    server.query("postgres", &format!("CREATE ROLE {ROLE} LOGIN"));
    server.query("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"));
    let url = server.url(DATABASE, "").replacen("postgres@", &format!("{ROLE}@"), 1);
    let directory = super::fresh("postgres")?;
    let home = Home { binary: binary.to_owned(), directory, database: Some(url), lease_seconds: 1 };
    let tenant = home.new_tenant()?;
    // For the service only the clock is of interest: it has no file that is meant.
    let mut environment = environment;
    environment.push((LIMITED.0, LIMITED.1.to_owned()));
    let mut ground = Ground::new(home, shim, environment);
    let other = ground.new_program(&tenant)?;
    ground.start()?;
    let mut wrong = scene(&mut ground, &[tenant.clone(), other], &server);
    wrong.extend(ground.contacts_are_right(&tenant).err());
    ground.stop();
    wrong.extend(check::look_into_database(&server, DATABASE, &mut Checked::default()));
    wrong.extend(ground.wrong_in_logs());
    Ok(wrong)
}

/// Imports before, during and after a trouble.
fn meets(ground: &mut Ground, tenants: &[Tenant; 2], server: &Server, trouble: &Trouble) -> Result<(), String> {
    let first = ground.import(&tenants[1], FEW, Form::Json);
    ground.accepted_and_completes(&first, None)?;
    // One that is being carried out, or waits, when it begins.
    let before = ground.import(&tenants[0], MANY, Form::Stream);
    let Seen::Accepted(location) = Seen::of(&ground.send(&before.signed)) else {
        return Err("an import was not accepted before it began".to_owned());
    };
    (trouble.begin)(server, &ground.shim);
    let mut sent: Vec<(Import, Option<String>)> = vec![(before, Some(location))];
    let (mut words, mut is_refused) = (Vec::new(), false);
    for (rows, form) in [(FEW, Form::Json), (MANY, Form::Json), (MANY, Form::Stream), (MANY, Form::Stream)] {
        let import = ground.import(&tenants[1], rows, form);
        let seen = Seen::of(&ground.send(&import.signed));
        words.push(format!("{rows} as {form:?} {}", seen.words()));
        match seen {
            Seen::Accepted(location) => sent.push((import, Some(location))),
            Seen::Later { retry_after_s, .. } if retry_after_s > 0 => {
                is_refused = true;
                sent.push((import, None));
            }
            other => return Err(format!("it is answered with {}", other.words())),
        }
    }
    if trouble.is_sure && !is_refused {
        return Err(format!("nobody was put off: {}", words.join(", ")));
    }
    (trouble.end)(server, &ground.shim);
    let mut slowest = (0, 0);
    for (import, location) in &sent {
        let (accepted, completed) = ground.accepted_and_completes(import, location.as_deref())?;
        slowest = (slowest.0.max(accepted.as_millis()), slowest.1.max(completed.as_millis()));
    }
    // Whatever it has crashed of, it is there again.
    until(super::ground::SOON, "it is there again", || {
        server.psql(DATABASE).args(["--command", "SELECT 1"]).output().is_ok_and(|output| output.status.success())
    })?;
    say(format_args!(
        "  {}: {}; then accepted within {} ms, complete within {} ms",
        trouble.name,
        words.join(", "),
        slowest.0,
        slowest.1
    ));
    Ok(())
}
