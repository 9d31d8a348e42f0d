//! Every page of the console, once: its path, its method, who may open it, and who answers. Router, door and the table in docs/CONSOLE.md
//! are made of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use super::admission::{Door, Needs, admit};
use super::answer::{Turned, guard};
use super::frame::Frame;
use super::{
    Console, assets, contacts, doctor, events, imports, me, overview, pieces, programs, provider, sign_in, tokens,
    uploads,
};
use crate::http::RequestId;
use crate::tenant::Role;

/// A page, or what a form of a page is sent to.
struct Page {
    /// With its method before it: `GET /console`.
    line: String,
    needs: Needs,
    handler: MethodRouter<Arc<Console>>,
}

fn look<T: 'static>(path: &str, needs: Needs, handler: impl Handler<T, Arc<Console>>) -> Page {
    Page { line: format!("GET {path}"), needs, handler: get(handler) }
}

fn send<T: 'static>(path: &str, needs: Needs, handler: impl Handler<T, Arc<Console>>) -> Page {
    Page { line: format!("POST {path}"), needs, handler: post(handler) }
}

#[rustfmt::skip]
fn pages() -> Vec<Page> {
    const NOBODY: Needs = Needs::Nobody;
    const VIEWER: Needs = Needs::Role(Role::Viewer);
    const EDITOR: Needs = Needs::Role(Role::Editor);
    const ADMIN: Needs = Needs::Role(Role::Admin);
    vec![
        look("/console/sign-in", NOBODY, sign_in::page),
        send("/console/sign-in", NOBODY, sign_in::submit),
        look("/console/link", NOBODY, sign_in::link_page),
        send("/console/link", NOBODY, sign_in::use_link),
        send("/console/sign-out", NOBODY, sign_in::sign_out),
        look("/console/oidc", NOBODY, provider::begin),
        look("/console/oidc/callback", NOBODY, provider::finish),
        look("/console/assets/{name}", NOBODY, assets::file),
        look("/console", VIEWER, overview::page),
        look("/console/me", VIEWER, me::page),
        send("/console/me/password", VIEWER, me::change_password),
        send("/console/me/account", VIEWER, me::change_account),
        look("/console/imports", VIEWER, imports::list),
        look("/console/imports/{import}", VIEWER, imports::one),
        look("/console/imports/{import}/events", VIEWER, events::stream),
        look("/console/imports/{import}/failed-rows.csv", EDITOR, imports::failed_rows),
        send("/console/imports/{import}/cancel", EDITOR, imports::cancel),
        send("/console/imports/{import}/start", EDITOR, uploads::start),
        look("/console/programs/new", ADMIN, programs::new_page),
        send("/console/programs/new", ADMIN, programs::create),
        look("/console/programs/{program}", VIEWER, contacts::list),
        look("/console/programs/{program}/settings", VIEWER, programs::settings),
        send("/console/programs/{program}/settings", ADMIN, programs::save),
        send("/console/programs/{program}/fields", ADMIN, programs::add_field),
        send("/console/programs/{program}/fields/remove", ADMIN, programs::remove_field),
        look("/console/programs/{program}/import", EDITOR, uploads::page),
        send("/console/programs/{program}/import", EDITOR, uploads::receive),
        send("/console/programs/{program}/pieces", EDITOR, pieces::begin),
        send("/console/pieces/{upload}", EDITOR, pieces::piece),
        send("/console/pieces/{upload}/end", EDITOR, pieces::end),
        look("/console/uploads/{upload}", EDITOR, uploads::look_at),
        send("/console/uploads/{upload}", EDITOR, uploads::try_out),
        look("/console/contacts/{contact}", VIEWER, contacts::one),
        look("/console/tokens", VIEWER, tokens::list),
        send("/console/tokens", ADMIN, tokens::create),
        send("/console/tokens/rotate", ADMIN, tokens::rotate),
        send("/console/tokens/revoke", ADMIN, tokens::revoke),
        look("/console/doctor", VIEWER, doctor::page),
        send("/console/doctor", VIEWER, doctor::examine),
        look("/console/{*rest}", VIEWER, nowhere),
    ]
}

/// All pages, each behind the door with what it needs.
pub(super) fn router(console: Arc<Console>) -> Router {
    let router = pages().into_iter().fold(Router::new(), |router, Page { line, needs, handler }| {
        let door = Door { console: Arc::clone(&console), needs };
        let path = line.split(' ').next_back().unwrap_or_default();
        router.route(path, handler.layer(from_fn_with_state(door, admit)))
    });
    // What a form sends is bounded where it is read.
    let limits = DefaultBodyLimit::disable();
    // Outside of it the answer is made: a form from elsewhere is nobody's, whatever cookie comes with it.
    router.layer(limits).layer(CsrfLayer::new()).layer(from_fn(elsewhere)).with_state(console)
}

/// Says in a page what the layer for forms from elsewhere says in a status.
async fn elsewhere(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.text().to_owned()).unwrap_or_default();
    let response = next.run(request).await;
    if response.extensions().get::<ProtectionError>().is_none() {
        return response;
    }
    let mut response = Turned::Elsewhere.page(Frame::bare("", None), &id);
    guard(&mut response);
    response
}

async fn nowhere() -> Turned {
    Turned::NotFound("page")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in docs/CONSOLE.md is this one.
    #[test]
    fn the_page_tells_who_may_open_what() {
        let rows = pages().into_iter().filter(|page| !page.line.contains("{*")).map(|page| {
            let who = match page.needs {
                Needs::Nobody => "anybody",
                Needs::Role(role) => role.as_str(),
            };
            format!("| `{}` | {who} |", page.line)
        });
        let documented = include_str!("../../docs/CONSOLE.md")
            .lines()
            .filter(|line| line.starts_with("| `GET ") || line.starts_with("| `POST "));
        assert_eq!(documented.map(str::to_owned).collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    }
}
