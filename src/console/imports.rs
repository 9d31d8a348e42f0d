//! Imports: the list with its filters, one import from its acceptance to its report, its failed rows, and ending it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::answer::{Turned, page as show, redirect};
use super::data::Data;
use super::form::{Asked, Fields, Mistakes, Sent};
use super::frame::{Frame, Section};
use super::report_view::{ItemView, Mood, ReportView, dialect_in_words, item_view, options_in_words, report_view};
use super::words::{self, When};
use crate::command::{CommandId, CommandState};
use crate::http::failed_rows_answer;
use crate::import::{Dialect, Guard, NotApplied};
use crate::metrics::IMPORTS;
use crate::store::{Cancellation, ImportDetails, ImportsOf, ImportsQuery};
use crate::tenant::{ProgramId, Role};
use crate::wire::FailedRows;

/// Imports on a page of the list.
const LIST_COUNT: u32 = 50;

/// What the list may be narrowed to, with the words for it.
const STATES: [(&str, &str, ImportsOf); 5] = [
    ("", "All", ImportsOf::All),
    ("queued", "Waiting", ImportsOf::Queued),
    ("running", "Running", ImportsOf::Running),
    ("good", "Without errors", ImportsOf::Good),
    ("bad", "With errors or not applied", ImportsOf::Bad),
];

/// A choice in a form.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "console/imports.html")]
struct ListPage {
    frame: Frame,
    programs: Vec<Choice>,
    states: Vec<Choice>,
    senders: Vec<Choice>,
    day: String,
    day_mistake: Option<String>,
    items: Vec<ItemView>,
    /// Whether it is narrowed.
    is_filtered: bool,
    is_later_page: bool,
    older: Option<String>,
}

pub(super) async fn list(data: Data, Asked(asked): Asked) -> Result<Response, Turned> {
    let programs = data.programs().await?;
    let program = match asked.some("program") {
        None => None,
        Some(text) => {
            let id = ProgramId::parse(text).filter(|id| programs.iter().any(|program| program.id == *id));
            Some(id.ok_or(Turned::NotFound("program"))?)
        }
    };
    let state = asked.get("state");
    let of = STATES.iter().find(|(word, ..)| *word == state).map_or(ImportsOf::All, |(.., of)| *of);
    let from = asked.some("from").map(str::to_owned);
    let (day, day_mistake) = match asked.some("day") {
        None => (None, None),
        Some(text) => match words::read_date(text) {
            Some(day) => (Some(day), None),
            None => (None, Some(format!("A day is written like 2026-11-28; got “{text}”."))),
        },
    };
    let query = ImportsQuery {
        program,
        of,
        from: from.clone(),
        created_from_ms: day.map(words::day_begins),
        created_before_ms: day.map(|day| words::day_begins(day + 1)),
        after: asked.some("after").and_then(CommandId::parse),
        count: LIST_COUNT + 1,
    };
    let mut items = data.imports(query).await?;
    let has_more = items.len() > LIST_COUNT as usize;
    items.truncate(LIST_COUNT as usize);
    let older = items.last().filter(|_| has_more).map(|last| asked.with("after", &last.id.to_string()));
    let name_of = |id| programs.iter().find(|program| program.id == id).map(|program| program.name.as_str());
    let now_ms = data.now_ms();
    let mut senders = data.senders().await?;
    // One who sent nothing lately is still what the list is narrowed to.
    senders.extend(from.clone().filter(|from| !senders.contains(from)));
    let choice = |value: String, label: String, chosen: &str| Choice { is_chosen: value == chosen, value, label };
    let chosen = program.map(|id| id.to_string()).unwrap_or_default();
    let page = ListPage {
        frame: Frame::of("Imports", Section::Imports, &data).after(asked.some("done")),
        programs: programs.iter().map(|one| choice(one.id.to_string(), one.name.clone(), &chosen)).collect(),
        states: STATES
            .iter()
            .map(|(value, label, _)| choice((*value).to_owned(), (*label).to_owned(), state))
            .collect(),
        senders: senders.iter().map(|name| choice(name.clone(), name.clone(), asked.get("from"))).collect(),
        day: asked.get("day").to_owned(),
        day_mistake,
        items: items.iter().map(|item| item_view(item, name_of(item.program), now_ms)).collect(),
        is_filtered: program.is_some() || of != ImportsOf::All || from.is_some() || asked.some("day").is_some(),
        is_later_page: asked.some("after").is_some(),
        older,
    };
    Ok(show(&page))
}

/// A moment of an import's life.
struct Step {
    name: &'static str,
    when: Option<When>,
    /// How long since the one before.
    took: Option<String>,
}

#[derive(Template)]
#[template(path = "console/import.html")]
struct ImportPage {
    frame: Frame,
    id: String,
    program: String,
    program_id: String,
    from: String,
    dry_run: bool,
    is_complete: bool,
    state: &'static str,
    mood: Mood,
    /// While it is not complete: what is known now.
    progress: String,
    steps: Vec<Step>,
    options: Vec<String>,
    dialect: Option<String>,
    size: String,
    digest: Option<String>,
    attempts: u32,
    trace: Option<String>,
    report: Option<ReportView>,
    file_name: Option<String>,
    /// The file that it was made of, where its options can still be changed.
    upload: Option<String>,
    /// Whether it is a dry run whose import can be started from here.
    can_start: bool,
    can_cancel: bool,
    can_download: bool,
    can_import: bool,
    /// What makes that a form which is sent twice starts one import.
    once: String,
    bytes_max: u64,
    /// Of the form for the corrected file; its own page tells them.
    mistakes: Mistakes,
}

