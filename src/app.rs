//! The one place that wires the rooms together: a store, workers, a listener. It knows every room and decides nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::command::{Clock, Kept, Steady, Workers, keep};
use crate::config::{LEASE_SECONDS_MAX, MasterKey, Settings, UserClaim};
use crate::console::oidc::{self, OidcClient, OidcSettings};
use crate::console::{self, ConsoleSettings};
use crate::http::{
    Allowance, BoundedAcceptor, Certificate, HttpSettings, PairFiles, TlsAcceptor, UselessPair,
    connections_within_limit, keep_renewed, router, watch_router,
};
use crate::store::moving::Movable;
use crate::store::postgres::{LEASE_MS_MAX, PostgresMovable, PostgresSettings, PostgresStore};
use crate::store::secrets::{self, DerivedFor, MasterKeySource};
pub use crate::store::sqlite::backup::Watcher;
use crate::store::sqlite::backup::{self, BackedUp, BackupSettings, RestoreSettings, Restored};
use crate::store::sqlite::{SqliteMovable, SqliteSettings, SqliteStore};
use crate::store::{OpenAs, QueueLimits, Store, StoreError};
use crate::tenant::Secret;

/// How long who watches may take for the headers of a request, and such a connection may be idle between two.
const WATCHERS_HEADERS_WITHIN: Duration = Duration::from_secs(30);

/// Connections at once of those that watch.
const WATCHERS_MAX: usize = 64;

/// The largest head of a request: what a connection may fill before anybody knows who it is.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The same of HTTP/2, where it is counted as RFC 9113 does.
const HEAD_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Requests at once on one connection of HTTP/2.
const REQUESTS_OF_CONNECTION_MAX: u32 = 64;

// A longer lease than the store knows of would be taken for one of before a clock was set back, and taken over while it holds.
const _: () = assert!(LEASE_SECONDS_MAX * 1_000 <= LEASE_MS_MAX.unsigned_abs());

/// How long a worker of a node waits for word of the other nodes before it looks for work by itself.
const LOOK_FOR_WORK_EVERY: Duration = Duration::from_secs(1);

/// The master key in a data directory.
const MASTER_KEY_FILE: &str = "master.key";

/// How many connections to a database the requests of a node share, beside one for each worker.
const REQUEST_CONNECTIONS_MAX: usize = 16;

/// How many an operator's command has.
const OPERATOR_CONNECTIONS_MAX: usize = 2;

/// What a process wants of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// An operator's command; a service may be running beside it.
    Operator,
    /// The service: the only one of a data directory, or one of the nodes of a database.
    Serve,
}

/// Opens the store that the settings name.
pub async fn open_store(settings: &Settings, role: Role) -> Result<Arc<dyn Store>, StoreError> {
    let master_key = master_key(settings);
    let open_as = match role {
        Role::Operator => OpenAs::Operator,
        Role::Serve => OpenAs::Server,
    };
    let queue_limits = QueueLimits {
        of_program_max: u32::try_from(settings.queue_max).unwrap_or(u32::MAX),
        of_account_max: u32::try_from(settings.account_queue_max).unwrap_or(u32::MAX),
    };
    match &settings.database {
        Some(url) => {
            let settings = PostgresSettings {
                url: url.clone(),
                master_key,
                open_as,
                queue_limits,
                lease: Duration::from_secs(settings.lease_seconds),
                connections_max: connections_max(settings, role),
                direct_url: settings.database_direct.clone(),
                look_every: LOOK_FOR_WORK_EVERY,
            };
            Ok(Arc::new(PostgresStore::open(settings).await?))
        }
        None => {
            let settings = SqliteSettings { data: settings.data.clone(), master_key, open_as, queue_limits };
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(settings)).await;
            let store = opened.map_err(|_| StoreError::Fault("opening the store panicked".to_owned()))??;
            Ok(Arc::new(store))
        }
    }
}

/// Copies the data directory that the settings name, also while a service works in it. Blocking.
pub fn back_up(
    settings: &Settings,
    (to, with_key): (&Path, bool),
    now_ms: i64,
    watcher: Watcher<'_>,
) -> Result<BackedUp, StoreError> {
    refuse_database(settings)?;
    let settings = BackupSettings { data: settings.data.clone(), to: to.to_owned(), with_key, now_ms };
    backup::backup(&settings, watcher)
}

