//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, on nightly. What it finds goes to `target/fuzz-corpus`; what fails is printed and
//! left below `target/`.

use std::process::{Command, ExitCode};

use crate::{complain, root, say};

/// The targets, as their package lists them.
fn targets() -> Vec<&'static str> {
    let list = include_str!("../../fuzz/src/lib.rs");
    list.split("Target { name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Runs all targets, or the one that is named, one after the other.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let (mut only, mut seconds) = (None, "60");
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (*word, words.next()) {
            ("--target", Some(name)) if targets().contains(name) => only = Some(*name),
            ("--seconds", Some(number)) if number.parse::<u32>().is_ok() => seconds = number,
            _ => {
                complain(format_args!(
                    "usage: cargo xtask fuzz [--target T] [--seconds N]; T: {}",
                    targets().join(", ")
                ));
                return ExitCode::from(2);
            }
        }
    }
    if let Err(what) = provide() {
        complain(format_args!("xtask fuzz: {what}"));
        return ExitCode::FAILURE;
    }
    let failed: Vec<&str> =
        targets().into_iter().filter(|name| only.is_none_or(|only| only == *name) && !holds(name, seconds)).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    complain(format_args!("xtask fuzz: FAILED: {}", failed.join(", ")));
    ExitCode::FAILURE
}

/// `cargo-fuzz`, and the toolchain that it needs.
fn provide() -> Result<(), String> {
    if !nightly(&["--version"]) {
        return Err("a nightly toolchain is needed (rustup toolchain install nightly)".to_owned());
    }
    if !nightly(&["fuzz", "--version"]) {
        say("xtask: installing cargo-fuzz with cargo");
        nightly(&["install", "cargo-fuzz", "--locked"]);
    }
    if nightly(&["fuzz", "--version"]) { Ok(()) } else { Err("cargo-fuzz could not be installed".to_owned()) }
}

fn holds(name: &str, seconds: &str) -> bool {
    let found = root().join("target/fuzz-corpus").join(name);
    if let Err(fault) = std::fs::create_dir_all(&found) {
        complain(format_args!("{}: {fault}", found.display()));
        return false;
    }
    say(format_args!("\n== {name}, {seconds} s"));
    let mut command = cargo_nightly();
    // The package has no unsafe code of its own for the address sanitizer to watch. The service's allocator would not go with it.
    command.args(["fuzz", "run", "--fuzz-dir", "fuzz/libfuzzer", "--sanitizer", "none", "--target-dir", "target/fuzz"]);
    command.arg("target").arg(&found).arg(format!("fuzz/corpus/{name}"));
    command.args(["--", "-max_len=4096", "-print_final_stats=1"]).arg(format!("-max_total_time={seconds}"));
    command.env("FUZZ_TARGET", name).status().is_ok_and(|status| status.success())
}

fn nightly(arguments: &[&str]) -> bool {
    cargo_nightly().args(arguments).status().is_ok_and(|status| status.success())
}

/// Through rustup: the cargo that started this tool is of one toolchain.
fn cargo_nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).current_dir(root());
    // Those of the cargo that started this tool.
    ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"].iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}
