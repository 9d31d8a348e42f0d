//! Contacts as CSV, in the shape that an import takes back: importing an export again changes nothing.
//!
//! A column for each field of the schema, in its order; the values in their normal form; read-only fields too, which an import passes over.

use crate::contact::{Contact, Phone, Schema};

/// The header, with its line end.
pub fn csv_header(schema: &Schema) -> String {
    let mut line = String::new();
    push_record(&mut line, schema.fields().iter().map(|field| field.name.as_str()));
    line
}

/// Appends a contact as a record.
pub fn push_csv_contact(csv: &mut String, contact: &Contact, schema: &Schema, program_phone: Option<Phone>) {
    push_record(csv, contact.fields(schema, program_phone).map(|view| view.value));
}

fn push_record(csv: &mut String, cells: impl Iterator<Item = impl AsRef<str>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            csv.push(',');
        }
        push_cell(csv, cell.as_ref());
    }
    csv.push('\n');
}

/// Quoted where it must be (RFC 4180), so that it reads back as it is.
pub(super) fn push_cell(csv: &mut String, cell: &str) {
    if !cell.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        csv.push_str(cell);
        return;
    }
    csv.push('"');
    for part in cell.split_inclusive('"') {
        csv.push_str(part);
        if part.ends_with('"') {
            csv.push('"');
        }
    }
    csv.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::import::RowReader;

    proptest! {
        /// Whatever the cells hold, the reader of imports gives them back; but for the white space around them, which no stored value has.
        #[test]
        fn records_read_back(cells in proptest::collection::vec("[a-c,\"\r\n '=é]{0,6}", 2..5)) {
            let cells: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
            let mut csv = String::from("x,x,x,x\n");
            push_record(&mut csv, cells.iter());
            let mut reader = RowReader::new(csv.as_bytes(), b',');
            reader.header().expect("readable").expect("a header");
            let batch = reader.next_batch().expect("readable").expect("a batch");
            let row = batch.rows().next().expect("a row");
            let read: Vec<&str> = (0..row.width()).map(|column| row.cell(column)).collect();
            prop_assert_eq!(read, cells);
        }
    }
}
