//! `roster token …`: what requests are signed with. Here tokens and secrets are minted; a secret is shown once.

use std::sync::Arc;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::contact::date_time::print_ms;
use crate::store::Store;
use crate::tenant::{AccountId, NewToken, ProgramId, Programs, Rotated, Scope, Secret, TokenListing, token_of_random};

use super::failure::{Exit, Failure};
use super::operator::{account_id, name, now_ms, program_id, with_store};
use super::output::{Align, Output, escape};
use super::settings::{DataArgs, GlobalArgs};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token of an account; its secret is shown this once
    #[command(after_help = "Example:
  roster token create --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --name 'nightly import'
  roster token create --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --name dashboard --read-only \\
    --program 018f3b52-9a11-7d2c-8a35-6d3f2b1c0e44")]
    Create(CreateArgs),
    /// List tokens, revoked ones too; secrets are not shown
    #[command(after_help = "Example:\n  roster token list")]
    List(ListArgs),
    /// Give a token a new secret, shown this once; the old one holds for a while
    #[command(after_help = "Examples:
  roster token rotate 5d41402abc4b2a76b9719d911017c592
  roster token rotate 5d41402abc4b2a76b9719d911017c592 --overlap 0     # the old secret has leaked")]
    Rotate(RotateArgs),
    /// Revoke a token, at once and for good
    #[command(after_help = "Example:\n  roster token revoke 5d41402abc4b2a76b9719d911017c592")]
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// The one account that it sees
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: AccountId,
    /// What people call it; its imports are 'from' this name
    #[arg(long, env = "ROSTER_TOKEN_NAME", value_parser = name)]
    name: String,
    /// It may look, and change nothing
    #[arg(long, env = "ROSTER_TOKEN_READ_ONLY", value_parser = BoolishValueParser::new())]
    read_only: bool,
    /// It reaches this program, and no other; may be repeated (else: all of the account)
    #[arg(
        long = "program",
        env = "ROSTER_TOKEN_PROGRAMS",
        value_name = "ID",
        value_delimiter = ',',
        value_parser = program_id
    )]
    programs: Vec<ProgramId>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only this account's
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: Option<AccountId>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct RotateArgs {
    /// The token's text (not its secret)
    token: String,
    /// How long the old secret holds beside the new one: seconds, or like 90m, 24h, 7d; 0: no longer at all
    #[arg(long, env = "ROSTER_OVERLAP", value_name = "TIME", default_value = "24h", value_parser = overlap_ms)]
    overlap: u64,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// The token's text (not its secret)
    token: String,
    #[command(flatten)]
    data: DataArgs,
}

/// A token and its secret, just made.
pub(super) struct Minted {
    /// The opaque text in the header.
    pub(super) token: String,
    /// What is signed with it.
    pub(super) secret: Secret,
}

/// A new token, as scripts read it.
#[derive(Serialize)]
struct MintedJson<'a> {
    token: &'a str,
    secret: &'a str,
    name: &'a str,
}

/// A token with a new secret, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedJson<'a> {
    token: &'a str,
    secret: &'a str,
    name: &'a str,
    /// Null: it does not hold any more.
    old_secret_until: Option<String>,
}

/// A token in a list, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenJson<'a> {
    token: &'a str,
    account_id: String,
    name: &'a str,
    read_only: bool,
    /// Null: all of the account.
    program_ids: Option<Vec<String>>,
    created: String,
    /// To a minute or so; null if it never was.
    last_used: Option<String>,
    /// Until when the secret before the last rotation holds; null if none does.
    old_secret_until: Option<String>,
    revoked: Option<String>,
}

impl Minted {
    /// 128 random bits for each.
    pub(super) fn new() -> Result<Minted, Failure> {
        Ok(Minted { token: token_of_random(random()?), secret: Secret::of_random(random()?) })
    }

    /// Makes a token and keeps it in the store.
    pub(super) async fn create(
        store: &dyn Store,
        account: AccountId,
        name: &str,
        scope: Scope,
    ) -> Result<Minted, Failure> {
        let minted = Minted::new()?;
        let (token, secret) = (minted.token.clone(), minted.secret.clone());
        store.create_token(account, NewToken { token, name: name.to_owned(), secret, scope }, now_ms()).await?;
        Ok(minted)
    }
}

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::ours(format!("the system has no randomness: {error}")))?;
    Ok(bytes)
}

/// The longest overlap, in seconds: a secret that holds for longer has not been replaced.
const OVERLAP_S_MAX: u64 = 90 * 24 * 60 * 60;

/// Reads an overlap, for clap.
fn overlap_ms(text: &str) -> Result<u64, String> {
    let wrong = || "it is a number of seconds, or like 90m, 24h or 7d, and at most 90 days".to_owned();
    let (number, unit_s) = match text.trim().split_at_checked(text.trim().len().saturating_sub(1)) {
        Some((number, "s")) => (number, 1),
        Some((number, "m")) => (number, 60),
        Some((number, "h")) => (number, 60 * 60),
        Some((number, "d")) => (number, 24 * 60 * 60),
        _ => (text.trim(), 1),
    };
    // No sign: `parse` would take a `+`.
    let number = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(wrong)?;
    let seconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_s));
    seconds.filter(|seconds| *seconds <= OVERLAP_S_MAX).map(|seconds| seconds * 1_000).ok_or_else(wrong)
}

