//! `roster cancel`: ends an import before it takes effect.

use clap::Args;

use super::client::ClientArgs;
use super::failure::{Exit, Failure};
use super::location::Location;
use super::output::{Output, escape};
use super::transfer::Seen;

#[derive(Args)]
#[command(after_help = "Example:
  roster cancel /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab

An import that waits is over at once; one that runs is rolled back whole. Exit codes: 0 cancelled; 2 it was complete already, or there is none; 3 ours.")]
pub(super) struct CancelArgs {
    /// What the import printed (/v2/commands/…), its whole URL, or the command's id
    location: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &CancelArgs, output: Output) -> Result<Exit, Failure> {
    let Location { origin, path } = Location::parse(&args.location)?;
    let seen = Seen::of(args.client.client(origin, output)?.delete(&path)?)?;
    if output.json {
        output.line(&seen.raw)?;
    } else if seen.status.complete {
        output.line("Cancelled; nothing was applied.")?;
    } else {
        output.line(format_args!("It runs and is told to end; 'roster status {}' looks again.", escape(&path)))?;
    }
    Ok(Exit::Done)
}
