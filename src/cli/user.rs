//! `roster user …`: who signs in to the console. No password is taken from the command line, where every process of the machine could read it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::Given;
use crate::contact::date_time::print_ms;
use crate::store::Store;
use crate::tenant::password::{self, PASSWORD_BYTES_MAX, check_password};
use crate::tenant::{AccountId, Membership, PasswordHash, Role, User, UserName};

use super::console_link::{self, Link, MINUTES, MINUTES_MAX};
use super::failure::{Exit, Failure};
use super::logging::{self, DefaultLevel};
use super::operator::{account_id, in_store, now_ms, runtime, with_store};
use super::output::{Align, Output, escape};
use super::settings::{DataArgs, GlobalArgs};
use super::token::random;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Make a user with a role in an account; without a password it signs in by a link
    #[command(after_help = "Examples:
  roster user create ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role admin
  roster user create ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role editor \\
    --password-stdin < password.txt")]
    Create(CreateArgs),
    /// List users with what they may do, disabled ones too
    #[command(after_help = "Example:\n  roster user list")]
    List(ListArgs),
    /// Set what a user may do in an account; 'none' takes it away, and ends the user's sessions there
    #[command(after_help = "Examples:
  roster user role ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role viewer
  roster user role ada@example.edu --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --role none")]
    Role(RoleArgs),
    /// Set a user's password, or take it away; all sessions and links of the user end
    #[command(after_help = "Examples:
  roster user password ada@example.edu --password-stdin < password.txt
  roster user password ada@example.edu --none")]
    Password(PasswordArgs),
    /// Let a user in no more, at once; all sessions and links of the user end
    #[command(after_help = "Example:\n  roster user disable ada@example.edu")]
    Disable(NameArgs),
    /// Let a disabled user in again
    #[command(after_help = "Example:\n  roster user enable ada@example.edu")]
    Enable(NameArgs),
    /// Make a link that signs a user in once: for the first time, or when the password is forgotten
    #[command(after_help = "Example:
  roster user link ada@example.edu --url https://texting.example.edu")]
    Link(LinkArgs),
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// What the user signs in with: an e-mail address, or any short name
    #[arg(value_parser = user_name)]
    name: UserName,
    /// Where it may do something
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: AccountId,
    /// What it may do there: viewer, look; editor, also import; admin, also change programs and tokens
    #[arg(long, env = "ROSTER_ROLE", value_name = "viewer|editor|admin", value_parser = role)]
    role: Role,
    #[command(flatten)]
    password: NewPasswordArgs,
    #[command(flatten)]
    data: DataArgs,
}

/// Where a new password comes from.
#[derive(Args)]
struct NewPasswordArgs {
    /// A file that holds the password; a line end at its end is not part of it
    #[arg(long, env = "ROSTER_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The password comes in from standard input
    #[arg(long, env = "ROSTER_PASSWORD_STDIN", value_parser = BoolishValueParser::new())]
    password_stdin: bool,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only those who may do something in this account
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: Option<AccountId>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct RoleArgs {
    /// Whose
    #[arg(value_parser = user_name)]
    name: UserName,
    /// Where
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: AccountId,
    /// What it may do there: viewer, look; editor, also import; admin, also change programs and tokens; none, nothing
    #[arg(long, env = "ROSTER_ROLE", value_name = "viewer|editor|admin|none", value_parser = role_or_none)]
    role: RoleOrNone,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct PasswordArgs {
    /// Whose
    #[arg(value_parser = user_name)]
    name: UserName,
    #[command(flatten)]
    password: NewPasswordArgs,
    /// Take the password away: from then on by a link, or with OpenID Connect
    #[arg(long, env = "ROSTER_PASSWORD_NONE", value_parser = BoolishValueParser::new())]
    none: bool,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct NameArgs {
    /// Whom
    #[arg(value_parser = user_name)]
    name: UserName,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct LinkArgs {
    /// Whom
    #[arg(value_parser = user_name)]
    name: UserName,
    /// How long it lets in
    #[arg(long, env = "ROSTER_LINK_MINUTES", value_name = "N", default_value_t = MINUTES, value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    minutes: u32,
    /// Where browsers reach the service [default: the settings' console_url, or else where it listens]
    #[arg(long, visible_alias = "url", env = "ROSTER_CONSOLE_URL", value_name = "URL")]
    console_url: Option<String>,
    /// Where the service listens, if nothing says where browsers reach it [default: 127.0.0.1:8080]
    #[arg(long, env = "ROSTER_LISTEN", value_name = "ADDR", hide_short_help = true)]
    listen: Option<String>,
    #[command(flatten)]
    data: DataArgs,
}

/// A role to be set, or none.
#[derive(Clone, Copy, Debug)]
struct RoleOrNone(Option<Role>);

fn user_name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|fault| fault.to_string())
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "a role is viewer, editor or admin".to_owned())
}

fn role_or_none(word: &str) -> Result<RoleOrNone, String> {
    match word {
        "none" => Ok(RoleOrNone(None)),
        word => Role::parse(word)
            .map(|role| RoleOrNone(Some(role)))
            .ok_or_else(|| "a role is viewer, editor, admin or none".to_owned()),
    }
}

/// A user, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserJson<'a> {
    name: &'a str,
    has_password: bool,
    created: String,
    /// Null if it never did.
    last_signed_in: Option<String>,
    /// Since when; null if it is not.
    disabled: Option<String>,
    memberships: Vec<MembershipJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MembershipJson<'a> {
    account_id: String,
    account_name: &'a str,
    role: &'static str,
}

