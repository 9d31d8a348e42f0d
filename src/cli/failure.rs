//! What ends a command early: whose it is, and the words for it. The exit code follows from whose it is.

use std::fmt;
use std::process::ExitCode;

use crate::app::StartError;
use crate::config::ConfigError;
use crate::store::StoreError;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Exit {
    /// Everything is done.
    Done,
    /// The import ran, but rows, or the whole file, were refused.
    RowsRefused,
    /// The caller has to change something: arguments, signature, file.
    Yours,
    /// The service, the network or this program failed.
    Ours,
}

impl Exit {
    /// The documented numbers.
    pub(super) fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::RowsRefused => 1,
            Exit::Yours => 2,
            Exit::Ours => 3,
        }
    }

    /// The same, for the end of the process.
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}

/// Why a command did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// [`Exit::Yours`] or [`Exit::Ours`].
    pub(super) exit: Exit,
    text: String,
    /// For whoever has to go on from here.
    pub(super) cause: Cause,
}

/// What is known of a request that had no success.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Cause {
    /// It was no request.
    #[default]
    Other,
    /// Nobody was there: nothing can have been begun.
    NotSent,
    /// The connection broke: nobody knows what the service got.
    Unknown,
    /// What was to be sent cannot be read any more; the service got less than was promised.
    Unreadable,
    /// The service, or somebody on the way to it, answered so.
    Refused { status: u16, retry_after_seconds: Option<u64>, body: Vec<u8> },
}

impl Failure {
    /// The caller has to change something.
    pub(super) fn yours(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Yours, text: text.into(), cause: Cause::Other }
    }

    /// The service, the network or this program failed.
    pub(super) fn ours(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Ours, text: text.into(), cause: Cause::Other }
    }

    /// With what is known of the request.
    #[must_use]
    pub(super) fn of(self, cause: Cause) -> Failure {
        Failure { cause, ..self }
    }

    /// With words before it, on a line of their own.
    #[must_use]
    pub(super) fn after(self, words: &str) -> Failure {
        Failure { text: format!("{words}\n{}", self.text), ..self }
    }

    /// With a line after it.
    #[must_use]
    pub(super) fn with_remedy(self, remedy: &str) -> Failure {
        Failure { text: format!("{}\n{remedy}", self.text), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::yours(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let text = error.to_string();
        match error {
            StoreError::Refused(_) => Failure::yours(text),
            StoreError::Unavailable(_) | StoreError::LostClaim | StoreError::Cancelled(_) | StoreError::Fault(_) => {
                Failure::ours(text)
            }
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Certificate(useless) => Failure::yours(useless.to_string()),
            StartError::SignIn(what) => Failure::yours(what),
            StartError::Tls(_) => Failure::ours(error.to_string()),
            StartError::Listen { .. } => Failure::yours(error.to_string())
                .with_remedy("Give another address with --listen; port 0 takes any free one."),
        }
    }
}
