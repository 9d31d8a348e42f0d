//! What came of an import, in words: for a line of a list, and for its own page.

use super::chart::{Bar, bar};
use super::words::{self, When};
use crate::import::{Counts, Dialect, ErrorCode, Existing, ImportOptions, Limits, Mode, New, NotApplied, Report};
use crate::store::{ImportItem, Outcome};

/// So many rows of a group of errors are named.
const ROWS_NAMED_MAX: usize = 12;
/// So many examples of cells that are wrong alike.
const VALUES_SHOWN_MAX: usize = 3;

/// How good an outcome is: its colour and its sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Good,
    Bad,
    Neutral,
    Busy,
}

impl Mood {
    /// The name of its colours.
    pub(super) fn class(self) -> &'static str {
        match self {
            Mood::Good => "good",
            Mood::Bad => "bad",
            Mood::Neutral => "neutral",
            Mood::Busy => "busy",
        }
    }
}

/// An import in a list.
pub(super) struct ItemView {
    pub(super) id: String,
    pub(super) program: Option<String>,
    pub(super) from: String,
    pub(super) created: When,
    pub(super) ago: String,
    pub(super) dry_run: bool,
    pub(super) state: String,
    pub(super) mood: Mood,
    /// In a few words.
    pub(super) result: String,
}

/// `program`: its name, where the list is of several.
pub(super) fn item_view(item: &ImportItem, program: Option<&str>, now_ms: i64) -> ItemView {
    let (state, mood, result) = match &item.outcome {
        Outcome::Queued => ("Waiting".to_owned(), Mood::Busy, String::new()),
        Outcome::Running { rows } => {
            let judged = words::count(*rows, "row judged", "rows judged");
            ("Running".to_owned(), Mood::Busy, if *rows > 0 { judged } else { String::new() })
        }
        Outcome::Complete { counts, not_applied, error_count, finished_ms: _ } => {
            let (state, mood) = state_of(*not_applied, *error_count);
            (state.to_owned(), mood, in_few_words(counts, *error_count))
        }
    };
    ItemView {
        id: item.id.to_string(),
        program: program.map(str::to_owned),
        from: item.from.clone(),
        created: When(item.created_ms),
        ago: ago(now_ms.saturating_sub(item.created_ms)),
        dry_run: item.dry_run,
        state,
        mood,
        result,
    }
}

/// `3 min ago`.
pub(super) fn ago(ms: i64) -> String {
    let minutes = ms.max(0).unsigned_abs() / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1..=59 => format!("{minutes} min ago"),
        60..=2_879 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", words::number(minutes / 1_440)),
    }
}

/// How it ended, in two words.
pub(super) fn state_of(not_applied: Option<NotApplied>, error_count: u64) -> (&'static str, Mood) {
    match not_applied {
        None if error_count == 0 => ("Applied", Mood::Good),
        None => ("Applied in part", Mood::Bad),
        Some(NotApplied::DryRun) if error_count == 0 => ("Tried: fine", Mood::Neutral),
        Some(NotApplied::DryRun) => ("Tried: errors", Mood::Bad),
        Some(NotApplied::Cancelled) => ("Cancelled", Mood::Neutral),
        Some(NotApplied::TxErrors | NotApplied::TooManyErrors | NotApplied::FileError | NotApplied::Limit) => {
            ("Not applied", Mood::Bad)
        }
    }
}

fn in_few_words(counts: &Counts, error_count: u64) -> String {
    let Counts { read, added, updated, unchanged, ignored, failed } = *counts;
    if read == 0 {
        return if error_count > 0 { words::count(error_count, "error", "errors") } else { "no rows".to_owned() };
    }
    let fates =
        [(added, "added"), (updated, "updated"), (unchanged, "unchanged"), (ignored, "ignored"), (failed, "failed")];
    let told = fates.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, word)| format!("{} {word}", words::number(count))).collect::<Vec<_>>().join(", ")
}

/// The fates of rows with their counts, for the list beside the bar.
pub(super) struct CountView {
    pub(super) word: &'static str,
    pub(super) count: String,
    pub(super) meaning: &'static str,
    pub(super) is_none: bool,
}

/// Errors that are alike: of one reason, in one field.
pub(super) struct ErrorGroup {
    pub(super) field: String,
    pub(super) code: ErrorCode,
    pub(super) reason: &'static str,
    pub(super) count: String,
    /// `2, 7, 11 and 40 more`; blank where the whole file is meant.
    pub(super) rows: String,
    pub(super) message: String,
    pub(super) values: Vec<String>,
}

/// What a dry run would change in a field.
pub(super) struct ChangeView {
    pub(super) field: String,
    pub(super) count: String,
    pub(super) examples: Vec<(u64, String, String)>,
}