/// Puts such a copy into the data directory that the settings name. Blocking.
pub fn restore(settings: &Settings, from: &Path, watcher: Watcher<'_>) -> Result<Restored, StoreError> {
    refuse_database(settings)?;
    backup::restore(&RestoreSettings { from: from.to_owned(), data: settings.data.clone() }, watcher)
}

fn refuse_database(settings: &Settings) -> Result<(), StoreError> {
    match settings.database {
        None => Ok(()),
        Some(_) => Err(StoreError::Refused(
            "this is for a data directory; back a database up, and restore it, with PostgreSQL's own tools (pg_dump, or \
             pgBackRest for any moment), and keep the master key apart from it"
                .to_owned(),
        )),
    }
}

fn master_key(settings: &Settings) -> MasterKeySource {
    match &settings.master_key {
        MasterKey::InData => MasterKeySource::FileOrNew(settings.data.join(MASTER_KEY_FILE)),
        MasterKey::Text(text) => MasterKeySource::Text(text.expose().to_owned().into()),
        MasterKey::File(path) => MasterKeySource::File(path.clone()),
    }
}

/// Each import holds a connection, and requests have some for themselves.
fn connections_max(settings: &Settings, role: Role) -> usize {
    match role {
        Role::Operator => OPERATOR_CONNECTIONS_MAX,
        // There are as many workers again for small files.
        Role::Serve => 2 * settings.workers.count() + REQUEST_CONNECTIONS_MAX,
    }
}

/// One side of a move.
#[derive(Clone, Debug)]
pub struct Place {
    home: HomePlace,
    master_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum HomePlace {
    Directory(PathBuf),
    Database(Secret),
}

/// A side of a move, ready to be opened.
pub(crate) struct Side {
    home: HomePlace,
    master_key: MasterKeySource,
    has_data: bool,
}

impl Place {
    /// Reads a directory, or the URL of a database; and where its master key is, if that is said.
    pub fn parse(place: &str, master_key_file: Option<PathBuf>) -> Place {
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| place.starts_with(scheme));
        let home = if is_url {
            HomePlace::Database(Secret::new(place.to_owned()))
        } else {
            HomePlace::Directory(PathBuf::from(place))
        };
        Place { home, master_key_file }
    }

    /// Whether it is a database.
    pub fn is_database(&self) -> bool {
        matches!(self.home, HomePlace::Database(_))
    }

    /// As what is moved from: nothing is made there.
    pub(crate) fn source(self, settings: &Settings) -> Side {
        let master_key = self.master_key(settings).of_existing();
        Side { home: self.home, master_key, has_data: true }
    }

    /// As what is moved into.
    pub(crate) fn target(self, settings: &Settings) -> Side {
        let master_key = self.master_key(settings);
        Side { home: self.home, master_key, has_data: false }
    }

    /// A directory has its own key, unless it has none and one is set for everything.
    fn master_key(&self, settings: &Settings) -> MasterKeySource {
        if let Some(path) = &self.master_key_file {
            return MasterKeySource::FileOrNew(path.clone());
        }
        match (&self.home, &settings.master_key) {
            (HomePlace::Directory(data), MasterKey::InData) => MasterKeySource::FileOrNew(data.join(MASTER_KEY_FILE)),
            (HomePlace::Directory(data), _) if data.join(MASTER_KEY_FILE).exists() => {
                MasterKeySource::File(data.join(MASTER_KEY_FILE))
            }
            (HomePlace::Directory(_) | HomePlace::Database(_), _) => master_key(settings),
        }
    }
}

