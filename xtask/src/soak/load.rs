//! The load of a soak: some clients, each of which does the same round of things again and again, at a steady pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::bench_file::phone;
use crate::http::{Answer, Connection, json_string, member};
use crate::roster::{Home, Tenant};
use crate::say;
use crate::sign::Signed;

/// Clients, each with a program of its own.
const CLIENTS: usize = 4;
/// A round of everything takes each of them so long, if the service is not slower.
const ROUND: Duration = Duration::from_secs(2);
/// Contacts of a program: what is imported is always some of these.
const CONTACTS: u64 = 20_000;
/// Rows of a bigger import.
const BIG_ROWS: u64 = 1_000;
/// A connection is left for a new one after so many rounds.
const ROUNDS_OF_CONNECTION: u64 = 20;

/// What is done in each round.
pub(super) const NAMES: [&str; 9] = [
    "imports of one row",
    "polls",
    "bigger imports",
    "streamed imports with gzip",
    "dry runs",
    "cancellations",
    "pages of contacts",
    "bad requests",
    "failed rows",
];

pub(super) struct Load {
    tenants: Vec<Tenant>,
    address: Mutex<String>,
    pub(super) stop: AtomicBool,
    /// The warm-up is over: from here on rounds are paced. Before, nobody waits, so that all threads, connections and caches that four
    /// clients can have the service make are there.
    pub(super) is_warm: AtomicBool,
    /// Read by who is at a round; who writes has all of them wait.
    pub(super) quiet: RwLock<()>,
    /// One for each of some rounds: packed once, as the tool that packs is another process.
    packed: Vec<Vec<u8>>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Done {
    milliseconds: BTreeMap<&'static str, Vec<f64>>,
    rows: u64,
    pub(super) faults: Vec<String>,
}

impl Done {
    pub(super) fn fault(what: &str) -> Done {
        Done { faults: vec![what.to_owned()], ..Done::default() }
    }

    pub(super) fn add(&mut self, other: Done) {
        for (name, times) in other.milliseconds {
            self.milliseconds.entry(name).or_default().extend(times);
        }
        self.rows += other.rows;
        self.faults.extend(other.faults);
    }

    pub(super) fn print(&self, during: Duration) {
        say(format_args!("  {:30} {:>8} {:>9} {:>9} {:>9}", "ms", "times", "p50", "p99", "longest"));
        for (name, times) in &self.milliseconds {
            let mut times = times.clone();
            times.sort_by(f64::total_cmp);
            let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
            say(format_args!("    {name:28} {:>8} {:>9.1} {:>9.1} {:>9.1}", times.len(), at(50), at(99), at(100)));
        }
        say(format_args!("  rows imported a second: {:.0}", self.rows as f64 / during.as_secs_f64()));
    }
}

impl Load {
    pub(super) fn new(home: &Home) -> Result<Load, String> {
        let mut tenants = vec![home.new_tenant()?, home.new_tenant()?];
        while tenants.len() < CLIENTS {
            let tenant = tenants[tenants.len() % 2].clone();
            tenants.push(Tenant { program: home.new_program(&tenant.account, "Another")?, ..tenant });
        }
        let packed = (0..4).map(|part| gzip(home, &csv(part * BIG_ROWS, BIG_ROWS, part))).collect::<Result<_, _>>()?;
        Ok(Load {
            tenants,
            address: Mutex::default(),
            stop: AtomicBool::new(false),
            is_warm: AtomicBool::new(false),
            quiet: RwLock::new(()),
            packed,
        })
    }

    pub(super) fn is_at(&self, address: &str) {
        *self.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = address.to_owned();
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = Client<'_>> {
        self.tenants.iter().zip(0..).map(|(tenant, number)| Client {
            load: self,
            tenant,
            number,
            connection: None,
            done: Done::default(),
        })
    }
}

fn gzip(home: &Home, csv: &str) -> Result<Vec<u8>, String> {
    let path = home.directory.join("soak.csv");
    let failed = |fault: std::io::Error| format!("{}: {fault}", path.display());
    std::fs::write(&path, csv).map_err(failed)?;
    let output = std::process::Command::new("gzip").arg("-c").arg(&path).output().map_err(failed)?;
    if output.status.success() { Ok(output.stdout) } else { Err("gzip failed".to_owned()) }
}

/// So many contacts from this one on; the names are of this round.
fn csv(first: u64, rows: u64, round: u64) -> String {
    let mut csv = "customer_id,phone,first_name\n".to_owned();
    for at in first..first + rows {
        let number = at % CONTACTS;
        csv.push_str(&format!("k{number},+1{},Ada {}\n", phone(number), round % 1_000));
    }
    csv
}

pub(super) struct Client<'a> {
    load: &'a Load,
    tenant: &'a Tenant,
    number: u64,
    connection: Option<Connection>,
    done: Done,
}

