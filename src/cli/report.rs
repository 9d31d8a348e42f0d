//! A command's status in words: what happened to every row, and what is wrong with which.

use std::fmt::Write as _;

use crate::import::ErrorCode;
use crate::wire::{ErrorEntry, FieldChangeJson, FieldChangesJson, Message, Rows, Status};

use super::failure::{Exit, Failure};
use super::output::{Align, Output, escape};

/// How many errors are listed for people; `--json` has all that the service reports.
const ERRORS_SHOWN: usize = 50;

/// How a command that ended like this ends the program.
pub(super) fn exit(status: &Status) -> Exit {
    if !status.error {
        Exit::Done
    } else if status.message.as_ref().is_some_and(has_fault) {
        Exit::Ours
    } else {
        Exit::RowsRefused
    }
}

/// Whether what went wrong is the service's, and not the file's.
fn has_fault(message: &Message) -> bool {
    message.errors.iter().any(|error| error.code == ErrorCode::Internal.as_str())
}

/// Prints where a command stands, and once it is over, what it did.
pub(super) fn print(status: &Status, output: Output) -> Result<(), Failure> {
    match (&status.message, &status.progress) {
        (Some(message), _) => print_message(status, message, output),
        (None, Some(progress)) if progress.state == "queued" => {
            output.line(format_args!("queued: place {} of its program's queue", progress.position))
        }
        (None, Some(progress)) => output.line(format_args!("running: {} rows read so far", progress.rows)),
        (None, None) => output.line(if status.complete { "complete" } else { "not complete yet" }),
    }
}

fn print_message(status: &Status, message: &Message, output: Output) -> Result<(), Failure> {
    output.table([("rows", Align::Left), ("", Align::Right)], counts(&message.rows))?;
    output.line("")?;
    output.line(effect(message))?;
    if message.changes.as_ref().is_some_and(|changes| !changes.is_empty()) {
        output.line("")?;
        print_changes(message, output)?;
    }
    if !message.errors.is_empty() {
        output.line("")?;
        print_errors(message, output)?;
    }
    if let Some(trace) = &status.trace {
        output.say(format_args!("The service's log knows this run as {}.", escape(trace)));
    }
    Ok(())
}

fn counts(rows: &Rows) -> [[String; 2]; 6] {
    let Rows { read, added, updated, unchanged, ignored, failed } = *rows;
    [
        ("read", read),
        ("added", added),
        ("updated", updated),
        ("unchanged", unchanged),
        ("ignored", ignored),
        ("failed", failed),
    ]
    .map(|(name, count)| [name.to_owned(), count.to_string()])
}

/// Whether it took effect, and if not, why not.
fn effect(message: &Message) -> String {
    if message.applied {
        let rest = if message.error_count == 0 { "" } else { "; the rows that failed changed nothing" };
        return format!("Applied{rest}.");
    }
    let word = message.not_applied.as_deref().unwrap_or("unknown");
    if has_fault(message) {
        return "Nothing was applied: the service failed.".to_owned();
    }
    let why = match word {
        "tx_errors" => "a tx import takes effect only without errors; the counts say what would have been",
        "too_many_errors" => "there are more than 1,000 errors; the counts say what would have been",
        "file_error" => "the file as a whole was refused, and no row was read",
        "limit" => "a limit is exceeded; the counts say what would have been",
        "dry_run" => "this was a dry run; the counts say what an import would do",
        "cancelled" => "it was cancelled",
        _ => "see the summary of --json",
    };
    format!("Nothing was applied ({}): {why}.", escape(word))
}

/// What a dry run would change, field by field, with the first examples.
fn print_changes(message: &Message, output: Output) -> Result<(), Failure> {
    let columns = [
        ("field", Align::Left),
        ("contacts", Align::Right),
        ("row", Align::Right),
        ("before", Align::Left),
        ("after", Align::Left),
    ];
    let rows = message.changes.iter().flatten().flat_map(|changes| {
        let FieldChangesJson { field, count, examples } = changes;
        examples.iter().enumerate().map(move |(at, FieldChangeJson { row, before, after })| {
            let once = |text: String| if at == 0 { text } else { String::new() };
            [once(field.clone()), once(count.to_string()), row.to_string(), before.clone(), after.clone()]
        })
    });
    output.table(columns, rows)
}

fn print_errors(message: &Message, output: Output) -> Result<(), Failure> {
    let columns =
        [("row", Align::Right), ("field", Align::Left), ("code", Align::Left), ("what is wrong", Align::Left)];
    let rows = message.errors.iter().take(ERRORS_SHOWN).map(|error| {
        let ErrorEntry { row, field, code, value: _, message } = error;
        let row = row.map(|row| row.to_string()).unwrap_or_default();
        [row, field.clone().unwrap_or_default(), code.clone(), message.clone()]
    });
    output.table(columns, rows)?;
    more(message).map_or(Ok(()), |line| output.line(line))
}

/// What the list leaves out.
fn more(message: &Message) -> Option<String> {
    let listed = message.errors.len();
    let shown = listed.min(ERRORS_SHOWN) as u64;
    let left = message.error_count.saturating_sub(shown);
    if left == 0 {
        return None;
    }
    let mut line = format!("… and {left} more");
    let all = message.error_count == listed as u64;
    let _ = if all { write!(line, " (--json has all)") } else { write!(line, " (--json has the first {listed})") };
    Some(line)
}
