//! `cargo xtask phone-table`: makes `src/contact/phone/nanp_prefixes.bin` anew from the library that the lock file names.
//!
//! To be run after each update of `rlibphonenumber`. The work is done by an ignored test of the service.

use std::process::ExitCode;

use crate::cargo;

const TEST: &str = "contact::phone::rebuild::whole_table";

pub(crate) fn run() -> ExitCode {
    let status = cargo()
        .args(["test", "--release", "--package", "roster", "--lib", "--", "--ignored", "--exact", TEST])
        .env("UPDATE_PHONE_TABLE", "1")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
