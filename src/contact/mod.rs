//! The vocabulary.
pub mod phone;
