//! `cargo xtask bench-file PATH ROWS [CHANGED_EVERY]`: a CSV file of contacts for measuring, the same on every machine.
//!
//! It is like the files that offices send: phones in many spellings, names with accents, commas and quotes in cells. Every
//! row is good. With `CHANGED_EVERY` one row in so many has another note and other credits: the file of the next night.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::{complain, say};

/// Twelve columns: six system fields and six of the program's own.
const HEADER: &str =
    "customer_id,phone,first_name,last_name,active,group_list,major,gpa,credits,honors,enrolled_on,notes";

/// The program's own fields, as `roster program create --field` takes them.
pub(crate) const FIELDS: [&str; 6] =
    ["major:String", "gpa:Float", "credits:Numeric", "honors:Maybe (Boolean)", "enrolled_on:Date", "notes:String"];

/// More would need more area codes than are listed below.
const ROWS_MAX: u64 = (AREA_CODES.len() * EXCHANGES * LINES) as u64;

const FIRST_NAMES: [&str; 16] = [
    "Maria",
    "José",
    "Aaliyah",
    "Zoë",
    "Nguyễn",
    "Oluwaseun",
    "Siobhán",
    "John",
    "Emily",
    "Łukasz",
    "Mei-Ling",
    "Dwayne",
    "D'Angelo",
    "Ana Sofía",
    "Björn",
    "Grace",
];
const LAST_NAMES: [&str; 16] = [
    "García",
    "Smith",
    "O'Neil",
    "Nuñez-Ångström",
    "Johnson",
    "Müller",
    "Okafor",
    "Washington",
    "Lee",
    "Trần",
    "\"Smith, Jr.\"",
    "Begay",
    "Kowalski",
    "de la Cruz",
    "Yazzie",
    "Brown",
];
const GROUPS: [&str; 5] = ["", "freshmen", "freshmen;honors", "transfer", "athletes;transfer;commuters"];
const MAJORS: [&str; 8] = [
    "Biology",
    "\"Business, General\"",
    "Undeclared",
    "Computer Science",
    "Nursing",
    "\"Arts, \"\"Studio\"\"\"",
    "History",
    "Español",
];
const NOTES: [&str; 6] = [
    "",
    "\"prefers texts, not calls; works until five\"",
    "called twice in August and left a message both times",
    "\"said \"\"maybe in spring\"\"\"",
    "naïve about deadlines – follow up before the first of March",
    "waiting for the final transcript of the last school",
];
const AREA_CODES: [u64; 16] = [212, 303, 312, 404, 405, 512, 602, 617, 702, 713, 801, 804, 916, 917, 919, 972];
/// From 200 to 999 without those that end in 11 or are 555.
const EXCHANGES: usize = 800 - 8 - 1;
const EXCHANGE: [u64; EXCHANGES] = exchanges();
const LINES: usize = 10_000;

