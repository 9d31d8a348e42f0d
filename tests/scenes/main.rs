//! Scenes: the released words and numbers of the contract, through the front door of the real binary.
//!
//! Each scene is written once and runs on every home of the store (see `harness::scenes!`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "a scene says so by failing")]

#[macro_use]
mod harness;
#[path = "../support/postgres.rs"]
mod postgres;

mod accepting;
mod away;
mod chaos;
mod clients;
mod console;
mod correcting;
mod crashing;
mod documenting;
mod dropping;
mod examples;
mod faults;
mod hostile;
mod importing;
mod limits;
mod keeping;
mod migrating;
mod modelling;
mod moving;
mod nodes;
mod observability;
mod ordering;
mod permitting;
mod python;
mod reading;
mod removing;
mod scopes;
mod sdk;
mod signing;
mod strangers;
mod streaming;
mod tls;
mod watching;
