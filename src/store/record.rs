//! Options and reports as they are kept: JSON with its version in the tag. Shared by both homes of the data.
//!
//! These are not the types of the wire, nor those of the import: a stored report must still be read when either has moved
//! on. A change that old rows do not fit gets a new tag beside the old one.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::import::{
    Charset, Columns, Counts, Dialect, ErrorCode, Existing, FieldChange, FieldChanges, Form, ImportOptions, Limits,
    Mode, New, NotApplied, Report, RowError,
};

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum OptionsRecord {
    #[serde(rename = "1")]
    V1 { new: NewWord, existing: ExistingRecord, mode: ModeWord },
    /// With what goes beyond the four options. A node that knows only the first version must not carry these out: it would apply what
    /// is only to be tried.
    #[serde(rename = "2")]
    V2 { new: NewWord, existing: ExistingRecord, mode: ModeWord, dry_run: bool, limits: LimitsRecord },
    /// Of a file that came as it is. A node that does not know this one would read it as if it had commas.
    #[serde(rename = "3")]
    V3 {
        new: NewWord,
        existing: ExistingRecord,
        mode: ModeWord,
        dry_run: bool,
        limits: LimitsRecord,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        charset: Option<String>,
    },
    /// With other names for columns; `is_file`: of a file that came as it is. A node that does not know this one would take the file's own
    /// names for fields.
    #[serde(rename = "4")]
    V4 {
        new: NewWord,
        existing: ExistingRecord,
        mode: ModeWord,
        dry_run: bool,
        limits: LimitsRecord,
        is_file: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        charset: Option<String>,
        columns: Vec<(String, String)>,
    },
}

#[derive(Serialize, Deserialize, Default)]
struct LimitsRecord {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    new_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    updated_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failed_max: Option<u64>,
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
        not_applied: Option<String>,
        error_count: u64,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        errors: Vec<ErrorRecord>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        changes: Option<Vec<FieldChangesRecord>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        dialect: Option<DialectRecord>,
    },
}

/// What a report comes to without its errors.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum OutcomeRecord {
    #[serde(rename = "1")]
    V1 { counts: CountsRecord, not_applied: Option<String>, error_count: u64 },
}

#[derive(Serialize, Deserialize)]
struct DialectRecord {
    delimiter: char,
    charset: String,
}

#[derive(Serialize, Deserialize)]
struct FieldChangesRecord {
    field: String,
    count: u64,
    examples: Vec<FieldChangeRecord>,
}

#[derive(Serialize, Deserialize)]
struct FieldChangeRecord {
    row: u64,
    before: String,
    after: String,
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
    let ImportOptions { new, existing, mode, dry_run, limits, form, columns } = options;
    let new = match new {
        New::Add => NewWord::Add,
        New::Ignore => NewWord::Ignore,
    };
    let existing = match existing {
        Existing::Ignore => ExistingRecord::Ignore,
        Existing::Fields(fields) => ExistingRecord::Fields(fields.clone()),
    };
    let mode = ModeWord::from(*mode);
    let is_plain = !*dry_run && *limits == Limits::default();
    let Limits { new_max, updated_max, failed_max } = *limits;
    let (dry_run, limits) = (*dry_run, LimitsRecord { new_max, updated_max, failed_max });
    let charset = match form {
        Form::Json | Form::File { charset: None } => None,
        Form::File { charset: Some(charset) } => Some(charset.as_str().to_owned()),
    };
    let record = match form {
        Form::Json | Form::File { .. } if !columns.is_empty() => {
            let columns = columns.pairs().map(|(name, field)| (name.to_owned(), field.to_owned())).collect();
            let is_file = *form != Form::Json;
            OptionsRecord::V4 { new, existing, mode, dry_run, limits, is_file, charset, columns }
        }
        Form::Json if is_plain => OptionsRecord::V1 { new, existing, mode },
        Form::Json => OptionsRecord::V2 { new, existing, mode, dry_run, limits },
        Form::File { .. } => OptionsRecord::V3 { new, existing, mode, dry_run, limits, charset },
    };
    print("options", &record)
}

