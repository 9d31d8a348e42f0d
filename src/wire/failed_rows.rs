//! The rows of an import that failed, with their cells as they were and with what was wrong, as a file that can be corrected and sent
//! again (contract, section 3).

use std::collections::HashMap;

use super::export::push_cell;
use crate::import::{Batch, ERRORS_COLUMN, Guard, ROW_COLUMN, Report, Row};

/// How many cells beyond those of the header a failed row keeps.
pub const SURPLUS_CELLS_MAX: usize = 1_000;

/// Writes the failed rows of one report.
#[derive(Debug)]
pub struct FailedRows {
    /// What is wrong with each row that is listed and was not written yet.
    errors: HashMap<u64, String>,
    guard: Guard,
    width: usize,
}

impl FailedRows {
    /// The rows that a report lists as failed.
    pub fn of(report: &Report, guard: Guard) -> FailedRows {
        let mut errors: HashMap<u64, String> = HashMap::new();
        for error in &report.errors {
            let Some(row) = error.row else { continue };
            let sentences = errors.entry(row).or_default();
            if !sentences.is_empty() {
                sentences.push_str("; ");
            }
            if let Some(field) = &error.field {
                sentences.push_str(field);
                sentences.push_str(": ");
            }
            sentences.push_str(&error.message);
        }
        FailedRows { errors, guard, width: 0 }
    }

    /// How many rows are still to come.
    pub fn left(&self) -> usize {
        self.errors.len()
    }

    /// Appends the file's own header with two columns more. Without a header there are only these.
    pub fn push_header(&mut self, csv: &mut String, header: Option<&Batch>) {
        if let Some(row) = header.and_then(|batch| batch.rows().next()) {
            self.width = row.width();
            (0..row.kept()).for_each(|place| self.push(csv, row.raw(place)));
        }
        csv.push_str(ROW_COLUMN);
        csv.push(',');
        csv.push_str(ERRORS_COLUMN);
        csv.push('\n');
    }

    /// Appends a row, if it failed. One with too few cells is filled up; of one with too many the rest stands behind the two columns:
    /// what is under a name belongs there, and the row fails again until the rest is gone.
    pub fn push_row(&mut self, csv: &mut String, row: Row<'_>) {
        let Some(errors) = self.errors.remove(&row.number()) else { return };
        (0..self.width).for_each(|place| self.push(csv, row.raw(place)));
        csv.push_str(&row.number().to_string());
        csv.push(',');
        self.push(csv, &errors);
        (self.width..row.kept()).for_each(|place| self.push(csv, row.raw(place)));
        // The comma behind the last.
        csv.pop();
        csv.push('\n');
    }

    /// Appends a cell and a comma.
    fn push(&self, csv: &mut String, cell: &str) {
        match self.guard.of(cell) {
            ("", cell) => push_cell(csv, cell),
            (before, cell) => push_cell(csv, &format!("{before}{cell}")),
        }
        csv.push(',');
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::import::{Counts, ErrorCode, Mode, RowError, RowReader};

    fn check(file: &str, guard: Guard, errors: &[(u64, &str, &str)], expected: Expect) {
        let error = |(row, field, message): &(u64, &str, &str)| RowError {
            row: Some(*row),
            field: Some((*field).to_owned()).filter(|field| !field.is_empty()),
            code: ErrorCode::InvalidValue,
            value: None,
            message: (*message).to_owned(),
        };
        let errors: Vec<RowError> = errors.iter().map(error).collect();
        let error_count = errors.len() as u64;
        let counts = Counts::default();
        let report =
            Report { mode: Mode::Row, counts, not_applied: None, errors, error_count, changes: None, dialect: None };
        let mut rows = FailedRows::of(&report, guard);
        let mut reader = RowReader::new(file.as_bytes(), b',').keeping_surplus(SURPLUS_CELLS_MAX);
        let mut csv = String::new();
        rows.push_header(&mut csv, reader.header().expect("readable").as_ref());
        while let Some(batch) = reader.next_batch().expect("readable") {
            batch.rows().for_each(|row| rows.push_row(&mut csv, row));
        }
        assert_eq!(rows.left(), 0);
        expected.assert_eq(&csv);
    }

    #[test]
    fn rows_keep_their_cells_and_say_what_was_wrong() {
        check(
            "customer_id,phone,note\nA, nope ,\"a, \"\"b\"\"\"\nB,2395745030,fine\n\nC,,=1+1\nD\nE,2395745031,x,y,\"z,\"\n",
            Guard::Off,
            &[
                (2, "phone", "Could not parse 'nope' as Phone"),
                (5, "phone", "Could not parse '' as Phone"),
                (5, "note", "No, no"),
                (6, "", "The row has 1 cell, the header has 3 cells"),
                (7, "", "The row has 5 cells, the header has 3 cells"),
            ],
            expect![[r#"
                customer_id,phone,note,_row,_errors
                A, nope ,"a, ""b""",2,phone: Could not parse 'nope' as Phone
                C,,=1+1,5,"phone: Could not parse '' as Phone; note: No, no"
                D,,,6,"The row has 1 cell, the header has 3 cells"
                E,2395745031,x,7,"The row has 5 cells, the header has 3 cells",y,"z,"
            "#]],
        );
    }

    #[test]
    fn a_guarded_file_runs_nothing() {
        check(
            "=cmd,phone\n\"=HYPERLINK(\"\"x\"\")\",+1 917 850 4987\n",
            Guard::On,
            &[(2, "=cmd", "No")],
            expect![[r#"
                '=cmd,phone,_row,_errors
                "'=HYPERLINK(""x"")",+1 917 850 4987,2,'=cmd: No
            "#]],
        );
        check(
            "",
            Guard::On,
            &[],
            expect![[r#"
                _row,_errors
            "#]],
        );
    }
}