const fn exchanges() -> [u64; EXCHANGES] {
    let (mut found, mut count, mut exchange) = ([0; EXCHANGES], 0, 200);
    while exchange < 1_000 {
        if exchange % 100 != 11 && exchange != 555 {
            found[count] = exchange;
            count += 1;
        }
        exchange += 1;
    }
    found
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let (path, rows, changed_every) = match arguments {
        [path, rows] => (path, rows.parse(), Ok(0)),
        [path, rows, changed_every] => (path, rows.parse(), changed_every.parse()),
        _ => return usage(),
    };
    let (Ok(rows), Ok(changed_every)) = (rows, changed_every) else { return usage() };
    if rows > ROWS_MAX {
        complain(format_args!("at most {ROWS_MAX} rows: there are no more phones"));
        return ExitCode::from(2);
    }
    let written = File::create(Path::new(path))
        .and_then(|file| write(BufWriter::new(file), rows, Changes::one_in(changed_every)));
    match written {
        Ok(bytes) => {
            say(format_args!("{path}: {rows} rows, {bytes} bytes; the program needs the fields"));
            FIELDS.iter().for_each(|field| say(format_args!("  --field '{field}'")));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            complain(format_args!("{path}: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    complain("usage: cargo xtask bench-file PATH ROWS [CHANGED_EVERY]");
    ExitCode::from(2)
}

/// Which rows are other ones than in the first file.
#[derive(Clone, Copy)]
pub(crate) struct Changes {
    /// One row in so many; 0: none.
    pub(crate) every: u64,
    /// From 1: the same row is another one in each night.
    pub(crate) night: u64,
}

impl Changes {
    pub(crate) fn one_in(every: u64) -> Changes {
        Changes { every, night: 1 }
    }

    /// The night of a row; 0: it is as in the first file.
    fn night_of(self, number: u64) -> u64 {
        if self.every > 0 && number.is_multiple_of(self.every) { self.night } else { 0 }
    }
}

/// Writes the file, and gives its size in bytes.
pub(crate) fn write(mut file: impl Write, rows: u64, changes: Changes) -> io::Result<u64> {
    let mut bytes = 0;
    let mut line = format!("{HEADER}\n");
    for number in 0..=rows {
        file.write_all(line.as_bytes())?;
        bytes += line.len() as u64;
        line = row(number, changes.night_of(number));
    }
    file.flush()?;
    Ok(bytes)
}

fn row(number: u64, night: u64) -> String {
    let mut dice = Dice(number);
    let phone = spelled(phone(number), dice.below(6));
    let first_name = dice.one(&FIRST_NAMES);
    let last_name = dice.one(&LAST_NAMES);
    let active = dice.one(&["true", "true", "True", "yes", "false", "1"]);
    let groups = dice.one(&GROUPS);
    let major = dice.one(&MAJORS);
    let gpa = format!("{}.{:02}", dice.below(4), dice.below(100));
    let credits = dice.below(140) + night;
    let credits = if dice.below(4) == 0 { format!("{credits}.0") } else { credits.to_string() };
    let honors = dice.one(&["", "yes", "no", "TRUE", "f"]);
    let (month, day) = (dice.below(12) + 1, dice.below(28) + 1);
    let enrolled_on = match dice.below(3) {
        0 => format!("{month}/{day}/2026"),
        _ => format!("2026-{month:02}-{day:02}"),
    };
    let notes = match night {
        0 => dice.one(&NOTES),
        1 => "changed last night",
        _ => "changed in a later night",
    };
    format!(
        "C{number:09},{phone},{first_name},{last_name},{active},{groups},{major},{gpa},{credits},{honors},{enrolled_on},{notes}\n"
    )
}

/// A valid North American number, another one for each row, scattered as in life.
pub(crate) fn phone(number: u64) -> u64 {
    // A step that has no factor in common with the number of phones meets each once.
    const STEP: u64 = 39_916_801;
    let at = number * STEP % ROWS_MAX;
    let (area, rest) = (at / (EXCHANGES * LINES) as u64, at % (EXCHANGES * LINES) as u64);
    let exchange = EXCHANGE[rest as usize / LINES];
    (AREA_CODES[area as usize] * 1_000 + exchange) * LINES as u64 + rest % LINES as u64
}

fn spelled(phone: u64, spelling: u64) -> String {
    let (area, exchange, line) = (phone / 10_000_000, phone / 10_000 % 1_000, phone % 10_000);
    match spelling {
        0 => format!("({area}) {exchange}-{line:04}"),
        1 => format!("{area}-{exchange}-{line:04}"),
        2 => format!("+1 {area} {exchange} {line:04}"),
        3 => format!("+1{phone}"),
        4 => format!("{area}.{exchange}.{line:04}"),
        _ => phone.to_string(),
    }
}

/// Numbers that look random and are the same for the same row (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn file(rows: u64, changed_every: u64) -> String {
        let mut bytes = Vec::new();
        let size = write(&mut bytes, rows, Changes::one_in(changed_every)).expect("written");
        assert_eq!(size, bytes.len() as u64);
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_file_is_the_same_every_time() {
        assert_eq!(file(1_000, 0), file(1_000, 0));
        assert_eq!(file(2, 0).lines().count(), 3);
        assert!(file(1_000, 0).starts_with(&file(10, 0)), "a longer file begins as a shorter one");
    }

    #[test]
    fn one_row_in_so_many_is_another() {
        let (before, after) = (file(1_000, 0), file(1_000, 100));
        let changed = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
        assert_eq!(changed, 10);
        let mut later = Vec::new();
        write(&mut later, 1_000, Changes { every: 1, night: 2 }).expect("written");
        let later = String::from_utf8(later).expect("UTF-8");
        assert_eq!(after.lines().zip(later.lines()).filter(|(after, later)| after != later).count(), 1_000);
    }

    #[test]
    fn every_row_has_the_header_s_cells() {
        let cells = |line: &str| {
            let mut quoted = false;
            1 + line
                .chars()
                .filter(|sign| {
                    quoted ^= *sign == '"';
                    *sign == ',' && !quoted
                })
                .count()
        };
        assert!(file(2_000, 7).lines().all(|line| cells(line) == 12));
    }

    #[test]
    fn no_phone_is_there_twice() {
        let phones: HashSet<u64> = (0..200_000).map(phone).collect();
        assert_eq!(phones.len(), 200_000);
        assert!(phones.iter().all(|phone| (2_000_000_000..10_000_000_000).contains(phone)));
    }
}