impl UserJson<'_> {
    fn of(user: &User) -> UserJson<'_> {
        let User { id: _, name, has_password, created_ms, last_signed_in_ms, disabled_ms, memberships } = user;
        let membership = |Membership { account, role }: &'_ Membership| (account.id.to_string(), role.as_str());
        UserJson {
            name: name.as_str(),
            has_password: *has_password,
            created: print_ms(*created_ms),
            last_signed_in: last_signed_in_ms.map(print_ms),
            disabled: disabled_ms.map(print_ms),
            memberships: memberships
                .iter()
                .map(|of| (membership(of), &*of.account.name))
                .map(|((account_id, role), account_name)| MembershipJson { account_id, account_name, role })
                .collect(),
        }
    }
}

/// A link, as scripts read it.
#[derive(Serialize)]
struct LinkJson<'a> {
    name: &'a str,
    link: &'a str,
    until: String,
}

pub(super) fn run(command: UserCommand, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    match command {
        UserCommand::Create(args) => create(&args, global, output),
        UserCommand::List(args) => list(&args, global, output),
        UserCommand::Role(args) => set_role(&args, global, output),
        UserCommand::Password(args) => set_password(&args, global, output),
        UserCommand::Disable(args) => set_disabled(&args, true, global, output),
        UserCommand::Enable(args) => set_disabled(&args, false, global, output),
        UserCommand::Link(args) => link(&args, global, output),
    }?;
    Ok(Exit::Done)
}

/// The user of a name.
async fn find(store: &dyn Store, name: &UserName) -> Result<User, Failure> {
    store.user_by_name(name).await?.ok_or_else(|| {
        Failure::yours(format!("there is no user '{}'", escape(name.as_str())))
            .with_remedy("'roster user list' shows all of them.")
    })
}

/// Tells how the user is after a change.
fn tell(user: &User, words: impl std::fmt::Display, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.object(&UserJson::of(user));
    }
    output.say(words);
    Ok(())
}

fn create(args: &CreateArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let CreateArgs { name, account, role, password, data } = args;
    let password = password.read()?.map(|password| hash(&password, name)).transpose()?;
    let make = async |store: Arc<dyn Store>| {
        // Asked first: a user that was made is never deleted.
        if store.accounts().await?.iter().all(|known| known.id != *account) {
            return Err(Failure::yours(format!("there is no account {account}"))
                .with_remedy("'roster account list' shows all of them."));
        }
        let user = store.create_user(name, now_ms()).await?;
        store.set_role(user.id, *account, Some(*role)).await?;
        if let Some(password) = &password {
            store.set_password(user.id, Some(password)).await?;
        }
        find(&*store, name).await
    };
    let user = with_store(data, global, make)?;
    let name = escape(name.as_str());
    let how = match user.has_password {
        true => String::new(),
        false => format!("\nIt has no password; 'roster user link {name}' makes a link that signs in once."),
    };
    tell(&user, format_args!("Made the user '{name}', {} of {account}.{how}", role.as_str()), output)
}

impl NewPasswordArgs {
    /// The password, if one is given.
    fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        match (&self.password_file, self.password_stdin) {
            (Some(_), true) => Err(Failure::yours("--password-file and --password-stdin do not go together")
                .with_remedy("Give one of them.")),
            (Some(path), false) => read_file(path).map(Some),
            (None, true) => {
                let cannot = |error: std::io::Error| Failure::yours(format!("cannot read standard input: {error}"));
                one_line(std::io::stdin().lock()).map_err(cannot).map(Some)
            }
            (None, false) => Ok(None),
        }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = std::fs::File::open(path).and_then(one_line);
    read.map_err(|error| Failure::yours(format!("cannot read {}: {error}", path.display())))
}

/// All of it, without one line end at its end. Not much more than a password can have: what is longer is refused by its length.
fn one_line(from: impl std::io::Read) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    from.take(4 * PASSWORD_BYTES_MAX as u64).read_to_string(&mut text)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// What is kept of a password that this user may have.
fn hash(password: &str, name: &UserName) -> Result<PasswordHash, Failure> {
    check_password(password, name).map_err(|fault| {
        Failure::yours(fault.to_string()).with_remedy("A sentence that nobody else would think of is a good one.")
    })?;
    password::hash(password, random()?).map_err(|fault| Failure::ours(fault.to_string()))
}

