//! The command line: operator's commands on the data directory, the service itself, and the real HTTP client.
//!
//! One file per group of commands. Data goes to standard output and talk to standard error, both through [`output`]; a
//! command ends as an [`Exit`], which is its exit code. This room knows neither SQL nor the HTTP server's insides.

mod account;
mod backup;
mod cancel;
mod choices;
mod client;
mod column_map;
mod console_link;
mod download;
mod export;
mod failure;
mod field;
mod import;
mod location;
mod logging;
mod migrate;
mod notify;
mod operator;
mod output;
mod problem_text;
mod program;
mod progress;
mod quickstart;
mod report;
mod serve;
mod settings;
mod shell;
mod sign;
mod signing;
mod source;
mod status;
mod token;
mod transfer;
mod trust;
mod upload;
mod user;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use failure::{Exit, Failure};
use logging::DefaultLevel;
use output::Output;
use settings::GlobalArgs;

/// Takes contact imports over a signed HTTP API and applies them exactly once.
#[derive(Parser)]
#[command(name = "roster", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Try it:\n  roster quickstart

Exit codes: 0 done; 1 the import ran, but rows or the whole file were refused; 2 yours (arguments, signature, a refused request); 3 ours (unreachable, internal).")]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an account, a program, a token and a user, serve, and import a sample file
    Quickstart(quickstart::QuickstartArgs),
    /// Run the service
    Serve(serve::ServeArgs),
    /// Accounts: whose programs and tokens there are
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Programs: each has its own contacts and fields
    #[command(subcommand)]
    Program(program::ProgramCommand),
    /// A program's own fields
    #[command(subcommand)]
    Field(field::FieldCommand),
    /// Tokens: what requests are signed with
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Users of the console: who signs in with a browser, and what they may do
    #[command(subcommand)]
    User(user::UserCommand),
    /// Copy the data directory, also while the service runs
    Backup(backup::BackupArgs),
    /// Put such a copy into a new data directory
    Restore(backup::RestoreArgs),
    /// Send a CSV file to a service, wait, and print what happened to every row
    Import(import::ImportArgs),
    /// Import every CSV file that is put into a directory
    Watch(watch::WatchArgs),
    /// Show where an import stands
    Status(status::StatusArgs),
    /// End an import before it takes effect
    Cancel(cancel::CancelArgs),
    /// Get all contacts of a program as a CSV file
    Export(export::ExportArgs),
    /// Move everything from a data directory into a database, or back
    Migrate(migrate::MigrateArgs),
    /// Sign a request: prints its two headers
    Sign(sign::SignArgs),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and usage: if nobody reads it there is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Yours.code() } else { Exit::Done.code() };
        }
    };
    let ended = dispatch(cli).unwrap_or_else(|failure| {
        Output::complain(&failure);
        failure.exit
    });
    ended.code()
}

/// The command tree. What a variable holds is never shown in a help text: some hold secrets.
fn command() -> clap::Command {
    fn hide_values(command: clap::Command) -> clap::Command {
        command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hide_values)
    }
    hide_values(Cli::command())
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let output = global.output();
    match command {
        Command::Quickstart(args) => quickstart::run(&args, &global, output),
        Command::Serve(args) => serve::run(&args, &global, output),
        Command::Account(command) => account::run(command, &global, output),
        Command::Program(command) => program::run(command, &global, output),
        Command::Field(command) => field::run(command, &global, output),
        Command::Token(command) => token::run(command, &global, output),
        Command::User(command) => user::run(command, &global, output),
        Command::Backup(args) => backup::back_up(&args, &global, output),
        Command::Restore(args) => backup::restore(&args, &global, output),
        Command::Import(args) => {
            logging::start(&global.settings(Vec::new())?, DefaultLevel::Warn)?;
            import::run(&args, output)
        }
        Command::Watch(args) => {
            logging::start(&global.settings(Vec::new())?, DefaultLevel::Warn)?;
            watch::run(&args, output)
        }
        Command::Status(args) => {
            logging::start(&global.settings(Vec::new())?, DefaultLevel::Warn)?;
            status::run(&args, output)
        }
        Command::Cancel(args) => {
            logging::start(&global.settings(Vec::new())?, DefaultLevel::Warn)?;
            cancel::run(&args, output)
        }
        Command::Export(args) => {
            logging::start(&global.settings(Vec::new())?, DefaultLevel::Warn)?;
            export::run(&args, output)
        }
        Command::Migrate(args) => migrate::run(&args, &global, output),
        Command::Sign(args) => sign::run(&args, output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_every(command: &clap::Command, check: &mut impl FnMut(&clap::Command)) {
        check(command);
        command.get_subcommands().for_each(|inner| check_every(inner, check));
    }

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_and_no_help_shows_what_it_holds() {
        check_every(&command(), &mut |command| {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                if ["help", "version"].contains(&arg.get_id().as_str()) {
                    continue;
                }
                let name = format!("{} --{}", command.get_name(), arg.get_id());
                let variable = arg.get_env().and_then(|variable| variable.to_str()).unwrap_or_default();
                assert!(variable.starts_with("ROSTER_"), "{name}: '{variable}'");
                assert!(arg.is_hide_env_values_set(), "{name}");
            }
        });
    }

    #[test]
    fn every_command_has_an_example() {
        check_every(&command(), &mut |command| {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{}", command.get_name());
            }
        });
    }
}
