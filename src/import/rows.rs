//! Bytes to records: the CSV of a file, with row numbers as a spreadsheet shows them, in batches of bounded size.
//!
//! Own code, because no library tells text behind a closing quote apart (they pass it on, or join rows in silence), and
//! because a broken record must not take its neighbours with it. The rules (contract, section 4): UTF-8 with an optional
//! BOM; LF, CRLF or CR; RFC 4180 quotes with newlines in them; white space around a cell is dropped before anything else, so
//! a quote behind leading blanks opens a quoted cell; a quote inside an unquoted cell is literal.

use std::io::{self, Read};

use memchr::{memchr, memchr3};

use super::form::Charset;
use super::report::ErrorCode;

/// The most records in a batch.
const BATCH_ROWS_MAX: usize = 4_096;
/// A batch ends with the record that brings it to this size, in bytes of cells.
const BATCH_BYTES_ENOUGH: usize = 2 * 1024 * 1024;
/// The longest record, in bytes of cells; else a quote that is never closed would bring a file of gigabytes into memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
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

/// What is wrong with a record by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowDefect {
    /// Text between a closing quote and the next delimiter.
    TextAfterQuote {
        /// The column, counted from 0.
        column: usize,
    },
}

impl RowDefect {
    /// The code of it.
    pub fn code(self) -> ErrorCode {
        match self {
            RowDefect::TextAfterQuote { column: _ } => ErrorCode::BadQuotes,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct RowMark {
    number: u64,
    cells_end: usize,
    /// Cells beyond those that are kept: see [`Splitter::width`].
    surplus: usize,
    defect: Option<RowDefect>,
}

/// Records, one after the other, their cells without quotes.
#[derive(Debug, Default)]
pub struct Batch {
    text: String,
    cell_ends: Vec<u32>,
    rows: Vec<RowMark>,
    stray_columns: Vec<usize>,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a Batch,
    cells_start: usize,
    mark: RowMark,
}

impl Batch {
    /// How many records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// If this is the header: all its columns with text behind a closing quote, ascending.
    pub fn stray_columns(&self) -> &[usize] {
        &self.stray_columns
    }

    /// The records, in the file's order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().enumerate().map(|(at, mark)| Row {
            batch: self,
            cells_start: if at == 0 { 0 } else { self.rows[at - 1].cells_end },
            mark: *mark,
        })
    }
}

impl<'a> Row<'a> {
    /// As a spreadsheet shows it: the header is row 1.
    pub fn number(&self) -> u64 {
        self.mark.number
    }

    /// What is wrong with the record by itself.
    pub fn defect(&self) -> Option<RowDefect> {
        self.mark.defect
    }

    /// How many cells it has.
    pub fn width(&self) -> usize {
        self.kept() + self.mark.surplus
    }

    /// How many of them were kept: at most one more than the header has, or as many more as was asked for.
    pub fn kept(&self) -> usize {
        self.mark.cells_end - self.cells_start
    }

    /// A cell as it stands in the file, without its quotes; blank beyond the last.
    pub fn raw(&self, column: usize) -> &'a str {
        if column >= self.kept() {
            return "";
        }
        let at = self.cells_start + column;
        let start = if at == 0 { 0 } else { self.batch.cell_ends[at - 1] };
        &self.batch.text[start as usize..self.batch.cell_ends[at] as usize]
    }

    /// A cell without the white space around it.
    pub fn cell(&self, column: usize) -> &'a str {
        crate::contact::trim(self.raw(column))
    }
}