/// A whole report.
pub(super) struct ReportView {
    pub(super) state: &'static str,
    pub(super) mood: Mood,
    /// What it means, and what to do.
    pub(super) meaning: String,
    pub(super) bar: Vec<Bar>,
    pub(super) read: String,
    pub(super) counts: Vec<CountView>,
    pub(super) groups: Vec<ErrorGroup>,
    pub(super) error_count: u64,
    pub(super) errors: String,
    /// Where not all errors are listed: how many are.
    pub(super) listed: Option<String>,
    pub(super) has_failed_rows: bool,
    pub(super) changes: Option<Vec<ChangeView>>,
}

/// The report, for its page.
pub(super) fn report_view(report: &Report) -> ReportView {
    let Report { mode: _, counts, not_applied, errors, error_count, changes, dialect: _ } = report;
    let (state, mood) = state_of(*not_applied, *error_count);
    let changes = changes.as_ref().map(|changes| {
        let view = |change: &crate::import::FieldChanges| ChangeView {
            field: change.field.clone(),
            count: words::number(change.count),
            examples: change.examples.iter().map(|one| (one.row, one.before.clone(), one.after.clone())).collect(),
        };
        changes.iter().map(view).collect()
    });
    ReportView {
        state,
        mood,
        meaning: meaning(report),
        bar: bar(counts),
        read: words::count(counts.read, "row", "rows"),
        counts: count_views(counts),
        groups: groups(report),
        error_count: *error_count,
        errors: words::count(*error_count, "error", "errors"),
        listed: (*error_count > errors.len() as u64).then(|| words::number(errors.len() as u64)),
        has_failed_rows: errors.iter().any(|error| error.row.is_some()),
        changes,
    }
}

fn meaning(report: &Report) -> String {
    let Counts { failed, .. } = report.counts;
    let failed_rows = words::count(failed, "row", "rows");
    match report.not_applied {
        None if report.error_count == 0 => "Every row was taken. The changes are in the contacts.".to_owned(),
        None => format!(
            "The good rows are in the contacts. {failed_rows} failed and changed nothing: download them, correct them, and import the corrected file."
        ),
        Some(NotApplied::TxErrors) => {
            "Nothing was changed, because the import was to be all or nothing and there are errors. Correct the rows and import the file again.".to_owned()
        }
        Some(NotApplied::TooManyErrors) => {
            "Nothing was changed, because there are more than 1,000 errors. That is usually one mistake in the whole file: look at the groups below.".to_owned()
        }
        Some(NotApplied::FileError) => {
            "Nothing was changed, and no row was read: something is wrong with the file as a whole. Correct it and import it again.".to_owned()
        }
        Some(NotApplied::Limit) => "Nothing was changed, because a limit that was set for this import is exceeded.".to_owned(),
        Some(NotApplied::DryRun) if report.error_count == 0 => {
            "This was a dry run: nothing was changed. The counts are what the import would do now.".to_owned()
        }
        Some(NotApplied::DryRun) => format!(
            "This was a dry run: nothing was changed. {failed_rows} would fail and change nothing; the others would be applied."
        ),
        Some(NotApplied::Cancelled) => "The import was cancelled before it took effect. Nothing was changed.".to_owned(),
    }
}

fn count_views(counts: &Counts) -> Vec<CountView> {
    let Counts { read: _, added, updated, unchanged, ignored, failed } = *counts;
    let views = [
        ("added", added, "new contacts"),
        ("updated", updated, "contacts of which a field changed"),
        ("unchanged", unchanged, "contacts that already were as their rows say"),
        ("ignored", ignored, "rows that the options leave out"),
        ("failed", failed, "rows with an error"),
    ];
    let view = |(word, count, meaning)| CountView { word, count: words::number(count), meaning, is_none: count == 0 };
    views.map(view).into()
}

fn groups(report: &Report) -> Vec<ErrorGroup> {
    let mut groups: Vec<(ErrorGroup, u64, Vec<u64>)> = Vec::new();
    for error in &report.errors {
        let field = error.field.clone().unwrap_or_default();
        let code = error.code;
        let known = groups.iter().position(|(group, ..)| group.code == code && group.field == field);
        let at = known.unwrap_or_else(|| {
            groups.push((
                ErrorGroup {
                    field,
                    code,
                    reason: reason(code),
                    count: String::new(),
                    rows: String::new(),
                    message: error.message.clone(),
                    values: Vec::new(),
                },
                0,
                Vec::new(),
            ));
            groups.len() - 1
        });
        let Some((group, count, rows)) = groups.get_mut(at) else { continue };
        *count += 1;
        rows.extend(error.row);
        if let Some(value) = &error.value
            && group.values.len() < VALUES_SHOWN_MAX
            && !group.values.contains(value)
        {
            group.values.push(value.clone());
        }
    }
    // The most frequent first; what concerns the whole file before all.
    groups.sort_by_key(|(_, count, rows)| (!rows.is_empty(), std::cmp::Reverse(*count)));
    let finished = groups.into_iter().map(|(group, count, rows)| {
        let named: Vec<String> = rows.iter().take(ROWS_NAMED_MAX).map(ToString::to_string).collect();
        let more = rows.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {} more", words::number(more as u64)) } else { String::new() };
        ErrorGroup { count: words::number(count), rows: format!("{}{more}", named.join(", ")), ..group }
    });
    finished.collect()
}

