//! The records of a file, and the state machine that splits them; it is fed with text in pieces of any size.

use memchr::{memchr, memchr3, memchr3_iter};

use super::report::ErrorCode;
use super::rows::{BATCH_BYTES_ENOUGH, RowsFault};

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

    fn clear(&mut self) {
        let Batch { text, cell_ends, rows, stray_columns } = self;
        text.clear();
        cell_ends.clear();
        rows.clear();
        stray_columns.clear();
    }

    /// How much room its cells have.
    pub(super) fn bytes_of_room(&self) -> usize {
        self.text.capacity()
    }

    /// Whether a cell has a NUL.
    pub fn has_nul(&self) -> bool {
        memchr(0, self.text.as_bytes()).is_some()
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
pub(super) struct Splitter {
    delimiter: u8,
    state: State,
    pub(super) text: String,
    cell_ends: Vec<u32>,
    rows: Vec<RowMark>,
    /// A batch that is needed no more: where the next but one goes.
    pub(super) spent: Batch,
    cell_start: usize,
    /// How many cells the header has, once it is known. Of a record with more, one more is kept and the rest is counted: a
    /// line of millions of commas is not worth a gigabyte.
    width: Option<usize>,
    /// How many more are kept.
    pub(super) surplus_kept: usize,
    surplus: usize,
    defect: Option<RowDefect>,
    stray_columns: Vec<usize>,
    /// The number of the last record, or of the last blank line after the header; 0 before the header.
    pub(super) row: u64,
    pub(super) after_cr: bool,
}

impl Splitter {
    pub(super) fn new(delimiter: u8) -> Splitter {
        Splitter {
            delimiter,
            state: State::Start,
            text: String::new(),
            cell_ends: Vec::new(),
            rows: Vec::new(),
            spent: Batch::default(),
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

    pub(super) fn is_full(&self, rows_max: usize) -> bool {
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
    pub(super) fn split(&mut self, piece: &str, rows_max: usize) -> usize {
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && piece.starts_with('\n') {
            at = 1;
        }
        while at < piece.len() && !self.is_full(rows_max) {
            let rest = &piece[at..];
            at += match self.state {
                State::Start => self.start(rest, rows_max),
                State::Unquoted | State::Stray => self.unquoted(rest),
                State::Quoted => self.quoted(rest),
                State::QuoteInQuoted if rest.starts_with('"') => {
                    self.text.push('"');
                    self.state = State::Quoted;
                    1
                }
                State::QuoteInQuoted | State::AfterQuote => self.after_quote(rest),
            };
        }
        // The line feed of a CRLF may already be in this piece.
        if self.after_cr && piece.as_bytes().get(at) == Some(&b'\n') {
            self.after_cr = false;
            at += 1;
        }
        at
    }

    fn start(&mut self, rest: &str, rows_max: usize) -> usize {
        let used = self.plain_cells(rest, rows_max);
        if used > 0 {
            return used;
        }
        if rest.starts_with('"') {
            // The white space before the quote is no part of the cell.
            self.text.truncate(self.cell_start);
            self.state = State::Quoted;
            return 1;
        }
        if let Some(used) = self.separator(rest.as_bytes()) {
            return used;
        }
        let blank = white_space_bytes(rest);
        if blank == 0 {
            self.state = State::Unquoted;
        }
        self.text.push_str(&rest[..blank]);
        blank
    }

    /// Takes cells without quotes, without white space before them and with a line feed behind the last, as nearly all are; says how many
    /// bytes it used. What it leaves is looked at sign by sign.
    fn plain_cells(&mut self, rest: &str, rows_max: usize) -> usize {
        let bytes = rest.as_bytes();
        let mut used = 0;
        // Of a cell whose beginning has been taken already, white space is all that is known.
        if self.text.len() > self.cell_start {
            return 0;
        }
        for end in memchr3_iter(self.delimiter, b'\n', b'\r', bytes) {
            let is_plain = end == used || matches!(bytes[used], b'!'..=b'~' if bytes[used] != b'"');
            if !is_plain || bytes[end] == b'\r' {
                break;
            }
            self.text.push_str(&rest[used..end]);
            used = end + 1;
            if bytes[end] == self.delimiter {
                self.end_cell();
            } else {
                self.end_line();
                if self.is_full(rows_max) {
                    break;
                }
            }
        }
        used
    }

    fn unquoted(&mut self, rest: &str) -> usize {
        let bytes = rest.as_bytes();
        let end = memchr3(self.delimiter, b'\n', b'\r', bytes).unwrap_or(bytes.len());
        self.text.push_str(&rest[..end]);
        end + if end < bytes.len() { self.separator(&bytes[end..]).unwrap_or(0) } else { 0 }
    }

    fn quoted(&mut self, rest: &str) -> usize {
        let end = memchr(b'"', rest.as_bytes());
        self.text.push_str(&rest[..end.unwrap_or(rest.len())]);
        match end {
            Some(end) => {
                self.state = State::QuoteInQuoted;
                end + 1
            }
            None => rest.len(),
        }
    }

    fn after_quote(&mut self, rest: &str) -> usize {
        self.state = State::AfterQuote;
        if let Some(used) = self.separator(rest.as_bytes()) {
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

    pub(super) fn end(&mut self) -> Result<(), RowsFault> {
        if self.state == State::Quoted {
            return Err(RowsFault::UnclosedQuote { row: self.row + 1 });
        }
        if !self.at_record_start() {
            self.end_line();
        }
        Ok(())
    }

    /// The whole records so far. It is called between records only, so nothing is left over.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.rows.is_empty() {
            return None;
        }
        self.cell_start = 0;
        let mut next = std::mem::take(&mut self.spent);
        next.clear();
        Some(Batch {
            text: std::mem::replace(&mut self.text, next.text),
            cell_ends: std::mem::replace(&mut self.cell_ends, next.cell_ends),
            rows: std::mem::replace(&mut self.rows, next.rows),
            stray_columns: std::mem::take(&mut self.stray_columns),
        })
    }
}

/// How many bytes of white space (Unicode) come next.
fn white_space_bytes(rest: &str) -> usize {
    rest.chars().next().filter(|first| first.is_whitespace()).map_or(0, char::len_utf8)
}
