//! The beginning of a file for whoever sends it: how it is written, the names in its header, and where the header ends in its bytes, so
//! that other names can be put there and all the rest stays as it is. Nothing is judged here.

use std::io::{self, Read};

use super::form::{DELIMITERS, Dialect, Form, decoded, open_rows};
use super::rows::RowsFault;
use super::{Charset, RowReader};

/// The byte order mark, as text.
const MARK: char = '\u{feff}';

/// The beginning of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// How the file is written.
    pub dialect: Dialect,
    /// The header's cells without white space around them, in the file's order. None if there is no header.
    pub names: Vec<String>,
    /// Columns of the header with text behind a closing quote, counted from 0: nobody knows their names.
    pub stray: Vec<usize>,
    /// Where the first row begins, in the file's bytes.
    pub bytes: u64,
    is_marked: bool,
}

/// Reads the beginning of a file. `open` gives the file from its start; it is asked twice.
pub fn read_head(
    open: impl Fn() -> io::Result<Box<dyn Read + Send>>,
    charset: Option<Charset>,
) -> Result<Head, RowsFault> {
    let (mut rows, dialect) = open_rows(open()?, Form::File { charset })?;
    let dialect = dialect.unwrap_or(Dialect::JSON);
    let (names, stray) = header(&mut rows)?;
    let mut text = String::new();
    decoded(open()?, dialect.charset).take(rows.next_record_at()?).read_to_string(&mut text)?;
    Ok(Head { dialect, names, stray, bytes: dialect.charset.bytes_of(&text), is_marked: text.starts_with(MARK) })
}

fn header<R: Read>(rows: &mut RowReader<R>) -> Result<(Vec<String>, Vec<usize>), RowsFault> {
    let Some(batch) = rows.header()? else { return Ok((Vec::new(), Vec::new())) };
    let names = batch.rows().flat_map(|row| (0..row.width()).map(move |column| row.cell(column).to_owned()));
    Ok((names.collect(), batch.stray_columns().to_vec()))
}

impl Head {
    /// The file's bytes up to its first row with other names in the header. `None` if its charset lacks one of their characters.
    pub fn with_names(&self, names: &[String]) -> Option<Vec<u8>> {
        let mut text = String::new();
        if self.is_marked {
            text.push(MARK);
        }
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                text.push(char::from(self.dialect.delimiter));
            }
            push_cell(&mut text, name);
        }
        text.push('\n');
        self.dialect.charset.encode(&text)
    }
}

