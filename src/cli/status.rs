//! `roster status`: where an import stands.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::client::ClientArgs;
use super::failure::{Exit, Failure};
use super::location::Location;
use super::output::Output;
use super::report;
use super::transfer::{look, wait};

#[derive(Args)]
#[command(after_help = "Example:
  roster status /v2/commands/0192f0c1-2d3e-7abc-8def-0123456789ab --wait

Exit codes are those of 'roster import'; an import that still runs is 0.")]
pub(super) struct StatusArgs {
    /// What the import printed (/v2/commands/…), its whole URL, or the command's id
    location: String,
    /// Wait until it is complete
    #[arg(long, env = "ROSTER_WAIT", value_parser = BoolishValueParser::new())]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &StatusArgs, output: Output) -> Result<Exit, Failure> {
    let Location { origin, path } = Location::parse(&args.location)?;
    let client = args.client.client(origin, output)?;
    let seen = if args.wait { wait(&client, &path, || 0, output)? } else { look(&client, &path)? };
    if output.json {
        output.line(&seen.raw)?;
    } else {
        report::print(&seen.status, output)?;
    }
    Ok(report::exit(&seen.status))
}
