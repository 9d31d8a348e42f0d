//! Options and reports as they are kept: JSON with its version in the tag. Shared by both homes of the data.
//!
//! These are not the types of the wire, nor those of the import: a stored report must still be read when either has moved
//! on. A change that old rows do not fit gets a new tag beside the old one.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::import::{Counts, ErrorCode, Existing, ImportOptions, Mode, New, NotApplied, Report, RowError};

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum OptionsRecord {
    #[serde(rename = "1")]
    V1 { new: NewWord, existing: ExistingRecord, mode: ModeWord },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewWord {
    Add,
    Ignore,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ExistingRecord {
    Ignore,
    Fields(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeWord {
    Row,
    Tx,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum ReportRecord {
    #[serde(rename = "1")]
    V1 {
        mode: ModeWord,
        counts: CountsRecord,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        not_applied: Option<NotAppliedWord>,
        error_count: u64,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        errors: Vec<ErrorRecord>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NotAppliedWord {
    TxErrors,
    TooManyErrors,
    FileError,
}

#[derive(Serialize, Deserialize)]
struct CountsRecord {
    read: u64,
    added: u64,
    updated: u64,
    unchanged: u64,
    ignored: u64,
    failed: u64,
}

#[derive(Serialize, Deserialize)]
struct ErrorRecord {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    row: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    field: Option<String>,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    value: Option<String>,
    message: String,
}

/// The options, to be kept.
pub(crate) fn options_to_json(options: &ImportOptions) -> Result<String, StoreError> {
    let ImportOptions { new, existing, mode } = options;
    let new = match new {
        New::Add => NewWord::Add,
        New::Ignore => NewWord::Ignore,
    };
    let existing = match existing {
        Existing::Ignore => ExistingRecord::Ignore,
        Existing::Fields(fields) => ExistingRecord::Fields(fields.clone()),
    };
    print("options", &OptionsRecord::V1 { new, existing, mode: ModeWord::from(*mode) })
}

/// The options, as they were kept.
pub(crate) fn options_from_json(json: &str) -> Result<ImportOptions, StoreError> {
    let OptionsRecord::V1 { new, existing, mode } = parse("options", json)?;
    let new = match new {
        NewWord::Add => New::Add,
        NewWord::Ignore => New::Ignore,
    };
    let existing = match existing {
        ExistingRecord::Ignore => Existing::Ignore,
        ExistingRecord::Fields(fields) => Existing::Fields(fields),
    };
    Ok(ImportOptions { new, existing, mode: Mode::from(mode) })
}

/// A report, to be kept. One whose counts do not add up is a fault of ours and is not kept.
pub(crate) fn report_to_json(report: &Report) -> Result<String, StoreError> {
    let Report { mode, counts, not_applied, errors, error_count } = report;
    if !counts.add_up() {
        return Err(StoreError::Fault(format!("the counts of a report do not add up: {counts:?}")));
    }
    let Counts { read, added, updated, unchanged, ignored, failed } = *counts;
    let not_applied = not_applied.map(|reason| match reason {
        NotApplied::TxErrors => NotAppliedWord::TxErrors,
        NotApplied::TooManyErrors => NotAppliedWord::TooManyErrors,
        NotApplied::FileError => NotAppliedWord::FileError,
    });
    let record = ReportRecord::V1 {
        mode: ModeWord::from(*mode),
        counts: CountsRecord { read, added, updated, unchanged, ignored, failed },
        not_applied,
        error_count: *error_count,
        errors: errors.iter().map(ErrorRecord::from).collect(),
    };
    print("report", &record)
}

/// A report, as it was kept.
pub(crate) fn report_from_json(json: &str) -> Result<Report, StoreError> {
    let ReportRecord::V1 { mode, counts, not_applied, error_count, errors } = parse("report", json)?;
    let CountsRecord { read, added, updated, unchanged, ignored, failed } = counts;
    Ok(Report {
        mode: Mode::from(mode),
        counts: Counts { read, added, updated, unchanged, ignored, failed },
        not_applied: not_applied.map(|word| match word {
            NotAppliedWord::TxErrors => NotApplied::TxErrors,
            NotAppliedWord::TooManyErrors => NotApplied::TooManyErrors,
            NotAppliedWord::FileError => NotApplied::FileError,
        }),
        errors: errors.into_iter().map(RowError::try_from).collect::<Result<_, _>>()?,
        error_count,
    })
}

impl From<Mode> for ModeWord {
    fn from(mode: Mode) -> ModeWord {
        match mode {
            Mode::Row => ModeWord::Row,
            Mode::Tx => ModeWord::Tx,
        }
    }
}

impl From<ModeWord> for Mode {
    fn from(mode: ModeWord) -> Mode {
        match mode {
            ModeWord::Row => Mode::Row,
            ModeWord::Tx => Mode::Tx,
        }
    }
}

impl From<&RowError> for ErrorRecord {
    fn from(error: &RowError) -> ErrorRecord {
        let RowError { row, field, code, value, message } = error;
        ErrorRecord {
            row: *row,
            field: field.clone(),
            code: code.as_str().to_owned(),
            value: value.clone(),
            message: message.clone(),
        }
    }
}

impl TryFrom<ErrorRecord> for RowError {
    type Error = StoreError;

    fn try_from(record: ErrorRecord) -> Result<RowError, StoreError> {
        let ErrorRecord { row, field, code, value, message } = record;
        let code = ErrorCode::parse(&code)
            .ok_or_else(|| StoreError::Fault(format!("a stored report has an unknown error code '{code}'")))?;
        Ok(RowError { row, field, code, value, message })
    }
}

fn print(what: &str, record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError::Fault(format!("printing a stored {what}: {error}")))
}

fn parse<'a, T: Deserialize<'a>>(what: &str, json: &'a str) -> Result<T, StoreError> {
    // Of serde's error only the kind and place are told: its words may repeat contact data.
    serde_json::from_str(json).map_err(|error| {
        StoreError::Fault(format!("a stored {what} is unreadable: {:?} at column {}", error.classify(), error.column()))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn options_read_back_as_they_were() {
        for existing in [Existing::Ignore, Existing::Fields(vec![]), Existing::Fields(vec!["a".into(), "\"ä\"".into()])]
        {
            for (new, mode) in [(New::Add, Mode::Row), (New::Ignore, Mode::Tx)] {
                let options = ImportOptions { new, existing: existing.clone(), mode };
                let json = options_to_json(&options).expect("printed");
                assert_eq!(options_from_json(&json).expect("read"), options, "{json}");
            }
        }
    }

    fn report(not_applied: Option<NotApplied>) -> Report {
        let errors = ErrorCode::ALL.map(|(code, _)| RowError {
            row: Some(2).filter(|_| code != ErrorCode::NoHeader),
            field: Some("honors".to_owned()).filter(|_| code != ErrorCode::CellCount),
            code,
            value: Some("sure\u{1} \"why\" not".to_owned()).filter(|_| code != ErrorCode::MissingValue),
            message: "No.".to_owned(),
        });
        let counts = Counts { read: 15, added: 1, updated: 2, unchanged: 3, ignored: 4, failed: 5 };
        Report { mode: Mode::Row, counts, not_applied, error_count: 1_234, errors: errors.to_vec() }
    }

    #[test]
    fn reports_read_back_as_they_were() {
        let reasons = [NotApplied::TxErrors, NotApplied::TooManyErrors, NotApplied::FileError];
        for not_applied in reasons.into_iter().map(Some).chain([None]) {
            let report = report(not_applied);
            let json = report_to_json(&report).expect("printed");
            assert_eq!(report_from_json(&json).expect("read"), report);
        }
    }

    /// What is in the files of those who already run it. If this changes, old rows must still be read: add a version.
    #[test]
    fn the_stored_form_stays() {
        let options =
            ImportOptions { new: New::Add, existing: Existing::Fields(vec!["honors".to_owned()]), mode: Mode::Row };
        expect![[r#"{"version":"1","new":"add","existing":{"fields":["honors"]},"mode":"row"}"#]]
            .assert_eq(&options_to_json(&options).expect("printed"));
        let mut report = report(Some(NotApplied::TooManyErrors));
        report.errors.truncate(1);
        expect![[r#"{"version":"1","mode":"row","counts":{"read":15,"added":1,"updated":2,"unchanged":3,"ignored":4,"failed":5},"not_applied":"too_many_errors","error_count":1234,"errors":[{"field":"honors","code":"no_header","value":"sure\u0001 \"why\" not","message":"No."}]}"#]]
            .assert_eq(&report_to_json(&report).expect("printed"));
    }

    #[test]
    fn what_is_no_record_is_a_fault_that_repeats_no_data() {
        for json in ["", "{}", r#"{"version":"9"}"#, r#"{"version":"1","mode":"Zoë Parsons"}"#] {
            let error = report_from_json(json).expect_err("no report").to_string();
            assert!(!error.contains("Zoë"), "{error}");
        }
    }

    #[test]
    fn counts_that_do_not_add_up_are_not_kept() {
        let mut report = report(None);
        report.counts.read += 1;
        assert!(matches!(report_to_json(&report), Err(StoreError::Fault(_))));
    }
}
