//! The public JSON, request and answer; shared by server and client.
//!
//! It knows what the contract says on the wire, and nothing of sockets and stores. Its types are neither the domain's nor the
//! stored ones, even where they look alike.

pub mod json;
mod command_item;
mod contacts;
mod export;
mod failed_rows;
mod query;
mod request;
mod status;
mod unescaping;

pub use command_item::CommandItem;
pub use contacts::{ContactJson, Envelope, FullContactJson, Place, ProgramItemJson, ProgramJson, SchemaJson};
pub use export::{csv_header, push_csv_contact};
pub use failed_rows::{FailedRows, SURPLUS_CELLS_MAX};
pub use query::{read_options, write_options};
pub use request::{ImportBody, ImportRequest, read_import, write_import};
pub use status::{DialectJson, ErrorEntry, FieldChangeJson, FieldChangesJson, Message, Progress, Rows, Status};
