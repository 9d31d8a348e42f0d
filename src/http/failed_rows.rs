//! `GET <Location>/errors.csv`: the rows that failed, with their cells as they were and with what was wrong.

use std::io::Read;

use axum::response::Response;

use super::answer::Refused;
use super::parameters::{Parameters, RawParameters};
use super::path::PathId;
use super::pieces::{Broken, PieceSender, csv_answer};
use super::signed::Signed;
use crate::command::{CommandId, CommandState};
use crate::import::{Dialect, Guard, RowsFault};
use crate::problem::{Code, Problem};
use crate::store::StoreError;
use crate::wire::{FailedRows, SURPLUS_CELLS_MAX};

/// A piece ends with the row that brings it to this size.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) async fn of_command(path: PathId, parameters: RawParameters, signed: Signed) -> Result<Response, Refused> {
    let not_found = |detail| Problem::new(Code::NotFound, detail);
    let none = || not_found("There is no such command");
    let id = path.text().and_then(CommandId::parse).ok_or_else(none)?;
    let guard = if Parameters::read(parameters)?.is("guard", "1")? { Guard::On } else { Guard::Off };
    let command = signed.data.command(id).await?.ok_or_else(none)?;
    let CommandState::Complete { report, .. } = &command.state else {
        return Err(not_found("The import is not complete yet; which rows failed is known then").into());
    };
    let rows = FailedRows::of(report, guard);
    let dialect = report.dialect.unwrap_or(Dialect::JSON);
    let data = signed.data.clone();
    let file = tokio::task::spawn_blocking(move || data.file(&command)).await;
    let file = file.map_err(|_| Refused::Fault("opening a file panicked".to_owned()))??;
    let gone = || Problem::new(Code::PayloadGone, "The file of this import is kept no more");
    let name = format!("errors-{id}.csv");
    Ok(failed_rows_answer((file.ok_or_else(gone)?, dialect), rows, (&name, id), signed.request_id))
}

/// The failed rows of an import's file, sent piece by piece under a name of plain ASCII; `request` names the request in the log.
pub(crate) fn failed_rows_answer(
    (file, dialect): (Box<dyn Read + Send>, Dialect),
    rows: FailedRows,
    (name, id): (&str, CommandId),
    request: String,
) -> Response {
    csv_answer(name, move |sender| match send_all(file, dialect, rows, sender) {
        Ok(()) => tracing::debug!(request, command = %id, "failed rows sent"),
        Err(Broken::Left) => tracing::info!(request, command = %id, "failed rows left by their client"),
        Err(Broken::Store(fault)) => {
            tracing::error!(incident = request, command = %id, %fault, "failed rows broken off");
        }
    })
}

fn send_all(
    file: Box<dyn Read + Send>,
    dialect: Dialect,
    mut rows: FailedRows,
    sender: &PieceSender,
) -> Result<(), Broken> {
    let mut reader = dialect.rows(file).keeping_surplus(SURPLUS_CELLS_MAX);
    let mut csv = String::new();
    // What is wrong with the file as a whole has been told in the report; here are the rows that can be read.
    rows.push_header(&mut csv, readable(reader.header())?.flatten().as_ref());
    while rows.left() > 0 {
        let Some(batch) = readable(reader.next_batch())?.flatten() else { break };
        for row in batch.rows() {
            rows.push_row(&mut csv, row);
            if csv.len() >= PIECE_BYTES {
                sender.send(std::mem::take(&mut csv))?;
            }
        }
    }
    sender.send(csv)?;
    sender.end()
}

/// `None` where the file is wrong as a whole.
fn readable<T>(read: Result<T, RowsFault>) -> Result<Option<T>, Broken> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(RowsFault::Read(fault)) => Err(Broken::Store(StoreError::Fault(format!("reading a stored file: {fault}")))),
        Err(RowsFault::RecordTooLong { .. } | RowsFault::UnclosedQuote { .. } | RowsFault::BadEncoding { .. }) => {
            Ok(None)
        }
    }
}
