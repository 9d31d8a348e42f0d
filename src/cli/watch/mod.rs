//! `roster watch`: imports every CSV file that is put into a directory, each exactly once, whenever this process is killed.
//!
//! One file after the other: it is taken out of the directory by a rename, sent by a request that is noted before ([`request`]), and put
//! away with its report ([`job`]). What the service did with a request whose answer was lost is found out by sending it again with the same
//! `Idempotency-Key`. Polling is enough, and works on network file systems.

mod folder;
mod job;
mod request;
mod stop;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::json;

use crate::command::test_point::test_point;
use crate::tenant::ProgramId;

use super::choices::{FileArgs, RowArgs};
use super::client::{Client, ClientArgs};
use super::column_map::ColumnMap;
use super::failure::{Cause, Exit, Failure};
use super::operator::program_id;
use super::output::{Output, escape};
use folder::Folder;
use job::Job;
use stop::Stop;

/// The first pause of a file that meets trouble; each is twice as long as the one before.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// For how long `--once` tries again.
const ONCE_TRYING_MAX: Duration = Duration::from_secs(60);
/// How often a trouble is told that somebody has to end.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// The longest time that a flag takes.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Args)]
#[command(after_help = "Examples:
  roster watch /srv/drop --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10
  roster watch /srv/drop --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --once --settle 0    # from cron; files are renamed in

Files named *.csv are imported in the order of their times of change, then names, and go to DIR/done or DIR/failed, with NAME.report.json and, where rows failed, NAME.errors.csv beside. It may be killed at any moment: no file is lost or imported twice.

Exit codes: 0 stopped, or with --once all files are done; 1 rows or whole files were refused; 2 yours (arguments, signature, a refused request); 3 ours (unreachable, internal); with --once the highest that applies.")]
pub(super) struct WatchArgs {
    /// The directory; sub-directories, hidden files and names that do not end in .csv are left alone
    dir: PathBuf,
    /// The program whose contacts they are
    #[arg(long, env = "ROSTER_PROGRAM", value_name = "ID", value_parser = program_id)]
    program: ProgramId,
    #[command(flatten)]
    rows: RowArgs,
    #[command(flatten)]
    written: FileArgs,
    /// How often to look for files, like 500ms, 5s or 2m
    #[arg(long, env = "ROSTER_EVERY", value_name = "TIME", default_value = "5s", value_parser = time)]
    every: Duration,
    /// For how long a file's size and time have to stay the same before it is taken; 0 if files are renamed in
    #[arg(long, env = "ROSTER_SETTLE", value_name = "TIME", default_value = "10s", value_parser = time)]
    settle: Duration,
    /// Import what is there, and end
    #[arg(long, env = "ROSTER_ONCE", value_parser = BoolishValueParser::new())]
    once: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What a file is handled with.
struct Hand<'a> {
    client: &'a Client,
    folder: &'a Folder,
    program: ProgramId,
    rows: &'a RowArgs,
    written: &'a FileArgs,
    map: Option<&'a ColumnMap>,
    stop: &'a Stop,
    output: Output,
}

/// A file that has been put away.
struct Ended {
    name: String,
    /// Where it is now.
    file: PathBuf,
    is_applied: bool,
    /// The command.
    location: Option<String>,
    words: String,
    exit: Exit,
}

/// Why a file stays in hand. It goes on with the next try.
struct Trouble {
    failure: Failure,
    /// Whether it takes somebody to end it.
    is_operators: bool,
    after_seconds: Option<u64>,
}

impl Trouble {
    fn passing(failure: Failure) -> Trouble {
        Trouble { failure, is_operators: false, after_seconds: None }
    }

    fn operators(failure: Failure) -> Trouble {
        Trouble { failure, is_operators: true, after_seconds: None }
    }
}

/// Reads a time with its unit, for clap.
fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit_ms = match &text[digits..] {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60 * 1_000),
        "h" => Some(60 * 60 * 1_000),
        _ => None,
    };
    let number = text[..digits].parse::<u64>().ok();
    let time = number.zip(unit_ms).and_then(|(number, unit_ms)| number.checked_mul(unit_ms)).map(Duration::from_millis);
    time.filter(|time| *time <= TIME_MAX)
        .ok_or_else(|| "it is a number of seconds, or like 500ms, 5s, 2m or 1h, and at most a day".to_owned())
}

pub(super) fn run(args: &WatchArgs, output: Output) -> Result<Exit, Failure> {
    let map = args.written.map.as_deref().map(ColumnMap::read).transpose()?;
    let client = args.client.client(None, output)?.once();
    let folder = Folder::open(&args.dir)?;
    let stop = Stop::listen()?;
    let mut watcher =
        Watcher { args, map, client, folder, stop, output, worst: Exit::Done, unreadable: HashSet::new() };
    watcher.watch()?;
    Ok(if args.once { watcher.worst } else { Exit::Done })
}

struct Watcher<'a> {
    args: &'a WatchArgs,
    map: Option<ColumnMap>,
    client: Client,
    folder: Folder,
    stop: Stop,
    output: Output,
    /// The highest exit code of a file so far.
    worst: Exit,
    /// Files that could not be opened, and were told.
    unreadable: HashSet<OsString>,
}

