//! Uploads, in pieces: written with the command, read piece by piece while the import runs.

use std::io::{self, Read};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::connection::{Context, IMPORT_ANSWERED_WITHIN, READ_WITHIN, connection, within};
use super::import_connection::ImportConnection;
use super::{Shared, blocking};
use crate::command::{Claim, Command, CommandId, NewCommand};
use crate::store::{PIECE_BYTES, StoreError};
use crate::tenant::{AccountId, ProgramId};

/// Pieces that are under way to the database at the same time: it never waits for the next one.
const PIECES_AT_ONCE: usize = 2;

/// Writes the payload of a command, in the caller's transaction.
pub(super) async fn write(client: &Client, new: &NewCommand) -> Result<(), StoreError> {
    let pieces = (0i32..).zip(new.payload.held().chunks(PIECE_BYTES));
    // Nothing is sent before it is waited for; so they are written in their order.
    let writes: Vec<_> = pieces.map(|(at, piece)| write_piece(client, new, at, piece)).collect();
    stream::iter(writes).buffered(PIECES_AT_ONCE).try_collect().await
}

async fn write_piece(client: &Client, new: &NewCommand, at: i32, piece: &[u8]) -> Result<(), StoreError> {
    client
        .execute_typed(
            "INSERT INTO payload (program, command, piece, bytes) VALUES ($1, $2, $3, $4)",
            &[(&new.program.0, Type::UUID), (&new.id.0, Type::UUID), (&at, Type::INT4), (&piece, Type::BYTEA)],
        )
        .await
        .map(drop)
        .context(|| format!("storing the payload of command {}", new.id))
}

/// The payload of a command, through its import's own connection; blocking. A piece is asked for while the one before it is
/// read.
pub(super) fn open(
    connection: &Arc<ImportConnection>,
    handle: &Handle,
    claim: &Claim,
) -> Result<PieceReader, StoreError> {
    let pieces = blocking(handle, within(IMPORT_ANSWERED_WITHIN, count(connection.client()?, claim)))?;
    let mut reader = PieceReader {
        connection: Arc::clone(connection),
        handle: handle.clone(),
        claim: claim.clone(),
        piece: Vec::new(),
        read: 0,
        coming: None,
        next: 0,
        pieces,
    };
    reader.ask();
    Ok(reader)
}

async fn count(client: &Client, claim: &Claim) -> Result<i32, StoreError> {
    let reading = || format!("reading the payload of command {}", claim.command);
    let row = client
        .query_typed_one(
            "SELECT (SELECT count(*)::int FROM payload WHERE program = $1 AND command = $2),
                    (SELECT payload_bytes FROM command WHERE program = $1 AND seq = $3)",
            &[(&claim.program.0, Type::UUID), (&claim.command.0, Type::UUID), (&claim.sequence, Type::INT8)],
        )
        .await
        .context(reading)?;
    let pieces: i32 = row.try_get(0).context(reading)?;
    let bytes: Option<i64> = row.try_get(1).context(reading)?;
    let expected = bytes.map(|bytes| bytes.cast_unsigned().div_ceil(PIECE_BYTES as u64));
    if expected != u64::try_from(pieces).ok() {
        return Err(StoreError::Fault(format!("the payload of command {} is not there whole", claim.command)));
    }
    Ok(pieces)
}

/// Reads a payload.
pub(super) struct PieceReader {
    connection: Arc<ImportConnection>,
    handle: Handle,
    claim: Claim,
    piece: Vec<u8>,
    read: usize,
    /// The next piece, on its way.
    coming: Option<JoinHandle<Result<Vec<u8>, StoreError>>>,
    /// The number of the piece to be asked for.
    next: i32,
    pieces: i32,
}

impl PieceReader {
    /// Asks for the next piece, if there is one, without waiting for it.
    fn ask(&mut self) {
        if self.next < self.pieces {
            let (connection, claim, number) = (Arc::clone(&self.connection), self.claim.clone(), self.next);
            self.coming = Some(
                self.handle
                    .spawn(async move { within(IMPORT_ANSWERED_WITHIN, piece(&connection, &claim, number)).await }),
            );
            self.next += 1;
        }
    }
}

