//! The attackers: connections that are slow, files that explode, signatures that are guessed. Each does its harm until it is told to stop,
//! and counts what it was answered.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::http::Connection;
use crate::roster::{Tenant, text_of};
use crate::sign::{Signed, timestamp};

/// Connections over which guessed signatures are sent.
const FLOODS: u64 = 8;
/// How often each sends some, and looks for the answers.
const FLOOD_EVERY: Duration = Duration::from_millis(20);
/// How often each slow connection says a bit more.
const DRIP_EVERY: Duration = Duration::from_millis(1_000);
/// The bombs' size, unpacked.
const BOMB_BYTES: usize = 200 << 20;
/// A block of Zstandard that is one byte so many times.
const BLOCK_BYTES: usize = 128 * 1024;
/// How long nobody waits for an answer any more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What all attackers share.
pub(super) struct Attack {
    pub(super) address: String,
    /// Another account's, which has a token: files are signed.
    pub(super) tenant: Tenant,
    /// A token of the one who is to suffer.
    pub(super) victim: String,
    pub(super) stop: AtomicBool,
    /// By who, and status; `closed` where there was none.
    pub(super) answers: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// Guessed signatures that were answered.
    pub(super) refused: AtomicU64,
}

impl Attack {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, who: &'static str, what: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *answers.entry((who, what.to_owned())).or_default() += 1;
    }
}

/// Keeps so many slow connections open: silent ones, heads and bodies that come a byte at a time, and one request and then nothing.
pub(super) fn slow(attack: &Attack, count: usize) {
    let mut open: Vec<Option<(TcpStream, usize)>> = (0..count).map(|_| None).collect();
    while attack.goes_on() {
        let begun = Instant::now();
        for (number, place) in open.iter_mut().enumerate() {
            if !attack.goes_on() {
                return;
            }
            match place {
                None => *place = begin_slowly(attack, number % 4).map(|stream| (stream, number % 4)),
                Some((stream, shape)) => {
                    let ended = look(stream);
                    if let Some(what) = ended {
                        attack.note("slow", &what);
                        *place = None;
                    } else if (*shape == 1 || *shape == 2) && stream.write(b"x").is_err() {
                        attack.note("slow", "closed");
                        *place = None;
                    }
                }
            }
        }
        pause(attack, DRIP_EVERY.saturating_sub(begun.elapsed()));
    }
}

