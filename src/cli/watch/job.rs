//! One file that was taken, on its way: prepared, sent, waited for, put away. How far it is says which files lie beside it, so that
//! whoever comes next goes on from there:
//!
//! ```text
//! (the file alone)   nothing was sent
//! .request.json      it may have been sent: what exactly, and by which key the service knows it again
//! .accepted.json     the service has it: where its status is
//! .errors.csv        the rows that failed
//! .report.json       how it ended
//! .finish.json       which number it gets among files of its name
//! ```
//!
//! Each is written whole, and before the step that it is about.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder::{DONE, FAILED, Names, move_to, read, remove, sync_dir, write};
use super::request::{Doubt, Prepared, Request};
use super::{Ended, Hand, Trouble};
use crate::cli::client::Unreachable;
use crate::cli::download;
use crate::cli::failure::{Cause, Exit, Failure};
use crate::cli::operator::now_ms;
use crate::cli::transfer::{Seen, pace};
use crate::cli::{problem_text, report};
use crate::command::test_point::test_point;
use crate::signature::explain;
use crate::wire::Status;

/// The longest that one look at a status is held: so soon a watcher that is to stop stops.
const LOOK_SECONDS_MAX: u64 = 5;

/// A file that was taken.
pub(super) struct Job {
    dir: PathBuf,
    /// The file's own name.
    name: OsString,
}

/// Where the service has the import.
#[derive(Serialize, Deserialize)]
struct AcceptedJson {
    location: String,
}

/// How a file is put away.
#[derive(Serialize, Deserialize)]
struct FinishJson {
    folder: String,
    number: u32,
}

/// What a step leads to.
enum Next {
    GoOn,
    /// It was asked to stop.
    Stop,
}

