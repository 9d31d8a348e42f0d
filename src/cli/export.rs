//! `roster export`: all contacts of a program as a CSV file, as they are at one moment, in the shape that `roster import` takes back.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::tenant::ProgramId;

use super::client::{Client, ClientArgs};
use super::failure::{Exit, Failure};
use super::operator::program_id;
use super::output::Output;
use super::progress;

/// How many bytes are passed on at a time.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Args)]
#[command(after_help = "Examples:
  roster export --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 > contacts.csv
  roster export --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --out contacts.csv

Importing the file again changes nothing. An export that breaks off ends with exit code 3; with --out there is then no file.")]
pub(super) struct ExportArgs {
    /// The program whose contacts are wanted
    #[arg(long, env = "ROSTER_PROGRAM", value_name = "ID", value_parser = program_id)]
    program: ProgramId,
    /// Write to this file, which appears when it is whole, and not to standard output
    #[arg(long, env = "ROSTER_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &ExportArgs, output: Output) -> Result<Exit, Failure> {
    let client = args.client.client(None, output)?;
    match &args.out {
        None => {
            let mut out = io::stdout().lock();
            let is_terminal = out.is_terminal();
            fetch(&client, args.program, (&mut out, is_terminal), output)?;
            out.flush().map_err(|error| unwritten("standard output", &error))?;
        }
        Some(path) => {
            let bytes = to_file(&client, args.program, path, output)?;
            let program = args.program.to_string();
            if output.json {
                output.object(&json!({ "program": program, "file": path, "bytes": bytes }))?;
            } else {
                output.say(format_args!("{}: {bytes} bytes", path.display()));
            }
        }
    }
    Ok(Exit::Done)
}

/// Writes beside the file and renames, so that whoever finds it finds it whole.
fn to_file(client: &Client, program: ProgramId, path: &Path, output: Output) -> Result<u64, Failure> {
    let shown = path.display().to_string();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = File::create(&part).map_err(|error| unwritten(&shown, &error)).and_then(|file| {
        let mut out = BufWriter::new(file);
        let bytes = fetch(client, program, (&mut out, false), output)?;
        let file = out.into_inner().map_err(|error| unwritten(&shown, error.error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(|error| unwritten(&shown, &error))?;
        Ok(bytes)
    });
    if written.is_err() {
        // What is left of it is of no use; that it may stay is no reason to tell another story.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Passes the export on as it comes, and gives its size in bytes.
fn fetch(
    client: &Client,
    program: ProgramId,
    (out, is_terminal): (&mut dyn Write, bool),
    output: Output,
) -> Result<u64, Failure> {
    let mut body = client.stream(&format!("/v2/programs/{program}/participants.csv"))?;
    let bar = progress::download(is_terminal, output);
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let count = body.read(&mut piece).map_err(|error| {
            bar.finish_and_clear();
            Failure::ours(format!("the export broke off after {bytes} bytes: {error}"))
                .with_remedy("What was written is not all; export again.")
        })?;
        if count == 0 {
            bar.finish_and_clear();
            return Ok(bytes);
        }
        out.write_all(&piece[..count]).map_err(|error| unwritten("the export", &error))?;
        bytes += count as u64;
        bar.set_position(bytes);
    }
}

fn unwritten(what: &str, error: &io::Error) -> Failure {
    Failure::yours(format!("cannot write {what}: {error}"))
}
