//! What a dry run tells of the changes that it would make: for each field how many contacts change in it, and some of them, before and
//! after.

use super::report::shortened;

/// How many examples of a field's changes are kept.
pub const EXAMPLES_MAX: usize = 5;

/// The changes of one field in contacts that the program has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChanges {
    /// The field's name.
    pub field: String,
    /// How many contacts would have another value in it.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`] of them.
    pub examples: Vec<FieldChange>,
}

/// One change of one field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// The row that makes it.
    pub row: u64,
    /// The value as it is, in its normal form; blank = `""`.
    pub before: String,
    /// The value as it would be.
    pub after: String,
}

/// Collects changes; of each column its own.
#[derive(Debug, Default)]
pub(super) struct Sample {
    columns: Vec<FieldChanges>,
}

impl Sample {
    /// For columns of these names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Sample {
        let empty = |name: &str| FieldChanges { field: name.to_owned(), count: 0, examples: Vec::new() };
        Sample { columns: names.map(empty).collect() }
    }

    /// Notes a change in the column of this index; beyond [`EXAMPLES_MAX`] it is counted.
    pub(super) fn add(&mut self, at: usize, row: u64, before: &str, after: &str) {
        let Some(column) = self.columns.get_mut(at) else { return };
        column.count += 1;
        if column.examples.len() < EXAMPLES_MAX {
            column.examples.push(FieldChange { row, before: shortened(before), after: shortened(after) });
        }
    }

    /// The columns that would change.
    pub(super) fn finish(self) -> Vec<FieldChanges> {
        self.columns.into_iter().filter(|column| column.count > 0).collect()
    }
}
