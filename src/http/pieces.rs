//! Answers that come in pieces. A thread reads and writes ahead of the client by a few of them, so that memory does not depend on how
//! much there is. A client that does not read is left; a fault in the middle breaks the answer off, so that nobody takes a part for
//! the whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::store::StoreError;

/// Pieces that wait for the client, at most.
const PIECES_AHEAD_MAX: usize = 2;
/// How long a client may take to take a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// Why an answer ends before its end.
pub(super) enum Broken {
    /// The client has gone, or does not read.
    Left,
    Store(StoreError),
}

/// Where the writing thread puts what it has written.
pub(super) struct PieceSender {
    pieces: mpsc::Sender<Piece>,
    handle: Handle,
}

impl PieceSender {
    /// Sends a piece.
    pub(super) fn send(&self, csv: String) -> Result<(), Broken> {
        self.put(Piece::Csv(csv))
    }

    /// Says that this was all. Without it the answer is broken off.
    pub(super) fn end(&self) -> Result<(), Broken> {
        self.put(Piece::End)
    }

    fn put(&self, piece: Piece) -> Result<(), Broken> {
        self.handle.block_on(self.pieces.send_timeout(piece, PIECE_WITHIN)).map_err(|_| Broken::Left)
    }
}

/// A CSV file that a thread for blocking work writes.
pub(super) fn csv_answer(name: &str, write: impl FnOnce(&PieceSender) + Send + 'static) -> Response {
    let (pieces, coming) = mpsc::channel(PIECES_AHEAD_MAX);
    let sender = PieceSender { pieces, handle: Handle::current() };
    tokio::task::spawn_blocking(move || write(&sender));
    let mut response = Body::new(Pieces { pieces: coming, is_over: false }).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
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
                Poll::Ready(Some(Err(io::Error::other("the answer was broken off"))))
            }
        }
    }
}
