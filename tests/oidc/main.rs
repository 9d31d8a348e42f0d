//! Sign-in by OpenID Connect, against a real provider that is started here, and against one that does what no good one ever would.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says so by failing")]

mod bad;
mod front_door;
mod good;
mod hand_made;
mod over_tls;
mod real;
