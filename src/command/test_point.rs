//! Named places at which a test may take hold of the process.
//!
//! `ROSTER_CRASH_AT=<name>`: it dies there, as by `kill -9`. `ROSTER_PANIC_AT=<name>`: it panics there, as by a mistake of
//! ours. `ROSTER_HOLD_AT=<name>` with `ROSTER_HOLD_FILE=<path>`: it waits there for as long as that file exists. In builds
//! without debug assertions there are no such places.

/// Dies, panics or waits here, if the environment says so.
#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "it is asked to")]
pub(crate) fn test_point(name: &str) {
    let is_here = |variable: &str| std::env::var_os(variable).is_some_and(|at| at == name);
    if is_here("ROSTER_CRASH_AT") {
        std::process::abort();
    }
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

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn test_point(_: &str) {}
