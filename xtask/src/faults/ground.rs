//! The service under the preloaded library, and a client of it that knows how many contacts there must be.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::shim::Shim;
use crate::bench_file::phone;
use crate::http::{Answer, Connection, json_string, member};
use crate::roster::{Home, Node, Tenant, needed};
use crate::sign::Signed;

/// How long anything may take that is to happen by itself once a fault is over.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How soon who was told to come again does, whatever `Retry-After` says in whole seconds.
const COME_AGAIN: Duration = Duration::from_millis(50);
/// Stands in every contact and nowhere else: it must be in no line of a log.
const MARK: &str = "Zqx";
/// What a process says of a mistake of ours, on its standard error.
const MISTAKES: [&str; 4] = ["panicked", "given up", "do not add up", "Unable to write"];

pub(super) struct Ground {
    pub(super) home: Home,
    pub(super) shim: Shim,
    /// What is preloaded, and further settings.
    pub(super) environment: Vec<(&'static str, String)>,
    node: Option<Node>,
    logs: Vec<PathBuf>,
    next_contact: u64,
    /// How long anything may take that is to happen by itself.
    pub(super) patience: Duration,
    /// Contacts that each program must have.
    contacts: BTreeMap<String, u64>,
}

/// An import that can be sent again as it is.
pub(super) struct Import {
    pub(super) signed: Signed,
    pub(super) tenant: Tenant,
    pub(super) rows: u64,
}

/// How an import is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Json,
    Stream,
}

/// What a client saw.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Seen {
    Accepted(String),
    Later { retry_after_s: u64, code: String, request: String },
    Other(String),
}

impl Seen {
    pub(super) fn of(answer: &Result<Answer, String>) -> Seen {
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return Seen::Other(format!("no answer: {fault}")),
        };
        let retry_after = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
        match (answer.status, answer.header("location"), retry_after) {
            (202, Some(location), _) => Seen::Accepted(location.to_owned()),
            (503, _, Some(retry_after_s)) => Seen::Later {
                retry_after_s,
                code: member(&answer.body, "code").unwrap_or_default().to_owned(),
                request: answer.header("x-request-id").unwrap_or_default().to_owned(),
            },
            (status, ..) => Seen::Other(format!("{status}: {}", answer.body)),
        }
    }

    /// For a table.
    pub(super) fn words(&self) -> String {
        match self {
            Seen::Accepted(_) => "202".to_owned(),
            Seen::Later { retry_after_s, code, .. } => format!("503 `{code}`, {retry_after_s} s"),
            Seen::Other(what) => what.clone(),
        }
    }
}

