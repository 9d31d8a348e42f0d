//! Options of a tool, `--name VALUE` or `--name`; and how a tool that has them ends.

use std::process::ExitCode;

use crate::complain;

/// Runs a tool with its options: 0 if all was as it must be, 1 if not, or if it could not be told, 2 if the options are wrong.
pub(crate) fn run_tool<W>(
    name: &str,
    usage: &str,
    wanted: Result<W, String>,
    run: impl FnOnce(&W) -> Result<bool, String>,
) -> ExitCode {
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(sentence) => {
            complain(format_args!("{sentence}\n{usage}"));
            return ExitCode::from(2);
        }
    };
    match run(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            complain(format_args!("xtask {name}: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

/// What was given, in order.
pub(crate) struct Options<'a> {
    rest: &'a [&'a str],
}

impl<'a> Options<'a> {
    pub(crate) fn new(arguments: &'a [&'a str]) -> Options<'a> {
        Options { rest: arguments }
    }

    /// The name of the next option.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let (name, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(name)
    }

    /// The value of the option that was just named.
    pub(crate) fn value(&mut self, name: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{name} needs a value"))
    }

    /// The same, as a number from `least` on.
    pub(crate) fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        least: N,
    ) -> Result<N, String> {
        let number = self.value(name)?.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("{name} is a number from {least} on"))
    }
}
