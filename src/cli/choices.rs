//! What is to be done with the rows of a file, as flags: of `roster import` and of `roster watch`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::import::{Charset, Existing, Form, ImportOptions, Limits, Mode, New};

use super::source::Source;
use super::upload::Compression;

/// What to do with the rows.
#[derive(Args, Clone, Debug)]
pub(super) struct RowArgs {
    /// What to do with contacts that the program does not have
    #[arg(long, env = "ROSTER_NEW", value_enum, default_value = "add")]
    new: NewArg,
    /// Which fields of contacts that the program has are set: 'all' columns of the file, some ('first_name,active'), or
    /// 'ignore' to leave their rows out
    #[arg(long, env = "ROSTER_EXISTING", value_name = "all|ignore|FIELDS", default_value = "all")]
    existing: String,
    /// When good rows take effect: 'row', also beside bad ones; 'tx', only if there is no error at all
    #[arg(long, env = "ROSTER_MODE", value_enum, default_value = "row")]
    mode: ModeArg,
    /// Apply nothing if more than N contacts would be added
    #[arg(long, env = "ROSTER_MAX_NEW", value_name = "N")]
    max_new: Option<u64>,
    /// Apply nothing if more than N contacts would be changed
    #[arg(long, env = "ROSTER_MAX_UPDATED", value_name = "N")]
    max_updated: Option<u64>,
    /// Apply nothing if more than N rows fail
    #[arg(long, env = "ROSTER_MAX_ERRORS", value_name = "N")]
    max_errors: Option<u64>,
}

/// How the file is written, and how it is sent.
#[derive(Args, Clone, Debug)]
pub(super) struct FileArgs {
    /// How the file's characters are written: utf-8, utf-16, utf-16be or windows-1252; a byte order mark goes over it
    /// [default: utf-8]
    #[arg(long, env = "ROSTER_CHARSET", value_name = "NAME", value_parser = charset)]
    pub(super) charset: Option<Charset>,
    /// A TOML file that says which field each column is: "Student ID" = "customer_id"; '_…' leaves a column out
    #[arg(long, env = "ROSTER_MAP", value_name = "FILE")]
    pub(super) map: Option<PathBuf>,
    /// Whether a file that is sent as it is is compressed
    #[arg(long, env = "ROSTER_COMPRESS", value_enum, default_value = "auto", hide_short_help = true)]
    pub(super) compress: Compression,
}

/// `options.new`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum NewArg {
    /// Add them
    Add,
    /// Leave their rows out
    Ignore,
}

/// `options.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ModeArg {
    /// All good rows, unless there are more than 1,000 errors
    Row,
    /// All rows or none
    Tx,
}

/// Reads a charset's name, for clap.
fn charset(name: &str) -> Result<Charset, String> {
    Charset::parse(name).ok_or_else(|| "the charsets are utf-8, utf-16, utf-16be and windows-1252".to_owned())
}

impl RowArgs {
    /// The options of an import of a file whose header has these names.
    pub(super) fn options(&self, names: &[String], form: Form) -> ImportOptions {
        let new = match self.new {
            NewArg::Add => New::Add,
            NewArg::Ignore => New::Ignore,
        };
        let mode = match self.mode {
            ModeArg::Row => Mode::Row,
            ModeArg::Tx => Mode::Tx,
        };
        let limits = Limits { new_max: self.max_new, updated_max: self.max_updated, failed_max: self.max_errors };
        let plain = ImportOptions::new(new, existing(&self.existing, names), mode);
        ImportOptions { limits, form, ..plain }
    }
}

fn existing(word: &str, names: &[String]) -> Existing {
    match word.trim() {
        "ignore" => Existing::Ignore,
        "all" => {
            let mut all: Vec<String> = Vec::new();
            for name in names.iter().filter(|name| !name.is_empty()) {
                if !all.contains(name) {
                    all.push(name.clone());
                }
            }
            Existing::Fields(all)
        }
        list => {
            let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
            Existing::Fields(names.map(str::to_owned).collect())
        }
    }
}

/// What an import does if nothing else is said: add new contacts, set all columns of known ones, good rows beside bad.
pub(super) fn default_options(csv: &str) -> ImportOptions {
    let names = Source::of_text(csv).head(None).map(|head| head.names).unwrap_or_default();
    ImportOptions::new(New::Add, existing("all", &names), Mode::Row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_is_a_word_or_names() {
        let names = |csv: &str| Source::of_text(csv).head(None).map(|head| head.names).unwrap_or_default();
        let fields = |names: &[&str]| Existing::Fields(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(existing("ignore", &names("a,b")), Existing::Ignore);
        assert_eq!(existing("all", &names("a, ,\"b c\"\n1,2,3")), fields(&["a", "b c"]));
        assert_eq!(existing("all", &names("phone,, ,phone,_row")), fields(&["phone", "_row"]));
        assert_eq!(existing("all", &names("\"never closed,b\nc")), fields(&[]));
        assert_eq!(existing("b, a,", &names("a,b")), fields(&["b", "a"]));
        assert_eq!(existing("", &names("a,b")), fields(&[]));
    }
}
