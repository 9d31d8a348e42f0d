//! Virtual environments with packages of PyPI, for the scenes that drive the service with programs written in Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One environment is made at a time: the same scene asks for it on every home at once.
static TURN: Mutex<()> = Mutex::new(());

/// The folder of programs of an environment that has these packages; made once for a checkout.
pub(crate) fn programs(name: &str, packages: &[&str]) -> PathBuf {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let ready = place.join("ready");
    if !ready.exists() {
        let run = |command: &mut Command| {
            let output = command.output().unwrap_or_else(|fault| panic!("python3 is needed for this scene: {fault}"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place));
        run(Command::new(place.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages));
        std::fs::write(&ready, "").unwrap();
    }
    place.join("bin")
}