/// Reads records in batches, whatever the size of the file.
pub struct RowReader<R> {
    source: R,
    chunk: Vec<u8>,
    /// Where the next byte to be split is, and where the bytes that are known to be whole characters end.
    at: usize,
    valid: usize,
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
            chunk: Vec::new(),
            at: 0,
            valid: 0,
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
            if self.at == self.valid && !self.ended {
                self.refill()?;
            }
            self.at += usize::from(self.chunk[self.at..self.valid].starts_with(b"\n"));
        }
        Ok(self.chunk_offset + self.at as u64)
    }

    /// Whether everything has been read, as far as is known: false may still be followed by no batch.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.at == self.valid
    }

    fn batch_of(&mut self, rows_max: usize) -> Result<Option<Batch>, RowsFault> {
        while !self.splitter.is_full(rows_max) {
            if self.at == self.valid {
                if self.ended {
                    self.splitter.end()?;
                    break;
                }
                self.refill()?;
            }
            self.at += self.splitter.split(&self.chunk[self.at..self.valid], rows_max);
            // Of what is before the record there is less than this.
            if self.splitter.text.len() > BATCH_BYTES_ENOUGH + RECORD_BYTES_MAX {
                return Err(RowsFault::RecordTooLong { row: self.splitter.row + 1 });
            }
        }
        Ok(self.splitter.take_batch())
    }

    /// Reads the next piece and finds out how much of it is whole characters.
    fn refill(&mut self) -> Result<(), RowsFault> {
        let is_first = self.chunk_offset == 0 && self.chunk.is_empty();
        self.chunk.drain(..self.at);
        self.chunk_offset += self.at as u64;
        self.at = 0;
        let carried = self.chunk.len();
        (&mut self.source).take((self.chunk_bytes - carried) as u64).read_to_end(&mut self.chunk)?;
        self.ended = self.chunk.len() < self.chunk_bytes;
        self.valid = match std::str::from_utf8(&self.chunk) {
            Ok(text) => text.len(),
            // A character that is cut off at the end of the piece is whole in the next.
            Err(fault) if fault.error_len().is_none() && !self.ended => fault.valid_up_to(),
            Err(fault) => {
                let offset = self.chunk_offset + fault.valid_up_to() as u64;
                return Err(RowsFault::BadEncoding { charset: Charset::Utf8, offset });
            }
        };
        if is_first && self.chunk.starts_with("\u{feff}".as_bytes()) {
            self.at = '\u{feff}'.len_utf8();
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing of the cell has been seen but white space.
    Start,
    Unquoted,
    Quoted,
    /// Behind a quote in a quoted cell: its end, or the first of two.
    QuoteInQuoted,
    AfterQuote,
    /// In text behind a closing quote.
    Stray,
}

/// The state machine. It is fed pieces of any size and keeps its place between them.
#[derive(Debug)]
struct Splitter {
    delimiter: u8,
    state: State,
    text: Vec<u8>,
    cell_ends: Vec<u32>,
    rows: Vec<RowMark>,
    cell_start: usize,
    /// How many cells the header has, once it is known. Of a record with more, one more is kept and the rest is counted: a
    /// line of millions of commas is not worth a gigabyte.
    width: Option<usize>,
    /// How many more are kept.
    surplus_kept: usize,
    surplus: usize,
    defect: Option<RowDefect>,
    stray_columns: Vec<usize>,
    /// The number of the last record, or of the last blank line after the header; 0 before the header.
    row: u64,
    after_cr: bool,
}

impl Splitter {
    fn new(delimiter: u8) -> Splitter {
        Splitter {
            delimiter,
            state: State::Start,
            text: Vec::new(),
            cell_ends: Vec::new(),
            rows: Vec::new(),
            cell_start: 0,
            width: None,
            surplus_kept: 1,
            surplus: 0,
            defect: None,
            stray_columns: Vec::new(),
            row: 0,
            after_cr: false,
        }
    }

    fn is_full(&self, rows_max: usize) -> bool {
        self.rows.len() >= rows_max || (self.at_record_start() && self.text.len() >= BATCH_BYTES_ENOUGH)
    }

    fn at_record_start(&self) -> bool {
        self.state == State::Start
            && self.cell_start == self.text.len()
            && self.cells_before() == self.cell_ends.len()
            && self.surplus == 0
    }

    fn cells_before(&self) -> usize {
        self.rows.last().map_or(0, |row| row.cells_end)
    }

    /// Splits until `piece` is used up or the batch is full; says how many bytes it used.
    fn split(&mut self, piece: &[u8], rows_max: usize) -> usize {
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && piece.first() == Some(&b'\n') {
            at = 1;
        }
        while at < piece.len() && !self.is_full(rows_max) {
            let rest = &piece[at..];
            at += match self.state {
                State::Start => self.start(rest),
                State::Unquoted | State::Stray => self.unquoted(rest),
                State::Quoted => self.quoted(rest),
                State::QuoteInQuoted if rest[0] == b'"' => {
                    self.text.push(b'"');
                    self.state = State::Quoted;
                    1
                }
                State::QuoteInQuoted | State::AfterQuote => self.after_quote(rest),
            };
        }
        // The line feed of a CRLF may already be in this piece.
        if self.after_cr && piece.get(at) == Some(&b'\n') {
            self.after_cr = false;
            at += 1;
        }
        at
    }

    fn start(&mut self, rest: &[u8]) -> usize {
        if rest[0] == b'"' {
            // The white space before the quote is no part of the cell.
            self.text.truncate(self.cell_start);
            self.state = State::Quoted;
            return 1;
        }
        if let Some(used) = self.separator(rest) {
            return used;
        }
        let blank = white_space_bytes(rest);
        if blank == 0 {
            self.state = State::Unquoted;
        }
        self.text.extend_from_slice(&rest[..blank]);
        blank
    }

    fn unquoted(&mut self, rest: &[u8]) -> usize {
        let end = memchr3(self.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
        self.text.extend_from_slice(&rest[..end]);
        end + if end < rest.len() { self.separator(&rest[end..]).unwrap_or(0) } else { 0 }
    }

    fn quoted(&mut self, rest: &[u8]) -> usize {
        let end = memchr(b'"', rest);
        self.text.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        match end {
            Some(end) => {
                self.state = State::QuoteInQuoted;
                end + 1
            }
            None => rest.len(),
        }
    }

    fn after_quote(&mut self, rest: &[u8]) -> usize {
        self.state = State::AfterQuote;
        if let Some(used) = self.separator(rest) {
            return used;
        }
        let blank = white_space_bytes(rest);
        if blank == 0 {
            let column = self.cell_ends.len() - self.cells_before() + self.surplus;
            self.defect.get_or_insert(RowDefect::TextAfterQuote { column });
            if self.width.is_none() {
                self.stray_columns.push(column);
            }
            self.state = State::Stray;
        }
        blank
    }

    /// Takes a delimiter or a line end, if that is what comes next.
    fn separator(&mut self, rest: &[u8]) -> Option<usize> {
        match rest[0] {
            byte if byte == self.delimiter => self.end_cell(),
            b'\n' => self.end_line(),
            b'\r' => {
                self.end_line();
                if rest.get(1) == Some(&b'\n') {
                    return Some(2);
                }
                self.after_cr = rest.len() == 1;
            }
            _ => return None,
        }
        Some(1)
    }

    fn end_cell(&mut self) {
        let kept = self.cell_ends.len() - self.cells_before();
        if self.width.is_some_and(|width| kept >= width + self.surplus_kept) {
            self.surplus += 1;
            self.text.truncate(self.cell_start);
        } else {
            // A batch ends long before 4 GiB, unless one record is that long; then its cells are cut off.
            self.cell_ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        self.cell_start = self.text.len();
        self.state = State::Start;
    }

    fn end_line(&mut self) {
        if self.at_record_start() {
            // A blank line: it counts in the numbers, but not before the header.
            self.row += u64::from(self.row > 0);
            return;
        }
        self.end_cell();
        self.row += 1;
        let (surplus, defect) = (std::mem::take(&mut self.surplus), self.defect.take());
        self.rows.push(RowMark { number: self.row, cells_end: self.cell_ends.len(), surplus, defect });
        self.width.get_or_insert(self.cell_ends.len());
    }

    fn end(&mut self) -> Result<(), RowsFault> {
        if self.state == State::Quoted {
            return Err(RowsFault::UnclosedQuote { row: self.row + 1 });
        }
        if !self.at_record_start() {
            self.end_line();
        }
        Ok(())
    }

    /// The whole records so far. It is called between records only, so nothing is left over.
    fn take_batch(&mut self) -> Option<Batch> {
        if self.rows.is_empty() {
            return None;
        }
        self.cell_start = 0;
        let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap_or_default();
        Some(Batch {
            text,
            cell_ends: std::mem::take(&mut self.cell_ends),
            rows: std::mem::take(&mut self.rows),
            stray_columns: std::mem::take(&mut self.stray_columns),
        })
    }
}

/// How many bytes of white space (Unicode) come next; pieces hold whole characters only.
fn white_space_bytes(rest: &[u8]) -> usize {
    if rest[0].is_ascii() {
        return usize::from(char::from(rest[0]).is_whitespace());
    }
    let character = &rest[..rest.len().min(4)];
    let first = match std::str::from_utf8(character) {
        Ok(text) => text.chars().next(),
        Err(fault) => std::str::from_utf8(&character[..fault.valid_up_to()]).ok().and_then(|text| text.chars().next()),
    };
    first.filter(|first| first.is_whitespace()).map_or(0, char::len_utf8)
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