async fn piece(connection: &ImportConnection, claim: &Claim, number: i32) -> Result<Vec<u8>, StoreError> {
    let reading = || format!("reading the payload of command {}", claim.command);
    let row = connection
        .client()?
        .query_typed_one(
            "SELECT bytes FROM payload WHERE program = $1 AND command = $2 AND piece = $3",
            &[(&claim.program.0, Type::UUID), (&claim.command.0, Type::UUID), (&number, Type::INT4)],
        )
        .await
        .context(reading)?;
    row.try_get(0).context(reading)
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let Some(coming) = self.coming.take() else { return Ok(0) };
            self.piece = blocking(&self.handle, coming).map_err(io::Error::other)?.map_err(io::Error::other)?;
            self.read = 0;
            self.ask();
        }
        let rest = self.piece.get(self.read..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Drop for PieceReader {
    fn drop(&mut self) {
        if let Some(coming) = self.coming.take() {
            coming.abort();
        }
    }
}

/// The payload of a complete command of an account; `None` if it is kept no more. Blocking.
pub(super) fn file(
    shared: &Arc<Shared>,
    handle: &Handle,
    account: AccountId,
    command: &Command,
) -> Result<Option<StoredFile>, StoreError> {
    if command.account != account {
        return Ok(None);
    }
    stored(shared, handle, (command.program, command.id), command.payload_bytes)
}

/// A payload of so many bytes; `None` if it is kept no more. Blocking.
pub(super) fn stored(
    shared: &Arc<Shared>,
    handle: &Handle,
    (program, command): (ProgramId, CommandId),
    bytes: u64,
) -> Result<Option<StoredFile>, StoreError> {
    let mut file = StoredFile {
        shared: Arc::clone(shared),
        handle: handle.clone(),
        program,
        command,
        left: bytes,
        piece: Vec::new(),
        read: 0,
        next: 0,
    };
    // An empty file has no piece that could be gone.
    let is_there = file.left == 0 || file.fetch()?;
    Ok(is_there.then_some(file))
}

/// Reads a payload that no import holds, each piece with a connection of its own.
pub(super) struct StoredFile {
    shared: Arc<Shared>,
    handle: Handle,
    program: ProgramId,
    command: CommandId,
    /// Bytes that are still to be fetched.
    left: u64,
    piece: Vec<u8>,
    read: usize,
    next: i32,
}

impl StoredFile {
    /// Fetches the next piece; says whether it is there.
    fn fetch(&mut self) -> Result<bool, StoreError> {
        let reading = || format!("reading the payload of command {}", self.command);
        let fetching = async {
            let client = connection(&self.shared.pool).await?;
            let asked = async {
                let parameters = [(&self.program.0 as &(dyn ToSql + Sync), Type::UUID), (&self.command.0, Type::UUID)];
                let [program, command] = parameters;
                client
                    .query_typed_opt(
                        "SELECT bytes FROM payload WHERE program = $1 AND command = $2 AND piece = $3",
                        &[program, command, (&self.next, Type::INT4)],
                    )
                    .await
                    .context(reading)
            };
            let found = within(READ_WITHIN, asked).await;
            client.done(found)
        };
        let Some(row) = blocking(&self.handle, fetching)? else { return Ok(false) };
        self.piece = row.try_get(0).context(reading)?;
        self.read = 0;
        self.next += 1;
        self.left = self.left.saturating_sub(self.piece.len() as u64);
        Ok(true)
    }
}

impl Read for StoredFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            if self.left == 0 {
                return Ok(0);
            }
            if !self.fetch().map_err(io::Error::other)? {
                return Err(io::Error::other("the payload was removed while it was read"));
            }
        }
        let rest = self.piece.get(self.read..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}