impl Job {
    /// What lies in a directory of a file that was taken. `None`: nothing any more, and it is gone.
    pub(super) fn open(dir: &Path) -> io::Result<Option<Job>> {
        let mut name = None;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().first() != Some(&b'.') {
                name = Some(entry.file_name());
            }
        }
        if let Some(name) = name {
            return Ok(Some(Job { dir: dir.to_owned(), name }));
        }
        // The file has been put away, or was never moved here.
        clear(dir)?;
        Ok(None)
    }

    /// What was never sent is prepared anew, with the options of now.
    pub(super) fn drop_unsent(&self) -> io::Result<()> {
        let request = read(&self.own(".request.json"))?.and_then(|text| serde_json::from_str::<Request>(&text).ok());
        if request.is_some_and(|request| !request.is_in_doubt()) {
            remove(&self.own(".request.json"))?;
        }
        Ok(())
    }

    /// The file's own name.
    pub(super) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    fn file(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Goes on from where the file is to its end. `None` if it was asked to stop before that.
    pub(super) fn advance(&self, hand: &Hand<'_>) -> Result<Option<Ended>, Trouble> {
        loop {
            if let Some(text) = read(&self.own(".finish.json")).map_err(kept)? {
                return self.put_away(hand, &parse(&text)?).map(Some);
            }
            let next = if let Some(text) = read(&self.own(".report.json")).map_err(kept)? {
                self.choose_names(hand, &text)?
            } else if let Some(text) = read(&self.own(".accepted.json")).map_err(kept)? {
                self.wait(hand, &parse::<AcceptedJson>(&text)?.location)?
            } else if let Some(text) = read(&self.own(".request.json")).map_err(kept)? {
                self.send(hand, parse(&text)?)?
            } else {
                self.prepare(hand)?
            };
            if matches!(next, Next::Stop) {
                return Ok(None);
            }
        }
    }

    fn prepare(&self, hand: &Hand<'_>) -> Result<Next, Trouble> {
        match Request::prepare(hand, &self.dir, &self.name)? {
            Prepared::Ready(request) => {
                self.note(&request)?;
                test_point("watch.before_send");
            }
            Prepared::Unfit(failure) => self.refuse("not_sent", &failure.to_string(), &[])?,
        }
        Ok(Next::GoOn)
    }

    fn note(&self, request: &Request) -> Result<(), Trouble> {
        write(&self.own(".request.json"), &json!(request).to_string()).map_err(kept)
    }

    fn send(&self, hand: &Hand<'_>, mut request: Request) -> Result<Next, Trouble> {
        match request.doubt(hand)? {
            Doubt::None => {}
            Doubt::NotAccepted => {
                request.renew();
                self.note(&request)?;
            }
            Doubt::Maybe(commands) => {
                let text = "It was sent before, more than a day ago, and the service's answer was lost. Look at the imports named in \
                            'commands', or at 'GET /v2/programs/ID/commands'; drop the file again if it is in none of them.";
                self.refuse("in_doubt", text, &commands)?;
                return Ok(Next::GoOn);
            }
        }
        let was_sent_before = request.is_in_doubt();
        request.sent_at(now_ms());
        self.note(&request)?;
        test_point("watch.when_noted");
        let upload = request.upload(&self.dir, &self.name).map_err(kept)?;
        let sent = hand.client.post_file(&request.target, &upload, Some(&request.key), &|_| ());
        test_point("watch.after_send");
        let failure = match sent {
            Ok(answer) => {
                let location = answer.location.filter(|path| path.starts_with('/')).ok_or_else(|| {
                    let text = format!("the service answered {} without the path of a command", answer.status);
                    Trouble::operators(Failure::ours(text))
                })?;
                if answer.replayed {
                    hand.output.say(format_args!("{}: the service had it already; nothing runs twice", self.name()));
                }
                write(&self.own(".accepted.json"), &json!(AcceptedJson { location }).to_string()).map_err(kept)?;
                test_point("watch.after_accepted");
                return Ok(Next::GoOn);
            }
            Err(failure) => failure,
        };
        self.unsent(hand, request, was_sent_before, failure)
    }

    /// What follows from a request that had no success.
    fn unsent(
        &self,
        hand: &Hand<'_>,
        mut request: Request,
        was_sent_before: bool,
        failure: Failure,
    ) -> Result<Next, Trouble> {
        let in_doubt = was_sent_before || matches!(failure.cause, Cause::Unknown)
            // Who answers for a service that is behind it may not know what that did.
            || matches!(failure.cause, Cause::Refused { status: 500.., .. });
        if !in_doubt {
            // Nothing was begun.
            request.renew();
            self.note(&request)?;
        }
        let (status, retry_after_seconds, body) = match &failure.cause {
            Cause::Refused { status, retry_after_seconds, body } => (*status, *retry_after_seconds, &**body),
            Cause::Unreadable => return self.changed(hand, &request, in_doubt, failure),
            Cause::Other | Cause::NotSent | Cause::Unknown => return Err(Trouble::passing(failure)),
        };
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        match (status, problem["code"].as_str()) {
            (_, Some("digest_mismatch")) => self.changed(hand, &request, in_doubt, failure),
            (_, Some("signature_reused")) => Err(Trouble::passing(failure)),
            (422, Some("idempotency_key_reused")) => self.changed(hand, &request, true, failure),
            (400 | 413 | 415 | 422, Some(_)) => {
                let alike = if in_doubt { request.alike(hand)? } else { Vec::new() };
                if alike.is_empty() {
                    write(&self.own(".report.json"), &problem.to_string()).map_err(kept)?;
                } else {
                    let text =
                        format!("It was sent before, and the service's answer was lost. Now it is refused: {failure}");
                    self.refuse("in_doubt", &text, &alike)?;
                }
                Ok(Next::GoOn)
            }
            (408 | 429 | 500.., _) => Err(Trouble { after_seconds: retry_after_seconds, ..Trouble::passing(failure) }),
            _ => Err(Trouble::operators(failure)),
        }
    }

    /// The file in hand is not the one any more that was made ready.
    fn changed(&self, hand: &Hand<'_>, request: &Request, in_doubt: bool, failure: Failure) -> Result<Next, Trouble> {
        if in_doubt {
            let text = "It was changed after it was sent for the first time, and the service's answer was lost. Look at the imports named \
                        in 'commands', or at 'GET /v2/programs/ID/commands'; drop the file again if it is in none of them.";
            self.refuse("in_doubt", text, &request.alike(hand)?)?;
            return Ok(Next::GoOn);
        }
        remove(&self.own(".request.json")).and_then(|()| sync_dir(&self.dir)).map_err(kept)?;
        Err(Trouble::passing(failure))
    }

    /// Waits until the import is complete.
    fn wait(&self, hand: &Hand<'_>, location: &str) -> Result<Next, Trouble> {
        let begun = Instant::now();
        loop {
            if hand.stop.is_asked() {
                return Ok(Next::Stop);
            }
            let seconds = pace(begun.elapsed()).as_secs().min(LOOK_SECONDS_MAX);
            let asked = Instant::now();
            let seen = match hand.client.get(location, Some(seconds), Unreachable::GiveUp) {
                Ok(answer) => Seen::of(answer).map_err(Trouble::passing)?,
                Err(failure) => return self.unseen(hand, location, failure),
            };
            if seen.status.complete {
                self.complete(hand, location, &seen)?;
                return Ok(Next::GoOn);
            }
            let left = Duration::from_secs(seconds).saturating_sub(asked.elapsed());
            hand.stop.pause(left);
        }
    }

    /// A status that cannot be seen. If the program can, and nothing is wrong with who asks, it is kept no more.
    fn unseen(&self, hand: &Hand<'_>, location: &str, failure: Failure) -> Result<Next, Trouble> {
        let Cause::Refused { status, retry_after_seconds, .. } = failure.cause else {
            return Err(Trouble::passing(failure));
        };
        if status == 404 {
            // Of the program that it was sent to, whatever this watcher's is.
            let text = read(&self.own(".request.json")).map_err(kept)?.unwrap_or_default();
            let list = parse::<Request>(&text)?.commands();
            if hand.client.get(&list, None, Unreachable::GiveUp).is_ok() {
                let text = "It was accepted; how it ended is not known any more.";
                self.refuse("gone", text, &[location.to_owned()])?;
                return Ok(Next::GoOn);
            }
        }
        match status {
            408 | 429 | 500.. => Err(Trouble { after_seconds: retry_after_seconds, ..Trouble::passing(failure) }),
            _ => Err(Trouble::operators(failure)),
        }
    }

    fn complete(&self, hand: &Hand<'_>, location: &str, seen: &Seen) -> Result<(), Trouble> {
        let has_failed_rows =
            seen.status.message.as_ref().is_some_and(|message| message.errors.iter().any(|error| error.row.is_some()));
        if has_failed_rows {
            // For people, who open it: formulas are guarded, and an import takes the guard off again.
            let from = format!("{location}/errors.csv?guard=1");
            match download::to_file(hand.client, &from, &self.own(".errors.csv"), hand.output) {
                Ok(_) => {}
                // They are kept no more; the report has them still.
                Err(failure) if matches!(failure.cause, Cause::Refused { status: 404 | 410, .. }) => {}
                Err(failure) => return Err(Trouble::passing(failure)),
            }
        }
        test_point("watch.before_report");
        write(&self.own(".report.json"), &seen.raw).map_err(kept)
    }

    /// Ends it without an import, or without knowing of one.
    fn refuse(&self, code: &str, detail: &str, commands: &[String]) -> Result<(), Trouble> {
        let mut problem = json!({ "title": "The file was not imported", "code": code, "detail": detail });
        if !commands.is_empty() {
            problem["commands"] = json!(commands);
        }
        if code != "not_sent" {
            problem["title"] = json!("It is not known whether the file was imported");
        }
        write(&self.own(".report.json"), &problem.to_string()).map_err(kept)
    }

    fn choose_names(&self, hand: &Hand<'_>, report: &str) -> Result<Next, Trouble> {
        test_point("watch.after_report");
        let folder = Outcome::of(report).folder();
        let number = Names::first_free(&hand.folder.folder(folder), &self.name).map_err(kept)?;
        let finish = FinishJson { folder: folder.to_owned(), number };
        write(&self.own(".finish.json"), &json!(finish).to_string()).map_err(kept)?;
        Ok(Next::GoOn)
    }

    /// Puts it away: first what is told of it, the file itself last. May have been begun before.
    fn put_away(&self, hand: &Hand<'_>, finish: &FinishJson) -> Result<Ended, Trouble> {
        let folder = hand.folder.folder(&finish.folder);
        let names = Names::of(&self.name, finish.number);
        test_point("watch.before_moves");
        move_to(&self.own(".errors.csv"), &folder, &names.errors).map_err(kept)?;
        move_to(&self.own(".report.json"), &folder, &names.report).map_err(kept)?;
        // A power cut may not take these back and leave the file.
        sync_dir(&folder).map_err(kept)?;
        test_point("watch.between_moves");
        let text = fs::read_to_string(folder.join(&names.report)).map_err(kept)?;
        move_to(&self.file(), &folder, &names.file).map_err(kept)?;
        sync_dir(&folder).map_err(kept)?;
        test_point("watch.after_moves");
        clear(&self.dir).map_err(kept)?;
        Ok(Outcome::of(&text).ended(self.name(), folder.join(&names.file)))
    }
}

