//! The beginning of an uploaded file, to be looked at: how it is written, its header, its first rows. Nothing is judged here.

use std::io::{self, Read};

use crate::import::{Charset, Dialect, Form, RowsFault, open_rows, read_head};

/// So many rows are shown.
const ROWS_MAX: usize = 5;
/// So much of a cell.
const CELL_CHARS_MAX: usize = 60;

/// The beginning of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Look {
    /// How it is written; not known if not even that can be read.
    pub(super) dialect: Option<Dialect>,
    pub(super) names: Vec<String>,
    /// The first rows, with their numbers; as many cells as the header has.
    pub(super) rows: Vec<(u64, Vec<String>)>,
    /// What stands in the way of reading on.
    pub(super) trouble: Option<String>,
}

/// Looks at a file. `open` gives it from its start. Blocking.
pub(super) fn look(open: impl Fn() -> io::Result<Box<dyn Read + Send>>, charset: Option<Charset>) -> io::Result<Look> {
    let head = match read_head(&open, charset) {
        Ok(head) => head,
        Err(fault) => return Ok(Look { trouble: Some(trouble(fault)?), ..Look::default() }),
    };
    let mut look = Look { dialect: Some(head.dialect), names: head.names, ..Look::default() };
    if look.names.is_empty() {
        look.trouble = Some("The file has no header: its first row must name the columns.".to_owned());
        return Ok(look);
    }
    let (mut rows, _) = open_rows(open()?, Form::File { charset })?;
    let first = rows.header().and_then(|_| rows.next_batch());
    match first {
        Ok(None) => {}
        Ok(Some(batch)) => {
            let width = look.names.len();
            let of_row = |row: crate::import::Row<'_>| {
                let cells = (0..width).map(|at| if at < row.width() { shortened(row.cell(at)) } else { String::new() });
                (row.number(), cells.collect())
            };
            look.rows = batch.rows().take(ROWS_MAX).map(of_row).collect();
        }
        Err(fault) => look.trouble = Some(trouble(fault)?),
    }
    Ok(look)
}

fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        None => cell.to_owned(),
        Some((end, _)) => format!("{}…", &cell[..end]),
    }
}

/// What is wrong with the file; a source that fails is not the file's.
fn trouble(fault: RowsFault) -> io::Result<String> {
    Ok(match fault {
        RowsFault::Read(fault) => return Err(fault),
        RowsFault::UnclosedQuote { row } => format!("The quote that opens in row {row} is never closed."),
        RowsFault::RecordTooLong { row } => {
            format!("Row {row} is longer than 64 MiB; a quote may be open in it, or its line ends are missing.")
        }
        RowsFault::BadEncoding { charset, offset } => format!(
            "The file is not {}: see the byte at offset {offset}. If it was saved by Excel as CSV, choose Windows-1252 below.",
            charset.as_str().to_ascii_uppercase()
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn looked(bytes: &[u8], charset: Option<Charset>) -> Look {
        let bytes = bytes.to_vec();
        look(|| Ok(Box::new(Cursor::new(bytes.clone()))), charset).expect("readable")
    }

    #[test]
    fn the_beginning_is_shown_as_it_is() {
        let file = "customer_id;Handy\r\n1;\"0 1\"\r\n\r\n2\r\n3;4;5\r\n";
        let seen = looked(file.as_bytes(), None);
        assert_eq!(seen.dialect.map(|dialect| dialect.delimiter), Some(b';'));
        assert_eq!(seen.names, ["customer_id", "Handy"]);
        let row = |number, cells: [&str; 2]| (number, cells.map(str::to_owned).to_vec());
        assert_eq!(seen.rows, [row(2, ["1", "0 1"]), row(4, ["2", ""]), row(5, ["3", "4"])]);
        assert_eq!(seen.trouble, None);
        assert!(looked(b"", None).trouble.expect("none").contains("no header"));
        assert!(looked(b"a,b\n1,\"2\n", None).trouble.expect("open").contains("row 2"));
    }

    #[test]
    fn a_file_in_another_charset_is_told_so() {
        let file = b"name\nJos\xe9\n";
        assert!(looked(file, None).trouble.expect("no UTF-8").contains("Windows-1252"));
        let seen = looked(file, Some(Charset::Windows1252));
        assert_eq!((seen.rows[0].1[0].as_str(), seen.trouble), ("José", None));
    }
}
