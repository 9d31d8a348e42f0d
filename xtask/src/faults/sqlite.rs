//! A data directory on a disk that fails: at each step of an import, of a start and of an operator's command.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::Wanted;
use super::ground::{Form, Ground, Import, Seen};
use super::shim::{Asked, Fault, Shim};
use super::steps::{self, Step};
use super::table::Table;
use crate::roster::{Home, Tenant};
use crate::say;
use crate::torture::check::{self, Checked};

/// Rows of an import that is kept in the catalogue, and of one that is a file of its own and many batches.
const FEW: u64 = 20;
const MANY: u64 = 9_000;
/// Exit code of what could not be done by no fault of who asked (docs/OPERATIONS.md).
const EXIT_OURS: i32 = 3;

/// What an import is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Kept in the catalogue; the program has a file already.
    Small,
    /// The first of its program.
    First,
    /// A file of its own.
    Large,
    /// The same, written while it comes in.
    Stream,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Small => "a small import",
            Kind::First => "the first import of a program",
            Kind::Large => "a large import",
            Kind::Stream => "a large import in the stream form",
        }
    }
}

/// How a fault ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// By itself, and the process goes on.
    Passes,
    /// With the process, which is killed with -9 and started again.
    Killed,
}

pub(super) struct Case<'a> {
    kind: Kind,
    step: &'a Step,
    fault: Fault,
    from: i64,
    until: i64,
    end: End,
}

struct Run<'a> {
    ground: Ground,
    /// Whose imports meet the faults, and somebody else's program.
    tenant: Tenant,
    other: Tenant,
    wanted: &'a Wanted,
    table: &'a mut Table,
}

/// Everything; what is wrong.
pub(super) fn run(wanted: &Wanted, binary: &Path, sqlite3: &str, table: &mut Table) -> Result<Vec<String>, String> {
    let directory = super::fresh("sqlite")?;
    let shim = Shim::build(&directory)?;
    let home = Home { binary: binary.to_owned(), directory: directory.clone(), database: None, lease_seconds: 1 };
    let tenant = home.new_tenant()?;
    let data = directory.join("data");
    let environment = shim.environment(&data.to_string_lossy());
    let mut ground = Ground::new(home, shim, environment);
    let other = ground.new_program(&tenant)?;
    ground.start()?;
    let mut run = Run { ground, tenant, other, wanted, table };
    let mut wrong = run.imports(sqlite3, &data)?;
    wrong.extend(run.operators()?);
    wrong.extend(run.starts(&data)?);
    wrong.extend(check::look_into_directory(&data, sqlite3, &mut Checked::default())?);
    wrong.extend(run.ground.wrong_in_logs());
    Ok(wrong)
}