/// Removes what is left of a file that has been put away; what says that it was goes last.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() != ".finish.json" {
            fs::remove_file(entry.path())?;
        }
    }
    sync_dir(dir)?;
    remove(&dir.join(".finish.json"))?;
    fs::remove_dir(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

/// What a report says.
enum Outcome {
    Import(Box<Status>),
    Problem { words: String },
}

impl Outcome {
    fn of(report: &str) -> Outcome {
        if let Ok(status) = serde_json::from_str::<Status>(report) {
            return Outcome::Import(Box::new(status));
        }
        let problem: Value = serde_json::from_str(report).unwrap_or_default();
        let words = match problem["status"].as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status) => {
                problem_text::refusal(status, report.as_bytes(), || explain("", "", "", b"", "")).to_string()
            }
            None => problem["detail"].as_str().unwrap_or(report).to_owned(),
        };
        Outcome::Problem { words }
    }

    fn is_applied(&self) -> bool {
        match self {
            Outcome::Import(status) => status.message.as_ref().is_some_and(|message| message.applied),
            Outcome::Problem { words: _ } => false,
        }
    }

    fn folder(&self) -> &'static str {
        if self.is_applied() { DONE } else { FAILED }
    }

    fn ended(self, name: String, file: PathBuf) -> Ended {
        let is_applied = self.is_applied();
        match self {
            Outcome::Import(status) => {
                let words = status.message.as_ref().map(|message| message.summary.clone()).unwrap_or_default();
                let location = Some(format!("/v2/commands/{}", status.command_id));
                Ended { name, file, is_applied, location, words, exit: report::exit(&status) }
            }
            Outcome::Problem { words } => Ended { name, file, is_applied, location: None, words, exit: Exit::Yours },
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| {
        Trouble::operators(Failure::ours(format!("what was noted of a file in hand cannot be read: {error}")))
    })
}

/// Something on this machine does not work; the file stays where it is.
pub(super) fn kept(error: io::Error) -> Trouble {
    Trouble::passing(Failure::ours(format!("cannot go on with the file in hand: {error}")))
}
