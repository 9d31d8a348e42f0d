//! `roster import`: sends a CSV file to a service and prints what happened to every row.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::import::{Dialect, Form, Head, ImportOptions, RowsFault};
use crate::tenant::ProgramId;

use super::choices::{FileArgs, RowArgs};
use super::client::ClientArgs;
use super::column_map::ColumnMap;
use super::download;
use super::failure::{Exit, Failure};
use super::operator::program_id;
use super::output::{Output, escape};
use super::report;
use super::source::Source;
use super::transfer::{Transfer, send, send_and_wait};

/// Up to this size a file goes as a string of JSON, as every service of this API takes it: its documented limit of 10 MB.
const JSON_BYTES_MAX: u64 = 10_000_000;

#[derive(Args)]
#[command(after_help = "Examples:
  export ROSTER_TOKEN=… ROSTER_SECRET=…
  roster import contacts.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10
  roster import - --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 \\
    --new ignore --existing first_name,active < changes.csv
  roster import excel.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --charset windows-1252
  roster import theirs.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --map map.toml

A file above 10 MB, or one that is not UTF-8 with commas, is sent as it is, compressed unless the service is on this machine; a smaller one in JSON.

Exit codes: 0 all rows are done; 1 the import ran, but rows or the whole file were refused; 2 yours (arguments, signature, a refused request); 3 ours (unreachable, internal). Sending again is safe: one signed request is one import.")]
pub(super) struct ImportArgs {
    /// The CSV file; '-' is standard input
    file: PathBuf,
    /// The program whose contacts they are
    #[arg(long, env = "ROSTER_PROGRAM", value_name = "ID", value_parser = program_id)]
    program: ProgramId,
    #[command(flatten)]
    rows: RowArgs,
    /// Only tell what would be done: the counts, the errors, and some of the changes
    #[arg(long, env = "ROSTER_DRY_RUN", value_parser = BoolishValueParser::new())]
    dry_run: bool,
    #[command(flatten)]
    written: FileArgs,
    /// Send the file as it is, and not in JSON, also if it is small
    #[arg(long, env = "ROSTER_STREAM", value_parser = BoolishValueParser::new())]
    stream: bool,
    /// Write the rows that failed to this file, with what was wrong; corrected, it can be imported as it is
    #[arg(long, env = "ROSTER_ERRORS", value_name = "FILE", conflicts_with = "no_wait")]
    errors: Option<PathBuf>,
    /// Do not wait for the result: print the command's location
    #[arg(long, env = "ROSTER_NO_WAIT", value_parser = BoolishValueParser::new())]
    no_wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &ImportArgs, output: Output) -> Result<Exit, Failure> {
    let client = args.client.client(None, output)?;
    let map = args.written.map.as_deref().map(ColumnMap::read).transpose()?;
    let file = Source::open(&args.file)?;
    let head = file.head(args.written.charset);
    let (file, names) = match (&map, &head) {
        (None, Ok(head)) => (file, head.names.clone()),
        // What is wrong with the file is the service's to say.
        (None, Err(_)) => (file, Vec::new()),
        (Some(map), Ok(head)) => map.apply(&file, head)?,
        (Some(_), Err(fault)) => return Err(unreadable(fault)),
    };
    let form = form(args, &file, &head);
    let options = ImportOptions { dry_run: args.dry_run, ..args.rows.options(&names, form) };
    let transfer = Transfer { program: args.program, file: &file, options, compression: args.written.compress };
    if args.no_wait {
        let accepted = send(&client, &transfer, output)?;
        if output.json {
            output.line(&accepted.seen.raw)?;
        } else {
            output.line(escape(&accepted.location))?;
        }
        return Ok(Exit::Done);
    }
    let seen = send_and_wait(&client, &transfer, output)?;
    if let Some(path) = &args.errors
        && seen.status.error
    {
        let location = format!("/v2/commands/{}/errors.csv", seen.status.command_id);
        let bytes = download::to_file(&client, &location, path, output)?;
        output.say(format_args!("The rows that failed are in {} ({bytes} bytes).", path.display()));
    }
    if output.json {
        output.line(&seen.raw)?;
    } else {
        report::print(&seen.status, output)?;
    }
    Ok(report::exit(&seen.status))
}

/// A header that is to be mapped must be read.
fn unreadable(fault: &RowsFault) -> Failure {
    Failure::yours(format!("the header cannot be read: {fault}"))
        .with_remedy("If it is written in another charset, name it (--charset windows-1252); nothing was sent.")
}

/// How a file is sent. It does not depend on the size how it is read: what JSON would have read otherwise goes as it is.
fn form(args: &ImportArgs, file: &Source, head: &Result<Head, RowsFault>) -> Form {
    let charset = args.written.charset;
    let is_other = head.as_ref().is_ok_and(|head| head.dialect != Dialect::JSON);
    if args.stream || charset.is_some() || is_other || file.bytes() > JSON_BYTES_MAX {
        Form::File { charset }
    } else {
        Form::Json
    }
}

/// The bytes of a file; `-` is standard input.
pub(super) fn read_bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| Failure::yours(format!("cannot read {}: {error}", file.display())))
}