/// Quoted also for the delimiters that it is not: whoever looks for the file's delimiter counts them.
fn push_cell(text: &mut String, name: &str) {
    let is_special = |byte: u8| DELIMITERS.contains(&byte) || matches!(byte, b'"' | b'\r' | b'\n');
    if name.is_empty() || name.bytes().any(is_special) {
        text.push('"');
        text.push_str(&name.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(name);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn head(bytes: &[u8], charset: Option<Charset>) -> Head {
        let bytes = bytes.to_vec();
        read_head(|| Ok(Box::new(Cursor::new(bytes.clone()))), charset).expect("readable")
    }

    /// All rows with their numbers, the header too.
    fn rows(bytes: &[u8], charset: Option<Charset>) -> Vec<(u64, Vec<String>)> {
        let form = Form::File { charset };
        let (mut reader, _) = open_rows(Box::new(Cursor::new(bytes.to_vec())), form).expect("readable");
        let mut all = Vec::new();
        let mut batch = reader.header().expect("readable");
        while let Some(of_batch) = batch {
            all.extend(of_batch.rows().map(|row| {
                (row.number(), (0..row.width()).map(|column| row.cell(column).to_owned()).collect::<Vec<_>>())
            }));
            batch = reader.next_batch().expect("readable");
        }
        all
    }

    #[test]
    fn the_header_ends_where_the_first_row_begins() {
        for (text, names, bytes) in [
            ("", &[][..], 0),
            ("\n\n", &[], 2),
            ("a,b", &["a", "b"], 3),
            ("a,b\n1,2\n", &["a", "b"], 4),
            ("a;b\r\n1;2", &["a", "b"], 5),
            ("a\rb", &["a"], 2),
            ("\u{feff}a|b\n1|2\n", &["a", "b"], 7),
            ("\r\n\n a , \"b\nc\" \r\n\n1,2", &["a", "b\nc"], 16),
            ("a,\"b\"x,\n1", &["a", "bx", ""], 8),
        ] {
            let head = head(text.as_bytes(), None);
            assert_eq!(
                (&*head.names, head.bytes),
                (&*names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), bytes),
                "{text:?}"
            );
        }
        assert_eq!(head(b"a,\"b\"x,\n1", None).stray, [1]);
        // A line end that lies across the border of what is read at a time.
        let long = format!("{}\r\n1\n", "x".repeat(128 * 1024 - 1));
        assert_eq!(head(long.as_bytes(), None).bytes, 128 * 1024 + 1);
    }

    #[test]
    fn other_names_change_nothing_else() {
        let text = "\u{feff}\n\"Student; ID\";Handy\r\nä1;\"x\ny\"\r\n\r\nb;\n";
        let utf16 = |to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
        let latin: Vec<u8> = text[3..].chars().map(|at| u8::try_from(u32::from(at)).expect("Latin")).collect();
        for (bytes, charset) in [
            (text.as_bytes().to_vec(), None),
            (utf16(u16::to_le_bytes), None),
            (utf16(u16::to_be_bytes), None),
            (latin, Some(Charset::Windows1252)),
        ] {
            let before = head(&bytes, charset);
            assert_eq!(before.names, ["Student; ID", "Handy"]);
            let names = ["customer_id", "x, \"y\""].map(str::to_owned);
            let start = usize::try_from(before.bytes).expect("small");
            let mapped = [before.with_names(&names).expect("encodable"), bytes[start..].to_vec()].concat();
            let mut expected = rows(&bytes, charset);
            expected[0].1 = names.to_vec();
            assert_eq!(rows(&mapped, charset), expected, "{charset:?}");
            // It is told as before how the file is written.
            assert_eq!(head(&mapped, charset).dialect, before.dialect);
        }
        assert_eq!(head(b"a;b\n", Some(Charset::Windows1252)).with_names(&["張".to_owned()]), None);
    }

    proptest! {
        /// Whatever the file: its rows and their numbers stay, and the names are those that were given.
        #[test]
        fn any_file_keeps_its_rows(text in "[ab\"\r\n,; ]{0,24}", name in "[ab,;\"| \n]{0,5}") {
            let head = match read_head(|| Ok(Box::new(Cursor::new(text.clone().into_bytes()))), None) {
                Ok(head) if !head.names.is_empty() => head,
                _ => return Ok(()),
            };
            let names: Vec<String> = head.names.iter().map(|_| crate::contact::trim(&name).to_owned()).collect();
            let start = usize::try_from(head.bytes).expect("small");
            let mapped = [head.with_names(&names).expect("encodable"), text.as_bytes()[start..].to_vec()].concat();
            let read = |bytes: &[u8]| {
                let mut reader = RowReader::new(Cursor::new(bytes.to_vec()), head.dialect.delimiter);
                let header = header(&mut reader).map_err(|fault| fault.to_string())?.0;
                let mut rest = Vec::new();
                loop {
                    match reader.next_batch() {
                        Ok(Some(batch)) => rest.extend(batch.rows().map(|row| {
                            (row.number(), row.defect(), (0..row.width()).map(|at| row.raw(at).to_owned()).collect::<Vec<_>>())
                        })),
                        Ok(None) => return Ok((header, rest)),
                        Err(fault) => return Err(fault.to_string()),
                    }
                }
            };
            match (read(text.as_bytes()), read(&mapped)) {
                (Ok((_, before)), Ok((given, after))) => {
                    prop_assert_eq!(given, names);
                    prop_assert_eq!(before, after);
                }
                (before, after) => prop_assert_eq!(before, after),
            }
        }
    }
}
