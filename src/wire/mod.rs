//! The public JSON, request and answer; shared by server and client.

mod status;

pub use status::{ErrorEntry, Message, Progress, Rows, Status};