/// The options, as they were kept.
pub(crate) fn options_from_json(json: &str) -> Result<ImportOptions, StoreError> {
    let mut names = Columns::default();
    let (new, existing, mode, dry_run, limits, form) = match parse("options", json)? {
        OptionsRecord::V1 { new, existing, mode } => (new, existing, mode, false, LimitsRecord::default(), Form::Json),
        OptionsRecord::V2 { new, existing, mode, dry_run, limits } => {
            (new, existing, mode, dry_run, limits, Form::Json)
        }
        OptionsRecord::V3 { new, existing, mode, dry_run, limits, charset } => {
            let charset = charset.map(|name| charset_of(&name)).transpose()?;
            (new, existing, mode, dry_run, limits, Form::File { charset })
        }
        OptionsRecord::V4 { new, existing, mode, dry_run, limits, is_file, charset, columns } => {
            names = Columns::new(columns);
            let charset = charset.map(|name| charset_of(&name)).transpose()?;
            let form = if is_file { Form::File { charset } } else { Form::Json };
            (new, existing, mode, dry_run, limits, form)
        }
    };
    let LimitsRecord { new_max, updated_max, failed_max } = limits;
    let new = match new {
        NewWord::Add => New::Add,
        NewWord::Ignore => New::Ignore,
    };
    let existing = match existing {
        ExistingRecord::Ignore => Existing::Ignore,
        ExistingRecord::Fields(fields) => Existing::Fields(fields),
    };
    let limits = Limits { new_max, updated_max, failed_max };
    Ok(ImportOptions { new, existing, mode: Mode::from(mode), dry_run, limits, form, columns: names })
}

fn charset_of(name: &str) -> Result<Charset, StoreError> {
    Charset::parse(name).ok_or_else(|| StoreError::Fault("something stored has an unknown charset".to_owned()))
}

/// A report, to be kept. One whose counts do not add up is a fault of ours and is not kept.
pub(crate) fn report_to_json(report: &Report) -> Result<String, StoreError> {
    let Report { mode, counts, not_applied, errors, error_count, changes, dialect } = report;
    if !counts.add_up() {
        return Err(StoreError::Fault(format!("the counts of a report do not add up: {counts:?}")));
    }
    let Counts { read, added, updated, unchanged, ignored, failed } = *counts;
    let record = ReportRecord::V1 {
        mode: ModeWord::from(*mode),
        counts: CountsRecord { read, added, updated, unchanged, ignored, failed },
        not_applied: not_applied.map(|reason| reason.as_str().to_owned()),
        error_count: *error_count,
        errors: errors.iter().map(ErrorRecord::from).collect(),
        changes: changes.as_ref().map(|changes| changes.iter().map(FieldChangesRecord::from).collect()),
        dialect: dialect.map(|Dialect { delimiter, charset }| DialectRecord {
            delimiter: char::from(delimiter),
            charset: charset.as_str().to_owned(),
        }),
    };
    print("report", &record)
}

/// A report, as it was kept.
pub(crate) fn report_from_json(json: &str) -> Result<Report, StoreError> {
    let ReportRecord::V1 { mode, counts, not_applied, error_count, errors, changes, dialect } = parse("report", json)?;
    let CountsRecord { read, added, updated, unchanged, ignored, failed } = counts;
    Ok(Report {
        mode: Mode::from(mode),
        counts: Counts { read, added, updated, unchanged, ignored, failed },
        not_applied: not_applied.map(|word| not_applied_of(&word)).transpose()?,
        errors: errors.into_iter().map(RowError::try_from).collect::<Result<_, _>>()?,
        error_count,
        changes: changes.map(|changes| changes.into_iter().map(FieldChanges::from).collect()),
        dialect: dialect.map(Dialect::try_from).transpose()?,
    })
}

/// What a report comes to, to be kept apart from it.
pub(crate) fn outcome_to_json(report: &Report) -> Result<String, StoreError> {
    let Counts { read, added, updated, unchanged, ignored, failed } = report.counts;
    let record = OutcomeRecord::V1 {
        counts: CountsRecord { read, added, updated, unchanged, ignored, failed },
        not_applied: report.not_applied.map(|reason| reason.as_str().to_owned()),
        error_count: report.error_count,
    };
    print("outcome", &record)
}

/// The same, as it was kept: the counts, why it was not applied, and how many errors there are.
pub(crate) fn outcome_from_json(json: &str) -> Result<(Counts, Option<NotApplied>, u64), StoreError> {
    let OutcomeRecord::V1 { counts, not_applied, error_count } = parse("outcome", json)?;
    let CountsRecord { read, added, updated, unchanged, ignored, failed } = counts;
    let counts = Counts { read, added, updated, unchanged, ignored, failed };
    Ok((counts, not_applied.map(|word| not_applied_of(&word)).transpose()?, error_count))
}

fn not_applied_of(word: &str) -> Result<NotApplied, StoreError> {
    NotApplied::parse(word)
        .ok_or_else(|| StoreError::Fault("a stored report was not applied for an unknown reason".to_owned()))
}

impl TryFrom<DialectRecord> for Dialect {
    type Error = StoreError;

