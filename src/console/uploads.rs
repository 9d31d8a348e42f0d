//! Importing a file: it is put here, looked at, its columns and options are chosen, it is tried, and then it is imported.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use uuid::Uuid;

use super::Console;
use super::answer::{Turned, page_with, redirect};
use super::data::Data;
use super::form::{Asked, Mistakes, Sent};
use super::frame::{Frame, Section};
use super::imports::{Choice, id_of};
use super::looking::{Look, look};
use super::mapping::{self, Because, Choices, Column, UNKNOWN};
use super::programs::id_of_program;
use super::report_view::dialect_in_words;
use super::sending::{once, send};
use super::taking::Taking;
use super::words;
use crate::command::{Digest, Received};
use crate::contact::Schema;
use crate::import::{Charset, ImportOptions};
use crate::store::{NewUpload, Upload, UploadId};
use crate::tenant::{Program, ProgramId};

/// How long one more waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// Portions of a file that wait for the writing thread, at most.
const PORTIONS_AHEAD_MAX: usize = 2;
/// So much of a file's name is kept, in characters.
const NAME_CHARS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "console/upload.html")]
struct UploadPage {
    frame: Frame,
    program: String,
    program_id: String,
    fields: Vec<(String, String)>,
    bytes_max: u64,
    size_max: String,
    mistakes: Mistakes,
}

async fn upload_page(
    console: &Console,
    data: &Data,
    program: &Program,
    mistakes: Mistakes,
) -> Result<Response, Turned> {
    let schema = data.schema(program.id).await?;
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let fields = schema.fields().iter().filter(|field| mapping::is_choosable(field));
    let page = UploadPage {
        frame: Frame::of(format!("Import into {}", program.name), Section::Overview, data),
        program: program.name.clone(),
        program_id: program.id.to_string(),
        fields: fields.map(|field| (field.name.clone(), field.field_type.to_string())).collect(),
        bytes_max: console.settings.file_bytes_max,
        size_max: words::bytes(console.settings.file_bytes_max),
        mistakes,
    };
    Ok(page_with(status, &page))
}

pub(super) async fn page(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(program): Path<String>,
) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    upload_page(&console, &data, &program, Mistakes::default()).await
}

/// Takes a file, as large as the API's stream form takes it, piece by piece.
pub(super) async fn receive(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(program): Path<String>,
    mut form: Multipart,
) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    let _turn = turn(&console).await?;
    while let Some(field) = next_field(&mut form, console.settings.pause_max).await? {
        if field.name() != Some("file") {
            continue;
        }
        let file_name: String = field.file_name().unwrap_or_default().chars().take(NAME_CHARS_MAX).collect();
        let id = new_id();
        let (received, digest) = take_in(&console, &data, (program.id, id), field).await?;
        if received.bytes == 0 {
            let what = if file_name.is_empty() { "Choose a file first." } else { "The file is empty." };
            return upload_page(&console, &data, &program, Mistakes::one("file", what)).await;
        }
        let upload = keep(&data, program.id, &file_name, (received, digest)).await?;
        return Ok(redirect(&format!("/console/uploads/{upload}")));
    }
    upload_page(&console, &data, &program, Mistakes::one("file", "Choose a file first.")).await
}

/// An id for a new upload.
pub(super) fn new_id() -> UploadId {
    UploadId(Uuid::now_v7())
}

/// A place among the files that come in, when there is one.
pub(super) async fn turn(console: &Console) -> Result<OwnedSemaphorePermit, Turned> {
    let busy = || Turned::Busy("Too many files are being received at this moment.".to_owned());
    console.under_way.forget((console.clock)());
    let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&console.uploads).acquire_owned()).await;
    turn.map_err(|_| busy())?.map_err(|_| busy())
}

/// Keeps what has come whole.
pub(super) async fn keep(
    data: &Data,
    program: ProgramId,
    file_name: &str,
    (received, digest): (Received, Digest),
) -> Result<UploadId, Turned> {
    let upload = NewUpload {
        account: data.session().account.id,
        program,
        received,
        by: data.session().name.to_string(),
        file_name: if file_name.is_empty() { "file.csv" } else { file_name }.to_owned(),
        digest,
        created_ms: data.now_ms(),
    };
    data.keep_upload(upload).await
}

fn broken(_: impl std::fmt::Display) -> Turned {
    Turned::Wrong("The file broke off on its way.".to_owned())
}

fn slow(_: tokio::time::error::Elapsed) -> Turned {
    Turned::Wrong("The file stopped coming in the middle.".to_owned())
}

