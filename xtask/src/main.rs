//! House tools: `cargo xtask <tool>`.
//!
//! Not here: anything that needs the service or its dependencies. Such a tool is a test or an example of the service, and only
//! started from here, so that this package builds in a moment.

mod phone_table;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let tool = env::args().nth(1);
    match tool.as_deref() {
        Some("phone-table") => phone_table::run(),
        _ => usage(),
    }
}

#[expect(clippy::print_stderr, reason = "a tool at a terminal")]
fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask phone-table");
    ExitCode::from(2)
}
