//! The console: programs, contacts and imports in a browser, for those who sign in with a password and not with a signature.
//!
//! Pages are whole HTML that works without scripts; the one script adds comfort. Every page is in one table with the role that it needs
//! ([`routes`]); whoever opens one is let in at one door ([`admission`]); and what they see and do goes through [`data::Data`], which
//! stays in their account. Imports go the way that the API's imports go: accepted by the store, carried out by the workers. Nothing is judged
//! here that the rooms behind do not judge, and nothing here knows SQL, or that there is a worker.

mod admission;
mod answer;
mod assets;
mod attempts;
mod chart;
mod contacts;
mod data;
mod doctor;
mod events;
mod form;
mod frame;
mod imports;
mod looking;
mod mapping;
mod me;
mod names;
pub mod oidc;
mod overview;
mod pieces;
mod programs;
mod provider;
mod report_view;
mod routes;
mod sign_in;
mod sending;
mod taking;
mod tokens;
mod uploads;
mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};

use crate::command::Clock;
use crate::store::Store;
use attempts::Attempts;
use names::NameIndex;
use oidc::OidcClient;
use pieces::UnderWay;

/// How many passwords are checked at the same moment: each takes 19 MiB and tens of milliseconds of a core. Half of the cores: whoever guesses leaves
/// the rest to others.
fn hashings_max() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
}

/// How many pages at once are told of the progress of imports.
const WATCHING_MAX: usize = 256;

/// What the console is told of the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleSettings {
    /// Where browsers find the service, without a path: `https://texting.example.edu`.
    pub url: Option<String>,
    /// Whether the listener speaks TLS itself.
    pub is_tls: bool,
    /// The largest file, in bytes: as of the API's stream form.
    pub file_bytes_max: u64,
    /// How many files are received at the same time.
    pub uploads_max: usize,
    /// How long a browser may pause in the middle of a file.
    pub pause_max: Duration,
}

impl ConsoleSettings {
    /// Whether browsers speak TLS to whatever stands in front, so that a cookie can be kept to it.
    fn is_secure(&self) -> bool {
        self.is_tls || self.url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// What every page can reach.
struct Console {
    store: Arc<dyn Store>,
    settings: ConsoleSettings,
    /// Who signs users in, if that is set up.
    oidc: Option<OidcClient>,
    clock: Clock,
    /// The time by which things are forgotten.
    steady: Clock,
    attempts: Attempts,
    hashings: Semaphore,
    uploads: Arc<Semaphore>,
    watching: Arc<Semaphore>,
    /// Files that come in pieces.
    under_way: UnderWay,
    names: NameIndex,
    /// Turns true when the service is to stop.
    stopping: watch::Receiver<bool>,
}

/// The pages, as a service to be merged into the listener's. Beside the clock, the one by which things are forgotten. `stopping` turns true when the service is to stop.
pub fn router(
    store: Arc<dyn Store>,
    (settings, oidc): (ConsoleSettings, Option<OidcClient>),
    (clock, steady): (Clock, Clock),
    stopping: watch::Receiver<bool>,
) -> Router {
    let console = Console {
        store,
        oidc,
        clock,
        steady,
        attempts: Attempts::default(),
        hashings: Semaphore::new(hashings_max()),
        uploads: Arc::new(Semaphore::new(settings.uploads_max)),
        watching: Arc::new(Semaphore::new(WATCHING_MAX)),
        under_way: UnderWay::default(),
        names: NameIndex::default(),
        settings,
        stopping,
    };
    routes::router(Arc::new(console))
}
