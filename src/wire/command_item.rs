//! A command in a list: its status without the errors of the rows, and with what a list wants to show.

use schemars::JsonSchema;
use serde::Serialize;

use super::status::Rows;
use crate::command::{Command, CommandState};
use crate::contact::date_time::print_ms;

/// A command in a list. Members that do not apply are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandItem {
    #[schemars(extend("format" = "uuid"))]
    command_id: String,
    /// The path of its status.
    location: String,
    /// The name of the token that signed it.
    from: String,
    #[schemars(extend("format" = "date-time"))]
    created: String,
    #[schemars(extend("enum" = ["queued", "running", "complete"]))]
    state: &'static str,
    complete: bool,
    error: bool,
    /// The size of its file.
    bytes: u64,
    #[schemars(extend("format" = "date-time"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_applied: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Rows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
}

impl From<&Command> for CommandItem {
    fn from(command: &Command) -> CommandItem {
        let Command { id, from, created_ms, payload_bytes, state, account: _, program: _ } = command;
        let item = CommandItem {
            command_id: id.to_string(),
            location: format!("/v2/commands/{id}"),
            from: from.clone(),
            created: print_ms(*created_ms),
            state: "queued",
            complete: false,
            error: false,
            bytes: *payload_bytes,
            finished: None,
            mode: None,
            applied: None,
            not_applied: None,
            rows: None,
            error_count: None,
            summary: None,
        };
        match state {
            CommandState::Queued { position: _ } => item,
            CommandState::Running { rows: _ } => CommandItem { state: "running", ..item },
            CommandState::Complete { report, trace: _, finished_ms } => CommandItem {
                state: "complete",
                complete: true,
                error: report.error_count > 0,
                finished: Some(print_ms(*finished_ms)),
                mode: Some(report.mode.as_str()),
                applied: Some(report.applied()),
                not_applied: report.not_applied.map(|reason| reason.as_str()),
                rows: Some(Rows::from(report.counts)),
                error_count: Some(report.error_count),
                summary: Some(report.summary()),
                ..item
            },
        }
    }
}
