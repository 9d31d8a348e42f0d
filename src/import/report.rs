//! What happened to every row: counts that add up, and all errors with row, field and reason.

use super::form::{Charset, Dialect};
use super::options::{ImportOptions, Limits, Mode};
use super::sample::FieldChanges;

/// The most errors that a row-mode import may have and still be applied; also the most that a report lists.
pub const ERRORS_MAX: u64 = 1_000;

/// The longest part of a cell that a report repeats, in characters; longer ones end in `…`. A file may hold cells of
/// megabytes, and a report a thousand of them.
pub const VALUE_CHARS_MAX: usize = 1_000;

/// What is wrong with a file or a row. The words are the contract's and stable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// The file has no header.
    NoHeader,
    /// A column of the header has no name.
    EmptyHeader,
    /// Two columns have one name.
    DuplicateHeader,
    /// A column is no field of the program.
    UnrecognizedVariable,
    /// `existing` names a field that is no column.
    ExistingNotInFile,
    /// No column tells who a row is about.
    NoIdentityColumn,
    /// A quote is never closed (file), or there is text after a closing quote (row).
    BadQuotes,
    /// The file is not UTF-8.
    BadEncoding,
    /// A count is above the limit that the request set.
    LimitExceeded,
    /// Somebody cancelled it.
    Cancelled,
    /// A fault of ours.
    Internal,
    /// A record has more or fewer cells than the header.
    CellCount,
    /// A cell says nothing that its type knows.
    InvalidValue,
    /// A cell is blank that may not be.
    MissingValue,
    /// No contact of the program has this id.
    UnknownSignalvineId,
    /// The two ids belong to two contacts.
    IdsDisagree,
    /// The phone is known, and is no proof of identity.
    IdentityRequired,
    /// Another contact has the phone.
    PhoneTaken,
    /// An earlier row is about the same contact.
    DuplicateRow,
}

impl ErrorCode {
    /// Every code with its word: the one table.
    pub const ALL: [(ErrorCode, &'static str); 19] = [
        (ErrorCode::NoHeader, "no_header"),
        (ErrorCode::EmptyHeader, "empty_header"),
        (ErrorCode::DuplicateHeader, "duplicate_header"),
        (ErrorCode::UnrecognizedVariable, "unrecognized_variable"),
        (ErrorCode::ExistingNotInFile, "existing_not_in_file"),
        (ErrorCode::NoIdentityColumn, "no_identity_column"),
        (ErrorCode::BadQuotes, "bad_quotes"),
        (ErrorCode::BadEncoding, "bad_encoding"),
        (ErrorCode::LimitExceeded, "limit_exceeded"),
        (ErrorCode::Cancelled, "cancelled"),
        (ErrorCode::Internal, "internal"),
        (ErrorCode::CellCount, "cell_count"),
        (ErrorCode::InvalidValue, "invalid_value"),
        (ErrorCode::MissingValue, "missing_value"),
        (ErrorCode::UnknownSignalvineId, "unknown_signalvine_id"),
        (ErrorCode::IdsDisagree, "ids_disagree"),
        (ErrorCode::IdentityRequired, "identity_required"),
        (ErrorCode::PhoneTaken, "phone_taken"),
        (ErrorCode::DuplicateRow, "duplicate_row"),
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("internal", |(_, word)| word)
    }

    /// The code of a word.
    pub fn parse(word: &str) -> Option<ErrorCode> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(code, _)| *code)
    }
}

/// Why a report was not applied. Where several reasons hold, the first of them, in this order; so that a dry run whose import would
/// not be applied says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotApplied {
    /// One or more errors in `tx` mode.
    TxErrors,
    /// More than [`ERRORS_MAX`] errors in `row` mode.
    TooManyErrors,
    /// The file as a whole is wrong; its rows were not judged.
    FileError,
    /// A count is above the limit that the request set.
    Limit,
    /// It was only to be told what would be done.
    DryRun,
    /// Somebody cancelled it; its rows do not count.
    Cancelled,
}

impl NotApplied {
    /// All of them.
    pub const ALL: [NotApplied; 6] = [
        NotApplied::TxErrors,
        NotApplied::TooManyErrors,
        NotApplied::FileError,
        NotApplied::Limit,
        NotApplied::DryRun,
        NotApplied::Cancelled,
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            NotApplied::TxErrors => "tx_errors",
            NotApplied::TooManyErrors => "too_many_errors",
            NotApplied::FileError => "file_error",
            NotApplied::Limit => "limit",
            NotApplied::DryRun => "dry_run",
            NotApplied::Cancelled => "cancelled",
        }
    }

    /// The reason of a word.
    pub fn parse(word: &str) -> Option<NotApplied> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// How many rows met which fate. `read` is kept apart and must be the sum of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Records after the header.
    pub read: u64,
    /// New contacts.
    pub added: u64,
    /// Contacts of which a field changed.
    pub updated: u64,
    /// Contacts that already were as their rows say.
    pub unchanged: u64,
    /// Rows that the options leave out.
    pub ignored: u64,
    /// Rows with an error.
    pub failed: u64,
}

