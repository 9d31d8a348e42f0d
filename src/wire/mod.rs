//! The public JSON, request and answer; shared by server and client.
//!
//! It knows what the contract says on the wire, and nothing of sockets and stores. Its types are neither the domain's nor the
//! stored ones, even where they look alike.

pub mod json;
mod status;

pub use status::{ErrorEntry, Message, Progress, Rows, Status};
