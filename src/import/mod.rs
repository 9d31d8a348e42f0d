//! What an import means: its options, the rows of its file, the plan for each row, the report. Pure: no clock, no file, no
//! table, no wire format.

mod change;
mod options;
mod report;

pub use change::{Addition, Change, IdentityKeys, RowFound, StoredContact, Update};
pub use options::{Existing, ImportOptions, Mode, New};
pub use report::{Counts, ERRORS_MAX, ErrorCode, NotApplied, Report, ReportBuilder, RowError, VALUE_CHARS_MAX};
