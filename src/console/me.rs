//! Who is signed in: the account that they are in, their others, and their password.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Console;
use super::admission::{begin_session, with_cookie};
use super::answer::{Turned, page_with, redirect};
use super::data::Data;
use super::form::{Asked, Mistakes, Sent};
use super::frame::{Frame, Section};
use super::sign_in::{hashed, is_password};
use crate::tenant::password::check_password;
use crate::tenant::{AccountId, Membership, User};

#[derive(Template)]
#[template(path = "console/me.html")]
struct MePage {
    frame: Frame,
    memberships: Vec<Membership>,
    account: AccountId,
    has_password: bool,
    mistakes: Mistakes,
}

async fn user(console: &Console, data: &Data) -> Result<User, Turned> {
    let user = console.store.user_by_name(&data.session().name).await?;
    user.filter(|user| user.id == data.session().user).ok_or(Turned::SignIn)
}

async fn show(console: &Console, data: &Data, done: Option<&str>, mistakes: Mistakes) -> Result<Response, Turned> {
    let user = user(console, data).await?;
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = MePage {
        frame: Frame::of("You", Section::Me, data).after(done),
        memberships: user.memberships,
        account: data.session().account.id,
        has_password: user.has_password,
        mistakes,
    };
    Ok(page_with(status, &page))
}

pub(super) async fn page(
    State(console): State<Arc<Console>>,
    data: Data,
    Asked(asked): Asked,
) -> Result<Response, Turned> {
    show(&console, &data, asked.some("done"), Mistakes::default()).await
}

/// Who has a password must know it. All sessions end, and this one begins anew.
pub(super) async fn change_password(
    State(console): State<Arc<Console>>,
    data: Data,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let user = user(&console, &data).await?;
    if user.has_password {
        if console.attempts.begin(user.name.as_str(), data.now_ms()).is_err() {
            let what = "There were too many wrong passwords for this name. Try again in some minutes.";
            return show(&console, &data, None, Mistakes::one("old", what)).await;
        }
        let kept = console.store.password(user.id).await?.ok_or(Turned::SignIn)?;
        if !is_password(&console, fields.raw("old").to_owned(), kept).await? {
            return show(&console, &data, None, Mistakes::one("old", "This is not your password.")).await;
        }
        console.attempts.was_right(user.name.as_str());
    }
    let mut mistakes = Mistakes::default();
    if let Err(fault) = check_password(fields.raw("new"), &user.name) {
        mistakes.add("new", super::answer::sentence(&fault.to_string()));
    }
    if fields.raw("new") != fields.raw("again") {
        mistakes.add("again", "The two are not the same.");
    }
    if !mistakes.is_empty() {
        return show(&console, &data, None, mistakes).await;
    }
    let hashed = hashed(&console, fields.raw("new")).await?;
    console.store.set_password(user.id, Some(&hashed)).await?;
    tracing::info!(user = %user.id, "a password was changed");
    let (cookie, _) = begin_session(&console, user.id, data.session().account.id).await?;
    Ok(with_cookie(redirect("/console/me?done=password"), cookie))
}

pub(super) async fn change_account(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    let account = AccountId::parse(fields.get("account")).ok_or(Turned::NotFound("account"))?;
    data.go_to(account).await?;
    Ok(redirect("/console?done=account"))
}
