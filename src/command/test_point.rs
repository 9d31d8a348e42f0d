//! Named places at which a test may take hold of the process.
//!
//! `ROSTER_CRASH_AT=<name>`: it dies there, as by `kill -9`; with `<name>:<n>` it does so when it comes there for the n-th
//! time. `ROSTER_PANIC_AT=<name>`: it panics there, as by a mistake of ours. `ROSTER_HOLD_AT=<name>` with
//! `ROSTER_HOLD_FILE=<path>`: it waits there for as long as that file exists. In builds without debug assertions there are
//! no such places, unless they are made with the feature `test-points`, as `cargo xtask torture` makes one.

#[cfg(any(debug_assertions, feature = "test-points"))]
use std::sync::atomic::{AtomicU32, Ordering};

/// How often the process has come to the place at which it is to die.
#[cfg(any(debug_assertions, feature = "test-points"))]
static COME_BY: AtomicU32 = AtomicU32::new(0);

/// Dies, panics or waits here, if the environment says so.
#[cfg(any(debug_assertions, feature = "test-points"))]
#[allow(clippy::panic, reason = "it is asked to")]
pub(crate) fn test_point(name: &str) {
    if std::env::var("ROSTER_CRASH_AT").is_ok_and(|at| is_time(&at, name)) {
        std::process::abort();
    }
    let is_here = |variable: &str| std::env::var_os(variable).is_some_and(|at| at == name);
    if is_here("ROSTER_PANIC_AT") {
        panic!("asked to panic at {name}");
    }
    if is_here("ROSTER_HOLD_AT") {
        let file = std::env::var_os("ROSTER_HOLD_FILE").unwrap_or_default();
        while std::path::Path::new(&file).exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// Whether it is to die at this place, `at` being `<name>` or `<name>:<n>`, now that it comes there.
#[cfg(any(debug_assertions, feature = "test-points"))]
fn is_time(at: &str, name: &str) -> bool {
    let (place, times) = at.split_once(':').unwrap_or((at, "1"));
    place == name && COME_BY.fetch_add(1, Ordering::Relaxed) + 1 == times.parse().unwrap_or(1)
}

/// Nothing, in a release.
#[cfg(not(any(debug_assertions, feature = "test-points")))]
pub(crate) fn test_point(_: &str) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_when_the_place_is_come_to_often_enough() {
        let times = |name: &str| is_time("here:3", name);
        assert!(!times("here") && !times("there") && !times("here"));
        assert!(times("here"));
        assert!(!times("here"), "only once");
    }
}