impl Run<'_> {
    /// Faults that pass, in one process that lives through all of them; then such as the process does not outlive.
    fn imports(&mut self, sqlite3: &str, data: &Path) -> Result<Vec<String>, String> {
        for tenant in [self.tenant.clone(), self.other.clone()] {
            let first = self.ground.import(&tenant, MANY, Form::Json);
            self.ground.accepted_and_completes(&first, None)?;
        }
        let mut wrong = Vec::new();
        let before = self.ground.held();
        for end in [End::Passes, End::Killed] {
            for kind in self.kinds() {
                let before = self.table.cases;
                wrong.extend(self.of_kind(kind, end)?);
                say(format_args!("  {}, {end:?}: {} cases", kind.name(), self.table.cases - before));
            }
            if end == End::Passes {
                let after = self.ground.held();
                say(format_args!(
                    "  descriptors {} and {} KiB before, {} and {} KiB after",
                    before.0, before.1, after.0, after.1
                ));
                // Those of the programs that were met for the first time, and of readers that are kept.
                let programs = self.table.cases as usize;
                if after.0 > before.0 + 9 * programs.min(64) {
                    wrong.push(format!("descriptors are lost: {} of {}", after.0, before.0));
                }
                let orphans = check::look_into_directory(data, sqlite3, &mut Checked::default())?;
                wrong.extend(orphans.into_iter().map(|what| format!("while it serves: {what}")));
            }
        }
        self.ground.stop();
        Ok(wrong)
    }

    fn kinds(&self) -> Vec<Kind> {
        if self.wanted.is_short {
            vec![Kind::Stream]
        } else {
            vec![Kind::Small, Kind::First, Kind::Large, Kind::Stream]
        }
    }

    /// Which faults are met; in the short form only one that the process does not outlive.
    fn faults(&self, end: End) -> Vec<Fault> {
        let faults = self.wanted.faults();
        let is_one = self.wanted.is_short && end == End::Killed;
        faults.into_iter().filter(|fault| !is_one || *fault == Fault::Full).collect()
    }

    fn of_kind(&mut self, kind: Kind, end: End) -> Result<Vec<String>, String> {
        let watched = self.watch(kind)?;
        let (steps, mut wrong) = (steps::of_import(&watched), Vec::new());
        for fault in self.faults(end) {
            for step in &steps {
                let Some((first, last)) = steps::struck(&watched, step, fault) else { continue };
                let mut ranges = vec![(first, i64::MAX)];
                if self.wanted.is_long {
                    ranges.push((first, first));
                    if last > first {
                        ranges.push((last, i64::MAX));
                    }
                }
                for (from, until) in ranges {
                    let case = Case { kind, step, fault, from, until, end };
                    if let Err(what) = self.case(&case) {
                        wrong.push(format!(
                            "{}, {}, {fault:?} from {from} until {until}, {end:?}: {what}",
                            kind.name(),
                            step.words()
                        ));
                        // What it was at is unknown; the next ones begin with a process that is well.
                        self.ground.shim.off();
                        self.ground.kill();
                        self.ground.start()?;
                    }
                }
            }
        }
        Ok(wrong)
    }

    /// What such an import asks for when nothing is wrong.
    fn watch(&mut self, kind: Kind) -> Result<Vec<(Asked, String)>, String> {
        let import = self.import(kind)?;
        self.ground.shim.watch();
        self.ground.accepted_and_completes(&import, None)?;
        self.ground.shim.off();
        Ok(self.ground.shim.watched())
    }

    fn import(&mut self, kind: Kind) -> Result<Import, String> {
        let tenant = self.tenant.clone();
        Ok(match kind {
            Kind::Small => self.ground.import(&tenant, FEW, Form::Json),
            Kind::First => {
                let tenant = self.ground.new_program(&tenant)?;
                self.ground.import(&tenant, FEW, Form::Json)
            }
            Kind::Large => self.ground.import(&tenant, MANY, Form::Json),
            Kind::Stream => self.ground.import(&tenant, MANY, Form::Stream),
        })
    }

    fn case(&mut self, case: &Case<'_>) -> Result<(), String> {
        let (import, beside) = (self.import(case.kind)?, self.ground.import(&self.other.clone(), FEW, Form::Json));
        let log_before = self.generation_of_log();
        self.ground.shim.fail(case.fault, case.from, case.until);
        let seen = Seen::of(&self.ground.send(&import.signed));
        let location = match &seen {
            Seen::Accepted(location) => Some(location.clone()),
            Seen::Later { code, retry_after_s, .. } if code == "busy" && *retry_after_s > 0 => None,
            other => return Err(format!("it is answered with {}", other.words())),
        };
        let mut is_struck = true;
        if let Some(location) = &location {
            is_struck = self.is_struck(&import, location)?;
        }
        let beside_seen = Seen::of(&self.ground.send(&beside.signed));
        let beside_location = match &beside_seen {
            Seen::Accepted(location) => Some(location.clone()),
            Seen::Later { .. } => None,
            other => return Err(format!("another program's import is answered with {}", other.words())),
        };
        if case.end == End::Killed {
            self.ground.kill();
        }
        self.ground.shim.off();
        if case.end == End::Killed {
            self.ground.start()?;
        }
        let (accepted, completed) = self.ground.accepted_and_completes(&import, location.as_deref())?;
        self.ground.accepted_and_completes(&beside, beside_location.as_deref())?;
        self.ground.contacts_are_right(&self.tenant)?;
        let is_doubtful = case.fault == Fault::Flush && case.step.file == "the catalogue's log" && location.is_none();
        if is_doubtful && log_before == self.generation_of_log() {
            return Err("what was written behind a flush that failed would be lost with it in a power cut".to_owned());
        }
        if let Seen::Later { request, .. } = &seen {
            let lines = self
                .ground
                .log()
                .lines()
                .filter(|line| line.contains(request.as_str()) && line.contains("put off"))
                .count();
            if lines != 1 {
                return Err(format!("the log has {lines} lines that say why request {request} was put off"));
            }
        }
        self.table.note(case.kind.name(), &case.step.words(), case.fault, &seen, is_struck);
        if case.end == End::Passes {
            self.table.recovered(accepted, completed);
        }
        Ok(())
    }

    /// What tells one beginning of the catalogue's WAL from the next: the salt in its head.
    fn generation_of_log(&self) -> Vec<u8> {
        let log = fs::read(self.ground.home.directory.join("data/catalogue.db-wal")).unwrap_or_default();
        log.get(16..24).unwrap_or_default().to_vec()
    }

    /// Waits until the fault has met the import, or the import is over without meeting it.
    fn is_struck(&self, import: &Import, location: &str) -> Result<bool, String> {
        let mut is_over = false;
        super::ground::until(super::ground::SOON, "the fault meets it", || {
            let status = self.ground.status(&import.tenant, location, 0, 0).unwrap_or_default().unwrap_or_default();
            is_over = status.contains("\"complete\":true");
            is_over || self.ground.shim.failed() > 0
        })?;
        Ok(self.ground.shim.failed() > 0)
    }

    /// `roster account create`, whose every step may fail: it says so, and leaves nothing or all.
    fn operators(&mut self) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        self.ground.shim.watch();
        self.account_created()?;
        self.ground.shim.off();
        let watched = self.ground.shim.watched();
        for fault in self.faults(End::Killed) {
            for step in steps::of_all(&watched, "an operator's command") {
                let Some((first, _)) = steps::struck(&watched, &step, fault) else { continue };
                let before = self.accounts()?;
                self.ground.shim.fail(fault, first, i64::MAX);
                let said = self.account_created();
                self.ground.shim.off();
                let after = self.accounts()?;
                let words = match said? {
                    Ended::Well if after == before + 1 => "done".to_owned(),
                    Ended::Failed(code) if code == EXIT_OURS && after == before => format!("exit code {code}"),
                    // What was not flushed may be there all the same.
                    Ended::Failed(code) if code == EXIT_OURS && fault == Fault::Flush => format!("exit code {code}"),
                    ended => {
                        wrong.push(format!(
                            "{}, {fault:?}: {ended:?}, and {before} accounts became {after}",
                            step.words()
                        ));
                        continue;
                    }
                };
                self.table.note("`roster account create`", &step.words(), fault, &Seen::Other(words), true);
            }
        }
        Ok(wrong)
    }

    fn account_created(&self) -> Result<Ended, String> {
        let mut command = self.ground.home.command(&["account", "create", "Another"]);
        let output = command.envs(self.ground.environment.iter().map(|(name, value)| (*name, value))).output();
        let output = output.map_err(|fault| fault.to_string())?;
        Ok(if output.status.success() { Ended::Well } else { Ended::Failed(output.status.code().unwrap_or(-1)) })
    }

    fn accounts(&self) -> Result<usize, String> {
        Ok(self.ground.home.operate(&["account", "list"])?.matches("\"id\"").count())
    }

    /// `roster serve` on a new directory and on one with work that waits: where it cannot start it ends with the code after which it
    /// is started again, and starts once the fault is over.
    fn starts(&mut self, data: &Path) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        let both = [("a start on an empty directory", true), ("a start", false)];
        for (what, is_new) in both.into_iter().filter(|(_, is_new)| *is_new || !self.wanted.is_short) {
            let kept = data.with_extension("kept");
            if is_new {
                fs::rename(data, &kept).map_err(|fault| fault.to_string())?;
            }
            self.ground.shim.watch();
            self.ground.start()?;
            self.ground.shim.off();
            self.ground.kill();
            let watched = self.ground.shim.watched();
            for fault in self.faults(End::Killed) {
                for step in steps::of_all(&watched, what) {
                    let Some((first, _)) = steps::struck(&watched, &step, fault) else { continue };
                    if is_new {
                        let _ = fs::remove_dir_all(data);
                    }
                    self.ground.shim.fail(fault, first, i64::MAX);
                    let ended = self.started()?;
                    self.ground.shim.off();
                    let words = match ended {
                        Ended::Well => "it starts".to_owned(),
                        Ended::Failed(code) if code == EXIT_OURS => format!("exit code {code}"),
                        Ended::Failed(code) => {
                            wrong.push(format!("{}, {fault:?}: exit code {code}", step.words()));
                            continue;
                        }
                    };
                    self.ground.start()?;
                    self.ground.kill();
                    self.table.note("`roster serve`", &step.words(), fault, &Seen::Other(words), true);
                }
            }
            if is_new {
                let put_back = fs::remove_dir_all(data).and_then(|()| fs::rename(&kept, data));
                put_back.map_err(|fault| fault.to_string())?;
            }
        }
        Ok(wrong)
    }

    /// Starts it and ends it: how it went.
    fn started(&mut self) -> Result<Ended, String> {
        // Guarded from a process that neither listens nor ends.
        let mut command = std::process::Command::new("timeout");
        command.args(["--signal", "KILL", "60"]).arg(&self.ground.home.binary).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
        ]);
        command
            .envs(self.ground.home.environment())
            .envs(self.ground.environment.iter().map(|(name, value)| (*name, value)));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|fault| fault.to_string())?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line);
        }
        if line.starts_with("listening") {
            // It passes the signal on, and gives the exit code of what it has ended.
            let _ = std::process::Command::new("kill").arg(child.id().to_string()).status();
        }
        let status = child.wait().map_err(|fault| fault.to_string())?;
        Ok(if line.starts_with("listening") { Ended::Well } else { Ended::Failed(status.code().unwrap_or(-1)) })
    }
}

/// How a process ended.
#[derive(Debug)]
enum Ended {
    Well,
    Failed(i32),
}
