//! `roster account …`: whose programs and tokens there are.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::contact::date_time::print_ms;
use crate::tenant::Account;

use super::failure::{Exit, Failure};
use super::operator::{name, now_ms, with_store};
use super::output::{Align, Output, escape};
use super::settings::{DataArgs, GlobalArgs};

#[derive(Subcommand)]
pub(super) enum AccountCommand {
    /// Make an account; prints its id
    #[command(after_help = "Example:\n  roster account create 'Example College'")]
    Create(CreateArgs),
    /// List all accounts
    #[command(after_help = "Example:\n  roster account list --json")]
    List(ListArgs),
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// What people call it
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    data: DataArgs,
}

/// An account, as scripts read it.
#[derive(Serialize)]
struct AccountJson<'a> {
    id: String,
    name: &'a str,
}

impl<'a> AccountJson<'a> {
    fn of(account: &'a Account) -> AccountJson<'a> {
        AccountJson { id: account.id.to_string(), name: &account.name }
    }
}

pub(super) fn run(command: AccountCommand, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    match command {
        AccountCommand::Create(args) => create(&args, global, output),
        AccountCommand::List(args) => list(&args, global, output),
    }?;
    Ok(Exit::Done)
}

fn create(args: &CreateArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let account = with_store(&args.data, global, async |store| Ok(store.create_account(&args.name, now_ms()).await?))?;
    if output.json {
        return output.object(&AccountJson::of(&account));
    }
    output.say(format_args!("Made the account '{}':", escape(&account.name)));
    output.line(account.id)
}

fn list(args: &ListArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let accounts = with_store(&args.data, global, async |store| Ok(store.accounts().await?))?;
    if output.json {
        return accounts.iter().try_for_each(|account| output.object(&AccountJson::of(account)));
    }
    if accounts.is_empty() {
        output.say("There is no account yet; 'roster account create NAME' makes one.");
        return Ok(());
    }
    let rows = accounts.into_iter().map(|account| [account.id.to_string(), account.name, print_ms(account.created_ms)]);
    output.table([("id", Align::Left), ("name", Align::Left), ("created", Align::Left)], rows)
}
