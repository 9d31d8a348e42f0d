//! An import over HTTP, as any client does it: build the body or take the file as it is, send it, look until it is complete.

use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::import::{Form, ImportOptions};
use crate::tenant::ProgramId;
use crate::wire::{Status, write_import, write_options};

use super::client::{Answer, Client, Unreachable};
use super::failure::{Cause, Failure};
use super::output::{Output, escape};
use super::progress;
use super::source::Source;
use super::upload::{Compression, Upload};

/// For how long a client looks every [`PACE_SECONDS`].
const STEADY_SECONDS: u64 = 30;
/// How often it looks at first.
const PACE_SECONDS: u64 = 2;
/// How seldom it looks in the end.
const PACE_SECONDS_MAX: u64 = 20;

/// A file, and what is to be done with it.
#[derive(Clone, Debug)]
pub(super) struct Transfer<'a> {
    /// Whose contacts.
    pub(super) program: ProgramId,
    /// The file.
    pub(super) file: &'a Source,
    /// How it is sent ([`Form::Json`], else as it is), and what is to be done with its rows.
    pub(super) options: ImportOptions,
    /// If it is sent as it is.
    pub(super) compression: Compression,
}

/// A command as it was last seen.
pub(super) struct Seen {
    /// What the service said.
    pub(super) status: Status,
    /// The same, as it was received.
    pub(super) raw: String,
}

/// An import that the service took on.
pub(super) struct Accepted {
    /// The command's path.
    pub(super) location: String,
    /// Its state at that moment.
    pub(super) seen: Seen,
}

impl Seen {
    pub(super) fn of(answer: Answer) -> Result<Seen, Failure> {
        let strange = |reason: String| {
            Failure::ours(format!("the service answered {} with something that is no status: {reason}", answer.status))
        };
        let raw = String::from_utf8(answer.body).map_err(|error| strange(error.to_string()))?;
        let status = serde_json::from_str(&raw).map_err(|error| strange(error.to_string()))?;
        Ok(Seen { status, raw: raw.trim_end().to_owned() })
    }
}

/// Sends a file. It is safe to be sent again: the signature makes it one import.
pub(super) fn send(client: &Client, transfer: &Transfer<'_>, output: Output) -> Result<Accepted, Failure> {
    let path = format!("/v2/programs/{}/participants", transfer.program);
    let answer = match transfer.options.form {
        Form::Json => {
            let csv = text(transfer.file)?;
            let body = write_import(&transfer.program.to_string(), &transfer.options, &csv);
            drop(csv);
            let bar = progress::upload(body.len() as u64, output);
            let sent = client.post(&path, body.as_bytes(), &|gone| bar.set_position(gone));
            bar.finish_and_clear();
            sent
        }
        Form::File { charset } => {
            let packs = transfer.compression.packs(client.is_near());
            let upload = Upload::prepare(transfer.file, charset, packs, output)?;
            let target = format!("{path}?{}", write_options(&transfer.options));
            let bar = progress::upload(upload.source.bytes(), output);
            let key = Uuid::new_v4().to_string();
            let sent = client.post_file(&target, &upload, Some(&key), &|gone| bar.set_position(gone));
            bar.finish_and_clear();
            sent
        }
    }
    .map_err(|failure| match failure.cause {
        Cause::Unknown => failure.with_remedy(
            "It is not known whether the service has it: look at the program's imports before you send the file again.",
        ),
        _ => failure,
    })?;
    let location = answer.location.clone().filter(|path| path.starts_with('/')).ok_or_else(|| {
        Failure::ours(format!("the service answered {} without the path of a command", answer.status))
    })?;
    if answer.replayed {
        output.say("The service had this very request already; nothing runs twice.");
    }
    Ok(Accepted { location, seen: Seen::of(answer)? })
}

/// The whole file, which must be UTF-8 to be sent in JSON.
fn text(file: &Source) -> Result<String, Failure> {
    let text = file.text().map_err(|error| Failure::yours(format!("cannot read the file: {error}")))?;
    text.map_err(|offset| {
        Failure::yours(format!("the file is not UTF-8: byte {offset} (counted from 0) does not belong there"))
            .with_remedy("Name its charset (--charset windows-1252), or save it as UTF-8; nothing was sent.")
    })
}

/// Looks at a command once.
pub(super) fn look(client: &Client, location: &str) -> Result<Seen, Failure> {
    Seen::of(client.get(location, None, Unreachable::GiveUp)?)
}

/// Looks until a command is complete; `records` says how many rows its file has, about, and is asked only if that is shown.
pub(super) fn wait(
    client: &Client,
    location: &str,
    records: impl FnOnce() -> u64,
    output: Output,
) -> Result<Seen, Failure> {
    let bar = progress::rows(output);
    if !bar.is_hidden() {
        bar.set_message("(counting)");
        bar.set_length(records());
        bar.set_message("");
    }
    let seen = watch(client, location, &mut |seen| {
        if let Some(progress) = &seen.status.progress {
            progress::show(&bar, progress);
        }
    });
    bar.finish_and_clear();
    seen.map_err(|failure| {
        failure.with_remedy(&format!("The import was accepted; 'roster status {}' looks again.", escape(location)))
    })
}

/// Sends a file and waits for its report.
pub(super) fn send_and_wait(client: &Client, transfer: &Transfer<'_>, output: Output) -> Result<Seen, Failure> {
    let accepted = send(client, transfer, output)?;
    if accepted.seen.status.complete {
        return Ok(accepted.seen);
    }
    output.say(format_args!("Accepted as {}", escape(&accepted.location)));
    wait(client, &accepted.location, || transfer.file.count_records(transfer.options.form), output)
}

fn watch(client: &Client, location: &str, tell: &mut dyn FnMut(&Seen)) -> Result<Seen, Failure> {
    let begun = Instant::now();
    loop {
        let pace = pace(begun.elapsed());
        let asked = Instant::now();
        // A service that knows `Prefer: wait` holds its answer until there is news; one that does not is asked no sooner
        // than the polling rule says.
        let seen = Seen::of(client.get(location, Some(pace.as_secs()), Unreachable::TryAgain)?)?;
        if seen.status.complete {
            return Ok(seen);
        }
        tell(&seen);
        thread::sleep(pace.saturating_sub(asked.elapsed()));
    }
}

/// How long after a look the next one may be: every 2 seconds for half a minute, then ever longer.
pub(super) fn pace(since: Duration) -> Duration {
    let beyond = since.as_secs().saturating_sub(STEADY_SECONDS);
    Duration::from_secs((PACE_SECONDS + beyond / 10).min(PACE_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_grow_rarer() {
        let paces = [0, 2, 29, 39, 40, 60, 120, 210, 9_999].map(|since| pace(Duration::from_secs(since)).as_secs());
        assert_eq!(paces, [2, 2, 2, 2, 3, 5, 11, 20, 20]);
    }
}