async fn next_field(form: &mut Multipart, pause_max: Duration) -> Result<Option<Field<'_>>, Turned> {
    tokio::time::timeout(pause_max, form.next_field()).await.map_err(slow)?.map_err(broken)
}

/// Hands the file to a thread that writes it, and says where it ends. Without that word the thread takes it for broken off.
async fn take_in(
    console: &Console,
    data: &Data,
    (program, id): (ProgramId, UploadId),
    mut field: Field<'_>,
) -> Result<(Received, Digest), Turned> {
    let (portions, coming) = mpsc::channel(PORTIONS_AHEAD_MAX);
    let (data, bytes_max) = (data.clone(), console.settings.file_bytes_max);
    let writing = tokio::task::spawn_blocking(move || write(&data, (program, id), coming, bytes_max));
    let passed_on: Result<(), Turned> = async {
        loop {
            let portion = tokio::time::timeout(console.settings.pause_max, field.chunk()).await.map_err(slow)?;
            let portion = portion.map_err(broken)?;
            let is_last = portion.is_none();
            if portions.send(portion).await.is_err() || is_last {
                return Ok(());
            }
        }
    }
    .await;
    drop(portions);
    let written = writing.await.map_err(|_| Turned::Fault("receiving a file panicked".to_owned()))?;
    // What was wrong with the coming in goes before what became of its beginning.
    passed_on?;
    written
}

/// Blocking.
fn write(
    data: &Data,
    place: (ProgramId, UploadId),
    mut coming: mpsc::Receiver<Option<Bytes>>,
    bytes_max: u64,
) -> Result<(Received, Digest), Turned> {
    let mut taking = Taking::begin(data, place, bytes_max)?;
    while let Some(portion) = coming.blocking_recv().ok_or_else(|| broken(""))? {
        taking.take(&portion)?;
    }
    taking.finish()
}

/// A column, with what it may be.
struct ColumnView {
    at: usize,
    name: String,
    samples: String,
    choices: Vec<Choice>,
    because: &'static str,
    is_unknown: bool,
    updates: bool,
    mistake: Option<String>,
}

#[derive(Template)]
#[template(path = "console/look.html")]
struct LookPage {
    frame: Frame,
    upload: String,
    program: String,
    program_id: String,
    file_name: String,
    size: String,
    dialect: Option<String>,
    trouble: Option<String>,
    columns: Vec<ColumnView>,
    rows: Vec<(u64, Vec<String>)>,
    choices: Choices,
    charsets: Vec<Choice>,
    /// Whether some limits are set, so that they are shown.
    has_limits: bool,
    /// Whether there are columns of which nobody has said what they are.
    has_unknown: bool,
    once: String,
    mistakes: Mistakes,
}

/// What a page about an upload needs.
struct Looked {
    upload: Upload,
    program: Program,
    schema: Schema,
    look: Look,
}

async fn looked(data: &Data, upload: &str, charset: &str) -> Result<Looked, Turned> {
    let id = UploadId::parse(upload).ok_or(Turned::NotFound("file"))?;
    let upload = data.upload(id).await?;
    let program = data.program(upload.program).await?;
    let schema = data.schema(program.id).await?;
    let (data, charset) = (data.clone(), mapping::charset_of(charset));
    let read = tokio::task::spawn_blocking(move || {
        // What the store says is in the log by its own words; here the page is not shown.
        let open = || data.upload_file(id).map_err(|turned| std::io::Error::other(format!("{turned:?}")));
        look(open, charset)
    });
    let look = read.await.map_err(|_| Turned::Fault("looking at a file panicked".to_owned()))?;
    let look = look.map_err(|fault| Turned::Fault(format!("reading an uploaded file: {fault}")))?;
    Ok(Looked { upload, program, schema, look })
}

