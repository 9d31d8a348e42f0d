//! What the disk of the bench itself allows, by `dd`: nothing that is durable can be quicker.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::place::Place;
use super::table::{median, sorted};
use crate::roster::text_of;
use crate::say;

pub(super) const NAME: &str = "disk";

/// Small writes, each durable before the next: how many, and how large.
const WRITES: u64 = 500;
const WRITE_BYTES: u64 = 4_096;

/// How many small writes a second are durable, one after the other: over what is there, as into a log that is used again, so that no file grows.
pub(super) fn writes_a_second(directory: &Path) -> Result<f64, String> {
    let (size, count) = (format!("bs={WRITE_BYTES}"), format!("count={WRITES}"));
    let file = directory.join("floor");
    dd(&file, &["if=/dev/zero", &size, &count, "conv=fsync"])?;
    let seconds = dd(&file, &["if=/dev/zero", &size, &count, "conv=notrunc", "oflag=dsync"])?;
    gone(&file)?;
    Ok(WRITES as f64 / seconds)
}

/// How many MB a second of this file are written and durable at its end.
pub(super) fn megabytes_a_second(directory: &Path, file: &Path) -> Result<f64, String> {
    let bytes = fs::metadata(file).map_err(|fault| format!("{}: {fault}", file.display()))?.len();
    let to = directory.join("floor");
    let seconds = dd(&to, &[&format!("if={}", file.display()), "bs=1M", "conv=fsync"])?;
    gone(&to)?;
    Ok(bytes as f64 / 1e6 / seconds)
}

/// How long it takes, in seconds.
fn dd(to: &Path, arguments: &[&str]) -> Result<f64, String> {
    let begun = Instant::now();
    text_of(Command::new("dd").args(arguments).arg(format!("of={}", to.display())))?;
    Ok(begun.elapsed().as_secs_f64())
}

fn gone(file: &Path) -> Result<(), String> {
    fs::remove_file(file).map_err(|fault| format!("{}: {fault}", file.display()))
}

/// By itself; the other cases tell it as their floor.
pub(super) fn measure(place: &Place<'_>, file: &Path) -> Result<(), String> {
    if !place.wanted.wants(NAME) {
        return Ok(());
    }
    say(format_args!("\n{NAME}: what dd writes durably in the directory of the bench"));
    let (mut writes, mut megabytes) = (Vec::new(), Vec::new());
    for _ in 0..place.wanted.rounds {
        writes.push(writes_a_second(&place.directory)?);
        megabytes.push(megabytes_a_second(&place.directory, file)?);
    }
    say(format_args!(
        "  {:.0} writes of {WRITE_BYTES} bytes a second, each durable before the next; {:.0} MB/s of the first night's file, durable at its end",
        median(&sorted(writes)),
        median(&sorted(megabytes))
    ));
    Ok(())
}