impl Watcher<'_> {
    fn watch(&mut self) -> Result<(), Failure> {
        self.go_on_with_taken()?;
        let mut has_waited = false;
        while !self.stop.is_asked() {
            let found = match self.folder.look(self.args.settle).map_err(|error| self.unlooked(&error)) {
                Err(failure) if self.args.once => return Err(failure),
                Err(failure) => {
                    // A network file system that is away comes back.
                    self.output.say(format_args!("{failure}\nIt is tried again."));
                    self.stop.pause(PAUSE_MAX);
                    continue;
                }
                Ok(found) => found,
            };
            self.unreadable.retain(|name| found.complete.contains(name));
            for name in &found.complete {
                if self.stop.is_asked() {
                    return Ok(());
                }
                self.import(name)?;
            }
            if self.args.once {
                if has_waited && found.growing > 0 {
                    self.output
                        .say(format_args!("{} more change still; they are left for the next time", found.growing));
                }
                if has_waited || found.growing == 0 {
                    return Ok(());
                }
                has_waited = true;
                self.stop.pause(self.args.settle);
            } else if found.complete.iter().all(|name| self.unreadable.contains(name)) {
                self.stop.pause(self.args.every);
            }
        }
        Ok(())
    }

    /// What an earlier watcher had in hand comes first: it may have been accepted already.
    fn go_on_with_taken(&mut self) -> Result<(), Failure> {
        for dir in self.folder.taken().map_err(|error| self.unlooked(&error))? {
            let job = Job::open(&dir).and_then(|job| match job {
                Some(job) => job.drop_unsent().map(|()| Some(job)),
                None => Ok(None),
            });
            if let Some(job) = job.map_err(|error| self.unlooked(&error))? {
                self.output.say(format_args!("{}: goes on", escape(&job.name())));
                self.work(&job)?;
            }
            if self.stop.is_asked() {
                break;
            }
        }
        Ok(())
    }

    fn unlooked(&self, error: &io::Error) -> Failure {
        Failure::ours(format!("cannot read {}: {error}", self.args.dir.display()))
    }

    fn import(&mut self, name: &OsString) -> Result<(), Failure> {
        test_point("watch.before_take");
        match self.folder.take(name) {
            Ok(Some(dir)) => {
                test_point("watch.after_take");
                if let Some(job) = Job::open(&dir).map_err(|error| self.unlooked(&error))? {
                    self.work(&job)?;
                }
            }
            Ok(None) => {}
            Err(error) => {
                if self.unreadable.insert(name.clone()) {
                    self.output.say(format_args!("{}: cannot be taken: {error}", escape(&name.to_string_lossy())));
                }
                self.worst = self.worst.max(Exit::Yours);
            }
        }
        Ok(())
    }

    /// Brings a file to its end, through whatever trouble there is; unless it is to stop, or with `--once` the trouble lasts.
    fn work(&mut self, job: &Job) -> Result<(), Failure> {
        let hand = Hand {
            client: &self.client,
            folder: &self.folder,
            program: self.args.program,
            rows: &self.args.rows,
            written: &self.args.written,
            map: self.map.as_ref(),
            stop: &self.stop,
            output: self.output,
        };
        let begun = Instant::now();
        let (mut pause, mut told): (Duration, Option<(String, Instant)>) = (PAUSE_FIRST, None);
        while !self.stop.is_asked() {
            let trouble = match job.advance(&hand) {
                Ok(Some(ended)) => {
                    self.worst = self.worst.max(ended.exit);
                    return self.tell(&ended);
                }
                Ok(None) => return Ok(()),
                Err(trouble) => trouble,
            };
            let Trouble { failure, is_operators, after_seconds } = trouble;
            let lasts = match failure.cause {
                Cause::Refused { .. } | Cause::Unknown => begun.elapsed() >= ONCE_TRYING_MAX,
                Cause::Other | Cause::NotSent | Cause::Unreadable => true,
            };
            let text = format!("{}: {failure}", escape(&job.name()));
            if self.args.once && (is_operators || lasts) {
                let stays = "The file is kept in hand; the next 'roster watch' goes on with it.";
                return Err(failure.after(&format!("{}:", escape(&job.name()))).with_remedy(stays));
            }
            let is_new = told
                .as_ref()
                .is_none_or(|(before, at)| *before != text || (is_operators && at.elapsed() >= TELL_EVERY));
            if is_new {
                self.output.say(format_args!("{text}\nThe file stays in hand and is tried again."));
                told = Some((text, Instant::now()));
            }
            if let Some(seconds) = after_seconds {
                self.stop.pause(Duration::from_secs(seconds).min(PAUSE_MAX));
            } else {
                self.stop.pause(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        Ok(())
    }

    fn tell(&self, ended: &Ended) -> Result<(), Failure> {
        let Ended { name, file, is_applied, location, words, exit: _ } = ended;
        if self.output.json {
            return self.output.object(&json!({
                "file": name, "applied": is_applied, "now": file, "location": location, "summary": words,
            }));
        }
        let what = if *is_applied { "done" } else { "failed" };
        let lines: Vec<_> = words.lines().map(escape).collect();
        self.output.line(format_args!("{}: {what}: {}", escape(name), lines.join("\n  ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in
            [("0", 0), ("5", 5_000), ("500ms", 500), (" 5s ", 5_000), ("2m", 120_000), ("24h", 86_400_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "s", "-1s", "1.5s", "25h", "99999999999999999999", "5 s", "1d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
