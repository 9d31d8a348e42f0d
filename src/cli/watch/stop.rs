//! How a watcher is asked to stop, and how it waits meanwhile.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cli::failure::{Exit, Failure};
use crate::cli::operator::runtime;
use crate::cli::serve::Signals;

/// Whether somebody asked.
#[derive(Clone)]
pub(super) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// From now on SIGTERM and SIGINT ask for it; a second one ends the process at once.
    pub(super) fn listen() -> Result<Stop, Failure> {
        let stop = Stop(Arc::default());
        let runtime = runtime()?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::listen()?
        };
        let asked = stop.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                asked.ask();
                signals.next().await;
                // At whatever place: the next one goes on from there.
                std::process::exit(Exit::Ours.number().into());
            });
        });
        Ok(stop)
    }

    fn ask(&self) {
        let (asked, told) = &*self.0;
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        told.notify_all();
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but no longer than until it is asked for.
    pub(super) fn pause(&self, pause: Duration) {
        let (asked, told) = &*self.0;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        drop(told.wait_timeout_while(asked, pause, |asked| !*asked));
    }
}
