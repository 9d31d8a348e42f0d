//! Named places at which a test may have the process die, as `kill -9` would: `ROSTER_CRASH_AT=<name>`.
//!
//! In builds without debug assertions there are none.

/// Dies here, if the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn crash_point(name: &str) {
    static AT: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("ROSTER_CRASH_AT").ok());
    if AT.as_deref() == Some(name) {
        std::process::abort();
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn crash_point(_: &str) {}
