//! `roster backup` and `roster restore`: a copy of the data directory, and the way back. What makes the copy consistent is
//! the store's to know.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::json;

use crate::app;

use super::failure::{Exit, Failure};
use super::logging::{self, DefaultLevel};
use super::operator::now_ms;
use super::output::{Align, Output};
use super::progress;
use super::settings::{DataArgs, GlobalArgs};

#[derive(Args)]
#[command(after_help = "Example:
  roster backup /backups/2026-11-24 --data /var/lib/roster

Nobody waits for it. An import that is completed meanwhile may be made to wait again in the copy: it then runs after a restore, in its old place. The copy is whole when the command ends with 0; it then has a manifest.json. Keep the master key apart from it: whoever has both has the tokens' secrets.")]
pub(super) struct BackupArgs {
    /// Where the copy goes: a new or empty directory
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Copy the master key too, if it is in the data directory
    #[arg(long, env = "ROSTER_WITH_KEY", value_parser = BoolishValueParser::new())]
    with_key: bool,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
#[command(after_help = "Example:
  roster restore /backups/2026-11-24 --data /var/lib/roster

Every file is compared with the copy's manifest and checked by SQLite before anything is in its place.")]
pub(super) struct RestoreArgs {
    /// The copy
    #[arg(value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn back_up(args: &BackupArgs, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let settings = global.settings(args.data.given())?;
    logging::start(&settings, DefaultLevel::Warn)?;
    let done =
        progress::of_copy(output, |watcher| app::back_up(&settings, (&args.to, args.with_key), now_ms(), watcher))?;
    if output.json {
        output.object(&json!({
            "directory": args.to,
            "programs": done.programs,
            "uploads": done.uploads,
            "commands": done.commands,
            "commandsOpen": done.commands_open,
            "commandsAgain": done.commands_again,
            "bytes": done.bytes,
            "withKey": done.with_key,
        }))?;
        return Ok(Exit::Done);
    }
    output.table(
        [("copied", Align::Left), ("", Align::Right)],
        [
            ("programs with contacts", done.programs),
            ("commands", done.commands),
            ("  that run after a restore", done.commands_open),
            ("  of these, again", done.commands_again),
            ("uploads in files", done.uploads),
            ("bytes", done.bytes),
        ]
        .map(|(name, count)| [name.to_owned(), count.to_string()]),
    )?;
    output.say(if done.with_key {
        "The master key is in the copy: whoever has the copy has the tokens' secrets."
    } else {
        "The master key is not in the copy, and the copy is of no use without it: keep it elsewhere."
    });
    Ok(Exit::Done)
}

pub(super) fn restore(args: &RestoreArgs, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let settings = global.settings(args.data.given())?;
    logging::start(&settings, DefaultLevel::Warn)?;
    let done = progress::of_copy(output, |watcher| app::restore(&settings, &args.from, watcher))?;
    if output.json {
        output.object(&json!({
            "data": settings.data,
            "moment": done.moment,
            "files": done.files,
            "bytes": done.bytes,
            "withKey": done.with_key,
        }))?;
        return Ok(Exit::Done);
    }
    output.table(
        [("restored", Align::Left), ("", Align::Right)],
        [("files", done.files), ("bytes", done.bytes)].map(|(name, count)| [name.to_owned(), count.to_string()]),
    )?;
    output.say(format_args!("{} is as it was at {}.", settings.data.display(), done.moment));
    if !done.with_key {
        output.say(format_args!(
            "The master key was not in the copy: put it to {}, or name it with --master-key-file.",
            settings.data.join("master.key").display()
        ));
    }
    Ok(Exit::Done)
}
