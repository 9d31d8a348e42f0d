//! What clients, readers and the one who kills share: where the service is just now, whose data it is, and whether it is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::{Answer, Connection};
use crate::roster::Tenant;
use crate::sign::Signed;

/// The longest that a client waits for an answer from a service that nobody kills any more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// How long who found nobody listening waits for another word of where the service is.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long who was asked to come later does so, whatever `Retry-After` says in whole seconds.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Ground {
    /// By the place of the program.
    pub(super) tenants: Vec<Tenant>,
    address: Mutex<Option<String>>,
    moved: Condvar,
    /// Since when nobody kills it any more, and clients send no further imports.
    over_since: Mutex<Option<Instant>>,
    /// Whoever reads stops.
    pub(super) readers_stop: AtomicBool,
    /// What is wrong, as soon as somebody has seen it.
    faults: Mutex<Vec<String>>,
    /// Answers that asked to come again, by status.
    pub(super) busy: Mutex<BTreeMap<u16, u64>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ground {
    pub(super) fn new(tenants: Vec<Tenant>) -> Ground {
        Ground {
            tenants,
            address: Mutex::default(),
            moved: Condvar::new(),
            over_since: Mutex::default(),
            readers_stop: AtomicBool::new(false),
            faults: Mutex::default(),
            busy: Mutex::default(),
        }
    }

    /// Where the service is from now on.
    pub(super) fn is_at(&self, address: Option<String>) {
        *lock(&self.address) = address;
        self.moved.notify_all();
    }

    /// Nobody kills it any more.
    pub(super) fn is_over_now(&self) {
        *lock(&self.over_since) = Some(Instant::now());
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.over_since).is_some()
    }

    /// Whether it has been left alone for so long that whoever still waits does so in vain.
    pub(super) fn is_late(&self) -> bool {
        lock(&self.over_since).is_some_and(|since| since.elapsed() > ANSWERED_WITHIN)
    }

    /// Something that must not be.
    pub(super) fn tell(&self, fault: String) {
        lock(&self.faults).push(fault);
    }

    pub(super) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    fn pause(&self, most: Duration) {
        let address = lock(&self.address);
        // Whatever wakes it, it looks again.
        drop(self.moved.wait_timeout(address, most).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Somebody's connection to wherever the service is.
pub(super) struct Link<'a> {
    pub(super) ground: &'a Ground,
    connection: Option<Connection>,
    /// Requests that got no answer, and were sent again.
    pub(super) retried: u64,
}

impl<'a> Link<'a> {
    pub(super) fn new(ground: &'a Ground) -> Link<'a> {
        Link { ground, connection: None, retried: 0 }
    }

    /// Sends it once; `None` if there was no whole answer.
    pub(super) fn once(&mut self, request: &Signed) -> Option<Answer> {
        if self.connection.is_none() {
            let address = lock(&self.ground.address).clone();
            self.connection = address.and_then(|address| Connection::open(&address).ok());
        }
        let Some(connection) = &mut self.connection else {
            self.ground.pause(LOOK_AGAIN);
            return None;
        };
        let content = (request.kind, request.body.as_slice());
        let answer = connection.send_content(request.method, &request.path, &request.headers, content);
        if answer.is_err() {
            self.connection = None;
            self.retried += 1;
        }
        answer.ok()
    }

    /// Sends it, the same each time, until it is answered with anything but "later".
    pub(super) fn until_answered(&mut self, request: &Signed) -> Result<Answer, String> {
        loop {
            match self.once(request) {
                Some(answer) if matches!(answer.status, 429 | 503) => {
                    *lock(&self.ground.busy).entry(answer.status).or_default() += 1;
                    self.ground.pause(BUSY_PAUSE);
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
            if self.ground.is_late() {
                return Err(format!("{} {} is not answered any more", request.method, request.path));
            }
        }
    }

    /// Until whoever reads is to stop.
    pub(super) fn goes_on(&self) -> bool {
        !self.ground.readers_stop.load(Ordering::Relaxed)
    }
}
