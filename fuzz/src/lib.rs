//! What is fuzzed: each target is a plain function that panics where the service is wrong.
//!
//! They reach the service through its public interface alone, so nothing of it is opened for them. `tests/kept.rs` runs them with stable
//! Rust over the kept corpus and over seeded mutations of it; `libfuzzer/` runs them with coverage, on nightly.
#![allow(clippy::panic, missing_docs, reason = "a target says so by failing")]

mod csv;
mod json;
mod plan;
mod request;
mod values;

/// One of the targets.
pub struct Target {
    /// Also the name of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes; panics if the service is wrong about them.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "request", run: request::signed_request },
    Target { name: "digest", run: request::content_digest },
    Target { name: "stripped", run: json::stripped },
    Target { name: "unescaped", run: json::unescaped },
    Target { name: "csv", run: csv::records },
    Target { name: "plan", run: plan::plan },
    Target { name: "values", run: values::normal_forms },
    Target { name: "phone", run: values::phones },
];
