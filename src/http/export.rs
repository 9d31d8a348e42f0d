//! `GET /v2/programs/{id}/participants.csv`: all contacts of a program at one moment, as a CSV file that an import takes back.
//!
//! A thread reads and writes ahead of the client by a few pieces, so that memory does not depend on the number of contacts. A client that
//! does not read is left; a fault in the middle breaks the answer off, so that nobody takes a part for the whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::HttpState;
use super::answer::{Refused, RequestId};
use super::path::{PathId, program_of};
use super::signed::Signed;
use crate::contact::Schema;
use crate::problem::{Code, Problem};
use crate::store::{ContactSnapshot, StoreError};
use crate::tenant::Program;
use crate::wire::{csv_header, push_csv_contact};

/// Exports that are read at the same time; on a database each holds a connection. More are asked to come again.
pub(super) const EXPORTS_MAX: usize = 4;
/// How long a client is asked to wait when there are so many, in seconds.
const RETRY_AFTER_S: u64 = 10;
/// Pieces that wait for the client, at most; each is the contacts of one read of the store.
const PIECES_AHEAD_MAX: usize = 2;
/// How long a client may take to take a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn contacts(
    State(state): State<Arc<HttpState>>,
    path: PathId,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&state, &signed, &path).await?;
    let Ok(turn) = Arc::clone(&state.exports).try_acquire_owned() else {
        let problem = Problem::new(Code::Busy, "Too many exports are read at the moment");
        return Err(Problem { retry_after_s: Some(RETRY_AFTER_S), ..problem }.into());
    };
    let schema = state.store.schema(program.account, program.id).await?;
    let (store, of, request) = (Arc::clone(&state.store), program.clone(), RequestId(signed.request_id.clone()));
    // The snapshot is begun before the answer is: what fails here can still be said.
    let snapshot = tokio::task::spawn_blocking(move || store.snapshot(of.account, of.id)).await;
    let snapshot = snapshot.map_err(|_| Refused::Fault("beginning an export panicked".to_owned()))??;
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD_MAX);
    let disposition = format!("attachment; filename=\"participants-{}.csv\"", program.id);
    let export = Export { program, schema, snapshot, pieces: sender, handle: Handle::current() };
    tokio::task::spawn_blocking(move || {
        export.run(&request);
        drop(turn);
    });
    let mut response = Body::new(Pieces { pieces, is_over: false }).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

struct Export {
    program: Program,
    schema: Schema,
    snapshot: Box<dyn ContactSnapshot>,
    pieces: mpsc::Sender<Piece>,
    handle: Handle,
}

/// Why an export ends before its end.
enum Broken {
    /// The client has gone, or does not read.
    Left,
    Store(StoreError),
}

impl Export {
    fn run(mut self, request: &RequestId) {
        let RequestId(id) = request;
        match self.send_all() {
            Ok(contacts) => tracing::info!(request = id, program = %self.program.id, contacts, "export complete"),
            Err(Broken::Left) => tracing::info!(request = id, program = %self.program.id, "export left by its client"),
            Err(Broken::Store(fault)) => {
                tracing::error!(incident = id, program = %self.program.id, %fault, "export broken off");
            }
        }
    }

    fn send_all(&mut self) -> Result<u64, Broken> {
        self.send(Piece::Csv(csv_header(&self.schema)))?;
        let mut count = 0;
        loop {
            let contacts = self.snapshot.next().map_err(Broken::Store)?;
            if contacts.is_empty() {
                return self.send(Piece::End).map(|()| count);
            }
            count += contacts.len() as u64;
            let mut csv = String::new();
            for contact in &contacts {
                push_csv_contact(&mut csv, contact, &self.schema, self.program.phone);
            }
            self.send(Piece::Csv(csv))?;
        }
    }

    fn send(&self, piece: Piece) -> Result<(), Broken> {
        let sent = self.handle.block_on(self.pieces.send_timeout(piece, PIECE_WITHIN));
        sent.map_err(|_| Broken::Left)
    }
}

/// What the reading thread sends.
enum Piece {
    Csv(String),
    /// That was all. Without it the answer is broken off, whatever became of the thread.
    End,
}

/// A body that comes in pieces.
struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    is_over: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match self.pieces.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Piece::Csv(csv))) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(csv))))),
            Poll::Ready(Some(Piece::End)) => {
                self.is_over = true;
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.is_over = true;
                Poll::Ready(Some(Err(io::Error::other("the export was broken off"))))
            }
        }
    }
}
