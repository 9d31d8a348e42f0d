//! Where log lines go: standard error, as text for people or as JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

use super::failure::Failure;

/// What is logged where the settings leave it to the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DefaultLevel {
    /// A service tells what it does.
    Info,
    /// A command that somebody waits for only warns.
    Warn,
}

/// Starts logging, for the rest of the process.
pub(super) fn start(settings: &Settings, default: DefaultLevel) -> Result<(), Failure> {
    let fallback = match default {
        DefaultLevel::Info => "info",
        DefaultLevel::Warn => "warn",
    };
    let level = settings.log_level.as_deref().unwrap_or(fallback);
    let filter = EnvFilter::try_new(level).map_err(|error| Failure::yours(format!("log_level = {level}: {error}")))?;
    // A line that cannot be written (the log is on a full disk) is lost. To complain of it on standard error would fail the same way, and
    // that is a panic: of a request, a worker, or the one thread that writes the catalogue.
    let subscriber =
        tracing_subscriber::fmt().log_internal_errors(false).with_writer(io::stderr).with_env_filter(filter);
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let started = match settings.log_format {
        LogFormat::Text => subscriber.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => subscriber.with_ansi(false).json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::ours(format!("cannot start logging: {error}")))
}
