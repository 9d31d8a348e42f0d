//! From the bytes of a file as they are sent to the file in the store: hashed, decompressed, within limits. Blocking, and never more of
//! it in memory than a few pieces.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refused;
use super::body::too_large;
use super::data::Data;
use crate::command::{CommandId, Digest, Payload};
use crate::problem::{Code, Problem};
use crate::store::{PIECE_BYTES, PayloadWriter, StoreError};
use crate::tenant::ProgramId;

/// Up to this size a file stays in memory until its command is accepted.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// A file may become so many times larger by decompression; real ones become some five to twenty times larger.
const RATIO_MAX: u64 = 200;
/// But up to this size nobody asks.
const RATIO_ASKED_FROM_BYTES: u64 = 4 << 20;
/// The largest window of zstd, as a power of two: 8 MiB, which every decoder should have (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MAX: u32 = 23;

/// How the bytes of a file are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Where a file is to go, and what it must be.
pub(super) struct Spool {
    pub(super) data: Data,
    pub(super) program: ProgramId,
    pub(super) command: CommandId,
    pub(super) coding: Coding,
    /// Of the bytes as they are sent.
    pub(super) digest: Digest,
    /// Decompressed.
    pub(super) bytes_max: u64,
    /// Who decompresses takes turns, a piece at a time.
    pub(super) turns: Arc<Semaphore>,
}

/// How many may decompress at the same moment. Half of the cores: the rest is for those who send something else.
pub(super) fn unpacking_max() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
}

/// The turn of one who decompresses: for a piece, until the store has it, but not while a client is waited for. Twenty bombs are no more in
/// others' way than one.
struct Turn {
    turns: Arc<Semaphore>,
    had: RefCell<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    fn take(&self) {
        let turn = Handle::current().block_on(Arc::clone(&self.turns).acquire_owned());
        // Nobody closes it.
        *self.had.borrow_mut() = turn.ok();
    }

    /// Whether it was had.
    fn leave(&self) -> bool {
        self.had.borrow_mut().take().is_some()
    }
}

/// Why a file was not received.
enum Broken {
    /// What is sent cannot be read: it breaks off, or is not what it is said to be.
    Reading(io::Error),
    TooLarge(Problem),
    Store(StoreError),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Broken {
        Broken::Store(error)
    }
}

impl Spool {
    /// Takes in what comes until its end.
    pub(super) fn run(self, coming: Receiver<Option<Bytes>>) -> Result<Payload, Refused> {
        let bytes = Cell::new(0);
        let turn = Turn { turns: Arc::clone(&self.turns), had: RefCell::default() };
        let mut sent =
            Sent { coming, portion: Bytes::new(), hash: Sha256::new(), bytes: &bytes, is_over: false, turn: &turn };
        let stored = self.store_all(&mut sent, &turn);
        turn.leave();
        let stored = match stored {
            Ok(payload) => Ok(payload),
            // Whose fault it is, is known only when the digest is.
            Err(Broken::Reading(fault)) => Err(fault),
            Err(Broken::TooLarge(problem)) => return Err(problem.into()),
            Err(Broken::Store(fault)) => return Err(fault.into()),
        };
        io::copy(&mut sent, &mut io::sink()).map_err(|_| Refused::from(broken_off()))?;
        let digest: Digest = sent.hash.finalize().into();
        if digest != self.digest {
            let detail =
                format!("The digest of the {} bytes that arrived is not the one in Content-Digest", bytes.get());
            return Err(Problem::new(Code::DigestMismatch, detail).into());
        }
        stored.map_err(|fault| {
            let detail = format!("The digest fits, but the body cannot be decompressed: {fault}");
            Problem::new(Code::BadContentEncoding, detail).into()
        })
    }

    fn store_all(&self, sent: &mut Sent<'_>, turn: &Turn) -> Result<Payload, Broken> {
        let sent_bytes = sent.bytes;
        let mut file: Box<dyn Read + '_> = match self.coding {
            Coding::Identity => Box::new(sent),
            Coding::Gzip => Box::new(MultiGzDecoder::new(sent)),
            Coding::Zstd => {
                let mut decoder = zstd::Decoder::new(sent).map_err(Broken::Reading)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(Broken::Reading)?;
                Box::new(decoder)
            }
        };
        let (mut writer, mut bytes): (Option<Box<dyn PayloadWriter>>, u64) = (None, 0);
        let mut piece = Vec::new();
        loop {
            piece.clear();
            if self.coding != Coding::Identity {
                turn.take();
            }
            (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(Broken::Reading)?;
            bytes += piece.len() as u64;
            self.check_size(bytes, sent_bytes.get())?;
            let is_last = piece.len() < PIECE_BYTES;
            let mut writing = match writer {
                Some(writing) => writing,
                None if is_last && piece.len() <= HELD_BYTES_MAX => return Ok(Payload::Held(piece)),
                None => self.data.receive(self.program, self.command)?,
            };
            if !piece.is_empty() {
                writing.write(&piece)?;
            }
            turn.leave();
            if is_last {
                return Ok(Payload::Received(writing.finish()?));
            }
            writer = Some(writing);
        }
    }

    fn check_size(&self, bytes: u64, sent_bytes: u64) -> Result<(), Broken> {
        if bytes > self.bytes_max {
            let Problem { detail, more, .. } = too_large(self.bytes_max, None);
            let detail = format!("Decompressed: {detail}");
            return Err(Broken::TooLarge(Problem { more, ..Problem::new(Code::TooLarge, detail) }));
        }
        if bytes > RATIO_ASKED_FROM_BYTES && bytes / RATIO_MAX > sent_bytes {
            let detail = format!("Decompression makes the body more than {RATIO_MAX} times as large");
            return Err(Broken::TooLarge(Problem::new(Code::TooLarge, detail).with("ratioLimit", RATIO_MAX)));
        }
        Ok(())
    }
}

fn broken_off() -> Problem {
    Problem::new(Code::DigestMismatch, "The body ended before its end")
}

/// The bytes as they are sent, hashed and counted as they are read.
struct Sent<'a> {
    coming: Receiver<Option<Bytes>>,
    portion: Bytes,
    hash: Sha256,
    bytes: &'a Cell<u64>,
    is_over: bool,
    turn: &'a Turn,
}

impl Sent<'_> {
    /// The next portion, for which nobody waits in others' time.
    fn next(&mut self) -> Option<Option<Bytes>> {
        if let Ok(portion) = self.coming.try_recv() {
            return Some(portion);
        }
        let had = self.turn.leave();
        let portion = self.coming.blocking_recv();
        if had {
            self.turn.take();
        }
        portion
    }
}

impl Read for Sent<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.portion.is_empty() && !self.is_over {
            match self.next() {
                Some(Some(portion)) => {
                    self.hash.update(&portion);
                    self.bytes.set(self.bytes.get() + portion.len() as u64);
                    self.portion = portion;
                }
                Some(None) => self.is_over = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it breaks off")),
            }
        }
        let count = self.portion.len().min(into.len());
        self.portion.split_to(count).copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
