//! The nodes, where they listen at the moment, and what befalls them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::Scope;
use std::time::Duration;

use super::files::Random;
use crate::harness::{Home, Service};

/// Longer than the lease of the scenes' nodes, which is a second.
const PAST_THE_LEASE: Duration = Duration::from_millis(1_300);

/// The nodes of one database.
pub(super) struct Cast {
    /// Of the operator, who is no node.
    pub(super) home: Home,
    nodes: Mutex<Vec<Arc<Mutex<Service>>>>,
    /// Where each node listens, if it does.
    addresses: Mutex<Vec<Option<String>>>,
    one_more: Condvar,
    is_over: AtomicBool,
    /// How often a node was killed, stopped and ended.
    blows: [AtomicUsize; 3],
}

impl Cast {
    pub(super) fn start(home: Home, nodes: usize) -> Cast {
        let cast = Cast {
            home,
            nodes: Mutex::default(),
            addresses: Mutex::default(),
            one_more: Condvar::new(),
            is_over: AtomicBool::new(false),
            blows: Default::default(),
        };
        (0..nodes).for_each(|_| cast.add(cast.home.beside()));
        cast
    }

    /// The address of some node that may be there; waits while there is none.
    pub(super) fn address(&self, random: &mut Random) -> String {
        let mut addresses = self.addresses.lock().unwrap();
        loop {
            let there: Vec<&String> = addresses.iter().flatten().collect();
            if !there.is_empty() {
                return random.pick(&there).clone();
            }
            addresses = self.one_more.wait(addresses).unwrap();
        }
    }

    fn publish(&self, at: usize, node: &Service) {
        self.addresses.lock().unwrap()[at] = Some(node.address.clone());
        self.one_more.notify_all();
    }

    fn hide(&self, at: usize) {
        self.addresses.lock().unwrap()[at] = None;
    }

    /// Has each node die, sleep and end, again and again, at moments of its own.
    pub(super) fn disturb<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, seed: u64) -> Chaos<'scope> {
        for (at, node) in self.nodes.lock().unwrap().iter().cloned().enumerate() {
            let mut random = Random::new(seed, 1_000_000 + at as u64);
            scope.spawn(move || {
                while !self.is_over.load(Ordering::Relaxed) {
                    // So long it lives.
                    std::thread::sleep(Duration::from_millis(100 + random.below(1_400)));
                    self.befall(at, &mut node.lock().unwrap(), &mut random);
                }
            });
        }
        Chaos(&self.is_over)
    }

    fn befall(&self, at: usize, node: &mut Service, random: &mut Random) {
        let blow = random.pick(&[0, 0, 1, 2]);
        self.blows[blow].fetch_add(1, Ordering::Relaxed);
        match blow {
            // Clients find nobody there, and a connection that ends in the middle.
            0 => node.kill(),
            1 => {
                node.signal("STOP");
                std::thread::sleep(PAST_THE_LEASE + Duration::from_millis(random.below(700)));
                node.signal("CONT");
                return;
            }
            _ => assert_eq!(node.terminate(), Some(0)),
        }
        self.hide(at);
        node.start();
        self.publish(at, node);
    }

    /// What has befallen the nodes.
    pub(super) fn story(&self) -> String {
        let [killed, stopped, ended] = self.blows.each_ref().map(|count| count.load(Ordering::Relaxed));
        format!("nodes: {killed} times killed, {stopped} times stopped, {ended} times ended")
    }

    /// Another node beside those that are there.
    pub(super) fn add(&self, home: Home) {
        let node = home.serve();
        let mut nodes = self.nodes.lock().unwrap();
        self.addresses.lock().unwrap().push(None);
        self.publish(nodes.len(), &node);
        nodes.push(Arc::new(Mutex::new(node)));
    }

    /// Ends the first node in good order; it does not come again.
    pub(super) fn end_first(&self) {
        let first = Arc::clone(&self.nodes.lock().unwrap()[0]);
        assert_eq!(first.lock().unwrap().terminate(), Some(0));
        self.hide(0);
    }

    /// Ends all nodes in good order, and nothing of them is left open in the database. (While they run, any of their own statements
    /// would look like that.)
    pub(super) fn end(self) {
        for node in self.nodes.into_inner().unwrap() {
            let mut node = node.lock().unwrap();
            if node.is_running() {
                assert_eq!(node.terminate(), Some(0));
            }
        }
        let open =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND (xact_start IS NOT NULL OR application_name LIKE 'roster import %')";
        assert_eq!(self.home.query(open), "0", "a transaction was left open");
    }
}

/// Goes on until it is ended, or whoever should end it panics.
pub(super) struct Chaos<'a>(&'a AtomicBool);

impl Chaos<'_> {
    pub(super) fn end(self) {}
}

impl Drop for Chaos<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
