//! The service, started and killed again and again on the same data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ground::Ground;
use super::plan::Death;
use super::private;
use crate::guarded::Guarded;
use crate::roster::{Home, Node};

/// How long a process has for coming to the place at which it is to die; then it is killed.
const COMES_WITHIN: Duration = Duration::from_millis(1_800);
/// What a process says of a mistake of ours, on its standard error.
const MISTAKES: [&str; 3] = ["panicked", "given up", "do not add up"];

/// A home, and the binary in which the places are at which it may be told to die. It may be the home's own.
pub(super) struct Victim {
    pub(super) home: Home,
    pub(super) with_places: PathBuf,
}

/// How a cycle has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Ended {
    Starting,
    Serving,
    At(&'static str),
    /// It did not come there in time.
    Missed(&'static str),
}

impl Victim {
    /// One cycle: it starts, clients are told where it is, and it dies.
    pub(super) fn cycle(&self, ground: &Ground, death: Death, number: usize) -> Result<Ended, String> {
        let log = self.home.directory.join(format!("cycle-{number}.log"));
        let ended = self.live(ground, death, &log);
        ground.is_at(None);
        let said = fs::read_to_string(&log).unwrap_or_default();
        let tells_a_secret = ground.tenants.iter().any(|tenant| said.contains(&tenant.secret));
        match tells_a_secret.then(|| "the log tells a token's secret".to_owned()).or_else(|| wrong_in(&said)) {
            Some(wrong) => ground.tell(format!("cycle {number}: {wrong}")),
            None => drop(fs::remove_file(&log)),
        }
        ended.map_err(|fault| format!("cycle {number}, {death:?}: {fault}\n{said}"))
    }

    fn live(&self, ground: &Ground, death: Death, log: &Path) -> Result<Ended, String> {
        let mut environment = self.environment();
        let mut binary = &self.home.binary;
        if let Death::At(place, times) = death {
            environment.push(("ROSTER_CRASH_AT", format!("{place}:{times}")));
            binary = &self.with_places;
        }
        let mut process = start(binary, &environment, log)?;
        match death {
            Death::Starting(after) => {
                process.ends_within(after);
                Ok(Ended::Starting)
            }
            Death::Serving(after) => {
                let address = address(&mut process).ok_or("it did not start")?;
                ground.is_at(Some(address));
                if process.ends_within(after) { Err("it ended by itself".to_owned()) } else { Ok(Ended::Serving) }
            }
            Death::At(place, _) => {
                let Some(address) = address(&mut process) else { return Ok(Ended::At(place)) };
                ground.is_at(Some(address));
                Ok(if process.ends_within(COMES_WITHIN) { Ended::At(place) } else { Ended::Missed(place) })
            }
        }
        // Here it is killed, whatever it is at, and waited for.
    }

    /// The service that nobody kills.
    pub(super) fn serve(&self, name: &str) -> Result<Node, String> {
        let log = self.home.directory.join(format!("{name}.log"));
        let mut process = start(&self.home.binary, &self.environment(), &log)?;
        let address = address(&mut process);
        let said = || fs::read_to_string(&log).unwrap_or_default();
        Ok(Node { address: address.ok_or_else(|| format!("it did not start:\n{}", said()))?, process })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = self.home.environment();
        // All that there is in the long run: what must not be told is looked for.
        environment.push(("ROSTER_LOG_LEVEL", "debug".to_owned()));
        environment
    }
}

/// What a process must not say.
pub(super) fn wrong_in(log: &str) -> Option<String> {
    log.lines().find_map(|line| match private::told_by(line) {
        Some(what) => Some(format!("the log tells {what}: {line}")),
        None => MISTAKES.iter().any(|mistake| line.contains(mistake)).then(|| line.to_owned()),
    })
}

fn start(binary: &Path, environment: &[(&'static str, String)], log: &Path) -> Result<Guarded, String> {
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Guarded::start(binary, &["serve", "--listen", "127.0.0.1:0"], &environment, log)
}

/// Where it listens; `None` if it ended before.
fn address(process: &mut Guarded) -> Option<String> {
    Some(process.line()?.strip_prefix("listening on http://")?.to_owned())
}
