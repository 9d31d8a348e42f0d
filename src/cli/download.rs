//! Files that a service sends, of any size: to a file that appears when it is whole, or to a stream.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::progress;

/// How many bytes are passed on at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Writes beside the file and renames, so that whoever finds it finds it whole.
pub(super) fn to_file(client: &Client, from: &str, path: &Path, output: Output) -> Result<u64, Failure> {
    let shown = path.display().to_string();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = File::create(&part).map_err(|error| unwritten(&shown, &error)).and_then(|file| {
        let mut out = BufWriter::new(file);
        let bytes = fetch(client, from, (&mut out, false), output)?;
        let file = out.into_inner().map_err(|error| unwritten(&shown, error.error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(|error| unwritten(&shown, &error))?;
        Ok(bytes)
    });
    if written.is_err() {
        // What is left of it is of no use; that it may stay is no reason to tell another story.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Passes a file on as it comes, and gives its size in bytes. `out` may be a terminal.
pub(super) fn fetch(
    client: &Client,
    from: &str,
    (out, is_terminal): (&mut dyn Write, bool),
    output: Output,
) -> Result<u64, Failure> {
    let mut body = client.stream(from)?;
    let bar = progress::download(is_terminal, output);
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let count = body.read(&mut piece).map_err(|error| {
            bar.finish_and_clear();
            Failure::ours(format!("the file broke off after {bytes} bytes: {error}"))
                .with_remedy("What was written is not all; get it again.")
        })?;
        if count == 0 {
            bar.finish_and_clear();
            out.flush().map_err(|error| unwritten("it", &error))?;
            return Ok(bytes);
        }
        out.write_all(&piece[..count]).map_err(|error| unwritten("it", &error))?;
        bytes += count as u64;
        bar.set_position(bytes);
    }
}

fn unwritten(what: &str, error: &io::Error) -> Failure {
    Failure::yours(format!("cannot write {what}: {error}"))
}