impl Client<'_> {
    pub(super) fn run(mut self) -> Done {
        let mut round = self.number;
        while !self.load.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            if round.is_multiple_of(ROUNDS_OF_CONNECTION) {
                self.connection = None;
            }
            let at_work = self.load.quiet.read();
            if let Err(fault) = self.round(round) {
                self.done.faults.push(fault);
                self.connection = None;
            }
            drop(at_work);
            round += 1;
            if self.load.is_warm.load(Ordering::Relaxed) {
                std::thread::sleep(ROUND.saturating_sub(begun.elapsed()));
            }
        }
        self.done
    }

    fn send(&mut self, request: &Signed) -> Result<Answer, String> {
        if self.connection.is_none() {
            let address = self.load.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            self.connection = Some(Connection::open(&address)?);
        }
        request.send(self.connection.as_mut().ok_or("there is no connection")?)
    }

    /// Sends it, has its time counted, and looks at the status.
    fn ask(&mut self, name: &'static str, request: &Signed, status: u16) -> Result<Answer, String> {
        let begun = Instant::now();
        let answer = self.send(request)?;
        self.done.milliseconds.entry(name).or_default().push(begun.elapsed().as_secs_f64() * 1_000.0);
        if answer.status == status {
            return Ok(answer);
        }
        Err(format!("{name}: {} {} is answered {}: {}", request.method, request.path, answer.status, answer.body))
    }

    fn path(&self) -> String {
        format!("/v2/programs/{}/participants", self.tenant.program)
    }

    fn import(&self, csv: &str, more: &str) -> Signed {
        let body = format!(
            r#"{{"program":"{}","options":{{"new":"add","existing":["first_name"],"mode":"row","absent":"ignore"{more}}},"participants":{}}}"#,
            self.tenant.program,
            json_string(csv)
        );
        Signed::json(self.tenant, &self.path(), body)
    }

    fn complete(&mut self, name: &'static str, accepted: &Answer) -> Result<(Answer, String), String> {
        let location = accepted.header("location").ok_or("there is no location")?.to_owned();
        let mut status = Answer { status: 200, head: String::new(), body: accepted.body.clone() };
        while member(&status.body, "complete") != Some("true") {
            let poll = Signed::bare(self.tenant, "GET", &location).waiting(30);
            status = self.ask(name, &poll, 200)?;
        }
        Ok((status, location))
    }

    fn round(&mut self, round: u64) -> Result<(), String> {
        let [one, polls, bigger, streamed, dry_runs, cancelled, pages, bad, failed] = NAMES;
        for part in 0..5 {
            let first = round * 5 + part;
            let accepted = self.ask(one, &self.import(&csv(first, 1, round), ""), 202)?;
            self.complete(polls, &accepted)?;
        }
        let waited = self.import(&csv(round * BIG_ROWS, BIG_ROWS, round), "").waiting(60);
        self.ask(bigger, &waited, 202)?;
        let packed = &self.load.packed[round as usize % self.load.packed.len()];
        let path = format!("{}?new=add&existing=first_name&mode=row", self.path());
        let stream = Signed::stream(self.tenant, &path, packed.clone()).coded("gzip").waiting(60);
        self.ask(streamed, &stream, 202)?;
        let tried = self.import(&csv(round * 7, 200, round + 1), r#","dryRun":true"#).waiting(60);
        self.ask(dry_runs, &tried, 202)?;
        self.done.rows += 5 + 2 * BIG_ROWS + 200;
        let unwanted = self.import(&csv(round * 11, 500, round), "");
        let accepted = self.send(&unwanted)?;
        let location = accepted.header("location").ok_or("there is no location")?.to_owned();
        let begun = Instant::now();
        // It may be complete already.
        let answer = self.send(&Signed::bare(self.tenant, "DELETE", &location))?;
        self.done.milliseconds.entry(cancelled).or_default().push(begun.elapsed().as_secs_f64() * 1_000.0);
        if !matches!(answer.status, 200 | 409) {
            return Err(format!("a cancellation is answered {}: {}", answer.status, answer.body));
        }
        let page = format!(
            "/v1/programs/{}/participants?type=full&count=100&offset={}",
            self.tenant.program,
            round * 100 % CONTACTS
        );
        self.ask(pages, &Signed::bare(self.tenant, "GET", &page), 200)?;
        let stranger = Tenant { token: format!("{round:032x}"), ..self.tenant.clone() };
        self.ask(bad, &Signed::json(&stranger, &self.path(), "{}".to_owned()), 401)?;
        self.ask(bad, &Signed::json(self.tenant, &self.path(), "{\"options\":[".to_owned()), 400)?;
        self.ask(bad, &Signed::bare(self.tenant, "GET", "/v1/programs/none"), 404)?;
        let wrong = self.import("customer_id,phone\nbad,12\n", "");
        let accepted = self.ask(one, &wrong, 202)?;
        let (_, location) = self.complete(polls, &accepted)?;
        let rows = Signed::bare(self.tenant, "GET", &format!("{location}/errors.csv"));
        self.whole(failed, &rows)
    }

    /// An answer in pieces, over a connection of its own.
    fn whole(&mut self, name: &'static str, request: &Signed) -> Result<(), String> {
        let address = self.load.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let begun = Instant::now();
        let answer = crate::http::send(&address, request.method, &request.path, &request.headers, &request.body);
        let answer = answer.map_err(|fault| format!("{name}: {fault}"))?;
        self.done.milliseconds.entry(name).or_default().push(begun.elapsed().as_secs_f64() * 1_000.0);
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{name} is answered {}: {}", answer.status, answer.body))
        }
    }
}