    fn try_from(record: DialectRecord) -> Result<Dialect, StoreError> {
        let DialectRecord { delimiter, charset } = record;
        let delimiter = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        let delimiter =
            delimiter.ok_or_else(|| StoreError::Fault("a stored report has an unknown delimiter".to_owned()))?;
        Ok(Dialect { delimiter, charset: charset_of(&charset)? })
    }
}

impl From<&FieldChanges> for FieldChangesRecord {
    fn from(changes: &FieldChanges) -> FieldChangesRecord {
        let FieldChanges { field, count, examples } = changes;
        let example = |FieldChange { row, before, after }: &FieldChange| FieldChangeRecord {
            row: *row,
            before: before.clone(),
            after: after.clone(),
        };
        FieldChangesRecord { field: field.clone(), count: *count, examples: examples.iter().map(example).collect() }
    }
}

impl From<FieldChangesRecord> for FieldChanges {
    fn from(record: FieldChangesRecord) -> FieldChanges {
        let FieldChangesRecord { field, count, examples } = record;
        let example = |FieldChangeRecord { row, before, after }| FieldChange { row, before, after };
        FieldChanges { field, count, examples: examples.into_iter().map(example).collect() }
    }
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
                let plain = ImportOptions::new(new, existing.clone(), mode);
                let limits = Limits { new_max: Some(0), updated_max: None, failed_max: Some(u64::MAX) };
                let columns = Columns::new([("\"Ä\0", "a"), ("x", "")]);
                let file = |charset| ImportOptions { form: Form::File { charset }, limits, ..plain.clone() };
                for options in [
                    ImportOptions { dry_run: true, ..plain.clone() },
                    ImportOptions { limits, ..plain.clone() },
                    file(None),
                    file(Some(Charset::Utf16Be)),
                    ImportOptions { columns: columns.clone(), ..plain.clone() },
                    ImportOptions { columns: columns.clone(), ..file(None) },
                    ImportOptions { columns: columns.clone(), ..file(Some(Charset::Windows1252)) },
                    plain,
                ] {
                    let json = options_to_json(&options).expect("printed");
                    assert_eq!(options_from_json(&json).expect("read"), options, "{json}");
                }
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
        Report {
            mode: Mode::Row,
            counts,
            not_applied,
            error_count: 1_234,
            errors: errors.to_vec(),
            changes: None,
            dialect: None,
        }
    }

    #[test]
    fn reports_read_back_as_they_were() {
        for not_applied in NotApplied::ALL.into_iter().map(Some).chain([None]) {
            let mut report = report(not_applied);
            if not_applied == Some(NotApplied::DryRun) {
                let example = FieldChange { row: 2, before: String::new(), after: "é\"".to_owned() };
                let changes = FieldChanges { field: "note".to_owned(), count: 7, examples: vec![example] };
                report.changes = Some(vec![changes]);
                report.dialect = Some(Dialect { delimiter: b'\t', charset: Charset::Windows1252 });
            }
            let json = report_to_json(&report).expect("printed");
            assert_eq!(report_from_json(&json).expect("read"), report);
        }
    }

    /// What is in the files of those who already run it. If this changes, old rows must still be read: add a version.
    #[test]
    fn the_stored_form_stays() {
        let options = ImportOptions::new(New::Add, Existing::Fields(vec!["honors".to_owned()]), Mode::Row);
        expect![[r#"{"version":"1","new":"add","existing":{"fields":["honors"]},"mode":"row"}"#]]
            .assert_eq(&options_to_json(&options).expect("printed"));
        let dry = ImportOptions { dry_run: true, ..options };
        expect![[
            r#"{"version":"2","new":"add","existing":{"fields":["honors"]},"mode":"row","dry_run":true,"limits":{}}"#
        ]]
        .assert_eq(&options_to_json(&dry).expect("printed"));
        let file = ImportOptions { form: Form::File { charset: Some(Charset::Windows1252) }, ..dry.clone() };
        expect![[
            r#"{"version":"3","new":"add","existing":{"fields":["honors"]},"mode":"row","dry_run":true,"limits":{},"charset":"windows-1252"}"#
        ]]
        .assert_eq(&options_to_json(&file).expect("printed"));
        let mapped = ImportOptions { columns: Columns::new([("Handy", "phone"), ("Note", "")]), ..dry };
        expect![[r#"{"version":"4","new":"add","existing":{"fields":["honors"]},"mode":"row","dry_run":true,"limits":{},"is_file":false,"columns":[["Handy","phone"],["Note",""]]}"#]].assert_eq(&options_to_json(&mapped).expect("printed"));
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
