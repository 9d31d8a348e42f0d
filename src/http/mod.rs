//! The HTTP API: which path asks for what, who may ask, and how answers look on the wire.
//!
//! Every path answers signed requests only, also the ones that do not exist: see [`signed::Signed`]; and what a request may see and
//! do is decided in one place: see [`data::Data`]. The exceptions are in `health`: they tell whether the service works, and nothing of
//! what it holds. Nothing is decided
//! here that is not about HTTP; nothing here knows SQL, or that there is a worker.

mod answer;
mod body;
mod certificate;
mod commands;
mod connections;
mod contacts;
mod data;
mod descriptors;
mod export;
mod failed_rows;
mod health;
mod imports;
mod last_use;
mod limits;
mod parameters;
mod path;
mod pieces;
mod programs;
mod routes;
mod signed;
mod spool;
mod stream;
mod tls;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::SignedDuration;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::command::Clock;
use crate::problem::{Code, Problem};
use crate::store::Store;
use crate::tenant::{Secret, Token};
use answer::Refused;
pub(crate) use answer::RequestId;
pub use certificate::{Certificate, PairFiles, UselessPair, keep_renewed};
pub use connections::BoundedAcceptor;
use data::Door;
pub use descriptors::connections_within_limit;
pub(crate) use failed_rows::failed_rows_answer;
pub use health::watch_router;
use health::{Watched, health};
pub use limits::Allowance;
use limits::Limits;
use signed::Signed;
pub use tls::TlsAcceptor;

/// The limits and windows of the HTTP API, with their units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpSettings {
    /// How far a signature's time may be from the clock.
    pub freshness: SignedDuration,
    /// The largest body, in bytes.
    pub body_bytes_max: u64,
    /// The most bytes of bodies in memory at one moment.
    pub body_bytes_in_flight_max: u64,
    /// The largest file of the stream form, in bytes, as sent and decompressed.
    pub stream_bytes_max: u64,
    /// How many files of the stream form are received at the same time. Each takes some megabytes of memory, with zstd up to 8 more for
    /// its window.
    pub streams_max: usize,
    /// How long a client may pause in the middle of a body; of a file that is not held whole a portion must arrive in that time.
    pub pause_max: Duration,
    /// The longest `Prefer: wait`.
    pub wait_max: Duration,
    /// What one token may ask of this node.
    pub token: Allowance,
    /// What one account may, with all its tokens.
    pub account: Allowance,
}

/// What every handler can reach.
pub(crate) struct HttpState {
    door: Door,
    /// Whose secret a signature is checked with where there is no such token.
    nobody: Token,
    settings: HttpSettings,
    clock: Clock,
    /// The time by which things are forgotten.
    steady: Clock,
    /// What this node calls itself in answers.
    processor: String,
    /// Room for bodies, in units of [`body::ROOM_UNIT_BYTES`].
    room: Arc<Semaphore>,
    /// Large signatures that are checked at the same time.
    checks: Arc<Semaphore>,
    /// Exports that are read at the same time.
    exports: Arc<Semaphore>,
    /// Files that are received at the same time.
    streams: Arc<Semaphore>,
    /// Files that are decompressed at the same moment.
    unpacking: Arc<Semaphore>,
    /// Turns true when the service is to stop: who waits for an import is answered at once.
    stopping: watch::Receiver<bool>,
}

impl HttpState {
    fn new(
        store: Arc<dyn Store>,
        settings: HttpSettings,
        (clock, steady): (Clock, Clock),
        stopping: watch::Receiver<bool>,
    ) -> HttpState {
        let limits = Arc::new(Limits::new(settings.token, settings.account));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        HttpState {
            door: Door::new(store, limits, Arc::clone(&clock)),
            nobody: Token::nobody(Secret::new(Uuid::new_v4().to_string())),
            settings,
            clock,
            steady,
            processor: concat!("roster/", env!("CARGO_PKG_VERSION")).to_owned(),
            room: Arc::new(Semaphore::new(body::room_units(settings.body_bytes_in_flight_max))),
            checks: Arc::new(Semaphore::new(cores)),
            exports: Arc::new(Semaphore::new(export::EXPORTS_MAX)),
            streams: Arc::new(Semaphore::new(settings.streams_max)),
            unpacking: Arc::new(Semaphore::new(spool::unpacking_max())),
            stopping,
        }
    }
}

/// The HTTP API over a store, as a service for a listener. Beside the clock, the one by which things are forgotten. `stopping` turns
/// true when the service is to stop. `beside` are paths that are not the API's, and answer for themselves: their answers have an id and a
/// line in the log like all.
pub fn router(
    store: Arc<dyn Store>,
    settings: HttpSettings,
    (clock, steady): (Clock, Clock),
    stopping: watch::Receiver<bool>,
    beside: Router,
) -> Router {
    let watched = Watched { store: Arc::clone(&store), clock: Arc::clone(&clock), stopping: stopping.clone() };
    let state = Arc::new(HttpState::new(store, settings, (clock, steady), stopping));
    Router::new()
        .merge(routes::router())
        .merge(health(watched))
        .fallback(nowhere)
        .with_state(state)
        .merge(beside)
        .layer(axum::middleware::from_fn(answer::finish))
}

async fn nowhere(_: Signed) -> Refused {
    Problem::new(Code::NotFound, "There is nothing at this path").into()
}

fn method_not_allowed(allow: String) -> Refused {
    let problem = Problem::new(Code::MethodNotAllowed, format!("This path takes {allow}"));
    Problem { allow: Some(allow), ..problem }.into()
}