fn look_page(
    data: &Data,
    looked: Looked,
    (columns, choices): (Vec<Column>, Choices),
    mistakes: Mistakes,
) -> Result<Response, Turned> {
    let Looked { upload, program, schema, look } = looked;
    let view = |(at, column): (usize, &Column)| {
        let place = format!("field.{at}");
        let samples = look.rows.iter().filter_map(|(_, cells)| cells.get(at)).filter(|cell| !cell.is_empty()).take(3);
        ColumnView {
            at,
            name: column.name.clone(),
            samples: samples.map(String::as_str).collect::<Vec<_>>().join(" · "),
            choices: field_choices(column, &schema),
            because: column.because.words(),
            is_unknown: column.because == Because::Nothing,
            updates: column.updates,
            mistake: mistakes.of(&place).map(str::to_owned),
        }
    };
    let charsets = [("", "As the file says (UTF-8 if it says nothing)")].into_iter();
    let charsets = charsets.chain(Charset::ALL.iter().map(|charset| (charset.as_str(), charset_name(*charset))));
    let charsets = charsets.map(|(value, label)| Choice {
        is_chosen: value == choices.charset,
        value: value.to_owned(),
        label: label.to_owned(),
    });
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = LookPage {
        frame: Frame::of(format!("Import into {}", program.name), Section::Overview, data),
        upload: upload.id.to_string(),
        program: program.name,
        program_id: program.id.to_string(),
        file_name: upload.file_name,
        size: words::bytes(upload.bytes),
        dialect: look.dialect.map(dialect_in_words),
        trouble: look.trouble.clone(),
        columns: columns.iter().enumerate().map(view).collect(),
        rows: look.rows.clone(),
        charsets: charsets.collect(),
        has_unknown: columns.iter().any(|column| column.field == UNKNOWN),
        has_limits: choices.limits.iter().any(|limit| !limit.is_empty()),
        choices,
        once: once()?,
        mistakes,
    };
    Ok(page_with(status, &page))
}

fn charset_name(charset: Charset) -> &'static str {
    match charset {
        Charset::Utf8 => "UTF-8",
        Charset::Utf16Le => "UTF-16, little-endian",
        Charset::Utf16Be => "UTF-16, big-endian",
        Charset::Windows1252 => "Windows-1252 (Excel’s CSV)",
    }
}

fn field_choices(column: &Column, schema: &Schema) -> Vec<Choice> {
    let choice =
        |value: &str, label: String| Choice { value: value.to_owned(), label, is_chosen: value == column.field };
    let unknown = (column.field == UNKNOWN).then(|| choice(UNKNOWN, "Choose a field …".to_owned()));
    let left_out = choice("", "Leave it out".to_owned());
    let fields = schema.fields().iter().filter(|field| mapping::is_choosable(field) || field.name == column.name);
    let fields = fields.map(|field| choice(&field.name, format!("{} ({})", field.name, field.field_type)));
    unknown.into_iter().chain([left_out]).chain(fields).collect()
}

pub(super) async fn look_at(data: Data, Path(upload): Path<String>, Asked(asked): Asked) -> Result<Response, Turned> {
    let looked = looked(&data, &upload, asked.get("charset")).await?;
    let remembered = data.columns(looked.program.id).await?;
    let columns = mapping::suggest(&looked.look.names, &looked.schema, &remembered);
    let choices = Choices { charset: asked.get("charset").to_owned(), ..Choices::default() };
    look_page(&data, looked, (columns, choices), Mistakes::default())
}

/// Tries the file out, and remembers what its columns are.
pub(super) async fn try_out(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(upload): Path<String>,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let choices = Choices::read(&fields);
    let looked = looked(&data, &upload, &choices.charset).await?;
    let columns = mapping::read_columns(&looked.look.names, &fields);
    let options = match mapping::options(&columns, &choices, &looked.schema) {
        Ok(options) => options,
        Err(mistakes) => return look_page(&data, looked, (columns, choices), mistakes),
    };
    let said: Vec<(String, String)> =
        options.columns.pairs().map(|(name, field)| (name.to_owned(), field.to_owned())).collect();
    if !said.is_empty() {
        data.remember_columns(looked.program.id, &said).await?;
    }
    let sent = send(&console, &data, &looked.upload, (options, fields.get("once"))).await?;
    Ok(redirect(&format!("/console/imports/{}", sent.command)))
}

/// Imports what a dry run has tried, with the same options.
pub(super) async fn start(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(import): Path<String>,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let tried = data.import(id_of(&import)?).await?;
    if !tried.options.dry_run {
        return Err(Turned::TooLate("This was no dry run: it has been imported.".to_owned()));
    }
    let gone = || Turned::TooLate("The file is kept for a day, and has gone. Upload it again.".to_owned());
    let upload = data.upload_of(tried.command.id).await?.ok_or_else(gone)?;
    let options = ImportOptions { dry_run: false, ..tried.options };
    let sent = send(&console, &data, &upload, (options, fields.get("once"))).await?;
    let done = if sent.again { "?done=same" } else { "" };
    Ok(redirect(&format!("/console/imports/{}{done}", sent.command)))
}
