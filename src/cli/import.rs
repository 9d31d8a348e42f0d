//! `roster import`: sends a CSV file to a service and prints what happened to every row.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::import::{Existing, ImportOptions, Limits, Mode, New};
use crate::tenant::ProgramId;

use super::client::ClientArgs;
use super::csv_text::header_names;
use super::download;
use super::failure::{Exit, Failure};
use super::operator::program_id;
use super::output::{Output, escape};
use super::report;
use super::transfer::{Transfer, send, send_and_wait};

#[derive(Args)]
#[command(after_help = "Examples:
  export ROSTER_TOKEN=… ROSTER_SECRET=…
  roster import contacts.csv --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10
  roster import - --program 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 \\
    --new ignore --existing first_name,active < changes.csv

Exit codes: 0 all rows are done; 1 the import ran, but rows or the whole file were refused; 2 yours (arguments, signature, a refused request); 3 ours (unreachable, internal). Sending again is safe: one signed request is one import.")]
pub(super) struct ImportArgs {
    /// The CSV file, in UTF-8; '-' is standard input
    file: PathBuf,
    /// The program whose contacts they are
    #[arg(long, env = "ROSTER_PROGRAM", value_name = "ID", value_parser = program_id)]
    program: ProgramId,
    /// What to do with contacts that the program does not have
    #[arg(long, env = "ROSTER_NEW", value_enum, default_value = "add")]
    new: NewArg,
    /// Which fields of contacts that the program has are set: 'all' columns of the file, some ('first_name,active'), or
    /// 'ignore' to leave their rows out
    #[arg(long, env = "ROSTER_EXISTING", value_name = "all|ignore|FIELDS", default_value = "all")]
    existing: String,
    /// When good rows take effect: 'row', also beside bad ones; 'tx', only if there is no error at all
    #[arg(long, env = "ROSTER_MODE", value_enum, default_value = "row")]
    mode: ModeArg,
    /// Only tell what would be done: the counts, the errors, and some of the changes
    #[arg(long, env = "ROSTER_DRY_RUN", value_parser = BoolishValueParser::new())]
    dry_run: bool,
    /// Apply nothing if more than N contacts would be added
    #[arg(long, env = "ROSTER_MAX_NEW", value_name = "N")]
    max_new: Option<u64>,
    /// Apply nothing if more than N contacts would be changed
    #[arg(long, env = "ROSTER_MAX_UPDATED", value_name = "N")]
    max_updated: Option<u64>,
    /// Apply nothing if more than N rows fail
    #[arg(long, env = "ROSTER_MAX_ERRORS", value_name = "N")]
    max_errors: Option<u64>,
    /// Write the rows that failed to this file, with what was wrong; corrected, it can be imported as it is
    #[arg(long, env = "ROSTER_ERRORS", value_name = "FILE", conflicts_with = "no_wait")]
    errors: Option<PathBuf>,
    /// Do not wait for the result: print the command's location
    #[arg(long, env = "ROSTER_NO_WAIT", value_parser = BoolishValueParser::new())]
    no_wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// `options.new`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum NewArg {
    /// Add them
    Add,
    /// Leave their rows out
    Ignore,
}

/// `options.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ModeArg {
    /// All good rows, unless there are more than 1,000 errors
    Row,
    /// All rows or none
    Tx,
}

pub(super) fn run(args: &ImportArgs, output: Output) -> Result<Exit, Failure> {
    let client = args.client.client(None, output)?;
    let csv = read_text(&args.file)?;
    let transfer = Transfer { program: args.program, csv: &csv, options: options(args, &csv) };
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

fn options(args: &ImportArgs, csv: &str) -> ImportOptions {
    let new = match args.new {
        NewArg::Add => New::Add,
        NewArg::Ignore => New::Ignore,
    };
    let mode = match args.mode {
        ModeArg::Row => Mode::Row,
        ModeArg::Tx => Mode::Tx,
    };
    let limits = Limits { new_max: args.max_new, updated_max: args.max_updated, failed_max: args.max_errors };
    let plain = ImportOptions::new(new, existing(&args.existing, csv), mode);
    ImportOptions { dry_run: args.dry_run, limits, ..plain }
}

fn existing(word: &str, csv: &str) -> Existing {
    match word.trim() {
        "ignore" => Existing::Ignore,
        "all" => Existing::Fields(header_names(csv)),
        list => {
            let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
            Existing::Fields(names.map(str::to_owned).collect())
        }
    }
}

/// The whole file, which must be UTF-8; `-` is standard input.
fn read_text(file: &Path) -> Result<String, Failure> {
    let bytes = read_bytes(file)?;
    let name = file.display();
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Failure::yours(format!("{name} is not UTF-8: byte {offset} (counted from 0) does not belong there"))
            .with_remedy("Save it as UTF-8 (in Excel: 'CSV UTF-8'); nothing was sent.")
    })
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

/// What an import does if nothing else is said: add new contacts, set all columns of known ones, good rows beside bad.
pub(super) fn default_options(csv: &str) -> ImportOptions {
    ImportOptions::new(New::Add, existing("all", csv), Mode::Row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_is_a_word_or_names() {
        let fields = |names: &[&str]| Existing::Fields(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(existing("ignore", "a,b"), Existing::Ignore);
        assert_eq!(existing("all", "a, ,\"b c\"\n1,2,3"), fields(&["a", "b c"]));
        assert_eq!(existing("b, a,", "a,b"), fields(&["b", "a"]));
        assert_eq!(existing("", "a,b"), fields(&[]));
    }
}
