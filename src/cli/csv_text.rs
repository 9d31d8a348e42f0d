//! What the client itself reads of a CSV file: the names in its header (for `--existing all`), and about how many records
//! there are (for the progress bar). What a file means is the service's to say; nothing is judged here.

/// The names of the header's columns, trimmed, blanks and repeats left out, in the file's order.
pub(super) fn header_names(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start_matches(['\r', '\n']);
    let mut names: Vec<String> = Vec::new();
    for cell in first_record(text) {
        let name = cell.trim();
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The records after the header. Where quotes are broken it is a guess, which a bar may make.
pub(super) fn count_records(text: &str) -> u64 {
    let mut lines = 0;
    let mut quoted = false;
    let mut blank = true;
    for byte in text.bytes() {
        match byte {
            b'"' => (quoted, blank) = (!quoted, false),
            b'\n' | b'\r' if !quoted => {
                lines += u64::from(!blank);
                blank = true;
            }
            _ => blank = false,
        }
    }
    (lines + u64::from(!blank)).saturating_sub(1)
}

/// The cells of the first record, without the quotes around them.
fn first_record(text: &str) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut state = Cell::Start;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (state, character) {
            (Cell::Quoted, '"') if characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            (Cell::Quoted, '"') => state = Cell::Plain,
            (Cell::Quoted, _) => cell.push(character),
            (Cell::Start | Cell::Plain, '\r' | '\n') => break,
            (Cell::Start | Cell::Plain, ',') => {
                cells.push(std::mem::take(&mut cell));
                state = Cell::Start;
            }
            (Cell::Start, '"') => {
                cell.clear();
                state = Cell::Quoted;
            }
            (Cell::Start, _) if character.is_whitespace() => cell.push(character),
            (Cell::Start | Cell::Plain, _) => {
                cell.push(character);
                state = Cell::Plain;
            }
        }
    }
    cells.push(cell);
    cells
}

/// Where in a cell the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Nothing but white space yet: a quote opens it.
    Start,
    /// Between its quotes.
    Quoted,
    /// A quote is a quote.
    Plain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_header() {
        for (text, names) in [
            ("", &[][..]),
            ("phone,first_name\n1,2\n", &["phone", "first_name"]),
            ("\u{feff}phone,first_name\r\n1,2", &["phone", "first_name"]),
            ("\n\r\n phone ,\"last, name\"\r1,2", &["phone", "last, name"]),
            ("\"a \"\"b\"\"\",\"two\nlines\", \"c\" ,d\"e\n", &["a \"b\"", "two\nlines", "c", "d\"e"]),
            ("phone,, ,phone,_row", &["phone", "_row"]),
            ("\"never closed,b\nc", &["never closed,b\nc"]),
        ] {
            assert_eq!(header_names(text), names, "{text:?}");
        }
    }

    #[test]
    fn records_are_counted_as_people_would() {
        for (text, count) in [
            ("", 0),
            ("a,b", 0),
            ("a,b\n1,2\n3,4", 2),
            ("a,b\r\n1,2\r\n\r\n3,4\r\n", 2),
            ("a,b\r1,\"x\ny\"\r", 1),
            ("\na\n1\n", 1),
        ] {
            assert_eq!(count_records(text), count, "{text:?}");
        }
    }
}
