//! Uploads, in pieces: written with the command, read piece by piece while the import runs.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connection::{Context, connection};
use super::{Shared, blocking};
use crate::command::{Claim, NewCommand};
use crate::store::StoreError;

/// The size of a piece: large enough that its round trip does not count, small enough that it may lie in memory many times.
const PIECE_BYTES: usize = 1024 * 1024;

/// Writes the payload of a command, in the caller's transaction.
pub(super) async fn write(client: &Client, new: &NewCommand) -> Result<(), StoreError> {
    for (at, piece) in (0i32..).zip(new.payload.0.as_bytes().chunks(PIECE_BYTES)) {
        client
            .execute_typed(
                "INSERT INTO payload (program, command, piece, bytes) VALUES ($1, $2, $3, $4)",
                &[(&new.program.0, Type::UUID), (&new.id.0, Type::UUID), (&at, Type::INT4), (&piece, Type::BYTEA)],
            )
            .await
            .context(|| format!("storing the payload of command {}", new.id))?;
    }
    Ok(())
}

/// The payload of a command; blocking. A piece is asked for when the one before it is read.
pub(super) fn open(shared: &Arc<Shared>, handle: &Handle, claim: &Claim) -> Result<PieceReader, StoreError> {
    let pieces = blocking(handle, count(shared, claim))?;
    Ok(PieceReader {
        shared: Arc::clone(shared),
        handle: handle.clone(),
        claim: claim.clone(),
        piece: Vec::new(),
        read: 0,
        next: 0,
        pieces,
    })
}

async fn count(shared: &Shared, claim: &Claim) -> Result<i32, StoreError> {
    let reading = || format!("reading the payload of command {}", claim.command);
    let client = connection(&shared.pool).await?;
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
    shared: Arc<Shared>,
    handle: Handle,
    claim: Claim,
    piece: Vec<u8>,
    read: usize,
    next: i32,
    pieces: i32,
}

impl PieceReader {
    async fn next_piece(&self) -> Result<Vec<u8>, StoreError> {
        let reading = || format!("reading the payload of command {}", self.claim.command);
        let client = connection(&self.shared.pool).await?;
        let row = client
            .query_typed_one(
                "SELECT bytes FROM payload WHERE program = $1 AND command = $2 AND piece = $3",
                &[(&self.claim.program.0, Type::UUID), (&self.claim.command.0, Type::UUID), (&self.next, Type::INT4)],
            )
            .await
            .context(reading)?;
        row.try_get(0).context(reading)
    }
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            if self.next == self.pieces {
                return Ok(0);
            }
            self.piece = blocking(&self.handle, self.next_piece()).map_err(io::Error::other)?;
            self.read = 0;
            self.next += 1;
        }
        let rest = self.piece.get(self.read..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}
