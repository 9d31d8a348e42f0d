//! A command's status, as `GET <Location>` answers it (contract, section 3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandState};
use crate::contact::date_time::print_ms;
use crate::import::{Counts, Dialect, ErrorCode, FieldChange, FieldChanges, Mode, NotApplied, Report, RowError};

/// The only kind of command there is.
const IMPORT_PARTICIPANTS: &str = "importParticipants";

/// Where a command stands, and once it is complete, what happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The command's id: the last part of its `Location`.
    #[schemars(extend("format" = "uuid"))]
    pub command_id: String,
    /// `importParticipants`.
    #[schemars(extend("const" = IMPORT_PARTICIPANTS))]
    pub name: String,
    /// The name of the token that signed it.
    pub from: String,
    /// When it was accepted, ISO 8601.
    #[schemars(extend("format" = "date-time"))]
    pub created: String,
    /// Whether it is over.
    pub complete: bool,
    /// Whether anything was wrong with the file or a row.
    pub error: bool,
    /// While it is not over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<Progress>,
    /// Once it is over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<Message>,
    /// Finds the run in the service's log; with errors only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace: Option<String>,
    /// Who carried it out; with errors only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub processor: Option<String>,
}

/// How far a command is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// `queued` or `running`.
    #[schemars(extend("enum" = ["queued", "running"]))]
    pub state: String,
    /// Its place in the queue of its program: 1 is next; 0 runs.
    pub position: u64,
    /// Rows judged so far.
    pub rows: u64,
}

/// The result of an import.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// `row` or `tx`.
    #[schemars(extend("enum" = [Mode::Row.as_str(), Mode::Tx.as_str()]))]
    pub mode: String,
    /// Whether it took effect.
    pub applied: bool,
    /// Why it did not.
    #[schemars(extend("enum" = NotApplied::ALL.map(NotApplied::as_str)))]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_applied: Option<String>,
    /// What each row did, or would have done.
    pub rows: Rows,
    /// The first 1,000 errors.
    pub errors: Vec<ErrorEntry>,
    /// All errors.
    pub error_count: u64,
    /// Of a dry run: what would change in contacts that the program has, field by field.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub changes: Option<Vec<FieldChangesJson>>,
    /// Of a file that came as it is: how it was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dialect: Option<DialectJson>,
    /// One sentence.
    pub summary: String,
}

/// How a file is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Dialect")]
pub struct DialectJson {
    /// What stands between cells.
    pub delimiter: char,
    /// The name of its charset.
    pub charset: String,
}

/// What a dry run would change in one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FieldChanges")]
pub struct FieldChangesJson {
    /// The field.
    pub field: String,
    /// How many contacts would have another value.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<FieldChangeJson>,
}

/// One change of one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FieldChange")]
pub struct FieldChangeJson {
    /// The record's number; the header is row 1.
    pub row: u64,
    /// The value that the program has.
    pub before: String,
    /// The value that it would have.
    pub after: String,
}

/// How many rows met which fate; `read` is the sum of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rows {
    /// All records after the header.
    pub read: u64,
    /// New contacts.
    pub added: u64,
    /// Contacts of which a field has another value now.
    pub updated: u64,
    /// Contacts that had these values.
    pub unchanged: u64,
    /// Rows that the options leave out.
    pub ignored: u64,
    /// Rows with errors.
    pub failed: u64,
}

/// One thing that is wrong. Members that do not apply are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorEntry {
    /// The record's number as a spreadsheet shows it; the header is row 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub row: Option<u64>,
    /// The column.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// The stable word.
    #[schemars(extend("enum" = ErrorCode::ALL.map(|(_, word)| word)))]
    pub code: String,
    /// The cell as it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
    /// A sentence for people.
    pub message: String,
}

impl Status {
    /// The status of a command; `processor` names this node.
    pub fn of(command: &Command, processor: &str) -> Status {
        let Command { id, from, created_ms, state, account: _, program: _, payload_bytes: _ } = command;
        let mut status = Status {
            command_id: id.to_string(),
            name: IMPORT_PARTICIPANTS.to_owned(),
            from: from.clone(),
            created: print_ms(*created_ms),
            complete: false,
            error: false,
            progress: None,
            message: None,
            trace: None,
            processor: None,
        };
        match state {
            CommandState::Queued { position } => status.progress = Some(Progress::new("queued", *position, 0)),
            CommandState::Running { rows } => status.progress = Some(Progress::new("running", 0, *rows)),
            CommandState::Complete { report, trace, finished_ms: _ } => {
                status.complete = true;
                status.error = report.error_count > 0;
                status.message = Some(Message::from(&**report));
                if status.error {
                    status.trace = Some(trace.clone());
                    status.processor = Some(processor.to_owned());
                }
            }
        }
        status
    }
}

impl Progress {
    fn new(state: &str, position: u64, rows: u64) -> Progress {
        Progress { state: state.to_owned(), position, rows }
    }
}

impl From<&Report> for Message {
    fn from(report: &Report) -> Message {
        Message {
            mode: report.mode.as_str().to_owned(),
            applied: report.applied(),
            not_applied: report.not_applied.map(|reason| reason.as_str().to_owned()),
            rows: Rows::from(report.counts),
            errors: report.errors.iter().map(ErrorEntry::from).collect(),
            error_count: report.error_count,
            changes: report.changes.as_ref().map(|changes| changes.iter().map(FieldChangesJson::from).collect()),
            dialect: report.dialect.map(|Dialect { delimiter, charset }| DialectJson {
                delimiter: char::from(delimiter),
                charset: charset.as_str().to_owned(),
            }),
            summary: report.summary(),
        }
    }
}

impl From<&FieldChanges> for FieldChangesJson {
    fn from(changes: &FieldChanges) -> FieldChangesJson {
        let FieldChanges { field, count, examples } = changes;
        let example = |FieldChange { row, before, after }: &FieldChange| FieldChangeJson {
            row: *row,
            before: before.clone(),
            after: after.clone(),
        };
        FieldChangesJson { field: field.clone(), count: *count, examples: examples.iter().map(example).collect() }
    }
}

impl From<Counts> for Rows {
    fn from(counts: Counts) -> Rows {
        let Counts { read, added, updated, unchanged, ignored, failed } = counts;
        Rows { read, added, updated, unchanged, ignored, failed }
    }
}

impl From<&RowError> for ErrorEntry {
    fn from(error: &RowError) -> ErrorEntry {
        let RowError { row, field, code, value, message } = error;
        ErrorEntry {
            row: *row,
            field: field.clone(),
            code: code.as_str().to_owned(),
            value: value.clone(),
            message: message.clone(),
        }
    }
}