impl Counts {
    /// The conservation law: every row that was read has exactly one fate.
    pub fn add_up(&self) -> bool {
        self.read == self.added + self.updated + self.unchanged + self.ignored + self.failed
    }
}

/// One thing that is wrong, with the place where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowError {
    /// The record's number as a spreadsheet shows it (the header is row 1); none where the whole file is meant.
    pub row: Option<u64>,
    /// The column's name, where one column is meant.
    pub field: Option<String>,
    /// The stable word.
    pub code: ErrorCode,
    /// The cell as it stands in the file, at most [`VALUE_CHARS_MAX`] characters of it.
    pub value: Option<String>,
    /// A sentence for people.
    pub message: String,
}

/// What is wrong with a file as a whole: the first [`ERRORS_MAX`] errors, and how many there are. A header of commas alone
/// has millions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileErrors {
    errors: Vec<RowError>,
    count: u64,
}

impl FileErrors {
    /// All errors.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether further errors are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() as u64 >= ERRORS_MAX
    }

    /// Notes an error.
    pub(super) fn add(&mut self, code: ErrorCode, field: Option<&str>, message: impl FnOnce() -> String) {
        self.count += 1;
        if !self.is_full() {
            let field = field.map(shortened);
            self.errors.push(RowError { row: None, field, code, value: None, message: message() });
        }
    }

    /// Notes a quote that opens in this row and is never closed.
    pub fn add_unclosed_quote(&mut self, row: u64) {
        self.add(ErrorCode::BadQuotes, None, || format!("The quote that opens in row {row} is never closed"));
    }

    /// Notes that this row is longer than any can be.
    pub fn add_long_record(&mut self, row: u64) {
        self.add(ErrorCode::BadQuotes, None, || {
            format!("Row {row} is longer than 64 MiB; a quote may be open in it, or its line ends are missing")
        });
    }

    /// Notes that the file is not in its charset from this byte on.
    pub fn add_bad_encoding(&mut self, charset: Charset, offset: u64) {
        let name = charset.as_str().to_ascii_uppercase();
        self.add(ErrorCode::BadEncoding, None, || format!("The file is not {name}: see the byte at offset {offset}"));
    }
}

/// The result of an import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// As asked.
    pub mode: Mode,
    /// What each row did, or would have done.
    pub counts: Counts,
    /// `None`: it took effect.
    pub not_applied: Option<NotApplied>,
    /// The first [`ERRORS_MAX`] errors, file-level first, then by row and column.
    pub errors: Vec<RowError>,
    /// All errors.
    pub error_count: u64,
    /// Of a dry run: what it would change in contacts that the program has, in the order of the file's columns.
    pub changes: Option<Vec<FieldChanges>>,
    /// Of a file that came as it is: how it was read.
    pub dialect: Option<Dialect>,
}

impl Report {
    /// The report of an import that read no rows, because its file is wrong as a whole.
    pub fn of_file(mode: Mode, errors: FileErrors) -> Report {
        let FileErrors { errors, count } = errors;
        let not_applied = Some(NotApplied::FileError);
        Report {
            mode,
            counts: Counts::default(),
            not_applied,
            errors,
            error_count: count,
            changes: None,
            dialect: None,
        }
    }

    /// The report of an import that was cancelled, by whom.
    pub fn of_cancellation(mode: Mode, by: &str) -> Report {
        let mut errors = FileErrors::default();
        errors.add(ErrorCode::Cancelled, None, || format!("The import was cancelled by {}", shortened(by)));
        Report { not_applied: Some(NotApplied::Cancelled), ..Report::of_file(mode, errors) }
    }

    /// The report of an import that could not be done because of a fault of ours, found in the log by `incident`.
    pub fn of_fault(mode: Mode, incident: &str) -> Report {
        let mut errors = FileErrors::default();
        errors.add(ErrorCode::Internal, None, || {
            format!("The import could not be carried out because of a fault of the service; nothing was applied. Incident {incident}.")
        });
        Report::of_file(mode, errors)
    }

