//! The quick judge of North American numbers (country code 1) in plain spelling: a loop over the bytes and one bit of a table,
//! some 20 ns where the library takes 1 000.
//!
//! It answers only where its answer is the library's (`tests` compares the two) and is [`Verdict::Unsure`] otherwise. The table
//! says for each prefix, that is area code and exchange, whether the library holds its numbers for valid; `rebuild` makes it
//! from the library (`cargo xtask phone-table`).
//!
//! Not here: extensions, letters, other countries, 7-digit local numbers.

use std::sync::LazyLock;

use super::Phone;

/// The regions with country code 1. A constant, so that asking does not load the library; a test compares the two.
pub(super) const REGIONS: [&[u8; 2]; 25] = [
    b"AG", b"AI", b"AS", b"BB", b"BM", b"BS", b"CA", b"DM", b"DO", b"GD", b"GU", b"JM", b"KN", b"KY", b"LC", b"MP",
    b"MS", b"PR", b"SX", b"TC", b"TT", b"US", b"VC", b"VG", b"VI",
];

/// What a look at the spelling and the prefix says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Valid(Phone),
    Invalid,
    /// Ask the library.
    Unsure,
}

/// Judges a cell. `nanp`: the region's country code is 1, so that a number without `+` is a North American one.
pub(super) fn judge(cell: &[u8], nanp: bool) -> Verdict {
    match national_number(cell, nanp) {
        Some(number) => verdict(number, TABLE.of(number / LINES)),
        None => Verdict::Unsure,
    }
}

/// The prefixes that can be: an area code begins with 2 to 9.
pub(super) const PREFIXES: std::ops::Range<u64> = 200_000..1_000_000;
/// Line numbers under each prefix.
pub(super) const LINES: u64 = 10_000;
const TEN_DIGITS: u64 = 10_000_000_000;
const COUNTRY_CODE: u64 = 1;

/// What the table says of a prefix within [`PREFIXES`].
#[cfg(test)]
pub(super) fn prefix(prefix: u64) -> Prefix {
    TABLE.of(prefix)
}

fn verdict(number: u64, prefix: Prefix) -> Verdict {
    match prefix {
        Prefix::Valid => Verdict::Valid(Phone(COUNTRY_CODE * TEN_DIGITS + number)),
        Prefix::Invalid => Verdict::Invalid,
        Prefix::Mixed => Verdict::Unsure,
    }
}

/// From ten bare digits to `+1 (239) 574 - 5030` and a blank; what is longer is no plain spelling.
const SPELLING_BYTES: std::ops::RangeInclusive<usize> = 10..=20;

/// The ten digits, if the spelling leaves no doubt that it means an NANP number.
fn national_number(cell: &[u8], nanp: bool) -> Option<u64> {
    if !SPELLING_BYTES.contains(&cell.len()) {
        return None;
    }
    let (international, rest) = match cell.strip_prefix(b"+") {
        // Right after it: the library reads `+ 1` and `+(1` as well, but then so do we, by asking.
        Some(rest) => (true, rest.starts_with(b"1").then_some(rest)?),
        None => (false, nanp.then_some(cell)?),
    };
    let (digits, count) = digits(rest)?;
    let number = match count {
        10 if !international => digits,
        11 if digits / TEN_DIGITS == COUNTRY_CODE => digits % TEN_DIGITS,
        _ => return None,
    };
    PREFIXES.contains(&(number / LINES)).then_some(number)
}

/// The digits among plain punctuation, and how many they are. At most 20 bytes come in; the count is looked at before the value
/// is, so one that wraps around is never used.
fn digits(spelling: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    let mut count = 0;
    for &byte in spelling {
        match byte {
            b'0'..=b'9' => {
                value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                count += 1;
            }
            b' ' | b'-' | b'.' | b'(' | b')' => {}
            _ => return None,
        }
    }
    Some((value, count))
}

/// What the library says of the numbers of one prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prefix {
    Invalid,
    Valid,
    /// Valid or not, depending on the line number.
    Mixed,
}

/// The answers for all prefixes, spread out: 122 KiB, decoded at the first look-up in well under a millisecond.
struct Table {
    /// One bit for each prefix: all its numbers are valid.
    valid: Box<[u64]>,
    /// There are three.
    mixed: Vec<u64>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::of_runs(runs(FILE.runs)));

impl Table {
    fn of_runs(runs: impl Iterator<Item = (Prefix, u64)>) -> Table {
        let mut table = Table { valid: vec![0; PREFIXES.end.div_ceil(64) as usize].into(), mixed: Vec::new() };
        let mut start = PREFIXES.start;
        for (prefix, length) in runs {
            let end = start.saturating_add(length).min(PREFIXES.end);
            match prefix {
                Prefix::Invalid => {}
                Prefix::Valid => (start..end).for_each(|at| table.valid[(at / 64) as usize] |= 1 << (at % 64)),
                Prefix::Mixed => table.mixed.extend(start..end),
            }
            start = end;
        }
        table
    }

    /// `prefix` is within [`PREFIXES`].
    fn of(&self, prefix: u64) -> Prefix {
        if self.valid[(prefix / 64) as usize] >> (prefix % 64) & 1 == 1 {
            Prefix::Valid
        } else if self.mixed.contains(&prefix) {
            Prefix::Mixed
        } else {
            Prefix::Invalid
        }
    }
}

/// `nanp_prefixes.bin`: the metadata's version, a line feed, the library's version, a line feed, and the runs of prefixes with
/// the same answer, each as LEB128 of `length * 3 + answer`, from the first of [`PREFIXES`] to the last.
pub(super) struct File<'a> {
    pub(super) metadata_version: &'a str,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the lock file"))]
    pub(super) library_version: &'a str,
    pub(super) runs: &'a [u8],
}

pub(super) const FILE: File<'static> = File::read(include_bytes!("nanp_prefixes.bin"));
pub(super) const METADATA_VERSION: &str = FILE.metadata_version;

impl<'a> File<'a> {
    /// At compile time, so a file without its two lines does not build.
    const fn read(bytes: &'a [u8]) -> File<'a> {
        let (metadata_version, rest) = line(bytes);
        let (library_version, runs) = line(rest);
        File { metadata_version, library_version, runs }
    }
}

const fn line(bytes: &[u8]) -> (&str, &[u8]) {
    let mut at = 0;
    while bytes[at] != b'\n' {
        at += 1;
    }
    let (line, rest) = bytes.split_at(at);
    match std::str::from_utf8(line) {
        Ok(line) => (line, rest.split_at(1).1),
        Err(_) => ("", rest),
    }
}

/// The runs that the file's last part says.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = (Prefix, u64)> {
    std::iter::from_fn(move || {
        let code = leb128(&mut bytes)?;
        let prefix = match code % 3 {
            0 => Prefix::Invalid,
            1 => Prefix::Valid,
            _ => Prefix::Mixed,
        };
        Some((prefix, code / 3))
    })
}

fn leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
