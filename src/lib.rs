//! `roster` takes contact imports over a signed HTTP API and applies them exactly once.
//!
//! The rooms, in reading order; who may use whom is held by `tests/doors.rs`, and told in `ARCHITECTURE.md`.

// Plain comments: with doc comments here, links in the rooms' own documentation would be resolved from this file.

// The vocabulary: field types, values, phones, schemas, contacts.
pub mod contact;
// Whose data it is: accounts, programs, tokens.
pub mod tenant;
// What an import means: options, rows, plan, report.
pub mod import;
// A command's life, and the worker.
pub mod command;
// What is kept.
pub mod store;
// The string that is signed; sign and verify.
pub mod signature;
// What a caller may be told: code, status, words, remedy.
pub mod problem;
// The public JSON, request and answer.
pub mod wire;
// What is counted, for who watches.
pub mod metrics;
// The HTTP API.
pub mod http;
// Pages for people: the console.
pub mod console;
// Settings as types.
pub mod config;
// The command line.
pub mod cli;
// The one place that wires the rooms together.
pub mod app;
