//! What an import means: its options, the rows of its file, the plan for each row, the report. Pure: no clock, no file, no
//! table, no wire format.

mod change;
mod claims;
mod columns;
mod form;
mod guard;
mod head;
mod header;
mod identify;
mod options;
mod overlay;
mod plan;
mod records;
mod report;
mod rows;
mod sample;

pub use change::{Addition, Change, IdentityKeys, RowFound, StoredContact, Update};
pub use columns::Columns;
pub use form::{Charset, Dialect, Form, open_rows};
pub use guard::{ERRORS_COLUMN, Guard, ROW_COLUMN};
pub use head::{Head, read_head};
pub use identify::{FilePlan, IdentifiedBatch, Spent};
pub use options::{Existing, ImportOptions, Limits, Mode, New};
pub use plan::{PlanFault, Planner};
pub use records::{Batch, Row, RowDefect};
pub use report::{
    Counts, ERRORS_MAX, ErrorCode, FileErrors, NotApplied, Report, ReportBuilder, RowError, VALUE_CHARS_MAX,
};
pub use rows::{RowReader, RowsFault};
pub use sample::{EXAMPLES_MAX, FieldChange, FieldChanges};

#[cfg(test)]
mod tests;
