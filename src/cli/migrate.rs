//! `roster migrate`: moves everything from a data directory into a database, or back. What that means is the store's to say;
//! here it is asked for, watched and told.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use crate::app::{Place, open_to_move};
use crate::config::{Given, Settings};
use crate::contact::date_time::print_ms;
use crate::store::moving::{Ended, Line, Phase, abandon, carry};

use super::failure::{Exit, Failure};
use super::logging::{self, DefaultLevel};
use super::operator::{now_ms, runtime};
use super::output::{Align, Output, escape};
use super::progress;
use super::settings::GlobalArgs;

/// How much of a digest a person is shown.
const DIGEST_SHOWN: usize = 16;

#[derive(Args)]
#[command(after_help = "Example:
  roster migrate --from /var/lib/roster --to postgres://roster@db.internal/roster

Stop every service of both sides first. Cut off at any moment, the same command again goes on where it was. At the end both sides are read and compared; only if they are the same can the target be served. The source then answers reads, and takes no more imports.")]
pub(super) struct MigrateArgs {
    /// Where everything is: a directory, or the URL of a database (better in the variable, as it may hold a password)
    #[arg(long, env = "ROSTER_MIGRATE_FROM", value_name = "DIR|URL")]
    from: String,
    /// Where it is to be: a new directory, or a new database
    #[arg(long, env = "ROSTER_MIGRATE_TO", value_name = "DIR|URL", required_unless_present = "abandon")]
    to: Option<String>,
    /// The file of the source's master key [default: DIR/master.key; of a database, as for every other command]
    #[arg(long, env = "ROSTER_FROM_MASTER_KEY_FILE", value_name = "FILE")]
    from_master_key_file: Option<PathBuf>,
    /// The file of the target's master key [default: the same; made if there is none]
    #[arg(long, env = "ROSTER_TO_MASTER_KEY_FILE", value_name = "FILE")]
    to_master_key_file: Option<PathBuf>,
    /// Give a move up that has begun and is not complete: the source can be served again as before
    #[arg(long, env = "ROSTER_MIGRATE_ABANDON", value_parser = BoolishValueParser::new())]
    abandon: bool,
    /// Where the master key of a database is kept if nothing else is said [default: ./roster-data]
    #[arg(long, env = "ROSTER_DATA", value_name = "DIR", hide_short_help = true)]
    data: Option<String>,
    /// The master key of a side for which no file is named; better in the variable
    #[arg(long, env = "ROSTER_MASTER_KEY", value_name = "KEY", hide_short_help = true)]
    master_key: Option<String>,
    /// The same, in a file
    #[arg(long, env = "ROSTER_MASTER_KEY_FILE", value_name = "FILE", hide_short_help = true)]
    master_key_file: Option<String>,
}

/// How a move ended, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MoveJson {
    complete: bool,
    from: String,
    to: String,
    /// When, if it was complete before.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
    parts: Vec<PartJson>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartJson {
    part: String,
    same: bool,
    source: TallyJson,
    target: TallyJson,
}

#[derive(Serialize)]
struct TallyJson {
    rows: u64,
    sha256: String,
}

pub(super) fn run(args: &MigrateArgs, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let MigrateArgs { from, to, from_master_key_file, to_master_key_file, abandon, data, master_key, master_key_file } =
        args;
    let given = [("data", data), ("master_key", master_key), ("master_key_file", master_key_file)];
    let given = given.into_iter().filter_map(|(key, value)| value.clone().map(|value| Given { key, value }));
    let settings = global.settings(given.collect())?;
    logging::start(&settings, DefaultLevel::Warn)?;
    let from = Place::parse(from, from_master_key_file.clone());
    match to {
        _ if *abandon => runtime()?.block_on(give_up(from, &settings, output)),
        Some(to) => {
            let to = Place::parse(to, to_master_key_file.clone());
            if from.is_database() && to.is_database() {
                return Err(Failure::yours("one side has to be a data directory")
                    .with_remedy("From database to database, use PostgreSQL's own pg_dump."));
            }
            runtime()?.block_on(move_all(from, to, &settings, output))
        }
        None => Err(Failure::yours("--to is missing: where everything is to be")),
    }
}

