//! Connections: how one is made to whichever of the hosts can be written to, and what it tells beside its answers.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::translate;
use super::target::{Target, TargetHost};
use super::tls;
use crate::store::StoreError;

/// How long one host may be silent before the next one is asked too. It may still be the first to answer.
const NEXT_HOST_AFTER: Duration = Duration::from_millis(250);

/// A connection to the database.
pub(super) struct Session {
    client: Client,
    unconfirmed: Arc<AtomicBool>,
    task: JoinHandle<()>,
    is_given_up: bool,
}

impl Session {
    /// Closes it, whatever it is busy with; the pool hands it out no more.
    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
        self.task.abort();
    }

    /// Whether, since it was asked last, a commit was acknowledged that no standby is known to have. (PostgreSQL
    /// acknowledges it with no more than a warning, when the wait for the standby was cancelled.)
    pub(super) fn take_unconfirmed(&self) -> bool {
        self.unconfirmed.swap(false, Ordering::AcqRel)
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Also one that hangs: the other end sees it closed.
        self.task.abort();
    }
}

/// Makes connections for the pool.
pub(super) struct Sessions {
    hosts: Vec<TargetHost>,
    tls: MakeRustlsConnect,
    /// The place of the host that could be written to last: it is asked first.
    primary: AtomicUsize,
}

impl Sessions {
    pub(super) fn new(target: Target) -> Result<Sessions, StoreError> {
        let Target { hosts, trust } = target;
        Ok(Sessions { hosts, tls: tls::connector(&trust)?, primary: AtomicUsize::new(0) })
    }

    /// Asks the hosts one after the other, and does not wait for a silent one before it asks the next: a machine that is
    /// gone answers nothing at all, and would otherwise take up all the time that there is.
    /// `heard` gets what other sessions notify this one of; what does not find room is dropped.
    pub(super) async fn connect(&self, heard: Option<mpsc::Sender<String>>) -> Result<Session, StoreError> {
        let first = self.primary.load(Ordering::Relaxed);
        let mut places = (0..self.hosts.len()).map(|at| (first + at) % self.hosts.len());
        let mut tries = JoinSet::new();
        let mut failures = Vec::new();
        loop {
            let next = places.next();
            let is_last = next.is_none();
            if let Some((place, host)) = next.and_then(|place| Some((place, self.hosts.get(place)?.clone()))) {
                let (tls, heard) = (self.tls.clone(), heard.clone());
                tries.spawn(async move { (place, open(&host, tls, heard).await) });
            }
            let ended = tokio::select! {
                ended = tries.join_next() => ended,
                () = tokio::time::sleep(NEXT_HOST_AFTER), if !is_last => continue,
            };
            match ended {
                Some(Ok((place, Ok(session)))) => {
                    self.primary.store(place, Ordering::Relaxed);
                    return Ok(session);
                }
                Some(Ok((_, Err(failure)))) => failures.push(failure),
                Some(Err(_)) => failures.push(StoreError::Fault("connecting to the database panicked".to_owned())),
                None if is_last => return Err(of_all(failures)),
                None => {}
            }
        }
    }
}

/// What is told when no host would do. What an operator can mend comes before what may pass.
fn of_all(failures: Vec<StoreError>) -> StoreError {
    let sentences: Vec<String> = failures
        .iter()
        .map(|failure| match failure {
            StoreError::Unavailable(sentence) | StoreError::Refused(sentence) | StoreError::Fault(sentence) => {
                sentence.clone()
            }
            StoreError::LostClaim | StoreError::Cancelled(_) => failure.to_string(),
        })
        .collect();
    let sentences = format!("connecting to the database: {}", sentences.join("; "));
    let any = |wanted: fn(&StoreError) -> bool| failures.iter().any(wanted);
    if any(|failure| matches!(failure, StoreError::Refused(_))) {
        StoreError::Refused(sentences)
    } else if any(|failure| matches!(failure, StoreError::Unavailable(_))) {
        StoreError::Unavailable(sentences)
    } else {
        StoreError::Fault(sentences)
    }
}

async fn open(
    host: &TargetHost,
    tls: MakeRustlsConnect,
    heard: Option<mpsc::Sender<String>>,
) -> Result<Session, StoreError> {
    match host.config.connect(tls).await {
        Ok((client, connection)) => {
            let unconfirmed = Arc::new(AtomicBool::new(false));
            let task = tokio::spawn(drive(connection, Arc::clone(&unconfirmed), heard));
            Ok(Session { client, unconfirmed, task, is_given_up: false })
        }
        Err(error) => match tls::complaint(&error) {
            Some(complaint) => Err(StoreError::Refused(format!("{}: {complaint}", host.name))),
            None => Err(translate(&host.name, &error)),
        },
    }
}

/// Carries what is sent and what comes, until either end closes. A warning comes before the answer that it is about.
async fn drive<T>(
    mut connection: Connection<Socket, T>,
    unconfirmed: Arc<AtomicBool>,
    heard: Option<mpsc::Sender<String>>,
) where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                // Without a code of its own: which warning it is, is only in its words, and these are in any language.
                if notice.parsed_severity() == Some(Severity::Warning) && *notice.code() == SqlState::WARNING {
                    unconfirmed.store(true, Ordering::Release);
                    tracing::warn!("the database warns: {}", notice.message());
                }
            }
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Some(heard) = &heard {
                    let _ = heard.try_send(notification.payload().to_owned());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the database ended");
                return;
            }
            None => return,
        }
    }
}

impl Manager for Sessions {
    type Type = Session;
    type Error = StoreError;

    async fn create(&self) -> Result<Session, StoreError> {
        self.connect(None).await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<StoreError> {
        if session.is_given_up || session.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        // What was not asked for by who had it before is no concern of the next one.
        session.take_unconfirmed();
        Ok(())
    }
}
