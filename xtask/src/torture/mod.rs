//! `cargo xtask torture`: the service is killed again and again while clients import, and at the end everything is compared with
//! what imports carried out one after the other must have led to.
//!
//! It starts the released binary, and for named places in the source (`src/command/test_point.rs`) another one that has them. A
//! seed says which imports each client sends and how each process ends ([`plan`]); when things meet, chance. Clients send a
//! request that got no answer once more as it is ([`client`]), readers page through the programs all the while ([`reader`]), and
//! when the last process is left alone, all that clients and the disk can tell is looked at ([`check`], [`model`]).

pub(crate) mod check;
mod client;
mod ground;
mod killing;
mod model;
mod plan;
mod private;
mod reader;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::check::Checked;
use self::client::{Done, Sent};
use self::ground::{Ground, lock};
use self::killing::{Ended, Victim};
use self::plan::{CLIENTS, Kind, PROGRAMS};
use self::private::Secret;
use self::reader::Seen;
use crate::options::{Options, run_tool};
use crate::postgres::Server;
use crate::roster::{self, Home, Node, Tenant, needed};
use crate::service::fresh;
use crate::{needs, root, say};

const USAGE: &str =
    "usage: cargo xtask torture [--seed N] [--cycles N] [--home sqlite|postgres] [--debug | --binary PATH]";
/// Accounts that the programs are shared out over.
const ACCOUNTS: u64 = 2;
const READERS: u64 = 2;
/// The least that there is: what a killed process was at is taken over after it.
const LEASE_SECONDS: u32 = 1;
const DATABASE: &str = "torture";
/// Differences that are shown.
const SHOWN_MAX: usize = 20;
/// How often is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

struct Wanted {
    seed: u64,
    cycles: usize,
    homes: Vec<Kind>,
    is_debug: bool,
    /// Another build, in place of one that is made. If it has no test points, it is killed in time where it would die at one.
    binary: Option<PathBuf>,
}

impl Wanted {
    fn of(arguments: &[&str]) -> Result<Wanted, String> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let homes = vec![Kind::Sqlite, Kind::Postgres];
        let mut wanted = Wanted { seed, cycles: 100, homes, is_debug: false, binary: None };
        let mut options = Options::new(arguments);
        while let Some(name) = options.next() {
            match name {
                "--seed" => wanted.seed = options.number(name, 0)?,
                "--cycles" => wanted.cycles = options.number(name, 1)?,
                "--home" => {
                    wanted.homes = match options.value(name)? {
                        "sqlite" => vec![Kind::Sqlite],
                        "postgres" => vec![Kind::Postgres],
                        other => return Err(format!("--home is sqlite or postgres, not '{other}'")),
                    };
                }
                "--debug" => wanted.is_debug = true,
                "--binary" => {
                    let path = options.value(name)?;
                    let binary = Path::new(path).canonicalize().map_err(|fault| format!("{path}: {fault}"))?;
                    wanted.binary = Some(binary);
                }
                _ => return Err(format!("torture has no option '{name}'")),
            }
        }
        Ok(wanted)
    }
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    run_tool("torture", USAGE, Wanted::of(arguments), |wanted| {
        torture(wanted).map_err(|sentence| format!("{sentence} (seed {})", wanted.seed))
    })
}

/// On all homes that are wanted; whether everything was as it must be.
fn torture(wanted: &Wanted) -> Result<bool, String> {
    let sqlite3 = needs::for_torture()?;
    let (binary, with_places) = binaries(wanted)?;
    say(format_args!("seed {}: {} cycles on each home", wanted.seed, wanted.cycles));
    let mut is_well = true;
    for kind in &wanted.homes {
        let run = Run { kind: *kind, seed: wanted.seed, cycles: wanted.cycles, sqlite3 };
        let told = run.on_home(&binary, &with_places)?;
        told.print(&run);
        is_well &= told.wrong.is_empty();
    }
    Ok(is_well)
}