async fn give_up(from: Place, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let source = open_to_move(from.source(settings)).await?;
    let place = source.place();
    let peer = abandon(&*source).await?;
    source.close().await?;
    if output.json {
        output.object(&serde_json::json!({ "abandoned": true, "from": place, "to": peer }))?;
        return Ok(Exit::Done);
    }
    output.say(format_args!(
        "Given up. {} can be served as before; what is in {} already is of no use and can be removed.",
        escape(&place),
        escape(&peer)
    ));
    Ok(Exit::Done)
}

async fn move_all(from: Place, to: Place, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let source = open_to_move(from.source(settings)).await?;
    let target = open_to_move(to.target(settings)).await?;
    let bar = progress::contacts(output);
    let watch = |phase, done, total| {
        bar.set_prefix(match phase {
            Phase::Carrying => "moving",
            Phase::Comparing => "comparing",
        });
        bar.set_length(total);
        bar.set_position(done);
    };
    let moved = carry(&*source, &*target, now_ms(), &watch).await;
    bar.finish_and_clear();
    let (place, peer) = (source.place(), target.place());
    let closed = (source.close().await, target.close().await);
    let ended = moved?;
    closed.0?;
    closed.1?;
    tell(&ended, &place, &peer, output)
}

fn tell(ended: &Ended, from: &str, to: &str, output: Output) -> Result<Exit, Failure> {
    let (complete, completed, lines) = match ended {
        Ended::Before(finished_ms) => (true, Some(print_ms(*finished_ms)), [].as_slice()),
        Ended::Complete(lines) => (true, None, lines.as_slice()),
        Ended::Different(lines) => (false, None, lines.as_slice()),
    };
    if output.json {
        let (from, to) = (from.to_owned(), to.to_owned());
        let parts = lines.iter().map(part_json).collect();
        output.object(&MoveJson { complete, from, to, completed: completed.clone(), parts })?;
    } else if !lines.is_empty() {
        print(lines, output)?;
    }
    match ended {
        Ended::Before(finished_ms) => {
            let when = print_ms(*finished_ms);
            output.say(format_args!("Nothing to do: {} was moved to {} at {when}.", escape(from), escape(to)));
            Ok(Exit::Done)
        }
        Ended::Complete(_) => {
            output.say(format_args!(
                "Moved everything from {} to {}; both sides are the same. Serve the new one; the old one takes no more imports.",
                escape(from),
                escape(to)
            ));
            Ok(Exit::Done)
        }
        Ended::Different(_) => Err(Failure::ours(format!(
            "{} and {} differ, and the new one is not released; was the old one changed meanwhile?",
            escape(from),
            escape(to)
        ))
        .with_remedy("'roster migrate --abandon --from …' gives the move up; then begin again with an empty target.")),
    }
}

fn print(lines: &[Line], output: Output) -> Result<(), Failure> {
    let columns = [
        ("what", Align::Left),
        ("source", Align::Right),
        ("target", Align::Right),
        ("sha256 of source", Align::Left),
        ("sha256 of target", Align::Left),
        ("", Align::Left),
    ];
    let shown = |digest: &str| digest.chars().take(DIGEST_SHOWN).collect::<String>();
    output.table(
        columns,
        lines.iter().map(|line| {
            let word = if line.is_same() { "same" } else { "DIFFERENT" };
            [
                line.what.clone(),
                line.source.rows.to_string(),
                line.target.rows.to_string(),
                shown(&line.source.sha256),
                shown(&line.target.sha256),
                word.to_owned(),
            ]
        }),
    )
}

fn part_json(line: &Line) -> PartJson {
    let tally = |rows, sha256: &str| TallyJson { rows, sha256: sha256.to_owned() };
    PartJson {
        part: line.what.clone(),
        same: line.is_same(),
        source: tally(line.source.rows, &line.source.sha256),
        target: tally(line.target.rows, &line.target.sha256),
    }
}
