//! The header of a file, judged against the program's fields and the options. What is wrong here is wrong with the whole
//! file: no row is judged then.

use std::collections::HashSet;

use super::options::{Existing, ImportOptions};
use super::report::{ErrorCode, RowError};
use super::rows::{Batch, Row, RowDefect};
use crate::contact::{Field, FieldNumber, Role, Schema};

/// A column that is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Column {
    /// Its place in the file, counted from 0.
    pub(super) place: usize,
    pub(super) field: Field,
    /// Whether `existing` names it.
    pub(super) for_existing: bool,
}

/// The columns of a file that mean something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileHeader {
    /// Cells in every record.
    pub(super) width: usize,
    pub(super) signalvine_id: Option<usize>,
    pub(super) customer_id: Option<usize>,
    pub(super) phone: Option<usize>,
    /// Those whose cells may be looked at, in the file's order: neither read-only ones nor `signalvine_id`.
    pub(super) columns: Vec<Column>,
    /// Indices into `columns` of the ordinary fields, in the order of their numbers.
    pub(super) by_number: Vec<usize>,
}

impl FileHeader {
    /// Judges a header; all that is wrong with it is told at once.
    pub(super) fn judge(
        header: Option<&Batch>,
        schema: &Schema,
        options: &ImportOptions,
    ) -> Result<FileHeader, Vec<RowError>> {
        let Some(row) = header.and_then(|batch| batch.rows().next()) else {
            let message = "The file has no header: it is empty, or has blank lines only".to_owned();
            return Err(vec![file_error(ErrorCode::NoHeader, None, message)]);
        };
        if let Some(RowDefect::TextAfterQuote { column }) = row.defect() {
            let message = format!("Text follows a closing quote in column {} of the header", column + 1);
            return Err(vec![file_error(ErrorCode::BadQuotes, None, message)]);
        }
        let (fields, mut errors) = columns(row, schema);
        errors.extend(existing_not_in_file(row, options));
        let place_of = |role: Role| fields.iter().find(|(_, field)| field.role == role).map(|(place, _)| *place);
        let identity = [Role::SignalvineId, Role::CustomerId, Role::Phone].map(place_of);
        if identity.iter().all(Option::is_none) {
            let message =
                "No column tells who a row is about: signalvine_id, customer_id or phone is needed".to_owned();
            errors.push(file_error(ErrorCode::NoIdentityColumn, None, message));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let [signalvine_id, customer_id, phone] = identity;
        Ok(FileHeader { signalvine_id, customer_id, phone, ..FileHeader::of(row.width(), fields, options) })
    }

    fn of(width: usize, fields: Vec<(usize, &Field)>, options: &ImportOptions) -> FileHeader {
        let named: HashSet<&str> = match &options.existing {
            Existing::Ignore => HashSet::new(),
            Existing::Fields(names) => names.iter().map(String::as_str).collect(),
        };
        let columns: Vec<Column> = fields
            .into_iter()
            .filter(|(_, field)| !matches!(field.role, Role::SignalvineId | Role::ReadOnly))
            .map(|(place, field)| Column { place, field: field.clone(), for_existing: named.contains(&*field.name) })
            .collect();
        let mut by_number: Vec<usize> =
            (0..columns.len()).filter(|at| columns[*at].field.role == Role::Ordinary).collect();
        by_number.sort_by_key(|at| columns[*at].field.number);
        FileHeader { width, signalvine_id: None, customer_id: None, phone: None, columns, by_number }
    }

    /// Whether rows of existing contacts may change this field.
    pub(super) fn existing_may_change(&self, number: FieldNumber) -> bool {
        self.columns.iter().any(|column| column.for_existing && column.field.number == number)
    }
}

/// The columns that are fields, and what is wrong with the others. Names that begin with an underscore are no columns at all.
fn columns<'a>(row: Row<'_>, schema: &'a Schema) -> (Vec<(usize, &'a Field)>, Vec<RowError>) {
    let (mut fields, mut errors, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for place in 0..row.width() {
        let name = row.cell(place);
        let column = place + 1;
        if name.is_empty() {
            errors.push(file_error(ErrorCode::EmptyHeader, None, format!("Column {column} of the header has no name")));
        } else if name.starts_with('_') {
            continue;
        } else if !seen.insert(name) {
            let message =
                format!("Column {column} of the header repeats the name '{}'", super::report::shortened(name));
            errors.push(file_error(ErrorCode::DuplicateHeader, Some(name), message));
        } else if let Some(field) = schema.by_name(name) {
            fields.push((place, field));
        } else {
            let message = format!("Unrecognized variable: {}", super::report::shortened(name));
            errors.push(file_error(ErrorCode::UnrecognizedVariable, Some(name), message));
        }
    }
    (fields, errors)
}

fn existing_not_in_file(row: Row<'_>, options: &ImportOptions) -> Vec<RowError> {
    let Existing::Fields(names) = &options.existing else { return Vec::new() };
    let in_file: HashSet<&str> = (0..row.width()).map(|place| row.cell(place)).collect();
    let mut seen = HashSet::new();
    names
        .iter()
        .filter(|name| !in_file.contains(name.as_str()) && seen.insert(name.as_str()))
        .map(|name| {
            let message =
                format!("'existing' names '{}', which is no column of the file", super::report::shortened(name));
            file_error(ErrorCode::ExistingNotInFile, Some(name), message)
        })
        .collect()
}

pub(super) fn file_error(code: ErrorCode, field: Option<&str>, message: String) -> RowError {
    RowError { row: None, field: field.map(super::report::shortened), code, value: None, message }
}
