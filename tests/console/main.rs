//! The pages that people see, in a real browser: Debian's Chromium without a window, driven by the words that stand on the page.
//!
//! One browser at a time (`browser`), whatever the number of tests. What a page looks like is kept in `target/console-screenshots`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "a test says so by failing")]

#[allow(dead_code, unused_macros, reason = "made for the scenes; some of it is used here")]
#[path = "../scenes/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the harness names it")]
#[path = "../support/postgres.rs"]
mod postgres;

mod accessibility;
mod browser;
mod doctor;
mod documenting;
mod importing;
mod keyboard;
mod people;
mod quickstart;
mod signing_in;
mod states;
mod planted;
mod proxy;
mod webdriver;
