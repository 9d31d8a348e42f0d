//! `cargo xtask deny`: whether the dependencies have licences, sources and versions that `deny.toml` allows. Advisories are not asked
//! for: that needs the network, and what is found some day is no fault of the commit that is tested.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::{cargo, complain, root, say};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

pub(crate) fn run() -> ExitCode {
    match tool().map(|tool| holds(&tool)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            complain(format_args!("xtask deny: {what}"));
            ExitCode::FAILURE
        }
    }
}

fn holds(tool: &PathBuf) -> bool {
    // The crates themselves are there: whatever is tested was built of them.
    let mut check = Command::new(tool);
    check.current_dir(root()).args(["--offline", "--workspace", "check", "--hide-inclusion-graph"]);
    // What is not needed any more is taken out.
    for lint in ["unnecessary-skip", "unmatched-skip", "license-not-encountered"] {
        check.args(["--deny", lint]);
    }
    check.args(["licenses", "bans", "sources"]).status().is_ok_and(|status| status.success())
}

/// `cargo-deny`, wherever it is; made if it is nowhere.
fn tool() -> Result<PathBuf, String> {
    let folder = root().join("target/tools");
    let made = folder.join("bin/cargo-deny");
    let there = || [PathBuf::from("cargo-deny"), made.clone()].into_iter().find(is_it);
    if let Some(tool) = there() {
        return Ok(tool);
    }
    say(format_args!("xtask: building cargo-deny {VERSION} with cargo, in some two minutes"));
    let mut install = cargo();
    install.args(["install", "--locked", "--quiet", "--version", VERSION, "cargo-deny", "--root"]).arg(&folder);
    // It runs for a second, so it is not worth any optimising.
    for (name, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0")] {
        install.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let _ = install.stdin(Stdio::null()).status();
    there().ok_or_else(|| format!("cargo-deny {VERSION} is needed (cargo install --locked cargo-deny)"))
}

fn is_it(tool: &PathBuf) -> bool {
    let told = Command::new(tool).arg("--version").stderr(Stdio::null()).output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == format!("cargo-deny {VERSION}"))
}