/// The one that is killed, and the one that has the places at which it may die by itself.
fn binaries(wanted: &Wanted) -> Result<(PathBuf, PathBuf), String> {
    let of_both = match (&wanted.binary, wanted.is_debug) {
        (Some(binary), _) => binary.clone(),
        (None, true) => roster::build(false)?,
        (None, false) => {
            let folder = root().join("target/torture");
            fs::create_dir_all(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
            return roster::build_with_places(&folder.join("roster-with-places"));
        }
    };
    Ok((of_both.clone(), of_both))
}

/// One home's run.
struct Run {
    kind: Kind,
    seed: u64,
    cycles: usize,
    sqlite3: &'static str,
}

/// What each side has done.
struct Work {
    deaths: BTreeMap<Ended, u64>,
    done: Done,
    /// By each reader.
    seen: Vec<Vec<Seen>>,
}

/// What came of it.
struct Told {
    deaths: BTreeMap<Ended, u64>,
    done: Done,
    busy: BTreeMap<u16, u64>,
    checked: Checked,
    took: Duration,
    wrong: Vec<String>,
    directory: PathBuf,
}

impl Run {
    fn on_home(&self, binary: &Path, with_places: &Path) -> Result<Told, String> {
        let directory = root().join(format!("target/torture/{}-{}", self.kind.name(), self.seed));
        let directory = fresh(&directory)?;
        let server = (self.kind == Kind::Postgres).then(|| Server::start(None, &["listen_addresses="]));
        if let Some(server) = &server {
            server.query("postgres", &format!("CREATE DATABASE {DATABASE}"));
        }
        let database = server.as_ref().map(|server| server.url(DATABASE, ""));
        let home = Home { binary: binary.to_owned(), directory, database, lease_seconds: LEASE_SECONDS };
        let ground = Ground::new(tenants(&home)?);
        let victim = Victim { home, with_places: with_places.to_owned() };
        let begun = Instant::now();
        let first = {
            let node = victim.serve("first")?;
            ground.is_at(Some(node.address.clone()));
            let imports = (0..PROGRAMS as usize).map(plan::first_import).collect();
            client::begin(&ground, imports)?
        };
        ground.is_at(None);
        let (Work { deaths, mut done, seen }, node) = self.kill_while_they_work(&victim, &ground)?;
        done.sent.splice(0..0, first);
        let (mut checked, mut wrong) = (Checked::default(), ground.faults());
        let url = format!("http://{}", node.address);
        let compared = check::compare((&victim.home, &ground, &url), &done.sent, &seen, &mut checked);
        wrong.extend(compared.unwrap_or_else(|fault| vec![fault]));
        node.process.stop();
        wrong.extend(match &server {
            None => check::look_into_directory(&victim.home.directory.join("data"), self.sqlite3, &mut checked)?,
            Some(server) => check::look_into_database(server, DATABASE, &mut checked),
        });
        wrong.extend(self.what_is_told(&victim.home, &ground, server.as_ref(), &mut checked)?);
        let (busy, directory) = (lock(&ground.busy).clone(), victim.home.directory);
        Ok(Told { deaths, done, busy, checked, took: begun.elapsed(), wrong, directory })
    }

    /// Secrets in anything that was written, and more than logs may tell in those of the processes that nobody killed.
    fn what_is_told(
        &self,
        home: &Home,
        ground: &Ground,
        server: Option<&Server>,
        checked: &mut Checked,
    ) -> Result<Vec<String>, String> {
        let log = |name: &str| fs::read_to_string(home.directory.join(name)).unwrap_or_default();
        let mut wrong: Vec<String> =
            ["first.log", "last.log"].iter().filter_map(|name| killing::wrong_in(&log(name))).collect();
        let mut secrets: Vec<Secret<'_>> =
            ground.tenants.iter().map(|tenant| Secret { name: "a token's secret", text: &tenant.secret }).collect();
        // Of a directory it is in the file that is made for it.
        secrets.extend(server.map(|_| Secret { name: "the master key", text: roster::MASTER_KEY }));
        let directories = [Some(home.directory.as_path()), server.map(|server| Path::new(&server.directory))];
        for directory in directories.into_iter().flatten() {
            let (looked, found) = private::in_files(directory, &secrets)?;
            checked.bytes += looked;
            wrong.extend(found);
        }
        Ok(wrong)
    }

    /// All cycles, and the last process, which is left alone until the clients have their answers.
    fn kill_while_they_work(&self, victim: &Victim, ground: &Ground) -> Result<(Work, Node), String> {
        std::thread::scope(|scope| {
            let seed = self.seed;
            let clients: Vec<_> =
                (0..CLIENTS).map(|client| scope.spawn(move || client::run(ground, seed, client))).collect();
            let readers: Vec<_> =
                (0..READERS).map(|reader| scope.spawn(move || reader::run(ground, seed + reader))).collect();
            let deaths = self.cycles(victim, ground);
            let last = victim.serve("last");
            ground.is_at(last.as_ref().ok().map(|node| node.address.clone()));
            ground.is_over_now();
            let mut done = Done::default();
            for client in clients {
                let of_client = client.join().unwrap_or_default();
                done.sent.extend(of_client.sent);
                done.retried += of_client.retried;
                done.replayed += of_client.replayed;
            }
            ground.readers_stop.store(true, Ordering::Relaxed);
            let seen = readers.into_iter().map(|reader| reader.join().unwrap_or_default()).collect();
            Ok((Work { deaths: deaths?, done, seen }, last?))
        })
    }

    fn cycles(&self, victim: &Victim, ground: &Ground) -> Result<BTreeMap<Ended, u64>, String> {
        let (mut deaths, mut told) = (BTreeMap::new(), Instant::now());
        for (death, number) in plan::deaths(self.seed, self.kind, self.cycles).into_iter().zip(1..) {
            *deaths.entry(victim.cycle(ground, death, number)?).or_default() += 1;
            if !ground.faults().is_empty() {
                say(format_args!("  {}: something is wrong in cycle {number}", self.kind.name()));
                break;
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                say(format_args!("  {}: cycle {number} of {}", self.kind.name(), self.cycles));
            }
        }
        Ok(deaths)
    }
}

/// One for each program.
fn tenants(home: &Home) -> Result<Vec<Tenant>, String> {
    let mut tenants = Vec::new();
    for number in 0..ACCOUNTS {
        let account = needed(&home.operate(&["account", "create", &format!("College {number}")])?, "id")?;
        let told = home.operate(&["token", "create", "--account", &account, "--name", "torture"])?;
        let (token, secret) = (needed(&told, "token")?, needed(&told, "secret")?);
        for _ in 0..PROGRAMS / ACCOUNTS {
            let fields = ["--field", "serial:Numeric", "--field", "origin:Numeric"];
            let create = [["program", "create", "Outreach", "--account"].as_slice(), &[&account], &fields].concat();
            let program = needed(&home.operate(&create)?, "id")?;
            tenants.push(Tenant { account: account.clone(), program, token: token.clone(), secret: secret.clone() });
        }
    }
    Ok(tenants)
}

impl Told {
    fn print(&self, run: &Run) {
        let Told { deaths, done, busy, checked, took, wrong, directory } = self;
        let count =
            |is: fn(&Ended) -> bool| deaths.iter().filter(|(ended, _)| is(ended)).map(|(_, count)| count).sum::<u64>();
        let imports = |is: fn(&Sent) -> bool| done.sent.iter().filter(|sent| is(sent)).count();
        let rows: usize = done.sent.iter().map(|sent| sent.import.rows.len()).sum();
        let places: Vec<String> = deaths
            .iter()
            .filter_map(|(ended, count)| match ended {
                Ended::At(place) => Some(format!("{place} {count}")),
                Ended::Missed(place) => Some(format!("{place} (not come to) {count}")),
                Ended::Starting | Ended::Serving => None,
            })
            .collect();
        let lines = [
            ("cycles", format!("{} in {:.0} s", deaths.values().sum::<u64>(), took.as_secs_f64())),
            ("killed while starting", count(|ended| *ended == Ended::Starting).to_string()),
            ("killed while serving", count(|ended| *ended == Ended::Serving).to_string()),
            ("killed at a place", count(|ended| matches!(ended, Ended::At(_))).to_string()),
            ("killed before it came there", count(|ended| matches!(ended, Ended::Missed(_))).to_string()),
            ("places", places.join(", ")),
            ("imports accepted", format!("{}, of {rows} rows", done.sent.len())),
            ("in the stream form", imports(|sent| sent.import.is_stream).to_string()),
            ("asked to be cancelled", imports(|sent| sent.cancel.is_some()).to_string()),
            ("requests sent again for want of an answer", done.retried.to_string()),
            ("answered as a replay", done.replayed.to_string()),
            ("answered with 'later'", format!("{busy:?}")),
            ("reports compared", checked.reports.to_string()),
            ("contacts compared", checked.contacts.to_string()),
            ("reads compared", checked.reads.to_string()),
            ("databases and uploads looked at", checked.files.to_string()),
            ("MiB searched for secrets", (checked.bytes >> 20).to_string()),
        ];
        say(format_args!("\n{}, seed {}", run.kind.name(), run.seed));
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        lines.iter().for_each(|(name, value)| say(format_args!("  {name:width$}  {value}")));
        if wrong.is_empty() {
            say("  nothing is lost, doubled, out of order or half visible");
            let _ = fs::remove_dir_all(directory);
            return;
        }
        say(format_args!(
            "  WRONG, {} differences; the data and the logs stay in {}",
            wrong.len(),
            directory.display()
        ));
        wrong.iter().take(SHOWN_MAX).for_each(|what| say(format_args!("  - {what}")));
        let (name, Run { seed, cycles, .. }) = (run.kind.name(), run);
        say(format_args!("  again: cargo xtask torture --seed {seed} --cycles {cycles} --home {name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let wanted = Wanted::of(&["--seed", "7", "--cycles", "20", "--home", "postgres", "--debug"])
            .unwrap_or_else(|sentence| unreachable!("{sentence}"));
        assert_eq!((wanted.seed, wanted.cycles, wanted.is_debug), (7, 20, true));
        assert_eq!(wanted.homes, [Kind::Postgres]);
        let refused = |arguments: &[&str]| Wanted::of(arguments).err().expect("refused");
        assert_eq!(refused(&["--cycles", "0"]), "--cycles is a number from 1 on");
        assert_eq!(refused(&["--home", "mysql"]), "--home is sqlite or postgres, not 'mysql'");
        assert_eq!(refused(&["--sed", "1"]), "torture has no option '--sed'");
        assert_eq!(Wanted::of(&[]).map(|wanted| wanted.homes.len()), Ok(2));
    }
}