pub(super) fn run(command: TokenCommand, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create(args) => create(&args, global, output),
        TokenCommand::List(args) => list(&args, global, output),
        TokenCommand::Rotate(args) => rotate(&args, global, output),
        TokenCommand::Revoke(args) => revoke(&args, global, output),
    }?;
    Ok(Exit::Done)
}

fn create(args: &CreateArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let CreateArgs { account, name, read_only, programs, data } = args;
    let programs = if programs.is_empty() { Programs::All } else { Programs::Only(programs.iter().copied().collect()) };
    let scope = Scope { read_only: *read_only, programs };
    let minted = with_store(data, global, async |store| Minted::create(&*store, *account, name, scope).await)?;
    let (token, secret) = (&*minted.token, minted.secret.expose());
    if output.json {
        return output.object(&MintedJson { token, secret, name });
    }
    output.say(format_args!("Made the token '{}'. Its secret is shown this once; keep it:", escape(name)));
    output.line(format_args!("ROSTER_TOKEN={token}\nROSTER_SECRET={secret}"))
}

fn list(args: &ListArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let tokens = with_store(&args.data, global, async |store| Ok(store.tokens(args.account).await?))?;
    if output.json {
        return tokens.iter().try_for_each(|token| output.object(&token_json(token)));
    }
    if tokens.is_empty() {
        output.say("There is no token yet; 'roster token create --account ID --name NAME' makes one.");
        return Ok(());
    }
    let titles = ["token", "account", "name", "may", "programs", "created", "last used", "old secret until", "revoked"];
    let now_ms = now_ms();
    let rows = tokens.into_iter().map(|listing| {
        let TokenListing { token, account, name, scope, created_ms, last_used_ms, old_secret_until_ms, revoked_ms } =
            listing;
        let used = last_used_ms.map(print_ms).unwrap_or_default();
        let old = old_secret_until_ms.filter(|until| *until > now_ms).map(print_ms).unwrap_or_default();
        let may = if scope.read_only { "read" } else { "read, write" }.to_owned();
        let programs = program_ids(&scope.programs).map_or("all".to_owned(), |ids| ids.join(" "));
        let (created, revoked) = (print_ms(created_ms), revoked_ms.map(print_ms).unwrap_or_default());
        [token, account.to_string(), name, may, programs, created, used, old, revoked]
    });
    output.table(titles.map(|title| (title, Align::Left)), rows)
}

/// `None` for all of the account.
fn program_ids(programs: &Programs) -> Option<Vec<String>> {
    match programs {
        Programs::All => None,
        Programs::Only(programs) => Some(programs.iter().map(ProgramId::to_string).collect()),
    }
}

fn token_json(listing: &TokenListing) -> TokenJson<'_> {
    let TokenListing { token, account, name, scope, created_ms, last_used_ms, old_secret_until_ms, revoked_ms } =
        listing;
    TokenJson {
        token,
        account_id: account.to_string(),
        name,
        read_only: scope.read_only,
        program_ids: program_ids(&scope.programs),
        created: print_ms(*created_ms),
        last_used: last_used_ms.map(print_ms),
        old_secret_until: old_secret_until_ms.filter(|until| *until > now_ms()).map(print_ms),
        revoked: revoked_ms.map(print_ms),
    }
}

fn rotate(args: &RotateArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let RotateArgs { token, overlap, data } = args;
    let secret = Secret::of_random(random()?);
    let rotate = async |store: Arc<dyn Store>| Ok(store.rotate_token(token, &secret, *overlap, now_ms()).await?);
    let Rotated { name, old_secret_until_ms } = with_store(data, global, rotate)?;
    let until = old_secret_until_ms.map(print_ms);
    if output.json {
        let (secret, name) = (secret.expose(), &*name);
        return output.object(&RotatedJson { token, secret, name, old_secret_until: until });
    }
    output.say(format_args!("Gave '{}' a new secret, which is shown this once; keep it:", escape(&name)));
    output.line(format_args!("ROSTER_TOKEN={token}\nROSTER_SECRET={}", secret.expose()))?;
    match until {
        Some(until) => output.say(format_args!("The old secret holds until {until}; any older one is void.")),
        None => output.say("The old secret is void."),
    }
    Ok(())
}

fn revoke(args: &RevokeArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let token = &args.token;
    with_store(&args.data, global, async |store| Ok(store.revoke_token(token, now_ms()).await?))?;
    if output.json {
        return output.object(&serde_json::json!({ "token": token, "revoked": true }));
    }
    output.say(format_args!("Revoked {}.", escape(token)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_seconds_or_has_a_unit() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("2m", 120), (" 24h ", 86_400), ("90d", 7_776_000)] {
            assert_eq!(overlap_ms(text), Ok(seconds * 1_000), "{text}");
        }
        for none in ["", "h", "-1", "+1", "1.5h", "24 h", "91d", "1w", "ä", "99999999999999999999d"] {
            assert!(overlap_ms(none).is_err(), "{none}");
        }
    }

    #[test]
    fn tokens_and_secrets_have_the_lengths_that_scripts_check() {
        let Minted { token, secret } = Minted::new().expect("randomness");
        assert!(token.len() == 32 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        let secret = uuid::Uuid::try_parse(secret.expose()).expect("a UUID");
        assert_eq!(secret.get_version_num(), 4);
        assert_eq!(secret.to_string().len(), 36);
    }
}
