//! A file on its way into the store: hashed, within its limit, in the store's pieces, whatever portions it comes in. Blocking.

use sha2::{Digest as _, Sha256};

use super::answer::Turned;
use super::data::Data;
use crate::command::{CommandId, Digest, Received};
use crate::store::{PIECE_BYTES, PayloadWriter, UploadId};
use crate::tenant::ProgramId;

/// A file of which some has come.
pub(super) struct Taking {
    writer: Box<dyn PayloadWriter>,
    /// What is not yet a piece of the store's.
    rest: Vec<u8>,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

impl Taking {
    pub(super) fn begin(data: &Data, (program, id): (ProgramId, UploadId), bytes_max: u64) -> Result<Taking, Turned> {
        let writer = data.receive(program, CommandId(id.0))?;
        Ok(Taking { writer, rest: Vec::with_capacity(PIECE_BYTES), hash: Sha256::new(), bytes: 0, bytes_max })
    }

    /// How much has come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what comes next. After a refusal it is no file any more: drop it.
    pub(super) fn take(&mut self, portion: &[u8]) -> Result<(), Turned> {
        self.bytes += portion.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Turned::TooLarge(self.bytes_max));
        }
        self.hash.update(portion);
        let mut left = portion;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(PIECE_BYTES - self.rest.len()));
            self.rest.extend_from_slice(now);
            left = later;
            if self.rest.len() == PIECE_BYTES {
                self.writer.write(&self.rest)?;
                self.rest.clear();
            }
        }
        Ok(())
    }

    /// That was all.
    pub(super) fn finish(mut self) -> Result<(Received, Digest), Turned> {
        if !self.rest.is_empty() {
            self.writer.write(&self.rest)?;
        }
        Ok((self.writer.finish()?, self.hash.finalize().into()))
    }
}
