//! `cargo xtask test` and `cargo xtask check`: the steps that say whether the house is in order.
//!
//! Every step runs, also after one that failed, so that one run tells all that is wrong.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::{cargo, complain, needs, say};

struct Step {
    name: &'static str,
    command: Command,
}

fn step(name: &'static str, arguments: &[&str]) -> Step {
    let mut command = cargo();
    command.args(arguments);
    Step { name, command }
}

fn format() -> Step {
    step("format", &["fmt", "--all", "--", "--check"])
}

fn lints() -> Step {
    step("lints", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

/// Everything.
pub(crate) fn test() -> ExitCode {
    if let Err(what) = needs::provide() {
        complain(format_args!("xtask test: {what}"));
        return ExitCode::FAILURE;
    }
    let mut documentation = step("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // It is read by those who work in the house, private items and all: links to these lead somewhere.
    documentation.command.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links");
    let tests = step("tests", &["test", "--workspace", "--no-fail-fast"]);
    let cluster = step("cluster", &["xtask", "cluster", "--once", "--debug", "--port", "0"]);
    // Some tens of seconds; docs/RELIABILITY.md tells of longer runs, of the released binary.
    let torture = step("torture", &["xtask", "torture", "--debug", "--cycles", "20"]);
    // The same; nothing on a disk that is small where nothing may be mounted.
    let faults = step("faults", &["xtask", "faults", "--debug", "--short"]);
    // Short runs, which say that all good imports succeed and that nothing stays open; the page tells of long ones.
    let attack = ["--seconds", "5", "--slow", "300", "--bombs", "5", "--signatures-per-second", "500"];
    let hostile = step("hostile clients", &[&["xtask", "hostile", "--debug"][..], &attack].concat());
    let soak = step("soak", &["xtask", "soak", "--debug", "--seconds", "12"]);
    let dependencies = step("dependencies", &["xtask", "deny"]);
    let package = step("package", &["xtask", "package", "--check"]);
    let runs = [cluster, torture, faults, hostile, soak, dependencies, package, documentation];
    run("test", [format(), lints(), tests].into_iter().chain(runs).collect())
}

/// The quick part.
pub(crate) fn check() -> ExitCode {
    run("check", vec![format(), lints(), step("doors", &["test", "--quiet", "--test", "doors"])])
}

fn run(tool: &str, steps: Vec<Step>) -> ExitCode {
    let begun = Instant::now();
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for Step { name, mut command } in steps {
        say(format_args!("\n== {name}: {}", words(&command)));
        let step_begun = Instant::now();
        match command.status() {
            Ok(status) if status.success() => passed.push(format!("{name} {}", seconds(step_begun.elapsed()))),
            Ok(_) => failed.push(name),
            Err(fault) => {
                complain(format_args!("{name} could not be started: {fault}"));
                failed.push(name);
            }
        }
    }
    let (passed, took) = (passed.join(", "), seconds(begun.elapsed()));
    if failed.is_empty() {
        say(format_args!("\nxtask {tool}: ok in {took} ({passed})"));
        ExitCode::SUCCESS
    } else {
        say(format_args!("\nxtask {tool}: FAILED: {} (passed: {passed}; {took})", failed.join(", ")));
        ExitCode::FAILURE
    }
}

fn words(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    format!("cargo {}", arguments.join(" "))
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}
