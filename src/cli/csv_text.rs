//! What the client itself wants to know of a CSV file: the names in its header (for `--existing all`), and how many records
//! there are (for the progress bar). Nothing is judged here: what is wrong with a file is the service's to say.

use crate::import::{Batch, RowReader};

/// The names of the header's columns, trimmed, blanks and repeats left out, in the file's order. None where the header
/// cannot be read.
pub(super) fn header_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let Ok(Some(header)) = RowReader::new(text.as_bytes(), b',').header() else {
        return names;
    };
    for row in header.rows() {
        for name in (0..row.width()).map(|column| row.cell(column)) {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The records after the header, as far as they can be read.
pub(super) fn count_records(text: &str) -> u64 {
    let mut reader = RowReader::new(text.as_bytes(), b',');
    let Ok(Some(_)) = reader.header() else {
        return 0;
    };
    let batches = std::iter::from_fn(|| reader.next_batch().ok().flatten());
    batches.map(|batch: Batch| batch.len() as u64).sum()
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
            ("\"never closed,b\nc", &[]),
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
