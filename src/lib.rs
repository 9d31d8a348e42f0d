//! `roster` takes contact imports over a signed HTTP API and applies them exactly once.
pub mod contact;
pub mod signature;