    /// Whether it took effect.
    pub fn applied(&self) -> bool {
        self.not_applied.is_none()
    }

    /// One sentence: what was done, and the first error if there is one.
    pub fn summary(&self) -> String {
        let Counts { read, added, updated, unchanged, ignored, failed } = self.counts;
        let rows = if read == 1 { "row" } else { "rows" };
        let fates = format!(
            "{read} {rows} read: {added} added, {updated} updated, {unchanged} unchanged, {ignored} ignored, {failed} failed"
        );
        let effect = match self.not_applied {
            None => "",
            Some(NotApplied::TxErrors) => "; nothing was applied, because a tx import takes effect only without errors",
            Some(NotApplied::TooManyErrors) => "; nothing was applied, because there are more than 1,000 errors",
            Some(NotApplied::FileError) => "; nothing was applied, because the file as a whole was refused",
            Some(NotApplied::Limit) => "; nothing was applied, because a limit of the request is exceeded",
            Some(NotApplied::DryRun) => "; nothing was applied, because this was a dry run",
            Some(NotApplied::Cancelled) => "; nothing was applied, because it was cancelled",
        };
        match self.errors.first() {
            None => format!("{fates}{effect}."),
            Some(first) => {
                let place = first.row.map(|row| format!(", row {row}")).unwrap_or_default();
                let count = self.error_count;
                let which = if count == 1 { "1 error".to_owned() } else { format!("{count} errors, the first") };
                format!("{fates}{effect}; {which}{place}: {}", first.message)
            }
        }
    }
}

/// Collects fates and errors while the rows go by.
#[derive(Debug)]
pub struct ReportBuilder {
    mode: Mode,
    dry_run: bool,
    limits: Limits,
    counts: Counts,
    errors: Vec<RowError>,
    error_count: u64,
}

impl ReportBuilder {
    /// An empty one.
    pub fn new(options: &ImportOptions) -> ReportBuilder {
        let ImportOptions { mode, dry_run, limits, new: _, existing: _, form: _, columns: _ } = *options;
        ReportBuilder { mode, dry_run, limits, counts: Counts::default(), errors: Vec::new(), error_count: 0 }
    }

    /// The counts so far, to be added to.
    pub fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The rows read so far.
    pub fn rows_read(&self) -> u64 {
        self.counts.read
    }

    /// Notes an error; beyond [`ERRORS_MAX`] it is counted, and `error` is not even made.
    pub fn error(&mut self, error: impl FnOnce() -> RowError) {
        self.error_count += 1;
        if self.errors.len() < ERRORS_MAX as usize {
            self.errors.push(error());
        }
    }

    /// The report: `row` and `tx` differ in this one decision. `changes` are those of a dry run.
    pub fn finish(self, changes: Vec<FieldChanges>) -> Report {
        let ReportBuilder { mode, dry_run, limits, counts, mut errors, error_count } = self;
        let exceeded = exceeded(limits, counts);
        let not_applied = match mode {
            Mode::Tx if error_count > 0 => Some(NotApplied::TxErrors),
            Mode::Row if error_count > ERRORS_MAX => Some(NotApplied::TooManyErrors),
            Mode::Tx | Mode::Row if !exceeded.is_empty() => Some(NotApplied::Limit),
            Mode::Tx | Mode::Row => dry_run.then_some(NotApplied::DryRun),
        };
        let error_count = error_count + exceeded.len() as u64;
        // What concerns the whole file goes first.
        errors.splice(0..0, exceeded);
        errors.truncate(ERRORS_MAX as usize);
        Report { mode, counts, not_applied, errors, error_count, changes: dry_run.then_some(changes), dialect: None }
    }
}

/// An error for each count that is above its limit.
fn exceeded(limits: Limits, counts: Counts) -> Vec<RowError> {
    let Limits { new_max, updated_max, failed_max } = limits;
    let rails = [
        ("maxNew", new_max, counts.added, "add a contact"),
        ("maxUpdated", updated_max, counts.updated, "change a contact"),
        ("maxErrors", failed_max, counts.failed, "fail"),
    ];
    let over = rails.into_iter().filter_map(|(name, most, count, what)| {
        let most = most.filter(|most| count > *most)?;
        let rows = if count == 1 { "row" } else { "rows" };
        let message = format!("{count} {rows} would {what}; the limit {name} is {most}");
        Some(RowError { row: None, field: None, code: ErrorCode::LimitExceeded, value: None, message })
    });
    over.collect()
}

/// At most [`VALUE_CHARS_MAX`] characters of a text; `…` where something was left out.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
