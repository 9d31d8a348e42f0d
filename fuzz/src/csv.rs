//! Records of a file, held against a slow and obvious splitter.
//!
//! The source gives little at a time, but `RowReader` fills its piece first: the border between two pieces is not reached from here.

use std::io::{self, Read};

use roster::import::{RowReader, RowsFault};

/// A record: its number, and its cells; `None` where text stands behind a closing quote.
type Record = (u64, Option<Vec<String>>);

/// The first byte is the size of the pieces, the rest the file.
pub(crate) fn records(data: &[u8]) {
    let Some((&size, file)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(file) else { return };
    let source = Pieces { rest: file, size: usize::from(size).max(1) };
    let found = read(&mut RowReader::new(source, b',').keeping_surplus(1 << 20));
    let expected = split_slowly(text.strip_prefix('\u{FEFF}').unwrap_or(text));
    assert_eq!(found, expected, "{text:?}");
}

struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(into.len());
        self.rest.read(&mut into[..size])
    }
}

/// The records; or the row whose quote is never closed.
fn read(reader: &mut RowReader<Pieces<'_>>) -> Result<Vec<Record>, u64> {
    let unclosed = |fault| match fault {
        RowsFault::UnclosedQuote { row } => row,
        other => panic!("{other}"),
    };
    let mut records = Vec::new();
    let mut next = reader.header().map_err(unclosed)?;
    while let Some(batch) = next {
        for row in batch.rows() {
            let cells = (0..row.width()).map(|column| row.cell(column).to_owned()).collect();
            records.push((row.number(), row.defect().is_none().then_some(cells)));
        }
        next = reader.next_batch().map_err(unclosed)?;
    }
    Ok(records)
}

/// One character after the other; the contract's sections 3 and 4.
fn split_slowly(text: &str) -> Result<Vec<Record>, u64> {
    let text: Vec<char> = text.chars().collect();
    let (mut records, mut number, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        if let Some(after) = line_end(&text, at) {
            // Blank lines before the header are dropped; those behind it count.
            number += u64::from(number > 0);
            at = after;
            continue;
        }
        number += 1;
        let (mut cells, mut is_good) = (Vec::new(), true);
        loop {
            let (cell, after, cell_is_good) = cell(&text, at).ok_or(number)?;
            cells.push(cell);
            is_good &= cell_is_good;
            at = after;
            if text.get(at) != Some(&',') {
                break;
            }
            at += 1;
        }
        at = line_end(&text, at).unwrap_or(at);
        records.push((number, is_good.then_some(cells)));
    }
    Ok(records)
}

/// Where the next line begins, if one ends here.
fn line_end(text: &[char], at: usize) -> Option<usize> {
    match (text.get(at)?, text.get(at + 1)) {
        ('\r', Some('\n')) => Some(at + 2),
        ('\r' | '\n', _) => Some(at + 1),
        _ => None,
    }
}

/// A cell, where it ends, and whether nothing but white space stands behind its closing quote. `None`: there is no closing quote.
fn cell(text: &[char], from: usize) -> Option<(String, usize, bool)> {
    let ends = |at: usize| text.get(at).is_none_or(|letter| matches!(letter, ',' | '\r' | '\n'));
    let mut at = from;
    while !ends(at) && text[at].is_whitespace() {
        at += 1;
    }
    let mut cell = String::new();
    let mut is_good = true;
    if text.get(at) == Some(&'"') {
        at += 1;
        loop {
            match (text.get(at)?, text.get(at + 1)) {
                ('"', Some('"')) => at += 1,
                ('"', _) => break,
                _ => {}
            }
            cell.push(text[at]);
            at += 1;
        }
        at += 1;
        while !ends(at) {
            is_good &= text[at].is_whitespace();
            at += 1;
        }
    } else {
        while !ends(at) {
            cell.push(text[at]);
            at += 1;
        }
    }
    Some((cell.trim().to_owned(), at, is_good))
}
