//! `roster export`: all contacts of a program as a CSV file, as they are at one moment, in the shape that `roster import` takes back.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::tenant::ProgramId;

use super::client::ClientArgs;
use super::download;
use super::failure::{Exit, Failure};
use super::operator::program_id;
use super::output::Output;

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
    let path = format!("/v2/programs/{}/participants.csv", args.program);
    match &args.out {
        None => {
            let mut out = io::stdout().lock();
            let is_terminal = out.is_terminal();
            download::fetch(&client, &path, (&mut out, is_terminal), output)?;
        }
        Some(file) => {
            let bytes = download::to_file(&client, &path, file, output)?;
            let program = args.program.to_string();
            if output.json {
                output.object(&json!({ "program": program, "file": file, "bytes": bytes }))?;
            } else {
                output.say(format_args!("{}: {bytes} bytes", file.display()));
            }
        }
    }
    Ok(Exit::Done)
}
