//! The embedded home.