/// Opens a side of a move.
pub(crate) async fn open_to_move(side: Side) -> Result<Box<dyn Movable>, StoreError> {
    let Side { home, master_key, has_data } = side;
    match home {
        HomePlace::Database(url) if has_data => Ok(Box::new(PostgresMovable::source(&url, master_key).await?)),
        HomePlace::Database(url) => Ok(Box::new(PostgresMovable::open(&url, master_key).await?)),
        HomePlace::Directory(data) => {
            let open = move || {
                if has_data { SqliteMovable::source(data, master_key) } else { SqliteMovable::open(data, master_key) }
            };
            let opened = tokio::task::spawn_blocking(open).await;
            Ok(Box::new(opened.map_err(|_| StoreError::Fault("opening the store panicked".to_owned()))??))
        }
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listener's certificate or its key is of no use.
    #[error(transparent)]
    Certificate(#[from] UselessPair),
    /// What signing in with a provider needs is not there.
    #[error("{0}")]
    SignIn(String),
    /// TLS cannot be set up.
    #[error("setting up TLS: {0}")]
    Tls(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// As it was asked for.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
}

/// The running service.
pub struct Service {
    address: SocketAddr,
    scheme: &'static str,
    store: Arc<dyn Store>,
    workers: Workers,
    stopping: watch::Sender<bool>,
    handle: Handle<SocketAddr>,
    server: JoinHandle<io::Result<()>>,
    /// The listener of those that watch the service; it answers until the end.
    watcher: Option<Handle<SocketAddr>>,
    keeper: JoinHandle<()>,
    drain: Duration,
}

impl Service {
    /// Opens the store, and starts workers and listener.
    pub async fn start(settings: &Settings) -> Result<Service, StartError> {
        let tls = tls(settings)?;
        let oidc = oidc_settings(settings)?;
        let at_address = |reason| StartError::Listen { address: settings.listen, reason };
        let listener = TcpListener::bind(settings.listen).map_err(at_address)?;
        let watch_listener = settings.metrics_listen.map(bind).transpose()?;
        let address = listener.local_addr().map_err(at_address)?;
        let store = open_store(settings, Role::Serve).await?;
        let oidc = oidc.map(|oidc| oidc_client(oidc, settings)).transpose()?;
        let (stopping, stopped) = watch::channel(false);
        let handle = Handle::new();
        let watcher = watch_listener.map(|listener| watch(listener, &store, &stopped)).transpose()?;
        let steady = steady_clock();
        let keeper = keep(Arc::clone(&store), kept(settings), Arc::clone(&steady), stopped.clone());
        let clocks = (clock(), steady);
        let console = console::router(
            Arc::clone(&store),
            (console_settings(settings), oidc),
            (clocks.0.clone(), clocks.1.clone()),
            stopped.clone(),
        );
        let app = router(Arc::clone(&store), http_settings(settings), clocks, stopped.clone(), console);
        let app = app.into_make_service();
        let headers_within = Duration::from_secs(settings.headers_seconds_max);
        let mut server = axum_server::from_tcp(listener)
            .map_err(at_address)?
            .handle(handle.clone())
            .first_request_timeout(headers_within);
        server.http_builder().http1().header_read_timeout(headers_within).max_buf_size(HEAD_BYTES_MAX);
        let mut http2 = server.http_builder().http2();
        http2.keep_alive_interval(headers_within).max_header_list_size(HEAD_LIST_BYTES_MAX);
        http2.max_concurrent_streams(REQUESTS_OF_CONNECTION_MAX);
        let connections = connections_within_limit(settings.connections_max);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = match tls {
            None => {
                let acceptor = BoundedAcceptor::new(NoDelayAcceptor::new(), connections, true);
                tokio::spawn(server.acceptor(acceptor).serve(app))
            }
            Some((certificate, acceptor)) => {
                keep_renewed(certificate, clock(), stopped).map_err(|fault| StartError::Tls(fault.to_string()))?;
                let acceptor = BoundedAcceptor::new(acceptor, connections, false);
                tokio::spawn(server.acceptor(acceptor).serve(app))
            }
        };
        let workers = Workers::start(&store, settings.workers.count(), clock());
        let drain = Duration::from_secs(settings.drain_seconds);
        Ok(Service { address, scheme, store, workers, stopping, handle, server, watcher, keeper, drain })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Takes no more requests, finishes those that run and the imports that have begun, and closes. What is queued stays
    /// queued; an import that takes longer than the drain time is rolled back, and carried out after the next start.
    pub async fn stop(self) {
        tracing::info!(drain_seconds = self.drain.as_secs(), "stopping");
        self.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(self.drain));
        let drained = self.workers.drain(self.drain).await;
        if let Ok(Err(fault)) = self.server.await {
            tracing::error!(%fault, "the listener failed");
        }
        if let Some(watcher) = self.watcher {
            watcher.shutdown();
        }
        // It has been told; a step that it is at may break off.
        self.keeper.abort();
        if !drained {
            tracing::warn!("imports were still running at the end of the drain time; the next start carries them out");
            return;
        }
        if let Err(fault) = self.store.close().await {
            tracing::error!(%fault, "closing the store failed");
        }
        tracing::info!("stopped");
    }
}

/// What the listener shows and how it is made of it, where it is to speak TLS.
fn tls(settings: &Settings) -> Result<Option<(Arc<Certificate>, TlsAcceptor)>, StartError> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else { return Ok(None) };
    let files = PairFiles { certificate: certificate.clone(), key: key.clone() };
    let certificate = Arc::new(Certificate::read(files, clock()())?);
    let acceptor = TlsAcceptor::new(Arc::clone(&certificate)).map_err(|fault| StartError::Tls(fault.to_string()))?;
    Ok(Some((certificate, acceptor)))
}

/// Who signs the console's users in, if a provider is set up for that.
fn oidc_settings(settings: &Settings) -> Result<Option<OidcSettings>, StartError> {
    let (Some(issuer), Some(client_id), Some(console_url)) =
        (&settings.oidc_issuer, &settings.oidc_client_id, &settings.console_url)
    else {
        return Ok(None);
    };
    Ok(Some(OidcSettings {
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        client_secret: settings.oidc_client_secret.read().map_err(StartError::SignIn)?,
        user_claim: match settings.oidc_user_claim {
            UserClaim::Email => oidc::UserClaim::Email,
            UserClaim::PreferredUsername => oidc::UserClaim::PreferredUsername,
            UserClaim::Subject => oidc::UserClaim::Subject,
        },
        label: settings.oidc_label.clone(),
        console_url: console_url.clone(),
        answer_within: oidc::ANSWER_WITHIN,
    }))
}

/// The store must be open: then there is a master key.
fn oidc_client(oidc: OidcSettings, settings: &Settings) -> Result<OidcClient, StoreError> {
    let key = secrets::MasterKey::load(&master_key(settings))?.derived(DerivedFor::SignInUnderWay)?;
    Ok(OidcClient::new(oidc, &key))
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|reason| StartError::Listen { address, reason })
}

/// Answers those that watch the service, on a listener of their own.
fn watch(
    listener: TcpListener,
    store: &Arc<dyn Store>,
    stopped: &watch::Receiver<bool>,
) -> Result<Handle<SocketAddr>, StartError> {
    let failed = |reason| StartError::Listen { address: SocketAddr::from(([0, 0, 0, 0], 0)), reason };
    let address = listener.local_addr().map_err(failed)?;
    let failed = |reason| StartError::Listen { address, reason };
    let handle = Handle::new();
    let app = watch_router(Arc::clone(store), clock(), stopped.clone());
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .handle(handle.clone())
        .first_request_timeout(WATCHERS_HEADERS_WITHIN);
    server.http_builder().http1().header_read_timeout(WATCHERS_HEADERS_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    let acceptor = BoundedAcceptor::new(NoDelayAcceptor::new(), WATCHERS_MAX, true);
    tokio::spawn(server.acceptor(acceptor).serve(app.into_make_service()));
    tracing::info!(address = %address, "metrics are told");
    Ok(handle)
}

fn http_settings(settings: &Settings) -> HttpSettings {
    HttpSettings {
        freshness: SignedDuration::from_secs(i64::try_from(settings.freshness_seconds).unwrap_or(i64::MAX)),
        body_bytes_max: settings.body_bytes_max,
        body_bytes_in_flight_max: settings.body_bytes_in_flight_max,
        stream_bytes_max: settings.stream_bytes_max,
        streams_max: usize::try_from(settings.streams_max).unwrap_or(usize::MAX),
        pause_max: Duration::from_secs(settings.body_pause_seconds_max),
        wait_max: Duration::from_secs(settings.prefer_wait_seconds_max),
        token: Allowance {
            requests_per_minute_max: settings.token_requests_per_minute_max,
            uploads_max: settings.token_uploads_max,
        },
        account: Allowance {
            requests_per_minute_max: settings.account_requests_per_minute_max,
            uploads_max: settings.account_uploads_max,
        },
    }
}

fn console_settings(settings: &Settings) -> ConsoleSettings {
    ConsoleSettings {
        url: settings.console_url.clone(),
        is_tls: settings.tls_certificate.is_some(),
        file_bytes_max: settings.stream_bytes_max,
        uploads_max: usize::try_from(settings.streams_max).unwrap_or(usize::MAX),
        pause_max: Duration::from_secs(settings.body_pause_seconds_max),
    }
}

fn kept(settings: &Settings) -> Kept {
    let days = |count: u64| Duration::from_secs(count * 24 * 60 * 60);
    Kept { payloads: days(settings.payloads_kept_days), commands: days(settings.commands_kept_days) }
}

/// The clock by which things are forgotten: it does not jump ahead.
fn steady_clock() -> Clock {
    let (clock, started) = (clock(), Instant::now());
    let steady = Mutex::new(Steady::new(clock()));
    Arc::new(move || {
        let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.believe(clock(), started.elapsed())
    })
}

fn clock() -> Clock {
    Arc::new(|| Timestamp::now().as_millisecond())
}
