//! Bytes to records: the CSV of a file, with row numbers as a spreadsheet shows them, in batches of bounded size.
//!
//! Own code, because no library tells text behind a closing quote apart (they pass it on, or join rows in silence), and
//! because a broken record must not take its neighbours with it. The rules (contract, section 4): UTF-8 with an optional
//! BOM; LF, CRLF or CR; RFC 4180 quotes with newlines in them; white space around a cell is dropped before anything else, so
//! a quote behind leading blanks opens a quoted cell; a quote inside an unquoted cell is literal.

use std::io::{self, Read};

use super::form::Charset;
use super::records::{Batch, Splitter};

/// The most records in a batch.
const BATCH_ROWS_MAX: usize = 4_096;
/// A batch ends with the record that brings it to this size, in bytes of cells.
pub(super) const BATCH_BYTES_ENOUGH: usize = 2 * 1024 * 1024;
/// The longest record, in bytes of cells; else a quote that is never closed would bring a file of gigabytes into memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most room for cells that is kept for the next batch, in bytes: a batch may end with one very long record.
const BATCH_BYTES_REUSED_MAX: usize = 2 * BATCH_BYTES_ENOUGH;
/// How much is read from the source at a time, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// Why the rows of a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RowsFault {
    /// The source failed.
    #[error("reading the file failed: {0}")]
    Read(io::Error),
    /// The file has a byte that its charset does not have there.
    #[error("the file is not {} at byte {offset}", charset.as_str())]
    BadEncoding {
        /// What it is read as.
        charset: Charset,
        /// The first byte that is wrong, counted from 0.
        offset: u64,
    },
    /// A record is longer than any can be.
    #[error("row {row} is longer than {RECORD_BYTES_MAX} bytes")]
    RecordTooLong {
        /// Which one.
        row: u64,
    },
    /// A quote is never closed.
    #[error("the quote that opens in row {row} is never closed")]
    UnclosedQuote {
        /// The row in which it opens.
        row: u64,
    },
}

/// Reads records in batches, whatever the size of the file.
pub struct RowReader<R> {
    source: R,
    chunk: String,
    /// Where the next byte to be split is.
    at: usize,
    /// The beginning of a character that the chunk cuts off.
    cut_off: Vec<u8>,
    /// Bytes of the file before `chunk[0]`.
    chunk_offset: u64,
    ended: bool,
    /// How much is read at a time.
    chunk_bytes: usize,
    splitter: Splitter,
}

impl<R: Read> RowReader<R> {
    /// Begins at the start of a file, with this delimiter (one ASCII character).
    pub fn new(source: R, delimiter: u8) -> RowReader<R> {
        RowReader {
            source,
            chunk: String::new(),
            at: 0,
            cut_off: Vec::new(),
            chunk_offset: 0,
            ended: false,
            chunk_bytes: CHUNK_BYTES,
            splitter: Splitter::new(delimiter),
        }
    }

    /// Keeps so many cells of a record beyond those of the header, and not one alone.
    pub fn keeping_surplus(mut self, cells_max: usize) -> RowReader<R> {
        self.splitter.surplus_kept = cells_max.max(1);
        self
    }

    /// Puts the next records where those of a batch were that nobody needs any more, instead of having fresh memory cleared for them.
    pub fn reuse(&mut self, spent: Batch) {
        if spent.bytes_of_room() <= BATCH_BYTES_REUSED_MAX {
            self.splitter.spent = spent;
        }
    }

    /// The first record that is not blank, in a batch of its own; `None` if there is none.
    pub fn header(&mut self) -> Result<Option<Batch>, RowsFault> {
        self.batch_of(1)
    }

