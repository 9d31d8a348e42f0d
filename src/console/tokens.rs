//! Tokens: what programs of the college's sign with. A secret is shown once, on the page that answers the form; it is in no address, and on no page
//! that can be opened again.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{Turned, page_with, redirect, sentence};
use super::data::Data;
use super::form::{Asked, Fields, Mistakes, Sent};
use super::frame::{Frame, Section};
use super::imports::Choice;
use super::sending::random;
use super::words::When;
use crate::store::StoreError;
use crate::tenant::{NewToken, Program, ProgramId, Programs, Role, Scope, Secret, TokenListing, token_of_random};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
const HOUR_MS: u64 = 60 * 60 * 1_000;
/// For how long the old secret may hold beside a new one.
const OVERLAPS: [(&str, &str, u64); 4] = [
    ("24h", "for a day", 24 * HOUR_MS),
    ("7d", "for a week", 7 * 24 * HOUR_MS),
    ("1h", "for an hour", HOUR_MS),
    ("0", "no longer at all (it has leaked)", 0),
];

struct TokenLine {
    token: String,
    name: String,
    may: &'static str,
    reaches: String,
    created: When,
    last_used: Option<When>,
    old_until: Option<When>,
    revoked: Option<When>,
}

fn line(token: &TokenListing, programs: &[Program], now_ms: i64) -> TokenLine {
    TokenLine {
        token: token.token.clone(),
        name: token.name.clone(),
        may: if token.scope.read_only { "read" } else { "read and import" },
        reaches: reaches(&token.scope, programs),
        created: When(token.created_ms),
        last_used: token.last_used_ms.map(When),
        old_until: token.old_secret_until_ms.filter(|until_ms| now_ms < *until_ms).map(When),
        revoked: token.revoked_ms.map(When),
    }
}

fn reaches(scope: &Scope, programs: &[Program]) -> String {
    match &scope.programs {
        Programs::All => "all programs".to_owned(),
        Programs::Only(only) => {
            let name =
                |id: &ProgramId| programs.iter().find(|program| program.id == *id).map(|program| program.name.as_str());
            only.iter().filter_map(name).collect::<Vec<_>>().join(", ")
        }
    }
}

#[derive(Template)]
#[template(path = "console/tokens.html")]
struct ListPage {
    frame: Frame,
    tokens: Vec<TokenLine>,
    revoked: Vec<TokenLine>,
    overlaps: Vec<Choice>,
    programs: Vec<Choice>,
    name: String,
    read_only: bool,
    may_change: bool,
    mistakes: Mistakes,
}

async fn list_page(
    data: &Data,
    typed: &Fields,
    (done, mistakes): (Option<&str>, Mistakes),
) -> Result<Response, Turned> {
    let programs = data.programs().await?;
    let tokens = data.tokens().await?;
    let now_ms = data.now_ms();
    let (revoked, tokens): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| token.revoked_ms.is_some());
    let chosen: Vec<&str> = typed.all("program").collect();
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = ListPage {
        frame: Frame::of("Tokens", Section::Tokens, data).after(done),
        tokens: tokens.into_iter().map(|token| line(token, &programs, now_ms)).collect(),
        revoked: revoked.into_iter().map(|token| line(token, &programs, now_ms)).collect(),
        overlaps: OVERLAPS
            .map(|(value, label, _)| Choice {
                value: value.to_owned(),
                label: label.to_owned(),
                is_chosen: value == "24h",
            })
            .into(),
        programs: programs
            .iter()
            .map(|program| {
                let value = program.id.to_string();
                Choice { is_chosen: chosen.contains(&value.as_str()), label: program.name.clone(), value }
            })
            .collect(),
        name: typed.get("name").to_owned(),
        read_only: typed.is_on("read_only"),
        may_change: data.may(Role::Admin),
        mistakes,
    };
    Ok(page_with(status, &page))
}

pub(super) async fn list(data: Data, Asked(asked): Asked) -> Result<Response, Turned> {
    list_page(&data, &Fields::default(), (asked.some("done"), Mistakes::default())).await
}

#[derive(Template)]
#[template(path = "console/secret.html")]
struct SecretPage {
    frame: Frame,
    heading: &'static str,
    name: String,
    token: String,
    secret: Secret,
    old_until: Option<When>,
    was_rotated: bool,
}

pub(super) async fn create(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    let name = fields.get("name");
    let count = name.chars().count();
    if count == 0 || count > NAME_CHARS_MAX {
        let what = format!("A name has 1 to {NAME_CHARS_MAX} characters; imports are shown with it.");
        return list_page(&data, &fields, (None, Mistakes::one("name", what))).await;
    }
    let programs: Vec<&str> = fields.all("program").collect();
    let scope = data.scope(fields.is_on("read_only"), &programs).await?;
    let (text, secret) = (token_of_random(random()?), Secret::of_random(random()?));
    let token = NewToken { token: text.clone(), name: name.to_owned(), secret: secret.clone(), scope };
    data.create_token(token).await?;
    tracing::info!(request = data.request(), "a token was made at the console");
    let page = SecretPage {
        frame: Frame::of("New token", Section::Tokens, &data),
        heading: "The token was made",
        name: name.to_owned(),
        token: text,
        secret,
        old_until: None,
        was_rotated: false,
    };
    Ok(page_with(StatusCode::OK, &page))
}

pub(super) async fn rotate(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    let overlap = OVERLAPS.iter().find(|(word, ..)| *word == fields.get("overlap"));
    let wrong = || Turned::Wrong("For how long the old secret is to hold was not said.".to_owned());
    let (_, _, overlap_ms) = overlap.ok_or_else(wrong)?;
    let secret = Secret::of_random(random()?);
    let (listed, rotated) = match data.rotate_token(fields.get("token"), &secret, *overlap_ms).await {
        Err(Turned::Store(StoreError::Refused(what))) => return Err(Turned::TooLate(sentence(&what))),
        done => done?,
    };
    tracing::info!(request = data.request(), "a token got a new secret at the console");
    let page = SecretPage {
        frame: Frame::of("New secret", Section::Tokens, &data),
        heading: "The token has a new secret",
        name: rotated.name,
        token: listed.token,
        secret,
        old_until: rotated.old_secret_until_ms.map(When),
        was_rotated: true,
    };
    Ok(page_with(StatusCode::OK, &page))
}

pub(super) async fn revoke(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    match data.revoke_token(fields.get("token")).await {
        Err(Turned::Store(StoreError::Refused(what))) => Err(Turned::TooLate(sentence(&what))),
        done => {
            done?;
            tracing::info!(request = data.request(), "a token was revoked at the console");
            Ok(redirect("/console/tokens?done=revoked"))
        }
    }
}