fn list(args: &ListArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let mut users = with_store(&args.data, global, async |store| Ok(store.users().await?))?;
    if let Some(account) = args.account {
        users.iter_mut().for_each(|user| user.memberships.retain(|of| of.account.id == account));
        users.retain(|user| !user.memberships.is_empty());
    }
    if output.json {
        return users.iter().try_for_each(|user| output.object(&UserJson::of(user)));
    }
    if users.is_empty() {
        output.say("There is no such user yet; 'roster user create NAME --account ID --role ROLE' makes one.");
        return Ok(());
    }
    let titles = ["name", "role", "account", "account's name", "password", "created", "last signed in", "disabled"];
    output.table(titles.map(|title| (title, Align::Left)), users.iter().flat_map(rows))
}

/// A row for each membership, or one for a user who may do nothing.
fn rows(user: &User) -> Vec<[String; 8]> {
    let User { id: _, name, has_password, created_ms, last_signed_in_ms, disabled_ms, memberships } = user;
    let row = |role: &str, account: String, account_name: &str| {
        [
            name.to_string(),
            role.to_owned(),
            account,
            account_name.to_owned(),
            if *has_password { "yes" } else { "no" }.to_owned(),
            print_ms(*created_ms),
            last_signed_in_ms.map(print_ms).unwrap_or_default(),
            disabled_ms.map(print_ms).unwrap_or_default(),
        ]
    };
    if memberships.is_empty() {
        return vec![row("none", String::new(), "")];
    }
    let rows = memberships.iter();
    rows.map(|of| row(of.role.as_str(), of.account.id.to_string(), &of.account.name)).collect()
}

fn set_role(args: &RoleArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let RoleArgs { name, account, role: RoleOrNone(role), data } = args;
    let set = async |store: Arc<dyn Store>| {
        store.set_role(find(&*store, name).await?.id, *account, *role).await?;
        find(&*store, name).await
    };
    let user = with_store(data, global, set)?;
    let name = escape(name.as_str());
    match role {
        Some(role) => tell(&user, format_args!("'{name}' is {} of {account} now.", role.as_str()), output),
        None => tell(&user, format_args!("'{name}' may do nothing in {account} any more."), output),
    }
}

fn set_password(args: &PasswordArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let PasswordArgs { name, password, none, data } = args;
    let password = match (password.read()?, none) {
        (Some(password), false) => Some(hash(&password, name)?),
        (None, true) => None,
        (Some(_), true) | (None, false) => {
            return Err(Failure::yours("either a new password is to be given, or --none")
                .with_remedy("Give --password-file FILE, or --password-stdin, or --none."));
        }
    };
    let set = async |store: Arc<dyn Store>| {
        store.set_password(find(&*store, name).await?.id, password.as_ref()).await?;
        find(&*store, name).await
    };
    let user = with_store(data, global, set)?;
    let name = escape(name.as_str());
    let what = if user.has_password { "has a new password" } else { "has no password any more" };
    tell(&user, format_args!("'{name}' {what}; all sessions and links of it have ended."), output)
}

fn set_disabled(args: &NameArgs, disabled: bool, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let NameArgs { name, data } = args;
    let set = async |store: Arc<dyn Store>| {
        store.set_user_disabled(find(&*store, name).await?.id, disabled, now_ms()).await?;
        find(&*store, name).await
    };
    let user = with_store(data, global, set)?;
    let name = escape(name.as_str());
    if disabled {
        tell(&user, format_args!("Disabled '{name}'; all sessions and links of it have ended."), output)
    } else {
        tell(&user, format_args!("'{name}' may sign in again."), output)
    }
}

fn link(args: &LinkArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let LinkArgs { name, minutes, console_url, listen, data } = args;
    let mut given = data.given();
    let places = [("console_url", console_url), ("listen", listen)];
    given.extend(places.into_iter().filter_map(|(key, value)| Some(Given { key, value: value.clone()? })));
    let settings = global.settings(given)?;
    logging::start(&settings, DefaultLevel::Warn)?;
    let origin = console_link::origin(&settings)?;
    let make = async |store: Arc<dyn Store>| {
        let user = find(&*store, name).await?;
        if user.disabled_ms.is_some() {
            let name = escape(name.as_str());
            return Err(Failure::yours(format!("'{name}' is disabled, and no link lets it in"))
                .with_remedy(&format!("'roster user enable {name}' lets it in again.")));
        }
        Link::make(&*store, user.id, *minutes).await
    };
    let made = runtime()?.block_on(in_store(&settings, make))?;
    let (link, until) = (made.under(&origin), print_ms(made.until_ms));
    if output.json {
        return output.object(&LinkJson { name: name.as_str(), link: &link, until });
    }
    output.say(format_args!("Signs '{}' in once, until {until}:", escape(name.as_str())));
    output.line(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        let read = |text: &str| one_line(text.as_bytes()).expect("readable").to_string();
        for (text, password) in
            [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), ("a b\n\n", "a b\n"), (" a ", " a "), ("", "")]
        {
            assert_eq!(read(text), password, "{text:?}");
        }
        assert!(read(&"x".repeat(1_000_000)).len() > PASSWORD_BYTES_MAX, "and what is too long stays so");
        assert!(one_line(&b"\xff\xfe"[..]).is_err());
    }
}
