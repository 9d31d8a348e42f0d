//! A file made ready to be sent as it is: its digest has to be known before its first byte goes, and it is compressed where that pays.
//!
//! Over a network it does: CSV becomes some five times smaller, and Zstandard makes hundreds of megabytes a second of it. To the same
//! machine nothing is won, so the file is sent from where it lies. What is compressed goes to a temporary file first, because the digest
//! is over the bytes as they are sent, and because what is sent again must be the same.

use std::fs::File;
use std::io::{self, Read, Write};

use clap::ValueEnum;
use sha2::{Digest as _, Sha256};

use crate::import::Charset;
use crate::signature::print_digest;

use super::failure::Failure;
use super::output::Output;
use super::progress;
use super::source::{Source, temporary_file};

/// How many bytes are read at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// Quick, and about as small as CSV becomes; with a window of 2 MiB, which every decoder has.
const LEVEL: i32 = 3;
/// Services take what becomes 200 times as large for a bomb; real files are far from that.
const RATIO_MAX: u64 = 100;

/// Whether a file is compressed on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Compression {
    /// Unless the service is on this machine
    Auto,
    /// Wherever the service is
    Always,
    /// Send it as it is
    Never,
}

impl Compression {
    /// Whether it compresses what goes to a service on this machine, or to one elsewhere.
    pub(super) fn packs(self, is_near: bool) -> bool {
        match self {
            Compression::Auto => !is_near,
            Compression::Always => true,
            Compression::Never => false,
        }
    }
}

/// A file, its digest, and what is said about it.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    /// The bytes as they are sent.
    pub(super) source: Source,
    /// Whether these are compressed.
    pub(super) is_packed: bool,
    /// The header's value.
    pub(super) digest: String,
    /// As the caller says.
    pub(super) charset: Option<Charset>,
}

impl Upload {
    /// The value of `Content-Type`.
    pub(super) fn content_type(&self) -> String {
        match self.charset {
            Some(charset) => format!("text/csv; charset={}", charset.as_str()),
            None => "text/csv".to_owned(),
        }
    }

    /// Reads a file once, compresses it into a temporary file if `packs`, and finds its digest.
    pub(super) fn prepare(
        source: &Source,
        charset: Option<Charset>,
        packs: bool,
        output: Output,
    ) -> Result<Upload, Failure> {
        if !packs {
            let digest = hashed(source, &mut io::sink(), output).map_err(|error| unread(&error))?;
            return Ok(Upload { source: source.clone(), is_packed: false, digest: print_digest(&digest), charset });
        }
        let unpackable = |error: io::Error| Failure::yours(format!("cannot compress the file: {error}"));
        let file = temporary_file().map_err(unpackable)?;
        Upload::pack(source, charset, file, output)
    }

    /// The same, compressed into this file, which is empty.
    pub(super) fn pack(
        source: &Source,
        charset: Option<Charset>,
        file: File,
        output: Output,
    ) -> Result<Upload, Failure> {
        let unpackable = |error: io::Error| Failure::yours(format!("cannot compress the file: {error}"));
        let packed = Hashed { file, hash: Sha256::new() };
        let mut encoder = zstd::Encoder::new(packed, LEVEL).map_err(unpackable)?;
        let plain = hashed(source, &mut encoder, output).map_err(unpackable)?;
        let Hashed { file, hash } = encoder.finish().map_err(unpackable)?;
        let packed = Source::of_file(file).map_err(unpackable)?;
        let is_worth_it = packed.bytes() < source.bytes() && source.bytes() / RATIO_MAX <= packed.bytes();
        let (source, digest) = if is_worth_it { (packed, hash.finalize().into()) } else { (source.clone(), plain) };
        Ok(Upload { source, is_packed: is_worth_it, digest: print_digest(&digest), charset })
    }
}

/// Passes a file on, and gives its digest.
fn hashed(source: &Source, to: &mut impl Write, output: Output) -> io::Result<[u8; 32]> {
    let bar = progress::preparing(source.bytes(), output);
    let (mut reader, mut hash, mut piece) = (source.reader(), Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        let count = reader.read(&mut piece)?;
        if count == 0 {
            bar.finish_and_clear();
            return Ok(hash.finalize().into());
        }
        hash.update(&piece[..count]);
        to.write_all(&piece[..count])?;
        bar.inc(count as u64);
    }
}

fn unread(error: &io::Error) -> Failure {
    Failure::yours(format!("cannot read the file: {error}"))
}

/// A file that is written, and hashed meanwhile.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Output = Output { json: false, quiet: true };

    fn sent(upload: &Upload) -> Vec<u8> {
        let mut bytes = Vec::new();
        upload.source.reader().read_to_end(&mut bytes).expect("readable");
        assert_eq!(upload.digest, print_digest(&Sha256::digest(&bytes).into()));
        bytes
    }

    #[test]
    fn what_is_sent_is_the_file_or_becomes_it() {
        let rows: String = (0..50_000u64).map(|row| format!("{row},{}\n", row * row * 7_919 % 1_000_003)).collect();
        for (text, pays) in [(rows.as_str(), true), ("a\n", false), ("", false), (&"\n".repeat(3_000_000), false)] {
            let source = Source::of_text(text);
            let plain = Upload::prepare(&source, None, false, QUIET).expect("ready");
            assert_eq!((sent(&plain), plain.is_packed), (text.as_bytes().to_vec(), false));
            let packed = Upload::prepare(&source, None, true, QUIET).expect("ready");
            assert_eq!(packed.is_packed, pays, "{} bytes", text.len());
            let bytes = sent(&packed);
            let unpacked = if pays { zstd::decode_all(&*bytes).expect("readable") } else { bytes };
            assert!(unpacked == text.as_bytes());
        }
    }
}
