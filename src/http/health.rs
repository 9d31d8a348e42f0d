//! What machines that watch the service ask, unsigned: whether it lives, whether it can serve, and, on a listener of their
//! own, its numbers. Nothing of anybody's data is in an answer, and each costs one look into an index, or two.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::command::Clock;
use crate::metrics::{self, Queue};
use crate::store::Store;

/// What is watched.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) stopping: watch::Receiver<bool>,
}

/// `/healthz` and `/readyz`.
pub(super) fn health<S>(watched: Watched) -> Router<S> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(watched)
}

/// The same and `/metrics`, as a service for a listener that strangers do not reach.
pub fn watch_router(store: Arc<dyn Store>, clock: Clock, stopping: watch::Receiver<bool>) -> Router {
    let watched = Watched { store, clock, stopping };
    let numbers = Router::new().route("/metrics", get(numbers)).with_state(watched.clone());
    health(watched).merge(numbers)
}

/// The process answers.
async fn alive() -> Response {
    word(StatusCode::OK, "alive\n")
}

/// Whether requests are to be sent here.
async fn ready(State(watched): State<Watched>) -> Response {
    if *watched.stopping.borrow() {
        return word(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    // A look that every request takes: no token is without a name.
    match watched.store.token("").await {
        Ok(_) => word(StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            word(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

async fn numbers(State(watched): State<Watched>) -> Response {
    let queue = match watched.store.backlog().await {
        Ok(backlog) => {
            let now_ms = (watched.clock)();
            let oldest_ms = backlog.oldest_created_ms.map_or(0, |created_ms| now_ms.saturating_sub(created_ms).max(0));
            Some(Queue { commands: backlog.commands, oldest: Duration::from_millis(oldest_ms.cast_unsigned()) })
        }
        Err(error) => {
            tracing::warn!(%error, "the queue could not be measured");
            None
        }
    };
    let mut response = metrics::text(queue).into_response();
    let content_type = axum::http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn word(status: StatusCode, word: &'static str) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], word).into_response()
}