    /// The next records; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, RowsFault> {
        self.batch_of(BATCH_ROWS_MAX)
    }

    /// Where the next record begins, in bytes of UTF-8 from the file's start: behind the whole line end of the one before.
    pub(super) fn next_record_at(&mut self) -> Result<u64, RowsFault> {
        if std::mem::take(&mut self.splitter.after_cr) {
            if self.at == self.chunk.len() && !self.ended {
                self.refill()?;
            }
            self.at += usize::from(self.chunk[self.at..].starts_with('\n'));
        }
        Ok(self.chunk_offset + self.at as u64)
    }

    /// Whether everything has been read, as far as is known: false may still be followed by no batch.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.at == self.chunk.len()
    }

    fn batch_of(&mut self, rows_max: usize) -> Result<Option<Batch>, RowsFault> {
        while !self.splitter.is_full(rows_max) {
            if self.at == self.chunk.len() {
                if self.ended {
                    self.splitter.end()?;
                    break;
                }
                self.refill()?;
            }
            self.at += self.splitter.split(&self.chunk[self.at..], rows_max);
            // Of what is before the record there is less than this.
            if self.splitter.text.len() > BATCH_BYTES_ENOUGH + RECORD_BYTES_MAX {
                return Err(RowsFault::RecordTooLong { row: self.splitter.row + 1 });
            }
        }
        Ok(self.splitter.take_batch())
    }

    /// Reads the next piece, as far as it is whole characters.
    fn refill(&mut self) -> Result<(), RowsFault> {
        let is_first = self.chunk_offset == 0 && self.chunk.is_empty();
        let mut bytes = std::mem::take(&mut self.chunk).into_bytes();
        bytes.drain(..self.at);
        self.chunk_offset += std::mem::take(&mut self.at) as u64;
        bytes.append(&mut self.cut_off);
        let carried = bytes.len();
        (&mut self.source).take((self.chunk_bytes - carried) as u64).read_to_end(&mut bytes)?;
        self.ended = bytes.len() < self.chunk_bytes;
        self.chunk = String::from_utf8(bytes).or_else(|fault| {
            let (why, mut bytes) = (fault.utf8_error(), fault.into_bytes());
            if why.error_len().is_some() || self.ended {
                let offset = self.chunk_offset + why.valid_up_to() as u64;
                return Err(RowsFault::BadEncoding { charset: Charset::Utf8, offset });
            }
            // A character that is cut off at the end of the piece is whole in the next.
            self.cut_off = bytes.split_off(why.valid_up_to());
            Ok(String::from_utf8(bytes).unwrap_or_default())
        })?;
        if is_first && self.chunk.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    type Record = (u64, Vec<String>, bool);

    fn read_all(source: impl Read) -> Result<Vec<Record>, RowsFault> {
        read_pieces(source, CHUNK_BYTES)
    }

    fn read_pieces(source: impl Read, chunk_bytes: usize) -> Result<Vec<Record>, RowsFault> {
        let mut reader = RowReader { chunk_bytes, ..RowReader::new(source, b',') };
        let mut records = Vec::new();
        let mut collect = |batch: Batch| {
            records.extend(batch.rows().map(|row| {
                let cells = (0..row.width()).map(|column| row.raw(column).to_owned()).collect();
                (row.number(), cells, row.defect().is_some())
            }));
        };
        if let Some(header) = reader.header()? {
            collect(header);
        }
        while let Some(batch) = reader.next_batch()? {
            collect(batch);
        }
        Ok(records)
    }

    fn check(file: &str, expected: Expect) {
        let mut table = String::new();
        match read_all(file.as_bytes()) {
            Ok(records) => {
                for (number, cells, defect) in records {
                    table.push_str(&format!(
                        "{number}: {}{}\n",
                        cells.join(" | ").replace('\r', "␍"),
                        if defect { "  (bad quotes)" } else { "" }
                    ));
                }
            }
            Err(fault) => table = format!("{fault}\n"),
        }
        expected.assert_eq(&table);
    }

    #[test]
    fn line_ends_and_quotes() {
        check(
            "a,b\n1,2\r\n3,4\r5,6",
            expect![[r#"
            1: a | b
            2: 1 | 2
            3: 3 | 4
            4: 5 | 6
        "#]],
        );
        check(
            "a,b\n\"x, y\",\"line one\r\nline two\"\n\"say \"\"hi\"\"\",\"\"\n",
            expect![[r#"
            1: a | b
            2: x, y | line one␍
            line two
            3: say "hi" | 
        "#]],
        );
        check(
            "\u{feff}a\n\"\"\n,\n",
            expect![[r#"
            1: a
            2: 
            3:  | 
        "#]],
        );
    }

    #[test]
    fn a_record_without_an_end_is_given_up() {
        for beginning in ["a\n\"", "a\nx"] {
            let endless = beginning.as_bytes().chain(io::repeat(b'x'));
            let fault = read_all(endless).expect_err("a fault");
            assert!(matches!(fault, RowsFault::RecordTooLong { row: 2 }), "{fault}");
        }
    }

    #[test]
    fn a_quote_inside_an_unquoted_cell_is_literal() {
        check(
            "a,b\nBob \"Bo\" Ray,5\" pipe\n2\",x",
            expect![[r#"
            1: a | b
            2: Bob "Bo" Ray | 5" pipe
            3: 2" | x
        "#]],
        );
    }

    #[test]
    fn white_space_around_a_quoted_cell_is_dropped() {
        check(
            "a,b\n  \"x,y\" ,\u{a0}\"z\"\u{2003}\n",
            expect![[r#"
            1: a | b
            2: x,y | z
        "#]],
        );
    }

    #[test]
    fn text_behind_a_closing_quote_spoils_its_record_only() {
        check(
            "a,b\n\"x\"y,2\n\"x\" \"y\",\"2\"\n3,4\n",
            expect![[r#"
            1: a | b
            2: xy | 2  (bad quotes)
            3: x"y" | 2  (bad quotes)
            4: 3 | 4
        "#]],
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_with_its_row() {
        check(
            "a\n\n1\n \"2\n3\n",
            expect![[r#"
            the quote that opens in row 4 is never closed
        "#]],
        );
        check(
            "\"a",
            expect![[r#"
            the quote that opens in row 1 is never closed
        "#]],
        );
    }

    #[test]
    fn blank_lines_count_after_the_header_only() {
        check(
            "\n\r\n\ra\n\n1\r\n\r\n2\n\n",
            expect![[r#"
            1: a
            3: 1
            5: 2
        "#]],
        );
        check(
            " \na\n",
            expect![[r#"
            1:  
            2: a
        "#]],
        );
        check("", expect![""]);
        check("\n\n", expect![""]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_told_with_their_offset() {
        let fault = read_all(&b"a\nb\n\xff\n"[..]).expect_err("no UTF-8");
        assert!(matches!(fault, RowsFault::BadEncoding { charset: Charset::Utf8, offset: 4 }), "{fault}");
        let fault = read_all(&b"a\n\xe2\x82"[..]).expect_err("cut off");
        assert!(matches!(fault, RowsFault::BadEncoding { charset: Charset::Utf8, offset: 2 }), "{fault}");
    }

    #[test]
    fn a_file_longer_than_a_piece_keeps_its_characters() {
        let row = "é,\"ü\r\n\"\"\",œ\r\n";
        let file = row.repeat(3 * CHUNK_BYTES / row.len());
        let records = read_all(file.as_bytes()).expect("valid");
        assert_eq!(records.len(), 3 * CHUNK_BYTES / row.len());
        assert!(records.iter().zip(1..).all(|((number, cells, defect), expected)| {
            *number == expected && cells == &["é", "ü\r\n\"", "œ"] && !defect
        }));
    }

    /// The same rules, obvious and slow: character by character over the whole text.
    fn slow_split(file: &str) -> Result<Vec<Record>, u64> {
        let file = file.strip_prefix('\u{feff}').unwrap_or(file);
        let chars: Vec<char> = file.chars().collect();
        let (mut at, mut row, mut records) = (0, 0u64, Vec::new());
        while at < chars.len() {
            let (mut cells, mut defect, line_start) = (Vec::new(), false, at);
            loop {
                let mut cell = String::new();
                let is_end = |at: usize| at >= chars.len() || matches!(chars[at], ',' | '\n' | '\r');
                let mut quote = at;
                while !is_end(quote) && chars[quote].is_whitespace() {
                    quote += 1;
                }
                if quote < chars.len() && chars[quote] == '"' {
                    at = quote + 1;
                    loop {
                        match (chars.get(at), chars.get(at + 1)) {
                            (None, _) => return Err(row + 1),
                            (Some('"'), Some('"')) => {
                                cell.push('"');
                                at += 2;
                            }
                            (Some('"'), _) => break,
                            (Some(other), _) => {
                                cell.push(*other);
                                at += 1;
                            }
                        }
                    }
                    at += 1;
                    while !is_end(at) && chars[at].is_whitespace() {
                        at += 1;
                    }
                    defect |= !is_end(at);
                }
                while !is_end(at) {
                    cell.push(chars[at]);
                    at += 1;
                }
                cells.push(cell);
                if at < chars.len() && chars[at] == ',' {
                    at += 1;
                } else {
                    break;
                }
            }
            let blank = at == line_start;
            if at < chars.len() {
                at += if chars[at] == '\r' && chars.get(at + 1) == Some(&'\n') { 2 } else { 1 };
            }
            if !blank || row > 0 {
                row += 1;
            }
            if !blank {
                // Of a record that is too long, one cell more than the header has is kept.
                let kept = records.first().map_or(cells.len(), |(_, header, _): &Record| header.len() + 1);
                cells.iter_mut().skip(kept).for_each(String::clear);
                records.push((row, cells, defect));
            }
        }
        Ok(records)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn records_are_those_of_the_slow_splitter(file in "[a\", \u{a0}é\r\n]{0,40}", chunk_bytes in 4usize..9) {
            let expected = slow_split(&file);
            for got in [read_all(file.as_bytes()), read_pieces(file.as_bytes(), chunk_bytes)] {
                match (&expected, got) {
                    (Ok(expected), Ok(got)) => prop_assert_eq!(expected, &got),
                    (Err(row), Err(RowsFault::UnclosedQuote { row: got })) => prop_assert_eq!(*row, got),
                    (expected, got) => prop_assert!(false, "{:?} {:?}", expected, got.map_err(|fault| fault.to_string())),
                }
            }
        }
    }
}