pub(super) async fn one(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(id): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Turned> {
    let id = id_of(&id)?;
    let details = data.import(id).await?;
    let program = data.program(details.command.program).await?;
    let upload = data.upload_of(id).await?;
    let is_editor = data.may(Role::Editor);
    let ImportDetails { command, options, body_digest, started_ms, attempts, has_file } = &details;
    let (state, mood, progress, report, trace, dialect) = match &command.state {
        CommandState::Queued { position } => ("Waiting", Mood::Busy, waiting(*position), None, None, None),
        CommandState::Running { rows } => ("Running", Mood::Busy, super::events::judged(*rows), None, None, None),
        CommandState::Complete { report, trace, .. } => {
            let view = report_view(report);
            (view.state, view.mood, String::new(), Some(view), Some(trace.clone()), report.dialect)
        }
    };
    let is_complete = report.is_some();
    let frame = Frame::of(format!("Import into {}", program.name), Section::Imports, &data);
    // What could only end the same way is not offered.
    let is_tried = matches!(&command.state, CommandState::Complete { report, .. } if report.not_applied == Some(NotApplied::DryRun));
    let can_start = is_editor && is_tried && upload.is_some();
    let page = ImportPage {
        frame: frame.after(asked.some("done")),
        id: id.to_string(),
        program_id: program.id.to_string(),
        program: program.name,
        from: command.from.clone(),
        dry_run: options.dry_run,
        is_complete,
        state,
        mood,
        progress,
        steps: steps(&details, *started_ms),
        options: options_in_words(options),
        dialect: dialect.map(dialect_in_words),
        size: words::bytes(command.payload_bytes),
        digest: body_digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
        attempts: *attempts,
        trace,
        can_download: is_editor && *has_file && report.as_ref().is_some_and(|report| report.has_failed_rows),
        report,
        file_name: upload.as_ref().map(|upload| upload.file_name.clone()),
        upload: upload.filter(|_| is_editor).map(|upload| upload.id.to_string()),
        can_start,
        can_cancel: is_editor && !is_complete,
        can_import: is_editor,
        once: super::sending::once()?,
        bytes_max: console.settings.file_bytes_max,
        mistakes: Mistakes::default(),
    };
    Ok(show(&page))
}

fn waiting(position: u64) -> String {
    match position {
        0 | 1 => "It is next.".to_owned(),
        _ => format!("{} before it in this program.", words::count(position - 1, "import is", "imports are")),
    }
}

fn steps(details: &ImportDetails, started_ms: Option<i64>) -> Vec<Step> {
    let created_ms = details.command.created_ms;
    let finished_ms = match &details.command.state {
        CommandState::Queued { .. } | CommandState::Running { .. } => None,
        CommandState::Complete { finished_ms, .. } => Some(*finished_ms),
    };
    let took = |from: Option<i64>, to: Option<i64>| Some(words::duration(to?.saturating_sub(from?)));
    vec![
        Step { name: "Accepted", when: Some(When(created_ms)), took: None },
        Step { name: "Started", when: started_ms.map(When), took: took(Some(created_ms), started_ms) },
        Step { name: "Done", when: finished_ms.map(When), took: took(started_ms.or(Some(created_ms)), finished_ms) },
    ]
}

pub(super) fn id_of(text: &str) -> Result<CommandId, Turned> {
    CommandId::parse(text).ok_or(Turned::NotFound("import"))
}

/// A file's name without its end, and without what has a meaning in a header or to a file system.
fn plain(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.chars().map(|at| if at.is_ascii_alphanumeric() || "-_".contains(at) { at } else { '_' }).take(80).collect()
}

/// Cells that a spreadsheet would carry out are marked unless that is not wanted.
pub(super) async fn failed_rows(data: Data, Path(id): Path<String>, Asked(asked): Asked) -> Result<Response, Turned> {
    let id = id_of(&id)?;
    let details = data.import(id).await?;
    let CommandState::Complete { report, .. } = &details.command.state else {
        return Err(Turned::TooLate("The import is not complete yet; which rows failed is known then.".to_owned()));
    };
    let guard = if asked.get("guard") == "1" { Guard::On } else { Guard::Off };
    let rows = FailedRows::of(report, guard);
    let dialect = report.dialect.unwrap_or(Dialect::JSON);
    let name = match data.upload_of(id).await? {
        Some(upload) => format!("{}-failed-rows.csv", plain(&upload.file_name)),
        None => format!("errors-{id}.csv"),
    };
    let request = data.request().to_owned();
    let opened = tokio::task::spawn_blocking(move || data.file(&details)).await;
    let file = opened.map_err(|_| Turned::Fault("opening a file panicked".to_owned()))??;
    let gone = || Turned::TooLate("The file of this import is kept no more.".to_owned());
    Ok(failed_rows_answer((file.ok_or_else(gone)?, dialect), rows, (&name, id), request))
}

pub(super) async fn cancel(data: Data, Path(id): Path<String>, _: Sent) -> Result<Response, Turned> {
    let id = id_of(&id)?;
    let done = match data.cancel(id).await? {
        Cancellation::Done => {
            IMPORTS.add(&[NotApplied::Cancelled.as_str()], 1);
            "cancelled"
        }
        Cancellation::Asked => "cancelling",
        Cancellation::TooLate => {
            return Err(Turned::TooLate(
                "The import is complete already, and cannot be cancelled any more.".to_owned(),
            ));
        }
    };
    tracing::info!(request = data.request(), command = %id, "cancelling was asked for at the console");
    Ok(redirect(&format!("/console/imports/{id}?done={done}")))
}

/// For pages that lead to a list of imports.
pub(super) fn link_to(program: ProgramId, more: &Fields) -> String {
    format!("/console/imports?{}", more.with("program", &program.to_string()))
}