fn begin_slowly(attack: &Attack, shape: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(&attack.address).ok()?;
    let said = match shape {
        0 => String::new(),
        1 => "GET /v1/programs/x HTTP/1.1\r\nX: ".to_owned(),
        2 => {
            let now = timestamp(SystemTime::now());
            format!(
                "POST /v2/programs/x/participants HTTP/1.1\r\nAuthorization: SignalVine {}:{}\r\nSignalVine-Date: {now}\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n",
                attack.victim,
                "A".repeat(43)
            )
        }
        _ => "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
    };
    stream.write_all(said.as_bytes()).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// How a connection has ended, if it has. The one answer that leaves it open is read over.
fn look(stream: &mut TcpStream) -> Option<String> {
    let mut answer = [0; 2_048];
    match stream.read(&mut answer) {
        Ok(0) => Some("closed".to_owned()),
        Ok(count) => {
            let status = status(&answer[..count]);
            (status != "200").then_some(status)
        }
        Err(fault) if fault.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some("closed".to_owned()),
    }
}

fn status(answer: &[u8]) -> String {
    answer.get(9..12).map_or("closed".to_owned(), |status| String::from_utf8_lossy(status).into_owned())
}

fn pause(attack: &Attack, most: Duration) {
    let begun = Instant::now();
    while attack.goes_on() && begun.elapsed() < most {
        std::thread::sleep(Duration::from_millis(10).min(most));
    }
}

/// Sends one bomb after the other.
pub(super) fn bombs(attack: &Attack, number: usize, gzip: &[u8]) {
    let (coding, body) = if number.is_multiple_of(2) { ("gzip", gzip.to_vec()) } else { ("zstd", zstd_bomb()) };
    let path = format!("/v2/programs/{}/participants?new=add&existing=ignore&mode=row", attack.tenant.program);
    // What was refused is not remembered: the same again is a bomb again.
    let request = Signed::stream(&attack.tenant, &path, body).coded(coding);
    let mut connection = None;
    while attack.goes_on() {
        let open = connection.take().or_else(|| Connection::open(&attack.address).ok());
        let Some(mut open) = open else { continue };
        match request.send(&mut open) {
            Ok(answer) => {
                attack.note("bomb", &answer.status.to_string());
                connection = Some(open);
            }
            Err(_) => attack.note("bomb", "closed"),
        }
    }
}

/// Line ends, a thousand times smaller.
pub(super) fn gzip_bomb() -> Result<Vec<u8>, String> {
    let made = std::env::temp_dir().join(format!("roster-bomb-{}", std::process::id()));
    let script = format!("head -c {BOMB_BYTES} /dev/zero | tr '\\0' '\\n' | gzip -9 > \"$1\"");
    text_of(Command::new("sh").args(["-c", &script, "bomb"]).arg(&made))?;
    let bomb = std::fs::read(&made).map_err(|fault| format!("{}: {fault}", made.display()));
    let _ = std::fs::remove_file(&made);
    bomb
}

/// The same by hand: blocks of one byte each (RFC 8878, section 3.1.1.2).
fn zstd_bomb() -> Vec<u8> {
    // Magic number; a frame without its size and with a window of 128 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
    let blocks = BOMB_BYTES / BLOCK_BYTES;
    for block in 1..=blocks {
        let is_last = u32::from(block == blocks);
        let header = (BLOCK_BYTES as u32) << 3 | 1 << 1 | is_last;
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(b'\n');
    }
    bomb
}

/// Sends guessed signatures, so many a second over all connections, half of them with tokens that nobody has.
pub(super) fn flood(attack: &Attack, number: u64, a_second: u64) {
    let mut connection: Option<TcpStream> = None;
    let (begun, mut sent, mut guess) = (Instant::now(), 0u64, number << 32);
    let mut answer = vec![0; 64 * 1024];
    while attack.goes_on() {
        let due = (begun.elapsed().as_secs_f64() * a_second as f64 / FLOODS as f64) as u64;
        // What was missed is not made up for: it would be another attack.
        sent = sent.max(due.saturating_sub(a_second / FLOODS));
        let count = (due - sent).min(64);
        if count == 0 {
            pause(attack, FLOOD_EVERY);
            continue;
        }
        if connection.is_none() {
            let open = TcpStream::connect(&attack.address);
            connection = open.ok().filter(|open| open.set_read_timeout(Some(ANSWERED_WITHIN)).is_ok());
        }
        let Some(stream) = &mut connection else { continue };
        let requests: String = (0..count).map(|_| guessed(attack, &mut guess)).collect();
        let mut is_whole = stream.write_all(requests.as_bytes()).is_ok();
        let mut answered = 0;
        let mut held = 0;
        while is_whole && answered < count {
            match stream.read(&mut answer[held..]) {
                Ok(0) | Err(_) => is_whole = false,
                Ok(more) => {
                    let (statuses, kept) = read_statuses(&answer[..held + more]);
                    answered += statuses.len() as u64;
                    statuses.iter().for_each(|status| attack.note("signature", status));
                    answer.copy_within(held + more - kept..held + more, 0);
                    held = kept;
                }
            }
        }
        attack.refused.fetch_add(answered, Ordering::Relaxed);
        sent += count;
        if !is_whole {
            attack.note("signature", "closed");
            connection = None;
        }
    }
}

pub(super) fn floods() -> u64 {
    FLOODS
}

fn guessed(attack: &Attack, guess: &mut u64) -> String {
    *guess += 1;
    let now = timestamp(SystemTime::now());
    let token = if guess.is_multiple_of(2) { attack.victim.clone() } else { format!("{:032x}", *guess) };
    format!(
        "POST /v2/programs/x/participants HTTP/1.1\r\nHost: x\r\nAuthorization: SignalVine {token}:{:043}\r\nSignalVine-Date: {now}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        *guess
    )
}

/// The statuses of the answers whose first line is there, and how many bytes at the end may be the beginning of the next.
fn read_statuses(bytes: &[u8]) -> (Vec<String>, usize) {
    const START: &[u8] = b"HTTP/1.1 ";
    let mut statuses = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'H').map(|found| at + found) {
        let rest = &bytes[found..];
        if rest.len() < START.len() + 3 {
            let is_start = START.starts_with(&rest[..rest.len().min(START.len())]);
            return (statuses, if is_start { rest.len() } else { 0 });
        }
        if rest.starts_with(START) {
            statuses.push(String::from_utf8_lossy(&rest[9..12]).into_owned());
        }
        at = found + 1;
    }
    (statuses, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_wherever_they_are_cut() {
        let answers =
            b"HTTP/1.1 401 Unauthorized\r\nX: Hello\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n";
        for cut in 0..answers.len() {
            let (mut first, kept) = read_statuses(&answers[..cut]);
            let (second, _) = read_statuses(&answers[cut - kept..]);
            first.extend(second);
            assert_eq!(first, ["401", "200", "503"], "cut at {cut}");
        }
    }

    #[test]
    fn a_bomb_is_small() {
        assert!(zstd_bomb().len() < 10_000);
        assert!(gzip_bomb().expect("gzip is there").len() < 400_000);
    }
}
