//! `GET /v2/programs/{id}/participants.csv`: all contacts of a program at one moment, as a CSV file that an import takes back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::HttpState;
use super::answer::{Refused, RequestId};
use super::limits::Limit;
use super::path::{PathId, program_of};
use super::pieces::{Broken, PieceSender, csv_answer};
use super::signed::Signed;
use crate::contact::Schema;
use crate::store::ContactSnapshot;
use crate::tenant::Program;
use crate::wire::{csv_header, push_csv_contact};

/// Exports that are read at the same time; on a database each holds a connection. More are asked to come again.
pub(super) const EXPORTS_MAX: usize = 4;
/// How long a client is asked to wait when there are so many, in seconds.
const RETRY_AFTER_S: u64 = 10;

pub(super) async fn contacts(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&signed, &path).await?;
    let Ok(turn) = Arc::clone(&state.exports).try_acquire_owned() else {
        return Err(Limit::Exports.turns_away(EXPORTS_MAX as u64, RETRY_AFTER_S).into());
    };
    let schema = signed.data.schema(program.id).await?;
    let (data, of, request) = (signed.data.clone(), program.id, RequestId(signed.request_id.clone()));
    // The snapshot is begun before the answer is: what fails here can still be said.
    let snapshot = tokio::task::spawn_blocking(move || data.snapshot(of)).await;
    let snapshot = snapshot.map_err(|_| Refused::Fault("beginning an export panicked".to_owned()))??;
    let name = format!("participants-{}.csv", program.id);
    let export = Export { program, schema, snapshot };
    Ok(csv_answer(&name, move |sender| {
        export.run(&request, sender);
        drop(turn);
    }))
}

struct Export {
    program: Program,
    schema: Schema,
    snapshot: Box<dyn ContactSnapshot>,
}

impl Export {
    fn run(mut self, request: &RequestId, sender: &PieceSender) {
        let RequestId(id) = request;
        match self.send_all(sender) {
            Ok(contacts) => tracing::info!(request = id, program = %self.program.id, contacts, "export complete"),
            Err(Broken::Left) => tracing::info!(request = id, program = %self.program.id, "export left by its client"),
            Err(Broken::Store(fault)) => {
                tracing::error!(incident = id, program = %self.program.id, %fault, "export broken off");
            }
        }
    }

    fn send_all(&mut self, sender: &PieceSender) -> Result<u64, Broken> {
        sender.send(csv_header(&self.schema))?;
        let mut count = 0;
        loop {
            let contacts = self.snapshot.next().map_err(Broken::Store)?;
            if contacts.is_empty() {
                return sender.end().map(|()| count);
            }
            count += contacts.len() as u64;
            let mut csv = String::new();
            for contact in &contacts {
                push_csv_contact(&mut csv, contact, &self.schema, self.program.phone);
            }
            sender.send(csv)?;
        }
    }
}