/// What a code means to who has the file.
fn reason(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NoHeader => "The file has no header",
        ErrorCode::EmptyHeader => "A column has no name",
        ErrorCode::DuplicateHeader => "Two columns are one field",
        ErrorCode::UnrecognizedVariable => "A column is no field of the program",
        ErrorCode::ExistingNotInFile => "A field to update is no column of the file",
        ErrorCode::NoIdentityColumn => "No column says who a row is about",
        ErrorCode::BadQuotes => "Quotes do not fit",
        ErrorCode::BadEncoding => "The characters cannot be read",
        ErrorCode::LimitExceeded => "A limit is exceeded",
        ErrorCode::Cancelled => "Cancelled",
        ErrorCode::Internal => "A fault of the service",
        ErrorCode::CellCount => "Too many or too few cells",
        ErrorCode::InvalidValue => "Not a value of this field",
        ErrorCode::MissingValue => "A value is missing",
        ErrorCode::UnknownSignalvineId => "No contact has this id",
        ErrorCode::IdsDisagree => "Two ids of two contacts",
        ErrorCode::IdentityRequired => "The phone alone does not say who it is",
        ErrorCode::PhoneTaken => "Another contact has this phone",
        ErrorCode::DuplicateRow => "Another row is about the same contact",
    }
}

/// The options of an import in plain words.
pub(super) fn options_in_words(options: &ImportOptions) -> Vec<String> {
    let ImportOptions { new, existing, mode, dry_run, limits, form: _, columns } = options;
    let mut told = Vec::new();
    if *dry_run {
        told.push("Only tell what would be done".to_owned());
    }
    told.push(match new {
        New::Add => "Add new contacts".to_owned(),
        New::Ignore => "Leave out contacts that the program does not have".to_owned(),
    });
    told.push(match existing {
        Existing::Ignore => "Leave existing contacts as they are".to_owned(),
        Existing::Fields(fields) if fields.is_empty() => "Update no field of existing contacts".to_owned(),
        Existing::Fields(fields) => format!("Update existing contacts: {}", fields.join(", ")),
    });
    told.push(match mode {
        Mode::Row => "Apply the good rows also if others fail".to_owned(),
        Mode::Tx => "All or nothing".to_owned(),
    });
    let Limits { new_max, updated_max, failed_max } = *limits;
    for (limit, what) in [(new_max, "would be added"), (updated_max, "would be updated"), (failed_max, "fail")] {
        if let Some(limit) = limit {
            told.push(format!("Nothing if more than {} rows {what}", words::number(limit)));
        }
    }
    for (name, field) in columns.pairs() {
        told.push(match field {
            "" => format!("Leave out the column “{name}”"),
            field => format!("The column “{name}” is {field}"),
        });
    }
    told
}

/// How a file is written, in words.
pub(super) fn dialect_in_words(dialect: Dialect) -> String {
    let delimiter = match dialect.delimiter {
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        b'|' => "vertical bars".to_owned(),
        other => format!("‘{}’", char::from(other)),
    };
    let charset = dialect.charset.as_str().to_ascii_uppercase();
    format!("{charset}, cells separated by {delimiter}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::RowError;

    fn error(row: Option<u64>, field: &str, code: ErrorCode, value: &str) -> RowError {
        let message = format!("Could not parse '{value}'");
        let field = Some(field.to_owned()).filter(|field| !field.is_empty());
        RowError { row, field, code, value: Some(value.to_owned()), message }
    }

    #[test]
    fn errors_are_grouped_by_reason_and_field() {
        let mut errors: Vec<RowError> =
            (2..20).map(|row| error(Some(row), "phone", ErrorCode::InvalidValue, "nope")).collect();
        errors.push(error(Some(3), "gpa", ErrorCode::InvalidValue, "A+"));
        errors.push(error(None, "", ErrorCode::LimitExceeded, ""));
        let report = Report { error_count: 20, errors, ..Report::of_file(Mode::Row, Default::default()) };
        let told: Vec<String> = groups(&report)
            .iter()
            .map(|group| format!("{} {} {}: {}", group.count, group.field, group.reason, group.rows))
            .collect();
        assert_eq!(
            told,
            [
                "1  A limit is exceeded: ",
                "18 phone Not a value of this field: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and 6 more",
                "1 gpa Not a value of this field: 3"
            ]
        );
    }

    #[test]
    fn how_it_ended_is_told_by_two_words() {
        assert_eq!(state_of(None, 0), ("Applied", Mood::Good));
        assert_eq!(state_of(None, 3), ("Applied in part", Mood::Bad));
        for reason in NotApplied::ALL {
            assert_ne!(state_of(Some(reason), 1).1, Mood::Good, "{reason:?}");
        }
        assert_eq!(
            [0, 59_999, 60_000, 7_200_000, 172_800_000].map(ago),
            ["just now", "just now", "1 min ago", "2 h ago", "2 days ago"]
        );
    }
}
