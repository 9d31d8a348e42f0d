//! The header of a file, judged against the program's fields and the options. What is wrong here is wrong with the whole
//! file: no row is judged then.

use std::collections::HashSet;

use super::columns::Columns;
use super::guard::{ROW_COLUMN, unguarded};
use super::options::{Existing, ImportOptions};
use super::records::{Batch, Row};
use super::report::{ErrorCode, FileErrors, shortened};
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
    /// Whether these are rows that failed before, corrected: then cells may have a guard.
    pub(super) guarded: bool,
    pub(super) signalvine_id: Option<usize>,
    pub(super) customer_id: Option<usize>,
    pub(super) phone: Option<usize>,
    /// Those whose cells may be looked at, in the file's order: neither read-only ones nor `signalvine_id`.
    pub(super) columns: Vec<Column>,
    /// Indices into `columns` of the ordinary fields, in the order of their numbers.
    pub(super) by_number: Vec<usize>,
    /// The numbers of the ordinary fields, ascending.
    pub(super) numbers: Vec<FieldNumber>,
    /// Indices into `columns` of all others, and of all.
    pub(super) special: Vec<usize>,
    pub(super) all: Vec<usize>,
    /// Whether `existing` names all ordinary fields of the file.
    pub(super) existing_takes_all: bool,
}

impl FileHeader {
    /// Judges a header; all that is wrong with it is told at once.
    pub(super) fn judge(
        header: Option<&Batch>,
        schema: &Schema,
        options: &ImportOptions,
    ) -> Result<FileHeader, FileErrors> {
        let Some((batch, row)) = header.and_then(|batch| Some((batch, batch.rows().next()?))) else {
            let mut errors = FileErrors::default();
            let message = "The file has no header: it is empty, or has blank lines only";
            errors.add(ErrorCode::NoHeader, None, || message.to_owned());
            return Err(errors);
        };
        let names = names(row, &options.columns);
        let (fields, mut errors) = columns(&names, batch.stray_columns(), schema);
        existing_not_in_file(&names, options, &mut errors);
        let place_of = |role: Role| fields.iter().find(|(_, field)| field.role == role).map(|(place, _)| *place);
        let identity = [Role::SignalvineId, Role::CustomerId, Role::Phone].map(place_of);
        if identity.iter().all(Option::is_none) {
            let message = "No column tells who a row is about: signalvine_id, customer_id or phone is needed";
            errors.add(ErrorCode::NoIdentityColumn, None, || message.to_owned());
        }
        if errors.count() > 0 {
            return Err(errors);
        }
        let [signalvine_id, customer_id, phone] = identity;
        // Who leaves the numbers of the rows out has guarded cells all the same.
        let is_row = |(place, name): (usize, &Option<&str>)| name.unwrap_or(row.cell(place)) == ROW_COLUMN;
        let guarded = names.iter().enumerate().any(is_row);
        Ok(FileHeader { guarded, signalvine_id, customer_id, phone, ..FileHeader::of(row.width(), fields, options) })
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
        let all: Vec<usize> = (0..columns.len()).collect();
        let (mut by_number, special): (Vec<usize>, Vec<usize>) =
            all.iter().copied().partition(|at| columns[*at].field.role == Role::Ordinary);
        by_number.sort_by_key(|at| columns[*at].field.number);
        FileHeader {
            width,
            guarded: false,
            signalvine_id: None,
            customer_id: None,
            phone: None,
            numbers: by_number.iter().map(|at| columns[*at].field.number).collect(),
            existing_takes_all: by_number.iter().all(|at| columns[*at].for_existing),
            columns,
            by_number,
            special,
            all,
        }
    }

    /// A cell without the white space around it, and without its guard.
    pub(super) fn cell<'a>(&self, row: Row<'a>, place: usize) -> &'a str {
        if self.guarded { unguarded(row.cell(place)) } else { row.cell(place) }
    }

    /// Whether rows of existing contacts may change this field.
    pub(super) fn existing_may_change(&self, number: FieldNumber) -> bool {
        self.columns.iter().any(|column| column.for_existing && column.field.number == number)
    }
}

/// What each column is called; `None`: it is left out.
fn names<'a>(row: Row<'a>, columns: &'a Columns) -> Vec<Option<&'a str>> {
    (0..row.width()).map(|place| columns.name(row.cell(place))).collect()
}

/// The columns that are fields, and what is wrong with the others. Names that begin with an underscore are no columns at
/// all; of columns with stray text behind a quote nobody knows the name.
fn columns<'a>(names: &[Option<&str>], stray: &[usize], schema: &'a Schema) -> (Vec<(usize, &'a Field)>, FileErrors) {
    let (mut fields, mut errors, mut seen) = (Vec::new(), FileErrors::default(), HashSet::new());
    for (place, name) in names.iter().enumerate() {
        let column = place + 1;
        if stray.binary_search(&place).is_ok() {
            errors.add(ErrorCode::BadQuotes, None, || {
                format!("Text follows a closing quote in column {column} of the header")
            });
            continue;
        }
        let Some(name) = *name else { continue };
        if name.is_empty() {
            errors.add(ErrorCode::EmptyHeader, None, || format!("Column {column} of the header has no name"));
        } else if name.starts_with('_') {
            continue;
        } else if seen.contains(name) {
            let message = || format!("Column {column} of the header repeats the name '{}'", shortened(name));
            errors.add(ErrorCode::DuplicateHeader, Some(name), message);
        } else if let Some(field) = schema.by_name(name) {
            seen.insert(name);
            fields.push((place, field));
        } else {
            // Once no more errors are listed, it makes no difference which of two codes is counted.
            if !errors.is_full() {
                seen.insert(name);
            }
            errors.add(ErrorCode::UnrecognizedVariable, Some(name), || {
                format!("Unrecognized variable: {}", shortened(name))
            });
        }
    }
    (fields, errors)
}

fn existing_not_in_file(header: &[Option<&str>], options: &ImportOptions, errors: &mut FileErrors) {
    let Existing::Fields(names) = &options.existing else { return };
    let mut missing: HashSet<&str> = names.iter().map(String::as_str).collect();
    for name in header.iter().flatten() {
        missing.remove(name);
    }
    for name in names {
        if missing.remove(name.as_str()) {
            let message = || format!("'existing' names '{}', which is no column of the file", shortened(name));
            errors.add(ErrorCode::ExistingNotInFile, Some(name), message);
        }
    }
}