/// Waits until something is so.
pub(super) fn until(most: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Result<Duration, String> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > most {
            return Err(format!("{what}: not within {} s", most.as_secs()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(begun.elapsed())
}

impl Ground {
    pub(super) fn new(home: Home, shim: Shim, environment: Vec<(&'static str, String)>) -> Ground {
        let contacts = BTreeMap::new();
        Ground { home, shim, environment, node: None, logs: Vec::new(), next_contact: 0, patience: SOON, contacts }
    }

    pub(super) fn start(&mut self) -> Result<(), String> {
        let log = self.home.directory.join(format!("serve-{}.log", self.logs.len()));
        self.logs.push(log.clone());
        self.node = Some(self.home.serve_with("127.0.0.1:0", &log, &self.environment)?);
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            node.process.kill();
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.process.stop();
        }
    }

    pub(super) fn process(&self) -> u32 {
        self.node.as_ref().map_or(0, |node| node.process.id)
    }

    pub(super) fn address(&self) -> Result<&str, String> {
        self.node.as_ref().map(|node| node.address.as_str()).ok_or_else(|| "the service does not run".to_owned())
    }

    /// Another program of the tenant's account.
    pub(super) fn new_program(&mut self, tenant: &Tenant) -> Result<Tenant, String> {
        let create = ["program", "create", "Outreach", "--account", &tenant.account];
        let program = needed(&self.home.operate(&create)?, "id")?;
        Ok(Tenant { program, ..tenant.clone() })
    }

    /// An import of so many contacts that no program has, signed by a clock that is off by so much.
    pub(super) fn import_at(&mut self, tenant: &Tenant, rows: u64, form: Form, off_ms: i64) -> Import {
        let mut csv = "customer_id,phone,first_name\n".to_owned();
        for number in self.next_contact..self.next_contact + rows {
            csv.push_str(&format!("{MARK}{number},+1{},{MARK}name\n", phone(number)));
        }
        self.next_contact += rows;
        let path = format!("/v2/programs/{}/participants", tenant.program);
        let off = Duration::from_millis(off_ms.unsigned_abs());
        let now = SystemTime::now();
        let now = if off_ms < 0 { now - off } else { now + off };
        let signed = match form {
            Form::Json => {
                let body = format!(
                    r#"{{"program":"{}","options":{{"new":"add","existing":"ignore","mode":"row","absent":"ignore"}},"participants":{}}}"#,
                    tenant.program,
                    json_string(&csv)
                );
                Signed::json_at(now, tenant, &path, body)
            }
            Form::Stream => Signed::stream(tenant, &format!("{path}?new=add&existing=ignore&mode=row"), csv),
        };
        Import { signed, tenant: tenant.clone(), rows }
    }

    pub(super) fn import(&mut self, tenant: &Tenant, rows: u64, form: Form) -> Import {
        self.import_at(tenant, rows, form, 0)
    }

    /// Sends it once, over a connection of its own.
    pub(super) fn send(&self, request: &Signed) -> Result<Answer, String> {
        let content = (request.kind, request.body.as_slice());
        Connection::open(self.address()?)?.send_content(request.method, &request.path, &request.headers, content)
    }

    /// The status of an import; `None` if it cannot be told just now.
    pub(super) fn status(
        &self,
        tenant: &Tenant,
        location: &str,
        wait_s: u64,
        off_ms: i64,
    ) -> Result<Option<String>, String> {
        let off = Duration::from_millis(off_ms.unsigned_abs());
        let now = SystemTime::now();
        let now = if off_ms < 0 { now - off } else { now + off };
        let mut asked = Signed::bare_at(now, tenant, "GET", location);
        if wait_s > 0 {
            asked = asked.waiting(wait_s);
        }
        let answer = self.send(&asked)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            503 => Ok(None),
            status => Err(format!("the status of {location} is answered {status}: {}", answer.body)),
        }
    }

    /// Waits for the end of an import that was accepted, and checks that it ran once and did what it was to do.
    pub(super) fn completes(&mut self, import: &Import, location: &str, off_ms: i64) -> Result<Duration, String> {
        let begun = Instant::now();
        loop {
            let status = self.status(&import.tenant, location, 2, off_ms)?.unwrap_or_default();
            if member(&status, "complete") == Some("true") {
                let rows = import.rows.to_string();
                let is_right = member(&status, "added") == Some(&*rows)
                    && member(&status, "read") == Some(&*rows)
                    && member(&status, "applied") == Some("true")
                    && member(&status, "error") == Some("false");
                if !is_right {
                    return Err(format!("an import of {rows} new contacts ended so: {status}"));
                }
                *self.contacts.entry(import.tenant.program.clone()).or_default() += import.rows;
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > self.patience {
                return Err(format!("{location} does not end: {status}"));
            }
        }
    }

    /// Sends an import until it is accepted, and waits for its end: how long each took.
    pub(super) fn accepted_and_completes(
        &mut self,
        import: &Import,
        known: Option<&str>,
    ) -> Result<(Duration, Duration), String> {
        let begun = Instant::now();
        loop {
            let seen = Seen::of(&self.send(&import.signed));
            match seen {
                Seen::Accepted(location) => {
                    if known.is_some_and(|known| known != location) {
                        return Err(format!("an import that was accepted as {known:?} is {location} now"));
                    }
                    let accepted = begun.elapsed();
                    return Ok((accepted, self.completes(import, &location, 0)?));
                }
                Seen::Later { .. } if begun.elapsed() < self.patience => std::thread::sleep(COME_AGAIN),
                other => return Err(format!("an import that is sent again is answered with {}", other.words())),
            }
        }
    }

    /// Each program has the contacts of what was completed, and no others.
    pub(super) fn contacts_are_right(&self, tenant: &Tenant) -> Result<(), String> {
        for (program, expected) in &self.contacts {
            let path = format!("/v1/programs/{program}/participants?active=all&count=1");
            let answer = self.send(&Signed::bare(tenant, "GET", &path))?;
            if member(&answer.body, "total") != Some(&expected.to_string()) {
                return Err(format!("program {program} should have {expected} contacts: {}", answer.body));
            }
        }
        Ok(())
    }

    /// Everything that the service has logged.
    pub(super) fn log(&self) -> String {
        self.logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect()
    }

    /// What no log may have in it.
    pub(super) fn wrong_in_logs(&self) -> Vec<String> {
        let log = self.log();
        let bad = |line: &&str| line.contains(MARK) || MISTAKES.iter().any(|mistake| line.contains(mistake));
        log.lines().filter(bad).take(5).map(|line| format!("the log has: {line}")).collect()
    }

    /// Descriptors that the process has open, and the memory that it has, in KiB.
    pub(super) fn held(&self) -> (usize, u64) {
        let id = self.process();
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        (descriptors, line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0))
    }
}
