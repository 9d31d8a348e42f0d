//! The options of an import, as values that can only be valid.

use super::columns::Columns;
use super::form::Form;

/// What to do with contacts of the file that the program does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum New {
    /// Add them.
    Add,
    /// Leave their rows out.
    Ignore,
}

/// What to do with contacts that the program has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Existing {
    /// Leave their rows out.
    Ignore,
    /// Set just these fields, by name; it may be none at all.
    Fields(Vec<String>),
}

/// When the good rows of a file take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// All that are good, unless there are more than [`super::ERRORS_MAX`] errors.
    Row,
    /// All or none.
    Tx,
}

impl Mode {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Row => "row",
            Mode::Tx => "tx",
        }
    }
}

/// How an import treats the rows of its file. (`absent` is always `ignore`: contacts that the file lacks are left alone.)
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportOptions {
    /// Contacts that the program does not have.
    pub new: New,
    /// Contacts that it has.
    pub existing: Existing,
    /// Good rows beside bad ones.
    pub mode: Mode,
    /// Whether it only tells what it would do.
    pub dry_run: bool,
    /// What it may do at most.
    pub limits: Limits,
    /// How its file is written.
    pub form: Form,
    /// What its columns mean, where the header has other names.
    pub columns: Columns,
}

/// Guard rails, in rows: an import of which a count is above its limit takes no effect. `None`: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The most rows that may add a contact.
    pub new_max: Option<u64>,
    /// The most rows that may change a contact.
    pub updated_max: Option<u64>,
    /// The most rows that may fail.
    pub failed_max: Option<u64>,
}

impl ImportOptions {
    /// The options that every request has; what more there is, at its start.
    pub fn new(new: New, existing: Existing, mode: Mode) -> ImportOptions {
        let (limits, columns) = (Limits::default(), Columns::default());
        ImportOptions { new, existing, mode, dry_run: false, limits, form: Form::Json, columns }
    }
}
